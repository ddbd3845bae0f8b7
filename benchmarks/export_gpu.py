"""The exports on an NVIDIA GPU: ONNX Runtime's CUDA provider, TensorRT, Keras and PyTorch's cuDNN.

    pip install -e ".[gpu,bench]"                             # TensorFlow with CUDA, TensorRT
    pip uninstall -y onnxruntime                              # one of the two, not both
    pip install "onnxruntime-gpu[cuda,cudnn]"
    python benchmarks/export_gpu.py                           # about ten minutes
    python benchmarks/export_gpu.py --cells lstm --units 64 --no-tensorrt     # about one
    python benchmarks/export_gpu.py --dry-run                 # the same calls on a CPU, in a minute

Every form of one configuration runs in one process, one call of each in turn; medians. Ids go in
and logits come out as NumPy arrays, so that copies to the GPU and back are part of each. What is
not installed, or sees no GPU, is left out and named. PyTorch's layers run over the padding unmasked
(``torch``), which is less work and another answer, and packed (``torch packed``), which is the same
answer. Products of float32 are TensorFloat-32's, as these libraries have it by themselves; parity
is told without as well. A column says how many of a graph's nodes ONNX Runtime left to the CPU. A
model of the GPU's process is also exported and run by one that sees no GPU, which Keras's own
export, traced with cuDNN's kernels, cannot.

``benchmarks/results/export_gpu.json`` is written after each configuration, so that a run that is
cut off has its rows. A dry run writes nothing: its figures are not a GPU's.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import subprocess
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
from measuring import gpu_name, report

from serving.errors import ServingError
from serving.native_onnx import build_onnx, export_onnx
from serving.tensorrt_engine import build_tensorrt, gpu_reason, length_profile
from serving.tensorrt_runner import EngineRunner

CUDA = "CUDAExecutionProvider"
RIGHT_PADDED = {"ids": 0}
WITHOUT_GPU = """
import numpy as np, tensorflow as tf
serve = tf.saved_model.load("saved").signatures["serving_default"]
np.save("y.npy", serve(ids=tf.constant(np.load("ids.npy")))["y"])
"""
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
    return {"GPU": gpu_name() or "none", "ONNX Runtime": onnxruntime.__version__}


def torch_device() -> str | None:
    """PyTorch's name of the GPU."""
    if not importlib.util.find_spec("torch"):
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def measure(cell: str, units: int, options: argparse.Namespace) -> list[dict]:
    """Parity and milliseconds at each batch size, both directions."""
    keras.utils.set_random_seed(0)
    model, dry = recurrent_model(cell, units, both=True), options.dry_run
    graphs = {
        "onnx cpu": build_onnx(model, right_padded=RIGHT_PADDED),
        "onnx cuda": build_onnx(model, right_padded=RIGHT_PADDED, processor="gpu"),
        "onnx cuda fp16": build_onnx(model, "fp16", RIGHT_PADDED),
    }
    written = {name: graph.SerializeToString() for name, graph in graphs.items()}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as engines:
        forms = make_forms(model, written, cell, units, dry)
        if not options.no_tensorrt:
            forms |= tensorrt_forms(model, Path(scratch), engines, options)
        once = measured_once(model, written, forms, Path(scratch), options)
        rows = []
        for batch in options.batches:
            ids = ragged(batch, options.steps)
            want = forms["onnx cpu"](ids)
            same = [name for name in forms if not name.startswith(("torch", "onnx cpu"))]
            times = interleaved(forms, ids, options.repeats)
            rows.append({
                "cell": cell, "units": units, "batch": batch,
                **{f"{name} ms": ms for name, ms in times.items()}, **ratios(times),
                **{f"{name}, difference": far(forms[name](ids), want) for name in same}, **once,
            })  # fmt: skip
    return rows


def measured_once(
    model: keras.Model,
    written: dict[str, bytes],
    forms: dict[str, Call],
    scratch: Path,
    options: argparse.Namespace,
) -> dict[str, float]:
    """What does not depend on the batch."""
    ids = ragged(32, options.steps)
    want = forms["onnx cpu"](ids)
    saved(model, scratch / "saved")
    found = {"savedmodel without a GPU, difference": far(without_gpu(scratch, ids), want)}
    if "onnx cuda" in forms:
        exact = session(written["onnx cuda"], provider_here(), {"use_tf32": "0"})
        found["onnx cuda without TF32, difference"] = far(exact(ids), want)
        for name in ("onnx cuda", "onnx cuda fp16"):
            found[f"{name}, nodes on the CPU"] = on_the_cpu(written[name], scratch, ids)
    return found


def without_gpu(scratch: Path, ids: np.ndarray) -> np.ndarray:
    """What the SavedModel answers in a process that sees no GPU; a device scope would not do."""
    np.save(scratch / "ids.npy", ids)
    subprocess.run(
        [sys.executable, "-c", WITHOUT_GPU], cwd=scratch, check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    return np.load(scratch / "y.npy")


def on_the_cpu(model: bytes, scratch: Path, ids: np.ndarray) -> int:
    """Nodes of a graph that ONNX Runtime computes on the CPU, by its own profile."""
    settings = onnxruntime.SessionOptions()
    settings.enable_profiling, settings.profile_file_prefix = True, str(scratch / "profile")
    providers = list(dict.fromkeys([provider_here(), "CPUExecutionProvider"]))
    made = onnxruntime.InferenceSession(model, settings, providers=providers)
    made.run(None, {"ids": ids})
    events = json.loads(Path(made.end_profiling()).read_text())
    nodes = {(e["name"], e["args"]["provider"]) for e in events if "provider" in e.get("args", {})}
    return sum(provider == "CPUExecutionProvider" for _, provider in nodes)


def ratios(times: dict[str, float]) -> dict[str, float]:
    """How many times quicker ONNX Runtime's CUDA provider is."""
    pairs = {"keras": "onnx cuda", "torch": "onnx cuda", "torch packed": "onnx cuda",
             "onnx cpu": "onnx cuda", "torch packed fp16": "onnx cuda fp16"}  # fmt: skip
    return {
        f"ONNX : {slow}": round(times[slow] / times[quick], 2)
        for slow, quick in pairs.items()
        if slow in times and quick in times
    }


def far(got: np.ndarray, want: np.ndarray) -> float:
    """The largest absolute difference."""
    return float(np.abs(np.asarray(got, np.float32) - want).max())


def provider_here() -> str:
    """CUDA's, or in a dry run the CPU's."""
    return CUDA if CUDA in onnxruntime.get_available_providers() else "CPUExecutionProvider"


def make_forms(
    model: keras.Model, written: dict[str, bytes], cell: str, units: int, dry_run: bool
) -> dict[str, Call]:
    """Each form but TensorRT as a function of ids."""
    forms = {"onnx cpu": session(written["onnx cpu"], "CPUExecutionProvider")}
    if dry_run or provider_here() == CUDA:
        for name in ("onnx cuda", "onnx cuda fp16"):
            forms[name] = session(written[name], provider_here())
    if tf.config.list_physical_devices("GPU") or dry_run:
        compiled = tf.function(lambda ids: model(ids, training=False), reduce_retracing=True)
        forms["keras"] = lambda ids: compiled(ids).numpy()
    if torch_device() or (dry_run and importlib.util.find_spec("torch")):
        forms |= torch_forms(cell, units, torch_device() or "cpu")
    return forms


def session(model: bytes, provider: str, settings: dict[str, str] | None = None) -> Call:
    """ONNX Runtime on one device; it would go on with the CPU where a provider cannot be loaded."""
    providers = [(provider, settings or {})] if provider == CUDA else []
    made = onnxruntime.InferenceSession(model, providers=[*providers, "CPUExecutionProvider"])
    if made.get_providers()[0] != provider:
        sys.exit(f"ONNX Runtime cannot load {provider}; what it needs, it says above")
    return lambda ids: made.run(None, {"ids": ids})[0]


def torch_forms(cell: str, units: int, device: str) -> dict[str, Call]:
    """PyTorch's layers, whose kernels on a GPU are cuDNN's, of the same sizes."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    kind = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    network = kind(EMBEDDING, units, 2, bidirectional=True, batch_first=True).to(device).eval()
    embedding = torch.nn.Embedding(VOCABULARY, EMBEDDING).to(device)
    head = torch.nn.Linear(2 * units, CLASSES).to(device)

    def logits(states, head=head):
        h = states[0] if cell == "lstm" else states
        return head(torch.cat([h[-2], h[-1]], 1)).cpu().numpy()

    def padded(ids: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return logits(network(embedding(torch.from_numpy(ids).to(device).long()))[1])

    def packed(ids: np.ndarray, layers=(embedding, network, head)) -> np.ndarray:
        embedding, network, head = layers
        with torch.inference_mode():
            lengths = torch.from_numpy((ids > 0).sum(1))  # on the CPU, as PyTorch wants them
            x = embedding(torch.from_numpy(ids).to(device).long())
            x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return logits(network(x)[1], head)

    half = tuple(copy.deepcopy(layer).half() for layer in (embedding, network, head))
    return {"torch": padded, "torch packed": packed,
            "torch packed fp16": lambda ids: packed(ids, half)}  # fmt: skip


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
