"""Runs the engines of a bundle where there is a GPU, and writes down that they are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_json
from serving.bundle import read_manifest
from serving.errors import ServingError
from serving.export import examples_path


def verify_bundle(bundle: Path) -> dict[str, Any]:
    """Compares each TensorRT engine of a bundle with ONNX Runtime; the manifest is updated.

    Returns:
        ``{"bundle", "version", "engines": {key: {"difference", "latency_ms", ...}}}``.

    Raises:
        ServingError: there is no engine, no GPU that could run it, or it gives other answers.
    """
    from serving.tensorrt_engine import gpu_reason

    manifest = read_manifest(bundle)
    engines = {
        key: item for key, item in manifest["artifacts"].items() if key.startswith("tensorrt")
    }
    if not engines:
        raise ServingError(f"{bundle} holds no TensorRT engine; export one with --format tensorrt")
    reason = gpu_reason()
    if reason:
        raise ServingError(f"--verify cannot run the engines of {bundle}: {reason}")
    found = {}
    for key, item in engines.items():
        directory, cores = bundle / item["path"], item.get("cores", ["model"])
        each = [_verified(directory / f"{core}.plan", item["precision"]) for core in cores]
        # Latency is that of the first; the difference that of the worst.
        found[key] = {**each[0], "difference": max(one["difference"] for one in each)}
        item |= {"status": "verified", "parity": found[key]["difference"],
                 "latency_ms": found[key]["latency_ms"]}  # fmt: skip
        item.pop("reason", None)
    write_json(bundle / "manifest.json", manifest)
    return {"bundle": str(bundle), "version": manifest["version"], "engines": found}


def _verified(plan: Path, precision: str) -> dict[str, Any]:
    """One engine compared with ONNX Runtime."""
    from serving.tensorrt_engine import verify_engine

    with np.load(examples_path(plan)) as stored:
        examples = dict(stored)
    batches = [{name: x[:size] for name, x in examples.items()} for size in (1, 32)]
    found = verify_engine(plan, plan.with_suffix(".onnx"), batches)
    bound = 1e-3 if precision == "fp32" else 5e-2  # TF32, float16: about 1e-3
    if not found["difference"] <= bound:
        raise ServingError(
            f"{plan} differs from ONNX Runtime by {found['difference']:.2g}, more than {bound:g}"
        )
    return found
