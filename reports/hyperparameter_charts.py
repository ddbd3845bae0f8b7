"""Pictures of what was searched: which hyperparameters mattered, and which values did well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.axes import Frame, Scale, fitted, number, score_scale, score_text, tenths
from reports.canvas import TENTHS, Canvas, Point, Style, shortened, text_width
from reports.charts import WIDTH, Chart, finished, percent, score_name, told
from reports.importance import Effect, Importance, comparable
from tuning.hyperparameters import Hyperparameter, hyperparameters, value_of
from tuning.leaderboard import Search, TrialRow

# Below this out-of-bag R^2 the forest knows no more than the mean.
LITTLE_TRUST = 0.1
# The parallel axes that fit; the score's comes on top.
MOST_AXES = 11
# Share of a slot that its trials are spread over.
SPREAD = 0.55


@dataclass(frozen=True)
class Axis:
    """Where the values of one hyperparameter lie, from 0 to 1: few values evenly apart."""

    of: Hyperparameter
    slots: tuple[Any, ...]
    scale: Scale | None

    @classmethod
    def make(cls, h: Hyperparameter) -> Axis:
        """Numbers to scale, others in slots; absence is a slot below all values."""
        if h.stepped or len(h.values) < 2:
            return cls(h, ((None,) if h.absent else ()) + h.values, None)
        return cls(h, (None,) if h.absent else (), fitted(h.values, h.log))

    @property
    def band(self) -> float:
        """Height of a slot."""
        return 1 / len(self.slots) if self.scale is None else 0.12

    def place(self, value: Any) -> float:
        """From 0 to 1."""
        if self.scale is None or value is None:
            return self.band * (self.slots.index(value) + 0.5)
        below = self.band * len(self.slots)
        return below + (1 - below) * self.scale.place(value)

    def ticks(self, count: int) -> list[tuple[float, str]]:
        """Where to write what."""
        named = [(self.place(v), "absent" if v is None else number(v)) for v in self.slots]
        if self.scale is None:
            return named
        below = self.band * len(self.slots)
        return named + [(below + (1 - below) * at, word) for at, word in self.scale.ticks(count)]

    def spread(self, rows: Sequence[TrialRow], ranked: bool) -> list[float]:
        """The place of each trial, those in one slot beside each other instead of on one spot.

        By rank, the lines to a slot lie in order; by trial, the dots of one show no trend that
        there is not.
        """
        places = [self.place(value_of(row, self.of.name)) for row in rows]
        for slot in self.slots:
            inside = [i for i, row in enumerate(rows) if value_of(row, self.of.name) == slot]
            if not ranked:
                inside.sort(key=lambda i: rows[i].trial)
            for rank, i in enumerate(inside):
                part = (rank + 0.5) / len(inside) - 0.5
                places[i] -= SPREAD * self.band * part
        return places


def importance_bars(found: Importance) -> Chart | None:
    """A bar for each hyperparameter's share."""
    if found.missing:
        return None
    bars = [(e.name, e.share) for e in found.effects]
    if len(bars) > 1:
        bars.append(("combinations", found.interactions))
    canvas = Canvas(WIDTH, 27 * len(bars) + 14, "importance of each hyperparameter")
    left = 24 + max(text_width(shortened(name, 26), 13) for name, _ in bars)
    most = max(share for _, share in bars) or 1.0
    for i, (name, share) in enumerate(bars):
        y, last = 8 + 27 * i, name == "combinations" and i == len(bars) - 1
        canvas.text((left - 10, y + 15), shortened(name, 26), "muted" if last else "ink", size=13,
                    anchor="end")  # fmt: skip
        certain = found.trust >= LITTLE_TRUST and not last
        length = (WIDTH - left - 70) * share / most
        canvas.box((left, y + 2), max(length, 1), 18, Style(fill="accent" if certain else "line"))
        canvas.text((left + max(length, 1) + 8, y + 15), percent(share), "ink", size=13)
    return Chart("importance", "What mattered", _importance_reading(found), canvas)


def _importance_reading(found: Importance) -> str:
    first = found.effects[0]
    trust = f"R² {found.trust:.2f} on trials that it had not seen"
    model = f"a random forest of the {found.trials} trials"
    if found.trust < LITTLE_TRUST:
        return (
            f"No order can be told yet: {model} predicts the score no better than its mean does "
            f"({trust}). The bars are noise; more trials are needed."
        )
    sure = "well" if found.trust >= 0.7 else "fairly" if found.trust >= 0.4 else "only roughly"
    return (
        f"By itself {first.name} explains {percent(first.share)} of the variation of the score; "
        f"“combinations” is what no single hyperparameter explains. The shares are those of {model}"
        f", which predicts the score {sure} ({trust})."
    )


def slices(search: Search, found: Importance) -> Chart | None:
    """The score against each hyperparameter, most important first."""
    rows, _ = comparable(search.rows)
    varied = [h for h in hyperparameters(search.about, rows) if h.varied]
    if not varied or len(rows) < 2:
        return None
    effects = {e.name: e for e in found.effects if found.trust >= LITTLE_TRUST}
    varied = by_importance(varied, found)
    lines, step = math.ceil(len(varied) / 4), (WIDTH - 50) / 4
    canvas = Canvas(WIDTH, 206 * lines, "score against each hyperparameter")
    scale = score_scale([row.score for row in rows], search.mode)
    for i, h in enumerate(varied):
        line, column = divmod(i, 4)
        axis = Axis.make(h)
        frame = Frame(50 + step * column, 34 + 206 * line, step - 22, 136, Scale(0, 1), scale)
        frame.draw(
            canvas, shortened(h.name, 26), "", x_ticks=axis.ticks(4), y_labels=column == 0
        )  # fmt: skip
        _slice(canvas, frame, axis, rows, search.mode)
        if h.name in effects:
            _marginal(canvas, frame, axis, effects[h.name])
    return Chart("slices", "Which values did well", _slices_reading(search, found), canvas)


def _slice(canvas: Canvas, frame: Frame, axis: Axis, rows: Sequence[TrialRow], mode: str) -> None:
    colors = tenths([row.score for row in rows], mode)
    marks = list(zip(rows, axis.spread(rows, ranked=False), colors, strict=True))
    for rank, (row, place, tenth) in reversed(list(enumerate(marks))):
        look = Style("", f"q{tenth}") if rank else Style("paper", "best", 1)
        at = (frame.across(place), frame.down(frame.y.place(row.score)))
        canvas.circle(at, 3 if rank else 4.5, look, tip=told(row), trial=row.trial)


def _marginal(canvas: Canvas, frame: Frame, axis: Axis, effect: Effect) -> None:
    """What the forest expects of each value: bars over slots, a line elsewhere."""
    points: list[Point] = []
    for value, score in zip(effect.values, effect.scores, strict=True):
        x, y = frame.across(axis.place(value)), frame.down(frame.y.place(score))
        if value in axis.slots:
            half = 0.36 * axis.band * frame.width
            canvas.line([(x - half, y), (x + half, y)], Style("ink", width=2))
        else:
            points.append((x, y))
    if points:
        canvas.line(points, Style("ink", width=2))


def _slices_reading(search: Search, found: Importance) -> str:
    text = f"Each dot is a trial, {score_name(search)} upwards, the best in orange"
    if not found.effects or found.trust < LITTLE_TRUST:
        return text + "."
    first = found.effects[0]
    pick = min if search.mode == "min" else max
    score, value = pick(
        zip(first.scores, first.values, strict=True), key=lambda pair: pair[0]
    )  # fmt: skip
    return (
        f"{text}; plain lines are what the forest expects of a value, over all values of the other "
        f"hyperparameters. For {first.name} it expects most of "
        f"{'its absence' if value is None else number(value)} ({score_text(score)} on average)."
    )


def by_importance(varied: list[Hyperparameter], found: Importance) -> list[Hyperparameter]:
    """Most important first; as they are where nothing is known."""
    places = {effect.name: place for place, effect in enumerate(found.effects)}
    return sorted(varied, key=lambda h: places.get(h.name, len(places)))


def parallel(search: Search, found: Importance) -> Chart | None:
    """A line a trial through all its hyperparameters to its score."""
    rows = finished(search)
    every = [h for h in hyperparameters(search.about, rows) if h.varied]
    if not every or len(rows) < 2:
        return None
    # The most important beside the score.
    varied = by_importance(every, found)[:MOST_AXES][::-1]
    canvas = Canvas(WIDTH, 430, "hyperparameters of each trial and its score")
    scale = score_scale([row.score for row in rows], search.mode)
    axes = [Axis.make(h) for h in varied]
    left, right, top, height = 60.0, WIDTH - 64.0, 62.0, 318.0
    places = [left + (right - left) * i / len(axes) for i in range(len(axes) + 1)]
    columns = [axis.spread(rows, ranked=True) for axis in axes] + [
        [scale.place(r.score) for r in rows]
    ]
    colors = tenths([row.score for row in rows], search.mode)
    for rank in range(len(rows) - 1, -1, -1):
        points = [
            (x, top + height * (1 - column[rank]))
            for x, column in zip(places, columns, strict=True)
        ]
        # Of very many lines only the better ones are to be followed.
        many = len(rows) > 120
        opacity = 0.15 + 0.65 * colors[rank] / TENTHS if many else 0.75
        look = Style(f"q{colors[rank]}", width=1 if many else 1.4, opacity=round(opacity, 2))
        look = look if rank else Style("best", width=2.8)
        canvas.curve(points, look, tip=told(rows[rank]), trial=rows[rank].trial)
    for x, axis in zip(places, axes, strict=False):
        _upright(canvas, x, top, height, axis.ticks(5))
        for slot in axis.slots:
            middle, half = top + height * (1 - axis.place(slot)), SPREAD * axis.band * height / 2
            canvas.line([(x, middle - half), (x, middle + half)], Style("muted", width=3))
        if axis.of.log:
            canvas.text((x, top + height + 18), "log", size=11, anchor="middle")
    _upright(canvas, right, top, height, scale.ticks(6), after=True)
    names = [*(h.name for h in varied), score_name(search)]
    _names_above(canvas, places, top, names)
    _legend(canvas, left, top + height + 36)
    return Chart("parallel", "From hyperparameters to score",
                 _parallel_reading(rows, every, len(every) - len(varied)), canvas)  # fmt: skip


def _names_above(canvas: Canvas, places: Sequence[float], top: float, names: list[str]) -> None:
    """Names of the axes, on two lines where they would touch; the last one ends at the edge."""
    edges = [WIDTH - 4.0, WIDTH - 4.0]  # how far to the right each line is free
    for x, name in reversed(list(zip(places, names, strict=True))):
        word = shortened(name, 24)
        half = text_width(word, 13) / 2
        middle = max(half, min(x, WIDTH - 4 - half))
        line = next((i for i, edge in enumerate(edges) if middle + half <= edge), 1)
        canvas.text((middle, top - 14 - 17 * line), word, "ink", size=13, bold=True,
                    anchor="middle", halo=True)  # fmt: skip
        edges[line] = middle - half - 14


def _upright(
    canvas: Canvas,
    x: float,
    top: float,
    height: float,
    ticks: Sequence[tuple[float, str]],
    after: bool = False,
) -> None:
    """A vertical axis, its labels before it or after it."""
    canvas.line([(x, top), (x, top + height)], Style("line", width=1.5))
    side = 1 if after else -1
    for place, label in ticks:
        y = top + height * (1 - place)
        canvas.line([(x, y), (x + 4 * side, y)], Style("line"))
        canvas.text((x + 7 * side, y + 4), shortened(label, 14), "ink", size=11,
                    anchor="start" if after else "end", halo=True)  # fmt: skip


def _legend(canvas: Canvas, x: float, y: float) -> None:
    canvas.text((x - 14, y + 10), "worst tenth", size=11)
    for tenth in range(TENTHS):
        canvas.box((x + 56 + 16 * tenth, y), 16, 12, Style(fill=f"q{tenth}"))
    canvas.text((x + 62 + 16 * TENTHS, y + 10), "best tenth", size=11)
    at = x + 142 + 16 * TENTHS
    canvas.line([(at, y + 6), (at + 26, y + 6)], Style("best", width=2.8))
    canvas.text((at + 32, y + 10), "the best trial", size=11)


def _parallel_reading(
    rows: Sequence[TrialRow], varied: Sequence[Hyperparameter], left_out: int
) -> str:
    text = (
        "Each line is a trial on its way to its score at the right, stronger where it ranks higher"
    )
    text += f"; the {left_out} least important hyperparameters are left out. " if left_out else ". "
    top = rows[: max(3, min(10, round(len(rows) / 10)))]
    if len(rows) < 2 * len(top):
        return text
    agreed = []
    for h in varied:
        found = {value_of(row, h.name) for row in top}
        if h.stepped and len(found) == 1 and (value := found.pop()) is not None:
            agreed.append(f"{h.name} {number(value)}")
        elif not h.stepped and None not in found and _narrow(h, found):
            agreed.append(f"{h.name} between {number(min(found))} and {number(max(found))}")
    if not agreed:
        return text + f"The best {len(top)} have no value in common."
    return text + f"The best {len(top)} have in common: {', '.join(agreed)}."


def _narrow(h: Hyperparameter, found: set[float]) -> bool:
    """Whether values lie in less than a third of all that were tried."""
    scale = fitted(h.values, h.log, room=0)
    return scale.place(max(found)) - scale.place(min(found)) < 1 / 3
