"""Intervals: ranks by hand, what they cover on average, and what is said of that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.conformal import (
    ENOUGH,
    LONGEST,
    calibrate,
    conformal_quantile,
    coverage_range,
    recency_weights,
    weights_worth,
)

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)


def test_the_rank_by_hand():
    # Of nine scores a half is the rank 0.5 * 10, the fifth; 0.8 is the eighth.
    scores = np.array([9, 1, 8, 2, 7, 3, 6, 4, 5.0])
    for share, wanted in ((0.5, 5), (0.75, 8), (0.8, 8), (0.9, 9)):
        assert conformal_quantile(scores, share, np.ones(9), 9) == wanted


def test_of_fewer_independent_scores_a_higher_rank_is_asked_for():
    scores = np.arange(1, 101.0)
    found = [conformal_quantile(scores, 0.8, np.ones(100), n) for n in (100, 30, 10, 5)]
    # 0.8 * (n + 1) / n of the hundred.
    assert found == [81, 83, 88, 96]


def test_a_rank_beyond_the_last_goes_on_as_students_t_does():
    scores = np.arange(1, 10.0)
    # Rank 9.5 of 9: from the highest there is, the share 9 / 10.
    further = stats.t.ppf(0.975, 8) / stats.t.ppf(0.95, 8) * np.sqrt(10 / 9)
    assert conformal_quantile(scores, 0.95, np.ones(9), 9) == pytest.approx(9 * further)
    assert conformal_quantile(np.ones(1), 0.95, np.ones(1), 1) == LONGEST


@pytest.mark.parametrize(("weights", "wanted"), [
    ((1, 1, 1, 1.5), 3), ((1, 1, 1, 5), 4), ((5, 1, 1, 1), 1), ((0, 0, 0, 1), 4),
])  # fmt: skip
def test_weighted_ranks_by_hand(weights, wanted):
    for scale in (1.0, 0.01):  # only their proportions count
        found = conformal_quantile(
            np.arange(1, 5.0), 0.5, scale * np.array(weights, float), 1e9
        )  # fmt: skip
        assert found == wanted


@pytest.mark.parametrize("count", [4, 10, 30])
@pytest.mark.parametrize("share", [0.8, 0.95])
def test_so_set_a_further_score_is_covered_as_often_as_promised(count, share):
    """Over many calibrations of few normal scores; never less, and not everything."""
    draw = np.random.default_rng(count)
    scores = np.abs(draw.normal(size=(count, 4000)))
    bound = conformal_quantile(scores, share, np.ones(count), count)
    covered = (np.abs(draw.normal(size=(200, 4000))) <= bound).mean()
    assert share - 0.01 <= covered <= share + 1 / (count + 1) + 0.01


# ---- weights


def test_an_example_counts_half_after_an_eighth_of_the_time():
    weights = recency_weights(np.array([800, 0, 700, 400]))
    np.testing.assert_allclose(weights, [1, 2**-8, 0.5, 2**-4])
    assert recency_weights(np.array([5])).tolist() == [1]
    assert recency_weights(np.array([5, 5])).tolist() == [1, 1]


def test_windows_that_overlap_count_as_fewer():
    times = np.arange(1000)
    alone, count = weights_worth(times, 1)
    _, fewer = weights_worth(times, 10)
    assert fewer == pytest.approx(count / 10)
    assert count == pytest.approx(1000 * 16 / (64 * np.log(2)), rel=0.01)
    np.testing.assert_array_equal(alone, recency_weights(times))


def test_so_few_that_none_can_be_spared_all_count_alike():
    weights, count = weights_worth(np.arange(100), 10)
    assert count == pytest.approx(10)
    assert set(weights) == {1.0}
    assert count < ENOUGH


def test_a_season_is_no_drift():
    times = np.arange(2000)
    half = weights_worth(times, 1, cycle=900)[0]
    assert half[0] == pytest.approx(2**-2)  # twice the half-life of 1/2
    assert set(weights_worth(times, 1, cycle=2500)[0]) == {1.0}


# ---- whole intervals


def calibrated(truth, centre, quantiles, variance=None, **options):
    variance = np.ones((len(truth), truth.shape[2])) if variance is None else variance
    times = options.pop("times", np.arange(len(truth)))
    return calibrate(truth, centre, quantiles, variance, LEVELS, times, **options)


def interval(found, centre, quantiles, low):
    middle = quantiles[..., 2:3]
    moved = centre[..., None] + found.scale * (quantiles - middle) + found.offset
    return moved[..., low], moved[..., 4 - low]


def around(centre, width):
    """Quantiles at these distances from a centre."""
    reach = width[..., None] * np.array([-1.2, -0.7, 0, 0.7, 1.2])
    return centre[..., None] + reach


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 60))
def test_they_cover_what_they_promise_where_they_were_calibrated(seed, count):
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=(count, 2, 1)) * 3
    centre = draw.normal(size=truth.shape)
    quantiles = around(draw.normal(size=truth.shape), draw.uniform(0.1, 3, truth.shape))
    found = calibrated(truth, centre, quantiles, cycle=10**9, stride=2)
    assert not found.scale[..., 2].any()
    assert not found.offset[..., 2].any()
    for low, share in ((0, 0.95), (1, 0.8)):
        bottom, top = interval(found, centre, quantiles, low)
        inside = (truth >= bottom - 1e-5) & (truth <= top + 1e-5)
        assert (inside.mean(0) >= share - 1e-9).all()


def test_each_step_and_column_by_itself():
    draw = np.random.default_rng(0)
    scale = np.array([[1.0, 10], [3, 0.1]])
    truth = draw.normal(size=(3000, 2, 2)) * scale
    flat = np.zeros_like(truth)
    found = calibrated(truth, flat, around(flat, flat + 1), cycle=10**9)
    _, top = interval(found, flat, around(flat, flat + 1), 1)
    np.testing.assert_allclose(top[0], stats.norm.ppf(0.9) * scale, rtol=0.1)


def test_wilder_windows_have_wider_intervals():
    draw = np.random.default_rng(0)
    variance = np.where(np.arange(4000) % 2, 9.0, 1.0)[:, None]
    truth = draw.normal(size=(4000, 1, 1)) * np.sqrt(variance + variance.mean())[:, :, None]
    flat = np.zeros_like(truth)
    found = calibrated(truth, flat, around(flat, flat + 1), variance, cycle=10**9)
    assert found.variance == pytest.approx(5)
    spread = np.sqrt((variance + 5) / 10)[:, 0]
    top = interval(found, flat, around(flat, flat + 1), 1)[1][:, 0, 0] * spread
    inside = np.abs(truth[:, 0, 0]) <= top
    for part in (inside[::2], inside[1::2]):
        assert part.mean() == pytest.approx(0.8, abs=0.03)


# ---- what is said of them


def test_the_range_of_coverage_is_that_of_many_trials():
    draw = np.random.default_rng(1)
    n, m, share = 19, 40, 0.8
    bound = np.sort(draw.uniform(size=(20000, n)), 1)[:, int(share * (n + 1)) - 1]
    measured = draw.binomial(m, bound) / m
    low, high = coverage_range(share, n, m)
    assert np.quantile(measured, (0.025, 0.975)) == pytest.approx((low, high), abs=0.04)
    low, high = coverage_range(share, n, np.inf)
    assert np.quantile(bound, (0.025, 0.975)) == pytest.approx((low, high), abs=0.02)


def test_more_windows_say_more():
    widths = [np.subtract(*coverage_range(0.8, n, 1e9)) for n in (2, 10, 100, 10000)]
    assert widths == sorted(widths)
    low, high = coverage_range(0.95, 10**6, 10**6)
    assert 0.949 < low < 0.95 < high < 0.951
