"""Baselines of forecasting, by hand and on series whose future is certain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.forecasting_baselines import (
    ALPHAS,
    DAY,
    NAIVE,
    Climatology,
    ExponentialSmoothing,
    Ridge,
    naive_map,
    seasonal_naive,
)


@pytest.mark.parametrize(("season", "horizon", "forecast"), [
    (1, 3, [4, 4, 4]),
    (3, 5, [2, 3, 4, 2, 3]),
    (3, 2, [2, 3]),
    (4, 4, [1, 2, 3, 4]),
    (5, 2, [4, 4]),  # the past holds no season
])  # fmt: skip
def test_seasonal_naive_by_hand(season, horizon, forecast):
    past = np.array([1, 2, 3, 4])[None, :, None] * np.array([1, 10])
    got = seasonal_naive(past, horizon, season)
    assert got[0, :, 0].tolist() == forecast
    assert got[0, :, 1].tolist() == [10 * value for value in forecast]


@given(st.integers(1, 9), st.integers(1, 20), st.integers(9, 20))
def test_seasonal_naive_is_right_about_a_series_that_repeats_itself(season, horizon, lookback):
    rows = np.arange(lookback + horizon) % season
    past, future = rows[None, :lookback, None], rows[None, lookback:, None]
    np.testing.assert_array_equal(seasonal_naive(past, horizon, season), future)


@pytest.mark.parametrize(("name", "forecast"), [
    ("last_value", [7, 7, 7]),
    ("seasonal_naive", [3, 7, 3]),
    ("drift", [9, 11, 13]),
    ("window_mean", [3.5, 3.5, 3.5]),
])  # fmt: skip
def test_naive_forecasts_by_hand_and_as_maps(name, forecast):
    past = np.array([1.0, 3, 3, 7])[None, :, None] * np.array([1, -10])
    got = NAIVE[name](past, 3, 2)
    assert got[0, :, 0].tolist() == forecast
    assert got[0, :, 1].tolist() == [-10 * value for value in forecast]
    np.testing.assert_allclose(naive_map(name, 4, 3, 2)(past), got, atol=1e-5)


def test_a_ridge_as_a_map_says_the_same_of_single_precision():
    past, future = linear_windows(200, 0)
    ridge = Ridge(past, future)
    np.testing.assert_array_equal(ridge.map(past), ridge.predict(past))
    assert ridge.map.kernel.shape == (2, 6, 3)


def linear_windows(count, seed):
    """Two columns; the future is the last value and a linear map of the steps up to it."""
    draw = np.random.default_rng(seed)
    maps = np.random.default_rng(9).normal(size=(2, 5, 3))
    past = draw.normal(size=(count, 6, 2)) + 10 * draw.normal(size=(count, 1, 2))
    away = (past - past[:, -1:])[:, :5]
    future = np.einsum("nlc,clh->nhc", away, maps) + past[:, -1:] + [3, -2]
    return past.astype(np.float32), future.astype(np.float32)


def test_ridge_recovers_an_exact_linear_map():
    past, future = linear_windows(500, 0)
    ridge = Ridge(past, future)
    ridge.choose(*linear_windows(100, 1))
    assert ridge.penalty == ALPHAS[0], "there is no noise to be careful of"
    past, future = linear_windows(100, 2)
    got = ridge.predict(past)
    assert got.shape == (100, 3, 2)
    np.testing.assert_allclose(got, future, atol=0.02)


def test_ridge_is_careful_where_there_is_only_noise():
    draw = np.random.default_rng(0)
    past = np.concatenate([draw.normal(size=(60, 40, 1)), np.zeros((60, 1, 1))], 1)
    ridge = Ridge(past[:30], draw.normal(size=(30, 2, 1)))
    ridge.choose(past[30:], draw.normal(size=(30, 2, 1)))
    assert ridge.penalty == ALPHAS[-1]
    assert np.abs(ridge.predict(past)).max() < 1


def test_a_penalty_shrinks_as_by_hand():
    # Windows of two rows less their last value: one feature x of -1 and 1, and y = 2x. The normal
    # equation is (2 + penalty) w = 4.
    past = np.array([[-1, 0], [1, 0]], np.float64)[..., None]
    future = np.array([[-2], [2]], np.float64)[..., None]
    ridge = Ridge(past, future)
    for penalty in (0.1, 2.0):
        ridge.penalty = penalty
        got = ridge.predict(past)[:, 0, 0]
        np.testing.assert_allclose(got, np.array([-4, 4]) / (2 + penalty))
    # From any level alike.
    np.testing.assert_allclose(ridge.predict(past + 7)[:, 0, 0], np.array([-1, 1]) + 7)


def test_a_constant_series_stays_so():
    rows = np.tile([5.0, -3.0], (60, 1))
    for season in (1, 6):
        got = ExponentialSmoothing(rows, season).forecasts(rows, np.array([20, 59]), 4)
        np.testing.assert_allclose(got, np.tile([5.0, -3.0], (2, 4, 1)), atol=1e-9)


def test_a_line_goes_on():
    steps = np.arange(404.0)
    rows = np.stack([5 + 2 * steps, 100 - 0.5 * steps], 1)
    model = ExponentialSmoothing(rows[:300], 1)
    assert (model.weights[3] == 1).all(), "its trend is not damped"
    got = model.forecasts(rows[:400], np.array([350, 399]), 4)
    np.testing.assert_allclose(got[0], rows[351:355], atol=0.01)
    np.testing.assert_allclose(got[1], rows[400:404], atol=0.01)


def test_a_season_goes_on_at_its_own_phase():
    season = np.array([[3, 0], [1, 7], [4, -2], [1, 0], [5, 1.0]])
    rows = np.tile(season, (20, 1))
    model = ExponentialSmoothing(rows[:50], 5)
    origins = np.array([12, 40, 59])
    got = model.forecasts(rows, origins, 12)
    for i, origin in enumerate(origins):
        np.testing.assert_allclose(got[i], rows[origin + 1 : origin + 13], atol=1e-9)


def test_a_season_on_a_line_goes_on():
    steps = np.arange(900)
    rows = (0.2 * steps + np.array([4, -1, 0, -3])[steps % 4])[:, None]
    model = ExponentialSmoothing(rows[:600], 4)
    got = model.forecasts(rows[:890], np.array([880, 889]), 6)
    np.testing.assert_allclose(got[0], rows[881:887], atol=0.05)
    np.testing.assert_allclose(got[1], rows[890:896], atol=0.05)


@pytest.mark.parametrize(("weights", "forecast"), [
    # The level begins at 3, the mean of two rows. Errors of -1, 1.5 and 0.75, half of each taken.
    ((0.5, 0, 0, 1.0), [3.625, 3.625]),
    # Errors of -1 and 1.75 (4 - 2.25), then 0.6875 (4 - 3.3125): level 3.65625, trend 0.359375.
    ((0.5, 0.5, 0, 1.0), [4.015625, 4.375]),
    # Damped by a half: errors -1, 1.625 and 0.671875; level 3.6640625, trend 0.30859375, of which
    # a half is added, then a half and a quarter.
    ((0.5, 0.5, 0, 0.5), [3.818359375, 3.8955078125]),
])  # fmt: skip
def test_smoothing_by_hand(weights, forecast):
    rows = np.array([[2.0], [4.0], [4.0]])
    model = ExponentialSmoothing(rows, 1)
    model.weights = np.array(weights)[:, None]
    np.testing.assert_allclose(model.forecasts(rows, np.array([2]), 2)[0, :, 0], forecast)


def test_smoothing_of_a_season_by_hand():
    # Two seasons of two rows: the level begins at 4, the seasons at -2 and 2. The errors are
    # 1 - 2, 5 - 6, 3 - 1.5 - ... with nothing but the season learning, a half of each error:
    # -1 and -1, which make the seasons -2.5 and 1.5, then 3 - 1.5 and 7 - 5.5: -1.75 and 2.25.
    rows = np.array([[1.0], [5.0], [3.0], [7.0]])
    model = ExponentialSmoothing(rows, 2)
    model.weights = np.array([0, 0, 0.5, 0.9])[:, None]
    got = model.forecasts(rows, np.array([3]), 3)[0, :, 0]
    np.testing.assert_allclose(got, [2.25, 6.25, 2.25])


def test_the_weights_of_each_column_are_those_of_its_own_grid():
    draw = np.random.default_rng(0)
    walk, noise = draw.normal(size=400).cumsum(), draw.normal(size=400)
    both = ExponentialSmoothing(np.stack([walk, noise], 1), 1)
    assert both.weights[0, 0] >= 0.7, "a random walk is forecast by its last value"
    assert both.weights[0, 1] == 0.05, "and noise by its mean"
    for column, rows in enumerate((walk, noise)):
        alone = ExponentialSmoothing(rows[:, None], 1)
        np.testing.assert_array_equal(both.weights[:, [column]], alone.weights)


@pytest.mark.parametrize("season", [1, 7])
def test_forecasts_at_an_origin_do_not_depend_on_later_rows(season):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(120, 2)).cumsum(0)
    model = ExponentialSmoothing(rows[:80], season)
    origins = np.array([20, 90, 100])
    together = model.forecasts(rows, origins, 9)
    changed = rows.copy()
    changed[101:] = 1e6
    np.testing.assert_array_equal(model.forecasts(changed, origins, 9), together)
    for i, origin in enumerate(origins):
        np.testing.assert_array_equal(
            model.forecasts(rows[: origin + 1], origins[i : i + 1], 9)[0], together[i]
        )
        later = rows.copy()
        later[origin + 1 :] = -1e6
        np.testing.assert_array_equal(model.forecasts(later, origins, 9)[i], together[i])


def test_climatology_is_the_mean_of_the_days_around_of_train_alone():
    days = np.arange(np.datetime64("2001-01-01"), np.datetime64("2005-01-01"))
    times = days.astype("datetime64[s]").astype(np.int64)
    of_year = (days - days.astype("datetime64[Y]")).astype(int)
    values = np.stack([of_year * 0.0 + 3, np.cos(2 * np.pi * of_year / 365)], 1)
    model = Climatology(times, values, DAY)
    ahead = np.array(["2009-01-01", "2009-07-02"], "datetime64[s]").astype(np.int64)
    said = model(ahead[None])
    assert said.shape == (1, 2, 2)
    np.testing.assert_allclose(said[0, :, 0], 3, rtol=1e-6)
    # Triangular weights over fifteen days on either side flatten a year's cosine hardly at all.
    offsets = np.arange(-15, 16)
    weights = 1 - np.abs(offsets) / 16
    kept = (weights * np.cos(2 * np.pi * offsets / 365)).sum() / weights.sum()
    np.testing.assert_allclose(said[0, :, 1], [kept, -kept], atol=2e-3)


def test_climatology_tells_the_hours_of_a_day_apart():
    times = np.arange(0, 2 * 365 * 24) * 3600
    hours = np.arange(len(times)) % 24
    model = Climatology(times, hours[:, None].astype(float), 3600)
    assert model(times[-24:])[:, 0].tolist() == list(range(24))
    # Of days of the year that train does not hold nothing is known but the mean.
    short = Climatology(times[: 24 * 60], hours[: 24 * 60, None].astype(float), 3600)
    assert short(times[24 * 200 : 24 * 200 + 2])[:, 0].tolist() == [11.5, 11.5]
