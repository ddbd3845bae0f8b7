"""Answers as lines that people read, and beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.tag_schemes import spans_of, split_tag

if TYPE_CHECKING:
    from pipelines.tagged import TaggedExample
    from reports.judged import Judged

Rows = Sequence[Sequence[str]]


def marked_line(answer: Mapping[str, Any]) -> str:
    """Tokens with their tags, or the text with its spans in brackets.

    >>> marked_line({"tokens": ["It", "rains"], "tags": ["PRON", "VERB"]})
    'It/PRON rains/VERB'
    """
    tokens = [" ".join(token.split()) or token for token in answer["tokens"]]
    if not tokens:
        return "(no token)"
    if "spans" not in answer:
        return " ".join(f"{token}/{tag}" for token, tag in zip(tokens, answer["tags"], strict=True))
    line, closing = "", {span["end"]: span["label"] for span in answer["spans"]}
    opening = {span["start"] for span in answer["spans"]}
    last = answer["starts"][0]
    for token, start, end in zip(tokens, answer["starts"], answer["ends"], strict=True):
        line += " " * (start > last) + "[" * (start in opening) + token
        if end in closing:
            line += f" {closing[end]}]"
        last = end
    return line


def bracketed(tokens: Sequence[str], tags: Sequence[str], has_spans: bool) -> str:
    """Tokens with their tags, or with their spans in BIO in brackets.

    >>> bracketed(["Ann", "met", "Bob"], ["B-PER", "O", "B-PER"], True)
    '[Ann PER] met [Bob PER]'
    """
    if not has_spans:
        return " ".join(f"{token}/{tag}" for token, tag in zip(tokens, tags, strict=True))
    spans = spans_of(tags)
    opening, closing = {a for _, a, _ in spans}, {b - 1: kind for kind, _, b in spans}
    single = len(tokens) > 1 and all(len(token) == 1 for token in tokens)  # such as Chinese
    line = []
    for i, token in enumerate(tokens):
        end = f" {closing[i]}]" if i in closing else ""
        line.append(f"{'[' if i in opening else ''}{token}{end}")
    return ("" if single else " ").join(line)


def tag_sums(
    gold: Sequence[str], found: Sequence[str], has_spans: bool
) -> dict[str, tuple[float, float]]:
    """What ``f1``, ``accuracy`` and, of spans, ``precision`` and ``recall`` are made of."""
    right = sum(a == b for a, b in zip(gold, found, strict=True))
    accuracy = (right, len(gold))
    if not has_spans:
        return dict.fromkeys(("f1", "accuracy", "precision", "recall"), accuracy)
    wanted, got = set(spans_of(gold)), set(spans_of(found))
    both = len(wanted & got)
    return {
        "f1": (2 * both, len(wanted) + len(got)), "accuracy": accuracy,
        "precision": (both, len(got)), "recall": (both, len(wanted)),
    }  # fmt: skip


def judged_sentences(
    examples: Sequence[TaggedExample],
    answers: Rows,
    has_spans: bool,
    probabilities: Sequence[Sequence[float]],
    others: Rows | None = None,
) -> Judged:
    """Each sentence with its tags beside the right ones.

    Args:
        examples: of test.
        answers: tags of the model.
        has_spans: whether tags spell spans, in BIO.
        probabilities: of the answered tags.
        others: tags of the baseline, if known.
    """
    from reports.judged import Judged, JudgedExample, calibration_bins, paired
    from reports.tagging import counts_by_kind

    rows, truth, found = [], [], []
    for i, (one, tags) in enumerate(zip(examples, answers, strict=True)):
        sums = tag_sums(one.tags, tags, has_spans)
        done, whole = sums["f1"] if has_spans else sums["accuracy"]
        rows.append(JudgedExample(
            one.text or " ".join(one.tokens),
            bracketed(one.tokens, one.tags, has_spans),
            bracketed(one.tokens, tags, has_spans),
            sums, loss=whole - done, length=len(one.tokens),
            baseline={} if others is None else tag_sums(one.tags, others[i], has_spans),
        ))  # fmt: skip
        truth += one.tags
        found += tags
    right = [a == b for a, b in zip(truth, found, strict=True)]
    kinds = [[split_tag(tag)[1] or "O" for tag in row] for row in (truth, found)]
    return Judged(
        rows, "tokens",
        labels=paired(*kinds),
        classes=counts_by_kind([one.tags for one in examples], answers, has_spans),
        calibration=calibration_bins([p for row in probabilities for p in row], right),
        text=True,
    )  # fmt: skip
