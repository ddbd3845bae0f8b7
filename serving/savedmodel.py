"""A SavedModel with the preprocessing inside, as TF Serving mounts it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from pipelines.preprocessor import Arrays, Preprocessor
from serving import protos
from serving.errors import ServingError
from serving.fast_recurrent import fast_copy
from serving.tensors import fill_proto

if TYPE_CHECKING:
    import keras

# What a CPU server cannot execute (cuDNN), and what only the exporting process can (Python).
FORBIDDEN_NODES = re.compile(r"CudnnRNN|PyFunc")
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


class ServingModule(tf.Module):
    """Wire inputs to wire outputs: encode, model, decode."""

    def __init__(self, model: keras.Model, preprocessor: Preprocessor) -> None:
        super().__init__()
        # The variables as TensorFlow's own, each once: the model itself, hidden in a function from
        # what tf.Module looks through, would save Keras's wrapping of them as well.
        self.saved_variables = [variable.value for variable in model.variables]
        self._core = lambda inputs: model(inputs, training=False)
        self.preprocessing = preprocessor.graph()
        specs = {
            name: tf.TensorSpec(
                [None if size < 0 else size for size in spec["shape"]], spec["dtype"], name=name
            )
            for name, spec in preprocessor.signature["inputs"].items()
        }
        self.serve = tf.function(self._serve).get_concrete_function(**specs)

    def _serve(self, **wire: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.preprocessing.decode(self._core(self.preprocessing.encode(wire)))


def export_savedmodel(
    model: keras.Model,
    preprocessor: Preprocessor,
    path: str | Path,
    *,
    name: str = "default",
    warmup: Sequence[Arrays] = (),
) -> None:
    """Writes a SavedModel whose ``serving_default`` takes and gives the wire form.

    Args:
        model: core inputs to named core outputs; its recurrent layers are exchanged for
            quick ones without cuDNN kernels in a copy.
        preprocessor: the one that it was trained with.
        path: directory to make.
        name: of the model, as the warm-up requests call it.
        warmup: wire inputs that a server runs before it answers, at most 1000.

    Raises:
        ServingError: the graph holds a node that another machine could not execute.
    """
    module = ServingModule(fast_copy(model), preprocessor)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
    found = forbidden_nodes(Path(path))
    if found:
        raise ServingError(f"the graph in {path} holds {', '.join(found)}, which cannot be served")
    if warmup:
        write_warmup(Path(path), name, warmup)


def forbidden_nodes(path: Path) -> list[str]:
    """Operations in a SavedModel that tie it to a GPU or to a Python process."""
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    found = set()
    for meta in proto.meta_graphs:
        functions = meta.graph_def.library.function
        nodes = [*meta.graph_def.node, *(node for f in functions for node in f.node_def)]
        found.update(node.op for node in nodes if FORBIDDEN_NODES.search(node.op))
    return sorted(found)


def write_warmup(path: Path, name: str, requests: Sequence[Arrays]) -> None:
    """Writes the requests that TF Serving replays on loading, so that no client waits for it.

    Source: TensorFlow Serving, "SavedModel Warmup": a TFRecord file of PredictionLog.
    """
    target = path / WARMUP_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(target)) as writer:
        for inputs in requests:
            log = protos.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = name
            request.model_spec.signature_name = "serving_default"
            for key, array in inputs.items():
                fill_proto(request.inputs[key], array)
            writer.write(log.SerializeToString())
