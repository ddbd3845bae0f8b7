"""Writes a bundle: every form of one model, compared with Keras before it is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.preprocessor import Preprocessor
from serving.bundle import Publication, checksums, size_on_disk
from serving.comparing import HeldOut, Runner, compare, judge, latency
from serving.errors import ServingError

if TYPE_CHECKING:
    import keras

# Which precisions each format has, the first of them its own.
FORMATS = {
    "savedmodel": ("fp32",),
    "onnx": ("fp32", "fp16", "int8"),
    "tensorrt": ("fp32", "fp16"),
    "triton": (),
}
EXAMPLES_FILE = "verification.npz"
# What ONNX Runtime says of half precision on a CPU.
FP16_NOTE = "executed on the CPU, where ONNX Runtime computes float16 nodes in float32"


@dataclass(frozen=True)
class ExportOptions:
    """What to write.

    Attributes:
        formats: some of ``FORMATS``.
        precisions: some of "fp32", "fp16" and "int8"; each format takes those that it has.
        max_loss: share of Keras's metric that fp16 and int8 may lose.
        compute_capabilities: GPUs that a TensorRT plan is for, such as "8.6".
        timing_cache: file in which TensorRT keeps its timings from one build to the next.
        workspace_bytes: most scratch memory of a TensorRT engine.
        must_run: engines that cannot run on this machine are an error, not "built".
    """

    formats: Sequence[str] = ("savedmodel", "onnx")
    precisions: Sequence[str] = ("fp32",)
    max_loss: float = 0.01
    compute_capabilities: Sequence[str] = ()
    timing_cache: Path | None = None
    workspace_bytes: int | None = None
    must_run: bool = False

    def __post_init__(self) -> None:
        known = {"format": list(FORMATS), "precision": list(FORMATS["onnx"])}
        for word, given in (("format", self.formats), ("precision", self.precisions)):
            unknown = [name for name in given if name not in known[word]]
            if unknown or not given:
                raise ServingError(
                    f"{word} {unknown[0] if unknown else '(none)'!r} is not offered; "
                    f"use --{word} with {' or '.join(known[word])}"
                )
        if "triton" in self.formats and not {"onnx", "tensorrt"} & set(self.formats):
            raise ServingError("format 'triton' serves ONNX or TensorRT: add --format onnx")
        for name in self.formats:
            if len(FORMATS[name]) > 1 and not self.precisions_of(name):
                raise ServingError(
                    f"format {name!r} has no precision {' or '.join(self.precisions)}; "
                    f"use --precision with {' or '.join(FORMATS[name])}"
                )

    def precisions_of(self, name: str) -> list[str]:
        """Those asked for that a format has; SavedModel is always float32."""
        if name == "savedmodel":
            return ["fp32"]
        return [p for p in dict.fromkeys(self.precisions) if p in FORMATS[name]]

    def artifacts(self) -> Iterator[tuple[str, str, str]]:
        """(key, format, precision): the first precision has the format's name as its key."""
        for name in dict.fromkeys(self.formats):
            for i, precision in enumerate(self.precisions_of(name)):
                yield (name if i == 0 else f"{name}_{precision}"), name, precision


def export_bundle(
    model: keras.Model,
    preprocessor: Preprocessor,
    bundle: Path,
    options: ExportOptions,
    held: HeldOut,
    manifest: dict[str, Any],
) -> dict[str, Any]:
    """Exports, verifies and publishes the next version of a bundle.

    Args:
        model: core inputs to named core outputs.
        preprocessor: the one that it was trained with.
        bundle: directory of the bundle; made if need be.
        options: formats and precisions.
        held: held-out examples for parity, metric, latency and warm-up.
        manifest: what else to write to ``manifest.json``: name, task, config, metrics...

    Returns:
        The manifest as published.

    Raises:
        ServingError: an artefact's answers are not Keras's, or one cannot be written; nothing is
            published then.
    """
    with Publication(bundle) as publication:
        job = Job(model, preprocessor, publication, options, held, manifest["name"])
        artifacts = {}
        for key, name, precision in options.artifacts():
            found = WRITERS[name](job, publication.place(key), precision)
            artifacts[key] = {
                "path": f"{key}/{publication.version}",
                "precision": precision,
                **found,
                "bytes": size_on_disk(publication.place(key)),
                "sha256": checksums(publication.place(key)),
            }
        if "triton" in options.formats:
            artifacts["triton"] = write_triton_repository(job, artifacts)
        published = {
            **manifest,
            "version": publication.version,
            "signature": preprocessor.signature,
            "keras": keras_row(job),
            "artifacts": artifacts,
        }
        publication.publish(published)
    return published


@dataclass(frozen=True)
class Job:
    """What every writer of one export reads."""

    model: keras.Model
    preprocessor: Preprocessor
    publication: Publication
    options: ExportOptions
    held: HeldOut
    name: str

    def verified(self, runner: Runner, name: str, precision: str) -> dict[str, Any]:
        """The artefact compared and judged."""
        found = compare(runner, self.preprocessor, self.held)
        judge(name, precision, found, self.held, self.options.max_loss)
        return {"status": "verified", **found}


def keras_row(job: Job) -> dict[str, Any]:
    """Metric and latency of the model itself, beside which the artefacts stand."""

    def run(wire: Any) -> Any:
        core = job.model.predict_on_batch(job.preprocessor.encode(wire))
        return job.preprocessor.decode({name: np.asarray(value) for name, value in core.items()})

    held = job.held
    return {
        **({held.metric: held.score(held.expected)} if held.score else {}),
        "latency_ms": latency(run, job.preprocessor, held.raw),
    }


def write_savedmodel(job: Job, path: Path, precision: str) -> dict[str, Any]:
    """String in, answers out, for TF Serving."""
    from serving.runtime.savedmodel_backend import SavedModelBackend
    from serving.savedmodel import export_savedmodel

    raw = job.held.raw
    warmup = [job.preprocessor.to_wire(raw[:size]) for size in (1, 8, 32) if size <= len(raw)]
    export_savedmodel(job.model, job.preprocessor, path, name=job.name, warmup=warmup)
    return job.verified(SavedModelBackend(path).run, "savedmodel", precision)


def write_onnx(job: Job, path: Path, precision: str) -> dict[str, Any]:
    """The core, its preprocessor, and the step model where the layers have one."""
    from serving.native_onnx import export_onnx
    from serving.predictor import OnnxModel

    path.mkdir(parents=True)
    export_onnx(job.model, path / "model.onnx", precision)
    job.preprocessor.save(path)
    found = job.verified(OnnxModel(path).run, "onnx", precision)
    note = {"note": FP16_NOTE} if precision == "fp16" else {}
    return {**found, **note, "step": _write_step(job, path, precision)}


def _write_step(job: Job, path: Path, precision: str) -> dict[str, Any]:
    from serving.native_onnx import export_step_onnx
    from serving.steps import StepModel

    target = path / "step.onnx"
    try:
        export_step_onnx(job.model, target, precision)
    except ServingError as error:
        return {"reason": str(error)}
    steps, difference = StepModel(target), 0.0
    for raw in job.held.raw[:8]:
        core = job.preprocessor.encode(job.preprocessor.to_wire([raw]))
        *_, last = steps.run(core)
        whole = job.model.predict_on_batch(core)
        for name, value in last.items():
            want = np.asarray(whole[name])
            want = want[:, -1] if want.ndim > value.ndim else want
            difference = float(np.maximum(difference, np.abs(value - want).max()))
    if precision == "fp32" and not difference <= 1e-5:
        raise ServingError(
            f"the step model differs from Keras by {difference:.2g}; nothing was published"
        )
    return {"file": target.name, "parity": difference}


def write_tensorrt(job: Job, path: Path, precision: str) -> dict[str, Any]:
    """A plan for GPUs, with the examples that ``seqloom export --verify`` runs it on."""
    from serving.native_onnx import export_onnx
    from serving.tensorrt_engine import build_tensorrt, gpu_reason, length_profile

    path.mkdir(parents=True)
    source = path / "model.onnx"  # kept: what the plan is compared with, and built anew from
    export_onnx(job.model, source, precision)
    encoded = [job.preprocessor.encode(job.preprocessor.to_wire([raw])) for raw in job.held.raw]
    lengths = [next(iter(core.values())).shape[1] for core in encoded]
    inputs = {tensor.name: tensor.shape for tensor in job.model.inputs}
    build_tensorrt(
        source,
        path / "model.plan",
        profile=length_profile(lengths, inputs),
        compute_capabilities=job.options.compute_capabilities,
        workspace_bytes=job.options.workspace_bytes,
        timing_cache=job.options.timing_cache,
    )
    job.preprocessor.save(path)
    np.savez(path / EXAMPLES_FILE, **job.preprocessor.encode(
        job.preprocessor.to_wire(job.held.raw[:32])
    ))  # fmt: skip
    reason = gpu_reason()
    if reason and job.options.must_run:
        raise ServingError(f"--verify cannot run the engine: {reason}; nothing was published")
    if reason:
        return {"status": "built", "reason": reason, "parity": None}
    from serving.tensorrt_runner import EngineModel

    with EngineModel(path) as engine:
        return job.verified(engine.answer, "tensorrt", "fp16")  # TF32 and fusion: judge the metric


def write_triton_repository(job: Job, artifacts: dict[str, Any]) -> dict[str, Any]:
    """Model repository of the artefacts that were written and that Triton can load."""
    from serving.triton import plan_reason, write_triton

    place = job.publication.place
    onnx = place("onnx") / "model.onnx" if "onnx" in artifacts else None
    step = onnx.with_name("step.onnx") if onnx else None
    plan = place("tensorrt") / "model.plan" if "tensorrt" in artifacts else None
    left_out = plan_reason(plan) if plan else None
    if left_out and not onnx:
        raise ServingError(f"nothing to serve with Triton: {left_out}; add --format onnx")
    models = write_triton(
        place("triton"),
        job.name,
        onnx_path=onnx,
        plan_path=None if left_out else plan,
        step_path=step if step and step.is_file() else None,
        version=job.publication.version,
    )
    return {
        "path": "triton",
        "status": "built",
        "reason": "; ".join(filter(None, ["no Triton server ran here", left_out])),
        "parity": None,
        "models": models,
        "bytes": size_on_disk(place("triton")),
        "sha256": checksums(place("triton")),
    }


WRITERS = {
    "savedmodel": write_savedmodel,
    "onnx": write_onnx,
    "tensorrt": write_tensorrt,
}
