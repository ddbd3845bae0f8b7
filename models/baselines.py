"""The simple baselines that scores of text classification are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from models.label_metrics import label_scores

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
    "logistic regression, C=1": partial(LogisticRegression, C=1.0, max_iter=1000),
    "logistic regression, C=10": partial(LogisticRegression, C=10.0, max_iter=1000),
    "linear SVM, C=0.5": partial(LinearSVC, C=0.5),
}
# A classifier with a weight for each label and feature takes time and memory by labels times words;
# of so many labels a text is given that of the nearest mean instead.
MANY_LABELS = 300
MOST_LETTERS = 200_000  # read of one text: its n-grams of letters take two hundred times its memory
MEANS = "the nearest mean of a label"
BALANCED = ", classes balanced"


class LabelMeans:
    """Classifier by the mean of each label's rows, the nearest by its cosine (Rocchio 1971).

    Everything is sparse: the means have no more numbers than the rows that they are made of.
    """

    rows_at_a_time = 256

    def fit(self, rows: csr_matrix, labels: Sequence[str]) -> LabelMeans:
        """Learns from ``<float>[texts, features]`` and the label of each."""
        self.labels, numbers = np.unique(np.asarray(labels, object), return_inverse=True)
        which = csr_matrix((np.ones(len(numbers)), (numbers, np.arange(len(numbers)))))
        self.means = normalize(which @ rows).T.tocsr()
        return self

    def predict(self, rows: csr_matrix) -> np.ndarray:
        """The label of each row, ``<object>[texts]``."""
        step = self.rows_at_a_time
        found = [
            np.asarray((rows[i : i + step] @ self.means).argmax(1)).ravel()
            for i in range(0, rows.shape[0], step)
        ]
        return self.labels[np.concatenate(found)]


class _Variant(NamedTuple):
    scores: dict[str, float]  # on validation
    features: str
    classifier: str


def linear_text_baseline(
    train: Labelled,
    validation: Labelled,
    test: Labelled | None = None,
    metric: str = "accuracy",
    refit: bool = True,
) -> dict[str, dict]:
    """TF-IDF of words or characters and a linear classifier, all chosen on validation.

    The best of ``FEATURES`` times ``CLASSIFIERS`` is then fitted again on train and validation
    together, which is more than the network gets to see. By any metric but the accuracy,
    classifiers whose classes weigh alike, however rare they are, are among the choices. Of more
    than ``MANY_LABELS`` labels ``LabelMeans`` is the only classifier.

    Args:
        train: (texts, labels).
        validation: (texts, labels).
        test: (texts, labels), read once, by the chosen variant; None where it is not wanted.
        metric: that of ``label_scores`` by which is chosen.
        refit: False leaves the choice fitted on train alone, for comparisons by its size.

    Returns:
        ``{"name", "validation": {"accuracy", "macro_f1"}, "test": {"accuracy", "macro_f1",
        "majority_class"}}``, and of test its labels as ``"answers"``.
    """
    train, validation, test = (
        part and ([text[:MOST_LETTERS] for text in part[0]], part[1])
        for part in (train, validation, test)
    )
    many = len(set(train[1])) > MANY_LABELS
    makers = {MEANS: LabelMeans} if many else classifiers(CLASSIFIERS, metric)
    variants = [found for name in FEATURES for found in _variants(name, makers, train, validation)]
    # Ties go to the first, which is the simplest.
    best = max(variants, key=lambda variant: variant.scores[metric])
    result = {
        "name": f"TF-IDF of {best.features} + {best.classifier}",
        "validation": best.scores,
    }
    if test is not None:
        more = validation if refit else ((), ())
        texts, labels = [*train[0], *more[0]], [*train[1], *more[1]]
        vectorizer = _vectorizer(best.features, texts)
        classifier = makers[best.classifier]().fit(vectorizer.transform(texts), labels)
        majority = DummyClassifier(strategy="most_frequent").fit(texts, labels)
        answers = list(map(str, classifier.predict(vectorizer.transform(test[0]))))
        result["test"] = {
            **label_scores(test[1], answers),
            "majority_class": float(majority.score(*test)),
        }
        result["answers"] = answers
    return result


def classifiers(makers: dict[str, Any], metric: str) -> dict[str, Any]:
    """The classifiers that compete by a metric, by their names: but for the accuracy, which unequal
    classes are no reason to give away, each with its classes balanced too."""
    if metric == "accuracy":
        return makers
    balanced = {
        f"{name}{BALANCED}": partial(make, class_weight="balanced") for name, make in makers.items()
    }
    return {**makers, **balanced}


def _variants(
    features: str, makers: dict[str, Any], train: Labelled, validation: Labelled
) -> list[_Variant]:
    """One for each classifier over these features; the texts are counted once for all of them."""
    vectorizer = _vectorizer(features, train[0])
    seen, unseen = vectorizer.transform(train[0]), vectorizer.transform(validation[0])
    found = {name: make().fit(seen, train[1]).predict(unseen) for name, make in makers.items()}
    return [
        _Variant(label_scores(validation[1], guesses), features, name)
        for name, guesses in found.items()
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
