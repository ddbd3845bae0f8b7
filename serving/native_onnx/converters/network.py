"""What networks of the user's own are built with."""

from __future__ import annotations

from models.masking import KeepMask
from serving.native_onnx.converters.layers import valid_steps
from serving.native_onnx.registry import converter


@converter(KeepMask)
def keep_mask(graph, layer, inputs, mask=None):
    """The first input, zeros where the second is masked; the mask is a node of its own."""
    if not mask or mask[1] is None:
        return inputs[0]
    return inputs[0] * valid_steps(graph, mask[1], inputs[0].dtype)
