"""A search as it runs: a table that follows it on a terminal and in a notebook, lines elsewhere."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.notebook import LiveOutput, in_notebook
from common.telling import bar_shown, told
from tasks.stages.tables import MIN_CONFIGURATION, configuration
from tuning.leaderboard import Search, TrialRow

if TYPE_CHECKING:
    from tasks.stages.estimating import Estimate, Span
    from tuning.search import SearchProgress

# Rows of the table beside those under way: a terminal is not long.
BEST_SHOWN = 12


class SearchDisplay:
    """Shows what a search does.

    Args:
        directory: of the search.
        trials: how many there will be.
        console: where to; stderr unless told.
    """

    def __init__(self, directory: Path, trials: int, console: Console | None = None) -> None:
        self.directory, self.trials = directory, trials
        self.cell = LiveOutput(1.0) if console is None and in_notebook() else None
        self.console = console or Console(stderr=True)
        self.live: Live | None = None
        self.estimate: Estimate | None = None  # with it, the time that is left is shown
        self._known: tuple[Span, float] | None = None  # what was left, and when
        self.begun: set[str] = set()

    def __enter__(self) -> SearchDisplay:
        self.tell(f"search: {self.directory}")
        if self.cell is None and self.console.is_terminal:
            self.live = Live(console=self.console, refresh_per_second=2, transient=True)
            self.live.start()
            bar_shown(True)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None
            bar_shown(False)

    def tell(self, message: str) -> None:
        """A line above the table."""
        if self.cell is not None:
            print(message)
            return
        self.console.print(message, highlight=False, soft_wrap=True, markup=False)
        told(message.partition(";")[0])

    def show(self, progress: SearchProgress) -> None:
        """What there is now."""
        if progress.message:
            self.tell(progress.message)
        if self.cell is not None:
            self._show_in_cell(progress)
        elif progress.ended is not None:
            self.tell(ended_line(progress.ended, progress.rows, self._left(progress)))
            told("the search goes on")
        if self.live is not None:
            self.live.update(self.table(progress))

    def _show_in_cell(self, progress: SearchProgress) -> None:
        rows, head = self._shown(progress)
        names = list(rows[0]) if rows else []
        lines = [[row[name] for name in names] for row in rows]
        cells = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines
        )
        titles = "".join(f"<th>{escape(name)}</th>" for name in names)
        text = "\n".join([head, *("  ".join(line) for line in lines)])
        html = f"<p>{escape(head)}</p><table><tr>{titles}</tr>{cells}</table>"
        self.cell.show(html, text, progress.ended is not None)

    def table(self, progress: SearchProgress) -> Group:
        """The best trials, and those under way with what they have reached."""
        rows, head = self._shown(progress)
        return Group(_table(rows, self.console.width), Text(head, style="dim"))

    def _shown(self, progress: SearchProgress) -> tuple[list[dict[str, str]], str]:
        """Cells of each row, and the line with how far it is."""
        running = [row for row in progress.rows if row.state == "RUNNING"]
        search = Search(self.directory, {})
        best = [row for row in progress.rows if row.state != "RUNNING"][:BEST_SHOWN]
        ended = sum(row.state in ("COMPLETED", "FAILED", "SKIPPED") for row in progress.rows)
        head = f"{ended} of {self.trials} trials, {_clock(progress.spent)} spent"
        rows = [self._cells(row, search) for row in [*best, *running]]
        return rows, head + self._left(progress)

    def _left(self, progress: SearchProgress) -> str:
        """``, about 4 min (3 to 7 min) left``; "" if that is not known, or nothing is left."""
        if self.estimate is None:
            return ""
        if progress.ended is not None or self._known is None:
            found = self.estimate.left(progress)
            self._known = None if found is None else (found, progress.spent)
        if self._known is None:
            return ""
        # Between two trials nothing new is known, but time passes.
        left = self._known[0].after(progress.spent - self._known[1])
        return f", {left} left" if left.likely >= 1 else ""

    def _cells(self, row: TrialRow, search: Search) -> dict[str, str]:
        score, epochs = row.score, row.epochs
        if row.state == "RUNNING":
            curves = search.curves(row.trial)
            epochs = len(curves[0]) if curves else 0
        return {
            "trial": row.trial,
            "state": row.outcome,
            "score": "" if score is None else f"{score:.4f}",
            "epochs": "" if epochs is None else str(epochs),
            "seconds": "" if row.seconds is None else f"{row.seconds:.0f}",
            "parameters": "" if row.parameters is None else f"{row.parameters:,}",
            "configuration": configuration(row),
        }


def _table(rows: list[dict[str, str]], width: int) -> Table:
    """One line for each row; a narrow terminal leaves columns out, and shortens configurations."""
    names = list(rows[0]) if rows else ["trial", "state", "score", "configuration"]
    sizes = {name: max(len(name), *(len(row[name]) for row in rows), 0) for name in names}
    wanted = min(sizes["configuration"], MIN_CONFIGURATION)

    def rest() -> int:
        """Characters that the lines and the other columns leave for the configuration."""
        return width - 4 - sum(sizes[name] + 3 for name in names if name != "configuration")

    for name in ("seconds", "parameters", "epochs", "state"):
        if rest() < wanted and name in names:
            names.remove(name)
    sizes["configuration"] = max(1, min(sizes["configuration"], rest()))
    table = Table(box=box.HEAVY_HEAD)
    for name in names:
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=sizes[name])
    for row in rows:
        table.add_row(*(Text(row[name]) for name in names))
    return table


def ended_line(row: TrialRow, rows: list[TrialRow], left: str = "") -> str:
    """One line about a trial that has just ended, with how long the rest will take."""
    score = f"{row.score:.4f}" if row.score is not None else f"{row.state} ({row.message})"
    if row.state == "STOPPED":
        score += " (stopped early)"
    if row.pruned:
        score += f" ({row.pruned})"
    seconds = f"{row.seconds:.0f} s" if row.seconds else "-"
    first = rows[0].score
    best = "none so far" if first is None else f"best so far {first:.4f}"
    return f"trial {row.trial}: {score} in {seconds}, {best}{left} | {configuration(row)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
