"""Language models as pictures: how well units are foretold by their place, and which are not."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reports.axes import fitted
from reports.drawing import Drawing, Style
from reports.plots import Line, lines

LEAST = 30  # units of a bin that is drawn
# From what was expected to what was a surprise, by bits.
SHADES = ((1, ""), (3, "#fdf0d5"), (6, "#fbd9a8"), (10, "#f5b07f"), (np.inf, "#e8836b"))


def draw_language(
    tokens: Sequence[Sequence[str]], nats: Sequence[np.ndarray], spaced: bool, directory: Path
) -> list[str]:
    """Writes ``loss_by_position.svg`` and ``surprise.html``.

    Args:
        tokens: the first units of the first documents, for the page.
        nats: log-probability of each unit of all documents ``<float32>[units]``.
        spaced: whether units are words.
        directory: where to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    by_position(nats).save_svg(directory / "loss_by_position.svg")
    page = surprise(tokens, nats, spaced)
    (directory / "surprise.html").write_text(page, encoding="utf-8")
    return ["loss_by_position.svg", "surprise.html"]


def positions(nats: Sequence[np.ndarray]) -> list[tuple[int, int, float, int]]:
    """``(first, last, bits, units)`` of bins of positions that double in width, from 1."""
    found, first = [], 1
    longest = max(map(len, nats), default=0)
    while first <= longest:
        last = 2 * first - 1
        values = np.concatenate([row[first - 1 : last] for row in nats])
        if len(values) >= LEAST:
            bits = float(-np.mean(values, dtype=np.float64) / np.log(2))
            found.append((first, min(last, longest), bits, len(values)))
        first *= 2
    return found


def by_position(nats: Sequence[np.ndarray]) -> Drawing:
    """Bits of a unit by how many stand before it: what a state that is carried on is worth."""
    bins = positions(nats)
    centres = [np.sqrt(first * last) for first, last, *_ in bins]
    drawn = [Line("by place", centres, [bits for *_, bits, _ in bins], dots=True)]
    if not bins:
        return lines("loss by position", ("", ""), [])
    every = -sum(float(row.sum(dtype="float64")) for row in nats) / np.log(2)
    mean = every / max(1, sum(map(len, nats)))
    ends = [centres[0], centres[-1]]
    drawn.append(Line("all", ends, [mean, mean], Style("muted", width=1.5, dash=(6, 4))))
    axes = ("place of a unit in its document", "bits per unit")
    return lines("loss by position", axes, drawn, x=fitted(centres, log=len(bins) > 1))


def surprise(tokens: Sequence[Sequence[str]], nats: Sequence[np.ndarray], spaced: bool) -> str:
    """Documents as HTML, each unit shaded by the bits that it cost."""
    parts = []
    for names, row in zip(tokens, nats, strict=False):  # of the first documents alone
        spans = []
        for name, value in zip(names, row.tolist(), strict=False):
            bits = -value / np.log(2)
            colour = next(shade for limit, shade in SHADES if bits <= limit)
            shown = "\u21b5\n" if name == "\n" else html.escape(name) + " " * spaced
            spans.append(f'<span{_shade(colour)} title="{bits:.1f} bits">{shown}</span>')
        parts.append(f'<pre dir="auto" style="white-space:pre-wrap">{"".join(spans)}</pre>')
    legend = " ".join(
        f"<span{_shade(colour)}>&nbsp;"
        f"{'more' if limit == np.inf else f'to {limit} bits'}&nbsp;</span>"
        for limit, colour in SHADES
    )
    return f"<div><p>What the model did not expect: {legend}</p>{''.join(parts)}</div>"


def _shade(colour: str) -> str:
    """What was expected has the colours of the page, light or dark."""
    return f' style="background:{colour};color:#1b1f24"' if colour else ""
