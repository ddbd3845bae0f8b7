"""Sections of a run's page about its answers: mistakes, classes, calibration, scores by length."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from models.metric import Metric
from reports.axes import Frame, Scale, score_text
from reports.drawing import Drawing, Style
from reports.intervals import compared
from reports.judged import Judged, JudgedExample, groups
from reports.page import Html, NumberText, escape, folded, paragraph, svg_figure, table
from reports.plots import NARROW, bars, matrix

MOST_MISTAKES, SHOWN_AT_ONCE, MOST_SHOWN_LABELS = 24, 8, 20
MIN_SHARE = 0.01  # of all answers, for a bin that the line of the calibration goes through
_WORDS = re.compile(r"\s+|[^\W\d_]+|\d+|.", re.DOTALL)
_DIFFERENT = 0.3  # of texts with less in common, everything would be marked


# ---- mistakes


def mistakes(judged: Judged) -> list[str]:
    """The worst answers beside the truth, as far as their words were kept."""
    worst = sorted((one for one in judged.examples if one.loss > 0), key=lambda one: -one.loss)
    # Neighbours in a series share most of their rows: one of each block shows more.
    apart = {("block", one.block) if one.block is not None else i: one
             for i, one in reversed(list(enumerate(worst))) if one.input or one.answer}  # fmt: skip
    shown = sorted(apart.values(), key=lambda one: -one.loss)[:MOST_MISTAKES]
    if not shown:
        return []
    judged_ones = f"{len(judged.examples):,} {judged.things}"
    if not judged.graded:
        head = f"{len(worst):,} of {judged_ones} were answered wrongly"
        order = "most certain" if shown[0].confidence is not None and not judged.text else "worst"
        text = f"{head}; the {order} first."
    else:
        text = f"Of {judged_ones} those that were answered worst"
        text += ", one of each stretch of time." if shown[0].block is not None else "."
    cards = [_card(one, judged) for one in shown]
    first, rest = "".join(cards[:SHOWN_AT_ONCE]), "".join(cards[SHOWN_AT_ONCE:])
    parts = [paragraph(text), f'<div class="cards">{first}</div>\n']
    if rest:
        count = len(cards) - SHOWN_AT_ONCE
        parts.append(f'<details class="rest"><summary>{count} more</summary>'
                     f'<div class="cards">{rest}</div></details>\n')  # fmt: skip
    return parts


def _card(one: JudgedExample, judged: Judged) -> str:
    rows = []
    if one.confidence is not None and not judged.text:
        truth, answer = (f"<b><bdi>{escape(word)}</bdi></b>" for word in (one.truth, one.answer))
        words = f"true: {truth} · answered: {answer}"
        return (
            f'<div class="card"><div class="input" dir="auto">{folded(one.input)}</div>'
            f'<div class="labels">{words} ({one.confidence:.0%})</div></div>\n'
        )
    if one.truth or one.answer:
        truth, answer = (escape(one.truth), escape(one.answer))
        if judged.text and not judged.graded:
            truth, answer = marked(one.truth, one.answer)
        sure = f" ({one.confidence:.0%})" if one.confidence is not None else ""
        rows = [("true", truth), (f"answered{sure}", answer)]
    else:
        rows = [("loss", escape(one.loss))]
    listed = "".join(f'<dt>{name}</dt><dd dir="auto">{value}</dd>' for name, value in rows)
    return (
        f'<div class="card"><div class="input" dir="auto">{folded(one.input)}</div>'
        f"<dl>{listed}</dl></div>\n"
    )


def marked(truth: str, answer: str) -> tuple[Html, Html]:
    """Two texts as HTML, with what differs marked; nothing where little is the same.

    >>> marked("a b", "a c")
    ('a <mark>b</mark>', 'a <mark>c</mark>')
    """
    left, right = (_WORDS.findall(text) for text in (truth, answer))
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    if matcher.ratio() < _DIFFERENT:
        return escape(truth or "(nothing)"), escape(answer or "(nothing)")
    sides: tuple[list[str], list[str]] = ([], [])
    for word, a, b, c, d in matcher.get_opcodes():
        for side, part in zip(sides, (left[a:b], right[c:d]), strict=True):
            inside = escape("".join(part))
            side.append(f"<mark>{inside}</mark>" if word != "equal" and part else inside)
    return Html("".join(sides[0])), Html("".join(sides[1]))


# ---- classes


def by_class(judged: Judged) -> list[str]:
    """Precision, recall and F1 of each label, and what is taken for what."""
    if len(judged.classes) < 2 and not judged.labels:
        return []
    rows = []
    for name, (right, got, wanted) in sorted(judged.classes.items(), key=lambda x: -x[1][2]):
        rows.append({
            "label": name, "in test": wanted,
            "precision": NumberText(f"{right / got:.3f}" if got else "–"),
            "recall": NumberText(f"{right / wanted:.3f}" if wanted else "–"),
            "F1": NumberText(f"{2 * right / (got + wanted):.3f}" if got + wanted else "–"),
        })  # fmt: skip
    parts = ['<div class="pair">', table(rows, sortable=len(rows) > 3, tall=len(rows) > 16)]
    drawing = confusion(judged.labels)
    if drawing is not None:
        parts.append(f"<div>{svg_figure(drawing)}{paragraph(_confused(judged.labels))}</div>")
    return [*parts, "</div>\n"]


def confusion(labels: Sequence[tuple[str, str, int]]) -> Drawing | None:
    """How much of each true label was taken for each, in percent; the commonest labels.

    Args:
        labels: true and answered label, and how often.
    """
    totals: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for truth, answer, count in labels:
        totals.update({truth: count})
        totals.update({answer: count})
        wanted.update({truth: count})
    names = sorted(name for name, _ in totals.most_common(MOST_SHOWN_LABELS))
    if len(names) < 2:
        return None
    places = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    for truth, answer, count in labels:
        if truth in places and answer in places:
            counts[places[truth], places[answer]] += count
    sizes = np.array([max(1, wanted[name]) for name in names])
    shares = counts / sizes[:, None]
    texts = [[f"{100 * x:.0f}" if x >= 0.005 else "" for x in row] for row in shares]
    tips = [
        [f"{a} answered as {b}: {int(counts[i, j]):,}" for j, b in enumerate(names)]
        for i, a in enumerate(names)
    ]
    # Mistakes are rare: the root of a share shows them next to what is right.
    signs = np.where(np.eye(len(names), dtype=bool), 1, -1) * np.sqrt(shares)
    about = ("true", "answered, % of each true label")
    cell = 26.0 if len(names) > 4 else 44.0
    return matrix("confusion", names, names, signs, texts=texts, tips=tips, names=about, cell=cell)


def _confused(labels: Sequence[tuple[str, str, int]]) -> str:
    wrong = sorted(((n, a, b) for a, b, n in labels if a != b), reverse=True)[:3]
    if not wrong:
        return "Nothing was taken for something else."
    # First strong isolate: Hebrew between the brackets of a sentence must not turn them.
    told = [f"\u2068{a}\u2069 for \u2068{b}\u2069 ({n:,})" for n, a, b in wrong]
    return f"Most often taken for something else: {', '.join(told)}."


# ---- calibration


def calibration(judged: Judged) -> list[str]:
    """Whether probabilities are what they promise."""
    bins = [row for row in judged.calibration if row[2]]
    total = sum(count for *_, count in bins)
    if not total:
        return []
    drawing = Drawing(NARROW, 330, "calibration")
    frame = Frame(58, 36, 400, 220, Scale(0, 1), Scale(0, 1))
    frame.draw(drawing, "share that is right", "probability that was promised")
    drawing.line([frame.at(0, 0), frame.at(1, 1)], Style("muted", dash=(5, 4)))
    many = [frame.at(p / n, r / n) for p, r, n in bins if n >= MIN_SHARE * total]
    if len(many) > 1:
        drawing.line(many, Style("accent", width=1.5))
    for promised, right, count in bins:
        tip = f"promised {promised / count:.1%}, right {right / count:.1%}, {count:,} answers"
        at = frame.at(promised / count, right / count)
        drawing.circle(
            at, 3 + 9 * (count / total) ** 0.5, Style("", "accent", opacity=0.7), tip=tip
        )
    drawing.text((58, 316), "dots: larger for more answers; dashed: as promised", size=11)
    error = sum(abs(promised - right) for promised, right, _ in bins) / total
    surplus = sum(promised - right for promised, right, _ in bins) / total
    text = f"On average a probability is off by {error:.1%} (expected calibration error)."
    if abs(surplus) > 0.01:
        way = "higher" if surplus > 0 else "lower"
        text += f" All in all, probabilities are {abs(surplus):.1%} {way} than the share that is "
        text += "right."
    return ["<h3>Calibration</h3>\n", paragraph(text), svg_figure(drawing)]


# ---- by length


def by_length(judged: Judged, metric: Metric | None) -> list[str]:
    """The metric in groups of examples by their length."""
    if metric is None:
        return []
    found = [(name, which, compared(judged, metric.name, which)) for name, which in groups(judged)]
    found = [(name, which, one) for name, which, one in found if one is not None]
    if len(found) < 2:
        return []
    values, intervals, words = {}, {}, {}
    for name, which, one in found:
        values[name] = one.model.score
        if one.model.is_known:
            intervals[name] = (one.model.low, one.model.high)
        other = f"; baseline {score_text(one.baseline.score)}" if one.baseline else ""
        words[name] = f"{score_text(one.model.score)} ({len(which):,}{other})"
    top = 1.0 if metric.proportion else None
    axis = f"{metric.name.replace('_', ' ')} by {judged.length}"
    drawing = bars(axis, values, intervals=intervals, words=words, axis=axis, top=top)
    text = (
        f"Bars: {metric.name.replace('_', ' ')} of test's {judged.things} by {judged.length}, in "
    )
    text += "groups of about the same size (number in brackets). Lines: 95 % by resampling."
    return ["<h3>By length</h3>\n", paragraph(text), svg_figure(drawing)]


def how_sure(judged: Judged, metric: Metric | None) -> list[str]:
    """Calibration and scores by length, next to each other where there is room."""
    both = [part for part in (calibration(judged), by_length(judged, metric)) if part]
    if not both:
        return []
    return ['<div class="pair">', *(f"<div>{''.join(part)}</div>" for part in both), "</div>\n"]
