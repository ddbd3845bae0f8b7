"""Charts of the hyperparameters: which of them mattered, and which values did well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.axes import Frame, Scale, fitted, number, score_scale, score_text, tenths
from reports.charts import WIDTH, Chart, finished, percent, score_name, tooltip
from reports.drawing import TENTHS, Drawing, Point, Style, shortened, text_width
from reports.importance import Effect, Importance, comparable
from tuning.hyperparameters import Hyperparameter, hyperparameters, value_of
from tuning.leaderboard import Search, TrialRow
from tuning.noise import compare

# Below this out-of-bag R^2, the forest is no better than predicting the mean.
MIN_OOB_R2 = 0.1
# Maximum number of parallel axes, without the score's axis.
MAX_AXES = 11
# Fraction of a category's width that its trials are spread over.
SPREAD = 0.55


@dataclass(frozen=True)
class Axis:
    """Positions of a hyperparameter's values from 0 to 1; discrete values are evenly spaced.

    Attributes:
        hyperparameter: the hyperparameter.
        categories: values with a category of their own; None stands for an absent value.
        scale: scale of the other values; None if there are none.
    """

    hyperparameter: Hyperparameter
    categories: tuple[Any, ...]
    scale: Scale | None

    @classmethod
    def make(cls, h: Hyperparameter) -> Axis:
        """An axis with a scale for numbers and categories for other values; absence comes first."""
        if h.discrete or len(h.values) < 2:
            return cls(h, ((None,) if h.absent else ()) + h.values, None)
        return cls(h, (None,) if h.absent else (), fitted(h.values, h.log))

    @property
    def category_size(self) -> float:
        """Size of a category, as a fraction of the axis."""
        return 1 / len(self.categories) if self.scale is None else 0.12

    def position(self, value: Any) -> float:
        """Position of a value, from 0 to 1."""
        if self.scale is None or value is None:
            return self.category_size * (self.categories.index(value) + 0.5)
        below = self.category_size * len(self.categories)
        return below + (1 - below) * self.scale.position(value)

    def ticks(self, count: int) -> list[tuple[float, str]]:
        """Ticks: position and label of each."""
        named = [(self.position(v), "absent" if v is None else number(v)) for v in self.categories]
        if self.scale is None:
            return named
        below = self.category_size * len(self.categories)
        return named + [(below + (1 - below) * at, word) for at, word in self.scale.ticks(count)]

    def spread(self, rows: Sequence[TrialRow], ranked: bool) -> list[float]:
        """Positions of trials, where trials in the same category do not overlap.

        Args:
            rows: the trials, best first.
            ranked: whether trials in a category are in order of their rank, so that lines do not
                cross; otherwise they are in order of their number, so that dots show no false
                trend.
        """
        places = [self.position(value_of(row, self.hyperparameter.name)) for row in rows]
        name = self.hyperparameter.name
        for category in self.categories:
            inside = [i for i, row in enumerate(rows) if value_of(row, name) == category]
            if not ranked:
                inside.sort(key=lambda i: rows[i].trial)
            for rank, i in enumerate(inside):
                part = (rank + 0.5) / len(inside) - 0.5
                places[i] -= SPREAD * self.category_size * part
        return places


def importance_bars(found: Importance) -> Chart | None:
    """One bar per hyperparameter: the share of the variance that it explains."""
    if found.missing:
        return None
    bars = [(e.name, e.share) for e in found.effects]
    if len(bars) > 1:
        bars.append(("combinations", found.interactions))
    drawing = Drawing(WIDTH, 27 * len(bars) + 14, "importance of each hyperparameter")
    left = 24 + max(text_width(shortened(name, 26), 13) for name, _ in bars)
    longest = max(share for _, share in bars) or 1.0
    for i, (name, share) in enumerate(bars):
        y, last = 8 + 27 * i, name == "combinations" and i == len(bars) - 1
        color = "muted" if last else "foreground"
        drawing.text((left - 10, y + 15), shortened(name, 26), color, size=13, anchor="end")
        certain = found.oob_r2 >= MIN_OOB_R2 and not last
        length = (WIDTH - left - 70) * share / longest
        drawing.box((left, y + 2), max(length, 1), 18, Style(fill="accent" if certain else "line"))
        drawing.text((left + max(length, 1) + 8, y + 15), percent(share), "foreground", size=13)
    return Chart("importance", "What mattered", _importance_caption(found), drawing)


def _importance_caption(found: Importance) -> str:
    first = found.effects[0]
    oob_r2 = f"R² {found.oob_r2:.2f} on trials that it was not trained on"
    model = f"a random forest of the {found.trials} trials"
    if found.oob_r2 < MIN_OOB_R2:
        return (
            f"There is no reliable order yet: {model} predicts the score no better than the mean "
            f"({oob_r2}). The bars are noise; more trials are needed."
        )
    sure = "well" if found.oob_r2 >= 0.7 else "fairly" if found.oob_r2 >= 0.4 else "only roughly"
    return (
        f"By itself {first.name} explains {percent(first.share)} of the variation of the score; "
        f"“combinations” is what no single hyperparameter explains. The shares are those of {model}"
        f", which predicts the score {sure} ({oob_r2})."
    )


def slices(search: Search, found: Importance) -> Chart | None:
    """The score against each hyperparameter, the most important one first."""
    rows, _ = comparable(search.rows)
    varied = [h for h in hyperparameters(search.about, rows) if h.varied]
    if not varied or len(rows) < 2:
        return None
    effects = {e.name: e for e in found.effects if found.oob_r2 >= MIN_OOB_R2}
    varied = by_importance(varied, found)
    lines, step = math.ceil(len(varied) / 4), (WIDTH - 50) / 4
    drawing = Drawing(WIDTH, 206 * lines, "score against each hyperparameter")
    scale = score_scale([row.score for row in rows], search.mode)
    for i, h in enumerate(varied):
        line, column = divmod(i, 4)
        axis = Axis.make(h)
        frame = Frame(50 + step * column, 34 + 206 * line, step - 22, 136, Scale(0, 1), scale)
        frame.draw(
            drawing, shortened(h.name, 26), "", x_ticks=axis.ticks(4), y_labels=column == 0
        )  # fmt: skip
        _slice(drawing, frame, axis, rows, search.mode)
        if h.name in effects:
            _marginal(drawing, frame, axis, effects[h.name])
    return Chart("slices", "Which values did well", _slices_caption(search, found), drawing)


def _slice(drawing: Drawing, frame: Frame, axis: Axis, rows: Sequence[TrialRow], mode: str) -> None:
    colors = tenths([row.score for row in rows], mode)
    marks = list(zip(rows, axis.spread(rows, ranked=False), colors, strict=True))
    for rank, (row, position, tenth) in reversed(list(enumerate(marks))):
        look = Style("", f"q{tenth}") if rank else Style("background", "best", 1)
        at = (frame.across(position), frame.down(frame.y.position(row.score)))
        drawing.circle(at, 3 if rank else 4.5, look, tip=tooltip(row), trial=row.trial)


def _marginal(drawing: Drawing, frame: Frame, axis: Axis, effect: Effect) -> None:
    """Draws the score that the forest predicts: bars for categories, a line for numbers."""
    points: list[Point] = []
    for value, score in zip(effect.values, effect.scores, strict=True):
        x, y = frame.across(axis.position(value)), frame.down(frame.y.position(score))
        if value in axis.categories:
            half = 0.36 * axis.category_size * frame.width
            drawing.line([(x - half, y), (x + half, y)], Style("foreground", width=2))
        else:
            points.append((x, y))
    if points:
        drawing.line(points, Style("foreground", width=2))


def _slices_caption(search: Search, found: Importance) -> str:
    text = f"Each dot is a trial, {score_name(search)} upwards, the best in orange"
    if not found.effects or found.oob_r2 < MIN_OOB_R2:
        return text + "."
    first = found.effects[0]
    pick = min if search.mode == "min" else max
    score, value = pick(
        zip(first.scores, first.values, strict=True), key=lambda pair: pair[0]
    )  # fmt: skip
    return (
        f"{text}; plain lines are the score that the forest predicts for a value, averaged over "
        f"the other hyperparameters. For {first.name} it predicts the best score with "
        f"{'no value' if value is None else number(value)} ({score_text(score)} on average)."
    )


def by_importance(varied: list[Hyperparameter], found: Importance) -> list[Hyperparameter]:
    """Sorts hyperparameters, most important first; unchanged if no importance is known."""
    ranks = {effect.name: rank for rank, effect in enumerate(found.effects)}
    return sorted(varied, key=lambda h: ranks.get(h.name, len(ranks)))


def parallel(search: Search, found: Importance) -> Chart | None:
    """One line per trial, through its hyperparameters to its score."""
    rows = finished(search)
    every = [h for h in hyperparameters(search.about, rows) if h.varied]
    if not every or len(rows) < 2:
        return None
    # The most important hyperparameter is next to the score.
    varied = by_importance(every, found)[:MAX_AXES][::-1]
    drawing = Drawing(WIDTH, 430, "hyperparameters of each trial and its score")
    scale = score_scale([row.score for row in rows], search.mode)
    axes = [Axis.make(h) for h in varied]
    left, right, top, height = 60.0, WIDTH - 64.0, 62.0, 318.0
    places = [left + (right - left) * i / len(axes) for i in range(len(axes) + 1)]
    columns = [axis.spread(rows, ranked=True) for axis in axes] + [
        [scale.position(r.score) for r in rows]
    ]
    colors = tenths([row.score for row in rows], search.mode)
    for rank in range(len(rows) - 1, -1, -1):
        points = [
            (x, top + height * (1 - column[rank]))
            for x, column in zip(places, columns, strict=True)
        ]
        # With very many lines, only the better ones are clearly visible.
        many = len(rows) > 120
        opacity = 0.15 + 0.65 * colors[rank] / TENTHS if many else 0.75
        look = Style(f"q{colors[rank]}", width=1 if many else 1.4, opacity=round(opacity, 2))
        look = look if rank else Style("best", width=2.8)
        drawing.curve(points, look, tip=tooltip(rows[rank]), trial=rows[rank].trial)
    for x, axis in zip(places, axes, strict=False):
        _upright(drawing, x, top, height, axis.ticks(5))
        for category in axis.categories:
            middle = top + height * (1 - axis.position(category))
            half = SPREAD * axis.category_size * height / 2
            drawing.line([(x, middle - half), (x, middle + half)], Style("muted", width=3))
        if axis.hyperparameter.log:
            drawing.text((x, top + height + 18), "log", size=11, anchor="middle")
    _upright(drawing, right, top, height, scale.ticks(6), after=True)
    names = [*(h.name for h in varied), score_name(search)]
    _names_above(drawing, places, top, names)
    _legend(drawing, left, top + height + 36)
    caption = _parallel_caption(search, rows, every, len(every) - len(varied))
    return Chart("parallel", "From hyperparameters to score", caption, drawing)


def _names_above(drawing: Drawing, places: Sequence[float], top: float, names: list[str]) -> None:
    """Draws the names of the axes, on two lines if they would overlap."""
    edges = [WIDTH - 4.0, WIDTH - 4.0]  # for each line, the x up to which it is free
    for x, name in reversed(list(zip(places, names, strict=True))):
        word = shortened(name, 24)
        half = text_width(word, 13) / 2
        middle = max(half, min(x, WIDTH - 4 - half))
        line = next((i for i, edge in enumerate(edges) if middle + half <= edge), 1)
        drawing.text((middle, top - 14 - 17 * line), word, "foreground", size=13, bold=True,
                    anchor="middle", halo=True)  # fmt: skip
        edges[line] = middle - half - 14


def _upright(
    drawing: Drawing,
    x: float,
    top: float,
    height: float,
    ticks: Sequence[tuple[float, str]],
    after: bool = False,
) -> None:
    """Draws a vertical axis with labels on its left, or with ``after`` on its right."""
    drawing.line([(x, top), (x, top + height)], Style("line", width=1.5))
    side = 1 if after else -1
    for position, label in ticks:
        y = top + height * (1 - position)
        drawing.line([(x, y), (x + 4 * side, y)], Style("line"))
        drawing.text((x + 7 * side, y + 4), shortened(label, 14), "foreground", size=11,
                    anchor="start" if after else "end", halo=True)  # fmt: skip


def _legend(drawing: Drawing, x: float, y: float) -> None:
    drawing.text((x - 14, y + 10), "worst tenth", size=11)
    for tenth in range(TENTHS):
        drawing.box((x + 56 + 16 * tenth, y), 16, 12, Style(fill=f"q{tenth}"))
    drawing.text((x + 62 + 16 * TENTHS, y + 10), "best tenth", size=11)
    at = x + 142 + 16 * TENTHS
    drawing.line([(at, y + 6), (at + 26, y + 6)], Style("best", width=2.8))
    drawing.text((at + 32, y + 10), "the best trial", size=11)


def _parallel_caption(
    search: Search, rows: Sequence[TrialRow], varied: Sequence[Hyperparameter], left_out: int
) -> str:
    text = "Each line is a trial and ends at its score on the right; the best trials are strongest"
    text += f"; the {left_out} least important hyperparameters are left out. " if left_out else ". "
    count = max(3, min(10, round(len(rows) / 10)))
    # All that equal the last of them belong to the best too.
    top = [r for i, r in enumerate(rows) if i < count or r.score == rows[count - 1].score]
    if (known := compare(search)) is not None:
        # What is clearly worse than the best is no example of what is good.
        likely = {rows[0].trial, *(row.trial for row in known.rivals)}
        top = [row for row in top if row.trial in likely]
    if len(top) < min(3, count) or len(rows) < 2 * len(top):
        return text
    agreed = []
    for h in varied:
        found = {value_of(row, h.name) for row in top}
        if h.discrete and len(found) == 1 and (value := found.pop()) is not None:
            agreed.append(f"{h.name} {number(value)}")
        elif not h.discrete and None not in found and _narrow(h, found):
            agreed.append(f"{h.name} between {number(min(found))} and {number(max(found))}")
    if not agreed:
        return text + f"The best {len(top)} have no value in common."
    return text + f"The best {len(top)} have in common: {', '.join(agreed)}."


def _narrow(h: Hyperparameter, found: set[float]) -> bool:
    """Whether the values span less than a third of the range that was tried."""
    scale = fitted(h.values, h.log, room=0)
    return scale.position(max(found)) - scale.position(min(found)) < 1 / 3
