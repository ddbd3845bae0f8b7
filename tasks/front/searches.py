"""A search as an object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.front.runs import TrainedRun
from tasks.front.showing import Page, frame_html, heading
from tasks.front.training import train
from tasks.stages.directories import SEARCH, required

if TYPE_CHECKING:
    import pandas as pd

    from tuning.leaderboard import Search

# Rows that a notebook shows.
SHOWN = 10


class TuningSearch:
    """A search: its trials, and the best of them as a run.

    Args:
        path: its directory.

    Attributes:
        path: its directory.

    Raises:
        DataError: the directory is no search.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = required(Path(path), SEARCH)

    def _search(self) -> Search:
        from tuning.leaderboard import read_search

        return read_search(self.path)

    def leaderboard(self) -> pd.DataFrame:
        """All trials, the best first, with what each was made of; also while the search runs."""
        import pandas as pd

        from tasks.stages.tables import leaderboard_rows

        return pd.DataFrame(leaderboard_rows(self._search().rows)).set_index("rank")

    @property
    def best(self) -> TrainedRun:
        """The model of the best trial."""
        return TrainedRun(self.path / "best")

    def train(self, out: str | Path | None = None, **settings: Any) -> TrainedRun:
        """Trains the best configuration to its end, and judges it on test beside its baseline.

        Args:
            out: directory of the run; ``runs/TASK-1`` or the next that is free if None.
            **settings: others than the trial had; its epochs are the task's own if none are given.
        """
        best = self.best
        settings = {"epochs": best.task.model.epochs, **settings}
        return train(best.task.name, out=out, like=best.path, **settings)

    def report(self) -> Page:
        """Writes ``report.html`` into the search, and shows it."""
        from tasks.stages.reporting import report

        return Page(report(self.path))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _repr_html_(self) -> str:
        found = self._search()
        ended = [row for row in found.rows if row.state == "COMPLETED"]
        about = f"{found.about['task']}, {len(ended)} of {found.about['trials']} trials"
        shown = self.leaderboard().reset_index().head(SHOWN).dropna(axis=1, how="all")
        more = len(found.rows) - len(shown)
        notes = [f"and {more} more: .leaderboard() has all"] if more > 0 else []
        return heading("Search", self.path, about) + frame_html(shown, notes)
