"""The formulas behind the default series: deterministic, clean where they say so, hard enough."""

import numpy as np
import pytest

from common.errors import DataError
from pipelines.synthetic_series import (
    DEMAND_COLUMNS,
    KINDS,
    SENSOR_COLUMNS,
    _sensor,
    synthetic_demand,
    synthetic_sensor,
)

MAKERS = (synthetic_demand, synthetic_sensor)


@pytest.fixture(scope="module")
def demand():
    return synthetic_demand()


@pytest.fixture(scope="module")
def sensor():
    return synthetic_sensor()


@pytest.fixture(scope="module")
def machine():
    """Clean values, values and events of the default sensor."""
    return _sensor(6000, 0)


def correlation(first, second):
    return float(np.corrcoef(first, second)[0, 1])


@pytest.mark.parametrize("make", MAKERS)
def test_the_seed_decides(make):
    one, same, other = make(1500, 3), make(1500, 3), make(1500, 4)
    np.testing.assert_array_equal(one.values, same.values)
    np.testing.assert_array_equal(one.times, same.times)
    assert one.windows == same.windows
    assert not np.array_equal(one.values, other.values)
    assert np.isfinite(make(1500, -1).values).all()


@pytest.mark.parametrize(
    ("make", "rows", "step", "columns"),
    [(synthetic_demand, 5000, 3600, DEMAND_COLUMNS), (synthetic_sensor, 6000, 300, SENSOR_COLUMNS)],
)
def test_shapes_types_and_times(make, rows, step, columns):
    for series, length in ((make(), rows), (make(1001, 1), 1001)):
        assert len(series) == length
        assert series.values.shape == (length, len(columns))
        assert (series.values.dtype, series.times.dtype) == (np.float32, np.int64)
        assert series.columns == columns
        assert series.frequency.seconds == step
        assert str(series.times[:1].astype("datetime64[s]")[0]) == "2020-01-01T00:00:00"
        assert (np.diff(series.times) == step).all()
        assert np.isfinite(series.values).all()
        assert (series.values[:, :2] > 0).all()


@pytest.mark.parametrize(
    ("make", "rows", "least", "usual"),
    [
        (synthetic_demand, 399, 400, 5000),
        (synthetic_demand, 2_000_001, 400, 5000),
        (synthetic_sensor, 999, 1000, 6000),
        (synthetic_sensor, 2_000_001, 1000, 6000),
    ],
)
def test_rows_out_of_range(make, rows, least, usual):
    with pytest.raises(DataError) as error:
        make(rows)
    assert str(error.value) == (
        f"synthetic data of {rows} rows cannot be made: ask for {least} to 2000000, "
        f"as in synthetic:{usual}."
    )


@pytest.mark.parametrize("rows", [400, 401])
def test_least_demand(rows):
    values = synthetic_demand(rows).values
    assert values[:24, 2].all()  # New Year
    assert values[120:144, 2].all()  # 6 January


def test_demand_has_a_day_and_a_week(demand):
    orders = demand.values[:, 0]
    at = {lag: correlation(orders[:-lag], orders[lag:]) for lag in (12, 24, 84, 168)}
    assert at[24] > 0.4
    assert at[168] > at[24] > at[12]
    assert at[168] > at[84]


def test_covariates_are_flags_and_holidays_whole_days(demand):
    flags = demand.values[:, 2:]
    assert set(np.unique(flags)) == {0, 1}
    days = flags[: len(flags) // 24 * 24, 0].reshape(-1, 24)
    assert (days == days[:, :1]).all()
    assert 0.05 < days.mean() < 0.2
    assert 0.1 < flags[:, 1].mean() < 0.35


def test_holidays_lower_demand_and_change_its_shape(demand):
    orders, _, holiday, _ = demand.values[:4992].reshape(208, 24, 4).transpose(2, 0, 1)
    free = (np.arange(208) + 2) % 7 >= 5
    working = orders[~free & (holiday[:, 0] == 0)].mean(0)
    closed = orders[holiday[:, 0] == 1].mean(0)
    assert 0.25 < closed.mean() / working.mean() < 0.5
    ratio = closed / working
    assert ratio.max() > 2.5 * ratio.min()  # an hour's holiday factor is not that of another
    assert (working.argmax(), closed.argmax()) == (19, 22)


def test_promotions_raise_demand_late(demand):
    orders, _, holiday, promotion = demand.values.T
    same_hour = np.full(5000, np.nan)
    same_hour[168:] = orders[168:] / orders[:-168]
    for row in np.flatnonzero(holiday):  # neither week may hold a holiday
        same_hour[[row, min(row + 168, 4999)]] = np.nan
    since = np.zeros(5000, int)
    for row in range(1, 5000):
        since[row] = since[row - 1] + 1 if promotion[row] else 0
    calm = np.concatenate([np.zeros(168, bool), promotion[:-168] == 0])
    late = np.nanmean(same_hour[calm & (since >= 12)])
    early = np.nanmean(same_hour[calm & (since >= 1) & (since <= 2)])
    assert late > 1.3
    assert late > early + 0.15


def test_traffic_follows_demand(demand):
    orders, traffic = demand.values[:, 0], demand.values[:, 1]
    change = orders[24:] - orders[:-24], traffic[24:] - traffic[:-24]
    at = [correlation(change[0][: len(change[0]) - lag], change[1][lag:]) for lag in range(9)]
    assert int(np.argmax(at)) in (3, 4)
    assert max(at) > 0.6


def test_a_seasonal_forecast_leaves_much_to_learn(demand):
    orders, _, holiday, _ = demand.values[168:].T
    error = np.abs(orders - demand.values[:-168, 0])
    assert error.mean() > 0.2 * orders.mean()  # the noise alone is about 2.5 %
    assert error[holiday == 1].mean() > 2 * error[holiday == 0].mean()


def test_the_sensor_has_a_day_and_a_lagged_coupling(machine):
    clean = machine[0][:2400]
    vibration, temperature = clean.T
    assert correlation(vibration[:-288], vibration[288:]) > 0.6
    assert correlation(vibration[:-144], vibration[144:]) < -0.5
    at = [correlation(vibration[: 2400 - lag], temperature[lag:]) for lag in range(60)]
    assert 12 <= int(np.argmax(at)) <= 36
    assert max(at) > 0.9 > at[0] + 0.05


@pytest.mark.parametrize("rows", [1000, 1001, 1999, 6000, 6001, 7777, 20000])
def test_windows_are_apart_few_and_late(rows):
    for seed in range(5):
        clean, values, events = _sensor(rows, seed)
        rest = np.ones(rows, bool)
        end = -1
        for first, last, kind, _ in events:
            assert end < first <= last < rows
            assert KINDS[kind][0] <= last - first + 1 <= KINDS[kind][1]
            rest[first : last + 1] = False
            end = last
        assert events[0].first >= 0.4 * rows
        assert 0 < (~rest).sum() <= rows / 10
        np.testing.assert_array_equal(values[rest], clean[rest])
        assert rows < 6000 or {event.kind for event in events} == set(KINDS)
        series = synthetic_sensor(rows, seed)
        assert series.windows == tuple((event.first, event.last) for event in events)
        np.testing.assert_array_equal(series.values, values)


def test_what_each_anomaly_is():
    for seed in range(5):
        clean, values, events = _sensor(6000, seed)
        mean, spread = clean.mean(0), clean.std(0)
        for first, last, kind, columns in events:
            rows = slice(first, last + 1)
            others = [column for column in (0, 1) if column not in columns]
            np.testing.assert_array_equal(values[rows, others], clean[rows, others])
            change = (values - clean)[rows][:, columns] / spread[list(columns)]
            score = np.abs((values[rows] - mean) / spread)
            if kind == "spike":
                assert np.abs(change).min() > 4
            elif kind == "shift":
                assert np.ptp(change) < 1e-3
                assert np.abs(change).min() > 1.5
            elif kind == "drift":
                assert (np.diff(np.abs(change[:, 0])) > 0).all()
                assert np.abs(change[-1, 0]) > 2
            elif kind == "stuck":
                assert len(np.unique(values[rows, columns[0]])) == 1
                assert score.max() < 3
            else:  # contextual: out of place by a lot, and yet nowhere out of range
                assert score.max() < 3
                assert (values[rows] >= clean.min(0) - 0.4 * spread).all()
                assert (values[rows] <= clean.max(0) + 0.4 * spread).all()
                assert np.abs(change).mean() > 0.6


def test_a_global_score_misses_contextual_anomalies(sensor, machine):
    fit = sensor.values[:2400]
    score = np.abs((sensor.values - fit.mean(0)) / fit.std(0)).max(1)
    normal = np.quantile(score[:2400], 0.999)
    for first, last, kind, _ in machine[2]:
        if kind in ("phase", "coupling"):
            assert score[first : last + 1].max() < 1.2 * normal
        if kind == "spike":
            assert score[first : last + 1].min() > 1.2 * normal


def test_fingerprints(demand, sensor):
    def summary(series):
        values = series.values.astype(np.float64)
        return [*values.mean(0), *values.std(0), *values[1234]]

    expected = [
        340.51,
        198.159,
        0.12,
        0.159,
        200.084,
        64.867,
        0.325,
        0.366,
        497.02,
        189.63,
        0.0,
        0.0,
    ]
    np.testing.assert_allclose(summary(demand), expected, atol=0.006)
    expected = [5.444, 62.414, 0.947, 6.34, 5.44, 59.43]
    np.testing.assert_allclose(summary(sensor), expected, atol=0.006)
    assert len(sensor.windows) == 12
    assert sensor.windows[:3] == ((2586, 2617), (2761, 2761), (3029, 3061))
