"""All trials of a search, ranked. Reads KerasTuner's files; imports neither it nor TensorFlow."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import DataError
from pipelines.files import write_text


@dataclass(frozen=True)
class TrialRow:
    """One trial: ``state`` is KerasTuner's; ``score`` is None unless it is COMPLETED."""

    trial: str
    state: str
    score: float | None
    epochs: int | None
    seconds: float | None
    parameters: int | None
    values: dict[str, Any]
    message: str | None

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters without KerasTuner's own entries."""
        return {k: v for k, v in self.values.items() if not k.startswith("tuner/")}


def read_rows(project: Path, mode: str) -> list[TrialRow]:
    """Rows of a KerasTuner project, best ("max" or "min") first, those without a score last."""
    rows = []
    for path in sorted(project.glob("trial_*/trial.json")):
        try:
            trial = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            # KerasTuner's writes are not atomic; a kill can leave half a file.
            continue
        extra_path = path.with_name("result.json")
        extra = json.loads(extra_path.read_text(encoding="utf-8")) if extra_path.exists() else {}
        message = trial.get("message")
        rows.append(
            TrialRow(
                trial=trial["trial_id"],
                state=trial["status"],
                score=trial["score"],
                epochs=extra.get("epochs"),
                seconds=extra.get("seconds"),
                parameters=extra.get("parameters"),
                values=trial["hyperparameters"]["values"],
                message=message.strip().splitlines()[-1] if message else None,
            )
        )
    sign = -1 if mode == "max" else 1
    return sorted(rows, key=lambda r: (r.score is None, sign * (r.score or 0.0), r.trial))


def read_search(directory: Path) -> list[TrialRow]:
    """Rows of a search's directory; a directory that is none is a DataError."""
    try:
        mode = json.loads((directory / "search.json").read_text(encoding="utf-8"))["mode"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{directory} is no search: search.json is missing or broken; "
            "give a directory that `seqloom tune` wrote"
        ) from error
    return read_rows(directory / "trials", mode)


def write_csv(rows: list[TrialRow], path: Path) -> None:
    """The leaderboard as a table for other tools."""
    names = sorted({name for row in rows for name in row.config})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["rank", "trial", "state", "score", "epochs", "seconds", "parameters", *names])
    for rank, row in enumerate(rows, 1):
        cost = [row.epochs, row.seconds, row.parameters]
        writer.writerow([rank, row.trial, row.state, row.score, *cost, *map(row.config.get, names)])
    write_text(path, text.getvalue())
