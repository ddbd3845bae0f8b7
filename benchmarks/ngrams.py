"""What the values of n-grams are worth: a linear model over words, pairs and triples of them.

    python benchmarks/ngrams.py --data ../shared/data/mr ../shared/data/sst

The linear path of the text classifier has ``feature_values``: the root of the naive-Bayes log-count
ratio times the rarity. Beside it the ratio itself (Wang & Manning 2012) and rarity alone (TF-IDF).
Each with logistic regression at three strengths, of which validation chooses; test is printed for
the record.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from measuring import report
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

import tasks
from models.wide_tables import feature_values, log_count_ratio
from pipelines.text import TextEncoder
from tasks.kinds.contract import DataOptions

ENCODER = TextEncoder()
STRENGTHS = (3.0, 10.0, 30.0)


def main() -> None:
    """Counts, fits and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", default=["synthetic"])
    parser.add_argument("--data-seeds", type=int, default=2)
    options = parser.parse_args()
    rows = [
        row
        for source in options.data
        for seed in range(options.data_seeds)
        for row in judged(source, seed)
    ]
    report("ngrams", rows)


def judged(source: str, seed: int) -> list[dict]:
    """A row for each kind of value on one split of a data set of two classes."""
    splits = tasks.get("sentiment").load(DataOptions(source, seed))
    parts = (splits.train, splits.validation, splits.test)
    vectorizer = CountVectorizer(analyzer=ngrams, binary=True, min_df=2)
    counts = [vectorizer.fit_transform([e.text for e in parts[0]])]
    counts += [vectorizer.transform([e.text for e in part]) for part in parts[1:]]
    names = sorted({example.label for example in splits.train})
    labels = [np.array([names.index(example.label) for example in part]) for part in parts]
    present = [row.indices + 1 for row in counts[0]]  # ids from 1
    size = counts[0].shape[1] + 1
    texts = np.bincount(np.concatenate(present), minlength=size)[1:]
    values = {
        "ratio": log_count_ratio(present, labels[0], size, len(names))[1:, -1],
        "rarity": np.log((1 + len(present)) / (1 + texts)) + 1,
        "root of ratio times rarity": feature_values(present, labels[0], size, len(names))[1:, -1],
    }
    return [
        {"data": Path(source).name, "split": seed, "values": name, **best(counts, labels, mine)}
        for name, mine in values.items()
    ]


def ngrams(text: str) -> list[str]:
    """Words, pairs and triples, as the classifier cuts words."""
    words = ENCODER.tokenise(text)
    return [" ".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)]


def best(counts: list, labels: list, values: np.ndarray) -> dict[str, float]:
    """Accuracies at the strength that is best on validation."""
    train, validation, test = (normalize(x @ sp.diags(values.astype(float))) for x in counts)
    found = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000).fit(train, labels[0])
        scores = model.score(validation, labels[1]), model.score(test, labels[2])
        found.append((*scores, strength))
    scores = max(found, key=lambda one: one[0])
    return dict(zip(("validation", "test", "C"), scores, strict=True))


if __name__ == "__main__":
    main()
