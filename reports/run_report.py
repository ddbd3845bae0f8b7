"""The page of a run: its scores, learning curves, exports, settings and environment."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.metric import Metric
from reports.axes import counted, duration, score_text
from reports.drawing import inside_page
from reports.intervals import Compared
from reports.judged_report import by_class, how_sure, mistakes
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
from reports.reported_run import (
    ReportedRun,
    exported,
    interval_text,
    intervals_of,
    settings_of,
    verdict,
    words,
)
from reports.tables import artifact_notes, artifact_rows, score_rows

PARTS = ("test", "validation")


def run_page(run: ReportedRun, lines: Sequence[tuple[str, str]] = ()) -> str:
    """HTML of a run's report.

    Args:
        run: a run that is finished or still training.
        lines: for each next step, a description and the command.
    """
    config, main = run.config, run.metric
    result, about = run.read("metrics.json"), run.read("environment.json")
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
    judged = run.judged()
    sure = intervals_of(judged)
    head = [
        facts(_facts(result, history, run, sure)),
        paragraph(_unfinished(run, history), "note"),
    ]
    about_answers = [
        ("By class", by_class(judged)),
        ("Worst mistakes", mistakes(judged)),
        ("Calibration and length", how_sure(judged, main)),
    ] if judged else []  # fmt: skip
    sections = [
        ("Scores", _scores(result, main, sure)),
        *about_answers,
        ("Learning curves", curves(history, result, main)),
        ("Written along training", written_texts(run.path / "samples.jsonl")),
        ("Pictures", _pictures(run.path / "pictures")),
        ("Exports", _exports(run)),
        ("Next", [commands(lines)]),
        ("Data", [settings(_data(config, result, about))]),
        ("Settings", _settings(config)),
        ("Environment", [settings(_environment(about))]),
    ]
    return page("Seqloom run", run.title, " · ".join(filter(None, parts)), head, sections)


def _facts(
    result: Mapping[str, Any],
    history: History,
    run: ReportedRun,
    sure: Mapping[str, Compared],
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
        known = interval_text(sure[name].model) if part == "test" and name in sure else ""
        told = [known, f"baseline {score_text(other)}" if other is not None else ""]
        boxes.append((
            f"{words(name)} on {part}", score_text(scores[name]), "; ".join(filter(None, told))
        ))  # fmt: skip
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


def _scores(
    result: Mapping[str, Any], main: Metric | None, sure: Mapping[str, Compared]
) -> list[str]:
    """One row per metric: the main metric first, metrics only of the baseline last."""
    if not result.get("metrics"):
        return []
    baseline = result.get("baseline")
    found: dict[str, dict[str, Any]] = {}
    for row in score_rows({"metrics": result["metrics"], "baseline": baseline}):
        cells = found.setdefault(row["metric"], {})
        for who in ("model", "baseline"):
            cells[row["part"], who] = row[who]
    for name, one in sure.items():  # what baselines did not say themselves
        if name in found and one.baseline and found[name].get(("test", "baseline")) is None:
            found[name]["test", "baseline"] = one.baseline.score
    first = main.name if main else ""
    names = sorted(found, key=lambda name: (name != first, ("test", "model") not in found[name]))
    columns = [(part, who) for part in ("test", "validation") for who in ("model", "baseline")]
    columns = [c for c in columns if any(cells.get(c) is not None for cells in found.values())]
    rows = [
        {"metric": words(name)}
        | {f"{c[0]}: {c[1]}": NumberText(score_text(found[name].get(c))) for c in columns}
        for name in names
    ]
    rows = [_with_intervals(row, sure.get(name)) for row, name in zip(rows, names, strict=True)]
    empty = {key for key in rows[0] if not any(row.get(key) for row in rows)}
    rows = [{key: value for key, value in row.items() if key not in empty} for row in rows]
    top = 0 if first in found else None
    told = [paragraph(remark) for remark in result.get("remarks", ())]
    how = "Intervals are those of 95 %: what 1,000 resamplings of the test part give."
    if not any(one.model.is_known for one in sure.values()):
        how = "The test part has too few independent examples to say how sure its scores are."
    return [
        paragraph(verdict(result, main, sure)),
        *told,
        table(rows, top=top),
        paragraph(how if sure else ""),
    ]


def _with_intervals(row: dict[str, Any], known: Compared | None) -> dict[str, Any]:
    """The row with the intervals of test behind the scores of test."""
    if known is None:
        return row
    more = {
        "test: model": ("test: 95 %", interval_text(known.model)),
        "test: baseline": ("difference: 95 %", interval_text(known.difference)),
    }
    found = {}
    for name, value in row.items():
        found[name] = value
        if name in more:
            found[more[name][0]] = NumberText(more[name][1])
    return found


def _pictures(directory: Path) -> list[str]:
    parts = []
    for path in sorted(directory.glob("*.svg")):  # escaped by whoever drew them
        drawn = inside_page(path.read_text("utf-8"))
        title = f"<figcaption>{escape(words(path.stem))}</figcaption>"
        width = re.search(r' width="([\d.]+)"', drawn)
        full = " full" if width and float(width[1]) > 560 else ""
        parts.append(f'<figure class="wide{full}">{title}{drawn}</figure>\n')
    parts = ['<div class="pair">', *parts, "</div>\n"] if parts else []
    for path in sorted(directory.glob("*.png")):
        name = escape(words(path.stem))
        content = base64.b64encode(path.read_bytes()).decode("ascii")
        parts.append(
            f'<figure><img src="data:image/png;base64,{content}" alt="{name}">'
            f"<figcaption>{name}</figcaption></figure>\n"
        )
    for path in sorted(directory.glob("*.html")):  # fragments, escaped by whoever wrote them
        parts.append(f"<h3>{escape(words(path.stem))}</h3>\n{path.read_text('utf-8')}\n")
    return parts


def _exports(run: ReportedRun) -> list[str]:
    result = exported(run)
    if result is None:
        return []
    rows = [
        {name: NumberText(value) if name not in WORDS else value for name, value in row.items()}
        for row in artifact_rows(result)
    ]
    text = f"Version {result['version']}, each format compared with Keras on held-out examples."
    return [
        paragraph(text),
        table(rows),
        *(paragraph(line) for line in artifact_notes(result).splitlines()),
    ]


WORDS = ("format", "precision", "status", "path")


def _settings(config: Mapping[str, Any]) -> list[str]:
    parts = []
    groups = (("model", "Model"), ("preprocessor", "Preprocessor"), ("decoding", "Decoding"))
    for name, title in groups:
        values = settings_of(config.get(name))
        if values:
            parts += [f"<h3>{title}</h3>", settings(values)]
    return parts


def _data(
    config: Mapping[str, Any], result: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Where the examples are from, how they were read, how many there are in each part."""
    values = settings_of(config.get("data"))
    values |= {f"{part} examples": n for part, n in (result.get("examples") or {}).items()}
    if about.get("data_fingerprint"):
        values["fingerprint"] = str(about["data_fingerprint"])[:12]
    return values


def _environment(about: Mapping[str, Any]) -> dict[str, Any]:
    values = settings_of(about)
    values.pop("data_fingerprint", None)
    if "seed" in values:
        values["seed"] = str(values["seed"])  # an identifier: no thousands separators
    return values
