"""The simple baselines that scores of text classification are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

Labelled = tuple[Sequence[str], Sequence[str]]

# Words serve scripts with spaces. Where a script has none (Chinese, Japanese, Thai, Khmer), what a
# word pattern finds is a clause that hardly ever comes again, and n-grams of characters serve.
FEATURES: dict[str, dict[str, Any]] = {
    "unigrams": {},
    "unigrams and bigrams": {"ngram_range": (1, 2)},
    "characters and their n-grams up to 3": {
        "analyzer": "char", "ngram_range": (1, 3), "min_df": 2, "sublinear_tf": True,
    },
}  # fmt: skip
CLASSIFIERS: dict[str, Any] = {
    "logistic regression, C=1": lambda: LogisticRegression(C=1.0, max_iter=1000),
    "logistic regression, C=10": lambda: LogisticRegression(C=10.0, max_iter=1000),
    "linear SVM, C=0.5": lambda: LinearSVC(C=0.5),
}


class _Variant(NamedTuple):
    accuracy: float  # on validation
    features: str
    classifier: str


def linear_text_baseline(
    train: Labelled, validation: Labelled, test: Labelled | None = None
) -> dict[str, dict]:
    """TF-IDF of words or characters and a linear classifier, all chosen on validation.

    The best of ``FEATURES`` times ``CLASSIFIERS`` is then fitted again on train and validation
    together, which is more than the network gets to see.

    Args:
        train: (texts, labels).
        validation: (texts, labels).
        test: (texts, labels), read once, by the chosen variant; None where it is not wanted.

    Returns:
        ``{"name", "validation": {"accuracy"}, "test": {"accuracy", "majority_class"}}``.
    """
    variants = [found for name in FEATURES for found in _variants(name, train, validation)]
    # Ties go to the first, which is the simplest.
    best = max(variants, key=lambda variant: variant.accuracy)
    result = {
        "name": f"TF-IDF of {best.features} + {best.classifier}",
        "validation": {"accuracy": best.accuracy},
    }
    if test is not None:
        texts, labels = [*train[0], *validation[0]], [*train[1], *validation[1]]
        vectorizer = _vectorizer(best.features, texts)
        classifier = CLASSIFIERS[best.classifier]().fit(vectorizer.transform(texts), labels)
        majority = DummyClassifier(strategy="most_frequent").fit(texts, labels)
        result["test"] = {
            "accuracy": float(classifier.score(vectorizer.transform(test[0]), test[1])),
            "majority_class": float(majority.score(*test)),
        }
    return result


def _variants(features: str, train: Labelled, validation: Labelled) -> list[_Variant]:
    """One for each classifier over these features; the texts are counted once for all of them."""
    vectorizer = _vectorizer(features, train[0])
    seen, unseen = vectorizer.transform(train[0]), vectorizer.transform(validation[0])
    return [
        _Variant(float(make().fit(seen, train[1]).score(unseen, validation[1])), features, name)
        for name, make in CLASSIFIERS.items()
    ]


def _vectorizer(features: str, texts: Sequence[str]) -> TfidfVectorizer:
    """The vectorizer fitted on ``texts``.

    scikit-learn's words have two letters or more, and n-grams of ``FEATURES`` may be asked to occur
    twice: texts without any such feature are counted by the single character.
    """
    try:
        return TfidfVectorizer(**FEATURES[features]).fit(texts)
    except ValueError:  # an empty vocabulary
        return TfidfVectorizer(analyzer="char").fit([*texts, " "])
