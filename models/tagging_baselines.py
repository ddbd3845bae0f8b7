"""The simple taggers that scores are compared with."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

Rows = Sequence[Sequence[str]]
# Steps of L-BFGS; with these penalties more of them change little.
ITERATIONS, L1, L2 = 60, 0.05, 0.01
_EDGE = "<none>"


def most_frequent_tags(train: tuple[Rows, Rows], tokens: Rows) -> list[list[str]]:
    """The most frequent tag of each word, of unknown words the most frequent of all.

    Args:
        train: (tokens, tags) of the training sentences.
        tokens: of the sentences to tag.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for words, tags in zip(*train, strict=True):
        pairs.update(zip(words, tags, strict=True))
    usual = Counter(tag for tags in train[1] for tag in tags).most_common(1)[0][0]
    best: dict[str, str] = {}
    for (word, tag), _ in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        best.setdefault(word, tag)
    return [[best.get(word, usual) for word in words] for words in tokens]


def linear_crf(
    train: tuple[Rows, Rows],
    parts: Sequence[Rows],
    normal: Callable[[str], str],
    forms: Callable[[str], list[str]],
) -> list[list[list[str]]]:
    """A linear-chain CRF over the words and forms of each token and of its neighbours.

    Fitted by CRFsuite (Okazaki 2007), with L-BFGS.

    Args:
        train: (tokens, tags) of the training sentences.
        parts: tokens of the sentences to tag.
        normal: a token to the word that is looked up.
        forms: a token to what it looks like.

    Returns:
        Tags of the sentences of each part.
    """
    import pycrfsuite

    def features(tokens: Sequence[str]) -> list[list[str]]:
        words = [normal(token) for token in tokens]
        found = [forms(token) for token in tokens]

        def at(values: Sequence, i: int, none):
            return values[i] if 0 <= i < len(values) else none

        return [
            [
                "bias",
                *(f"w{d}={at(words, i + d, _EDGE)}" for d in range(-2, 3)),
                *(f"p{d}={at(words, i + d, _EDGE)}|{at(words, i + d + 1, _EDGE)}" for d in (-1, 0)),
                *found[i],
                *(f"{d}{key}" for d in (-1, 1) for key in at(found, i + d, [])[:1]),
            ]
            for i in range(len(tokens))
        ]

    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params({"c1": L1, "c2": L2, "max_iterations": ITERATIONS})
    for tokens, tags in zip(*train, strict=True):
        trainer.append(features(tokens), list(tags))
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory, "crf"))
        trainer.train(path)
        tagger = pycrfsuite.Tagger()
        tagger.open(path)
        return [[tagger.tag(features(tokens)) for tokens in part] for part in parts]


def linear_intents(train: tuple[Rows, Sequence[str]], parts: Sequence[Rows]) -> list[list[str]]:
    """A logistic regression over words and pairs of words.

    Args:
        train: (tokens, intents) of the training sentences.
        parts: tokens of the sentences to answer.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = CountVectorizer(analyzer=_words_and_pairs, binary=True)
    model = make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000))
    if len(set(train[1])) < 2:  # which logistic regression refuses
        return [[train[1][0]] * len(part) for part in parts]
    model.fit(train[0], train[1])
    return [list(model.predict(part)) for part in parts]


def _words_and_pairs(tokens: Sequence[str]) -> list[str]:
    words = [token.lower() for token in tokens]
    return [*words, *map(" ".join, zip(words, words[1:], strict=False))]
