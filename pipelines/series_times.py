"""The times of series: how stamps are read, and rows put in order and on a grid without holes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np

from common.errors import DataError
from pipelines.frequency import DAY, Frequency, iso
from pipelines.messages import shorten
from pipelines.readers import Row
from pipelines.series_table import RawTable

NAT = np.iinfo(np.int64).min
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
OFFSET = re.compile(r"[T ]\d{2}.*([Zz]| UTC|[+-]\d{2}(:?\d{2})?)$")
_DIGITS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}
# Of two ways to read a stamp, the first where no cell of the file decides.
_DATES = (
    "%Y/%m/%d|%m/%d/%Y,%d/%m/%Y|%d.%m.%Y,%m.%d.%Y|%m-%d-%Y,%d-%m-%Y|%m/%d/%y,%d/%m/%y|%d.%m.%y,"
    "%m.%d.%y|%b %Y|%B %Y|%b-%Y|%Y %b|%d %b %Y|%d-%b-%Y|%d %B %Y|%b %d; %Y|%B %d; %Y"
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = [("ISO8601",)] + [
    tuple(way.replace(";", ",") + clock for way in ways.split(","))
    for ways in _DATES.split("|")
    for clock in _CLOCKS
]


def bad_stamp(row: Row, column: str) -> DataError:
    """The error of a cell that is no stamp."""
    return DataError(
        f"{row.where}: column '{column}': '{shorten(row.values[column])}' is not read as "
        "a date or time (2016-07-01 13:00, 1949-01, 07/01/2016 13:00, Jan 1949 or seconds since "
        "1970 are, all rows alike); correct it, or name another column with --time-column."
    )


def stamp_formats(cells: Sequence[str]) -> tuple[tuple[str, ...], float]:
    """The ways to read stamps (two where day and month may be mistaken), and how many fit."""
    best, most = (), 0.0
    numeric = [cell for cell in cells if NUMBER.fullmatch(cell)]
    plain = 2 * len(numeric) > len(cells)
    for ways in [(_DIGITS.get(len(numeric[0]), "epoch"),)] if plain else _FORMATS:
        if cells and most < 1:
            share = float(np.mean(np.max([stamp_seconds(cells, way) for way in ways], 0) != NAT))
            best, most = (ways, share) if share > most else (best, most)
    return best, most


def stamp_seconds(cells: Sequence[str], way: str) -> np.ndarray:
    """Seconds since 1970 of stamps; `NAT` where one cannot be read so."""
    import pandas as pd

    texts = np.array([cell.replace(" UTC", "Z") for cell in cells], object)
    if way != "epoch":
        found = pd.to_datetime(texts, format=way, errors="coerce", utc=True)
        return np.array(found.as_unit("s").asi8)
    numbers = np.array(pd.to_numeric(texts, errors="coerce"), np.float64)
    numbers[~((numbers >= 1e8) & (numbers < 1e19))] = np.nan
    for scale in (1e17, 1e14, 1e11):  # nano-, micro- and milliseconds
        numbers = np.where(numbers >= scale, numbers / 1000, numbers)
    return np.where(np.isnan(numbers), NAT, np.nan_to_num(np.floor(numbers)).astype(np.int64))


def one_reading(table: RawTable, readings: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Decides which of month and day comes first."""
    good = (readings != NAT).all(1)
    if not good.any():
        best = (readings != NAT).sum(1).argmax()
        line = lines[np.argmin(readings[best] != NAT)]
        raise table.error(
            line,
            f"column '{table.time}': this stamp has day and month in another order than most; "
            "write all alike, best as 2016-07-01.",
        )
    if good.sum() == 2 and (readings[0] != readings[1]).any():
        first = "month" if "%m" in table.formats[0][:2] else "day"
        table.notes.append(
            f"Column '{table.time}': no stamp tells whether the month or the day comes first; they "
            f"were read {first} first. Write 2016-07-01 if that is wrong."
        )
    return readings[good.argmax()]


def time_zone(name: str) -> ZoneInfo | None:
    """The zone of ``--timezone``, None where there is none."""
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError) as error:
        raise DataError(
            f"--timezone {name} is not known; give a name such as Europe/Berlin or UTC."
        ) from error


def _utc(table: RawTable, local: np.ndarray, zone: ZoneInfo) -> np.ndarray:
    """Local seconds, in the order of the file, as seconds of UTC."""
    import pandas as pd

    stamps = pd.DatetimeIndex(local.astype("datetime64[s]"))
    summer, winter = (
        stamps.tz_localize(zone, np.full(len(local), flag), "shift_forward").as_unit("s")
        for flag in (True, False)
    )
    moved = (summer.tz_localize(None) != stamps).sum()
    table.tell("stamp{s}", "skipped by the clock in spring and moved forward.", moved)
    times, later = np.array(summer.asi8), winter.asi8
    second, previous = False, -DAY * 10**9
    # The hour that comes twice in autumn: it is the second from where the clock goes back.
    doubled = np.flatnonzero(times != later)
    for row in doubled if local[0] <= local[-1] else doubled[::-1]:
        near = abs(local[row] - previous) < DAY / 2
        second = near and (second or local[row] <= previous)
        times[row] = later[row] if second else times[row]
        previous = local[row]
    return times


def in_order(
    table: RawTable, where: str, rows: np.ndarray, times: np.ndarray, lines: np.ndarray,
    zone: ZoneInfo | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Returns the rows of a series in order of time, one of each time, and their times."""
    if zone and not table.offset and table.formats[0] != "epoch":
        times = _utc(table, times, zone)
    late = np.flatnonzero(times < np.maximum.accumulate(times))
    if late.size:
        line = lines[rows[late[0]]]
        done = "out of order and sorted (the first {where})."
        table.tell("row{s}", done, late.size, -line, table.at(line))
    order = np.argsort(times, kind="stable")
    rows, times = rows[order], times[order]
    last = np.append(np.diff(times) > 0, True)
    twice = np.flatnonzero(~last)
    if twice.size:
        line = lines[rows[twice + 1]].min()
        if twice.size * 10 > len(rows):
            raise table.error(
                line,
                f"{twice.size} of {len(rows)} rows have the stamp of another row (to the second); "
                "name the column that tells several series apart with --id-column.",
            )
        done = "left out, as a later row has the same stamp (the first {where})."
        table.tell("row{s}", done, twice.size, -line, table.at(line))
    if last.sum() < 2:
        raise DataError(f"{where} has one row; give at least 2.")
    return rows[last], times[last]


def on_grid(
    table: RawTable, where: str, times: np.ndarray, step: Frequency
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows that stay, the times of the grid, and the rows' places on it."""
    months = times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    units = months if step.months else times
    phases, counts = np.unique(units % step.count, return_counts=True)
    anchor = int(np.argmax(units % step.count == phases[counts.argmax()]))
    places = np.rint((units - units[anchor]) / step.count).astype(np.int64)
    off = np.abs(units - units[anchor] - places * step.count)
    gaps = np.diff(units)
    if np.mean(gaps % step.count == 0) < 0.8:
        sizes, counts = np.unique(gaps, return_counts=True)
        usual = np.argsort(-counts, kind="stable")[:2]
        steps = " and ".join(
            f"{Frequency(int(sizes[i]), step.months)} ({counts[i] / len(gaps):.0%})" for i in usual
        )
        raise DataError(f"{where} has mixed frequencies, mostly {steps}; resample it to one step.")
    if np.mean(off > 0) > 0.05 or (off * 2 >= step.count).any():
        raise DataError(
            f"{where}: {np.mean(off > 0):.1%} of the rows, the first at "
            f"{iso(times[off > 0][:1])[0]}, lie between the steps (one {step}); resample it to one "
            "step (where steps are days or longer, leave --timezone away)."
        )
    table.tell("row{s}", "between two steps and moved to the nearer one.", (off > 0).sum())
    order = np.lexsort((off, places))  # of rows on one place, the one that was nearest
    kept = order[np.append(True, np.diff(places[order]) > 0)]
    table.tell("row{s}", "left out, as another is nearer to its step.", len(order) - len(kept))
    places = places[kept] - places[kept[0]]
    holes = int(places[-1]) + 1 - len(kept)
    if holes > len(kept):
        raise DataError(
            f"{where}: between {len(kept)} rows {holes} are missing (one each {step}); resample it "
            "to a longer step, or cut it at its gaps."
        )
    if holes:
        size = int(np.diff(places).max()) - 1
        after = iso(times[kept[[np.diff(places).argmax()]]])[0]
        done = "inserted and interpolated (longest gap: {size}, after {where})."
        table.tell("missing row{s}", done, holes, size, after)
    start = int(np.rint((units[kept[0]] - units[anchor]) / step.count))
    return kept, step.after(times[anchor], start + np.arange(places[-1] + 1)), places


def fill(
    table: RawTable, where: str, raw: np.ndarray, rows: np.ndarray, places: np.ndarray,
    grid: np.ndarray, keep: list[int], block: np.ndarray, open_end: bool,
) -> None:  # fmt: skip
    """Writes the rows to their places in the block, and what lies between them."""
    known = np.stack([~np.isnan(raw[rows, column]) for column in keep])
    targets, end = sum(column < table.targets for column in keep), len(rows)
    if open_end:
        seen = np.flatnonzero(known[:targets].any(0)).max(initial=-1) + 1
        end = int(seen) if known[targets:, seen:].any() else end
    for index, column in enumerate(keep):
        stop, name = end if index < targets else len(rows), table.columns[column]
        there = known[index, :stop]
        missing = stop - int(there.sum())
        if not there.any() or (index < targets and 2 * missing > stop):
            raise DataError(
                f"{where}: column '{name}' is missing in {missing} of {stop} rows; fill it, or "
                "name other columns with --target."
            )
        at = places[:stop][there]
        block[:, index] = np.interp(grid, grid[at], raw[rows[:stop][there], column])
        if missing:
            run = int(np.diff(np.flatnonzero(np.concatenate([[1], there, [1]]))).max()) - 1
            done = "interpolated (longest run: {size})."
            table.tell(f"missing value{{s}} of '{name}'", done, missing, run)
        if stop < len(rows):
            block[places[stop - 1] + 1 :, index] = np.nan
