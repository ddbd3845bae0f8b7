"""A demand and a sensor series from a few formulas: the offline default data of time series.

`synthetic_demand` is for forecasts. Holidays change the shape of the day as well as its level, a
product of hour and holiday that no linear map of the two follows; promotions multiply demand, with
a lag and a decay; the amplitudes of day and week change slowly.

`synthetic_sensor` is for anomalies. Its first 40 % are clean. Labelled windows in the rest hold
spikes, shifts, drifts, stuck values and two kinds that stay in the normal range of either column:
the pattern of half a day before, and a temperature that moves against the vibration.

The same arguments give the same series everywhere, but for a last digit where a machine rounds
sines otherwise: `random` and `standard_normal` of PCG64 are all that is drawn.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from common.errors import DataError
from pipelines.frequency import HOUR, MINUTE, Frequency
from pipelines.series import Series

START = 1_577_836_800  # 2020-01-01 00:00, a Wednesday, in seconds since 1970
MIN_DEMAND_ROWS, DEFAULT_DEMAND_ROWS = 400, 5000
MIN_SENSOR_ROWS, DEFAULT_SENSOR_ROWS, MAX_ROWS = 1000, 6000, 2_000_000
DEMAND_COLUMNS = ("demand", "traffic", "holiday", "promotion")
SENSOR_COLUMNS = ("vibration", "temperature")

# Holidays of every year as 100 * month + day.
_HOLIDAYS = (101, 106, 410, 413, 501, 611, 815, 1003, 1101, 1224, 1225, 1226, 1231)

# Kinds of anomaly with their least and greatest length in rows. One of each makes 279 rows at most,
# under 10 % of the 3000 rows whose last 60 % are six slots.
KINDS = {
    "spike": (1, 3), "shift": (24, 48), "drift": (36, 60), "stuck": (24, 48), "phase": (30, 60),
    "coupling": (30, 60),
}  # fmt: skip
# Rows: a little over a day, so that a slot has every hour in it; least between windows; half a day.
_SLOT, _GAP, _HALF_DAY = 300, 12, 144
_SPREAD = (0.9, 5.5)  # about one standard deviation of the clean columns, mm/s and degrees
_MIDDLE = 63.0  # degrees, between the least and the greatest clean temperature


class Event(NamedTuple):
    """One anomaly: its first and last row, its kind, and the columns that it touches."""

    first: int
    last: int
    kind: str
    columns: tuple[int, ...]


def synthetic_demand(rows: int = DEFAULT_DEMAND_ROWS, seed: int = 0) -> Series:
    """Generates the hourly orders of a shop and its delivery traffic, from 2020-01-01 00:00.

    Two columns are targets, both positive: demand, in orders an hour, and traffic, in vehicles an
    hour, which follows the demand of three to five hours before. Two are known in advance:
    holiday and promotion, 1 in every hour of one and otherwise 0.

    Args:
        rows: how many hours, 400 to 2000000.
        seed: any integer.

    Returns:
        A series of ``<float32>[rows, 4]`` values without labelled windows.

    Raises:
        DataError: `rows` is out of range.
    """
    _check(rows, MIN_DEMAND_ROWS, DEFAULT_DEMAND_ROWS)
    draw = np.random.Generator(np.random.PCG64(seed % 2**64))
    hour = np.arange(rows)
    holiday = _holidays(draw, -(-rows // 24))[hour // 24]
    promotion = _blocks(draw, rows, (6, 47), (72, 215))
    demand = _demand(hour, holiday, promotion) * np.exp(_noise(draw, rows, 0.7, 0.02))
    traffic = _traffic(hour, holiday, demand) * np.exp(_noise(draw, rows, 0.6, 0.02))
    values = np.stack([demand, traffic, holiday, promotion], -1).astype(np.float32)
    times = START + hour.astype(np.int64) * HOUR
    return Series("demand", times, values, DEMAND_COLUMNS, Frequency(HOUR))


def synthetic_sensor(rows: int = DEFAULT_SENSOR_ROWS, seed: int = 0) -> Series:
    """Generates the vibration and temperature of a machine every 5 minutes, some of it anomalous.

    The columns are vibration in mm/s and temperature in degrees Celsius, which follows vibration
    with a lag of about two hours. Windows lie in the last 60 % of the rows, do not overlap and
    hold at most 10 % of all rows; from 6000 rows on each of `KINDS` occurs.

    Args:
        rows: how many steps, 1000 to 2000000.
        seed: any integer.

    Returns:
        A series of ``<float32>[rows, 2]`` values, its windows in order of time.

    Raises:
        DataError: `rows` is out of range.
    """
    _check(rows, MIN_SENSOR_ROWS, DEFAULT_SENSOR_ROWS)
    _, values, events = _sensor(rows, seed)
    times = START + np.arange(rows, dtype=np.int64) * 5 * MINUTE
    windows = tuple((event.first, event.last) for event in events)
    return Series("sensor", times, values, SENSOR_COLUMNS, Frequency(5 * MINUTE), windows)


def _check(rows: int, least: int, usual: int) -> None:
    if not least <= rows <= MAX_ROWS:
        raise DataError(
            f"synthetic data of {rows} rows cannot be made: ask for {least} to {MAX_ROWS}, "
            f"as in synthetic:{usual}."
        )


def _between(draw: np.random.Generator, least: int, most: int) -> int:
    return least + int(draw.random() * (most - least + 1))


def _decaying(inputs: np.ndarray, keep: float) -> np.ndarray:
    """Sums of ``<float64>[time]`` in which a row counts ``keep`` times as much one row later."""
    sums = accumulate(inputs.tolist(), lambda state, value: keep * state + value)
    return np.fromiter(sums, np.float64, len(inputs))


def _noise(draw: np.random.Generator, rows: int, keep: float, scale: float) -> np.ndarray:
    """Autocorrelated noise ``<float64>[rows]`` whose innovations deviate by ``scale``."""
    return _decaying(scale * draw.standard_normal(rows), keep)


def _wave(row: np.ndarray, period: int, shift: float = 0) -> np.ndarray:
    """A sine of `period` rows that starts at the part `shift` of its cycle."""
    return np.sin(2 * np.pi * (row / period + shift))


def _bump(hour: np.ndarray, centre: float, width: float) -> np.ndarray:
    """1 at the hour `centre` of the day, less around it, `width` hours being its deviation."""
    away = (hour - centre + 12) % 24 - 12
    return np.exp(-0.5 * (away / width) ** 2)


def _holidays(draw: np.random.Generator, days: int) -> np.ndarray:
    """Whether each day is a holiday, some at random 5 to 14 days apart: ``<bool>[days]``."""
    dates = np.datetime64("2020-01-01") + np.arange(days)
    months = dates.astype("datetime64[M]")
    month, day = months.astype(np.int64) % 12 + 1, (dates - months).astype(np.int64) + 1
    return np.isin(100 * month + day, _HOLIDAYS) | (_blocks(draw, days, (1, 1), (5, 14)) > 0)


def _blocks(draw: np.random.Generator, rows: int, length: tuple, apart: tuple) -> np.ndarray:
    """1 in blocks of `length` rows that begin `apart` rows apart, least and most: ``[rows]``."""
    flags, row = np.zeros(rows), _between(draw, *apart)
    while row < rows:
        flags[row : row + _between(draw, *length)] = 1
        row += _between(draw, *apart)
    return flags


def _demand(hour: np.ndarray, holiday: np.ndarray, promotion: np.ndarray) -> np.ndarray:
    """Orders an hour before noise, ``<float64>[rows]``: level times week, day and promotion."""
    level = 400 * (1 + 0.3 * hour / (hour + 5000.0))
    week = 1 + (0.12 + 0.05 * _wave(hour, 24 * 97)) * _wave(hour, 168, 0.1)
    swell = 1 + 0.25 * _wave(hour, 24 * 61, 0.2)
    working = 0.8 * _bump(hour, 9, 2) + 1.0 * _bump(hour, 19, 2.5)
    weekend = 0.9 * _bump(hour, 13.5, 3.5)
    free = (hour // 24 + 2) % 7 >= 5  # the first day is a Wednesday
    shape = np.where(holiday, 0.4 * _bump(hour, 22, 2.5), np.where(free, weekend, working))
    day = np.where(holiday, 0.18, 0.35) + swell * shape
    lift = 1 + np.where(holiday, 0.2, 0.8) * _decaying(0.2 * np.pad(promotion[:-2], (2, 0)), 0.8)
    return level * week * day * lift


def _traffic(hour: np.ndarray, holiday: np.ndarray, demand: np.ndarray) -> np.ndarray:
    """Vehicles an hour before noise, ``<float64>[rows]``: own rush hours, deliveries of orders."""
    shares = ((3, 0.15), (4, 0.09), (5, 0.06))  # of the demand so many hours before
    deliveries = sum(share * demand[np.maximum(hour - lag, 0)] for lag, share in shares)
    rush = np.where(holiday, 0.25, 1.0) * (_bump(hour, 7.5, 1.5) + _bump(hour, 17, 2))
    own = 60 + 110 * (1 + 0.2 * _wave(hour, 24 * 83, 0.4)) * rush
    return own + deliveries


def _sensor(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[Event]]:
    """The clean and the anomalous values, ``<float32>[rows, 2]`` each, and what sets them apart."""
    draw = np.random.Generator(np.random.PCG64(seed % 2**64))
    clean = _machine(draw, rows)
    values, events = clean.copy(), _place(draw, clean)
    for event in events:
        _spoil(draw, clean, values, event)
    return clean.astype(np.float32), values.astype(np.float32), events


def _machine(draw: np.random.Generator, rows: int) -> np.ndarray:
    """Vibration in mm/s and temperature in degrees Celsius, ``<float64>[rows, 2]``."""
    step, load, row = np.arange(rows), np.zeros(rows), _between(draw, 0, 47)
    while row < rows:  # cycles of 3 to 10 hours, with 1 to 4 hours of rest
        length = _between(draw, 36, 120)
        load[row : row + length] = 0.5 + 0.5 * draw.random()
        row += length + _between(draw, 12, 48)
    season = _wave(step, 288, -0.25) + 0.2 * _wave(step, 144, 0.1)
    vibration = 5 + 1.2 * season + 0.8 * _decaying(0.3 * load, 0.7) + _noise(draw, rows, 0.5, 0.12)
    warming = 0.05 * (vibration[np.maximum(step - 6, 0)] - 5)
    warming[0] *= 20  # the machine has run before
    temperature = 60 + 6 * _decaying(warming, 0.95) + 1.5 * _wave(step, 288, -0.4)
    temperature += _noise(draw, rows, 0.8, 0.25)
    return np.stack([vibration, temperature], -1)


def _place(draw: np.random.Generator, clean: np.ndarray) -> list[Event]:
    """Chooses kind, place and length of the anomalies, one a slot of the last 60 % of the rows."""
    rows, events = len(clean), []
    left, kinds = rows // 10, []  # rows that may still be anomalous, kinds of this round
    for slot in range((2 * rows + 4) // 5, rows - _SLOT + 1, _SLOT):
        kinds = kinds or list(KINDS)
        kind = kinds.pop(_between(draw, 0, len(kinds) - 1))
        length, column = _between(draw, *KINDS[kind]), _between(draw, 0, 1)
        starts = [_between(draw, slot + _GAP, slot + _SLOT - length) for _ in range(8)]
        first = max(starts, key=lambda start: _strength(clean, kind, start, length))
        columns = {"phase": (0, 1), "coupling": (1,)}.get(kind, (column,))
        if length <= left:
            left -= length
            events.append(Event(first, first + length - 1, kind, columns))
    return events


def _strength(clean: np.ndarray, kind: str, start: int, length: int) -> float:
    """How far a contextual anomaly would stray from the clean rows; 0 for the other kinds."""
    vibration, temperature = clean[start:][:length].T
    if kind == "phase":
        return float(np.abs(vibration - clean[start - _HALF_DAY :][:length, 0]).mean())
    return float(np.abs(temperature - _MIDDLE).mean()) if kind == "coupling" else 0.0


def _spoil(draw: np.random.Generator, clean: np.ndarray, values: np.ndarray, event: Event) -> None:
    """Writes one anomaly into `values`, from the rows of `clean`."""
    rows, length = slice(event.first, event.last + 1), event.last + 1 - event.first
    column = event.columns[0]
    size, sign = draw.random(), 1 if draw.random() < 0.5 else -1
    if event.kind == "spike":  # of vibration always upwards, which has no negative values
        values[rows, column] += (sign if column else 1) * (6 + 2 * size) * _SPREAD[column]
    elif event.kind == "shift":
        values[rows, column] += sign * (1.8 + size) * _SPREAD[column]
    elif event.kind == "drift":
        values[rows, column] += np.linspace(0, sign * (2.4 + 0.8 * size) * _SPREAD[column], length)
    elif event.kind == "stuck":
        values[rows, column] = clean[event.first, column]
    elif event.kind == "phase":
        values[rows] = clean[event.first - _HALF_DAY :][:length]
    else:
        values[rows, column] = 2 * _MIDDLE - clean[rows, column]
