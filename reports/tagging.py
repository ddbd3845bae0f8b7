"""Tags as pictures: what is taken for what, transitions, scores by kind and by frequency, and spans
coloured over their text."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from decoding.crf import FORBIDDEN
from pipelines.tag_schemes import spans_of, split_tag
from pipelines.tagging import TaggingPreprocessor

BLUE, GREY = "#2c6fad", "#8a8f98"
MOST_TAGS, MOST_SENTENCES = 20, 30
# Of spans, by the order of their kinds; text on them stays readable.
COLOURS = ("#cfe3f5", "#fbe0b8", "#d3ecd0", "#f6d2d2", "#e2d6f0", "#d5efee", "#f3e3ef", "#e9e6c4")
RANKS = ((100, "100 most frequent"), (1000, "to 1,000"), (10**9, "rarer"))

Rows = Sequence[Sequence[str]]


def draw_tags(
    preprocessor: TaggingPreprocessor, tokens: Rows, gold: Rows, guesses: Rows, directory: Path
) -> list[str]:
    """Writes ``confusion.png``, ``transitions.png`` where there are any, ``scores_by_kind.png``,
    ``scores_by_frequency.png`` and, of spans, ``spans.html``."""
    directory.mkdir(parents=True, exist_ok=True)
    table, has_spans = preprocessor.tags, bool(preprocessor.tags.scheme)
    kinds = [[split_tag(tag)[1] or "O" for tag in row] if has_spans else row for row in gold]
    found = [[split_tag(tag)[1] or "O" for tag in row] if has_spans else row for row in guesses]
    figures = {
        "confusion.png": confusion(_flat(kinds), _flat(found)),
        "scores_by_kind.png": scores_by_kind(gold, guesses, has_spans),
        "scores_by_frequency.png": scores_by_frequency(
            tokens, gold, guesses, has_spans, preprocessor.features.rank
        ),
    }
    if preprocessor.scores is not None:
        counts = Counter(table.names[i] for row in gold for i in table.ids(row) if i >= 0)
        figures["transitions.png"] = transitions(preprocessor, counts)
    for name, figure in figures.items():
        figure.savefig(directory / name, dpi=110)
    if not has_spans:
        return list(figures)
    page = compared_spans(tokens, gold, guesses)
    (directory / "spans.html").write_text(page, encoding="utf-8")
    return [*figures, "spans.html"]


def _flat(rows: Rows) -> list[str]:
    return [one for row in rows for one in row]


def confusion(truth: Sequence[str], guesses: Sequence[str]) -> Figure:
    """How much of what each label is was taken for each: shares of a row, the commonest labels."""
    counts = Counter(zip(truth, guesses, strict=True))
    totals = Counter(truth) + Counter(guesses)
    names = [name for name, _ in totals.most_common(MOST_TAGS)]
    matrix = np.array([[counts[a, b] for b in names] for a in names], float)
    sizes = np.array([max(1, sum(n for (a, _), n in counts.items() if a == one)) for one in names])
    shares = matrix / sizes[:, None]
    side = 2.2 + 0.42 * len(names)
    figure = Figure((side + 0.6, side), layout="constrained")
    ax = figure.subplots()
    # Mistakes are rare: the root of a share shows them beside what is right.
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    _labels(ax, names, names, "answered", "true")
    for i, j in zip(*np.nonzero(shares >= 0.005), strict=True):
        dark = shares[i, j] > 0.4
        text = f"{100 * shares[i, j]:.0f}"
        ax.text(
            j, i, text, ha="center", va="center", fontsize=7, color="white" if dark else "black"
        )
    ax.set_title("per cent of each true label", fontsize=9, loc="left")
    return figure


def _plain(names: Sequence[str]) -> list[str]:
    """Names as they are: Matplotlib would set what stands between two dollars as a formula."""
    return [name.replace("$", r"\$") for name in names]


def _labels(ax: Any, rows: Sequence[str], columns: Sequence[str], below: str, beside: str) -> None:
    ax.set_xticks(range(len(columns)), _plain(columns), rotation=60, ha="right", fontsize=7)
    ax.set_yticks(range(len(rows)), _plain(rows), fontsize=7)
    ax.set(xlabel=below, ylabel=beside)


def transitions(preprocessor: TaggingPreprocessor, counts: Mapping[str, int]) -> Figure:
    """The CRF's scores from tag to tag; grey is what may not follow."""
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
    side = 2.4 + 0.34 * len(names)
    figure = Figure((side + 1.0, side), layout="constrained")
    ax = figure.subplots()
    ax.set_facecolor("#d9dbde")
    most = float(np.nanmax(np.abs(values))) or 1.0
    image = ax.imshow(values, cmap="RdBu", vmin=-most, vmax=most)
    _labels(ax, [*names, "begin"], [*names, "end"], "to", "from")
    figure.colorbar(image, ax=ax, shrink=0.7, label="score")
    return figure


def scores_by_kind(gold: Rows, guesses: Rows, has_spans: bool) -> Figure:
    """F1 of each kind of span, or of each tag, with how often it is there."""
    found = f1_by_kind(gold, guesses, has_spans)
    names = sorted(found, key=lambda name: -found[name][1])[:MOST_TAGS][::-1]
    figure = Figure((6.5, 1.2 + 0.28 * len(names)), layout="constrained")
    ax = figure.subplots()
    ax.barh(range(len(names)), [found[name][0] for name in names], color=BLUE, height=0.65)
    labels = [f"{name} ({found[name][1]:,})" for name in names]
    ax.set_yticks(range(len(names)), _plain(labels), fontsize=8)
    for i, name in enumerate(names):
        ax.text(found[name][0] + 0.01, i, f"{found[name][0]:.2f}", va="center", fontsize=8)
    ax.set(xlim=(0, 1.08), xlabel="F1")
    return figure


def f1_by_kind(gold: Rows, guesses: Rows, has_spans: bool) -> dict[str, tuple[float, int]]:
    """F1 and number of right spans of each kind of span in BIO, or of each tag."""
    right, wanted, guessed = Counter(), Counter(), Counter()
    for want, got in zip(gold, guesses, strict=True):
        a, b = (set(spans_of(row)) if has_spans else set(_tokens(row)) for row in (want, got))
        wanted.update(kind for kind, *_ in a)
        guessed.update(kind for kind, *_ in b)
        right.update(kind for kind, *_ in a & b)
    return {
        kind: (2 * right[kind] / (wanted[kind] + guessed[kind]), wanted[kind])
        for kind in wanted | guessed
    }


def _tokens(row: Sequence[str]) -> list[tuple[str, int, int]]:
    return [(tag, i, i + 1) for i, tag in enumerate(row)]


def scores_by_frequency(
    tokens: Rows, gold: Rows, guesses: Rows, has_spans: bool, rank: Callable[[str], int | None]
) -> Figure:
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
    scores = [2 * right[name] / (wanted[name] + guessed[name]) for name in names]
    figure = Figure((6.5, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.bar(range(len(names)), scores, color=[GREY if n == "unseen" else BLUE for n in names])
    ax.set_xticks(range(len(names)), [f"{name}\n{wanted[name]:,}" for name in names], fontsize=8)
    for i, score in enumerate(scores):
        ax.text(i, score + 0.01, f"{score:.2f}", ha="center", fontsize=8)
    what = "F1 of spans by their rarest word" if has_spans else "accuracy by the word"
    ax.set(ylim=(0, 1.1), ylabel=what, xlabel="words of training by frequency, and how many")
    return figure


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
