"""How well pieces are foretold, and how well by the last chord alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.music_baselines import ChordMarkov
from pipelines.piano_roll import LOWEST, NOTES, PianoRoll
from pipelines.splits import Splits

if TYPE_CHECKING:
    from reports.judged import Judged


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
    each = [[model.log_probabilities(piece) for piece in part] for part in (validation, test)]
    return {
        "name": "first-order Markov model of chords",
        "validation": nll_scores(each[0]),
        "test": nll_scores(each[1]),
        "answers": each[1],
    }


def judged_pieces(
    shown: Sequence[str],
    log_probabilities: Sequence[np.ndarray],
    others: Sequence[np.ndarray] | None = None,
) -> Judged:
    """Each piece with its nats.

    Args:
        shown: the pieces as a person reads them.
        log_probabilities: of the steps of each.
        others: those of the baseline, if known.
    """
    from reports.judged import Judged, JudgedExample

    def sums(row: np.ndarray) -> dict[str, Sequence[float]]:
        nats = -row.astype(np.float64)
        return {"nll": (nats[1:].sum(), len(nats) - 1), "nll_with_first": (nats.sum(), len(nats))}

    rows = [
        JudgedExample(
            text, "", "", sums(row), loss=max(0.0, -float(row.mean())), length=len(row),
            baseline={} if others is None else sums(others[i]),
        )
        for i, (text, row) in enumerate(zip(shown, log_probabilities, strict=True))
        if len(row)
    ]  # fmt: skip
    return Judged(rows, "steps", "pieces", graded=True)
