"""Results as rows for a person: the tables that the commands print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuning.leaderboard import read_search

Row = dict[str, Any]


def task_rows() -> list[Row]:
    """One row a task."""
    import tasks

    found = [tasks.get(name) for name in tasks.names()]
    return [
        {"task": t.name, "kind": t.kind, "metric": t.metric, "summary": t.summary,
         "data": "synthetic is built in; --data for your own"}
        for t in found
    ]  # fmt: skip


def score_rows(result: dict[str, Any]) -> list[Row]:
    """Each metric of the model, and the baseline's beside it."""
    baseline = result["baseline"] or {}
    rows = []
    for part in ("validation", "test"):
        scores, others = result["metrics"].get(part, {}), baseline.get(part, {})
        for metric in dict.fromkeys([*scores, *others]):
            values = {"model": scores.get(metric), "baseline": others.get(metric)}
            rows.append({"part": part, "metric": metric, **values})
    return rows


def artifact_rows(result: dict[str, Any]) -> list[Row]:
    """Each artefact of a bundle: its distance from Keras, its latency, its size."""
    return [
        {
            "format": name,
            "status": item["status"],
            "max |difference|": f"{item['parity']:.1e}",
            "same label": f"{item['agreement']:.2%}",
            **{f"ms at {batch}": f"{ms:.1f}" for batch, ms in item["latency_ms"].items()},
            "size": f"{item['bytes'] / 1e6:.1f} MB",
            "path": f"{result['bundle']}/{item['path']}",
        }
        for name, item in result["artifacts"].items()
    ]


def leaderboard_rows(search: Path) -> list[Row]:
    """Each trial of a search, best first."""
    return [
        {"rank": rank, "trial": row.trial, "state": row.state, "score": row.score,
         "epochs": row.epochs, "seconds": row.seconds, "parameters": row.parameters, **row.config}
        for rank, row in enumerate(read_search(search), 1)
    ]  # fmt: skip
