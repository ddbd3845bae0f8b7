"""Charts that kinds share, as drawings: matrices, bars, lines over an axis, spectrograms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from reports.axes import Frame, Scale, fitted
from reports.drawing import SERIES, Drawing, Style, shortened, text_width

# Of a column of a page, which a phone shows whole with letters that can be read.
NARROW = 520.0
CELL = 26.0
_STEPS = tuple(
    timedelta(**{unit: count})
    for unit, counts in (
        ("seconds", (1, 5, 15, 30)), ("minutes", (1, 5, 15, 30)), ("hours", (1, 3, 6, 12)),
        ("days", (1, 2, 7, 14)),
    )
    for count in counts
)  # fmt: skip
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600)
# From silence to loud, dark to light: the ends and the middle of a ramp like matplotlib's "magma".
SHADES = 65
_HEAT = np.array([[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], float)


@dataclass(frozen=True)
class DateScale(Scale):
    """A scale of seconds since 1970, whose ticks are at whole minutes, hours, days, months."""

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """About ``count`` ticks: position and label of each."""
        first, last = (_date(value) for value in (self.low, self.high))
        rough = (last - first) / max(1, count)
        step = next((one for one in _STEPS if one >= rough), None)
        if step is None:
            return self._monthly(first, last, rough)
        start = datetime(first.year, first.month, 1, tzinfo=UTC)
        at = start + math.ceil((first - start) / step) * step
        form = "%H:%M:%S" if step < timedelta(minutes=1) else "%H:%M"
        form = "%Y-%m-%d" if step >= timedelta(days=1) else form
        found = []
        while at <= last:
            midnight = at.hour == at.minute == at.second == 0
            word = at.strftime("%m-%d" if midnight and step < timedelta(days=1) else form)
            found.append((self.position(at.timestamp()), word))
            at += step
        return found

    def _monthly(
        self, first: datetime, last: datetime, rough: timedelta
    ) -> list[tuple[float, str]]:
        months = next((m for m in _MONTHS if m * timedelta(days=31) >= 0.8 * rough), _MONTHS[-1])
        number = -(-(12 * first.year + first.month - 1 + (first.day > 1)) // months) * months
        found = []
        while number < 12 * last.year + last.month:
            at = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
            word = at.strftime("%Y" if months >= 12 else "%Y-%m")
            found.append((self.position(at.timestamp()), word))
            number += months
        return found


def _date(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def time_scale(times: Sequence[float] | np.ndarray) -> Scale:
    """The scale of an axis from the first to the last of some times.

    Args:
        times: ``datetime64`` of any unit, whose axis has dates; or plain numbers.
    """
    times = np.asarray(times)
    dated = times.dtype.kind == "M"
    values = times.astype("datetime64[s]").astype(np.int64) if dated else times
    low, high = float(values.min()), float(values.max())
    return (DateScale if dated else Scale)(low, high if high > low else low + 1)


def seconds_of(times: Sequence[float] | np.ndarray) -> np.ndarray:
    """Numbers that ``time_scale(times).position`` takes: ``<float>[n]``."""
    times = np.asarray(times)
    if times.dtype.kind == "M":
        times = times.astype("datetime64[s]").astype(np.int64)
    return times.astype(float)


def matrix(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    *,
    texts: Sequence[Sequence[str]] | None = None,
    tips: Sequence[Sequence[str]] | None = None,
    names: tuple[str, str] = ("", ""),
    cell: float = CELL,
) -> Drawing:
    """Cells that are darker for greater values.

    Args:
        title: of the drawing.
        rows: names of rows.
        columns: names of columns.
        values: ``<float>[rows, columns]`` from -1 (orange) by 0 (blank) to 1 (blue); NaN is grey.
        texts: what stands in the cells, if there is room.
        tips: of the cells.
        names: what the rows and what the columns are.
        cell: pixels of a side.
    """
    size = 11.0
    left = 26 + max((text_width(shortened(name, 22), size) for name in rows), default=0)
    above = 40 + 0.8 * max((text_width(shortened(name, 22), size) for name in columns), default=0)
    overhang = 0.5 * text_width(shortened(columns[-1], 22), size) if columns else 0
    width = max(left + cell * len(columns) + overhang + 12, 30 + text_width(names[1], 12) + left)
    drawing = Drawing(width, above + cell * len(rows) + 10, title)
    drawing.text((left, 14), names[1], "foreground", bold=True)
    drawing.text((12, above + cell * len(rows)), names[0], "foreground", bold=True, angle=-90)
    for j, name in enumerate(columns):
        at = (left + cell * (j + 0.6), above - 6)
        drawing.text(at, shortened(name, 22), "foreground", size=size, angle=-50)
    for i, name in enumerate(rows):
        at = (left - 6, above + cell * (i + 0.5) + 4)
        drawing.text(at, shortened(name, 22), "foreground", size=size, anchor="end")
        for j in range(len(columns)):
            corner, value = (left + cell * j, above + cell * i), float(values[i, j])
            tip = tips[i][j] if tips else ""
            drawing.box(corner, cell - 1, cell - 1, Style(fill="panel"), tip=tip)
            if math.isnan(value):
                drawing.box(corner, cell - 1, cell - 1, Style(fill="line", opacity=0.6), tip=tip)
            elif abs(value) > 0.01:
                color, shade = ("accent" if value > 0 else "best"), min(1.0, abs(value))
                drawing.box(corner, cell - 1, cell - 1, Style(fill=color, opacity=shade), tip=tip)
            if texts and texts[i][j]:
                at = (corner[0] + (cell - 1) / 2, corner[1] + cell / 2 + 3.5)
                ink = "background" if abs(value) > 0.55 else "foreground"
                drawing.text(at, texts[i][j], ink, size=10, anchor="middle")
    return drawing


def bars(
    title: str,
    values: Mapping[str, float],
    *,
    top: float | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    words: Mapping[str, str] | None = None,
    axis: str = "",
) -> Drawing:
    """Horizontal bars, one below the other, each with its value.

    Args:
        title: of the drawing.
        values: by name, not negative.
        top: end of the axis; the largest value if None.
        intervals: low and high ends of some, as whiskers.
        words: what is written behind a bar; its value with two decimals if absent.
        axis: what the values are.
    """
    intervals, words = intervals or {}, words or {}
    names, size, height = list(values), 12.0, 24.0
    left = 16 + min(220.0, max((text_width(shortened(n, 28), size) for n in names), default=0))
    right = 20 + max((text_width(words.get(n, "0.00"), size) for n in names), default=0)
    whiskers = [high for _, high in intervals.values()]
    top = top or max([*values.values(), *whiskers, 1e-12], default=1.0)
    width = NARROW - left - right
    drawing = Drawing(NARROW, height * len(names) + (30 if axis else 8), title)
    for i, name in enumerate(names):
        middle, value = height * (i + 0.5) + 2, values[name]
        end = left + width * min(1.0, value / top)
        at = (left - 8, middle + 4)
        drawing.text(at, shortened(name, 28), "foreground", size=size, anchor="end")
        look = Style(fill="accent", opacity=0.75)
        drawing.box((left, middle - 8), max(0.5, end - left), 16, look, tip=f"{name}: {value:.4g}")
        far = end
        if name in intervals:
            low, high = (left + width * min(1.0, edge / top) for edge in intervals[name])
            drawing.line([(low, middle), (high, middle)], Style("foreground", width=1.5))
            far = max(far, high)
        drawing.text((far + 6, middle + 4), words.get(name, f"{value:.2f}"), size=size)
    drawing.line([(left, 2), (left, height * len(names) + 2)], Style("line"))
    if axis:
        drawing.text((left, height * len(names) + 22), axis, size=12)
    return drawing


@dataclass(frozen=True)
class Line:
    """A line of ``lines``.

    Attributes:
        name: in the legend; "" for none.
        x: ``<float>[n]``.
        y: ``<float>[n]``.
        style: how it looks; by its place among the lines if None.
        dots: whether each point has a dot.
    """

    name: str
    x: Any
    y: Any
    style: Style | None = None
    dots: bool = False


def lines(
    title: str,
    axes: tuple[str, str],
    drawn: Sequence[Line],
    *,
    x: Scale | None = None,
    y: Scale | None = None,
    size: tuple[float, float] = (NARROW, 280.0),
) -> Drawing:
    """Lines in one frame, with a legend below.

    Args:
        title: of the drawing.
        axes: titles of the axes, across and up.
        drawn: lines; of nothing there is an empty drawing.
        x: scale across; that of the points if None.
        y: scale upwards.
        size: width and height.
    """
    drawing = Drawing(*size, title)
    points = [(np.asarray(one.x, float), np.asarray(one.y, float)) for one in drawn]
    points = [(a[np.isfinite(b)], b[np.isfinite(b)]) for a, b in points]
    if not any(len(a) for a, _ in points):
        return drawing
    x = x or fitted(np.concatenate([a for a, _ in points]), room=0.02)
    y = y or fitted(np.concatenate([b for _, b in points]), room=0.06)
    names = [shortened(one.name, 26) for one in drawn]
    places, rows = _legend(names, size[0])
    frame = Frame(58, 36, size[0] - 76, size[1] - 84 - 18 * rows, x, y)
    frame.draw(drawing, axes[1], axes[0])
    for i, (one, (across, up)) in enumerate(zip(drawn, points, strict=True)):
        look = one.style or Style(SERIES[i % len(SERIES)], width=2)
        if len(across) > 1:
            drawing.line([frame.at(*pair) for pair in zip(across, up, strict=True)], look)
        if one.dots or len(across) == 1:
            for pair in zip(across, up, strict=True):
                tip = f"{one.name} {pair[0]:.4g}: {pair[1]:.4g}".strip()
                drawing.circle(frame.at(*pair), 3, Style("", look.stroke), tip=tip)
        if one.name:
            left, up = places[i][0], size[1] - 12 - 18 * (rows - 1 - places[i][1])
            drawing.line([(left, up), (left + 20, up)], look)
            drawing.text((left + 26, up + 4), names[i], "foreground", size=11)
    return drawing


def _legend(names: Sequence[str], width: float) -> tuple[list[tuple[float, int]], int]:
    """Where each name stands, from the left and in which row, and how many rows there are."""
    places, left, row = [], 58.0, 0
    for name in names:
        wide = 44 + text_width(name, 11) if name else 0.0
        if left > 58 and left + wide - 18 > width:
            left, row = 58.0, row + 1
        places.append((left, row))
        left += wide
    return places, row + 1 if any(names) else 0


def heat(values: np.ndarray) -> np.ndarray:
    """Numbers as colours from dark (the smallest) to light: ``<uint8>[rows, columns, 3]``.

    Args:
        values: ``<float>[rows, columns]``; the top row first.
    """
    values = np.asarray(values, float)
    low, high = (float(np.min(values)), float(np.max(values))) if values.size else (0.0, 1.0)
    place = (values - low) / ((high - low) or 1.0)
    place = np.round(place * (SHADES - 1)) / (SHADES - 1)
    knots = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(place, knots, _HEAT[:, c]) for c in range(3)], -1).astype(np.uint8)


def stacked(
    title: str, drawings: Sequence[Drawing], columns: int = 1, gap: float = 14.0
) -> Drawing:
    """Drawings as one, in rows from left to right.

    Args:
        title: of the whole.
        drawings: each keeps its size.
        columns: how many are next to each other.
        gap: pixels between them.
    """
    rows = [drawings[i : i + columns] for i in range(0, len(drawings), columns)]
    widths = [sum(one.width for one in row) + gap * (len(row) - 1) for row in rows]
    heights = [max(one.height for one in row) for row in rows]
    whole = Drawing(max(widths, default=1), sum(heights) + gap * max(0, len(rows) - 1) or 1, title)
    top = 0.0
    for row, height in zip(rows, heights, strict=True):
        left = 0.0
        for one in row:
            for mark in one.marks:
                points = tuple((x + left, y + top) for x, y in mark.points)
                whole.marks.append(replace(mark, points=points))
            left += one.width + gap
        top += height + gap
    return whole
