"""The exports on an NVIDIA GPU: ONNX Runtime's CUDA provider, TensorRT, Keras and PyTorch's cuDNN.

    pip install -e ".[gpu,bench]"                             # TensorFlow with CUDA, TensorRT
    pip uninstall -y onnxruntime && pip install onnxruntime-gpu       # one of the two, not both
    python benchmarks/export_gpu.py                           # about ten minutes
    python benchmarks/export_gpu.py --cells lstm --units 64 --no-tensorrt     # about one
    python benchmarks/export_gpu.py --dry-run                 # the same calls on a CPU, in a minute

Every form of one configuration runs in one process, one call of each in turn; medians. Ids go in
and logits come out as NumPy arrays, so that copies to the GPU and back are part of each. What is
not installed, or sees no GPU, is left out and named. PyTorch's layers run over the padding unmasked
(``torch``), which is less work and another answer, and packed (``torch packed``), which is the same
answer. A model that Keras traced on the GPU, with cuDNN's kernels, is also exported and run on the
CPU, which Keras's own export cannot.

``benchmarks/results/export_gpu.json`` is written after each configuration, so that a run that is
cut off has its rows. A dry run writes nothing: its figures are not a GPU's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from export import CELLS, CLASSES, EMBEDDING, VOCABULARY, interleaved, ragged, recurrent_model
from export import savedmodel as saved
from measuring import report

from serving.errors import ServingError
from serving.fast_recurrent import fast_copy
from serving.native_onnx import build_onnx, export_onnx
from serving.tensorrt_engine import build_tensorrt, gpu_reason, length_profile
from serving.tensorrt_runner import EngineRunner

CUDA = "CUDAExecutionProvider"
RIGHT_PADDED = {"ids": 0}
Call = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--units", nargs="+", type=int)
    parser.add_argument("--batches", nargs="+", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--no-tensorrt", action="store_true")
    parser.add_argument("--dry-run", action="store_true", help="on a CPU; small, and not written")
    options = parser.parse_args()
    usual = ([8], [1, 2], 8, 2) if options.dry_run else ([64, 256], [1, 32, 256], 128, 30)
    for name, value in zip(("units", "batches", "steps", "repeats"), usual, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    about = devices(options.dry_run)
    print(json.dumps(about), flush=True)
    rows: list[dict] = []
    for cell in options.cells:
        for units in options.units:
            rows += [about | row for row in measure(cell, units, options)]
            print(json.dumps(rows[-len(options.batches) :]), flush=True)
            if not options.dry_run:
                report("export_gpu", rows)


def devices(dry_run: bool) -> dict[str, str]:
    """The GPU and the libraries that use it; ends the script if none does.

    TensorFlow would take the whole of its memory, and leave nothing to the others.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN out of NVIDIA's wheels
    missing = []
    if not gpus:
        missing.append('TensorFlow sees no GPU (pip install "tensorflow[and-cuda]")')
    if CUDA not in onnxruntime.get_available_providers():
        missing.append("ONNX Runtime has no CUDA provider (pip install onnxruntime-gpu)")
    if not torch_device():
        missing.append("there is no PyTorch with CUDA")
    for reason in missing:
        print(f"left out: {reason}", file=sys.stderr)
    if len(missing) == 3 and not dry_run:
        sys.exit(
            "nothing here uses a GPU; nothing was measured. --dry-run tries the calls on a CPU"
        )
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    return {
        "GPU": details.get("device_name") or gpu_of_torch() or "none",
        "ONNX Runtime": onnxruntime.__version__,
    }


def torch_device() -> str | None:
    """PyTorch's name of the GPU."""
    if not importlib.util.find_spec("torch"):
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def gpu_of_torch() -> str | None:
    """What PyTorch calls the GPU, where TensorFlow does not see it."""
    if torch_device() is None:
        return None
    import torch

    return torch.cuda.get_device_name(0)


def measure(cell: str, units: int, options: argparse.Namespace) -> list[dict]:
    """Parity and milliseconds at each batch size, both directions."""
    keras.utils.set_random_seed(0)
    model = recurrent_model(cell, units, both=True)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as engines:
        forms = make_forms(model, cell, units, options.dry_run)
        if not options.no_tensorrt:
            forms |= tensorrt_forms(model, Path(scratch), engines, options)
        with tf.device("CPU"):
            # Traced with cuDNN's kernels where there is a GPU, and exported without them.
            on_cpu = saved(fast_copy(model), Path(scratch) / "saved")
            ids = ragged(32, options.steps)
            apart = {"savedmodel on the CPU": far(on_cpu(ids), forms["onnx cpu"](ids))}
        rows = []
        for batch in options.batches:
            ids = ragged(batch, options.steps)
            want = forms["onnx cpu"](ids)
            same = {name: call for name, call in forms.items() if not name.startswith("torch")}
            found = apart | {name: far(call(ids), want) for name, call in same.items()}
            rows.append({
                "cell": cell, "units": units, "batch": batch,
                **{f"{n} ms": ms for n, ms in interleaved(forms, ids, options.repeats).items()},
                **{f"{n}, difference": gap for n, gap in found.items() if n != "onnx cpu"},
            })  # fmt: skip
    return rows


def far(got: np.ndarray, want: np.ndarray) -> float:
    """The largest absolute difference."""
    return float(np.abs(np.asarray(got, np.float32) - want).max())


def make_forms(model: keras.Model, cell: str, units: int, dry_run: bool) -> dict[str, Call]:
    """Each form but TensorRT as a function of ids."""
    single = build_onnx(model, right_padded=RIGHT_PADDED).SerializeToString()
    half = build_onnx(model, "fp16", RIGHT_PADDED).SerializeToString()
    on_gpu = build_onnx(model, right_padded=RIGHT_PADDED, processor="gpu").SerializeToString()
    forms = {"onnx cpu": session(single, "CPUExecutionProvider")}
    provider = CUDA if CUDA in onnxruntime.get_available_providers() else None
    if provider or dry_run:
        forms["onnx cuda"] = session(on_gpu, provider or "CPUExecutionProvider")
        forms["onnx cuda fp16"] = session(half, provider or "CPUExecutionProvider")
    if tf.config.list_physical_devices("GPU") or dry_run:
        compiled = tf.function(lambda ids: model(ids, training=False), reduce_retracing=True)
        forms["keras"] = lambda ids: compiled(ids).numpy()
    if torch_device() or (dry_run and importlib.util.find_spec("torch")):
        forms |= torch_forms(cell, units, torch_device() or "cpu")
    return forms


def session(model: bytes, provider: str) -> Call:
    """ONNX Runtime on one device; it would go on with the CPU where a provider cannot be loaded."""
    providers = list(dict.fromkeys([provider, "CPUExecutionProvider"]))
    made = onnxruntime.InferenceSession(model, providers=providers)
    if made.get_providers()[0] != provider:
        sys.exit(f"ONNX Runtime cannot load {provider}: CUDA 12 and cuDNN 9 must be installed")
    return lambda ids: made.run(None, {"ids": ids})[0]


def torch_forms(cell: str, units: int, device: str) -> dict[str, Call]:
    """PyTorch's layers, whose kernels on a GPU are cuDNN's, of the same sizes."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    kind = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    network = kind(EMBEDDING, units, 2, bidirectional=True, batch_first=True).to(device).eval()
    embedding = torch.nn.Embedding(VOCABULARY, EMBEDDING).to(device)
    head = torch.nn.Linear(2 * units, CLASSES).to(device)

    def logits(states):
        h = states[0] if cell == "lstm" else states
        return head(torch.cat([h[-2], h[-1]], 1)).cpu().numpy()

    def padded(ids: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return logits(network(embedding(torch.from_numpy(ids).to(device).long()))[1])

    def packed(ids: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            lengths = torch.from_numpy((ids > 0).sum(1))  # on the CPU, as PyTorch wants them
            x = embedding(torch.from_numpy(ids).to(device).long())
            x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return logits(network(x)[1])

    return {"torch": padded, "torch packed": packed}


def tensorrt_forms(
    model: keras.Model, scratch: Path, engines: ExitStack, options: argparse.Namespace
) -> dict[str, Call]:
    """TensorRT in both precisions; in a dry run plans are built where the library can, not run."""
    reason, forms = gpu_reason(), {}
    if reason:
        print(f"left out: TensorRT: {reason}", file=sys.stderr)
        if not options.dry_run:
            return {}
    profile = length_profile([options.steps], {"ids": (None, None)}, max(options.batches))
    for precision in ("fp32", "fp16"):
        path, plan = (scratch / f"{precision}.{end}" for end in ("onnx", "plan"))
        export_onnx(model, path, precision, RIGHT_PADDED, processor="gpu")
        try:
            built = build_tensorrt(path, plan, profile=profile)
        except ServingError as error:
            print(f"left out: TensorRT {precision}: {error}", file=sys.stderr)
            continue
        print(f"{built['library']} {built['version']} {precision}: {built['seconds']} s to build")
        if reason is None:
            engine = engines.enter_context(EngineRunner(plan))
            forms[f"tensorrt {precision}"] = lambda ids, run=engine.run: next(
                iter(run({"ids": ids}).values())
            )
    return forms


if __name__ == "__main__":
    main()
