"""Translation word by word."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from models.translation_baselines import AlignmentTable, TrigramModel, word_by_word
from pipelines.pairs import TextPair
from pipelines.splits import Splits
from pipelines.text import TextEncoder

_WORDS = TextEncoder(lowercase=False, strip_markup=False)
# Time and memory grow with the product of the lengths of both sides.
MOST_PAIRS, MOST_WORDS = 200_000, 80
_NO_SPACE_BEFORE = re.compile(r" ([.,;:!?)\]%])")
_NO_SPACE_BEHIND = re.compile(r"([(\[]) ")


def translation_baseline(
    splits: Splits[TextPair],
    score: Callable[[Sequence[str], Sequence[TextPair]], dict[str, float]],
) -> dict[str, Any]:
    """Scores of an alignment table with a trigram model, fitted on train.

    Args:
        splits: examples.
        score: texts and their examples to metrics.
    """
    pairs = [(_words(one.source), _words(one.target)) for one in splits.train[:MOST_PAIRS]]
    pairs = [pair for pair in pairs if max(map(len, pair)) <= MOST_WORDS]
    table = AlignmentTable(pairs)
    model = TrigramModel([target for _, target in pairs])

    def texts(examples: Sequence[TextPair]) -> list[str]:
        return [joined(word_by_word(table, model, _words(one.source))) for one in examples]

    answers = texts(splits.test)
    return {
        "name": "word by word: IBM model 1 and a trigram model",
        "validation": score(texts(splits.validation), splits.validation),
        "test": score(answers, splits.test),
        "answers": answers,
    }


def _words(text: str) -> list[str]:
    return _WORDS.tokenise(text)


def joined(words: Sequence[str]) -> str:
    """Words as text, marks beside the words that they belong to."""
    return _NO_SPACE_BEHIND.sub(r"\1", _NO_SPACE_BEFORE.sub(r"\1", " ".join(words)))
