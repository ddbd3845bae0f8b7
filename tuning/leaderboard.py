"""All trials of a search, ranked. Reads the search's files; imports neither Keras nor TensorFlow.

A search's directory holds ``search.json`` (the plan of the search) and, for each trial,
``trials/NNNN/trial.json``, which only the search's owner writes. Each execution of a trial has a
directory ``trials/NNNN/run-K/``: an ordinary run, whose ``history.csv`` has one row per epoch.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import DataError
from common.files import write_text
from tuning.search_lock import is_locked

# STOPPED: the budget of the search ended the trial after an epoch; with a larger budget the trial
# continues. SKIPPED: no configuration was left for this number in a Hyperband round. INTERRUPTED:
# begun, but nobody runs it now; started again, the search goes on with it. Only this module says
# so: in its file the trial is RUNNING, since what ends a search by force writes nothing.
STATES = ("RUNNING", "INTERRUPTED", "COMPLETED", "STOPPED", "FAILED", "SKIPPED")
ENDED_WITH_MODEL = ("COMPLETED", "STOPPED")
# Names of states that earlier versions wrote into trial.json.
_OLD_STATES = {"CUT": "STOPPED"}
COLUMNS = (
    "score", "spread", "epochs", "best_epoch", "seconds", "parameters", "latency_ms", "ended_at"
)  # fmt: skip


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        trial: number of the trial, as four digits.
        state: one of ``STATES``.
        values: hyperparameters.
        score: validation metric of the best epoch, averaged over the executions; None before there
            is one.
        spread: standard deviation of the score over the executions; None with a single execution.
        epochs: number of epochs trained, including those of earlier Hyperband rounds.
        best_epoch: best epoch of the first execution, counted from 1.
        seconds: training time of all attempts together.
        parameters: number of trainable parameters.
        latency_ms: median time of one prediction at batch 1 with the exported ONNX model and one
            thread.
        ended_at: seconds that the search had spent when the trial ended.
        seed: seed of the weights and of the order of examples.
        parent: in Hyperband, the trial whose training this one continues.
        bracket: in Hyperband, the bracket's number; the one with the most halvings comes first, the
            last is 0.
        round: in Hyperband, the round's number, from 0.
        attempts: number of times that the trial was started.
        message: why the trial, or its last attempt, failed.
        curve: score of each epoch; None with several executions, or where epochs are watched by
            another metric.
        pruned: why the search ended the trial before its last epoch, if it did.
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
    curve: list[float] | None = None
    pruned: str | None = None

    @property
    def outcome(self) -> str:
        """The state, for display: a pruned trial is told from one that trained to its end."""
        return "PRUNED" if self.pruned else self.state


@dataclass(frozen=True)
class TrialLimits:
    """Maximum cost of the best trial; None means no limit."""

    latency_ms: float | None = None
    parameters: int | None = None

    def allow(self, row: TrialRow) -> bool:
        """Whether the trial's costs are known and within the limits."""
        return all(
            limit is None or (cost is not None and cost <= limit)
            for cost, limit in (
                (row.latency_ms, self.latency_ms), (row.parameters, self.parameters)
            )
        )  # fmt: skip


@dataclass(frozen=True)
class Search:
    """A search, as read from its files.

    Attributes:
        directory: directory of the search.
        about: content of ``search.json``.
        rows: all trials, best first.
    """

    directory: Path
    about: dict[str, Any]
    rows: list[TrialRow] = field(default_factory=list)

    @property
    def mode(self) -> str:
        """ "max" if higher scores are better, "min" if lower scores are."""
        return self.about["mode"]

    def curves(self, trial: str) -> list[list[dict[str, float]]]:
        """For each execution of a trial, the rows of its ``history.csv``."""
        paths = sorted((self.directory / "trials" / trial).glob("run-*/history.csv"))
        return [_history(path) for path in paths]


def read_record(path: Path) -> dict[str, Any]:
    """A trial's record from ``trial.json``; names that earlier versions wrote are replaced.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not JSON.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    record["state"] = _OLD_STATES.get(record.get("state"), record.get("state"))
    for attempt in record.get("attempts", ()):
        if "blame" in attempt:
            attempt["cause"] = attempt.pop("blame")
    return record


def trial_row(record: dict[str, Any]) -> TrialRow:
    """The leaderboard row of a trial's record."""
    names = (*COLUMNS, "trial", "state", "values", "seed", "parent", "bracket", "round", "message",
             "curve", "pruned")  # fmt: skip
    known = {name: record.get(name) for name in names}
    return TrialRow(**known, attempts=len(record.get("attempts", ())))


def rank_key(row: TrialRow, mode: str) -> tuple:
    """Sorts rows: best first, rows without a score last.

    Of equal scores, the trial with fewer parameters comes first, then the one with the lower
    number. Latency does not decide: it is measured, so the best trial would change from one search
    to the next.
    """
    sign = -1 if mode == "max" else 1
    size = math.inf if row.parameters is None else row.parameters
    # From 10,000 on a number has more than four digits.
    return row.score is None, sign * (row.score or 0.0), size, len(row.trial), row.trial


def ranked(rows: Iterable[TrialRow], mode: str) -> list[TrialRow]:
    """Sorts rows by ``rank_key``."""
    return sorted(rows, key=lambda row: rank_key(row, mode))


def best_row(rows: Sequence[TrialRow], limits: TrialLimits | None = None) -> TrialRow | None:
    """The first of the ranked rows that has a score and is within the limits."""
    scored = (r for r in rows if r.score is not None and r.state in ENDED_WITH_MODEL)
    return next((row for row in scored if (limits or TrialLimits()).allow(row)), None)


def pareto_front(rows: Sequence[TrialRow], cost: str) -> list[TrialRow]:
    """The rows that no other row equals or beats in score at a lower cost, or beats at the same.

    Args:
        rows: rows to choose from, best first; of equal scores in any order.
        cost: "parameters" or "latency_ms".

    Returns:
        Rows of the front, best score first; that is, from the most to the least expensive.
    """
    front: list[TrialRow] = []
    for row in rows:
        price = getattr(row, cost)
        if row.score is None or price is None or row.state not in ENDED_WITH_MODEL:
            continue
        if front and price >= getattr(front[-1], cost):
            continue
        if front and row.score == front[-1].score:
            front.pop()  # this row has the same score at a lower cost
        front.append(row)
    return front


def chosen_rows(search: Search, limits: TrialLimits, pareto: str | None = None) -> list[TrialRow]:
    """The rows within the limits; with ``pareto``, only those on the front of score against cost.

    Args:
        search: the search.
        limits: maximum cost.
        pareto: "latency", "parameters" or None.

    Raises:
        DataError: ``pareto`` is something else.
    """
    costs = {"latency": "latency_ms", "parameters": "parameters"}
    if pareto is not None and pareto not in costs:
        raise DataError(f"--pareto is {pareto!r}; use one of {', '.join(costs)}")
    rows = search.rows if limits == TrialLimits() else [r for r in search.rows if limits.allow(r)]
    return rows if pareto is None else pareto_front(rows, costs[pareto])


def read_search(directory: Path) -> Search:
    """Reads the directory of a search.

    Raises:
        DataError: the directory does not hold a search.
    """
    try:
        about = json.loads((directory / "search.json").read_text(encoding="utf-8"))
        mode = about["mode"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{directory} is no search: search.json is missing or broken; "
            "give a directory that `seqloom tune` wrote"
        ) from error
    rows, owned = [], is_locked(directory)
    for path in sorted(directory.glob("trials/*/trial.json")):
        try:
            row = trial_row(read_record(path))
        except (OSError, ValueError):
            continue  # not written by a search, which writes by a rename: complete or not at all
        interrupted = row.state == "RUNNING" and not owned
        rows.append(replace(row, state="INTERRUPTED") if interrupted else row)
    return Search(directory, about, ranked(rows, mode))


def write_csv(rows: Sequence[TrialRow], path: Path) -> None:
    """Writes the leaderboard as CSV, for other tools."""
    names = sorted({name for row in rows for name in row.values})
    text = io.StringIO()
    writer = csv.writer(text)
    fixed = ("trial", "state", *COLUMNS, "seed", "attempts", "pruned")
    writer.writerow(["rank", *fixed, *names])
    for rank, row in enumerate(rows, 1):
        values = map(row.values.get, names)
        writer.writerow([rank, *(getattr(row, name) for name in fixed), *values])
    write_text(path, text.getvalue())


def _history(path: Path) -> list[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
