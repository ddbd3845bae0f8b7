"""TensorRT plans, by ``tensorrt`` (10 and 11) or ``tensorrt_rtx`` through the same calls.

Precision is what the ONNX file says: networks are strongly typed, as TensorRT 11 has them always.
``tensorrt_rtx`` builds on a machine without a GPU, for the compute capabilities asked for;
``tensorrt`` builds on the GPU that will run the plan.
"""

from __future__ import annotations

import hashlib
import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from common.files import write_json
from serving.errors import ServingError
from serving.tensorrt_library import (
    collecting_logger,
    device_capability,
    dotted,
    gpu_reason,
    is_rtx,
    load_library,
    report_path,
)
from serving.tensorrt_runner import verify_engine

if TYPE_CHECKING:
    import tensorrt

__all__ = ["build_tensorrt", "gpu_reason", "length_profile", "load_library", "verify_engine"]

Shape = tuple[int, ...]
Profile = Mapping[str, tuple[Shape, Shape, Shape]]


def length_profile(
    lengths: Sequence[int], inputs: Mapping[str, Sequence[Any]], max_batch: int = 32
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """The shapes that a plan is made for, from those that the data has.

    Args:
        lengths: number of steps of each example.
        inputs: shape of each input of the model; what is no positive number (None, -1, a name) is
            open. The first dimension is the batch, another open one is time.
        max_batch: largest batch.

    Returns:
        For each input (smallest, best, largest) shape: one row of one step; a quarter of
        ``max_batch`` with the median length; ``max_batch`` rows of the largest length, each
        length rounded up to a multiple of eight.

    Raises:
        ServingError: no lengths, or an input with two open dimensions in addition to the batch.
    """
    if not lengths:
        raise ServingError("a plan's profile follows the data's lengths, and there is no example")
    median = 8 * math.ceil(max(1, statistics.median(lengths)) / 8)
    longest = 8 * math.ceil(max(1, *lengths) / 8)
    sizes = ((1, 1), (max(1, max_batch // 4), median), (max_batch, longest))

    def shaped(name: str, shape: Sequence[Any], batch: int, steps: int) -> Shape:
        rest = [size if isinstance(size, int) and size > 0 else None for size in shape[1:]]
        if rest.count(None) > 1:
            raise ServingError(
                f"input {name!r} of shape {tuple(shape)} has two open dimensions besides the "
                "batch; only one can be time, fix the other in the model"
            )
        return (batch, *(steps if size is None else size for size in rest))

    smallest, best, largest = sizes
    return {
        name: (shaped(name, x, *smallest), shaped(name, x, *best), shaped(name, x, *largest))
        for name, x in inputs.items()
    }


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
    """Builds a plan, with ``build.json`` next to it.

    Args:
        onnx_path: the model, in the precision that the engine computes in.
        plan_path: file to write; it appears whole.
        profile: (smallest, best, largest) shape of each input with an open dimension.
        compute_capabilities: GPUs to build for, such as "8.6"; the library's own choice if none.
        workspace_bytes: largest scratch memory; if None the library chooses.
        timing_cache: file of timings from one build to the next; ``tensorrt_rtx`` keeps none.
        library: "tensorrt" or "tensorrt_rtx".

    Returns:
        What ``build.json`` holds: library, version, compute capabilities, precision, profile,
        number of layers, inputs, outputs, seconds, bytes, checksum of the ONNX, warnings.

    Raises:
        ServingError: no library, a profile that does not fit the model, or an error of TensorRT.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = load_library(library)
    began = time.perf_counter()
    log = collecting_logger(trt)
    builder = trt.Builder(log)
    network = _network(trt, builder)
    parser = trt.OnnxParser(network, log)  # owns the weights: it must outlive the build
    _parse(parser, log, Path(onnx_path))
    config = builder.create_builder_config()
    config.add_optimization_profile(_optimization(builder, network, profile))
    if workspace_bytes:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    _target(trt, config, compute_capabilities)
    timings = _read_timings(trt, config, log, timing_cache)
    plan = builder.build_serialized_network(network, config)
    _refuse_failure(onnx_path, plan, log)
    _write_bytes(Path(plan_path), bytes(plan))
    if timings is not None and timing_cache is not None:
        _write_bytes(Path(timing_cache), bytes(timings.serialize()))
    report = {
        "library": trt.__name__,
        "version": trt.__version__,
        "compute_capabilities": list(compute_capabilities) or "default",
        **_description(network, onnx_path, profile),
        "seconds": round(time.perf_counter() - began, 3),
        "bytes": Path(plan_path).stat().st_size,
        "warnings": log.warnings,
    }
    write_json(report_path(plan_path), report)
    return report


def _network(library: Any, builder: tensorrt.Builder) -> tensorrt.INetworkDefinition:
    flag = getattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    # TensorRT 11 has no other networks; it ignores the flag and may drop it.
    return builder.create_network(0 if flag is None else 1 << int(flag))


def _parse(parser: tensorrt.OnnxParser, log: Any, path: Path) -> None:
    """Reads the file into the parser's network; its errors name node, operator and reason."""
    if not path.is_file():
        raise ServingError(f"there is no ONNX file {path}")
    if parser.parse_from_file(str(path)):
        return
    found = []
    for i in range(parser.num_errors):
        error = parser.get_error(i)
        # Some checks forget which node they speak of; the parser's function still tells which kind.
        operator = error.node_operator() or error.func().removeprefix("import")
        name = error.node_name() or (f"node {error.node()}" if error.node() >= 0 else "")
        if not name:
            graph = onnx.load(path, load_external_data=False).graph
            name = ", ".join(n.name for n in graph.node if n.op_type == operator and n.name)
        # Of an operator that it does not know it says "false".
        reason = {"false": "not supported"}.get(error.desc(), " ".join(error.desc().split()))
        found.append(f"{name or 'the graph'} ({operator}): {reason}")
    raise ServingError(
        f"TensorRT cannot parse {path}: {'; '.join(found or log.errors) or 'no reason given'}"
    )


def _optimization(
    builder: tensorrt.Builder, network: tensorrt.INetworkDefinition, profile: Profile
) -> tensorrt.IOptimizationProfile:
    """The library's form of the profile; it would pass over some mistakes and not name others."""
    shapes: dict[str, Shape] = {}
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        shapes[tensor.name] = tuple(tensor.shape)
    unknown = sorted(set(profile) - set(shapes))
    if unknown:
        raise ServingError(
            f"the profile has an input {unknown[0]!r}, the model only {', '.join(sorted(shapes))}"
        )
    optimization = builder.create_optimization_profile()
    for name, shape in shapes.items():
        if name not in profile:
            if -1 in shape:
                raise ServingError(f"the profile has no shapes for input {name!r} of shape {shape}")
            continue
        smallest, best, largest = (tuple(sizes) for sizes in profile[name])
        fits = {len(smallest), len(best), len(largest)} == {len(shape)} and all(
            a <= b <= c and (size < 0 or a == c == size)
            for size, a, b, c in zip(shape, smallest, best, largest, strict=True)
        )
        if not fits:
            raise ServingError(
                f"the profile of input {name!r} is {smallest}, {best}, {largest}; it must go "
                f"from smallest to largest and keep to the shape {shape}"
            )
        optimization.set_shape(name, smallest, best, largest)
    return optimization


def _refuse_failure(path: str | Path, plan: Any, log: Any) -> None:
    if plan is None:
        raise ServingError(
            f"TensorRT cannot build {path}: {'; '.join(log.errors) or 'no reason given'}"
        )
    # Such as TopK of more than 3840 entries: it builds, and would fail on long inputs.
    broken = [warning for warning in log.warnings if "not self-consistent" in warning]
    if broken:
        raise ServingError(
            f"an engine of {path} could not run all shapes of its profile; shorten the inputs or "
            f"change the model: {broken[0]}"
        )


def _target(library: Any, config: tensorrt.IBuilderConfig, capabilities: Sequence[str]) -> None:
    """Tells the builder the GPUs that the plan is for."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library
    numbers = []
    for text in capabilities:
        digits = text.lower().removeprefix("sm").removeprefix("_").replace(".", "")
        if not digits.isdecimal():
            raise ServingError(f"--compute-capability {text} is none; write 8.6 or sm86")
        numbers.append(int(digits))
    if not numbers:
        return
    if is_rtx(library):
        _target_rtx(library, config, numbers)
        return
    own = device_capability()
    levels = trt.HardwareCompatibilityLevel
    if set(numbers) == {own}:
        config.hardware_compatibility_level = levels.SAME_COMPUTE_CAPABILITY
    elif min(numbers) >= 80 and (own is None or own >= 80):
        config.hardware_compatibility_level = levels.AMPERE_PLUS
    else:
        here = f"this GPU's {dotted(own)}" if own else "the GPU that it runs on"
        raise ServingError(
            f"tensorrt builds for {here}, or on a GPU from 8.0 on for all of them; not for "
            f"--compute-capability {' '.join(capabilities)}, for which build there"
        )


def _target_rtx(library: Any, config: Any, numbers: Sequence[int]) -> None:
    served = library.ComputeCapability.__members__
    for number in numbers:
        if f"SM{number}" not in served:
            known = ", ".join(dotted(int(n[2:])) for n in served if n.startswith("SM"))
            raise ServingError(
                f"tensorrt_rtx does not serve --compute-capability {dotted(number)}; it has {known}"
            )
    config.num_compute_capabilities = len(numbers)
    for i, number in enumerate(numbers):
        config.set_compute_capability(served[f"SM{number}"], i)


def _read_timings(
    library: Any, config: tensorrt.IBuilderConfig, log: Any, path: str | Path | None
) -> tensorrt.ITimingCache | None:
    if path is None:
        return None
    if is_rtx(library):  # its calls do nothing, are deprecated since 1.2, and look for a GPU
        log.warnings.append("tensorrt_rtx keeps no timings: --timing-cache has no effect")
        return None
    cache = config.create_timing_cache(Path(path).read_bytes() if Path(path).is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        raise ServingError(
            f"{path} is a timing cache of another GPU or version; name another --timing-cache"
        )
    return config.get_timing_cache()


def _description(
    network: tensorrt.INetworkDefinition, path: str | Path, profile: Profile
) -> dict[str, Any]:
    """The part of ``build.json`` about the model."""
    kinds = {t.data_type for t in onnx.load(path, load_external_data=False).graph.initializer}
    return {
        "precision": "fp16" if onnx.TensorProto.FLOAT16 in kinds else "fp32",
        "profile": {name: [list(shape) for shape in three] for name, three in profile.items()},
        "layers": network.num_layers,
        "inputs": [_tensor(network.get_input(i)) for i in range(network.num_inputs)],
        "outputs": [_tensor(network.get_output(i)) for i in range(network.num_outputs)],
        "onnx_sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
    }


def _tensor(tensor: tensorrt.ITensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}


def _write_bytes(path: Path, content: bytes) -> None:
    """Writes a temporary file, flushes it to the disk, and renames it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
