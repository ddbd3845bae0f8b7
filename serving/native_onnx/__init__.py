"""Native ONNX: Keras's recurrent layers as ONNX's own operators."""

from serving.native_onnx.registry import converter
from serving.native_onnx.step_models import step_model
from serving.native_onnx.writer import build_onnx, export_onnx, export_step_onnx

__all__ = ["build_onnx", "converter", "export_onnx", "export_step_onnx", "step_model"]
