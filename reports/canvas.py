"""Drawings of lines, dots and words, as SVG for a page and as PNG for a document.

Colours are names. In a page they are CSS variables, so that a drawing follows the reader's light or
dark screen; a PNG has the light ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

Point = tuple[float, float]

# Name: on a light screen and on paper, on a dark screen.
COLORS = {
    "paper": ("#ffffff", "#15181c"),
    "panel": ("#f5f7f9", "#1d2126"),
    "ink": ("#1b2025", "#e8ebee"),
    "muted": ("#59636e", "#a0abb6"),
    "grid": ("#e2e6ea", "#2e343b"),
    "line": ("#aeb7c0", "#59636e"),
    "accent": ("#1f5fa8", "#74b0f0"),
    "faint": ("#9bb8d8", "#3f638c"),
    "best": ("#c2410c", "#ff9b57"),
    "bad": ("#b3261e", "#ff8d84"),
    "good": ("#1c7a43", "#6fcf97"),
}
# From the worst to the best tenth: fading into the page, standing out of it.
_RAMP = (("#c6cfd8", "#62acbd", "#123f87"), ("#46515c", "#3c8da6", "#b9eaff"))
TENTHS = 10


def clean(value: Any) -> str:
    """Text that UTF-8 and XML can hold: what they cannot is shown as a replacement character."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]", "\ufffd", text)


def shortened(value: Any, most: int = 16) -> str:
    """As much of a word as fits beside an axis."""
    text = clean(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def text_width(text: str, size: float) -> float:
    """Pixels that a word takes, about."""
    return 0.56 * size * len(text)


@dataclass(frozen=True)
class Style:
    """How a mark looks.

    Attributes:
        stroke: name of a colour; "" for none.
        fill: likewise.
        width: of the stroke, in pixels.
        dash: lengths of dash and gap.
        opacity: of all of it.
    """

    stroke: str = ""
    fill: str = ""
    width: float = 1.0
    dash: tuple[float, float] | None = None
    opacity: float = 1.0


@dataclass(frozen=True)
class Mark:
    """One thing drawn.

    Attributes:
        kind: "line", "curve" (smooth, flat at each point), "circle", "box" or "text".
        points: of a line; the middle; the upper left corner; where the words begin or end.
        style: how it looks.
        size: radius, width and height, or font size.
        words: of a text.
        anchor: "start", "middle" or "end" of a text.
        bold: whether a text is.
        tip: shown when it is pointed at.
        trial: which trial it stands for; a page lights up all that stands for the same.
    """

    kind: str
    points: tuple[Point, ...]
    style: Style
    size: tuple[float, ...] = ()
    words: str = ""
    anchor: str = "start"
    bold: bool = False
    tip: str = ""
    trial: str = ""


class Canvas:
    """A drawing of ``width`` times ``height`` pixels; y grows downwards."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.marks: list[Mark] = []

    def line(self, points: Sequence[Point], style: Style, **about: str) -> None:
        """Straight from point to point."""
        self.marks.append(Mark("line", tuple(points), style, **about))

    def curve(self, points: Sequence[Point], style: Style, **about: str) -> None:
        """Smooth from left to right through the points."""
        self.marks.append(Mark("curve", tuple(points), style, **about))

    def circle(self, at: Point, radius: float, style: Style, **about: str) -> None:
        """A dot."""
        self.marks.append(Mark("circle", (at,), style, (radius,), **about))

    def box(self, at: Point, width: float, height: float, style: Style, **about: str) -> None:
        """A rectangle."""
        self.marks.append(Mark("box", (at,), style, (width, height), **about))

    def cross(self, at: Point, radius: float, style: Style, **about: str) -> None:
        """An x."""
        x, y = at
        for way in (radius, -radius):
            self.line([(x - radius, y - way), (x + radius, y + way)], style, **about)

    def text(
        self,
        at: Point,
        words: Any,
        color: str = "muted",
        *,
        size: float = 12,
        anchor: str = "start",
        bold: bool = False,
        halo: bool = False,
    ) -> None:
        """Words on one line; ``halo`` keeps what is below them from touching them."""
        style = Style(fill=color, stroke="paper" if halo else "", width=3)
        mark = Mark("text", (at,), style, (size,), clean(words), anchor, bold)
        self.marks.append(mark)

    def svg(self) -> str:
        """An ``<svg>`` element for a page that holds ``css()``."""
        body = "\n".join(map(_element, self.marks))
        return (
            f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" fill="none" role="img" '
            f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" '
            f'height="{self.height:g}" aria-label="{escape(clean(self.title))}">\n{body}\n</svg>'
        )

    def save_png(self, path: Path) -> None:
        """Writes a PNG at two pixels a pixel, on white."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure((self.width / 100, self.height / 100), facecolor=_light("paper"))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        for order, mark in enumerate(self.marks):
            artist = _artist(mark, axes)
            artist.set(zorder=order, clip_on=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=200)


def css() -> str:
    """Colours of the page and classes of the marks."""
    names = color_names()
    light, dark = (";".join(f"--{n}:{color(n, theme)}" for n in names) for theme in (0, 1))
    classes = "".join(f".s-{n}{{stroke:var(--{n})}}.f-{n}{{fill:var(--{n})}}" for n in names)
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}\n"
        f"{classes}\n.chart text{{paint-order:stroke;stroke-linejoin:round}}\n"
    )


def color_names() -> list[str]:
    """What a ``Style`` may name."""
    return [*COLORS, *(f"q{tenth}" for tenth in range(TENTHS))]


def color(name: str, theme: int) -> str:
    """A colour by name, of the light (0) or dark (1) page."""
    if name in COLORS:
        return COLORS[name][theme]
    place = 2 * int(name[1:]) / (TENTHS - 1)
    part = min(int(place), 1)
    ends = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in _RAMP[theme][part : part + 2]]
    mixed = (a + (b - a) * (place - part) for a, b in zip(*ends, strict=True))
    return "#" + "".join(f"{round(value):02x}" for value in mixed)


def _light(name: str) -> str:
    return color(name, 0) if name else "none"


def _element(mark: Mark) -> str:
    style = mark.style
    names = [f"s-{style.stroke}"] if style.stroke else []
    names += [f"f-{style.fill}"] if style.fill else []
    about = f' class="{" ".join(names)}"' if names else ""
    if style.stroke and style.width != 1:
        about += f' stroke-width="{style.width:g}"'
    if style.dash:
        about += f' stroke-dasharray="{style.dash[0]:g} {style.dash[1]:g}"'
    if style.opacity != 1:
        about += f' opacity="{style.opacity:g}"'
    if mark.trial:
        about += f' data-t="{escape(clean(mark.trial))}"'
    tip = f"<title>{escape(clean(mark.tip))}</title>" if mark.tip else ""
    (x, y), size = mark.points[0], mark.size
    if mark.kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size[0]:g}"{about}>{tip}</circle>'
    if mark.kind == "box":
        place = f'x="{x:.1f}" y="{y:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}"'
        return f"<rect {place}{about}>{tip}</rect>"
    if mark.kind == "text":
        anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
        weight = ' font-weight="600"' if mark.bold else ""
        place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size[0]:g}"{anchor}{weight}'
        return f"<text {place}{about}>{escape(mark.words)}</text>"
    return f'<path d="{_path(mark)}"{about}>{tip}</path>'


def _path(mark: Mark) -> str:
    spelled = [f"{x:.1f} {y:.1f}" for x, y in mark.points]
    if mark.kind == "line":
        return f"M{spelled[0]}" + "".join(f"L{point}" for point in spelled[1:])
    parts = [f"M{spelled[0]}"]
    for (x, y), (u, v) in zip(mark.points, mark.points[1:], strict=False):
        middle = (x + u) / 2
        parts.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {v:.1f} {u:.1f} {v:.1f}")
    return "".join(parts)


def _artist(mark: Mark, axes: Any) -> Any:
    """The same mark as something of matplotlib's, added to its axes."""
    from matplotlib.patches import Circle, PathPatch, Rectangle
    from matplotlib.patheffects import withStroke

    style, (x, y), size = mark.style, mark.points[0], mark.size
    point = 0.72  # of a point in a pixel: a figure has 100 pixels and 72 points an inch
    if mark.kind == "text":
        # Dollars would begin mathematics; the font is wider than a screen's.
        words = mark.words.replace("$", r"\$")
        around = [withStroke(linewidth=style.width * point, foreground=_light(style.stroke))]
        return axes.text(
            x, y, words, color=_light(style.fill), size=0.93 * point * size[0],
            ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor],
            va="baseline", weight="bold" if mark.bold else "normal",
            path_effects=around if style.stroke else None,
        )  # fmt: skip
    look = {
        "edgecolor": _light(style.stroke),
        "facecolor": _light(style.fill),
        "linewidth": style.width * point if style.stroke else 0,
        "alpha": style.opacity,
    }
    if style.dash:
        look["linestyle"] = (0, tuple(length / style.width for length in style.dash))
    if mark.kind == "circle":
        return axes.add_patch(Circle((x, y), size[0], **look))
    if mark.kind == "box":
        return axes.add_patch(Rectangle((x, y), *size, **look))
    return axes.add_patch(PathPatch(_outline(mark), **look))


def _outline(mark: Mark) -> Any:
    from matplotlib.path import Path as Outline

    if mark.kind == "line":
        return Outline(mark.points)
    points, codes = [mark.points[0]], [Outline.MOVETO]
    for (x, y), (u, v) in zip(mark.points, mark.points[1:], strict=False):
        points += [((x + u) / 2, y), ((x + u) / 2, v), (u, v)]
        codes += [Outline.CURVE4] * 3
    return Outline(points, codes)
