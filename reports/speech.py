"""Recognised sounds as pictures: their spectrograms, with what was heard where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from reports.keyword import draw_frames

MOST_SHOWN = 6


def draw_speech(
    preprocessor: Any, responses: Mapping[str, Any], examples: Sequence[Any], directory: Path
) -> list[str]:
    """Writes ``alignments.png``: half of the sounds with errors, where there are such, half
    without."""
    directory.mkdir(parents=True, exist_ok=True)
    heard = [text.decode("utf-8") for text in responses["text"]]
    said = [preprocessor.said(one) for one in examples]
    wrong = [i for i in range(len(said)) if said[i] != heard[i]]
    right = [i for i in range(len(said)) if said[i] == heard[i]]
    half = MOST_SHOWN // 2
    shown = wrong[: max(half, MOST_SHOWN - len(right))] + right[:MOST_SHOWN]
    shown = shown[:MOST_SHOWN]
    figure = Figure(figsize=(11, 1.9 * max(1, len(shown))), layout="constrained")
    grid = figure.subplots(max(1, len(shown)), 1, squeeze=False).ravel()
    for axes, i in zip(grid, shown, strict=False):
        draw_frames(axes, preprocessor.features, examples[i].at(preprocessor.features.rate))
        title = said[i] if said[i] == heard[i] else f"said: {said[i]}    heard: {heard[i]}"
        axes.set_title(title, fontsize=9, loc="left")
        rows = zip(*(responses[n][i] for n in ("characters", "starts", "ends")), strict=True)
        for character, start, end in rows:
            place = (float(start) + float(end)) / 2
            axes.axvline(float(start), color="white", linewidth=0.4, alpha=0.6)
            text = character.decode("utf-8").replace(" ", "\u2423").replace("$", r"\$")
            axes.text(place, 0.88, text, transform=axes.get_xaxis_transform(), color="white",
                      ha="center", fontsize=9)  # fmt: skip
    figure.savefig(directory / "alignments.png", dpi=110)
    return ["alignments.png"]
