"""What a sceptic would try first; every score stands beside one of these."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

WORDS = r"(?u)\b\w\w+\b"
Labelled = tuple[Sequence[str], Sequence[str]]


def bag_of_words(
    train: Labelled, validation: Labelled, test: Labelled | None = None
) -> dict[str, dict]:
    """TF-IDF and logistic regression, tuned: unigrams or with bigrams, C 1 or 10.

    The variant is chosen on validation and then fitted anew on train and validation together, which
    is more than the network gets to see.

    Args:
        train: (texts, labels).
        validation: (texts, labels).
        test: (texts, labels), read once, by the chosen variant; None where it is not wanted.

    Returns:
        ``{"name", "validation": {"accuracy"}, "test": {"accuracy", "majority_class"}}``.
    """
    candidates = [(ngrams, strength) for ngrams in (1, 2) for strength in (1.0, 10.0)]
    # scikit-learn's words have two letters or more; texts without any are cut at white space.
    pattern = WORDS if any(re.search(WORDS, text) for text in train[0]) else r"\S+"
    scores = {
        candidate: _variant(*candidate, pattern).fit(*train).score(*validation)
        for candidate in candidates
    }
    best = max(candidates, key=scores.__getitem__)
    grams = "unigrams" if best[0] == 1 else "unigrams and bigrams"
    result = {
        "name": f"TF-IDF of {grams} + logistic regression, C={best[1]:g}",
        "validation": {"accuracy": scores[best]},
    }
    if test is not None:
        texts, labels = [*train[0], *validation[0]], [*train[1], *validation[1]]
        majority = DummyClassifier(strategy="most_frequent").fit(texts, labels)
        result["test"] = {
            "accuracy": _variant(*best, pattern).fit(texts, labels).score(*test),
            "majority_class": majority.score(*test),
        }
    return result


def _variant(ngrams: int, strength: float, pattern: str) -> Pipeline:
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, ngrams), token_pattern=pattern),
        LogisticRegression(C=strength, max_iter=1000),
    )
