"""The page of a search: which trials there were, how good they are, and what mattered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.axes import clock, counted, duration, score_text
from reports.charts import COSTS, Chart, finished, learning_curves, pareto, progress, score_name
from reports.hyperparameter_charts import importance_bars, parallel, slices
from reports.importance import Importance, importance
from reports.page import (
    NumberText,
    collapsible,
    commands,
    facts,
    page,
    paragraph,
    settings,
    svg_figure,
    table,
)
from tuning.leaderboard import Search, TrialRow, best_row, pareto_front
from tuning.noise import compare
from tuning.search_lock import read_owner


def search_page(search: Search, lines: Sequence[tuple[str, str]] = ()) -> str:
    """HTML of a search's report.

    Args:
        search: a search from ``read_search``, finished or running.
        lines: for each next step, a description and the command.
    """
    about, best = search.about, best_row(search.rows)
    found = importance(search)
    charts = {chart.name: chart for chart in _charts(search, found)}
    head = [facts(_facts(search, best)), *map(_note, _notes(search, best))]
    if best is not None:
        head += ["<h3>Best configuration</h3>", settings(best.values)]
    head.append(commands(lines))
    mattered = _figure(charts.get("importance"))
    if found.missing and finished(search):
        mattered.append(paragraph(found.missing))
    mattered += [paragraph(" ".join(found.notes)) if mattered else ""]
    sections = [
        (_title(charts, "progress"), _figure(charts.get("progress"))),
        (_title(charts, "parallel"), _figure(charts.get("parallel"))),
        ("What mattered", mattered),
        (_title(charts, "slices"), _figure(charts.get("slices"))),
        (_title(charts, "curves"), _figure(charts.get("curves"))),
        (_title(charts, "pareto"), [*_figure(charts.get("pareto")), _front_table(search)]),
        ("Leaderboard", _leaderboard(search, best)),
        ("Failed trials", _failed(search.rows)),
    ]
    return page(
        "Seqloom search", str(about.get("task") or search.directory.resolve().name),
        _about(search), head, sections,
    )  # fmt: skip


def save_pictures(search: Search, directory: Path) -> list[Path]:
    """Writes each chart of the report as a PNG, and returns the paths.

    Args:
        search: a search from ``read_search``; charts without data are left out.
        directory: directory for the files; created if it does not exist.
    """
    paths = []
    for chart in _charts(search, importance(search)):
        paths.append(directory / f"{chart.name}.png")
        chart.drawing.save_png(paths[-1])
    return paths


def _charts(search: Search, found: Importance) -> list[Chart]:
    drawn = (
        progress(search), parallel(search, found), importance_bars(found), slices(search, found),
        learning_curves(search), pareto(search),
    )  # fmt: skip
    return [chart for chart in drawn if chart is not None]


def _title(charts: dict[str, Chart], name: str) -> str:
    return charts[name].title if name in charts else ""


def _figure(chart: Chart | None) -> list[str]:
    return [] if chart is None else [paragraph(chart.caption), svg_figure(chart.drawing)]


def _about(search: Search) -> str:
    about = search.about
    data = about.get("data")
    source = data.get("source") if isinstance(data, dict) else data
    parts = [
        f"data {source}" if source else "",
        f"{about['strategy']} search" if about.get("strategy") else "",
        f"by {score_name(search)}, {'lower' if search.mode == 'min' else 'higher'} is better",
        f"up to {about['epochs']} epochs per trial" if about.get("epochs") else "",
        f"{about['executions']} executions per trial"
        if (about.get("executions") or 1) != 1
        else "",
        f"seed {about['seed']}" if about.get("seed") is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def _facts(search: Search, best: TrialRow | None) -> list[tuple[str, Any, Any]]:
    states = Counter(row.state for row in search.rows)
    others = ("FAILED", "STOPPED", "RUNNING", "INTERRUPTED", "SKIPPED")
    words = [f"{states[s]} {s.lower()}" for s in others if states[s]]
    asked = search.about.get("trials")
    asked = f"of {asked} planned" if asked and asked != states["COMPLETED"] else ""
    boxes: list[tuple[str, Any, Any]] = []
    if best is not None:
        spread = f" ± {best.spread:.2g}" if best.spread is not None else ""
        boxes.append((f"Best {score_name(search)}", score_text(best.score) + spread,
                      f"trial {best.trial}" + _after(best)))  # fmt: skip
    boxes.append(
        ("Trials completed", states["COMPLETED"], ", ".join([*filter(None, [asked]), *words]))
    )
    spent = _spent(search)
    work = sum(row.seconds or 0 for row in search.rows)
    if spent or work:
        apart = spent and abs(work - spent) > 0.05 * spent
        more = f"{duration(work)} in all trials together" if apart and work else ""
        boxes.append(("Time spent", duration(spent or work), more))
    if best is not None and (best.parameters or best.latency_ms):
        cost = f"{best.latency_ms:.3g} ms per prediction" if best.latency_ms else ""
        boxes.append(("Parameters of the best", best.parameters, cost))
    return boxes


def _spent(search: Search) -> float | None:
    """Seconds that all starts of the search have taken together."""
    ends = [row.ended_at for row in search.rows if row.ended_at is not None]
    sources = (search.about, read_owner(search.directory / "owner.json"))
    known = [source.get("spent_seconds") for source in sources]
    return max([*ends, *(s for s in known if isinstance(s, int | float))], default=None)


def _after(row: TrialRow) -> str:
    return f", epoch {row.best_epoch} of {row.epochs}" if row.best_epoch and row.epochs else ""


def _notes(search: Search, best: TrialRow | None) -> list[str]:
    rows, notes = search.rows, []
    running = sum(row.state == "RUNNING" for row in rows)
    stopped = sum(row.state == "STOPPED" for row in rows)
    if best is None:
        last = next((row.message for row in rows if row.message), None)
        why = (
            f" The first message: {last.strip().splitlines()[-1]}" if last and last.strip() else ""
        )
        notes.append(f"No trial has finished yet, so there is nothing to rank.{why}")
    if running:
        notes.append(f"Running now: {counted(running)}; write this report again later.")
    if interrupted := sum(row.state == "INTERRUPTED" for row in rows):
        notes.append(
            f"Running when the search was interrupted: {counted(interrupted)}; the same command "
            "goes on with them."
        )
    if pruned := sum(bool(row.pruned) for row in rows):
        notes.append(
            f"Pruned: {counted(pruned)}, which by what the finished ones say would not have become "
            "the best; their scores are those of the epochs that they had."
        )
    if stopped:
        notes.append(
            f"Stopped by the budget: {counted(stopped)}, which might still have improved; "
            "the same command with a larger budget continues there."
        )
    return [*notes, *_chance(search)]


def _chance(search: Search) -> list[str]:
    """What is known about how much of the differences between scores is chance."""
    found = compare(search)
    if found is not None:
        return [found.sentence] if found.sentence else []
    if len(finished(search)) < 2:
        return []
    return [
        "How much of the differences between trials is chance is not known: each configuration was "
        "trained once. A search with --executions 3 trains each from three seeds and says so."
    ]


def _note(text: str) -> str:
    return paragraph(text, "note")


def _front_table(search: Search) -> str:
    """Table of the trials on the fronts of score against cost."""
    fronts = {cost: {row.trial for row in pareto_front(search.rows, cost)} for cost in COSTS}
    rows = [row for row in finished(search) if any(row.trial in front for front in fronts.values())]
    if not rows:
        return ""
    best = rows[0].score
    losses = [abs(row.score - best) for row in rows]
    shown = [
        {
            "trial": row.trial,
            "score": NumberText(score_text(row.score)),
            "difference to the best": NumberText(score_text(loss) if loss else "–"),
            "latency, ms": row.latency_ms,
            "parameters": row.parameters,
            "on the front of": " and ".join(
                name for cost, name in (("latency_ms", "latency"), ("parameters", "parameters"))
                if row.trial in fronts[cost]
            ),
            **row.values,
        }
        for row, loss in zip(rows, losses, strict=True)
    ]  # fmt: skip
    exact = _exact(rows)
    return table(shown, sort_by=exact, trials=[r.trial for r in rows], top=0, sortable=True)


def _leaderboard(search: Search, best: TrialRow | None) -> list[str]:
    rows = search.rows
    if not rows:
        return [paragraph("No trial has started.")]
    shown = [
        {
            "rank": rank,
            "trial": row.trial,
            "state": row.outcome.lower(),
            "score": NumberText(score_text(row.score)),
            "± spread": None if row.spread is None else NumberText(f"{row.spread:.2g}"),
            "epochs": row.epochs,
            "best epoch": row.best_epoch,
            "time": NumberText(clock(row.seconds)),
            "parameters": row.parameters,
            "latency, ms": row.latency_ms,
            "bracket": row.bracket,
            "round": row.round,
            **{name: value for name, value in row.values.items() if "/" not in name},
        }
        for rank, row in enumerate(rows, 1)
    ]
    # Empty columns are left out.
    filled = {name for row in shown for name, value in row.items() if value not in (None, "")}
    shown = [{name: value for name, value in row.items() if name in filled} for row in shown]
    top = rows.index(best) if best is not None else None
    return [
        paragraph(
            f"{counted(len(rows)).capitalize()}, best first. A click on a column's name sorts by "
            "it, a second one reverses the order; pointing at a trial highlights it in the charts."
        ),
        table(shown, sort_by=_exact(rows), trials=[row.trial for row in rows], top=top,
              sortable=True, tall=len(rows) > 15),
    ]  # fmt: skip


def _exact(rows: Sequence[TrialRow]) -> dict[int, dict[str, Any]]:
    """The exact values of rounded figures, to sort by: by row and column."""
    return {
        i: {"score": row.score, "time": row.seconds, "± spread": row.spread}
        for i, row in enumerate(rows)
    }


def _failed(rows: Sequence[TrialRow]) -> list[str]:
    failed = [row for row in rows if row.state == "FAILED"]
    if not failed:
        return []
    shown = [
        {
            "trial": row.trial,
            "attempts": row.attempts,
            "message": collapsible(row.message) if row.message else "no message",
            **row.values,
        }
        for row in failed
    ]
    return [table(shown, trials=[row.trial for row in failed], long="message", sortable=True)]
