"""The page of a run: its scores, learning curves, exports, settings and environment."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.metric import Metric
from reports.axes import counted, duration, score_text
from reports.learning import History, curves, read_history, written_texts
from reports.page import (
    NumberText,
    commands,
    escape,
    facts,
    page,
    paragraph,
    settings,
    table,
)
from reports.tables import artifact_notes, artifact_rows, score_rows

PARTS = ("test", "validation")


@dataclass(frozen=True)
class ReportedRun:
    """Plain data about a run from which its page is made.

    Attributes:
        path: the run's directory, which holds ``metrics.json``, ``history.csv`` and so on.
        config: content of ``config.json``: task, data, model, preprocessor, seed.
        finished: whether the trained model is there.
        kind: kind of the task; "" if this installation does not have the task.
        metric: metric of the task; None if this installation does not have the task.
        headline: metrics of test that the page begins with, if they are measured.
    """

    path: Path
    config: Mapping[str, Any]
    finished: bool
    kind: str = ""
    metric: Metric | None = None
    headline: Sequence[str] = ()


def run_page(run: ReportedRun, lines: Sequence[tuple[str, str]] = ()) -> str:
    """HTML of a run's report.

    Args:
        run: a run that is finished or still training.
        lines: for each next step, a description and the command.
    """
    config, main = run.config, run.metric
    result, about = _read(run.path / "metrics.json"), _read(run.path / "environment.json")
    history = read_history(run.path / "history.csv")
    data = config["data"] if isinstance(config["data"], dict) else {}
    examples = result.get("examples") or {}
    parts = [
        f"data {data.get('source')}" if data.get("source") else "",
        run.kind,
        f"{', '.join(f'{count:,} {part}' for part, count in examples.items())} examples"
        if examples else "",
        f"seed {config['seed']}",
    ]  # fmt: skip
    head = [facts(_facts(result, history, run)), paragraph(_unfinished(run, history), "note")]
    sections = [
        ("Scores", _scores(result, main)),
        ("Learning curves", curves(history, result, main)),
        ("Written along training", written_texts(run.path / "samples.jsonl")),
        ("Pictures", _pictures(run.path / "pictures")),
        ("Exports", _exports(run)),
        ("Next", [commands(lines)]),
        ("Settings", _settings(config)),
        ("Environment", [settings(_environment(about))]),
    ]
    path = run.path.resolve()
    within = path.name in ("model", "best") or path.name.startswith("run-")
    title = "/".join(path.parts[-2:] if within else path.parts[-1:])
    return page(
        "Seqloom run", f"{config['task']}: {title}", " · ".join(filter(None, parts)), head, sections
    )


def _facts(
    result: Mapping[str, Any], history: History, run: ReportedRun
) -> list[tuple[str, Any, Any]]:
    boxes: list[tuple[str, Any, Any]] = []
    baseline, main = result.get("baseline") or {}, run.metric
    metrics = {part: (result.get("metrics") or {}).get(part) or {} for part in PARTS}
    names = [("test", name) for name in run.headline if name in metrics["test"]]
    for part, scores in metrics.items():
        name = main.name if main and main.name in scores else next(iter(scores), None)
        names += [(part, name)] if name is not None else []
    for part, name in names:
        scores = metrics[part]
        other = (baseline.get(part) or {}).get(name)
        more = f"baseline {score_text(other)}" if other is not None else ""
        boxes.append((f"{_words(name)} on {part}", score_text(scores[name]), more))
    if result.get("parameters"):
        boxes.append(("Parameters", result["parameters"], "trained"))
    seconds = result.get("seconds") or sum(row.get("seconds", 0.0) for row in history)
    epochs = result.get("epochs") or len(history)
    if seconds or epochs:
        boxes.append(("Training time", duration(seconds), counted(epochs, "epochs")))
    return boxes


def _unfinished(run: ReportedRun, history: History) -> str:
    if run.finished:
        return ""
    epochs = (run.config["model"] or {}).get("epochs")
    limit = f" of at most {epochs}" if epochs else ""
    return (
        f"This training is not finished: {counted(len(history), 'epochs')}{limit} so far, and no "
        "model yet. It is still running, or was stopped and can be continued."
    )


def _scores(result: Mapping[str, Any], main: Metric | None) -> list[str]:
    """One row per metric: the main metric first, metrics only of the baseline last."""
    if not result.get("metrics"):
        return []
    baseline = result.get("baseline")
    found: dict[str, dict[str, Any]] = {}
    for row in score_rows({"metrics": result["metrics"], "baseline": baseline}):
        cells = found.setdefault(row["metric"], {})
        for who in ("model", "baseline"):
            cells[row["part"], who] = row[who]
    first = main.name if main else ""
    names = sorted(found, key=lambda name: (name != first, ("test", "model") not in found[name]))
    columns = [(part, who) for part in ("test", "validation") for who in ("model", "baseline")]
    columns = [c for c in columns if any(cells.get(c) is not None for cells in found.values())]
    rows = [
        {"metric": _words(name)}
        | {f"{c[0]}: {c[1]}": NumberText(score_text(found[name].get(c))) for c in columns}
        for name in names
    ]
    top = 0 if first in found else None
    told = [paragraph(remark) for remark in result.get("remarks", ())]
    return [paragraph(_verdict(result, main)), *told, table(rows, top=top)]


def _verdict(result: Mapping[str, Any], main: Metric | None) -> str:
    baseline = result.get("baseline")
    if not baseline or main is None:
        return "" if baseline else "No baseline was measured here."
    part = next((p for p in ("test", "validation") if main.name in baseline.get(p, {})), None)
    score = (result["metrics"].get(part) or {}).get(main.name)
    name = f"The baseline is {baseline.get('name', 'another model')}"
    if part is None or score is None:
        return f"{name}."
    other = baseline[part][main.name]
    ahead = score - other if main.mode == "max" else other - score
    word = "better" if ahead > 0 else "worse" if ahead < 0 else "neither better nor worse"
    by = f" by {score_text(abs(ahead))}" if ahead else ""
    return f"{name}; on {part} the model's {_words(main.name)} is {word}{by}."


def _pictures(directory: Path) -> list[str]:
    parts = []
    for path in sorted(directory.glob("*.png")):
        words = _words(path.stem)
        content = base64.b64encode(path.read_bytes()).decode("ascii")
        parts.append(
            f'<figure><img src="data:image/png;base64,{content}" alt="{escape(words)}">'
            f"<figcaption>{escape(words)}</figcaption></figure>\n"
        )
    for path in sorted(directory.glob("*.html")):  # fragments, escaped by whoever wrote them
        parts.append(f"<h3>{escape(_words(path.stem))}</h3>\n{path.read_text('utf-8')}\n")
    return parts


def _exports(run: ReportedRun) -> list[str]:
    """The exports in ``bundle``, inside the run, or next to it if one command made both."""
    for bundle in (run.path / "bundle", run.path.resolve().parent / "bundle"):
        manifest = _read(bundle / "manifest.json")
        # A bundle next to the run may be another run's.
        if manifest.get("artifacts") and manifest.get("config") == run.config:
            break
    else:
        return []
    result = {
        "metric": run.metric.name if run.metric else "",
        "keras": manifest.get("keras") or {},
        "artifacts": {name: {"bytes": 0, **item} for name, item in manifest["artifacts"].items()},
        "bundle": bundle.name,
    }
    rows = [
        {name: NumberText(value) if name not in WORDS else value for name, value in row.items()}
        for row in artifact_rows(result)
    ]
    text = (
        f"Version {manifest.get('version')}, each format compared with Keras on held-out examples."
    )
    return [
        paragraph(text),
        table(rows),
        *(paragraph(line) for line in artifact_notes(result).splitlines()),
    ]


WORDS = ("format", "precision", "status", "path")


def _settings(config: Mapping[str, Any]) -> list[str]:
    parts = []
    for name, title in (("model", "Model"), ("preprocessor", "Preprocessor"), ("data", "Data")):
        values = _flat(config.get(name))
        if values:
            parts += [f"<h3>{title}</h3>", settings(values)]
    return parts


def _flat(values: Any) -> dict[str, Any]:
    """Settings with nested dicts flattened; settings that are None are left out."""
    found: dict[str, Any] = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            found.update(_flat(value))
        elif value is not None:
            found[name] = json.dumps(value) if isinstance(value, list) else value
    return found


def _environment(about: Mapping[str, Any]) -> dict[str, Any]:
    values = _flat(about)
    if "data_fingerprint" in values:
        values["data_fingerprint"] = str(values["data_fingerprint"])[:12]
    if "seed" in values:
        values["seed"] = str(values["seed"])  # an identifier: no thousands separators
    return values


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _words(name: str) -> str:
    return str(name).replace("_", " ")
