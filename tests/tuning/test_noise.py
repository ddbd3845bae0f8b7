"""Which differences between the scores of a search may be chance."""

from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from tuning.leaderboard import Search, TrialRow, ranked
from tuning.noise import compare


def search(scores, mode="max", spread=None, **about):
    rows = [TrialRow(f"{n:04d}", "COMPLETED", {}, score=s, spread=spread, parameters=n)
            for n, s in enumerate(scores)]  # fmt: skip
    return Search(Path(), {"mode": mode, **about}, ranked(rows, mode))


def test_the_margin_of_a_proportion_by_hand():
    # 72 of 80 right: (72 + 1) / 82 = 0.8902; twice 0.8902 * 0.1098 / 82, its root times 1.96.
    found = compare(search([0.9, 0.9, 0.9, 0.9], proportion_of=80))
    assert found.margin == pytest.approx(1.96 * sqrt(2 * (73 / 82) * (9 / 82) / 82))
    assert found.margin == pytest.approx(0.0957, abs=1e-4)
    assert [row.trial for row in found.rivals] == ["0001", "0002", "0003"]
    assert "decide nothing" in found.sentence
    assert "none of the 4 trials" in found.sentence
    assert "on 80 validation examples a difference of up to 0.096" in found.sentence


def test_only_those_near_the_best_are_its_rivals():
    found = compare(search([0.9, 0.85, 0.6, 0.84], proportion_of=80))
    assert [row.trial for row in found.rivals] == ["0001", "0003"]
    assert found.sentence.startswith("2 other trials are within chance of the best: on 80 ")
    assert compare(search([0.99, 0.6], proportion_of=400)).sentence == ""
    more = compare(search([0.9, 0.85, 0.6, 0.84], proportion_of=8000))
    assert more.rivals == [], "with a hundred times the examples they can be told apart"


def test_a_share_of_all_is_not_taken_for_certain():
    found = compare(search([1.0, 0.99], proportion_of=100))
    assert [row.trial for row in found.rivals] == ["0001"]


def test_several_executions_tell_the_chance_of_any_score():
    # Variance of a mean of four: 0.02^2 / 4; of the difference of two such means: twice that.
    found = compare(search([0.50, 0.52, 0.60], "min", spread=0.02, executions=4))
    # Student's t of nine degrees of freedom, three for each trial: 2.262.
    assert found.margin == pytest.approx(2.262 * sqrt(2 * 0.02**2 / 4), abs=1e-4)
    assert [row.trial for row in found.rivals] == ["0001"]
    # Two executions of two trials say little about the spread: 4.303 with two degrees.
    few = compare(search([0.50, 0.58], "min", spread=0.02, executions=2))
    assert few.margin == pytest.approx(4.303 * 0.02, abs=1e-4)
    assert "validation examples" not in found.sentence


def test_nothing_is_said_where_nothing_is_known():
    assert compare(search([0.5, 0.51], "min")) is None
    assert compare(search([0.5], proportion_of=10)) is None
    assert compare(search([], proportion_of=10)) is None
    unfinished = [TrialRow("0000", "RUNNING", {}, score=0.5), TrialRow("0001", "FAILED", {})]
    assert compare(Search(Path(), {"mode": "max", "proportion_of": 9}, unfinished)) is None


@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
def test_trials_that_are_equally_good_are_nearly_always_rivals(share):
    rng = np.random.default_rng(0)
    pairs = rng.binomial(80, share, (2000, 2)) / 80
    apart = sum(not compare(search(pair, proportion_of=80)).rivals for pair in pairs.tolist())
    assert apart / len(pairs) < 0.06
