"""All trials of a search, ranked. Reads the search's files; imports neither Keras nor TensorFlow.

A search's directory holds ``search.json`` (what is searched, and how) and, for each trial,
``trials/NNNN/trial.json``, written by the search alone, with ``trials/NNNN/run-K/`` of each of its
executions: an ordinary run, whose ``history.csv`` has a row an epoch.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import DataError
from common.files import write_text

# What a trial may be. CUT: the search's time ended it after an epoch; it goes on with more time.
# SKIPPED: its place in a Hyperband round has no configuration left to fill it.
STATES = ("RUNNING", "COMPLETED", "CUT", "FAILED", "SKIPPED")
COLUMNS = (
    "score", "spread", "epochs", "best_epoch", "seconds", "parameters", "latency_ms", "ended_at"
)  # fmt: skip


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        trial: its number, four digits.
        state: one of ``STATES``.
        values: its hyperparameters.
        score: the validation metric of its best epoch, the mean over its executions; None before
            it has one.
        spread: standard deviation of the score over the executions; None where there is one.
        epochs: epochs trained, an earlier Hyperband round's counted in.
        best_epoch: of the first execution, from 1 on.
        seconds: of all attempts.
        parameters: that are trained.
        latency_ms: median of one answer at batch 1 by the exported ONNX model, one thread.
        ended_at: seconds that the search had spent when the trial ended.
        seed: of its weights and of the order of its examples.
        parent: in Hyperband, the trial that it goes on from.
        bracket: in Hyperband, from the most halvings down to 0.
        round: in Hyperband, from 0 on.
        attempts: times it was begun.
        message: why it failed, or its last attempt did.
    """

    trial: str
    state: str
    values: dict[str, Any]
    score: float | None = None
    spread: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    seconds: float | None = None
    parameters: int | None = None
    latency_ms: float | None = None
    ended_at: float | None = None
    seed: int | None = None
    parent: str | None = None
    bracket: int | None = None
    round: int | None = None
    attempts: int = 0
    message: str | None = None


@dataclass(frozen=True)
class Limits:
    """What the best trial may cost; None where there is no limit."""

    latency_ms: float | None = None
    parameters: int | None = None

    def allow(self, row: TrialRow) -> bool:
        """Whether a trial is known to stay below."""
        return all(
            most is None or (cost is not None and cost <= most)
            for cost, most in (
                (row.latency_ms, self.latency_ms), (row.parameters, self.parameters)
            )
        )  # fmt: skip


@dataclass(frozen=True)
class Search:
    """A search as its files tell it."""

    directory: Path
    about: dict[str, Any]
    rows: list[TrialRow] = field(default_factory=list)

    @property
    def mode(self) -> str:
        """Whether more ("max") or less ("min") of the score is better."""
        return self.about["mode"]

    def curves(self, trial: str) -> list[list[dict[str, float]]]:
        """Rows of ``history.csv`` of each execution."""
        paths = sorted((self.directory / "trials" / trial).glob("run-*/history.csv"))
        return [_history(path) for path in paths]


def trial_row(record: dict[str, Any]) -> TrialRow:
    """A row of what ``trial.json`` holds."""
    names = (*COLUMNS, "trial", "state", "values", "seed", "parent", "bracket", "round", "message")
    known = {name: record.get(name) for name in names}
    return TrialRow(**known, attempts=len(record.get("attempts", ())))


def ranked(rows: Iterable[TrialRow], mode: str) -> list[TrialRow]:
    """Best first; of equals the earlier; those without a score last."""
    sign = -1 if mode == "max" else 1
    return sorted(rows, key=lambda r: (r.score is None, sign * (r.score or 0.0), r.trial))


def best_row(rows: Sequence[TrialRow], limits: Limits | None = None) -> TrialRow | None:
    """The first of ranked rows that has a score and costs no more than it may."""
    scored = (row for row in rows if row.score is not None and row.state in ("COMPLETED", "CUT"))
    return next((row for row in scored if (limits or Limits()).allow(row)), None)


def pareto_front(rows: Sequence[TrialRow], cost: str) -> list[TrialRow]:
    """Of ranked rows, those that no other beats in score at the same or a lower ``cost``.

    Args:
        rows: best first.
        cost: "parameters" or "latency_ms".

    Returns:
        Best score first, so from the dearest to the cheapest.
    """
    front: list[TrialRow] = []
    for row in rows:
        price = getattr(row, cost)
        if row.score is None or price is None or row.state not in ("COMPLETED", "CUT"):
            continue
        if not front or price < getattr(front[-1], cost):
            front.append(row)
    return front


def chosen_rows(search: Search, limits: Limits, pareto: str | None = None) -> list[TrialRow]:
    """Rows that stay below limits or, with ``pareto``, that no other beats at a lower cost."""
    costs = {"latency": "latency_ms", "parameters": "parameters"}
    if pareto is not None and pareto not in costs:
        raise DataError(f"--pareto is {pareto!r}; use one of {', '.join(costs)}")
    rows = search.rows if limits == Limits() else [r for r in search.rows if limits.allow(r)]
    return rows if pareto is None else pareto_front(rows, costs[pareto])


def read_search(directory: Path) -> Search:
    """A search's directory; one that is none is a DataError."""
    try:
        about = json.loads((directory / "search.json").read_text(encoding="utf-8"))
        mode = about["mode"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{directory} is no search: search.json is missing or broken; "
            "give a directory that `seqloom tune` wrote"
        ) from error
    rows = []
    for path in sorted(directory.glob("trials/*/trial.json")):
        try:
            rows.append(trial_row(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            continue  # of another hand: this one appears by a rename, whole or not at all
    return Search(directory, about, ranked(rows, mode))


def write_csv(rows: Sequence[TrialRow], path: Path) -> None:
    """The leaderboard as a table for other tools."""
    names = sorted({name for row in rows for name in row.values})
    text = io.StringIO()
    writer = csv.writer(text)
    fixed = ("trial", "state", *COLUMNS, "seed", "attempts")
    writer.writerow(["rank", *fixed, *names])
    for rank, row in enumerate(rows, 1):
        values = map(row.values.get, names)
        writer.writerow([rank, *(getattr(row, name) for name in fixed), *values])
    write_text(path, text.getvalue())


def _history(path: Path) -> list[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
