"""Skill with its interval, by hand and over many drawn series."""

import numpy as np
import pytest

from models.forecasting_metrics import (
    block_sums,
    direction_scores,
    skill_scores,
    time_blocks,
    unit_scores,
)


def test_blocks_are_two_horizons_long_or_more():
    times = np.arange(100) * 10
    blocks = time_blocks(times, 10, 5)
    assert blocks.tolist() == [t // 100 for t in times]
    assert time_blocks(np.arange(10**6), 1, 1).max() == 39
    assert time_blocks(np.array([7, 7, 3]), 1, 1).tolist() == [1, 1, 0]
    assert time_blocks(np.array([10**9, 0]), 1, 1).tolist() == [1, 0], "none is empty"


def test_sums_by_block():
    sums = block_sums(np.array([[1, 2], [3, 4], [5, 6]]), np.array([1, 0, 1]))
    assert sums.tolist() == [[3, 4], [6, 8]]


def test_skill_by_hand():
    truth = np.zeros((2, 1, 2))
    naive, mean = np.array([[[2.0, 0]], [[2, 0]]]), np.array([[[1.0, 0]], [[1, 0]]])
    found = skill_scores(truth, mean, naive, np.array([1.0, 1]), np.array([0, 1]))
    assert found == {"skill": pytest.approx(0.75)}  # too few blocks for an interval
    assert skill_scores(truth, mean, truth, np.array([1.0, 1]), np.array([0, 1])) == {}


def test_the_interval_holds_the_true_skill_as_often_as_it_says():
    draw, held = np.random.default_rng(0), 0
    blocks = time_blocks(np.arange(400), 1, 5)
    for _ in range(300):
        # Errors that last ten steps, as those of overlapping windows do.
        error = draw.normal(size=409)
        error = np.convolve(error, np.ones(10) / np.sqrt(10), "valid")[:, None, None]
        other = np.convolve(draw.normal(size=409), np.ones(10) / np.sqrt(10), "valid")
        naive = error + other[:, None, None]
        found = skill_scores(np.zeros_like(error), error, naive, np.ones(1), blocks)
        held += found["skill_low"] <= 0.5 <= found["skill_high"]
    assert 0.88 <= held / 300 <= 0.99


def test_directions_by_hand():
    # Two windows of one step and two columns: the last values are nought.
    truth = np.array([[[1.0, -1]], [[2, 0]]])
    mean = np.array([[[3.0, 1]], [[0, 5]]])  # right, wrong; says nothing, and nothing moved
    last, blocks = np.zeros((2, 2)), np.array([0, 1])
    found = direction_scores(truth, mean, last, np.array([True, True]), blocks)
    assert found == {"direction": 0.5, "direction_constant": pytest.approx(2 / 3)}
    assert direction_scores(truth, last[:, None], last, np.array([True, True]), blocks) == {}


def test_the_direction_of_a_coin_is_told_to_be_one():
    draw = np.random.default_rng(0)
    truth, mean = draw.normal(size=(2, 400, 1, 1))
    blocks, last = time_blocks(np.arange(400), 1, 5), np.zeros((400, 1))
    found = direction_scores(truth, mean, last, np.array([True]), blocks)
    assert found["direction_low"] < 0.5 < found["direction_high"]
    sure = direction_scores(truth, truth, last, np.array([True]), blocks)
    assert (sure["direction"], sure["direction_low"], sure["direction_high"]) == (1, 1, 1)
    few = direction_scores(truth[:10], mean[:10], last[:10], np.array([True]), blocks[:10])
    assert "direction_low" not in few


def test_errors_in_units_by_hand():
    truth, mean = np.zeros((1, 2, 2)), np.array([[[3.0, 10], [-4, 10]]])
    found = unit_scores(truth, mean, ["a", "b"])
    assert found == {
        "mae_a": 3.5, "rmse_a": pytest.approx(np.sqrt(12.5)), "mae_b": 10, "rmse_b": 10,
    }  # fmt: skip
    assert unit_scores(np.zeros((1, 1, 9)), np.zeros((1, 1, 9)), "abcdefghi") == {}
