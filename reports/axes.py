"""Scales, ticks and frames of charts, and the formatting of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reports.drawing import Drawing, Point, Style, shortened

# Values that span more than this factor are shown on a logarithmic axis.
WIDE = 30.0


def number(value: Any) -> str:
    """A number for a table: four significant digits, with commas; other values as they are.

    >>> [number(v) for v in (0.85123, 1234567, 0.000123, 12.0, 2345.67, True, None)]
    ['0.8512', '1,234,567', '1.23e-4', '12', '2,345.7', 'true', '']
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    if value and abs(value) < 1e-3:
        return _scientific(value, 3)
    if value.is_integer() and abs(value) < 1e15:
        return number(int(value))
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def _scientific(value: float, digits: int) -> str:
    """Scientific notation with a short exponent and without trailing zeros: 1e-4."""
    front, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    front = front.rstrip("0").rstrip(".") if "." in front else front
    return f"{front}e{int(exponent)}"


def score_text(value: float | None) -> str:
    """A score with a fixed number of decimal places, so that scores in a column can be compared.

    >>> [score_text(v) for v in (0.85, 123.456, 12345.6, 0.00001234, 12)]
    ['0.8500', '123.46', '12,346', '1.23e-5', '12']
    """
    if value is None:
        return ""
    if isinstance(value, int):  # a count
        return number(value)
    size = abs(value)
    if not math.isfinite(value) or size == 0 or 1e-3 <= size < 100:
        return f"{value:.4f}"
    if size < 1e-3:
        return _scientific(value, 3)
    return f"{value:.2f}" if size < 10_000 else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Seconds as a duration in words.

    >>> [duration(s) for s in (4.2, 75, 3700, 200000)]
    ['4.2 s', '1 min 15 s', '1 h 01 min', '2 d 7 h']
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {int(seconds % 60)} s" if minutes < 10 else f"{minutes} min"


def clock(seconds: float | None) -> str:
    """Seconds as clock time, for columns.

    >>> [clock(s) for s in (4.2, 149, 3723)]
    ['0:04', '2:29', '1:02:03']
    """
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def counted(count: int, things: str = "trials") -> str:
    """A count with its noun.

    >>> counted(1), counted(3, "epochs")
    ('one trial', '3 epochs')
    """
    return f"one {things.removesuffix('s')}" if count == 1 else f"{count} {things}"


def compact(value: float) -> str:
    """A number as a tick label.

    >>> [compact(v) for v in (20000, 2500000, 0.0001, 0.3)]
    ['20k', '2.5M', '1e-4', '0.3']
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    if value and abs(value) < 1e-3:
        return _scientific(value, 3)
    return f"{value:.6g}"


@dataclass(frozen=True)
class Scale:
    """The range of numbers along an axis; values outside it are drawn at the end of the axis."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def position(self, value: float) -> float:
        """Position of a value: 0 at ``low``, 1 at ``high``."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, self.low))
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def outside(self, value: float) -> bool:
        """Whether the value is outside the range."""
        return not self.low <= value <= self.high

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """About ``count`` ticks: position and label of each."""
        if self.log:
            return [(self.position(v), compact(v)) for v in self._log_values(count)]
        values = self._even_values(count)
        words = [compact(value) for value in values]
        if all(value == 0 or 1e-3 <= abs(value) < 1000 for value in values):
            places = max((len(word.partition(".")[2]) for word in words), default=0)
            words = [f"{value:.{places}f}" for value in values]  # 0.80 next to 0.75
        return [(self.position(value), word) for value, word in zip(values, words, strict=True)]

    def _even_values(self, count: int) -> list[float]:
        rough = (self.high - self.low) / max(count, 1)
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(s * size for s in (1, 2, 2.5, 5, 10) if s * size >= rough * 0.999)
        if self.whole:
            step = max(1.0, math.ceil(step))
        first, last = (
            math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        )  # fmt: skip
        return [float(f"{i * step:.10g}") for i in range(first, last + 1)]

    def _log_values(self, count: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5)):
            values = [d * 10.0**e for e in decades for d in digits]
            inside = [v for v in values if self.low * 0.999 <= v <= self.high * 1.001]
            if len(inside) >= min(3, count):
                return inside[:: math.ceil(len(inside) / (count + 2))]
        return self._even_values(count)


def fitted(
    values: Iterable[float], log: bool = False, room: float = 0.04, below: float | None = None
) -> Scale:
    """A scale that contains all values.

    Args:
        values: the values.
        log: whether the scale is logarithmic, if all values are positive.
        room: margin above the values, as a fraction of their range; also below them by default.
        below: margin below the values.
    """
    values = list(values)
    low, high = min(values), max(values)
    below = room if below is None else below
    if log and low > 0:
        factor = high / low if high > low else 2.0
        return Scale(low / factor**below, high * factor**room, True)
    span = (high - low) or abs(high) or 1.0
    return Scale(low - span * below, high + span * room)


def score_scale(values: Iterable[float], mode: str) -> Scale:
    """A scale that shows the good scores apart, even if a few trials have diverged."""
    values = sorted(values, reverse=mode == "min")  # worst first
    low, high = values[len(values) // 4], values[(3 * len(values)) // 4]
    fence = low - 3 * (high - low)
    kept = [v for v in values if (v >= fence if mode == "max" else v <= fence)]
    few = low != high and len(values) - len(kept) <= len(values) / 10
    kept = kept if few else values
    wide = min(kept) > 0 and max(kept) / min(kept) > WIDE
    return fitted(kept, log=wide, below=0.14 if mode == "min" else None)  # space for a label


def count_scale(maximum: int) -> Scale:
    """A scale for counts from 1 to ``maximum``."""
    return (
        Scale(1 - 0.02 * maximum, 1.02 * maximum, whole=True)
        if maximum > 1
        else Scale(0.5, 1.5, whole=True)
    )


def tenths(scores: Sequence[float], mode: str) -> list[int]:
    """For each score, its tenth in the ranking of all scores: 0 is the worst, 9 the best.

    Equal scores have the same tenth, that of the best of them.

    >>> tenths([0.5, 0.9, 0.9, 0.9], "max"), tenths([0.5, 0.5], "min")
    ([0, 9, 9, 9], [9, 9])
    """
    ranks: dict[float, int] = {}
    for rank, score in enumerate(sorted(scores, reverse=mode == "min")):
        ranks[score] = rank
    last = max(1, len(scores) - 1)
    return [9 if len(scores) == 1 else min(9, 10 * ranks[score] // last) for score in scores]


@dataclass(frozen=True)
class Frame:
    """A rectangular part of a drawing with two axes."""

    left: float
    top: float
    width: float
    height: float
    x: Scale
    y: Scale

    def at(self, x: float, y: float) -> Point:
        """Pixel coordinates of a pair of values."""
        return (self.across(self.x.position(x)), self.down(self.y.position(y)))

    def across(self, position: float) -> float:
        """Pixel coordinate of a position from 0 to 1 along x."""
        return self.left + self.width * position

    def down(self, position: float) -> float:
        """Pixel coordinate of a position from 0 to 1 along y, upwards."""
        return self.top + self.height * (1 - position)

    def draw(
        self,
        drawing: Drawing,
        title: str,
        x_title: str,
        *,
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_labels: bool = True,
    ) -> None:
        """Draws grid, ticks and titles."""
        right, bottom = self.left + self.width, self.top + self.height
        for position, label in self.y.ticks(4 if self.height < 220 else 5):
            y = self.down(position)
            drawing.line([(self.left, y), (right, y)], Style("grid"))
            if y_labels:
                drawing.text((self.left - 8, y + 4), label, size=11, anchor="end")
        drawing.line([(self.left, bottom), (right, bottom)], Style("line"))
        if x_ticks is None:
            x_ticks = self.x.ticks(4 if self.width < 300 else 6)
        # Labels get all the available space; if there are very many, only some are drawn.
        room = self.width / max(len(x_ticks), 1)
        every = max(1, math.ceil(34 / room))
        for position, label in list(x_ticks)[::every]:
            x, word = self.across(position), shortened(label, max(5, int(every * room / 5.6)))
            drawing.line([(x, bottom), (x, bottom + 4)], Style("line"))
            drawing.text((x, bottom + 17), word, size=10.5, anchor="middle")
        if title:
            drawing.text((self.left, self.top - 18), title, "foreground", size=13, bold=True)
        if x_title:
            drawing.text((right, bottom + 34), x_title, size=12, anchor="end")
