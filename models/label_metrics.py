"""Scores of answers that are one label each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def label_scores(truth: Sequence[Any], guesses: Sequence[Any]) -> dict[str, float]:
    """``accuracy``, and ``macro_f1``: the mean F1 of the labels that are true or guessed somewhere,
    each counting as much as any other.

    Args:
        truth: labels, or their numbers.
        guesses: what was answered, as many.
    """
    from sklearn.metrics import accuracy_score, f1_score

    return {
        "accuracy": float(accuracy_score(truth, guesses)),
        "macro_f1": float(f1_score(truth, guesses, average="macro")),
    }
