"""The model card of a run: what is known of a model, in Markdown, for people and model hubs.

Its parts are those of Mitchell et al. 2019, "Model Cards for Model Reporting"; the head is what
Hugging Face reads. Everything in it was measured or recorded. What only the owner can know is a
line that says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.axes import number, score_text
from reports.drawing import clean
from reports.intervals import Compared
from reports.judged import Judged
from reports.reported_run import (
    ReportedRun,
    chance_text,
    exported,
    interval_text,
    intervals_of,
    settings_of,
    verdict,
)
from reports.tables import artifact_notes, artifact_rows

OWNER = "> **To be filled in by the owner:** "
MOST_CLASSES = 30
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")


def plain(value: Any) -> str:
    """A value as text that Markdown shows as it is, in one line.

    >>> plain("a|b <i>")
    'a\\\\|b \\\\<i\\\\>'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(clean(number(value)).split()))


def model_card(
    run: ReportedRun, lines: Sequence[tuple[str, str]] = (), bundle: Path | None = None
) -> str:
    """The card of a finished run.

    Args:
        run: a run.
        lines: for each next step, a description and the command.
        bundle: the card's own, whose exports it lists; that of the run if None.
    """
    result, about, judged = run.read("metrics.json"), run.read("environment.json"), run.judged()
    sure = intervals_of(judged)
    parts = [
        _head(run, result),
        f"# {plain(run.title)}\n",
        _details(run, result, about),
        "## Intended use\n",
        f"{OWNER}who may use this model, for what, and what it must not be used for.\n",
        _data(run, result, about),
        _metrics(run, result, sure),
        _classes(judged),
        _exports(run, bundle),
        "## Ethical considerations\n",
        f"{OWNER}whose data this is, under which licence, and whom wrong answers can harm.\n",
        _caveats(run, result, sure),
        _use(lines),
    ]
    return "\n".join(part for part in parts if part)


def _head(run: ReportedRun, result: Mapping[str, Any]) -> str:
    """YAML that Hugging Face reads; JSON strings are YAML too."""
    scores = (result.get("metrics") or {}).get("test") or {}
    kind = run.hub or run.kind.replace(" ", "-")
    tags = ["seqloom", "recurrent-neural-network", str(run.config["model"].get("cell", ""))]
    lines = ["---", "library_name: keras"]
    lines += [f"pipeline_tag: {run.hub}"] if run.hub else []
    lines += ["tags:", *(f"- {json.dumps(tag)}" for tag in tags if tag)]
    if scores:
        data = _source(run)
        name, task = json.dumps(run.title), json.dumps(kind)
        lines += ["model-index:", f"- name: {name}", "  results:"]
        lines += [f"  - task: {{type: {task}}}", "    dataset:", f"      name: {json.dumps(data)}"]
        lines += [f"      type: {json.dumps(data)}", "      split: test", "    metrics:"]
        for metric, value in scores.items():
            lines += [f"    - type: {json.dumps(metric)}", f"      value: {json.dumps(value)}"]
    return "\n".join([*lines, "---", ""])


def _source(run: ReportedRun) -> str:
    data = run.config["data"]
    return str(data.get("source") or "unknown") if isinstance(data, dict) else "unknown"


def _details(run: ReportedRun, result: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    packages = about.get("packages") or {}
    versions = [
        f"{name} {packages[name]}" for name in ("keras", "tensorflow") if packages.get(name)
    ]
    facts = {
        "Task": f"{run.config['task']}{f' ({run.kind})' if run.kind else ''}",
        "Parameters": result.get("parameters"),
        "Epochs": result.get("epochs"),
        "Kept epoch": result.get("best_epoch"),
        "Training time, seconds": round(result["seconds"]) if result.get("seconds") else None,
        "Seed": str(run.config["seed"]),
        "Written by": f"Seqloom {about.get('git_revision') or ''}".strip(),
        "With": ", ".join(versions),
        "On": about.get("platform"),
    }
    rows = [(name, value) for name, value in facts.items() if value not in (None, "")]
    text = ["## Model details\n", _table(("", ""), rows), f"{OWNER}author, licence, contact.\n"]
    for group in ("model", "preprocessor", "decoding"):
        values = settings_of(run.config.get(group))
        if values:
            told = ", ".join(f"{plain(name)} {plain(value)}" for name, value in values.items())
            text.append(f"Settings of the {group}: {told}.\n")
    return "\n".join(text)


def _data(run: ReportedRun, result: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    counts = result.get("examples") or {}
    rows = [(part, f"{count:,}") for part, count in counts.items()]
    reading = settings_of(run.config["data"])
    told = ", ".join(f"{plain(name)} {plain(value)}" for name, value in reading.items())
    text = ["## Training and evaluation data\n", f"{told}.\n"]
    if rows:
        text.append(_table(("part", "examples"), rows))
    if about.get("data_fingerprint"):
        text.append(f"Fingerprint of the data: `{str(about['data_fingerprint'])[:16]}`.\n")
    text.append(
        "The preprocessor was adapted on the training part alone, choices were made on the "
        "validation part; the scores of the test part are those of the trained model.\n"
    )
    return "\n".join(text)


def _metrics(run: ReportedRun, result: Mapping[str, Any], sure: Mapping[str, Compared]) -> str:
    metrics, baseline = result.get("metrics") or {}, result.get("baseline") or {}
    rows = []
    for part in ("test", "validation"):
        for name, score in (metrics.get(part) or {}).items():
            known = sure.get(name) if part == "test" else None
            other = (baseline.get(part) or {}).get(name)
            if other is None and known and known.baseline:
                other = known.baseline.score
            rows.append((
                part, name, score_text(score), interval_text(known.model) if known else "",
                score_text(other), interval_text(known.difference) if known else "",
            ))  # fmt: skip
    if not rows:
        return "## Evaluation\n\nNot evaluated yet.\n"
    head = ("part", "metric", "model", "95 %", "baseline", "difference, 95 %")
    text = ["## Evaluation\n", _table(head, rows)]
    if baseline.get("name"):
        text.append(f"The baseline is {plain(baseline['name'])}.\n")
    if sure:
        text.append("Intervals: 1,000 bootstrap resamplings of the test part.\n")
    return "\n".join(text)


def _classes(judged: Judged | None) -> str:
    if judged is None or not judged.classes:
        return ""
    found = sorted(judged.classes.items(), key=lambda pair: -pair[1][2])
    rows = [
        (name, f"{wanted:,}", f"{right / got:.3f}" if got else "",
         f"{right / wanted:.3f}" if wanted else "")
        for name, (right, got, wanted) in found[:MOST_CLASSES]
    ]  # fmt: skip
    more = len(judged.classes) - len(rows)
    text = _table(("label", "in test", "precision", "recall"), rows)
    return f"### By label\n\n{text}" + (f"{more} more labels are rarer.\n" if more else "")


def _exports(run: ReportedRun, bundle: Path | None) -> str:
    result = exported(run, bundle)
    if result is None:
        return ""
    found = artifact_rows(result)
    names = [name for name in dict.fromkeys(key for row in found for key in row) if name != "path"]
    rows = [tuple(row.get(name, "") for name in names) for row in found]
    notes = artifact_notes(result)
    text = "## Exports\n\nEach format compared with Keras on held-out examples; latency in ms.\n\n"
    return text + _table(names, rows) + (f"{plain(notes)}\n" if notes else "")


def _caveats(run: ReportedRun, result: Mapping[str, Any], sure: Mapping[str, Compared]) -> str:
    lines = [verdict(result, run.metric, sure), *result.get("remarks", ())]
    if run.metric and run.metric.name in sure and chance_text(sure[run.metric.name]):
        away = sure[run.metric.name].difference
        if away is not None and away.low <= 0 <= away.high:
            lines.append("On this test part the model cannot be told apart from its baseline.")
    if _source(run).startswith("synthetic"):
        lines.append("The data is generated: scores say nothing about data of the real world.")
    lines = [f"- {plain(line)}" for line in lines if line]
    return "## Caveats\n\n" + "\n".join(lines) + "\n" if lines else ""


def _use(lines: Sequence[tuple[str, str]]) -> str:
    if not lines:
        return ""
    told = [f"# {what}\n{line}" for what, line in lines]
    return "## Use\n\n```sh\n" + "\n".join(told) + "\n```\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(map(plain, head)) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(plain(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
