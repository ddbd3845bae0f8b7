"""Results as rows for a person: the tables that the commands print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from tuning.leaderboard import TrialRow

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


def flag_rows(name: str) -> list[Row]:
    """Each flag of one task: data, model, preprocessor, decoding."""
    import tasks

    rows = []
    for group, values in tasks.get(name).groups.items():
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
        {"rank": rank, "trial": row.trial, "state": row.state, "score": row.score,
         **({} if row.spread is None else {"spread": row.spread}),
         "epochs": row.epochs, "seconds": row.seconds, "parameters": row.parameters,
         "latency_ms": row.latency_ms, **row.values}
        for rank, row in enumerate(rows, 1)
    ]  # fmt: skip


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
