"""Judged examples and the intervals that follow from them, worked by hand."""

import doctest
import json
import math

import numpy as np
import pytest

import reports.intervals
import reports.judged_report
from reports.intervals import Interval, bootstrap, compared, wilson
from reports.judged import (
    MOST_ROWS,
    MOST_TEXTS,
    Judged,
    JudgedExample,
    calibration_bins,
    class_counts,
    groups,
    judged_labels,
    matrix_of,
    paired,
    read_judged,
    value,
)


def example(right, **about):
    about = {"loss": 1.0 - right, **about}
    return JudgedExample("a", "b", "c", {"accuracy": (right, 1)}, **about)


@pytest.mark.parametrize("module", [reports.intervals, reports.judged_report])
def test_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0


def test_scores_follow_from_sums():
    assert value([3, 4]) == 0.75
    assert value([2 * math.log(5), 2], "exp") == pytest.approx(5)
    assert math.isnan(value([0, 0]))
    # Two labels, right 1 and 1, answered 1 and 3, wanted 2 and 2: F1 2/3 and 2/5.
    assert value([1, 1, 1, 3, 2, 2], "macro") == pytest.approx((2 / 3 + 2 / 5) / 2)
    # A label that is nowhere does not count.
    assert value([1, 0, 1, 0, 1, 0], "macro") == 1


@pytest.mark.parametrize(("texts", "references"), [
    (["the cat sat on the mat", "a dog"], ["the cat sat on a mat", "a dog barks"]),
    (["x y z w v"], ["x b c d e f"]),  # no pair is right: smoothed
    (["nothing alike here at all"], ["completely other words stand there"]),
    (["a b c"], ["a b c"]),  # no four words
])  # fmt: skip
def test_bleu_of_sums_is_sacrebleus(texts, references):
    import sacrebleu

    sums = np.zeros(10)
    for text, reference in zip(texts, references, strict=True):
        one = sacrebleu.corpus_bleu([text], [[reference]], force=True)
        sums += [*one.counts, *one.totals, one.sys_len, one.ref_len]
    whole = sacrebleu.corpus_bleu(texts, [references], force=True).score
    assert value(sums, "bleu") == pytest.approx(whole, abs=1e-9)


def test_labels_are_counted_for_the_macro_average():
    rows = [{"macro_f1": (0, 0)}, {"macro_f1": (0, 1)}, {"macro_f1": (1, 1)}]
    sums = matrix_of(rows, "macro_f1", "macro").sum(0)
    assert sums.tolist() == [1, 1, 1, 2, 2, 1]  # right, answered, wanted of both labels


def test_an_interval_is_that_of_resampled_examples():
    # Of two blocks one is right: a resampled set has 0, 1 or 2 right with 1/4, 1/2, 1/4.
    shares = bootstrap([np.array([[1.0, 1], [0, 1]])], resamples=4000)[:, 0]
    assert np.mean(shares == 0) == pytest.approx(0.25, abs=0.03)
    assert np.mean(shares == 0.5) == pytest.approx(0.5, abs=0.03)
    # 60 of 100 right: about 0.6 -+ 1.96 * sqrt(0.6 * 0.4 / 100) = 0.504 to 0.696.
    found = compared(Judged([example(i < 60) for i in range(100)]), "accuracy").model
    assert found.score == 0.6
    assert found.low == pytest.approx(0.504, abs=0.02)
    assert found.high == pytest.approx(0.696, abs=0.02)


def test_blocks_are_resampled_whole():
    # Ten blocks of ten alike: as sure as ten examples, not as a hundred.
    rows = [example(i // 10 < 6, block=i // 10) for i in range(100)]
    alone = compared(Judged([example(i < 6) for i in range(10)]), "accuracy").model
    assert compared(Judged(rows), "accuracy").model == alone
    few = compared(Judged([example(1, block=0)] * 50), "accuracy").model
    assert (few.score, few.is_known) == (1, False)


def test_the_baseline_is_compared_example_by_example():
    # The model is right wherever the baseline is, and in five cases more: that is not chance.
    rows = [
        example(i < 65, baseline={"accuracy": (i < 60, 1)}) for i in range(100)
    ]  # fmt: skip
    found = compared(Judged(rows), "accuracy")
    assert found.baseline.score == 0.6
    assert found.difference.score == pytest.approx(0.05)
    assert 0 < found.difference.low < 0.05 < found.difference.high < 0.1
    # The intervals of both overlap all the same.
    assert found.model.low < found.baseline.high
    assert compared(Judged([*rows, example(1)]), "accuracy").difference is None
    assert compared(Judged(rows), "f1") is None
    assert compared(Judged([]), "accuracy") is None


def test_all_right_is_not_certain():
    found = compared(Judged([example(1)] * 100), "accuracy").model
    assert found == wilson(1.0, 100)
    assert found.low == pytest.approx(0.963, abs=0.001)
    assert not Interval(1.0).is_known


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say():
    random, covered = np.random.default_rng(1), 0
    for _ in range(400):
        right = random.random(150) < 0.8
        found = compared(Judged([example(int(r)) for r in right]), "accuracy").model
        covered += found.low <= 0.8 <= found.high
    assert 0.91 <= covered / 400 <= 0.98


def test_what_is_saved_is_read_back(tmp_path):
    rows = [
        JudgedExample(
            "<a>\u2028\n", "ja", "nein", {"f1": (0.5, 2)}, 0.25, 3, 7, {"f1": (1, 2)}, 0.9
        ),
        JudgedExample("b", "", "", {"f1": (1, 1)}),
    ]  # fmt: skip
    judged = Judged(
        rows, "tokens", "windows", {"f1": "exp"}, [("x", "y", 2)], {"x": [1, 2, 3]},
        [(0.5, 1, 1)], True,
    )  # fmt: skip
    judged.save(tmp_path / "judged")
    found = read_judged(tmp_path / "judged")
    assert found.examples[0].input == "<a>\u2028\n"
    again = [list(map(float, one.sums["f1"])) for one in found.examples]
    assert again == [[0.5, 2], [1, 1]]
    assert (found.examples[0].block, found.examples[0].confidence) == (7, 0.9)
    assert (found.length, found.things, found.forms, found.text) == (
        "tokens", "windows", {"f1": "exp"}, True)  # fmt: skip
    assert found.labels == [("x", "y", 2)]
    assert read_judged(tmp_path) is None
    (tmp_path / "judged" / "test.json").write_text("[]", encoding="utf-8")
    assert read_judged(tmp_path / "judged") is None


def test_of_many_examples_numbers_are_kept_and_the_words_of_the_worst(tmp_path):
    rows = [example(1, loss=float(i)) for i in range(MOST_ROWS + 2)]
    Judged(rows).save(tmp_path)
    lines = (tmp_path / "test.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == MOST_ROWS // 2 + 1
    told = [json.loads(line) for line in lines]
    assert sum("input" in row for row in told) == MOST_TEXTS
    assert all("input" in row for row in told[-MOST_TEXTS:])
    assert json.loads((tmp_path / "test.json").read_text())["examples"] == MOST_ROWS + 2


def test_labels_are_judged_with_their_baseline():
    judged = judged_labels(
        ["one", "two", "three"], ["a", "a", "b"], ["a", "b", "b"], [0.9, 0.6, 0.7],
        [1, 2, 3], "tokens", ["b", "a", "b"],
    )  # fmt: skip
    sums = [one.sums["accuracy"] for one in judged.examples]
    assert value(np.sum(sums, 0)) == pytest.approx(2 / 3)
    assert [one.loss for one in judged.examples] == [0, 0.6, 0]
    assert judged.classes == {"a": (1, 1, 2), "b": (1, 2, 1)}
    assert judged.labels == [("a", "a", 1), ("a", "b", 1), ("b", "b", 1)]
    assert sum(count for *_, count in judged.calibration) == 3


def test_counts_by_label_and_by_probability():
    assert paired(["a", "b"], ["b", "b"]) == [("a", "b", 1), ("b", "b", 1)]
    assert class_counts(["a", "b"], ["b", "b"]) == {"b": (1, 2, 1), "a": (0, 0, 1)}
    bins = calibration_bins([0.05, 0.95, 1.0], [False, True, False])
    assert bins[0] == (0.05, 0, 1)
    assert bins[9] == (1.95, 1, 2)
    assert bins[5] == (0.0, 0, 0)


def test_groups_by_length_keep_equals_together():
    rows = [example(1, length=n) for n in (1, 1, 1, 1, 2, 3, 4, 5, 6, 7)]
    found = dict(groups(Judged(rows, "tokens")))
    assert sum(map(len, found.values())) == 10
    assert found["1"] == [0, 1, 2, 3]
    assert list(groups(Judged(rows))) == []
    assert len(list(groups(Judged([example(1, length=4)] * 9, "tokens")))) == 1
