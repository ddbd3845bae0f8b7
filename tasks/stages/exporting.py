"""From a finished run to a bundle: the stage behind ``seqloom export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.recurrent import rebuilt_without_cudnn
from tasks.stages.predicting import keras_outputs
from tasks.stages.run_directory import Run, environment

PARITY_EXAMPLES = 256


def export(
    run: Run, bundle: Path, formats: Sequence[str] = ("savedmodel", "onnx")
) -> dict[str, Any]:
    """Exports a run's model and proves each artefact against Keras on held-out examples.

    Args:
        run: a finished training.
        bundle: where to; a bundle that is there gets a further version.
        formats: "savedmodel", "onnx" or both.

    Returns:
        Keys as in DESIGN: bundle, version, artifacts.<format>.parity, .path, .status.
    """
    from serving.export import export_bundle

    task, config = run.task(), run.config()
    # A model trained in mixed precision answers in float32 from here on, Keras's answers too.
    model = rebuilt_without_cudnn(task.inference_model(run.model()))
    preprocessor = run.preprocessor()
    # The test examples and, at the end, the inputs that break exports: nothing, and one token.
    raw = task.raw_inputs(task.load(run.data()).test[:PARITY_EXAMPLES]) + task.edge_inputs()
    metrics = run.read_json("metrics.json")
    manifest = export_bundle(
        model,
        preprocessor,
        bundle,
        formats=formats,
        raw=raw,
        expected=keras_outputs(model, preprocessor, raw),
        manifest={
            "name": task.name,
            "task": task.name,
            "kind": task.kind,
            "config": config,
            "metrics": metrics["metrics"],
            "baseline": metrics["baseline"],
            "data_fingerprint": run.read_json("environment.json")["data_fingerprint"],
            "environment": environment(),
        },
    )
    artifacts = manifest["artifacts"]
    for artefact in artifacts.values():
        artefact.pop("sha256")
    return {"bundle": str(bundle), "version": manifest["version"], "artifacts": artifacts}
