"""The exports on an NVIDIA GPU: ONNX Runtime's CUDA provider beside PyTorch's cuDNN, and TensorRT.

    python benchmarks/export_gpu.py

It needs a GPU, ``onnxruntime-gpu`` and a CUDA build of PyTorch; TensorRT where it is installed and
serves that GPU. It also exports a model that Keras traced with cuDNN kernels and runs it on the
CPU, which Keras's own export cannot. Where there is no GPU it says so and writes nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from export import CELLS, interleaved, onnx_session, ragged, recurrent_model, savedmodel
from measuring import report

from serving.fast_recurrent import fast_copy
from serving.native_onnx import build_onnx, export_onnx
from serving.tensorrt_engine import build_tensorrt, gpu_reason, length_profile, verify_engine


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--units", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32, 256])
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    if not tf.config.list_physical_devices("GPU"):
        sys.exit("there is no GPU that TensorFlow sees; nothing was measured")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        sys.exit("this ONNX Runtime has no CUDA provider: pip install onnxruntime-gpu")
    rows = []
    for cell in CELLS:
        for units in options.units:
            rows += measure(cell, units, options)
            print(rows[-1], flush=True)
    report("export_gpu", rows)


def measure(cell: str, units: int, options: argparse.Namespace) -> list[dict]:
    """Parity and milliseconds at each batch size, both directions."""
    keras.utils.set_random_seed(0)
    model = recurrent_model(cell, units, both=True)
    want = np.asarray(model.predict_on_batch(ragged(32, options.steps)))  # traced with cuDNN
    plain = build_onnx(model).SerializeToString()
    with tempfile.TemporaryDirectory() as scratch, tf.device("CPU"):
        on_cpu = savedmodel(fast_copy(model), Path(scratch) / "saved")
        cpu_difference = float(np.abs(on_cpu(ragged(32, options.steps)) - want).max())
    forms = {
        "onnx cuda": cuda_session(plain),
        "onnx cuda fp16": cuda_session(build_onnx(model, "fp16").SerializeToString()),
        "onnx cpu": onnx_session(plain),
    }
    if importlib.util.find_spec("torch"):
        forms["torch cudnn"] = torch_on_gpu(cell, units)
    engine = engines(model, options)
    rows = []
    for batch in options.batches:
        ids = ragged(batch, options.steps)
        reference = forms["onnx cpu"](ids)
        times = interleaved(forms, ids, options.repeats)
        rows.append({
            "cell": cell, "units": units, "batch": batch,
            "cuda difference": float(np.abs(forms["onnx cuda"](ids) - reference).max()),
            "savedmodel on the CPU, difference": cpu_difference,
            **{f"{name} ms": ms for name, ms in times.items()},
            **{f"{name} ms": found["latency_ms"].get(str(batch)) for name, found in engine.items()},
            **{f"{name} difference": found["difference"] for name, found in engine.items()},
        })  # fmt: skip
    return rows


def cuda_session(model: bytes):
    """ONNX Runtime on the GPU."""
    session = onnxruntime.InferenceSession(model, providers=["CUDAExecutionProvider"])
    return lambda ids: session.run(None, {"ids": ids})[0]


def torch_on_gpu(cell: str, units: int):
    """PyTorch's layers, whose kernels are cuDNN's; over the padding, unmasked."""
    import torch

    kind = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    network = kind(64, units, 2, bidirectional=True, batch_first=True).cuda().eval()
    embedding = torch.nn.Embedding(1000, 64).cuda()

    def run(ids: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output, _ = network(embedding(torch.from_numpy(ids).cuda().long()))
            return output[:, -1].cpu().numpy()

    return run


def engines(model: keras.Model, options: argparse.Namespace) -> dict[str, dict]:
    """TensorRT in both precisions, verified; nothing where none can run."""
    reason = gpu_reason()
    if reason:
        print(f"no TensorRT: {reason}", file=sys.stderr)
        return {}
    found = {}
    profile = length_profile([options.steps], {"ids": (None, None)}, max(options.batches))
    with tempfile.TemporaryDirectory() as scratch:
        for precision in ("fp32", "fp16"):
            path, plan = (Path(scratch) / f"{precision}.{end}" for end in ("onnx", "plan"))
            export_onnx(model, path, precision)
            build_tensorrt(path, plan, profile=profile)
            batches = [{"ids": ragged(batch, options.steps)} for batch in options.batches]
            found[f"tensorrt {precision}"] = verify_engine(plan, path, batches, options.repeats)
    return found


if __name__ == "__main__":
    main()
