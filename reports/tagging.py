"""Tags as pictures: transitions, scores by kind and by frequency, spans over their text."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from decoding.crf import FORBIDDEN
from pipelines.tag_schemes import spans_of
from pipelines.tagging import TaggingPreprocessor
from reports.drawing import Drawing
from reports.plots import bars, matrix

MOST_TAGS, MOST_SENTENCES = 20, 30
# Of spans, by the order of their kinds; text on them stays readable.
COLOURS = ("#cfe3f5", "#fbe0b8", "#d3ecd0", "#f6d2d2", "#e2d6f0", "#d5efee", "#f3e3ef", "#e9e6c4")
RANKS = ((100, "100 most frequent"), (1000, "to 1,000"), (10**9, "rarer"))

Rows = Sequence[Sequence[str]]


def draw_tags(
    preprocessor: TaggingPreprocessor, tokens: Rows, gold: Rows, guesses: Rows, directory: Path
) -> list[str]:
    """Writes ``scores_by_frequency.svg``, ``transitions.svg`` where there are any and, of spans,
    ``spans.html``."""
    directory.mkdir(parents=True, exist_ok=True)
    table, has_spans = preprocessor.tags, bool(preprocessor.tags.scheme)
    rank = preprocessor.features.rank
    drawings = {
        "scores_by_frequency.svg": scores_by_frequency(tokens, gold, guesses, has_spans, rank)
    }
    if preprocessor.scores is not None:
        counts = Counter(table.names[i] for row in gold for i in table.ids(row) if i >= 0)
        drawings["transitions.svg"] = transitions(preprocessor, counts)
    for name, drawing in drawings.items():
        drawing.save_svg(directory / name)
    if not has_spans:
        return list(drawings)
    page = compared_spans(tokens, gold, guesses)
    (directory / "spans.html").write_text(page, encoding="utf-8")
    return [*drawings, "spans.html"]


def transitions(preprocessor: TaggingPreprocessor, counts: Mapping[str, int]) -> Drawing:
    """The CRF's scores from tag to tag: blue follows often, orange seldom, grey may not follow."""
    table, scores = preprocessor.tags, preprocessor.scores
    order = sorted(range(len(table.names)), key=lambda i: (-counts.get(table.names[i], 0), i))
    kept = sorted(order[:MOST_TAGS])
    names = [table.names[i] for i in kept]
    ends = np.full((1, 1), np.nan)
    values = np.block([
        [scores.transitions[np.ix_(kept, kept)], scores.end[kept][:, None]],
        [scores.start[kept][None], ends],
    ]).astype(float)  # fmt: skip
    values[values <= FORBIDDEN / 2] = np.nan
    most = float(np.nanmax(np.abs(values))) or 1.0
    rows, columns = [*names, "begin"], [*names, "end"]
    tips = [
        [f"{a} to {b}: {'forbidden' if np.isnan(x) else f'{x:.2f}'}"
         for b, x in zip(columns, row, strict=True)]
        for a, row in zip(rows, values, strict=True)
    ]  # fmt: skip
    about = ("from", f"to; the deepest colour is a score of {most:.2g}")
    return matrix("transitions", rows, columns, values / most, tips=tips, names=about, cell=20)


def scores_by_kind(gold: Rows, guesses: Rows, has_spans: bool) -> Drawing:
    """F1 of each kind of span, or of each tag, with how often it is there."""
    found = f1_by_kind(gold, guesses, has_spans)
    names = sorted(found, key=lambda name: -found[name][1])[:MOST_TAGS]
    words = {name: f"{found[name][0]:.2f} ({found[name][1]:,})" for name in names}
    values = {name: found[name][0] for name in names}
    return bars("F1 by kind", values, top=1.0, words=words, axis="F1 (how many there are)")


def f1_by_kind(gold: Rows, guesses: Rows, has_spans: bool) -> dict[str, tuple[float, int]]:
    """F1 and number of right spans of each kind of span in BIO, or of each tag."""
    return {
        kind: (2 * right / (got + wanted), wanted)
        for kind, (right, got, wanted) in counts_by_kind(gold, guesses, has_spans).items()
    }


def counts_by_kind(gold: Rows, guesses: Rows, has_spans: bool) -> dict[str, tuple[int, int, int]]:
    """By kind of span in BIO, or by tag: how many are right, answered, wanted; the commonest
    first."""
    right, wanted, guessed = Counter(), Counter(), Counter()
    for want, got in zip(gold, guesses, strict=True):
        a, b = (set(spans_of(row)) if has_spans else set(_tokens(row)) for row in (want, got))
        wanted.update(kind for kind, *_ in a)
        guessed.update(kind for kind, *_ in b)
        right.update(kind for kind, *_ in a & b)
    kinds = sorted(wanted | guessed, key=lambda kind: (-wanted[kind], kind))
    return {kind: (right[kind], guessed[kind], wanted[kind]) for kind in kinds}


def _tokens(row: Sequence[str]) -> list[tuple[str, int, int]]:
    return [(tag, i, i + 1) for i, tag in enumerate(row)]


def scores_by_frequency(
    tokens: Rows, gold: Rows, guesses: Rows, has_spans: bool, rank: Callable[[str], int | None]
) -> Drawing:
    """F1 of spans, or accuracy of tags, by how frequent the rarest word in it is in training.

    Args:
        tokens: of each sentence.
        gold: right tags.
        guesses: answered ones.
        has_spans: whether tags spell spans.
        rank: place of a word among those of training by frequency; None for an unseen one.
    """
    right, wanted, guessed = Counter(), Counter(), Counter()

    def group(words: Sequence[str]) -> str:
        ranks = [rank(word) for word in words]
        if None in ranks:
            return "unseen"
        return next(name for limit, name in RANKS if max(ranks) < limit)

    for words, want, got in zip(tokens, gold, guesses, strict=True):
        a, b = (set(spans_of(row)) if has_spans else set(_tokens(row)) for row in (want, got))
        for counter, spans in ((wanted, a), (guessed, b), (right, a & b)):
            counter.update(group(words[first:last]) for _, first, last in spans)
    names = [name for name in (*(name for _, name in RANKS), "unseen") if wanted[name]]
    scores = {name: 2 * right[name] / (wanted[name] + guessed[name]) for name in names}
    told = {name: f"{scores[name]:.2f} ({wanted[name]:,})" for name in names}
    what = "F1 of spans by their rarest word" if has_spans else "accuracy by the word"
    axis = f"{what} in training (how many there are)"
    return bars("scores by frequency", scores, top=1.0, words=told, axis=axis)


def spans_html(
    text: str, spans: Sequence[Mapping[str, Any]], colours: Mapping[str, str] | None = None
) -> str:
    """A text with its spans coloured: for notebooks (``IPython.display.HTML``) and reports.

    Args:
        text: as it is; it is escaped here.
        spans: each with ``label``, ``start`` and ``end``, in code points; none over another.
        colours: of labels; by their order if None.
    """
    labels = sorted({span["label"] for span in spans})
    colours = colours or span_colours(labels)
    parts, at = [], 0
    for span in sorted(spans, key=lambda one: one["start"]):
        parts.append(html.escape(text[at : span["start"]]))
        colour, label = colours.get(span["label"], COLOURS[0]), html.escape(span["label"])
        parts.append(
            f'<mark style="background:{colour};color:#1b1f24;border-radius:3px;padding:1px 3px">'
            f'{html.escape(text[span["start"] : span["end"]])} <small style="color:#555">{label}'
            "</small></mark>"
        )
        at = span["end"]
    parts.append(html.escape(text[at:]))
    return f'<div style="line-height:1.9;overflow-wrap:anywhere">{"".join(parts)}</div>'


def span_colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label; they come again where there are many."""
    return {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(sorted(labels))}


def compared_spans(tokens: Rows, gold: Rows, guesses: Rows) -> str:
    """Sentences with their true spans and the answered ones, the worst first, as HTML."""
    labels = {kind for rows in (gold, guesses) for row in rows for kind, *_ in spans_of(row)}
    colours = span_colours(sorted(labels))
    wrong = [
        len(set(spans_of(want)) ^ set(spans_of(got)))
        for want, got in zip(gold, guesses, strict=True)
    ]
    order = sorted(range(len(tokens)), key=lambda i: (-wrong[i], i))
    shown = [i for i in order if wrong[i]][: MOST_SENTENCES // 2]
    right = [i for i in order if not wrong[i] and spans_of(gold[i])]
    shown += right[: MOST_SENTENCES - len(shown)]
    parts = []
    for i in shown:
        parts.append('<div style="margin:0 0 14px">')
        rows = (
            [("true", gold[i])] if not wrong[i] else [("true", gold[i]), ("answered", guesses[i])]
        )
        for name, tags in rows:
            title = "both" if not wrong[i] else name
            shown_spans = spans_html(*_as_text(tokens[i], tags), colours)
            parts.append(f'<small style="color:#777">{title}</small>{shown_spans}')
        parts.append("</div>")
    head = f"{sum(map(bool, wrong)):,} of {len(wrong):,} sentences have a wrong span"
    return f"<div><p>{head}; below are some, the worst first.</p>{''.join(parts)}</div>"


def _as_text(tokens: Sequence[str], tags: Sequence[str]) -> tuple[str, list[dict[str, Any]]]:
    single = all(len(token) == 1 for token in tokens)
    between = "" if single and len(tokens) > 1 else " "
    starts, at = [], 0
    for token in tokens:
        starts.append(at)
        at += len(token) + len(between)
    spans = [
        {"label": kind, "start": starts[a], "end": starts[b - 1] + len(tokens[b - 1])}
        for kind, a, b in spans_of(tags)
    ]
    return between.join(tokens), spans
