"""Steps of regular series: found, moved by, named, and turned into phases of the calendar."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.frequency import (
    DAY,
    HOUR,
    MINUTE,
    WEEK,
    YEAR,
    Frequency,
    calendar_features,
    calendar_names,
    infer_frequency,
    iso,
)

MONTH = Frequency(1, months=True)
MONTH_END = Frequency(1, months=True, month_end=True)


def seconds(*stamps):
    return np.array(stamps, "datetime64[s]").astype(np.int64)


@pytest.mark.parametrize("step", [1, 7, 300, HOUR, DAY, WEEK, 28 * DAY, 30 * DAY])
def test_equal_steps_are_found(step):
    assert infer_frequency(np.arange(5) * step - 10**9) == Frequency(step)


def test_the_commonest_step_wins_and_its_multiples_fit():
    times = np.cumsum([0, 60, 60, 120, 90, 60])
    assert infer_frequency(times) == Frequency(60)
    assert infer_frequency(np.array([5, 11])) == Frequency(6)


@pytest.mark.parametrize(("stamps", "found"), [
    (("2019-12-01", "2020-01-01", "2020-02-01", "2020-03-01"), MONTH),
    (("2020-01-15T06:30", "2020-02-15T06:30", "2020-03-15T06:30"), MONTH),
    (("2019-12-28", "2020-01-28", "2020-02-28", "2020-03-28"), MONTH),
    (("2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"), MONTH_END),
    (("2020-03-31", "2020-06-30", "2020-09-30"), Frequency(3, months=True, month_end=True)),
    (("2020-01-01", "2020-04-01", "2020-07-01", "2020-10-01"), Frequency(3, months=True)),
    (("2019-01-01", "2020-01-01", "2021-01-01"), Frequency(12, months=True)),
    (("2020-01-01", "2020-02-01", "2020-04-01", "2020-05-01", "2020-06-01"), MONTH),
])  # fmt: skip
def test_months_are_found_whatever_their_length(stamps, found):
    assert infer_frequency(seconds(*stamps)) == found


@pytest.mark.parametrize(("frequency", "start", "steps", "end"), [
    (Frequency(HOUR), "2020-02-28T23:00", 2, "2020-02-29T01:00:00"),
    (Frequency(HOUR), "1970-01-01T00:00", -1, "1969-12-31T23:00:00"),
    (MONTH, "2020-01-15T06:30", 1, "2020-02-15T06:30:00"),
    (MONTH, "2020-12-28", 2, "2021-02-28T00:00:00"),
    (MONTH, "2020-01-01", -1, "2019-12-01T00:00:00"),
    (MONTH, "1970-01-05", -13, "1968-12-05T00:00:00"),
    (MONTH_END, "2020-01-31", 1, "2020-02-29T00:00:00"),
    (MONTH_END, "2020-02-29", 1, "2020-03-31T00:00:00"),
    (MONTH_END, "2020-02-29", -2, "2019-12-31T00:00:00"),
    (Frequency(12, months=True), "2020-02-01", 3, "2023-02-01T00:00:00"),
])  # fmt: skip
def test_after_and_before(frequency, start, steps, end):
    assert iso(frequency.after(seconds(start), steps)) == [end]


def test_after_takes_arrays_of_steps_and_of_times():
    moved = MONTH.after(seconds("2020-11-01")[0], np.arange(1, 4))
    assert iso(moved) == ["2020-12-01T00:00:00", "2021-01-01T00:00:00", "2021-02-01T00:00:00"]
    assert Frequency(5).after(np.array([0, 100]), np.array([1, -1])).tolist() == [5, 95]
    assert Frequency(5).after([0, 100], 2).dtype == np.int64


@given(
    st.integers(-(10**10), 10**10),
    st.integers(-500, 500),
    st.sampled_from([Frequency(7), Frequency(DAY), MONTH, Frequency(3, months=True)]),
)
def test_there_and_back_is_the_same_time(time, steps, frequency):
    if frequency.months:  # a day that all months have
        month = np.datetime64(time, "s").astype("datetime64[M]").astype("datetime64[s]")
        time = int(month.astype(np.int64)) + time % (28 * DAY)
    there = frequency.after(time, steps)
    assert int(frequency.after(there, -steps)) == time
    # In one stride as step by step.
    assert int(frequency.after(frequency.after(time, steps - 1), 1)) == int(there)


@given(st.integers(0, 2000), st.integers(-300, 300))
def test_month_ends_stay_month_ends(month, steps):
    end = seconds(np.datetime64(month + 1, "M"))[0] - DAY
    moved = MONTH_END.after(end, steps)
    assert iso([moved + DAY])[0].endswith("-01T00:00:00")
    assert int(MONTH_END.after(moved, -steps)) == int(end)


@pytest.mark.parametrize(("frequency", "season"), [
    (Frequency(1), 86400),
    (Frequency(MINUTE), 1440),
    (Frequency(7), 86400),  # a day is no multiple of it, but a week is
    (Frequency(12 * HOUR), 2),
    (Frequency(DAY), 7),
    (Frequency(2 * DAY), 182),
    (Frequency(WEEK), 52),
    (Frequency(30 * DAY), 1),
    (Frequency(YEAR), 1),
    (MONTH, 12),
    (MONTH_END, 12),
    (Frequency(3, months=True), 4),
    (Frequency(12, months=True), 1),
    (Frequency(24, months=True), 1),
])  # fmt: skip
def test_season(frequency, season):
    assert frequency.season == season


@pytest.mark.parametrize(("frequency", "text"), [
    (Frequency(1), "second"),
    (Frequency(90), "90 seconds"),
    (Frequency(300), "5 minutes"),
    (Frequency(HOUR), "hour"),
    (Frequency(36 * HOUR), "36 hours"),
    (Frequency(DAY), "day"),
    (Frequency(28 * DAY), "4 weeks"),
    (MONTH, "month"),
    (MONTH_END, "month"),
    (Frequency(3, months=True), "3 months"),
    (Frequency(12, months=True), "year"),
    (Frequency(60, months=True), "5 years"),
])  # fmt: skip
def test_text(frequency, text):
    assert str(frequency) == text


def test_seconds_of_a_step():
    assert Frequency(300).seconds == 300
    assert MONTH.seconds * 12 == YEAR == Frequency(12, months=True).seconds


@pytest.mark.parametrize(("step", "rows", "names"), [
    (HOUR, 47, ()),
    (HOUR, 48, ("day",)),
    (HOUR, 2 * 168 - 1, ("day",)),
    (HOUR, 2 * 168, ("day", "week")),
    (HOUR, 2 * YEAR // HOUR, ("day", "week")),
    (HOUR, 2 * YEAR // HOUR + 1, ("day", "week", "year")),
    (12 * HOUR, 1000, ("week",)),  # two steps a day tell its halves apart, no more
    (8 * HOUR, 1000, ("day", "week")),
    (DAY, 13, ()),
    (DAY, 14, ("week",)),
    (DAY, 731, ("week", "year")),
    (WEEK, 104, ()),
    (WEEK, 105, ("year",)),
])  # fmt: skip
def test_a_cycle_is_told_where_train_holds_it_twice_and_steps_are_short(step, rows, names):
    assert calendar_names(Frequency(step), rows) == names


def test_cycles_of_months():
    assert calendar_names(MONTH, 23) == ()
    assert calendar_names(MONTH, 24) == ("year",)
    assert calendar_names(Frequency(3, months=True), 8) == ("year",)
    assert calendar_names(Frequency(6, months=True), 100) == ()


@pytest.mark.parametrize(("hour", "sine", "cosine"), [
    (0, 0, 1), (6, 1, 0), (12, 0, -1), (18, -1, 0), (24, 0, 1), (-6, -1, 0), (-24, 0, 1),
])  # fmt: skip
def test_noon_is_half_a_day(hour, sine, cosine):
    features = calendar_features(np.array([hour * HOUR]), ("day",))
    np.testing.assert_allclose(features, [[sine, cosine]], atol=1e-7)
    assert features.dtype == np.float32


def test_features_are_sines_then_cosines_cycle_by_cycle_and_wave_by_wave():
    # A quarter of a day, whose second wave is at its half; 1/28 of a week.
    features = calendar_features(np.array([[6 * HOUR]]), ("day", "week"), harmonics=2)
    assert features.shape == (1, 1, 8)
    angles = np.array([np.pi / 2, np.pi, 2 * np.pi / 28, 2 * np.pi / 14])
    np.testing.assert_allclose(features[0, 0, :4], np.sin(angles), atol=1e-7)
    np.testing.assert_allclose(features[0, 0, 4:], np.cos(angles), atol=1e-7)
    assert calendar_features(np.arange(3), ()).shape == (3, 0)


@given(st.integers(-(2**40), 2**40), st.integers(-3, 3))
def test_features_come_again_after_a_cycle(time, cycles):
    for name, period in (("day", DAY), ("week", WEEK), ("year", YEAR)):
        again = calendar_features(np.array([time, time + cycles * period]), (name,), 4)
        np.testing.assert_array_equal(again[0], again[1])
        waves = again.reshape(2, 2, 4)
        np.testing.assert_allclose(np.square(waves).sum(1), 1, atol=1e-6)


def test_iso():
    times = seconds("2016-07-01", "1969-12-31T23:59:59", "2100-01-01")
    wanted = ["2016-07-01T00:00:00", "1969-12-31T23:59:59", "2100-01-01T00:00:00"]
    assert iso(times) == wanted
    assert iso(times.tolist()) == wanted
    assert iso([]) == []
