"""The charts of a search, each with a caption that says what it shows."""

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
from reports.drawing import Drawing, Style, shortened
from tuning.leaderboard import ENDED_WITH_MODEL, Search, TrialRow, best_row, pareto_front
from tuning.noise import compare

WIDTH = 1120
COSTS = {"latency_ms": "latency of one answer, ms", "parameters": "trained parameters"}
# Outcomes of trials that have a score and could have trained longer.
RINGS = {"STOPPED": "stopped by the budget", "PRUNED": "pruned"}


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        name: name of its file.
        title: title above it.
        caption: its message, in a sentence or two.
        drawing: the drawing.
    """

    name: str
    title: str
    caption: str
    drawing: Drawing


def finished(search: Search) -> list[TrialRow]:
    """Trials that completed or were stopped, and have a score; best first."""
    return [r for r in search.rows if r.score is not None and r.state in ENDED_WITH_MODEL]


def score_name(search: Search) -> str:
    """The name of the score, such as "validation accuracy"."""
    name = str(search.about.get("metric") or "score")
    words = f"validation {name[4:]}" if name.startswith("val_") else name
    return shortened(words.replace("_", " "), 40)


def tooltip(row: TrialRow) -> str:
    """Tooltip of a trial: its score and its hyperparameters."""
    values = ", ".join(f"{name} {number(row.values[name])}" for name in row.values)
    why = f"\n{row.pruned}" if row.pruned else ""
    return f"trial {row.trial}: {score_text(row.score) or row.state.lower()}\n{values}{why}"


def percent(share: float) -> str:
    """A share in percent; a small share is "<1%", not "0%"."""
    return "<1%" if 0 < share < 0.01 else f"{share:.0%}"


def progress(search: Search) -> Chart | None:
    """The best score so far, by number of trials and by time."""
    done = finished(search)
    if not done:
        return None
    timed = all(row.ended_at is not None for row in done)
    others = [
        r for r in search.rows if r.state == "FAILED" and (r.ended_at is not None or not timed)
    ]
    ended = sorted([*done, *others], key=lambda r: (r.ended_at if timed else 0, r.trial))
    drawing = Drawing(WIDTH, 340, "best score so far")
    scale, name = score_scale([row.score for row in done], search.mode), score_name(search)
    counts = [float(i) for i in range(1, len(ended) + 1)]
    panels = [(counts, count_scale(len(ended)), "trials ended")]
    if timed:
        unit, seconds = _unit(max(row.ended_at for row in ended))
        times = [row.ended_at / seconds for row in ended]
        panels.append((times, Scale(0, max(times) * 1.03 or 1.0), f"{unit} of search"))
    width = (WIDTH - 70 * len(panels)) / len(panels)
    for i, (positions, across, title) in enumerate(panels):
        frame = Frame(58 + i * (width + 70), 46, width - 10, 236, across, scale)
        frame.draw(drawing, name if i == 0 else "", title)
        _best_so_far(drawing, frame, positions, ended, search)
    return Chart("progress", "Progress", _progress_caption(search, ended, timed), drawing)


def _best_so_far(
    drawing: Drawing,
    frame: Frame,
    positions: Sequence[float],
    ended: list[TrialRow],
    search: Search,
) -> None:
    best, steps, winner = None, [], best_row(search.rows)
    for x, row in zip(positions, ended, strict=True):
        if row.score is None or row.state == "FAILED":
            at = (frame.across(frame.x.position(x)), frame.down(0))
            drawing.cross(at, 3.5, Style("bad", width=1.6), tip=tooltip(row), trial=row.trial)
            continue
        hollow = row.outcome in RINGS
        look = Style("secondary", "background", 1.5) if hollow else Style("", "secondary")
        drawing.circle(frame.at(x, row.score), 3.5, look, tip=tooltip(row), trial=row.trial)
        if best is None or (row.score > best if search.mode == "max" else row.score < best):
            if best is not None:
                steps.append(frame.at(x, best))
            best = row.score
            steps.append(frame.at(x, best))
    steps.append((frame.left + frame.width, steps[-1][1]))
    drawing.line(steps, Style("best", width=2))
    # Of equal scores, the trial with fewer parameters is the best, whichever ended first.
    at = frame.at(positions[ended.index(winner)], winner.score)
    drawing.circle(at, 5, Style("background", "best", 1.5), tip=tooltip(winner), trial=winner.trial)
    late = at[0] > frame.left + 0.7 * frame.width
    drawing.text(
        (at[0] + (-9 if late else 0), at[1] + (20 if search.mode == "min" else -10)),
        f"{score_text(winner.score)}, trial {shortened(winner.trial)}", "best",
        size=12, bold=True, halo=True, anchor="end" if late else "start",
    )  # fmt: skip


def _unit(seconds: float) -> tuple[str, int]:
    """The unit to show a time in, and its length in seconds."""
    units = (("days", 86400), ("hours", 3600), ("minutes", 60))
    return next((unit for unit in units if seconds >= 2 * unit[1]), ("seconds", 1))


def _progress_caption(search: Search, ended: list[TrialRow], timed: bool) -> str:
    best, states = best_row(search.rows), {row.outcome for row in ended}
    text = "Each dot is a trial, the line the best so far"
    signs = ["crosses failed"] if "FAILED" in states else []
    if rings := [words for outcome, words in RINGS.items() if outcome in states]:
        signs.append("rings were " + " or ".join(rings))
    text += "; " * bool(signs) + ", ".join(signs) + ". "
    scale = score_scale([row.score for row in finished(search)], search.mode)
    beyond = sum(row.score is not None and scale.outside(row.score) for row in ended)
    text += f"Outside the axis, drawn at its edge: {counted(beyond)}. " if beyond else ""
    # The first trial with that score counts; a later one may be the best for its size alone.
    reached = next(i for i, row in enumerate(ended) if row.score == best.score)
    since = len(ended) - 1 - reached
    spent = max(row.ended_at or 0 for row in ended) if timed and since else 0
    share = f"{ended[reached].ended_at / spent:.0%} of the time" if spent else ""
    equals = sum(row.score == best.score for row in ended) - 1
    if equals:
        text += (
            f"Trial {best.trial} is the best by its size: {counted(equals, 'other trials')} "
            f"reached the same score"
        ) + (f", the first of them after {share}" if share else "")
    else:
        text += f"Trial {best.trial} is the best" + (f", found after {share}" if share else "")
    if len(ended) == 1:
        return f"{text}."
    if since == 0:
        return f"{text}, and the last to end: more trials are likely to find a better one."
    if since < 0.25 * len(ended):
        return f"{text}; only {counted(since)} came after it: more trials may find a better one."
    return f"{text}; {counted(since)} after it found nothing better."


def pareto(search: Search) -> Chart | None:
    """The score against latency and number of parameters."""
    done = finished(search)
    costs = [c for c in COSTS if any(getattr(row, c) is not None for row in done)]
    if not costs:
        return None
    drawing = Drawing(WIDTH, 360, "score against cost")
    scale = score_scale([row.score for row in done], search.mode)
    width = (WIDTH - 70 * len(costs)) / len(costs)
    for i, cost in enumerate(costs):
        rows = [row for row in done if getattr(row, cost) is not None]
        prices = [getattr(row, cost) for row in rows]
        across = fitted(prices, log=min(prices) > 0 and max(prices) > 8 * min(prices))
        frame = Frame(58 + i * (width + 70), 46, width - 10, 250, across, scale)
        frame.draw(drawing, score_name(search) if i == 0 else "", COSTS[cost])
        front = pareto_front(search.rows, cost)
        for row in reversed(rows):
            if row not in front:
                at = frame.at(getattr(row, cost), row.score)
                drawing.circle(at, 3.5, Style("", "secondary"), tip=tooltip(row), trial=row.trial)
        _front(drawing, frame, front, cost)
    return Chart("pareto", "Score and cost", _pareto_caption(search, costs), drawing)


def _front(drawing: Drawing, frame: Frame, front: list[TrialRow], cost: str) -> None:
    # From the most to the least expensive.
    points = [frame.at(getattr(row, cost), row.score) for row in front]
    steps = [(frame.left + frame.width, points[0][1])]
    for (x, y), (_, after) in zip(points, [*points[1:], points[-1]], strict=True):
        steps += [(x, y), (x, after)]
    drawing.line(steps, Style("accent", width=1.5))
    taken: list[tuple[float, float]] = []
    for i, ((x, y), row) in enumerate(zip(points, front, strict=True)):
        look = Style("background", "accent" if i else "best", 1.5)
        drawing.circle((x, y), 5, look, tip=tooltip(row), trial=row.trial)
        if all(abs(x - u) > 34 or abs(y - v) > 14 for u, v in taken):
            edge = x < frame.left + 34
            drawing.text((x + (8 if edge else -8), y - 8), shortened(row.trial, 8),
                        "accent" if i else "best", size=11, bold=True, halo=True,
                        anchor="start" if edge else "end")  # fmt: skip
            taken.append((x, y))


def _pareto_caption(search: Search, costs: Sequence[str]) -> str:
    text = "For a trial on the line, no trial at the same or a lower cost has a better score. "
    cost = costs[0]
    front = pareto_front(search.rows, cost)
    best = front[0]
    # A loss in score is compared with the spread of all scores, and with chance.
    spread, known = abs(front[0].score - finished(search)[-1].score), compare(search)
    rivals = {row.trial for row in known.rivals} if known else set()
    near = [r for r in front[1:] if r.trial in rivals or abs(r.score - best.score) <= 0.05 * spread]
    if not near:
        return text + f"The best, trial {best.trial}, has no cheaper trial with a similar score."
    cheap = near[-1]
    ratio = getattr(cheap, cost) / (getattr(best, cost) or 1)
    what = "latency" if cost == "latency_ms" else "parameters"
    text += (
        f"Trial {cheap.trial} has {percent(ratio)} of the {what} of the best, trial {best.trial}"
    )
    text += f", and a score of {score_text(cheap.score)}, not {score_text(best.score)}"
    return text + ("; that difference may be chance." if cheap.trial in rivals else ".")


def learning_curves(search: Search) -> Chart | None:
    """The metric after each epoch, for the first execution of every trial."""
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
    epochs = max(points[-1][0] for points in curves.values())
    last = [points[-1][1] for points in curves.values()]
    seen = [value for points in curves.values() for _, value in points[len(points) // 4 :]]
    drawing = Drawing(WIDTH, 390, "learning curves")
    scale = score_scale([*seen, *last], search.mode)
    frame = Frame(58, 46, WIDTH - 68, 280, count_scale(int(epochs)), scale)
    frame.draw(drawing, score_name(search), "epoch")
    # Rows are ranked already; those without a score come last.
    places = {row.score: -i for i, row in reversed(list(enumerate(rows)))}
    colors = tenths(
        [-i if row.score is None else places[row.score] for i, row in enumerate(rows)], "max"
    )
    for row, tenth in reversed(list(zip(rows, colors, strict=True))):
        points = [frame.at(*point) for point in curves[row.trial]]
        is_best = best is not None and row.trial == best.trial
        look = Style("best", width=2.5) if is_best else Style(f"q{tenth}", width=1.4, opacity=0.8)
        if row.score is None:
            look = Style("bad" if row.state == "FAILED" else "muted", dash=(3, 3))
        if len(points) == 1:
            look = Style("", look.stroke, opacity=look.opacity)
            drawing.circle(points[0], 3, look, tip=tooltip(row), trial=row.trial)
        else:
            drawing.line(points, look, tip=tooltip(row), trial=row.trial)
    if best is not None and best.trial in curves:
        _kept_epoch(drawing, frame, curves[best.trial], best, search.mode)
    return Chart("curves", "Learning curves", _curves_caption(search, curves, int(epochs)), drawing)


def _curve(search: Search, trial: str, metric: str) -> list[tuple[float, float]]:
    """Pairs of epoch, counted from 1, and metric; without values that are not finite."""
    try:
        runs = search.curves(trial)
    except (OSError, ValueError, TypeError):  # a running trial may have written half a row
        return []
    points = [
        (row["epoch"] + 1, row[metric]) for row in (runs[0] if runs else ())
        if "epoch" in row and metric in row
    ]  # fmt: skip
    return [point for point in points if all(map(math.isfinite, point))]


def _before(
    row: TrialRow, rows: Sequence[TrialRow], alone: dict[str, list[tuple[float, float]]]
) -> list[tuple[float, float]]:
    """In Hyperband, the epochs of the trials that this trial continues."""
    parent = next((other for other in rows if other.trial == row.parent), None)
    if parent is None or parent.trial >= row.trial:
        return []
    points = _before(parent, rows, alone) + alone[parent.trial]
    return [point for point in points if point[0] < alone[row.trial][0][0]]


def _kept_epoch(
    drawing: Drawing, frame: Frame, points: list[tuple[float, float]], best: TrialRow, mode: str
) -> None:
    pick = max if mode == "max" else min
    epoch, value = pick(
        points, key=lambda point: (point[1], -point[0] if mode == "max" else point[0])
    )
    at = frame.at(epoch, value)
    drawing.circle(at, 5, Style("background", "best", 1.5), tip=tooltip(best), trial=best.trial)
    late = at[0] > frame.left + 0.85 * frame.width
    drawing.text(
        (at[0] + (8 if late else 0), at[1] + (-11 if mode == "max" else 21)),
        f"trial {shortened(best.trial, 8)}, epoch {epoch:g}", "best",
        size=12, bold=True, halo=True, anchor="end" if late else "middle",
    )  # fmt: skip


def _curves_caption(search: Search, curves: dict, epochs: int) -> str:
    # Hyperband ends most trials early on purpose; only trials of the last rounds count here.
    done = [r for r in finished(search) if r.trial in curves and (r.bracket or 0) == (r.round or 0)]
    text = "Each line is a trial; better trials have stronger colours, the best is orange. "
    if not done or epochs < 2:
        return text
    pick = max if search.mode == "max" else min
    # Of equal epochs, the first is the best: it is the one whose weights are kept.
    late = sum(
        pick(curves[row.trial], key=lambda point: point[1]) is curves[row.trial][-1] for row in done
    )
    if late > len(done) / 2:
        return text + (
            f"{late} of {len(done)} had their best score in their last epoch: "
            "longer training may help."
        )
    return text + (
        f"{len(done) - late} of {len(done)} had their best score before their last epoch: "
        "longer training is unlikely to help."
    )
