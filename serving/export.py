"""Writes a bundle: every form of one model, compared with Keras before it is published."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.preprocessor import Arrays, Preprocessor
from serving.bundle import Publication, checksums, size_on_disk
from serving.errors import ServingError

if TYPE_CHECKING:
    import keras

FORMATS = ("savedmodel", "onnx")
# Float32 sums in another order differ by some units in the last place of values near one.
PARITY_BOUND = 1e-5

Runner = Callable[[Arrays], Arrays]


def export_bundle(
    model: keras.Model,
    preprocessor: Preprocessor,
    bundle: Path,
    *,
    formats: Sequence[str],
    raw: Sequence[Any],
    expected: Arrays,
    manifest: dict[str, Any],
) -> dict[str, Any]:
    """Exports, verifies and publishes the next version of a bundle.

    Args:
        model: core inputs to named core outputs.
        preprocessor: the one that it was trained with.
        bundle: directory of the bundle; made if need be.
        formats: some of ``FORMATS``.
        raw: held-out raw examples, for parity, latency and warm-up.
        expected: Keras's wire outputs for ``raw``.
        manifest: what else to write to ``manifest.json``: name, task, config, metrics...

    Returns:
        The manifest as published.

    Raises:
        ServingError: an unknown format, or an artefact whose answers are not Keras's; nothing is
            published then.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ServingError(f"format {unknown[0] if unknown else '(none)'!r} is not offered; "
                           f"use --format with {' or '.join(FORMATS)}")  # fmt: skip
    with Publication(bundle) as publication:
        artifacts = {}
        for name in dict.fromkeys(formats):
            path = publication.place(name)
            runner = WRITERS[name](model, preprocessor, path, manifest["name"], raw)
            artifacts[name] = {
                "path": f"{name}/{publication.version}",
                "status": "verified",
                **compare(runner, preprocessor, raw, expected),
                "bytes": size_on_disk(path),
                "sha256": checksums(path),
            }
            if not artifacts[name]["parity"] <= PARITY_BOUND:  # NaN is not
                raise ServingError(
                    f"the {name} export differs from Keras by {artifacts[name]['parity']:.2g}, "
                    f"more than {PARITY_BOUND:g}; nothing was published"
                )
        published = {
            **manifest,
            "version": publication.version,
            "signature": preprocessor.signature,
            "artifacts": artifacts,
        }
        publication.publish(published)
    return published


def compare(
    runner: Runner, preprocessor: Preprocessor, raw: Sequence[Any], expected: Arrays
) -> dict[str, Any]:
    """Greatest absolute difference from Keras, agreement of other outputs, and latency.

    Returns:
        ``{"parity", "agreement", "examples", "latency_ms": {"1": ..., "32": ...}}``; agreement is
        the share of equal entries among the outputs that are not numbers, such as labels.
    """
    difference, equal = 0.0, []
    for start in range(0, len(raw), 32):
        got = runner(preprocessor.to_wire(raw[start : start + 32]))
        for name, value in got.items():
            want = expected[name][start : start + 32]
            if np.issubdtype(want.dtype, np.floating):
                # Unlike max() this keeps a NaN.
                difference = float(np.maximum(difference, np.abs(value - want).max()))
            else:
                equal.extend(value == want)
    return {
        "parity": difference,
        "agreement": float(np.mean(equal)) if equal else 1.0,
        "examples": len(raw),
        "latency_ms": {
            str(batch): _latency(runner, preprocessor, raw, batch)
            for batch in (1, 32)
            if batch <= len(raw)
        },
    }


def _latency(runner: Runner, preprocessor: Preprocessor, raw: Sequence[Any], batch: int) -> float:
    """Median wall milliseconds of a call with ``batch`` examples."""
    times = []
    for start in range(0, min(len(raw), 15 * batch) - batch + 1, batch):
        wire = preprocessor.to_wire(raw[start : start + batch])
        began = time.perf_counter()
        runner(wire)
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def _write_savedmodel(
    model: keras.Model, preprocessor: Preprocessor, path: Path, name: str, raw: Sequence[Any]
) -> Runner:
    from serving.savedmodel import export_savedmodel
    from serving.savedmodel_backend import SavedModelBackend

    warmup = [preprocessor.to_wire(raw[:size]) for size in (1, 8, 32) if size <= len(raw)]
    export_savedmodel(model, preprocessor, path, name=name, warmup=warmup)
    return SavedModelBackend(path).run


def _write_onnx(
    model: keras.Model, preprocessor: Preprocessor, path: Path, name: str, raw: Sequence[Any]
) -> Runner:
    from serving.native_onnx import export_onnx
    from serving.predictor import OnnxModel

    path.mkdir()
    export_onnx(model, path / "model.onnx")
    preprocessor.save(path)
    return OnnxModel(path).run


WRITERS = {"savedmodel": _write_savedmodel, "onnx": _write_onnx}
