"""The trials of a search on the disk: one file a trial, written by the search's owner alone.

Nothing else is needed to go on: what comes next follows from the plan and from these files. Every
file appears by a rename, so it is whole or absent whenever the owner dies.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.files import write_json
from tuning.leaderboard import (
    Limits,
    TrialRow,
    best_row,
    pareto_front,
    ranked,
    trial_row,
    write_csv,
)

if TYPE_CHECKING:
    from tuning.store import Store
    from tuning.strategies import Draw

# What a trial's run keeps for good; the rest goes once no one may need it.
STATE = ("backup", "best.weights.h5")
MODEL = ("model.keras", "preprocessor")


class Ledger:
    """Records of all trials of a search.

    Args:
        directory: of the search.
        mode: "max" or "min" of the score.
        store: where trials keep their files when other machines do not see the directory.
    """

    def __init__(self, directory: Path, mode: str, store: Store | None = None) -> None:
        self.directory, self.mode, self.store = directory, mode, store
        self.records: dict[int, dict[str, Any]] = {}
        for path in directory.glob("trials/*/trial.json"):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                continue  # not of this program's writing; drawn again, it gets the same values
            self.records[int(record["trial"])] = record

    def take(self, slot: int) -> None:
        """Brings a trial's files here from the store, its checkpoints left out."""
        if self.store is not None:
            self.store.pull(f"trials/{slot:04d}", self.path(slot), without=("backup",))

    @property
    def rows(self) -> dict[int, TrialRow]:
        """By slot."""
        return {slot: trial_row(record) for slot, record in self.records.items()}

    def ranking(self) -> list[TrialRow]:
        """All trials, best first."""
        return ranked(self.rows.values(), self.mode)

    def path(self, slot: int) -> Path:
        """Directory of a trial."""
        return self.directory / "trials" / f"{slot:04d}"

    def begin(self, slot: int, draw: Draw) -> None:
        """Records what a slot was given."""
        self.records[slot] = {
            "trial": f"{slot:04d}",
            "state": "RUNNING",
            "values": draw.values,
            "until": draw.until,
            "parent": None if draw.parent is None else f"{draw.parent:04d}",
            "bracket": draw.bracket,
            "round": draw.round,
            "attempts": [],
        }
        self.save(slot)

    def skip(self, slot: int) -> None:
        """Records that a slot stays empty."""
        empty = {"trial": f"{slot:04d}", "state": "SKIPPED", "values": {}, "attempts": []}
        self.records[slot] = empty
        self.save(slot)

    def save(self, slot: int) -> None:
        """Writes one record, and the leaderboard after it."""
        write_json(self.path(slot) / "trial.json", self.records[slot])
        write_csv(self.ranking(), self.directory / "leaderboard.csv")

    def epochs_done(self, slot: int) -> int:
        """Rows of the histories of a trial's executions: how far it has come."""
        done = 0
        for path in self.path(slot).glob("run-*/history.csv"):
            done += max(0, len(path.read_text(encoding="utf-8").splitlines()) - 1)
        return done

    def keep_best(self, limits: Limits) -> TrialRow | None:
        """Makes ``SEARCH/best`` the run of the best trial; it is whole at any moment but one.

        Between two renames there may be none; the next start puts that right.
        """
        best = best_row(self.ranking(), limits)
        target, aside, old = (self.directory / name for name in ("best", ".best-new", ".best-old"))
        if best is None:
            return None
        source = self._best_run(best)
        said = {"trial": best.trial, "epochs": best.epochs, "score": best.score}
        if _json(target / "trial.json") == said:
            return best
        if not (source / "model.keras").is_file():
            return best  # given up for lack of use under other limits; its leaderboard row stays
        for path in (aside, old):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(source, aside, ignore=shutil.ignore_patterns(*STATE))
        write_json(aside / "trial.json", said)
        if target.exists():
            os.replace(target, old)
        os.replace(aside, target)
        shutil.rmtree(old, ignore_errors=True)
        return best

    def prune(self, limits: Limits, needed: set[int]) -> None:
        """Removes models of trials that can no longer win, and states that none goes on from.

        Kept are the models of the best trial and of the fronts of score against cost, and the
        states of ``needed`` slots and of trials that have not ended.
        """
        ranking = self.ranking()
        keep = {row.trial for cost in ("latency_ms", "parameters")
                for row in pareto_front(ranking, cost)}  # fmt: skip
        keep |= {row.trial for row in (best_row(ranking), best_row(ranking, limits)) if row}
        for slot, record in self.records.items():
            if record["state"] not in ("COMPLETED", "FAILED"):
                continue
            state = slot not in needed
            model = record["trial"] not in keep
            if state or model:
                names = [*(STATE if state else ()), *(MODEL if model else ())]
                self._remove(slot, names)

    def _remove(self, slot: int, names: list[str]) -> None:
        for run in self.path(slot).glob("run-*"):
            for name in names:
                path = run / name
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                if self.store is not None:
                    self.store.remove(f"trials/{slot:04d}/{run.name}/{name}")

    def _best_run(self, row: TrialRow) -> Path:
        """The run of a trial's best execution."""
        path, record = self.path(int(row.trial)), self.records[int(row.trial)]
        scores = record.get("scores") or [row.score]
        choose: Callable = max if self.mode == "max" else min
        return path / f"run-{scores.index(choose(scores))}"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
