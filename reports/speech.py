"""Recognised sounds as pictures: their spectrograms, with what was heard where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.drawing import Style
from reports.keyword import spectrogram
from reports.plots import stacked

MOST_SHOWN = 6


def draw_speech(
    preprocessor: Any, responses: Mapping[str, Any], examples: Sequence[Any], directory: Path
) -> list[str]:
    """Writes ``alignments.svg``: half of the sounds with errors, where there are such, half
    without."""
    heard = [text.decode("utf-8") for text in responses["text"]]
    said = [preprocessor.said(one) for one in examples]
    wrong = [i for i in range(len(said)) if said[i] != heard[i]]
    right = [i for i in range(len(said)) if said[i] == heard[i]]
    half = MOST_SHOWN // 2
    shown = wrong[: max(half, MOST_SHOWN - len(right))] + right[:MOST_SHOWN]
    drawn = []
    for i in shown[:MOST_SHOWN]:
        title = said[i] if said[i] == heard[i] else f"said: {said[i]}    heard: {heard[i]}"
        samples = examples[i].at(preprocessor.features.rate)
        drawing, frame = spectrogram(preprocessor.features, samples, title, (720, 150))
        drawn.append(drawing)
        rows = zip(*(responses[n][i] for n in ("characters", "starts", "ends")), strict=True)
        for character, start, end in rows:
            x = frame.across(frame.x.position(float(start)))
            line = [(x, frame.top), (x, frame.top + frame.height)]
            drawing.line(line, Style("line", width=0.6, opacity=0.7))
            middle = frame.across(frame.x.position((float(start) + float(end)) / 2))
            text = character.decode("utf-8").replace(" ", "\u2423")
            drawing.text((middle, frame.top + 14), text, "foreground", anchor="middle", halo=True)
    stacked("alignments", drawn).save_svg(directory / "alignments.svg")
    return ["alignments.svg"]
