"""Rows of the tables that both the commands and the reports show: scores and exports."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def score_rows(result: dict[str, Any]) -> list[Row]:
    """One row per metric, with the model's and the baseline's score; those of further ways to
    judge the model, such as ``dynamic.perplexity``, follow.

    Args:
        result: ``metrics`` and ``baseline`` as in ``metrics.json``, ``ways`` as `seqloom evaluate`
            gives them.
    """
    baseline = result["baseline"] or {}
    rows = []
    for part in ("validation", "test"):
        scores, others = result["metrics"].get(part, {}), baseline.get(part, {})
        for metric in dict.fromkeys([*scores, *others]):
            values = {"model": scores.get(metric), "baseline": others.get(metric)}
            rows.append({"part": part, "metric": metric, **values})
    for way in result.get("ways", ()):
        for part in ("validation", "test"):
            for metric, value in result[way].get(part, {}).items():
                metric = f"{way}.{metric}"
                rows.append({"part": part, "metric": metric, "model": value, "baseline": None})
    return rows


def artifact_rows(result: dict[str, Any]) -> list[Row]:
    """One row for Keras and one per artefact: status, difference, metric, latency, size."""
    metric, keras = result["metric"], result["keras"]
    rows = [_artifact_row("keras", "fp32", "reference", keras, metric)]
    for name, item in result["artifacts"].items():
        row = _artifact_row(name, item.get("precision", ""), item["status"], item, metric)
        row["size"] = f"{item['bytes'] / 1e6:.1f} MB"
        row["path"] = f"{result['bundle']}/{item['path']}"
        rows.append(row)
    return rows


def artifact_notes(result: dict[str, Any]) -> str:
    """The reasons why artefacts were not run or not written, one line per artefact, and remarks."""
    not_run = [
        f"{name}: {item['status']}, not run: {item['reason']}"
        for name, item in result["artifacts"].items() if item.get("reason")
    ]  # fmt: skip
    refused = [f"{name}: not written: {why}" for name, why in result.get("refused", {}).items()]
    return "\n".join([*result.get("notes", ()), *not_run, *refused])


def _artifact_row(name: str, precision: str, status: str, item: Row, metric: str) -> Row:
    parity, labels = item.get("parity"), item.get("agreement")
    return {
        "format": name,
        "precision": precision,
        "status": status,
        "max |difference|": "" if parity is None else f"{parity:.1e}",
        "same label": "" if labels is None else f"{labels:.2%}",
        **({metric: f"{item[metric]:.4f}" if metric in item else ""} if metric else {}),
        **{f"ms at {batch}": f"{ms:.1f}" for batch, ms in item.get("latency_ms", {}).items()},
    }
