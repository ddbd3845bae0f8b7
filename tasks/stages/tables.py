"""Results as rows for a person: the tables that the commands print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from tuning.leaderboard import TrialRow

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


def flag_rows(name: str) -> list[Row]:
    """Each flag of one task: how its data is read, its network, its preprocessor."""
    import tasks

    task = tasks.get(name)
    rows = []
    for group, values in (("data", task.reading), ("model", task.model)):
        for item in fields(values):
            choices = item.metadata.get("choices")
            rows.append({
                "flag": "--" + item.name.replace("_", "-"),
                "of": group,
                "default": getattr(values, item.name),
                "meaning": item.metadata.get("help", "")
                + (f" ({', '.join(choices)})" if choices else ""),
            })  # fmt: skip
    for key, value in task.preprocessing().items():
        rows.append({"flag": "--" + key.replace("_", "-"), "of": "preprocessor", "default": value})
    return rows


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
    """Keras and each artefact: status, distance, metric, latency, size."""
    metric, keras = result["metric"], result["keras"]
    rows = [_artifact_row("keras", "fp32", "reference", keras, metric)]
    for name, item in result["artifacts"].items():
        row = _artifact_row(name, item.get("precision", ""), item["status"], item, metric)
        row["size"] = f"{item['bytes'] / 1e6:.1f} MB"
        row["path"] = f"{result['bundle']}/{item['path']}"
        rows.append(row)
    return rows


def artifact_notes(result: dict[str, Any]) -> str:
    """Why artefacts were not run, one line each."""
    return "\n".join(
        f"{name}: {item['status']}, not run: {item['reason']}"
        for name, item in result["artifacts"].items() if item.get("reason")
    )  # fmt: skip


def _artifact_row(name: str, precision: str, status: str, item: Row, metric: str) -> Row:
    parity, labels = item.get("parity"), item.get("agreement")
    return {
        "format": name,
        "precision": precision,
        "status": status,
        "max |difference|": "" if parity is None else f"{parity:.1e}",
        "same label": "" if labels is None else f"{labels:.2%}",
        metric: f"{item[metric]:.4f}" if metric in item else "",
        **{f"ms at {batch}": f"{ms:.1f}" for batch, ms in item.get("latency_ms", {}).items()},
    }


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
