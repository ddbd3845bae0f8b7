"""Export, bundle, server, client. Names load on first use: importing this costs nothing."""

from common.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Client": "serving.client",
        "OnnxModel": "serving.predictor",
        "Predictor": "serving.predictor",
        "ServingError": "serving.errors",
        "StepModel": "serving.steps",
        "Stream": "serving.streaming",
        "build_tensorrt": "serving.tensorrt_engine",
        "converter": "serving.native_onnx",
        "export_model": "serving.keras_models",
        "export_onnx": "serving.native_onnx",
        "export_step_onnx": "serving.native_onnx",
        "export_savedmodel": "serving.savedmodel",
        "read_manifest": "serving.bundle",
        "running": "serving.runtime.server",
        "serve": "serving.runtime.server",
        "step_model": "serving.native_onnx",
    },
)
