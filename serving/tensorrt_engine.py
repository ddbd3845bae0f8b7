"""TensorRT plans, by ``tensorrt`` (10 and 11) or ``tensorrt_rtx`` through the same calls.

Precision is what the ONNX file says: networks are strongly typed, as TensorRT 11 has them always.
``tensorrt_rtx`` builds on a machine without a GPU, for the compute capabilities asked for;
``tensorrt`` builds on the GPU that will run the plan.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from pipelines.files import write_json
from serving.errors import ServingError

LIBRARIES = ("tensorrt", "tensorrt_rtx")
Shape = tuple[int, ...]
Profile = Mapping[str, tuple[Shape, Shape, Shape]]


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
        "`pip install tensorrt-rtx` builds plans on any machine, `pip install tensorrt` needs "
        "NVIDIA's own package index"
    )


def length_profile(
    lengths: Sequence[int], inputs: Mapping[str, Sequence[int | None]], max_batch: int = 32
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """The shapes that a plan is made for, from those that the data has.

    Args:
        lengths: number of steps of each example.
        inputs: shape of each input of the model, None where it is open; the first open dimension
            is the batch, the second time.
        max_batch: greatest batch.

    Returns:
        For each input (least, best, greatest) shape: one row of one step; a middling batch of the
        median length; ``max_batch`` rows of the greatest length, each length rounded up to a
        multiple of eight.
    """
    median = 8 * math.ceil(statistics.median(lengths) / 8)
    longest = 8 * math.ceil(max(lengths) / 8)
    sizes = ((1, 1), (max(1, max_batch // 4), median), (max_batch, longest))

    def shaped(shape: Sequence[int | None], batch: int, time: int) -> Shape:
        return (batch, *(time if size is None else size for size in shape[1:]))

    return {name: tuple(shaped(shape, *s) for s in sizes) for name, shape in inputs.items()}


def build_tensorrt(
    onnx_path: str | Path,
    plan_path: str | Path,
    *,
    profile: Profile,
    compute_capabilities: Sequence[str] = (),
    workspace_bytes: int | None = None,
    timing_cache: str | Path | None = None,
    library: str | None = None,
) -> dict[str, Any]:
    """Builds a plan, with ``build.json`` beside it.

    Args:
        onnx_path: the model, in the precision that the engine shall compute in.
        plan_path: file to write; it appears whole.
        profile: (least, best, greatest) shape of each input.
        compute_capabilities: GPUs to build for, such as "8.6"; the library's own choice if none.
        workspace_bytes: most scratch memory; the library's own choice if None.
        timing_cache: file that keeps timings between builds; made if need be.
        library: "tensorrt" or "tensorrt_rtx".

    Returns:
        What ``build.json`` holds: library, version, compute capabilities, precision, profile,
        number of layers, seconds, bytes, checksum of the ONNX, warnings.

    Raises:
        ServingError: no library, or the parser or builder refused; the reason is its own.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = load_library(library)
    log = _logger(trt)
    builder = trt.Builder(log)
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    # In TensorRT 11 there are no other networks, and the flag may be gone.
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx_path)):
        raise ServingError(_parser_errors(parser, onnx_path))
    config = builder.create_builder_config()
    shapes = builder.create_optimization_profile()
    for name, (least, best, most) in profile.items():
        shapes.set_shape(name, least, best, most)
    config.add_optimization_profile(shapes)
    if workspace_bytes:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    _target(trt, config, compute_capabilities)
    cache = _read_timings(config, timing_cache)
    began = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ServingError(
            f"{trt.__name__} cannot build {onnx_path}: {'; '.join(log.errors) or 'no reason given'}"
        )
    content = bytes(plan)
    _write_bytes(Path(plan_path), content)
    if cache is not None:
        _write_bytes(Path(timing_cache), bytes(config.get_timing_cache().serialize()))
    report = {
        "library": trt.__name__,
        "version": trt.__version__,
        "compute_capabilities": list(compute_capabilities) or "default",
        "precision": _precision(onnx_path),
        "profile": {name: [list(shape) for shape in three] for name, three in profile.items()},
        "layers": network.num_layers,
        "inputs": [_tensor(network.get_input(i)) for i in range(network.num_inputs)],
        "outputs": [_tensor(network.get_output(i)) for i in range(network.num_outputs)],
        "seconds": round(time.perf_counter() - began, 3),
        "bytes": len(content),
        "onnx_sha256": hashlib.sha256(Path(onnx_path).read_bytes()).hexdigest(),
        "warnings": log.warnings,
    }
    write_json(Path(plan_path).with_name("build.json"), report)
    return report


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
    served = getattr(trt, "ComputeCapability", None)
    if served is not None:  # only tensorrt_rtx has such a list
        _, properties = runtime.cudaGetDeviceProperties(0)
        name = f"SM{properties.major}{properties.minor}"
        if name not in served.__members__:
            return f"{trt.__name__} does not serve compute capability {name}"
    return None


def verify_engine(
    plan_path: str | Path,
    onnx_path: str | Path,
    batches: Sequence[Mapping[str, np.ndarray]],
    repeats: int = 20,
) -> dict[str, Any]:
    """Runs an engine and ONNX Runtime on the same batches.

    Returns:
        ``{"difference": greatest absolute one, "differences": per output, "latency_ms": per batch
        size, "onnxruntime_latency_ms": likewise}``, medians of ``repeats`` warm calls.
    """
    import onnxruntime

    from serving.tensorrt_runner import EngineRunner

    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    differences = dict.fromkeys(names, 0.0)
    times: dict[str, dict[str, float]] = {"latency_ms": {}, "onnxruntime_latency_ms": {}}
    with EngineRunner(plan_path) as engine:
        for batch in batches:
            feeds = dict(batch)
            got, want = engine.run(feeds), dict(zip(names, session.run(names, feeds), strict=True))
            for name in names:
                far = np.abs(got[name].astype(np.float64) - want[name]).max()
                differences[name] = float(np.maximum(differences[name], far))
            size = str(len(next(iter(feeds.values()))))
            times["latency_ms"][size] = _median_ms(lambda f=feeds: engine.run(f), repeats)
            times["onnxruntime_latency_ms"][size] = _median_ms(
                lambda f=feeds: session.run(names, f), repeats
            )
    return {"difference": max(differences.values()), "differences": differences, **times}


def _median_ms(call: Any, repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):
        """Keeps what it is told, for the report and the error."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.warnings: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))
            elif severity == trt.ILogger.WARNING and message not in self.warnings:
                self.warnings.append(message)

    return Logger()


def _parser_errors(parser: Any, path: str | Path) -> str:
    found = []
    for i in range(parser.num_errors):
        error = parser.get_error(i)
        node = error.node_name() or f"node {error.node()}"
        found.append(f"{node} ({error.node_operator() or 'unknown operator'}): {error.desc()}")
    return f"TensorRT cannot parse {path}: {'; '.join(found)}"


def _target(trt: Any, config: Any, capabilities: Sequence[str]) -> None:
    """Which GPUs the plan is for."""
    if not capabilities:
        return
    names = [f"SM{text.lower().removeprefix('sm').replace('.', '')}" for text in capabilities]
    served = getattr(trt, "ComputeCapability", None)
    if served is None:  # tensorrt: this GPU, or every one from Ampere on
        if any(not name[2:].isdecimal() or int(name[2:]) < 80 for name in names):
            raise ServingError(
                f"tensorrt builds for the GPU at hand, or for all from 8.0 on; not for "
                f"--compute-capability {' '.join(capabilities)}"
            )
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        return
    unknown = [
        text for text, name in zip(capabilities, names, strict=True)
        if name not in served.__members__
    ]  # fmt: skip
    if unknown:
        known = ", ".join(f"{n[2:-1]}.{n[-1]}" for n in served.__members__ if n.startswith("SM"))
        raise ServingError(
            f"{trt.__name__} does not serve --compute-capability {unknown[0]}; it has {known}"
        )
    config.num_compute_capabilities = len(names)
    for i, name in enumerate(names):
        config.set_compute_capability(served.__members__[name], i)


def _read_timings(config: Any, path: str | Path | None) -> Any:
    if path is None:
        return None
    cache = config.create_timing_cache(Path(path).read_bytes() if Path(path).is_file() else b"")
    if not config.set_timing_cache(cache, False):
        raise ServingError(
            f"{path} is a timing cache of another GPU or version; name another --timing-cache"
        )
    return cache


def _precision(path: str | Path) -> str:
    kinds = {t.data_type for t in onnx.load(path, load_external_data=False).graph.initializer}
    return "fp16" if onnx.TensorProto.FLOAT16 in kinds else "fp32"


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}


def _write_bytes(path: Path, content: bytes) -> None:
    aside = path.with_name(f"{path.name}.new")
    aside.write_bytes(content)
    os.replace(aside, path)
