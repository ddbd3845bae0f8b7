"""How good tags are: by token, by span, and of words that training has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.tag_schemes import spans_of

Rows = Sequence[Sequence[str]]


def answered_tags(responses: Mapping[str, Any]) -> list[list[str]]:
    """The tags of ``serving_default``'s answers."""
    return [[tag.decode("utf-8") for tag in row] for row in responses["tags"]]


def tag_metrics(
    gold: Rows, guesses: Rows, tokens: Rows, has_spans: bool, known: Callable[[str], bool]
) -> dict[str, float]:
    """Scores of the tags of sentences.

    ``accuracy`` counts tokens. ``f1``, ``precision`` and ``recall`` are micro-averaged over spans
    whose kind and borders must be right, as conlleval and seqeval count them; of plain tags each
    token is such a span, so that they are the accuracy.

    Args:
        gold: right tags, spans in BIO.
        guesses: tags that were answered, as many.
        tokens: of the same sentences.
        has_spans: whether tags spell spans.
        known: whether training has seen a token.
    """
    right = total = unknown = unknown_right = 0
    for row in zip(tokens, gold, guesses, strict=True):
        for token, want, got in zip(*row, strict=True):
            right += want == got
            total += 1
            if not known(token):
                unknown += 1
                unknown_right += want == got
    accuracy = right / max(1, total)
    found = {"accuracy": accuracy, **dict.fromkeys(("f1", "precision", "recall"), accuracy)}
    if has_spans:
        precision, recall, f1 = span_f1(gold, guesses)
        found |= {"f1": f1, "precision": precision, "recall": recall}
    if unknown:
        found["unknown_accuracy"] = unknown_right / unknown
    return found


def span_f1(gold: Rows, guesses: Rows) -> tuple[float, float, float]:
    """Precision, recall and F1 of spans in BIO, over all sentences."""
    pairs = [(set(spans_of(a)), set(spans_of(b))) for a, b in zip(gold, guesses, strict=True)]
    right = sum(len(a & b) for a, b in pairs)
    guessed, wanted = sum(len(b) for _, b in pairs), sum(len(a) for a, _ in pairs)
    f1 = 2 * right / max(1, guessed + wanted)
    return right / max(1, guessed), right / max(1, wanted), f1
