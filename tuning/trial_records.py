"""The trials of a search on disk: one file per trial, written only by the search's owner.

These files and the plan are all that is needed to continue: the next trials follow from them. Every
file is written by a rename, so it is complete or absent whenever the owner dies.
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
    TrialLimits,
    TrialRow,
    best_row,
    pareto_front,
    ranked,
    read_record,
    trial_row,
    write_csv,
)

if TYPE_CHECKING:
    from tuning.store import RemoteStore
    from tuning.strategies import Proposal

# Parts of a trial's run that are removed once they are no longer needed; the rest is kept.
STATE = ("backup", "best.weights.h5")
MODEL = ("model.keras", "preprocessor")


class TrialRecords:
    """Records of all trials of a search.

    Args:
        directory: directory of the search.
        mode: "max" if higher scores are better, "min" if lower scores are.
        store: where trials keep their files when other machines do not see the directory.
    """

    def __init__(self, directory: Path, mode: str, store: RemoteStore | None = None) -> None:
        self.directory, self.mode, self.store = directory, mode, store
        self.by_number: dict[int, dict[str, Any]] = {}
        for path in directory.glob("trials/*/trial.json"):
            try:
                record = read_record(path)
            except ValueError:
                continue  # not written by this program; the trial is proposed again, unchanged
            self.by_number[int(record["trial"])] = record

    def pull(self, number: int) -> None:
        """Downloads a trial's files from the store, without its checkpoints."""
        if self.store is not None:
            self.store.pull(f"trials/{number:04d}", self.path(number), without=("backup",))

    @property
    def rows(self) -> dict[int, TrialRow]:
        """Rows of all trials by trial number."""
        return {number: trial_row(record) for number, record in self.by_number.items()}

    def ranking(self) -> list[TrialRow]:
        """All trials, best first."""
        return ranked(self.rows.values(), self.mode)

    def path(self, number: int) -> Path:
        """Directory of a trial."""
        return self.directory / "trials" / f"{number:04d}"

    def begin(self, number: int, proposal: Proposal) -> None:
        """Records the configuration that a trial has been given."""
        self.by_number[number] = {
            "trial": f"{number:04d}",
            "state": "RUNNING",
            "values": proposal.values,
            "until": proposal.until,
            "parent": None if proposal.parent is None else f"{proposal.parent:04d}",
            "bracket": proposal.bracket,
            "round": proposal.round,
            "attempts": [],
        }
        self.save(number)

    def skip(self, number: int) -> None:
        """Records that no trial has this number."""
        empty = {"trial": f"{number:04d}", "state": "SKIPPED", "values": {}, "attempts": []}
        self.by_number[number] = empty
        self.save(number)

    def save(self, number: int) -> None:
        """Writes one record, and then the leaderboard."""
        write_json(self.path(number) / "trial.json", self.by_number[number])
        write_csv(self.ranking(), self.directory / "leaderboard.csv")

    def epochs_done(self, number: int) -> int:
        """Number of epochs that the executions of a trial have trained, by their histories."""
        done = 0
        for path in self.path(number).glob("run-*/history.csv"):
            done += max(0, len(path.read_text(encoding="utf-8").splitlines()) - 1)
        return done

    def keep_best(self, limits: TrialLimits) -> TrialRow | None:
        """Makes ``SEARCH/best`` a copy of the best trial's run; returns that trial, if any.

        The directory is complete at any moment, except that it may be absent between two renames;
        the next start repairs that.
        """
        best = best_row(self.ranking(), limits)
        target, new, old = (self.directory / name for name in ("best", ".best-new", ".best-old"))
        if best is None:
            return None
        source = self._best_run(best)
        about = {"trial": best.trial, "epochs": best.epochs, "score": best.score}
        if _json(target / "trial.json") == about:
            return best
        if not (source / "model.keras").is_file():
            return best  # its model was pruned under other limits; its leaderboard row stays
        for path in (new, old):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(source, new, ignore=shutil.ignore_patterns(*STATE))
        write_json(new / "trial.json", about)
        if target.exists():
            os.replace(target, old)
        os.replace(new, target)
        shutil.rmtree(old, ignore_errors=True)
        return best

    def prune(self, limits: TrialLimits, needed: set[int]) -> None:
        """Removes models of trials that can no longer win, and states that no trial continues.

        Models are kept for the best trial and for the Pareto fronts of score against cost. States
        are kept for the trials in ``needed`` and for trials that have not ended.
        """
        ranking = self.ranking()
        keep = {row.trial for cost in ("latency_ms", "parameters")
                for row in pareto_front(ranking, cost)}  # fmt: skip
        keep |= {row.trial for row in (best_row(ranking), best_row(ranking, limits)) if row}
        for number, record in self.by_number.items():
            if record["state"] not in ("COMPLETED", "FAILED"):
                continue
            state = number not in needed
            model = record["trial"] not in keep
            if state or model:
                names = [*(STATE if state else ()), *(MODEL if model else ())]
                self._remove(number, names)

    def _remove(self, number: int, names: list[str]) -> None:
        for run in self.path(number).glob("run-*"):
            for name in names:
                path = run / name
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                if self.store is not None:
                    self.store.remove(f"trials/{number:04d}/{run.name}/{name}")

    def _best_run(self, row: TrialRow) -> Path:
        """The run of a trial's best execution."""
        path, record = self.path(int(row.trial)), self.by_number[int(row.trial)]
        scores = record.get("scores") or [row.score]
        choose: Callable = max if self.mode == "max" else min
        return path / f"run-{scores.index(choose(scores))}"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
