"""From a finished run to a bundle: the stage behind ``seqloom export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.recurrent import rebuilt_without_cudnn
from tasks.stages.console import load_run
from tasks.stages.reporting import write_card
from tasks.stages.run_directory import Run, environment

if TYPE_CHECKING:
    from pipelines.responses import Responses
    from pipelines.splits import Splits
    from serving.export import ExportOptions

HELD_OUT_EXAMPLES = 512


def export(
    run: Run,
    bundle: Path,
    options: ExportOptions | None = None,
    splits: Splits | None = None,
) -> dict[str, Any]:
    """Exports a run's model and compares each artefact with Keras on validation examples.

    Validation, because whether a lower precision will do is a choice, and test has been read.

    Args:
        run: a finished training.
        bundle: where to write; a bundle that is there gets a further version.
        options: formats, precisions and bounds.
        splits: the run's examples, where the caller has read them already.

    Returns:
        Keys as in DESIGN: bundle, version, artifacts.<format>.parity, .path, .status.
    """
    from serving.comparing import HeldOut
    from serving.export import ExportOptions, export_bundle

    task, config = run.task(), run.config()
    # A model trained in mixed precision answers in float32 from here on, Keras's answers too.
    cores = {name: rebuilt_without_cudnn(core) for name, core in task.cores(run.model()).items()}
    preprocessor = run.preprocessor()
    examples = (splits or load_run(run)).validation[:HELD_OUT_EXAMPLES]
    # At the end the inputs that break exports: nothing, and one token.
    raw = [*preprocessor.raw(examples), *preprocessor.edge_inputs()]

    def score(responses: Responses) -> float:
        labelled = {name: rows[: len(examples)] for name, rows in responses.items()}
        return task.evaluate(preprocessor, labelled, examples)[task.metric.name]

    metrics = run.read_json("metrics.json")
    manifest = export_bundle(
        cores,
        preprocessor,
        bundle,
        options or ExportOptions(lenient=task.network is not None),
        HeldOut(raw, score, task.metric),
        manifest={
            "name": task.name,
            "task": task.name,
            "kind": task.kind,
            "config": config,
            "metrics": metrics["metrics"],
            "baseline": metrics["baseline"],
            "remarks": metrics.get("remarks", []),
            "data_fingerprint": run.read_json("environment.json")["data_fingerprint"],
            "environment": environment(),
        },
    )
    write_card(run, bundle)
    artifacts = manifest["artifacts"]
    for artefact in artifacts.values():
        artefact.pop("sha256")
    return {
        "bundle": str(bundle),
        "version": manifest["version"],
        "metric": task.metric.name,
        "keras": manifest["keras"],
        "artifacts": artifacts,
        **({"refused": manifest["refused"]} if "refused" in manifest else {}),
    }
