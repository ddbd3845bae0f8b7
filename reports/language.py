"""Language models as pictures: how well units are foretold by their place, and which are not."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

BLUE, GREY = "#2c6fad", "#8a8f98"
LEAST = 30  # units of a bin that is drawn
# From what was expected to what was a surprise, by bits.
SHADES = ((1, "#ffffff"), (3, "#fdf0d5"), (6, "#fbd9a8"), (10, "#f5b07f"), (np.inf, "#e8836b"))


def draw_language(
    tokens: Sequence[Sequence[str]], nats: Sequence[np.ndarray], spaced: bool, directory: Path
) -> list[str]:
    """Writes ``loss_by_position.png`` and ``surprise.html``.

    Args:
        tokens: the first units of the first documents, for the page.
        nats: log-probability of each unit of all documents ``<float32>[units]``.
        spaced: whether units are words.
        directory: where to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    by_position(nats).savefig(directory / "loss_by_position.png", dpi=110)
    page = surprise(tokens, nats, spaced)
    (directory / "surprise.html").write_text(page, encoding="utf-8")
    return ["loss_by_position.png", "surprise.html"]


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


def by_position(nats: Sequence[np.ndarray]) -> Figure:
    """Bits of a unit by how many stand before it: what a state that is carried on is worth."""
    bins = positions(nats)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    centres = [np.sqrt(first * last) for first, last, *_ in bins]
    axes.plot(centres, [bits for *_, bits, _ in bins], "o-", color=BLUE)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("place of a unit in its document")
    axes.set_ylabel("bits a unit")
    axes.grid(alpha=0.3)
    if bins:
        every = -sum(float(row.sum(dtype="float64")) for row in nats) / np.log(2)
        axes.axhline(every / max(1, sum(map(len, nats))), color=GREY, linestyle="--", label="all")
        axes.legend(frameon=False)
    axes.set_title("Test: what comes later is foretold from more")
    return figure


def surprise(tokens: Sequence[Sequence[str]], nats: Sequence[np.ndarray], spaced: bool) -> str:
    """A page of documents, each unit shaded by the bits that it cost."""
    parts = []
    for names, row in zip(tokens, nats, strict=False):  # of the first documents alone
        spans = []
        for name, value in zip(names, row.tolist(), strict=False):
            bits = -value / np.log(2)
            colour = next(shade for limit, shade in SHADES if bits <= limit)
            shown = "\u21b5\n" if name == "\n" else html.escape(name) + " " * spaced
            spans.append(
                f'<span style="background:{colour}" title="{bits:.1f} bits">{shown}</span>'
            )
        parts.append(f"<pre>{''.join(spans)}</pre>")
    legend = " ".join(
        f'<span style="background:{colour}">&nbsp;'
        f"{'more' if limit == np.inf else f'to {limit} bits'}&nbsp;</span>"
        for limit, colour in SHADES
    )
    return (
        "<!doctype html><meta charset='utf-8'><title>Surprise</title>"
        "<style>pre{white-space:pre-wrap;border-bottom:1px solid #ddd;padding:.6em}"
        "body{font-family:sans-serif;max-width:60em;margin:auto}</style>"
        f"<h1>What the model did not expect</h1><p>{legend}</p>{''.join(parts)}"
    )
