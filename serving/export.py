"""Writes a bundle: every form of one model, compared with Keras before it is published."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.files import write_text, writing
from pipelines.preprocessor import Preprocessor
from pipelines.program import DEFAULT, KerasCore, LoadedProgram
from pipelines.ragged import Arrays
from serving.bundle import Publication, checksums, size_on_disk
from serving.comparing import (
    COMPARED_ROWS,
    UNPUBLISHED,
    HeldOut,
    Reference,
    Runner,
    judge,
    latency,
)
from serving.errors import ServingError
from serving.example_request import EXAMPLE_FILE, example_body

if TYPE_CHECKING:
    import keras

# Which precisions each format has, the first of them its own.
FORMATS = {
    "savedmodel": ("fp32",),
    "onnx": ("fp32", "fp16", "int8"),
    "tensorrt": ("fp32", "fp16"),
    "triton": (),
}
# Inputs of a core that its engine is compared on; ``model``'s have no prefix.
EXAMPLES_FILE = "verification.npz"
WARMUP_SIZES = (1, 8, 32)
# Note on half precision with ONNX Runtime on a CPU.
FP16_NOTE = "executed on the CPU, where ONNX Runtime computes float16 nodes in float32"


@dataclass(frozen=True)
class ExportOptions:
    """Formats, precisions and limits of an export.

    Attributes:
        formats: names from ``FORMATS``.
        precisions: "fp32", "fp16" or "int8"; each format takes those that it has.
        max_loss: share of Keras's metric that fp16 and int8 may lose.
        compute_capabilities: GPUs that a TensorRT plan is for, such as "8.6".
        timing_cache: file in which TensorRT keeps its timings from one build to the next.
        workspace_bytes: largest scratch memory of a TensorRT engine.
        must_run: engines that cannot run on this machine are an error, not "built".
        lenient: a format that the model does not have is left out and noted, not an error.
    """

    formats: Sequence[str] = ("savedmodel", "onnx")
    precisions: Sequence[str] = ("fp32",)
    max_loss: float = 0.01
    compute_capabilities: Sequence[str] = ()
    timing_cache: Path | None = None
    workspace_bytes: int | None = None
    must_run: bool = False
    lenient: bool = False

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
    cores: Mapping[str, keras.Model],
    preprocessor: Preprocessor,
    bundle: Path,
    options: ExportOptions,
    held: HeldOut,
    manifest: dict[str, Any],
) -> dict[str, Any]:
    """Exports, verifies and publishes the next version of a bundle.

    Args:
        cores: models of named inputs to named outputs, by the names that the programs call them.
        preprocessor: the one that they were trained with.
        bundle: directory of the bundle; made if need be.
        options: formats and precisions.
        held: held-out examples for parity, metric, latency and warm-up.
        manifest: what else to write to ``manifest.json``: name, task, config, metrics...

    Returns:
        The manifest as published.

    Raises:
        ServingError: an artefact's answers are not Keras's, or one cannot be made.
        WriteError: the directory cannot be written. Nothing is published or left there then.
    """
    calls: dict[str, list[Arrays]] = {name: [] for name in cores}
    loaded = {name: KerasCore(core, calls[name].append) for name, core in cores.items()}
    programs = {n: LoadedProgram(p, loaded) for n, p in preprocessor.programs.items()}
    reference = Reference(programs, preprocessor, held)
    with writing(bundle), Publication(bundle) as publication:
        job = ExportJob(cores, reference, calls, publication, options, manifest["name"])
        artifacts, refused = {}, {}
        for key, name, precision in options.artifacts():
            try:
                found = WRITERS[name](job, publication.directory(key), precision)
            except ServingError as error:
                if not options.lenient:
                    raise
                refused[key] = str(error).replace(f"; {UNPUBLISHED}", "")
                shutil.rmtree(publication.directory(key), ignore_errors=True)
                continue
            artifacts[key] = {
                "path": f"{key}/{publication.version}",
                "precision": precision,
                **found,
                "bytes": size_on_disk(publication.directory(key)),
                "sha256": checksums(publication.directory(key)),
            }
        if not artifacts:
            raise ServingError("; ".join(refused.values()))
        if "triton" in options.formats:
            artifacts["triton"] = write_triton_repository(job, artifacts)
        published = {
            **manifest,
            "version": publication.version,
            "signature": programs[DEFAULT].signature,
            "signatures": {name: program.signature for name, program in programs.items()},
            "keras": keras_row(job),
            "artifacts": artifacts,
            **({"refused": refused} if refused else {}),
        }
        keep_example(bundle, reference)
        publication.publish(published)
    return published


@dataclass(frozen=True)
class ExportJob:
    """One export, as its writers see it.

    Attributes:
        cores: Keras models by name.
        reference: Keras's answers.
        calls: the inputs of each call of a core for those answers.
        publication: the version that is being written.
        options: formats, precisions and limits.
        name: the model's name.
    """

    cores: Mapping[str, keras.Model]
    reference: Reference
    calls: Mapping[str, Sequence[Arrays]]
    publication: Publication
    options: ExportOptions
    name: str

    @property
    def preprocessor(self) -> Preprocessor:
        """The preprocessor of the model."""
        return self.reference.preprocessor

    @property
    def right_padded(self) -> dict[str, Any]:
        """Padding values of the cores' inputs that the preprocessor says to be unique.

        Raises:
            ServingError: a held-out example has one before the end of its row.
        """
        found = right_padded(self.preprocessor)
        for call in [call for calls in self.calls.values() for call in calls]:
            for name, padding in found.items():
                kept = call[name] != padding if name in call else np.ones((1, 1), bool)
                if (kept[:, 1:] & ~kept[:, :-1]).any():
                    raise ServingError(
                        f"model input {name!r} holds its padding value {padding!r} before the end "
                        "of a row, but the preprocessor's Field says that it is unique; leave out "
                        "unique=True, and the export takes any mask"
                    )
        return found

    def verified(self, runner: Runner, name: str, precision: str) -> dict[str, Any]:
        """The artefact compared and judged."""
        found = self.reference.compare(runner)
        hint = "" if name == "savedmodel" else self._own_converters()
        judge(name, precision, found, self.reference, self.options.max_loss, hint)
        return {"status": "verified", **found}

    def _own_converters(self) -> str:
        """What usually is the cause where a user's own converter gives other numbers."""
        from serving.native_onnx.registry import is_own

        own = [
            f"{layer.name!r} ({type(layer).__name__})"
            for core in self.cores.values()
            for layer in core._flatten_layers(include_self=False)
            if is_own(layer)
        ]
        if not own:
            return ""
        return (
            f". The converter of layer {', '.join(own)} is your own: most often such a one reads "
            "padded steps, which Keras's layer leaves out by its mask; give it an argument "
            "mask=None and use it as the layer's call does"
        )


def keras_row(job: ExportJob) -> dict[str, Any]:
    """Metric and latency of the model itself, next to which the artefacts are shown."""
    reference, held = job.reference, job.reference.held
    run = reference.programs[DEFAULT].run
    return {
        **({held.metric.name: reference.score} if held.score else {}),
        "latency_ms": latency(run, job.preprocessor.to_request, held.timed),
    }


def write_savedmodel(job: ExportJob, path: Path, precision: str) -> dict[str, Any]:
    """Request tensors in, response tensors out, for TF Serving; one signature per program."""
    from serving.runtime.savedmodel_backend import SavedModelBackend
    from serving.savedmodel import export_savedmodel

    export_savedmodel(
        job.cores, job.preprocessor, path, name=job.name, warmup=warmup_requests(job.reference)
    )
    return job.verified(SavedModelBackend(path).run, "savedmodel", precision)


def keep_example(bundle: Path, reference: Reference) -> None:
    """Writes the body of a request of one held-out example beside the manifest, or takes away that
    of an earlier version."""
    body = example_body(reference.requests, reference.programs[DEFAULT].program.fields)
    if body is None:
        (bundle / EXAMPLE_FILE).unlink(missing_ok=True)
    else:
        write_text(bundle / EXAMPLE_FILE, body + "\n")


def warmup_requests(reference: Reference) -> dict[str, list[Arrays]]:
    """Requests that a server runs before it answers, by signature."""
    raw, found = reference.held.timed, {}
    sizes = [size for size in WARMUP_SIZES if size <= len(raw)]
    for name, program in reference.programs.items():
        requests = [reference.preprocessor.to_request(raw[:size]) for size in sizes]
        if name != DEFAULT:
            states = [program.initial(size) for size in sizes]
            first = [next(iter(program.program.examples(request))) for request in requests]
            requests = [{**one, **state} for one, state in zip(first, states, strict=True)]
        found[name] = requests
    return found


def right_padded(preprocessor: Preprocessor) -> dict[str, Any]:
    """Padding values, by name, that stand nowhere but at the end of rows; see ``Field.unique``."""
    return {
        name: field.padding
        for program in preprocessor.programs.values()
        for name, field in program.fields.items()
        if field.unique
    }


def write_onnx(job: ExportJob, path: Path, precision: str) -> dict[str, Any]:
    """Each core, and the preprocessor."""
    from serving.native_onnx import export_onnx
    from serving.predictor import OnnxModel

    path.mkdir(parents=True)
    for name, core in job.cores.items():
        export_onnx(core, path / f"{name}.onnx", precision, job.right_padded)
    job.preprocessor.save(path)
    found = job.verified(OnnxModel(path).run, "onnx", precision)
    note = {"note": FP16_NOTE} if precision == "fp16" else {}
    return {**found, **note, "cores": list(job.cores)}


def write_tensorrt(job: ExportJob, path: Path, precision: str) -> dict[str, Any]:
    """A plan for each core, with the examples that ``seqloom export --verify`` runs it on."""
    from serving.native_onnx import export_onnx
    from serving.tensorrt_engine import build_tensorrt, gpu_reason

    path.mkdir(parents=True)
    for name, core in job.cores.items():
        # The ONNX file is kept: what the plan is compared with, and built again from.
        export_onnx(core, path / f"{name}.onnx", precision, job.right_padded, processor="gpu")
        build_tensorrt(
            path / f"{name}.onnx",
            path / f"{name}.plan",
            profile=core_profile(core, job.calls[name]),
            compute_capabilities=job.options.compute_capabilities,
            workspace_bytes=job.options.workspace_bytes,
            timing_cache=job.options.timing_cache,
        )
        np.savez(examples_path(path / f"{name}.plan"), **job.calls[name][0])
    job.preprocessor.save(path)
    reason = gpu_reason()
    if reason and job.options.must_run:
        raise ServingError(f"--verify cannot run the engine: {reason}; {UNPUBLISHED}")
    if reason:
        return {"status": "built", "reason": reason, "parity": None, "cores": list(job.cores)}
    from serving.tensorrt_runner import EngineModel

    with EngineModel(path) as engine:
        # TF32 and fusion: judge the metric
        found = job.verified(engine.run, "tensorrt", "fp16")
    return {**found, "cores": list(job.cores)}


def core_profile(core: keras.Model, calls: Sequence[Arrays]) -> dict[str, Any]:
    """Shapes that a plan of a core is built for, from those that it was called with."""
    from serving.tensorrt_engine import length_profile

    profile = {}
    for name, tensor in zip(sorted(core.input), core.inputs, strict=True):
        lengths = [call[name].shape[1] for call in calls if call[name].ndim > 1]
        # A beam search steps several rows for each of its input's.
        rows = max(COMPARED_ROWS, *(len(call[name]) for call in calls))
        profile |= length_profile(lengths or [1], {name: tensor.shape}, rows)
    return profile


def examples_path(plan: Path) -> Path:
    """Path of the inputs that an engine is verified with."""
    prefix = "" if plan.stem == "model" else f"{plan.stem}_"
    return plan.with_name(f"{prefix}{EXAMPLES_FILE}")


def write_triton_repository(job: ExportJob, artifacts: dict[str, Any]) -> dict[str, Any]:
    """Model repository of the artefacts that were written and that Triton can load."""
    from serving.triton import plan_reason, write_triton
    from serving.triton_python import write_python_models

    directory, names = job.publication.directory, list(job.cores)
    onnx = (
        {name: directory("onnx") / f"{name}.onnx" for name in names} if "onnx" in artifacts else {}
    )
    plans, left_out = {}, None
    if "tensorrt" in artifacts:
        plans = {name: directory("tensorrt") / f"{name}.plan" for name in names}
        left_out = plan_reason(plans[names[0]])
    if left_out and not onnx:
        raise ServingError(f"nothing to serve with Triton: {left_out}; add --format onnx")
    models = write_triton(
        directory("triton"),
        job.name,
        onnx_paths=onnx,
        plan_paths={} if left_out else plans,
        version=job.publication.version,
    )
    if onnx:
        place, version = directory("onnx"), job.publication.version
        programs = job.reference.programs
        models += write_python_models(directory("triton"), job.name, programs, place, version)
    return {
        "path": "triton",
        "status": "built",
        "reason": "; ".join(filter(None, ["no Triton server ran here", left_out])),
        "parity": None,
        "models": sorted(models),
        "bytes": size_on_disk(directory("triton")),
        "sha256": checksums(directory("triton")),
    }


WRITERS = {
    "savedmodel": write_savedmodel,
    "onnx": write_onnx,
    "tensorrt": write_tensorrt,
}
