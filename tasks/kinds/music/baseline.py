"""How well pieces are foretold, and how well by the last chord alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.music_baselines import ChordMarkov
from pipelines.piano_roll import LOWEST, NOTES, PianoRoll
from pipelines.splits import Splits


def nll_scores(log_probabilities: Sequence[np.ndarray]) -> dict[str, float]:
    """``nll``, nats a step without the first step of each piece, and ``nll_with_first``.

    Args:
        log_probabilities: of the steps of each piece.
    """
    sums = np.array([(row.sum(dtype=np.float64), row[1:].sum(dtype=np.float64))
                     for row in log_probabilities]).reshape(-1, 2).sum(0)  # fmt: skip
    steps = sum(map(len, log_probabilities))
    later = sum(max(0, len(row) - 1) for row in log_probabilities)
    return {
        "nll": float(-sums[1] / max(1, later)),
        "nll_with_first": float(-sums[0] / max(1, steps)),
    }


def markov_scores(splits: Splits[PianoRoll]) -> dict[str, Any]:
    """Those of a first-order Markov model of chords."""

    def chords(part: Sequence[PianoRoll]) -> list[list[tuple[int, ...]]]:
        return [[tuple(n - LOWEST for n in step) for step in piece.steps] for piece in part]

    validation, test = chords(splits.validation), chords(splits.test)
    model = ChordMarkov(NOTES).fit(chords(splits.train)).choose(validation)
    scored = {
        name: nll_scores([model.log_probabilities(piece) for piece in part])
        for name, part in (("validation", validation), ("test", test))
    }
    return {"name": "first-order Markov model of chords", **scored}
