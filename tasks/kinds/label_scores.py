"""Scores of kinds that answer one label."""

from __future__ import annotations

from collections.abc import Sequence


def label_scores(truth: Sequence[str], guesses: Sequence[str]) -> dict[str, float]:
    """``accuracy`` and ``macro_f1``, the mean F1 of the labels, of guesses against the truth."""
    from sklearn.metrics import accuracy_score, f1_score

    return {
        "accuracy": float(accuracy_score(truth, guesses)),
        "macro_f1": float(f1_score(truth, guesses, average="macro")),
    }
