"""How each test example was answered: what a report's intervals, mistakes and tables are made of.

A kind says it in one form, whatever it is that it answers. A score is made of numbers that add up
over examples: accuracy of (1 or 0, 1), F1 of spans of (2 * right, answered + wanted), mse of
(squared error, 1), perplexity of (nats, units). So a score of any part of the examples, or of a
resampled set of them, follows from sums.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_aside, write_json

# What is kept: numbers of so many examples, the words of the worst, the commonest labels.
MOST_ROWS, MOST_TEXTS, MOST_LETTERS, MOST_LABELS = 20_000, 500, 1000, 200
MACRO = "macro_f1"
CALIBRATION_BINS = 10

Sums = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class JudgedExample:
    """One test example beside its answer.

    Attributes:
        input: as a person reads it.
        truth: the right answer.
        answer: what was answered.
        sums: by metric the numbers that add up; ``value`` makes a score of their sums.
        loss: how bad the answer is, for the order of mistakes; 0 if there is nothing to show.
        length: see ``Judged.length``.
        block: examples of one block are resampled together; each is its own block if None.
        baseline: ``sums`` of the baseline's answer, of the metrics that are known.
        confidence: probability that the answer was given, if there is one.
    """

    input: str
    truth: str
    answer: str
    sums: Sums
    loss: float = 0.0
    length: float = 0.0
    block: int | None = None
    baseline: Sums = field(default_factory=dict)
    confidence: float | None = None


@dataclass(frozen=True)
class Judged:
    """A judged part.

    Attributes:
        examples: in the order of the part.
        length: what ``JudgedExample.length`` counts; "" where length says nothing.
        things: what the examples are: "examples", "windows".
        forms: of metrics that are no ratio of two sums: "exp" of it, "bleu" of ten.
        labels: pairs of a true and an answered label, with how often, for what is taken for what.
        classes: by label how many were answered rightly, answered, and wanted.
        calibration: of each bin of promised probabilities their sum, how many were right, how many
            there are.
        text: whether the truth and the answer are texts to be read beside each other, no labels.
        graded: whether answers are better or worse, as forecasts are, and not right or wrong.
    """

    examples: Sequence[JudgedExample]
    length: str = ""
    things: str = "examples"
    forms: Mapping[str, str] = field(default_factory=dict)
    labels: Sequence[tuple[str, str, int]] = ()
    classes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    calibration: Sequence[tuple[float, int, int]] = ()
    text: bool = False
    graded: bool = False

    def save(self, directory: Path, part: str = "test") -> None:
        """Writes ``<part>.jsonl``, a row for each example, and ``<part>.json``, the rest.

        Of many examples every n-th is kept, and the words of the worst alone.
        """
        step = -(-len(self.examples) // MOST_ROWS) or 1
        kept = list(self.examples[::step])
        order = sorted(range(len(kept)), key=lambda i: -kept[i].loss)
        spoken = set(order[:MOST_TEXTS])
        about = {
            "examples": len(self.examples), "every": step, "length": self.length,
            "things": self.things, "forms": dict(self.forms),
            "text": self.text, "graded": self.graded,
            "labels": [list(row) for row in self.labels],
            "classes": {name: list(counts) for name, counts in self.classes.items()},
            "calibration": [list(row) for row in self.calibration],
        }  # fmt: skip
        with write_aside(directory / f"{part}.jsonl") as file:
            for i, one in enumerate(kept):
                row = json.dumps(_row(one, i in spoken), ensure_ascii=False)
                # A line separator of Unicode would be a line's end to some readers.
                file.write(row.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029") + "\n")
        write_json(directory / f"{part}.json", about)


def _row(one: JudgedExample, spoken: bool) -> dict[str, Any]:
    texts = {"input": one.input, "truth": one.truth, "answer": one.answer}
    row: dict[str, Any] = {k: v[:MOST_LETTERS] for k, v in texts.items()} if spoken else {}
    row |= {"loss": _short(one.loss), "length": _short(one.length)}
    row["sums"] = {name: [_short(x) for x in numbers] for name, numbers in one.sums.items()}
    if one.baseline:
        row["baseline"] = {k: [_short(x) for x in numbers] for k, numbers in one.baseline.items()}
    if one.block is not None:
        row["block"] = int(one.block)
    if one.confidence is not None:
        row["confidence"] = _short(one.confidence)
    return row


def _short(value: float) -> float:
    value = float(value)
    return int(value) if value.is_integer() else float(f"{value:.7g}")


def read_judged(directory: Path, part: str = "test") -> Judged | None:
    """What ``Judged.save`` wrote; None where nothing was written, or something else."""
    try:
        about = json.loads((directory / f"{part}.json").read_text(encoding="utf-8"))
        lines = (directory / f"{part}.jsonl").read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line]
        examples = [
            JudgedExample(
                row.get("input", ""), row.get("truth", ""), row.get("answer", ""), row["sums"],
                row["loss"], row["length"], row.get("block"), row.get("baseline", {}),
                row.get("confidence"),
            )
            for row in rows
        ]  # fmt: skip
        return Judged(
            examples, about["length"], about["things"], about["forms"],
            [(a, b, n) for a, b, n in about["labels"]], about["classes"],
            [(a, b, n) for a, b, n in about["calibration"]], about["text"],
            about["graded"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def judged_labels(
    inputs: Sequence[str],
    truth: Sequence[str],
    answers: Sequence[str],
    confidences: Sequence[float],
    lengths: Sequence[float],
    length: str,
    others: Sequence[str] | None = None,
) -> Judged:
    """What kinds say that answer one label.

    Args:
        inputs: as a person reads them.
        truth: right labels.
        answers: labels that were answered.
        confidences: their probabilities.
        lengths: of the inputs.
        length: what those count.
        others: labels that the baseline answered, if known.
    """
    places = {name: i for i, name in enumerate(sorted({*truth, *answers, *(others or ())}))}

    def sums(want: str, got: str) -> dict[str, Sequence[float]]:
        return {"accuracy": (want == got, 1), MACRO: (places[want], places[got])}

    rows = [
        JudgedExample(
            text, want, got, sums(want, got),
            loss=sure if want != got else 0.0, length=size, confidence=sure,
            baseline={} if others is None else sums(want, others[i]),
        )
        for i, (text, want, got, sure, size) in enumerate(
            zip(inputs, truth, answers, map(float, confidences), lengths, strict=True)
        )
    ]  # fmt: skip
    right = [want == got for want, got in zip(truth, answers, strict=True)]
    return Judged(
        rows, length, forms={MACRO: "macro"}, labels=paired(truth, answers),
        classes=class_counts(truth, answers), calibration=calibration_bins(confidences, right),
    )  # fmt: skip


def paired(truth: Sequence[str], answers: Sequence[str]) -> list[tuple[str, str, int]]:
    """``(true, answered, how often)`` among the commonest labels."""
    totals = Counter(truth) + Counter(answers)
    kept = {name for name, _ in totals.most_common(MOST_LABELS)}
    counts = Counter(zip(truth, answers, strict=True))
    return [(a, b, n) for (a, b), n in sorted(counts.items()) if a in kept and b in kept]


def class_counts(truth: Sequence[str], answers: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """By label: how many answers are right, how many there are, how many should be."""
    right = Counter(a for a, b in zip(truth, answers, strict=True) if a == b)
    got, wanted = Counter(answers), Counter(truth)
    names = [name for name, _ in (wanted + got).most_common(MOST_LABELS)]
    return {name: (right[name], got[name], wanted[name]) for name in names}


def calibration_bins(
    promised: Sequence[float], right: Sequence[bool]
) -> list[tuple[float, int, int]]:
    """Ten bins of equal width: the sum of the probabilities, how many are right, how many."""
    promised, right = np.asarray(promised, float), np.asarray(right, bool)
    places = np.minimum((promised * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        (float(promised[inside].sum()), int(right[inside].sum()), int(inside.sum()))
        for inside in (places == i for i in range(CALIBRATION_BINS))
    ]


def value(sums: np.ndarray, form: str = "") -> np.ndarray:
    """Scores from sums of numbers: ``<float>[..., k]`` to ``<float>[...]``; NaN of nothing.

    Args:
        sums: of the ``JudgedExample.sums`` of a metric, over some examples.
        form: of ``Judged.forms``: "" for the first number over the second, "exp" for e to that,
            "bleu" for BLEU of the right and all n-grams of each order, and both lengths, "macro"
            for the mean F1 of labels from the right, answered and wanted ones of each.
    """
    sums = np.asarray(sums, float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if form == "bleu":
            return _bleu(sums)
        if form == "macro":
            right, got, wanted = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
            there = got + wanted > 0
            each = np.where(there, 2 * right / np.where(there, got + wanted, 1), 0)
            return each.sum(-1) / there.sum(-1)
        ratio = sums[..., 0] / sums[..., 1]
        return np.exp(ratio) if form == "exp" else ratio


def _bleu(sums: np.ndarray) -> np.ndarray:
    """BLEU of a corpus, 0 to 100, as sacrebleu smooths it (Papineni et al. 2002; "exp")."""
    right, total = sums[..., 0:4], sums[..., 4:8]
    # Of each order without a match, counted from the first such, half as much as before.
    missed = np.cumsum((right == 0) & (total > 0), -1)
    smoothed = np.where(right > 0, right, 1 / 2.0**missed)
    logs = np.log(smoothed / total).mean(-1)
    short = np.exp(np.minimum(0, 1 - sums[..., 9] / sums[..., 8]))
    found = 100 * short * np.exp(logs)
    return np.where((right[..., 0] == 0) | (total == 0).any(-1), 0.0, found)


def matrix_of(rows: Sequence[Sums], name: str, form: str = "") -> np.ndarray:
    """The numbers of a metric of each example: ``<float>[examples, k]``.

    Labels that are numbered in ``sums`` are here counted: right, answered and wanted, of each.
    """
    numbers = np.array([row[name] for row in rows], float)
    if form != "macro":
        return numbers
    places = numbers.astype(int)
    classes = int(places.max()) + 1 if places.size else 0
    want, got = (np.eye(classes)[places[:, side]] for side in (0, 1))
    return np.concatenate([want * got, got, want], 1)


def sums_of(rows: Sequence[Sums], name: str, form: str, classes: int) -> np.ndarray:
    """The sums of ``matrix_of`` over all examples, ``<float>[k]``, without the matrix: with many
    labels most of it is zeros.

    Args:
        rows: of each example.
        name: of the metric.
        form: of ``Judged.forms``.
        classes: how many labels there are, where they are numbered.
    """
    numbers = np.array([row[name] for row in rows], float)
    if form != "macro":
        return numbers.sum(0)
    want, got = numbers.astype(int).T
    sides = (want[want == got], got, want)
    return np.concatenate([np.bincount(side, minlength=classes) for side in sides]).astype(float)


def groups(judged: Judged, count: int = 5) -> Iterator[tuple[str, list[int]]]:
    """Examples in groups of about equal size, by length: what lengths they have, and which.

    Examples of one length are in one group.
    """
    lengths = np.array([one.length for one in judged.examples], float)
    if not judged.length or not len(lengths):
        return
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, count + 1)[1:-1], method="lower"))
    places = np.searchsorted(edges, lengths, side="left")
    for place in np.unique(places):
        inside = np.flatnonzero(places == place)
        low, high = lengths[inside].min(), lengths[inside].max()
        yield f"{low:g}" if low == high else f"{low:g} to {high:g}", inside.tolist()
