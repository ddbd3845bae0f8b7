"""Drawings of explanations: attributions on a text, a series, a spectrogram or a roll; states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.axes import Frame, fitted
from reports.drawing import Drawing, Style, shortened, text_width

WIDTH = 720.0
LEFT = 110.0
CELLS = 240  # at most along an axis; more are pooled
_BLUE, _ORANGE = np.array([31, 95, 168.0]), np.array([194, 65, 12.0])


@dataclass(frozen=True)
class LayerStates:
    """The hidden states of one recurrent layer along one example.

    Attributes:
        name: of the layer.
        steps: names of its steps, in the order of the input.
        path: ``<float>[steps, 2]``, the states on their first two principal components.
        variance: share of the states' variance that lies along each of the two.
        saturation: by gate, ``<float>[steps, 2]``: share of the units that are in the lowest and
            in the highest tenth of its range.
    """

    name: str
    steps: Sequence[str]
    path: np.ndarray
    variance: tuple[float, float]
    saturation: Mapping[str, np.ndarray]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "path": np.round(self.path, 6).tolist(),
            "variance": list(self.variance),
            "saturation": {
                gate: {"low": np.round(x[:, 0], 4).tolist(), "high": np.round(x[:, 1], 4).tolist()}
                for gate, x in self.saturation.items()
            },
        }


def text_drawing(steps: Sequence[str], each: np.ndarray, title: str) -> Drawing:
    """Tokens in lines, coloured by their attributions: for a picture."""
    most, size = float(np.abs(each).max(initial=0)) or 1.0, 15.0
    x, y, places = 10.0, 46.0, []
    for step in steps:
        word = shortened(step, 60)
        width = text_width(word, size) + 10
        if x + width > WIDTH - 10:
            x, y = 10.0, y + 28
        places.append((x, y, word, width))
        x += width + 3
    drawing = Drawing(WIDTH, y + 24, title)
    drawing.text((10, 20), shortened(title, 90), "foreground", size=13, bold=True)
    for (x, y, word, width), value in zip(places, each, strict=True):
        look = Style(fill=_colour(value), opacity=0.6 * abs(value) / most)
        drawing.box((x, y - 17), width, 23, look, tip=f"{value:+.4g}")
        drawing.text((x + 5, y), word, "foreground", size=size)
    return drawing


def _colour(value: float) -> str:
    return "accent" if value > 0 else "best"


def pooled(values: np.ndarray, most: int = CELLS) -> tuple[np.ndarray, int]:
    """Sums of neighbouring steps ``[steps, columns]``, so that there are at most so many, and how
    many steps each has."""
    size = max(1, math.ceil(len(values) / most))
    rest = -len(values) % size
    padded = np.concatenate([values, np.zeros((rest, *values.shape[1:]))])
    return padded.reshape(-1, size, *values.shape[1:]).sum(1), size


def series_drawing(
    steps: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    each: np.ndarray,
    title: str,
) -> Drawing:
    """Each column as a line over the colours of its attributions.

    Args:
        steps: names of the steps.
        columns: names of the columns.
        values: ``<float>[steps, columns]``, NaN where there is nothing.
        each: attributions, likewise.
        title: what is explained.
    """
    height, gap, count = 64.0, 12.0, len(steps)
    drawing = Drawing(WIDTH, 60 + (height + gap) * len(columns), title)
    drawing.text((10, 20), shortened(title, 90), "foreground", size=13, bold=True)
    sums, size = pooled(each)
    most, width = float(np.abs(sums).max(initial=0)) or 1.0, (WIDTH - LEFT - 14) / count
    for c, column in enumerate(columns):
        top = 34 + c * (height + gap)
        drawing.text((LEFT - 8, top + 16), shortened(column, 15), "foreground", anchor="end")
        drawing.text((LEFT - 8, top + 34), f"{each[:, c].sum():+.3g}", size=11, anchor="end")
        drawing.box((LEFT, top), width * count, height, Style(fill="panel"))
        for i, value in enumerate(sums[:, c]):
            shade = abs(value) / most
            if shade > 0.02:
                look = Style(fill=_colour(value), opacity=round(0.75 * shade, 2))
                last = min(count, (i + 1) * size)
                tip = f"{steps[i * size]}: {value:+.4g}"
                drawing.box((LEFT + i * size * width, top), (last - i * size) * width, height, look,
                            tip=tip)  # fmt: skip
        there = np.isfinite(values[:, c])
        if there.any():
            scale = fitted(values[there, c], room=0.12)
            points = [
                (LEFT + (t + 0.5) * width, top + height * (1 - scale.position(values[t, c])))
                for t in np.flatnonzero(there)
            ]
            if len(points) > 1:
                drawing.line(points, Style("foreground", width=1.2))
            else:
                drawing.circle(points[0], 2, Style(fill="foreground"))
    bottom = 34 + (height + gap) * len(columns) + 6
    for t, anchor in ((0, "start"), (count // 2, "middle"), (count - 1, "end")):
        drawing.text((LEFT + (t + 0.5) * width, bottom), shortened(steps[t], 22), size=11,
                     anchor=anchor)  # fmt: skip
    return drawing


def grid_drawing(
    steps: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    each: np.ndarray,
    title: str,
    view: str,
) -> Drawing:
    """A spectrogram or a piano roll in grey, its attributions in colour, time from left to right.

    Args:
        steps: names of the steps.
        columns: names of the bands or notes, the lowest first.
        values: ``<float>[steps, columns]``: how loud.
        each: attributions, likewise.
        title: what is explained.
        view: "roll" draws the notes that there are alone, a semitone above another.
    """
    shown = slice(None)
    if view == "roll":
        sounding = np.flatnonzero(values.any(0))
        if len(sounding):
            shown = slice(max(0, sounding[0] - 2), sounding[-1] + 3)
    values, each, names = values[:, shown], each[:, shown], list(columns)[shown]
    height = float(min(360, max(120, 9 * len(names))))
    drawing = Drawing(WIDTH, height + 64, title)
    drawing.text((10, 20), shortened(title, 90), "foreground", size=13, bold=True)
    width = WIDTH - LEFT - 14
    drawing.image((LEFT, 34), width, height, overlay(values, each))
    for place in sorted({0, len(names) // 2, len(names) - 1}):
        y = 34 + height * (1 - (place + 0.5) / len(names))
        drawing.text((LEFT - 8, y + 4), shortened(names[place], 15), size=11, anchor="end")
    for t, anchor in ((0, "start"), (len(steps) // 2, "middle"), (len(steps) - 1, "end")):
        at = (LEFT + width * (t + 0.5) / len(steps), height + 52)
        drawing.text(at, shortened(steps[t], 22), size=11, anchor=anchor)
    return drawing


def overlay(values: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Attributions in colour over values in grey: ``<uint8>[columns, steps, 3]``, low ones below.

    Args:
        values: ``<float>[steps, columns]``.
        each: likewise.
    """
    low, high = float(values.min(initial=0)), float(values.max(initial=1))
    grey = 245 - 130 * (values - low) / ((high - low) or 1.0)
    # The largest hundredth would leave all others pale.
    most = float(np.quantile(np.abs(each), 0.995)) or float(np.abs(each).max(initial=0)) or 1.0
    shade = np.clip(np.abs(each) / most, 0, 1)[..., None] ** 0.7
    colour = np.where(each[..., None] > 0, _BLUE, _ORANGE)
    pixels = grey[..., None] * (1 - shade) + colour * shade
    return pixels.astype(np.uint8).transpose(1, 0, 2)[::-1]


def layer_drawings(layer: LayerStates) -> list[Drawing]:
    """The way of the states, and the saturation of gates along it."""
    return [path_drawing(layer), *([gate_drawing(layer)] if layer.saturation else [])]


def path_drawing(layer: LayerStates) -> Drawing:
    """States on two principal components, joined in the order of the steps."""
    drawing = Drawing(520, 380, f"states of {layer.name}")
    x, y = (fitted(layer.path[:, i], room=0.08) for i in (0, 1))
    frame = Frame(60, 30, 440, 290, x, y)
    frame.draw(drawing, "second component", f"first component of {layer.name}")
    points = [frame.at(*one) for one in layer.path.tolist()]
    drawing.line(points, Style("line", width=1))
    labelled = set(np.linspace(0, len(points) - 1, min(14, len(points))).astype(int).tolist())
    for t, point in enumerate(points):
        tenth = min(9, 10 * t // len(points))
        drawing.circle(point, 3.5, Style(fill=f"q{tenth}"), tip=f"{t + 1}: {layer.steps[t]}")
        if t in labelled:
            at = (point[0] + 5, point[1] - 5)
            drawing.text(at, shortened(layer.steps[t], 12), "foreground", size=10, halo=True)
    return drawing


def gate_drawing(layer: LayerStates) -> Drawing:
    """A row for the lowest and one for the highest tenth of each gate: darker, more units."""
    rows = [(f"{gate} {end}", shares[:, i]) for gate, shares in layer.saturation.items()
            for i, end in ((1, "high"), (0, "low"))]  # fmt: skip
    height = 15.0
    drawing = Drawing(WIDTH, 30 + height * len(rows) + 24, f"saturated units of {layer.name}")
    drawing.text((10, 16), "share of units saturated", "foreground", size=13, bold=True)
    width = (WIDTH - LEFT - 14) / len(layer.steps)
    for i, (name, shares) in enumerate(rows):
        top = 26 + height * i
        drawing.text((LEFT - 8, top + 11), name, size=11, anchor="end")
        drawing.box((LEFT, top), WIDTH - LEFT - 14, height - 2, Style(fill="panel"))
        means, size = pooled(shares[:, None])
        for j, total in enumerate(means[:, 0]):
            last = min(len(shares), (j + 1) * size)
            share = total / (last - j * size)
            if share > 0.02:
                look = Style(fill="accent", opacity=round(float(share), 2))
                tip = f"{layer.steps[j * size]}: {share:.0%}"
                at = (LEFT + j * size * width, top)
                drawing.box(at, (last - j * size) * width, height - 2, look, tip=tip)
    for t, anchor in ((0, "start"), (len(layer.steps) - 1, "end")):
        at = (LEFT + (t + 0.5) * width, 26 + height * len(rows) + 12)
        drawing.text(at, shortened(layer.steps[t], 22), size=11, anchor=anchor)
    return drawing
