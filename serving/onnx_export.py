"""The core of a model as ONNX.

The writer is tf2onnx, which turns masked recurrent layers into loops. ``export_onnx`` is the seam:
whoever writes the file, its callers know the path, the names of inputs and outputs, and the parity
that is measured on it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import tensorflow as tf

from models.recurrent import rebuilt_without_cudnn
from serving.errors import ServingError

if TYPE_CHECKING:
    import keras

OPSET = 15


def export_onnx(model: keras.Model, path: str | Path, precision: str = "fp32") -> None:
    """Writes ``model.onnx``: the model's own input and output names, dynamic batch and time.

    Args:
        model: a Functional model with named inputs and a dict of outputs.
        path: file to write; it appears whole.
        precision: "fp32".

    Raises:
        ServingError: the precision is not offered.
    """
    import tf2onnx

    if precision != "fp32":
        raise ServingError(f"precision {precision!r} is not offered for ONNX; use fp32")
    copy = rebuilt_without_cudnn(model)
    names = [tensor.name for tensor in copy.inputs]
    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
        for name, tensor in zip(names, copy.inputs, strict=True)
    ]

    def core(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = copy(dict(zip(names, tensors, strict=True)), training=False)
        return {name: tf.identity(value, name=name) for name, value in outputs.items()}

    proto, _ = tf2onnx.convert.from_function(tf.function(core), specs, opset=OPSET)
    # The keys of the dict; Keras's output_names are those of the layers.
    _rename_outputs(proto, list(model.output))
    onnx.checker.check_model(proto)
    aside = Path(path).with_suffix(".onnx.new")
    onnx.save(proto, aside)
    os.replace(aside, path)


def _rename_outputs(proto: onnx.ModelProto, names: list[str]) -> None:
    """tf2onnx calls outputs ``name:0`` or ``Identity``; clients want the name."""
    for output, name in zip(proto.graph.output, sorted(names), strict=True):
        old, output.name = output.name, name
        for node in proto.graph.node:
            node.input[:] = [name if item == old else item for item in node.input]
            node.output[:] = [name if item == old else item for item in node.output]
