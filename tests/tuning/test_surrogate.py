"""The model of a Bayesian search: by hand where there is a formula, by its derivative elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning.strategies import discover
from tuning.surrogate import (
    Encoding,
    Process,
    _loss,
    distances,
    fitted,
    representative,
    without_outliers,
)

NUMBER, WORD = np.array([False]), np.array([True])
# Length scale 1, and nearly no noise.
PLAIN = np.array([0.0, -18.0])


def matern(distance):
    root = math.sqrt(5) * distance
    return (1 + root + root**2 / 3) * math.exp(-root)


def mixed(hp):
    hp.Choice("cell", ["lstm", "gru"])
    hp.Choice("units", [16, 32, 64], default=64)
    hp.Float("rate", 1e-4, 1e-2, sampling="log")
    hp.Fixed("seed", 3)
    with hp.conditional_scope("cell", ["gru"]):
        hp.Boolean("reset")


def test_numbers_are_at_their_place_in_the_range_and_words_are_equal_or_not():
    encoding = Encoding(discover(mixed))
    values = {"cell": "gru", "units": 16, "rate": 1e-3, "seed": 3, "reset": True}
    row = encoding.row(values)
    assert row[1] == pytest.approx(1 / 6)
    assert row[2] == pytest.approx(0.5)
    assert list(encoding.unordered) == [True, False, False, True]
    assert encoding.values(row) == {**values, "rate": pytest.approx(1e-3)}


def test_a_hyperparameter_that_does_not_apply_counts_as_its_default_and_is_not_given():
    encoding = Encoding(discover(mixed))
    without = {"cell": "lstm", "units": 16, "rate": 1e-3, "seed": 3}
    assert encoding.row(without) == encoding.row({**without, "reset": False})
    assert "reset" not in encoding.values(encoding.row(without))


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=20, deadline=None)
def test_neighbours_stay_in_the_space_and_differ_from_where_they_started(seed):
    encoding, random = Encoding(discover(mixed)), np.random.RandomState(seed)
    start = random.uniform(size=(3, 4))
    near = encoding.around(start, 30, random)
    assert near.shape == (30, 4)
    assert near.min() >= 0
    assert near.max() <= 1
    assert all((row != start).any(1).all() for row in near)


def test_distances_by_hand():
    one, other = np.array([[0.1], [0.5]]), np.array([[0.4]])
    assert distances(one, other, NUMBER)[0] == pytest.approx(np.array([[0.09], [0.01]]))
    assert distances(one, np.array([[0.5]]), WORD)[0].tolist() == [[1.0], [0.0]]


def test_a_process_of_two_trials_by_hand():
    # Scores 0 and 2: as targets -1 and 1. Halfway between, both weigh the same: the mean.
    process = Process(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]), NUMBER, PLAIN)
    mean, deviation = process.predict(np.array([[0.5], [0.0]]))
    assert mean == pytest.approx([1.0, 0.0], abs=1e-6)
    near, far = matern(0.5), matern(1.0)
    # k' K^-1 k with K = [[1, far], [far, 1]] and k = (near, near).
    assert deviation[0] == pytest.approx(math.sqrt(1 - 2 * near**2 / (1 + far)), rel=1e-5)
    assert deviation[1] < 1e-3


def test_improvement_by_hand():
    process = Process(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]), NUMBER, PLAIN)
    found = process.improvement(np.array([[0.5]]), 1.0)
    # The mean is the goal: half a normal distribution's mean deviation.
    deviation = process.predict(np.array([[0.5]]))[1][0]
    assert found[0] == pytest.approx(deviation / math.sqrt(2 * math.pi))


def test_a_believed_trial_changes_no_expectation_and_takes_the_doubt_away():
    rows = np.array([[0.0], [0.3], [1.0]])
    process = Process(rows, np.array([0.0, 1.0, 2.0]), NUMBER, PLAIN)
    places = np.array([[0.6], [0.7]])
    before, doubt = process.predict(places)
    process.believing(places[:1])
    after, rest = process.predict(places)
    assert after == pytest.approx(before, abs=1e-4)
    assert rest[0] < 1e-3
    assert rest[1] < doubt[1]


def test_the_gradient_is_that_of_the_density():
    random = np.random.RandomState(0)
    rows = random.uniform(size=(15, 3))
    rows[:, 1] = random.randint(3, size=15) / 3
    apart = distances(rows, rows, np.array([False, True, False]))
    targets = np.sin(3 * rows[:, 0]) + rows[:, 1]
    at = np.array([-0.5, 0.2, 0.1, -3.0])
    _, gradient = _loss(at, apart, targets)
    steps = 1e-6 * np.eye(4)
    slopes = [
        (_loss(at + step, apart, targets)[0] - _loss(at - step, apart, targets)[0]) / 2e-6
        for step in steps
    ]
    assert gradient == pytest.approx(slopes, rel=1e-4)


def test_a_hyperparameter_that_does_nothing_gets_a_long_scale():
    random = np.random.RandomState(1)
    rows = random.uniform(size=(40, 2))
    found = fitted(rows, np.sin(6 * rows[:, 0]), np.array([False, False]), random)
    assert found[1] > found[0] + 1


def test_scores_far_beyond_the_others_are_cut_by_hand():
    # Median 3, best 1: at most 3 + 3 * 2.
    assert without_outliers(np.array([1.0, 3.0, 500.0])).tolist() == [1.0, 3.0, 9.0]


def test_of_many_trials_the_better_and_the_newer_half_are_kept():
    scores = np.array([9.0, 1.0, 8.0, 2.0, 7.0, 6.0, 5.0])
    assert representative(scores, limit=4).tolist() == [1, 3, 5, 6]
    assert representative(scores, limit=7).tolist() == list(range(7))


def test_equal_scores_are_no_reason_to_fail():
    rows = np.random.RandomState(0).uniform(size=(9, 1))
    process = Process(rows, np.ones(9), NUMBER, fitted(rows, np.ones(9), NUMBER, np.random))
    assert np.isfinite(process.improvement(rows, 1.0)).all()
