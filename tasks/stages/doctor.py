"""What works on this machine: the stage behind ``seqloom doctor``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tasks.stages.run_directory import environment

Row = dict[str, str]
CUDA = "CUDAExecutionProvider"


def examine() -> list[Row]:
    """One row a check: ``{"check", "status": ok | absent | broken, "detail"}``."""
    facts = environment()
    rows = [_row("python", "ok", f"{facts['python']} at {sys.executable}")]
    for name, version in facts["packages"].items():
        rows.append(_row(name, "ok" if version else "broken", version or f"pip install {name}"))
    rest = {"TFDS cache": _tfds, "disk": _disk, "memory": _memory}
    return [*rows, *examine_gpu(), *_rows(rest)]


def examine_gpu() -> list[Row]:
    """The rows of ``examine`` about what would use a GPU: training, the server, TensorRT."""
    return _rows({"GPU": _gpu, "TensorRT": _tensorrt, "ONNX Runtime providers": _providers})


def _rows(checks: Mapping[str, Callable[[], tuple[str, str]]]) -> list[Row]:
    return [_row(name, *check()) for name, check in checks.items()]


def _row(check: str, status: str, detail: str) -> Row:
    return {"check": check, "status": status, "detail": detail}


def _gpu() -> tuple[str, str]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return "ok", ", ".join(gpu.name for gpu in gpus)
    here = f"TensorFlow computes on {os.cpu_count()} CPU cores"
    if not tf.test.is_built_with_cuda():
        return "absent", f"{here}; it is built without CUDA, so no GPU would be used"
    return "absent", f"{here}; train, tune and run would use a GPU (pip install 'seqloom[gpu]')"


def _tensorrt() -> tuple[str, str]:
    from serving.errors import ServingError
    from serving.tensorrt_engine import gpu_reason, load_library

    try:
        library = load_library()
    except ServingError as error:
        return "absent", str(error)
    reason = gpu_reason()
    runs = "runs plans here" if reason is None else f"builds plans, runs none: {reason}"
    return "ok", f"{library.__name__} {library.__version__}; {runs}"


def _providers() -> tuple[str, str]:
    import onnxruntime

    found = onnxruntime.get_available_providers()
    more = "" if CUDA in found else "; serve and predict BUNDLE use a GPU with onnxruntime-gpu"
    return "ok", ", ".join(found) + more


def _tfds() -> tuple[str, str]:
    home = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if not home.is_dir():
        return "absent", f"{home}; set TFDS_DATA_DIR, or let tfds:NAME download into it"
    return "ok", f"{home}: {', '.join(sorted(p.name for p in home.iterdir())) or 'empty'}"


def _disk() -> tuple[str, str]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return ("ok" if free > 2 else "broken"), f"{free:.0f} GiB free in {Path.cwd()}"


def _memory() -> tuple[str, str]:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (ValueError, OSError):
        return "absent", "unknown on this system"
    return ("ok" if total > 3 else "broken"), f"{total:.0f} GiB"
