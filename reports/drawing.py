"""Drawings of lines, areas, dots, text and pixels, as SVG and as PNG.

Colours have names. In SVG they are CSS variables, so that a drawing follows the light or dark
theme of the reader's screen. A PNG has the light colours.
"""

from __future__ import annotations

import base64
import re
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_text

Point = tuple[float, float]

# By name: the colour on a light screen and in print, and the colour on a dark screen.
COLORS = {
    "background": ("#ffffff", "#15181c"),
    "panel": ("#f5f7f9", "#1d2126"),
    "foreground": ("#1b2025", "#e8ebee"),
    "muted": ("#59636e", "#a0abb6"),
    "grid": ("#e2e6ea", "#2e343b"),
    "line": ("#aeb7c0", "#59636e"),
    "accent": ("#1f5fa8", "#74b0f0"),
    "secondary": ("#9bb8d8", "#3f638c"),
    "best": ("#c2410c", "#ff9b57"),
    "bad": ("#b3261e", "#ff8d84"),
    "good": ("#1c7a43", "#6fcf97"),
    "shade": ("#f2c14e", "#8a6a1c"),
    "second": ("#c2410c", "#ff9b57"),
    "third": ("#1c7a43", "#6fcf97"),
    "fourth": ("#7b3fa0", "#c89be8"),
    "fifth": ("#8a6d00", "#e0c15a"),
    "sixth": ("#00798c", "#5fd0e0"),
}
# Colours of lines that are told apart by a legend, in order.
SERIES = ("accent", "second", "third", "fourth", "fifth", "sixth")
FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,Ubuntu,"Noto Sans",sans-serif'
# Colours from the worst tenth, close to the background, to the best tenth, with most contrast.
_RAMP = (("#c6cfd8", "#62acbd", "#123f87"), ("#46515c", "#3c8da6", "#b9eaff"))
TENTHS = 10


def clean(value: Any) -> str:
    """The value as text; characters that UTF-8 or XML cannot hold are replaced by U+FFFD."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]", "\ufffd", text)


def shortened(value: Any, max_length: int = 16) -> str:
    """The value as text of at most ``max_length`` characters, so that it fits next to an axis."""
    text = clean(value)
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


def text_width(text: str, size: float) -> float:
    """Approximate width of a text in pixels; Chinese characters are about as wide as high."""
    return size * sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.56 for c in text)


@dataclass(frozen=True)
class Style:
    """How a mark looks.

    Attributes:
        stroke: name of the stroke colour; "" for no stroke.
        fill: name of the fill colour; "" for no fill.
        width: width of the stroke, in pixels.
        dash: lengths of dash and gap, in pixels; None for a solid stroke.
        opacity: opacity of stroke and fill.
    """

    stroke: str = ""
    fill: str = ""
    width: float = 1.0
    dash: tuple[float, float] | None = None
    opacity: float = 1.0


@dataclass(frozen=True)
class Mark:
    """One element of a drawing.

    Attributes:
        kind: "line", "area" (a closed line), "curve" (smooth, flat at each point), "circle", "box",
            "image" or "text".
        points: points of a line, area or curve; centre of a circle; upper left corner of a box or
            image; anchor point of a text.
        style: colours and stroke.
        size: radius of a circle; width and height of a box or image; font size of a text, and the
            angle by which it is turned clockwise.
        text: content of a text; of an image, its PNG in base64.
        anchor: "start", "middle" or "end": which part of a text is at its anchor point.
        bold: whether a text is bold.
        tip: tooltip.
        trial: trial that the mark shows; a page highlights all marks of the same trial.
    """

    kind: str
    points: tuple[Point, ...]
    style: Style
    size: tuple[float, ...] = ()
    text: str = ""
    anchor: str = "start"
    bold: bool = False
    tip: str = ""
    trial: str = ""


class Drawing:
    """A drawing of ``width`` x ``height`` pixels; y grows downwards."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.marks: list[Mark] = []

    def line(self, points: Sequence[Point], style: Style, **about: str) -> None:
        """Adds a polyline."""
        self.marks.append(Mark("line", tuple(points), style, **about))

    def curve(self, points: Sequence[Point], style: Style, **about: str) -> None:
        """Adds a smooth curve through the points, from left to right."""
        self.marks.append(Mark("curve", tuple(points), style, **about))

    def circle(self, at: Point, radius: float, style: Style, **about: str) -> None:
        """Adds a circle."""
        self.marks.append(Mark("circle", (at,), style, (radius,), **about))

    def box(self, at: Point, width: float, height: float, style: Style, **about: str) -> None:
        """Adds a rectangle."""
        self.marks.append(Mark("box", (at,), style, (width, height), **about))

    def area(self, points: Sequence[Point], style: Style, **about: str) -> None:
        """Adds a polygon, whose last point is joined to its first."""
        self.marks.append(Mark("area", tuple(points), style, **about))

    def image(
        self, at: Point, width: float, height: float, pixels: np.ndarray, **about: str
    ) -> None:
        """Adds pixels, stretched to a rectangle.

        Args:
            at: upper left corner.
            width: of the rectangle.
            height: of the rectangle.
            pixels: ``<uint8>[rows, columns, 3]`` in red, green and blue, the top row first.
            about: further attributes of the mark.
        """
        content = base64.b64encode(png_of(pixels)).decode("ascii")
        self.marks.append(Mark("image", (at,), Style(), (width, height), content, **about))

    def cross(self, at: Point, radius: float, style: Style, **about: str) -> None:
        """Adds an x-shaped cross."""
        x, y = at
        for way in (radius, -radius):
            self.line([(x - radius, y - way), (x + radius, y + way)], style, **about)

    def text(
        self,
        at: Point,
        text: Any,
        color: str = "muted",
        *,
        size: float = 12,
        anchor: str = "start",
        bold: bool = False,
        halo: bool = False,
        angle: float = 0.0,
    ) -> None:
        """Adds a line of text; ``halo`` gives it an outline in the background colour, ``angle``
        turns it clockwise by so many degrees."""
        style = Style(fill=color, stroke="background" if halo else "", width=3)
        mark = Mark("text", (at,), style, (size, angle), clean(text), anchor, bold)
        self.marks.append(mark)

    def svg(self, head: str = "") -> str:
        """The drawing as an ``<svg>`` element, for a page that includes ``css()``.

        Args:
            head: elements before those of the drawing.
        """
        body = "\n".join(map(_element, self.marks))
        # On a phone it scrolls rather than that its letters shrink to nothing.
        least = f' style="min-width:{0.68 * self.width:.0f}px"' if self.width > 560 else ""
        return (
            f'<svg class="chart"{least} xmlns="http://www.w3.org/2000/svg" fill="none" role="img" '
            f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" '
            f'height="{self.height:g}" aria-label="{escape(clean(self.title))}">'
            f"{head}\n{body}\n</svg>"
        )

    def whole_svg(self) -> str:
        """The drawing with its colours and its background, for a file or a notebook."""
        style = f"<style>\n{css('svg.chart')}svg.chart{{font-family:{FONT}}}\n</style>"
        return self.svg(f'{style}<rect width="100%" height="100%" class="f-background"/>')

    _repr_svg_ = whole_svg

    def save_svg(self, path: Path) -> None:
        """Writes the drawing with its colours as an SVG file."""
        write_text(path, self.whole_svg() + "\n")

    def save_png(self, path: Path) -> None:
        """Writes a PNG with two pixels per pixel of the drawing, on white."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure((self.width / 100, self.height / 100), facecolor=_light("background"))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        for order, mark in enumerate(self.marks):
            artist = _artist(mark, axes)
            artist.set(zorder=order, clip_on=False)
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))  # an image moves them
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=200)


def inside_page(svg: str) -> str:
    """What ``whole_svg`` gave, without the colours and the background that a page has itself."""
    return re.sub(r'<style>.*?</style><rect [^>]*class="f-background"/>', "", svg, flags=re.DOTALL)


def png_of(pixels: np.ndarray) -> bytes:
    """The PNG file of ``<uint8>[rows, columns, 3]`` (ISO/IEC 15948, without filters).

    Up to 256 colours are numbered, which takes a third of the place.
    """
    (rows, columns, _), numbers = pixels.shape, np.ascontiguousarray(pixels, np.uint8)
    colors, places = np.unique(numbers.reshape(-1, 3), axis=0, return_inverse=True)
    numbered = 0 < len(colors) <= 256
    if numbered:
        numbers = places.reshape(rows, columns).astype(np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in numbers)

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", columns, rows, 8, 3 if numbered else 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")]
    if numbered:
        parts.insert(1, (b"PLTE", colors.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def css(root: str = ":root") -> str:
    """CSS with the colours as variables of ``root``, and the classes that marks use."""
    names = color_names()
    light, dark = (";".join(f"--{n}:{color(n, theme)}" for n in names) for theme in (0, 1))
    classes = "".join(f".s-{n}{{stroke:var(--{n})}}.f-{n}{{fill:var(--{n})}}" for n in names)
    return (
        f"{root}{{color-scheme:light;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{{root}{{color-scheme:dark;{dark}}}}}\n"
        f"{classes}\n.chart text{{paint-order:stroke;stroke-linejoin:round}}\n"
    )


def color_names() -> list[str]:
    """All colour names that a ``Style`` can use."""
    return [*COLORS, *(f"q{tenth}" for tenth in range(TENTHS))]


def color(name: str, theme: int) -> str:
    """The colour with this name on a light (``theme`` 0) or dark (``theme`` 1) page."""
    if name in COLORS:
        return COLORS[name][theme]
    position = 2 * int(name[1:]) / (TENTHS - 1)
    part = min(int(position), 1)
    ends = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in _RAMP[theme][part : part + 2]]
    mixed = (a + (b - a) * (position - part) for a, b in zip(*ends, strict=True))
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
        geometry = f'x="{x:.1f}" y="{y:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}"'
        return f"<rect {geometry}{about}>{tip}</rect>"
    if mark.kind == "image":
        return (
            f'<image x="{x:.1f}" y="{y:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}" '
            f'preserveAspectRatio="none" href="data:image/png;base64,{mark.text}">{tip}</image>'
        )
    if mark.kind == "text":
        anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
        weight = ' font-weight="600"' if mark.bold else ""
        geometry = f'x="{x:.1f}" y="{y:.1f}" font-size="{size[0]:g}"{anchor}{weight}'
        if size[1]:
            geometry += f' transform="rotate({size[1]:g} {x:.1f} {y:.1f})"'
        return f"<text {geometry}{about}>{escape(mark.text)}</text>"
    return f'<path d="{_path(mark)}"{about}>{tip}</path>'


def _path(mark: Mark) -> str:
    spelled = [f"{x:.1f} {y:.1f}" for x, y in mark.points]
    if mark.kind in ("line", "area"):
        end = "Z" if mark.kind == "area" else ""
        return f"M{spelled[0]}" + "".join(f"L{point}" for point in spelled[1:]) + end
    parts = [f"M{spelled[0]}"]
    for (x, y), (u, v) in zip(mark.points, mark.points[1:], strict=False):
        middle = (x + u) / 2
        parts.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {v:.1f} {u:.1f} {v:.1f}")
    return "".join(parts)


def _artist(mark: Mark, axes: Any) -> Any:
    """Adds the mark to matplotlib axes, and returns the artist."""
    from matplotlib.patches import Circle, PathPatch, Rectangle
    from matplotlib.patheffects import withStroke

    style, (x, y), size = mark.style, mark.points[0], mark.size
    point = 0.72  # points per pixel: a figure has 100 pixels and 72 points per inch
    if mark.kind == "text":
        # A dollar sign would start math mode. The font is wider than a screen's, hence 0.93.
        words = mark.text.replace("$", r"\$")
        around = [withStroke(linewidth=style.width * point, foreground=_light(style.stroke))]
        return axes.text(
            x, y, words, color=_light(style.fill), size=0.93 * point * size[0],
            ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor],
            va="baseline", weight="bold" if mark.bold else "normal",
            path_effects=around if style.stroke else None,
            rotation=-size[1], rotation_mode="anchor",
        )  # fmt: skip
    if mark.kind == "image":
        from io import BytesIO

        from matplotlib.image import imread

        pixels, (width, height) = imread(BytesIO(base64.b64decode(mark.text))), size
        return axes.imshow(pixels, extent=(x, x + width, y + height, y), aspect="auto")
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
    if mark.kind == "area":
        return Outline([*mark.points, mark.points[0]], closed=True)
    points, codes = [mark.points[0]], [Outline.MOVETO]
    for (x, y), (u, v) in zip(mark.points, mark.points[1:], strict=False):
        points += [((x + u) / 2, y), ((x + u) / 2, v), (u, v)]
        codes += [Outline.CURVE4] * 3
    return Outline(points, codes)
