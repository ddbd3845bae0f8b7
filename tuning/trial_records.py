"""The trials of a search on disk: one file per trial, written only by the search's owner.

These files and the plan are all that is needed to continue: the next trials follow from them. Every
file is written by a rename, so it is complete or absent whenever the owner dies.
"""

from __future__ import annotations

import json
import os
import shutil
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.files import write_json
from tuning.leaderboard import (
    TrialLimits,
    TrialRow,
    best_row,
    pareto_front,
    rank_key,
    ranked,
    read_record,
    trial_row,
    write_csv,
)

if TYPE_CHECKING:
    from tuning.store import RemoteStore
    from tuning.strategy import Proposal

# Parts of a trial's run that are removed once they are no longer needed; the rest is kept.
STATE = ("backup", "best.weights.h5")
MODEL = ("model.keras", "preprocessor")
UNFINISHED = ("RUNNING", "STOPPED")
# With more trials, leaderboard.csv is written after so many rows' worth of saves, not after each.
LEADERBOARD_ROWS = 200


class TrialRecords:
    """Records of all trials of a search.

    A change of a record in ``by_number`` counts from the next ``save`` on. Rows and their order are
    kept from one save to the next, so that a save costs the same in a search of any size.

    Args:
        directory: directory of the search.
        mode: "max" if higher scores are better, "min" if lower scores are.
        store: where trials keep their files when other machines do not see the directory.
    """

    def __init__(self, directory: Path, mode: str, store: RemoteStore | None = None) -> None:
        self.directory, self.mode, self.store = directory, mode, store
        self.by_number: dict[int, dict[str, Any]] = {}
        self._rows: dict[int, TrialRow] = {}
        self._order: list[tuple[tuple, int]] = []
        # Parts of ``STATE`` and ``MODEL`` that a trial may have on the disk.
        self._held: dict[int, set[str]] = {}
        self._unfinished: set[int] = set()
        self._unwritten = 0
        for path in directory.glob("trials/*/trial.json"):
            try:
                record = read_record(path)
            except ValueError:
                continue  # not written by this program; the trial is proposed again, unchanged
            self.by_number[int(record["trial"])] = record
        for number in self.by_number:
            self._update(number)

    def pull(self, number: int) -> None:
        """Downloads a trial's files from the store, without its checkpoints."""
        if self.store is not None:
            self.store.pull(f"trials/{number:04d}", self.path(number), without=("backup",))

    @property
    def rows(self) -> Mapping[int, TrialRow]:
        """Rows of all trials by trial number; one mapping that changes with each save."""
        return self._rows

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the trials that have begun and not ended, in ascending order."""
        return sorted(self._unfinished)

    def ranking(self) -> list[TrialRow]:
        """All trials, best first."""
        return [self._rows[number] for _, number in self._order]

    def _update(self, number: int) -> None:
        """Takes a record's changes into the rows and their order."""
        old, row = self._rows.get(number), trial_row(self.by_number[number])
        if old is not None:
            del self._order[bisect_left(self._order, (rank_key(old, self.mode), number))]
        self._rows[number] = row
        insort(self._order, (rank_key(row, self.mode), number))
        self._held[number] = {*STATE, *MODEL}
        (self._unfinished.add if row.state in UNFINISHED else self._unfinished.discard)(number)

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
            "bounds": proposal.bounds,
            "attempts": [],
        }
        self.save(number)

    def skip(self, number: int) -> None:
        """Records that no trial has this number."""
        empty = {"trial": f"{number:04d}", "state": "SKIPPED", "values": {}, "attempts": []}
        self.by_number[number] = empty
        self.save(number)

    def save(self, number: int) -> None:
        """Writes one record, and then the leaderboard, if that is due."""
        write_json(self.path(number) / "trial.json", self.by_number[number])
        self._update(number)
        self._unwritten += 1
        if self._unwritten * LEADERBOARD_ROWS >= len(self.by_number):
            self.write_leaderboard()

    def write_leaderboard(self) -> None:
        """Writes ``leaderboard.csv``, if a record was saved since."""
        if self._unwritten:
            write_csv(self.ranking(), self.directory / "leaderboard.csv")
            self._unwritten = 0

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
        # What is gone was dominated by what is still there, so the fronts are those of all trials.
        there = ranked((self._rows[number] for number in self._held), self.mode)
        keep = {row.trial for cost in ("latency_ms", "parameters")
                for row in pareto_front(there, cost)}  # fmt: skip
        ranking = self.ranking()
        keep |= {row.trial for row in (best_row(ranking), best_row(ranking, limits)) if row}
        for number in list(self._held):
            row = self._rows[number]
            if row.state in UNFINISHED:
                continue
            gone = {*(() if number in needed else STATE), *(() if row.trial in keep else MODEL)}
            self._remove(number, gone & self._held[number])
            self._held[number] -= gone
            if not self._held[number]:
                del self._held[number]

    def _remove(self, number: int, names: set[str]) -> None:
        for run in self.path(number).glob("run-*") if names else ():
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
