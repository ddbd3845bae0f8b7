"""How well text is foretold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.kneser_ney import KneserNey
from pipelines.language import LanguagePreprocessor
from pipelines.splits import Splits
from pipelines.units import PAD, START, UNKNOWN

if TYPE_CHECKING:
    from reports.judged import Judged

STRETCH = 100  # units that are judged together
# Longest n-grams of the baseline.
ORDERS = {"word": 5, "token": 5, "subword": 5, "char": 8, "byte": 8}


def scores(
    preprocessor: LanguagePreprocessor, nats: float, documents: Sequence[str]
) -> dict[str, float]:
    """``perplexity`` of units, ends counted; ``bits_per_char`` of the text's characters, ends
    counted; ``unknown_share`` of the units, which count as the unknown one.

    Args:
        preprocessor: of the model.
        nats: negative log-likelihood of all documents.
        documents: all of them.
    """
    rows = [preprocessor.numbers(text) for text in documents]
    units = sum(len(row) - 1 for row in rows)
    unknown = sum(int(np.sum(row == UNKNOWN)) for row in rows)
    characters = sum(map(len, documents)) + len(documents) * preprocessor.ends
    return {
        "perplexity": float(np.exp(nats / max(1, units))),
        "bits_per_char": float(nats / np.log(2) / max(1, characters)),
        "unknown_share": unknown / max(1, units),
    }


def ngram_scores(preprocessor: LanguagePreprocessor, splits: Splits[str]) -> dict[str, Any]:
    """Those of n-grams over the same units."""
    order = ORDERS[preprocessor.units.level]
    size = len(preprocessor.units)
    model = KneserNey(
        map(preprocessor.numbers, splits.train), size, order, foretold=size - len((PAD, START))
    )

    def judged(documents: Sequence[str], each: Sequence[np.ndarray]) -> dict[str, float]:
        return scores(preprocessor, -float(sum(one.sum() for one in each)), documents)

    validation, test = (
        [model.log_probabilities(preprocessor.numbers(text)) for text in part]
        for part in (splits.validation, splits.test)
    )
    return {
        "name": f"{order}-grams, modified Kneser-Ney",
        "validation": judged(splits.validation, validation),
        "test": judged(splits.test, test),
        "answers": test,
    }


def judged_stretches(
    tokens: Sequence[Sequence[str]],
    log_probabilities: Sequence[np.ndarray],
    spaced: bool,
    others: Sequence[np.ndarray] | None = None,
) -> Judged:
    """Documents in stretches of ``STRETCH`` units: neighbours in one stretch are not independent.

    Args:
        tokens: units of each document.
        log_probabilities: of them, in nats.
        spaced: whether units are words.
        others: those of the baseline, if known.
    """
    from reports.judged import Judged, JudgedExample

    def sums(nats: np.ndarray) -> dict[str, Sequence[float]]:
        return {"perplexity": (-float(nats.sum(dtype="float64")), len(nats))}

    rows = []
    for i, (units, nats) in enumerate(zip(tokens, log_probabilities, strict=True)):
        for first in range(0, len(nats), STRETCH):
            part = slice(first, first + STRETCH)
            text = (" " if spaced else "").join(units[part])
            whole = len(nats[part]) > STRETCH // 4  # the last unit of a document tells little
            rows.append(JudgedExample(
                text, "", "", sums(nats[part]),
                loss=max(0.0, -float(nats[part].mean())) if whole else 0.0,
                length=first, baseline={} if others is None else sums(others[i][part]),
            ))  # fmt: skip
    return Judged(rows, "units before", "stretches", {"perplexity": "exp"}, graded=True)
