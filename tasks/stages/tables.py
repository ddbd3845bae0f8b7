"""Results as rows for a person: the tables that the commands print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.stages.table_layout import GAP, columns_of, table_width
from tuning.leaderboard import TrialRow

if TYPE_CHECKING:
    from tasks.kinds.contract import Task

Row = dict[str, Any]


def task_rows() -> list[Row]:
    """One row for each task."""
    import tasks

    found = [tasks.get(name) for name in tasks.names()]
    return [
        {"task": t.name, "kind": t.kind, "metric": t.metric.name, "summary": t.summary,
         "data": "synthetic is built in; --data for your own"}
        for t in found
    ]  # fmt: skip


def flag_rows(task: Task) -> list[Row]:
    """Each flag of one task: what decides, data, model, preprocessor, decoding, judging."""
    metrics = ", ".join(one.name for one in task.metrics)
    rows = [{"flag": "--metric", "of": "choice", "default": task.metric.name,
             "meaning": f"what configurations are chosen by ({metrics})"}]  # fmt: skip
    for group, values in task.groups.items():
        for item in fields(values):
            choices = item.metadata.get("choices")
            rows.append({
                "flag": "--" + item.name.replace("_", "-"),
                "of": group,
                "default": getattr(values, item.name),
                "meaning": item.metadata.get("help", "")
                + (f" ({', '.join(choices)})" if choices else ""),
            })  # fmt: skip
    return rows


def leaderboard_rows(rows: Sequence[TrialRow]) -> list[Row]:
    """Each trial of a search, best first."""
    return [
        {"rank": rank, "trial": row.trial, "state": row.outcome, "score": row.score,
         **({} if row.spread is None else {"spread": row.spread}),
         "epochs": row.epochs, "seconds": row.seconds, "parameters": row.parameters,
         "latency_ms": row.latency_ms, **row.values}
        for rank, row in enumerate(rows, 1)
    ]  # fmt: skip


# Columns of the leaderboard that a narrow terminal leaves out, in this order.
LESS_IMPORTANT = ("rank", "seconds", "epochs", "latency_ms", "parameters", "spread", "state")
MIN_CONFIGURATION = 30


def fitted_leaderboard(
    rows: Sequence[TrialRow], width: int | None, directory: Path
) -> tuple[list[Row], str]:
    """The leaderboard as a terminal of this width has room for it, and a note about the rest.

    Where a column for each hyperparameter does not fit, they share one. If that would be narrower
    than 30 characters, other columns are left out; the trial, its score and its configuration never
    are.

    Args:
        rows: trials, best first.
        width: characters; None for a file or pipe, which gets all columns.
        directory: the search's directory, for the note.
    """
    full = leaderboard_rows(rows)
    if width is None or table_width(columns_of(full)) <= width:
        return full, ""
    own = {name for row in rows for name in row.values}
    short = [
        {**{name: value for name, value in shown.items() if name not in own},
         "configuration": configuration(row)}
        for shown, row in zip(full, rows, strict=True)
    ]  # fmt: skip
    left_out: list[str] = []
    if all(row.state == "COMPLETED" for row in rows):
        short = _without(short, "state")
    for name in LESS_IMPORTANT:
        *fixed, last = columns_of(short)
        if table_width(fixed) + GAP + min(MIN_CONFIGURATION, last.width) <= width:
            break
        if any(name in row for row in short):
            short, left_out = _without(short, name), [*left_out, name]
    if not left_out:
        return short, ""
    where = directory / "leaderboard.csv"
    return short, f"not shown for lack of width: {', '.join(left_out)}; {where} has all"


def _without(rows: list[Row], name: str) -> list[Row]:
    return [{key: value for key, value in row.items() if key != name} for row in rows]


def configuration(row: TrialRow) -> str:
    """``cell=gru, units=64`` of a trial; without KerasTuner's own values, such as tuner/epochs."""
    return ", ".join(
        f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}"
        for k, v in row.values.items() if "/" not in k
    )  # fmt: skip


def engine_rows(result: dict[str, Any]) -> list[Row]:
    """Each verified TensorRT engine beside ONNX Runtime."""
    return [
        {
            "engine": name,
            "status": "verified",
            "max |difference|": f"{item['difference']:.1e}",
            **{f"ms at {batch}": f"{ms:.2f}" for batch, ms in item["latency_ms"].items()},
        }
        for name, item in result["engines"].items()
    ]
