"""Export, bundle, server, client. Names load on first use: importing this costs nothing."""

from importlib import import_module
from typing import Any

_HOME = {
    "Client": "serving.client",
    "OnnxModel": "serving.predictor",
    "Predictor": "serving.predictor",
    "ServingError": "serving.errors",
    "StepModel": "serving.steps",
    "Stream": "serving.streaming",
    "build_tensorrt": "serving.tensorrt_engine",
    "converter": "serving.native_onnx",
    "export_onnx": "serving.native_onnx",
    "export_step_onnx": "serving.native_onnx",
    "export_savedmodel": "serving.savedmodel",
    "read_manifest": "serving.bundle",
    "running": "serving.runtime.server",
    "serve": "serving.runtime.server",
    "step_model": "serving.native_onnx",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
