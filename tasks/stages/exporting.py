"""From a finished run to a bundle: the stage behind ``seqloom export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.recurrent import rebuilt_without_cudnn
from tasks.stages.predicting import keras_outputs
from tasks.stages.run_directory import Run, environment

if TYPE_CHECKING:
    from pipelines.preprocessor import Arrays
    from serving.export import ExportOptions

HELD_OUT_EXAMPLES = 512


def export(run: Run, bundle: Path, options: ExportOptions | None = None) -> dict[str, Any]:
    """Exports a run's model and compares each artefact with Keras on validation examples.

    Validation, because whether a lower precision will do is a choice, and test has been read.

    Args:
        run: a finished training.
        bundle: where to; a bundle that is there gets a further version.
        options: formats, precisions and bounds.

    Returns:
        Keys as in DESIGN: bundle, version, artifacts.<format>.parity, .path, .status.
    """
    from serving.comparing import HeldOut
    from serving.export import ExportOptions, export_bundle

    task, config = run.task(), run.config()
    # A model trained in mixed precision answers in float32 from here on, Keras's answers too.
    model = rebuilt_without_cudnn(task.inference_model(run.model()))
    preprocessor = run.preprocessor()
    examples = task.load(run.data()).validation[:HELD_OUT_EXAMPLES]
    # At the end the inputs that break exports: nothing, and one token.
    raw = [*task.raw_inputs(examples), *task.edge_inputs(preprocessor)]

    def score(outputs: Arrays) -> float:
        labelled = {name: value[: len(examples)] for name, value in outputs.items()}
        return task.evaluate(preprocessor, labelled, examples)[task.metric]

    metrics = run.read_json("metrics.json")
    manifest = export_bundle(
        model,
        preprocessor,
        bundle,
        options or ExportOptions(),
        HeldOut(raw, keras_outputs(model, preprocessor, raw), score, task.metric, task.mode),
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
    return {
        "bundle": str(bundle),
        "version": manifest["version"],
        "metric": task.metric,
        "keras": manifest["keras"],
        "artifacts": artifacts,
    }
