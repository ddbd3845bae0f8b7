"""Finds the installed TensorRT, its messages, and whether its engines run on this machine."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.errors import ServingError

LIBRARIES = ("tensorrt", "tensorrt_rtx")


def load_library(name: str | None = None) -> Any:
    """The module that builds and runs plans: the one named, or else the first that is installed.

    Raises:
        ServingError: there is none.
    """
    for candidate in [name] if name else LIBRARIES:
        try:
            library = importlib.import_module(candidate)
        except ImportError:
            continue
        if hasattr(library, "Builder"):  # a folder of type stubs imports as well
            return library
    raise ServingError(
        f"{name or 'neither tensorrt nor tensorrt_rtx'} is {'not ' if name else ''}installed; "
        '`pip install "seqloom[rtx]"` builds plans on any machine, `pip install "seqloom[gpu]"` is '
        "for data-centre GPUs and needs NVIDIA's own package index"
    )


def is_rtx(library: Any) -> bool:
    """Whether it is TensorRT for RTX, which builds for listed GPUs and without one at hand."""
    return library.__name__ == "tensorrt_rtx"


def device_capability() -> int | None:
    """Compute capability of the first GPU, 86 for 8.6; None where cuda-python sees none."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        return None
    kinds = runtime.cudaDeviceAttr
    digits = []
    for kind in (
        kinds.cudaDevAttrComputeCapabilityMajor,
        kinds.cudaDevAttrComputeCapabilityMinor,
    ):
        status, value = runtime.cudaDeviceGetAttribute(kind, 0)
        if int(status):
            return None
        digits.append(value)
    return 10 * digits[0] + digits[1]


def gpu_reason(library: str | None = None) -> str | None:
    """Why no engine can run on this machine; None where one can."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        return "cuda-python is not installed (`pip install cuda-python`)"
    status, count = runtime.cudaGetDeviceCount()
    if int(status) or not count:
        return f"there is no NVIDIA GPU or no driver ({status.name})"
    try:
        trt = load_library(library)
    except ServingError as error:
        return str(error)
    own = device_capability()
    if is_rtx(trt) and own and f"SM{own}" not in trt.ComputeCapability.__members__:
        return (
            f"tensorrt_rtx has no kernels for this GPU's compute capability {dotted(own)}, "
            "tensorrt may"
        )
    return None


def dotted(capability: int) -> str:
    """86 as "8.6"."""
    return f"{capability // 10}.{capability % 10}"


def collecting_logger(library: Any) -> Any:
    """A logger of that library that keeps its messages in ``warnings`` and ``errors``."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library

    class Logger(trt.ILogger):
        """Keeps each message once, on one line."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.warnings: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            kept = {
                trt.ILogger.INTERNAL_ERROR: self.errors,
                trt.ILogger.ERROR: self.errors,
                trt.ILogger.WARNING: self.warnings,
            }.get(severity)
            line = " ".join(message.split())
            if kept is not None and line not in kept:
                kept.append(line)

    return Logger()


def report_path(plan: str | Path) -> Path:
    """``build.json`` next to ``model.plan``; ``<core>.build.json`` next to another core's."""
    plan = Path(plan)
    return plan.with_name("build.json" if plan.stem == "model" else f"{plan.stem}.build.json")


def read_report(plan: str | Path) -> dict[str, Any]:
    """The report that ``build_tensorrt`` wrote for a plan; empty if there is none."""
    path = report_path(plan)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
