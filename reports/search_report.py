"""The page of a search: what was tried, what came of it, and why."""

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
    Figure,
    commands,
    drawing,
    facts,
    folded,
    page,
    paragraph,
    settings,
    table,
)
from tuning.leaderboard import Search, TrialRow, best_row, pareto_front
from tuning.lease import read_owner


def search_page(search: Search, lines: Sequence[tuple[str, str]] = ()) -> str:
    """HTML of a search's report.

    Args:
        search: as ``read_search`` gives it; finished or under way.
        lines: what each command does, and the command, to go on from here.
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
    """Writes each picture of the report as a PNG; the paths.

    Args:
        search: as ``read_search`` gives it; pictures that it has nothing for are left out.
        directory: is made where it is not there.
    """
    paths = []
    for chart in _charts(search, importance(search)):
        paths.append(directory / f"{chart.name}.png")
        chart.canvas.save_png(paths[-1])
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
    return [] if chart is None else [paragraph(chart.reading), drawing(chart.canvas)]


def _about(search: Search) -> str:
    about = search.about
    data = about.get("data")
    source = data.get("source") if isinstance(data, dict) else data
    parts = [
        f"data {source}" if source else "",
        f"{about['strategy']} search" if about.get("strategy") else "",
        f"by {score_name(search)}, {'less' if search.mode == 'min' else 'more'} is better",
        f"up to {about['epochs']} epochs a trial" if about.get("epochs") else "",
        f"{about['executions']} executions a trial" if (about.get("executions") or 1) != 1 else "",
        f"seed {about['seed']}" if about.get("seed") is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def _facts(search: Search, best: TrialRow | None) -> list[tuple[str, Any, Any]]:
    states = Counter(row.state for row in search.rows)
    words = [
        f"{states[s]} {s.lower()}" for s in ("FAILED", "CUT", "RUNNING", "SKIPPED") if states[s]
    ]
    asked = search.about.get("trials")
    asked = f"of {asked} asked for" if asked and asked != states["COMPLETED"] else ""
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
        cost = f"{best.latency_ms:.3g} ms an answer" if best.latency_ms else ""
        boxes.append(("Parameters of the best", best.parameters, cost))
    return boxes


def _spent(search: Search) -> float | None:
    """Seconds of the search, all starts together."""
    ends = [row.ended_at for row in search.rows if row.ended_at is not None]
    told = (search.about, read_owner(search.directory / "owner.json"))
    known = [about.get("spent_seconds") for about in told]
    return max([*ends, *(s for s in known if isinstance(s, int | float))], default=None)


def _after(row: TrialRow) -> str:
    return f", epoch {row.best_epoch} of {row.epochs}" if row.best_epoch and row.epochs else ""


def _notes(search: Search, best: TrialRow | None) -> list[str]:
    rows, notes = search.rows, []
    running = sum(row.state == "RUNNING" for row in rows)
    cut = sum(row.state == "CUT" for row in rows)
    if best is None:
        last = next((row.message for row in rows if row.message), None)
        why = (
            f" The first message: {last.strip().splitlines()[-1]}" if last and last.strip() else ""
        )
        notes.append(f"No trial has finished yet, so there is nothing to rank.{why}")
    if running:
        notes.append(
            f"Under way, or so when the search was stopped: {counted(running)}; "
            "write this report again later."
        )
    if cut:
        notes.append(
            f"Ended by the clock: {counted(cut)}, which might still have improved; "
            "the same command with more time goes on there."
        )
    return notes


def _note(text: str) -> str:
    return paragraph(text, "note")


def _front_table(search: Search) -> str:
    """Every trial that no other beats at its cost."""
    fronts = {cost: {row.trial for row in pareto_front(search.rows, cost)} for cost in COSTS}
    rows = [row for row in finished(search) if any(row.trial in front for front in fronts.values())]
    if not rows:
        return ""
    best = rows[0].score
    short = [abs(row.score - best) for row in rows]
    told = [
        {
            "trial": row.trial,
            "score": Figure(score_text(row.score)),
            "short of the best": Figure(score_text(less) if less else "–"),
            "latency, ms": row.latency_ms,
            "parameters": row.parameters,
            "beaten by none in": " and ".join(
                name for cost, name in (("latency_ms", "latency"), ("parameters", "parameters"))
                if row.trial in fronts[cost]
            ),
            **row.values,
        }
        for row, less in zip(rows, short, strict=True)
    ]  # fmt: skip
    exact = _exact(rows)
    return table(told, sort_by=exact, trials=[r.trial for r in rows], top=0, sortable=True)


def _leaderboard(search: Search, best: TrialRow | None) -> list[str]:
    rows = search.rows
    if not rows:
        return [paragraph("No trial has begun.")]
    told = [
        {
            "rank": rank,
            "trial": row.trial,
            "state": row.state.lower(),
            "score": Figure(score_text(row.score)),
            "± spread": None if row.spread is None else Figure(f"{row.spread:.2g}"),
            "epochs": row.epochs,
            "best epoch": row.best_epoch,
            "time": Figure(clock(row.seconds)),
            "parameters": row.parameters,
            "latency, ms": row.latency_ms,
            "bracket": row.bracket,
            "round": row.round,
            **{name: value for name, value in row.values.items() if "/" not in name},
        }
        for rank, row in enumerate(rows, 1)
    ]
    # A column of nothing is none.
    filled = {name for row in told for name, value in row.items() if value not in (None, "")}
    told = [{name: value for name, value in row.items() if name in filled} for row in told]
    top = rows.index(best) if best is not None else None
    return [
        paragraph(
            f"{counted(len(rows)).capitalize()}, best first. A click on a column's name sorts by "
            "it, a second click the other way round; pointing at a trial shows it in the pictures."
        ),
        table(told, sort_by=_exact(rows), trials=[row.trial for row in rows], top=top,
              sortable=True, tall=len(rows) > 15),
    ]  # fmt: skip


def _exact(rows: Sequence[TrialRow]) -> dict[int, dict[str, Any]]:
    """What stands behind the rounded figures."""
    return {
        i: {"score": row.score, "time": row.seconds, "± spread": row.spread}
        for i, row in enumerate(rows)
    }


def _failed(rows: Sequence[TrialRow]) -> list[str]:
    failed = [row for row in rows if row.state == "FAILED"]
    if not failed:
        return []
    told = [
        {
            "trial": row.trial,
            "attempts": row.attempts,
            "message": folded(row.message) if row.message else "none was left",
            **row.values,
        }
        for row in failed
    ]
    return [table(told, trials=[row.trial for row in failed], long="message", sortable=True)]
