"""Which trials are pruned: the regression by hand, and what must hold of any."""

import math

import keras_tuner as kt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from tuning.leaderboard import TrialRow
from tuning.pruning import bounds, outlook, outlooks, pruned_after
from tuning.strategies import discover, make_strategy

# Scores after the first of two epochs, and at the end; lower is better. By hand: means 2.5 and 1.5,
# squares 5, products 4.9, so slope 0.98 and a line from 0.03 to 2.97; what is left of 0, 1.1, 1.9
# and 3.0 is -0.03, 0.09, -0.09, 0.03, whose squares sum to 0.018, over 2 degrees of freedom 0.009.
EARLY, FINAL = [1.0, 2.0, 3.0, 4.0], [0.0, 1.1, 1.9, 3.0]


def trial(number, curve, sign=1.0, **more):
    curve = [sign * score for score in curve]
    best = min(curve) if sign > 0 else max(curve)
    return TrialRow(f"{number:04d}", "COMPLETED", {"n": number}, score=best, curve=curve, **more)


def trials(sign=1.0):
    return [trial(n, pair, sign) for n, pair in enumerate(zip(EARLY, FINAL, strict=True))]


def test_the_regression_and_its_bound_are_those_worked_by_hand():
    found = outlook(np.array(EARLY), np.array(FINAL))
    assert (found.early, found.final, found.squares) == (2.5, 1.5, 5.0)
    assert (found.slope, found.deviation**2) == pytest.approx((0.98, 0.009))
    assert found.expected(3.0) == pytest.approx(1.5 + 0.98 * 0.5)
    # At 60 the line is at 57.85; at -90, where it would be worse than the score so far, at -89.15.
    assert found.expected(60.0) == pytest.approx(57.85)
    assert found.expected(-90.0) == -90.0
    # The end of the interval is at the target there: t of 95% with two degrees is 2.920.
    bound, reach = found.bound(0.0, 0.05), 2.919986 * math.sqrt(0.009)
    wide = reach * math.sqrt(1 + 1 / 4 + (bound - 2.5) ** 2 / 5)
    assert 1.5 + 0.98 * (bound - 2.5) - wide == pytest.approx(0.0, abs=1e-6)
    assert student.ppf(0.95, 2) == pytest.approx(2.919986)


@pytest.mark.parametrize(("mode", "sign"), [("min", 1.0), ("max", -1.0)])
def test_bounds_are_in_the_direction_of_the_metric(mode, sign):
    (bound,) = bounds(trials(sign), mode, 2)
    assert sign * bound == pytest.approx(outlook(np.array(EARLY), np.array(FINAL)).bound(0.0, 0.05))
    assert pruned_after([sign * 3.9], [bound], mode) == 1
    assert pruned_after([sign * 0.9], [bound], mode) is None


def test_the_more_were_pruned_the_less_the_chance_may_be():
    rows = [*trials(), trial(4, (9.0,), pruned="why"), trial(5, (9.0,), pruned="why")]
    third = outlook(np.array(EARLY), np.array(FINAL)).bound(0.0, 0.05 / 3)
    assert bounds(rows, "min", 2) == [pytest.approx(third)]
    assert bounds(trials(), "min", 2)[0] < third


def test_nothing_is_pruned_where_early_scores_say_nothing():
    same = [trial(n, (1.0, 0.1 * n)) for n in range(5)]
    against = [trial(n, (1.0 + n, 0.5 - 0.1 * n)) for n in range(5)]
    chance = [trial(n, pair) for n, pair in enumerate([(1, 0.5), (2, 0.9), (3, 0.4), (4, 0.8)])]
    for rows in (same, against, chance, trials()[:2], []):
        assert bounds(rows, "min", 2) == [None]


def test_pruned_failed_and_unknown_curves_are_not_in_the_regression():
    rows = trials()
    others = [
        trial(7, (9.0,), pruned="why"),
        TrialRow("0008", "FAILED", {}),
        TrialRow("0009", "COMPLETED", {}, score=1.0),
        trial(10, (float("inf"), 1.0)),
    ]
    assert outlooks([*rows, *others], "min", 2) == outlooks(rows, "min", 2)


def test_a_training_that_lost_patience_keeps_its_best_score():
    short = [*trials(), trial(4, (2.5,))]
    whole = [*trials(), trial(4, (2.5, 2.6))]
    assert bounds(short, "min", 2) == bounds(whole, "min", 2)


@given(
    st.lists(
        st.tuples(*[st.floats(0, 10).map(lambda x: round(x, 3))] * 3), min_size=0, max_size=12
    ),
    st.floats(-5, 15),
)
@settings(max_examples=40, deadline=None)
def test_what_is_as_good_as_the_best_is_never_pruned(curves, ahead):
    rows = [trial(n, curve) for n, curve in enumerate(curves)]
    found = bounds(rows, "min", 3)
    best = min((row.score for row in rows), default=0.0)
    assert pruned_after([best - abs(ahead)] * 3, found, "min") is None
    assert bounds(list(reversed(rows)), "min", 3) == pytest.approx(found, abs=1e-6)


def test_bayesian_search_takes_a_pruned_trial_for_what_it_would_have_scored():
    def line(hp):
        hp.Float("x", 0.0, 1.0, default=0.5)

    def guess(last):
        rows = {
            n: TrialRow(f"{n:04d}", "COMPLETED", {"x": 0.1 + 0.2 * n}, score=b, curve=[a, b])
            for n, (a, b) in enumerate(zip(EARLY, FINAL, strict=True))
        }
        made = make_strategy(
            "bayesian", discover(line), kt.Objective("s", "min"), epochs=2, seed=0, prune=True
        )
        return made.propose(5, rows | {4: last})

    at = {"x": 0.9}
    pruned = TrialRow("0004", "COMPLETED", at, score=3.0, curve=[3.0], pruned="why")
    end = outlook(np.array(EARLY), np.array(FINAL)).expected(3.0)
    assert guess(pruned).values == guess(TrialRow("0004", "COMPLETED", at, score=end)).values
    assert guess(pruned).bounds == [pytest.approx(outlook(
        np.array(EARLY), np.array(FINAL)).bound(0.0, 0.025))]  # fmt: skip
