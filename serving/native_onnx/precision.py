"""int8 weights for CPUs: dynamic quantisation of a native graph.

ONNX Runtime has quantised kernels for LSTM, MatMul and Gather. GRU and RNN have none: those layers
come with 8-bit weights already, and a loop that multiplies them (``converters.loops``).
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from serving.native_onnx.graph import FLOAT32_NODES


def quantised(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with 8-bit integer weights, activations quantised as they come.

    Nodes that the writer keeps in float32 for their sums (see ``Graph.computing_in``) stay float32.

    Source: ONNX Runtime, "Quantize ONNX models", dynamic quantisation.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kept = [entry.value for entry in proto.metadata_props if entry.key == FLOAT32_NODES]
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        path = Path(scratch) / "model.onnx"
        quantize_dynamic(
            copy.deepcopy(proto),  # it writes into what it is given
            path,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept[0].split("\n") if kept else None,
        )
        return onnx.load(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without its log lines on types that it does not quantise anyway, and its advice."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
