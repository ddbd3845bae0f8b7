"""The pictures of a search, each with one sentence on what to read off it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.axes import (
    Frame,
    Scale,
    count_scale,
    counted,
    fitted,
    number,
    score_scale,
    score_text,
    tenths,
)
from reports.canvas import Canvas, Style, shortened
from tuning.leaderboard import Search, TrialRow, best_row, pareto_front

WIDTH = 1120
COSTS = {"latency_ms": "latency of one answer, ms", "parameters": "trained parameters"}


@dataclass(frozen=True)
class Chart:
    """A picture.

    Attributes:
        name: of its file.
        title: above it.
        reading: what it says, in a sentence or two.
        canvas: the drawing.
    """

    name: str
    title: str
    reading: str
    canvas: Canvas


def finished(search: Search) -> list[TrialRow]:
    """Trials with a score that counts, best first."""
    return [r for r in search.rows if r.score is not None and r.state in ("COMPLETED", "CUT")]


def score_name(search: Search) -> str:
    """What the score is, in words: "validation accuracy"."""
    name = str(search.about.get("metric") or "score")
    words = f"validation {name[4:]}" if name.startswith("val_") else name
    return shortened(words.replace("_", " "), 40)


def told(row: TrialRow) -> str:
    """A trial in a line, for whoever points at it."""
    values = ", ".join(f"{name} {number(row.values[name])}" for name in row.values)
    return f"trial {row.trial}: {score_text(row.score) or row.state.lower()}\n{values}"


def percent(share: float) -> str:
    """A share, never as nothing where there is something."""
    return "<1%" if 0 < share < 0.01 else f"{share:.0%}"


def progress(search: Search) -> Chart | None:
    """The best score so far, over the trials and over the search's time."""
    done = finished(search)
    if not done:
        return None
    timed = all(row.ended_at is not None for row in done)
    others = [
        r for r in search.rows if r.state == "FAILED" and (r.ended_at is not None or not timed)
    ]
    ended = sorted([*done, *others], key=lambda r: (r.ended_at if timed else 0, r.trial))
    canvas = Canvas(WIDTH, 340, "best score so far")
    scale, name = score_scale([row.score for row in done], search.mode), score_name(search)
    counts = [float(i) for i in range(1, len(ended) + 1)]
    panels = [(counts, count_scale(len(ended)), "trials ended")]
    if timed:
        unit, seconds = _unit(max(row.ended_at for row in ended))
        times = [row.ended_at / seconds for row in ended]
        panels.append((times, Scale(0, max(times) * 1.03 or 1.0), f"{unit} of search"))
    width = (WIDTH - 70 * len(panels)) / len(panels)
    for i, (places, across, title) in enumerate(panels):
        frame = Frame(58 + i * (width + 70), 46, width - 10, 236, across, scale)
        frame.draw(canvas, name if i == 0 else "", title)
        _best_so_far(canvas, frame, places, ended, search)
    return Chart("progress", "Progress", _progress_reading(search, ended, timed), canvas)


def _best_so_far(
    canvas: Canvas, frame: Frame, places: Sequence[float], ended: list[TrialRow], search: Search
) -> None:
    best, steps, winner = None, [], best_row(search.rows)
    for x, row in zip(places, ended, strict=True):
        if row.score is None or row.state == "FAILED":
            at = (frame.across(frame.x.place(x)), frame.down(0))
            canvas.cross(at, 3.5, Style("bad", width=1.6), tip=told(row), trial=row.trial)
            continue
        look = Style("faint", "paper", 1.5) if row.state == "CUT" else Style("", "faint")
        canvas.circle(frame.at(x, row.score), 3.5, look, tip=told(row), trial=row.trial)
        if best is None or (row.score > best if search.mode == "max" else row.score < best):
            if best is not None:
                steps.append(frame.at(x, best))
            best = row.score
            steps.append(frame.at(x, best))
    steps.append((frame.left + frame.width, steps[-1][1]))
    canvas.line(steps, Style("best", width=2))
    # Of equal scores the earlier number is the best, whichever ended first.
    at = frame.at(places[ended.index(winner)], winner.score)
    canvas.circle(at, 5, Style("paper", "best", 1.5), tip=told(winner), trial=winner.trial)
    late = at[0] > frame.left + 0.7 * frame.width
    canvas.text(
        (at[0] + (-9 if late else 0), at[1] + (20 if search.mode == "min" else -10)),
        f"{score_text(winner.score)}, trial {shortened(winner.trial)}", "best",
        size=12, bold=True, halo=True, anchor="end" if late else "start",
    )  # fmt: skip


def _unit(seconds: float) -> tuple[str, int]:
    """In what to count a time, and how many seconds one is."""
    units = (("days", 86400), ("hours", 3600), ("minutes", 60))
    return next((unit for unit in units if seconds >= 2 * unit[1]), ("seconds", 1))


def _progress_reading(search: Search, ended: list[TrialRow], timed: bool) -> str:
    best, states = best_row(search.rows), {row.state for row in ended}
    text = "Each dot is a trial, the line the best so far"
    signs = [("FAILED", "crosses failed"), ("CUT", "rings were cut short by the clock")]
    text += "; " * bool(states & {"FAILED", "CUT"})
    text += ", ".join(words for state, words in signs if state in states) + ". "
    scale = score_scale([row.score for row in finished(search)], search.mode)
    beyond = sum(row.score is not None and scale.outside(row.score) for row in ended)
    text += f"Beyond the axis, at its edge: {counted(beyond)}. " if beyond else ""
    since = len(ended) - 1 - ended.index(best)
    spent = max(row.ended_at or 0 for row in ended) if timed and since else 0
    when = f", found after {best.ended_at / spent:.0%} of the time" if spent else ""
    text += f"Trial {best.trial} is the best{when}"
    if len(ended) == 1:
        return f"{text}."
    if since == 0:
        return f"{text}, and the last to end: more trials may well find better."
    if since < 0.25 * len(ended):
        return f"{text}; only {counted(since)} came after it: more may find better."
    return f"{text}; what came after it, {counted(since)}, brought nothing better."


def pareto(search: Search) -> Chart | None:
    """The score against what it costs."""
    done = finished(search)
    costs = [c for c in COSTS if any(getattr(row, c) is not None for row in done)]
    if not costs:
        return None
    canvas = Canvas(WIDTH, 360, "score against cost")
    scale = score_scale([row.score for row in done], search.mode)
    width = (WIDTH - 70 * len(costs)) / len(costs)
    for i, cost in enumerate(costs):
        rows = [row for row in done if getattr(row, cost) is not None]
        prices = [getattr(row, cost) for row in rows]
        across = fitted(prices, log=min(prices) > 0 and max(prices) > 8 * min(prices))
        frame = Frame(58 + i * (width + 70), 46, width - 10, 250, across, scale)
        frame.draw(canvas, score_name(search) if i == 0 else "", COSTS[cost])
        front = pareto_front(search.rows, cost)
        for row in reversed(rows):
            if row not in front:
                at = frame.at(getattr(row, cost), row.score)
                canvas.circle(at, 3.5, Style("", "faint"), tip=told(row), trial=row.trial)
        _front(canvas, frame, front, cost)
    return Chart("pareto", "Score and cost", _pareto_reading(search, costs), canvas)


def _front(canvas: Canvas, frame: Frame, front: list[TrialRow], cost: str) -> None:
    points = [frame.at(getattr(row, cost), row.score) for row in front]  # from the dearest down
    steps = [(frame.left + frame.width, points[0][1])]
    for (x, y), (_, after) in zip(points, [*points[1:], points[-1]], strict=True):
        steps += [(x, y), (x, after)]
    canvas.line(steps, Style("accent", width=1.5))
    taken: list[tuple[float, float]] = []
    for i, ((x, y), row) in enumerate(zip(points, front, strict=True)):
        look = Style("paper", "accent" if i else "best", 1.5)
        canvas.circle((x, y), 5, look, tip=told(row), trial=row.trial)
        if all(abs(x - u) > 34 or abs(y - v) > 14 for u, v in taken):
            edge = x < frame.left + 34
            canvas.text((x + (8 if edge else -8), y - 8), shortened(row.trial, 8),
                        "accent" if i else "best", size=11, bold=True, halo=True,
                        anchor="start" if edge else "end")  # fmt: skip
            taken.append((x, y))


def _pareto_reading(search: Search, costs: Sequence[str]) -> str:
    text = "A trial on the line is beaten by none that costs as little. "
    cost = costs[0]
    front = pareto_front(search.rows, cost)
    best = front[0]
    # What is lost is measured by how far the scores are spread.
    spread = abs(front[0].score - finished(search)[-1].score)
    near = [r for r in front[1:] if abs(r.score - best.score) <= 0.05 * spread]
    if not near:
        return text + f"The best, trial {best.trial}, has no cheaper one close behind it."
    cheap = near[-1]
    ratio = getattr(cheap, cost) / (getattr(best, cost) or 1)
    what = "latency" if cost == "latency_ms" else "parameters"
    text += (
        f"Trial {cheap.trial} has {percent(ratio)} of the {what} of the best, trial {best.trial}"
    )
    if score_text(cheap.score) == score_text(best.score):
        return f"{text}, and the same score."
    return f"{text}, and a score of {score_text(cheap.score)}, not {score_text(best.score)}."


def learning_curves(search: Search) -> Chart | None:
    """The metric after each epoch, of the first execution of every trial."""
    metric, best = str(search.about.get("metric") or ""), best_row(search.rows)
    rows = [row for row in search.rows if row.state != "SKIPPED"]
    alone = {row.trial: points for row in rows if (points := _curve(search, row.trial, metric))}
    rows = [row for row in rows if row.trial in alone]
    if not rows:
        return None
    curves = {}
    for row in rows:
        before = _before(row, rows, alone)
        is_best = best is not None and row.trial == best.trial
        curves[row.trial] = (before if is_best else before[-1:]) + alone[row.trial]
    most = max(points[-1][0] for points in curves.values())
    last = [points[-1][1] for points in curves.values()]
    seen = [value for points in curves.values() for _, value in points[len(points) // 4 :]]
    canvas = Canvas(WIDTH, 390, "learning curves")
    scale = score_scale([*seen, *last], search.mode)
    frame = Frame(58, 46, WIDTH - 68, 280, count_scale(int(most)), scale)
    frame.draw(canvas, score_name(search), "epoch")
    colors = tenths([-i for i in range(len(rows))], "max")  # rows are ranked already
    for row, tenth in reversed(list(zip(rows, colors, strict=True))):
        points = [frame.at(*point) for point in curves[row.trial]]
        is_best = best is not None and row.trial == best.trial
        look = Style("best", width=2.5) if is_best else Style(f"q{tenth}", width=1.4, opacity=0.8)
        if row.score is None:
            look = Style("bad" if row.state == "FAILED" else "muted", dash=(3, 3))
        if len(points) == 1:
            look = Style("", look.stroke, opacity=look.opacity)
            canvas.circle(points[0], 3, look, tip=told(row), trial=row.trial)
        else:
            canvas.line(points, look, tip=told(row), trial=row.trial)
    if best is not None and best.trial in curves:
        _kept_epoch(canvas, frame, curves[best.trial], best, search.mode)
    return Chart("curves", "Learning curves", _curves_reading(search, curves, int(most)), canvas)


def _curve(search: Search, trial: str, metric: str) -> list[tuple[float, float]]:
    """Epoch, from 1, and metric; what is no number is left out."""
    try:
        runs = search.curves(trial)
    except (OSError, ValueError, TypeError):  # of a trial under way, half a row
        return []
    points = [
        (row["epoch"] + 1, row[metric]) for row in (runs[0] if runs else ())
        if "epoch" in row and metric in row
    ]  # fmt: skip
    return [point for point in points if all(map(math.isfinite, point))]


def _before(
    row: TrialRow, rows: Sequence[TrialRow], alone: dict[str, list[tuple[float, float]]]
) -> list[tuple[float, float]]:
    """In Hyperband, the epochs of the trials that one goes on from."""
    parent = next((other for other in rows if other.trial == row.parent), None)
    if parent is None or parent.trial >= row.trial:
        return []
    points = _before(parent, rows, alone) + alone[parent.trial]
    return [point for point in points if point[0] < alone[row.trial][0][0]]


def _kept_epoch(
    canvas: Canvas, frame: Frame, points: list[tuple[float, float]], best: TrialRow, mode: str
) -> None:
    pick = max if mode == "max" else min
    epoch, value = pick(
        points, key=lambda point: (point[1], -point[0] if mode == "max" else point[0])
    )
    at = frame.at(epoch, value)
    canvas.circle(at, 5, Style("paper", "best", 1.5), tip=told(best), trial=best.trial)
    late = at[0] > frame.left + 0.85 * frame.width
    canvas.text(
        (at[0] + (8 if late else 0), at[1] + (-11 if mode == "max" else 21)),
        f"trial {shortened(best.trial, 8)}, epoch {epoch:g}", "best",
        size=12, bold=True, halo=True, anchor="end" if late else "middle",
    )  # fmt: skip


def _curves_reading(search: Search, curves: dict, most: int) -> str:
    # Hyperband ends most trials early, and would not gain by ending them later.
    done = [r for r in finished(search) if r.trial in curves and (r.bracket or 0) == (r.round or 0)]
    text = "Each line is a trial, stronger where it ranks higher, the best in orange. "
    if not done or most < 2:
        return text
    pick = max if search.mode == "max" else min
    late = sum(
        curves[row.trial][-1][1] == pick(value for _, value in curves[row.trial]) for row in done
    )
    if late > len(done) / 2:
        return text + (
            f"{late} of {len(done)} were at their best in their last epoch: "
            "longer training may help."
        )
    return text + (
        f"{len(done) - late} of {len(done)} were past their best in their last epoch: "
        "longer training is unlikely to help."
    )
