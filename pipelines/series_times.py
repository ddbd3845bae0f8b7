"""The times of series: rows put in order and on a grid without holes."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np

from common.errors import DataError
from pipelines.frequency import DAY, Frequency
from pipelines.series_table import RawTable

# Places of rows of a table: a slice where they follow one another, as then nothing is copied.
Rows = np.ndarray | slice


def some_rows(rows: Rows, kept: np.ndarray | None) -> Rows:
    """Those of some rows of a table that are kept; all where that is None."""
    if kept is None:
        return rows
    return kept + rows.start if isinstance(rows, slice) else rows[kept]


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
    table: RawTable, where: str, rows: Rows, times: np.ndarray, lines: np.ndarray,
    zone: ZoneInfo | None,
) -> tuple[Rows, np.ndarray]:  # fmt: skip
    """Returns the rows of a series in order of time, one of each time, and their times."""
    if zone and not table.offset and table.has_stamps:
        times = _utc(table, times, zone)
    if len(times) > 1 and (times[1:] > times[:-1]).all():
        return rows, times
    rows = some_rows(rows, np.arange(len(times)))
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
                f"{table.way_out}.",
            )
        done = "left out, as a later row has the same stamp (the first {where})."
        table.tell("row{s}", done, twice.size, -line, table.at(line))
    if last.sum() < 2:
        raise DataError(f"{where} has one row; give at least 2.")
    return rows[last], times[last]


def on_grid(
    table: RawTable, where: str, times: np.ndarray, step: Frequency
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """Returns the rows that stay, the times of the grid, and the rows' places on it; no rows and no
    places where all stay and each has its own.

    Between two sessions, or two days of business, there are no rows to be missing.
    """
    if not step.months and not step.pauses and (times[1:] - times[:-1] == step.count).all():
        return None, times, None
    units = times
    if step.months:
        units = times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    phases, counts = np.unique(units % step.count, return_counts=True)
    anchor = int(np.argmax(units % step.count == phases[counts.argmax()]))
    slots = np.rint((units - units[anchor]) / step.count).astype(np.int64)
    off = np.abs(units - units[anchor] - slots * step.count)
    _check_steps(where, times, units, off, step)
    table.tell("row{s}", "between two steps and moved to the nearer one.", (off > 0).sum())
    order = np.lexsort((off, slots))  # of rows on one place, the one that was nearest
    kept = order[np.append(True, np.diff(slots[order]) > 0)]
    table.tell("row{s}", "left out, as another is nearer to its step.", len(order) - len(kept))
    slots = slots[kept]
    jumps = np.where(_breaks(times[kept], step), 1, np.diff(slots))
    places = np.concatenate([[0], np.cumsum(jumps)])
    holes = int(places[-1]) + 1 - len(kept)
    if holes > len(kept):
        raise DataError(
            f"{where}: between {len(kept)} rows {holes} are missing (one each {step}); resample it "
            "to a longer step, cut it at its gaps, or add --time-column none if the rows simply "
            "follow one another."
        )
    if holes:
        size = int(jumps.max()) - 1
        after = step.label(times[kept[[jumps.argmax()]]])[0]
        done = "inserted and interpolated (longest gap: {size}, after {where})."
        table.tell("missing row{s}", done, holes, size, after)
    every = np.arange(places[-1] + 1)
    before = np.searchsorted(places, every, side="right") - 1
    slots = slots[before] + every - places[before]
    if not step.pauses:
        grid = step.after(times[anchor], slots)
    else:
        grid = times[anchor] + slots * step.count
    moved = (grid[places] != times[kept]).sum() if step.months else 0
    table.tell("row{s}", "moved within the month to the day that is usual.", moved)
    return kept, grid, places


def _breaks(times: np.ndarray, step: Frequency) -> np.ndarray:
    """Whether a session, or day of business, ends after a row: ``<bool>[rows - 1]``."""
    if step.some_days:
        return np.ones(len(times) - 1, bool)
    if not step.sessions:
        return np.zeros(len(times) - 1, bool)
    starts = np.array([first for first, _ in step.sessions])
    days, session = times // DAY, np.searchsorted(starts, times % DAY, side="right")
    return (np.diff(days) > 0) | (np.diff(session) != 0)


def _check_steps(
    where: str, times: np.ndarray, units: np.ndarray, off: np.ndarray, step: Frequency
) -> None:
    gaps = np.diff(units)[~_breaks(times, step)]
    if len(gaps) and np.mean(gaps % step.count == 0) < 0.8:
        sizes, counts = np.unique(gaps, return_counts=True)
        usual = np.argsort(-counts, kind="stable")[:2]
        steps = " and ".join(
            f"{Frequency(int(sizes[i]), step.months, counter=step.counter)} "
            f"({counts[i] / len(gaps):.0%})"
            for i in usual
        )
        raise DataError(
            f"{where} has mixed frequencies, mostly {steps}; resample it to one step, or add "
            "--time-column none if the rows simply follow one another."
        )
    if np.mean(off > 0) > 0.05 or (off * 2 >= step.count).any():
        raise DataError(
            f"{where}: {np.mean(off > 0):.1%} of the rows, the first at "
            f"{step.label(times[off > 0][:1])[0]}, lie between the steps (one {step}); resample it "
            "to one step (where steps are days or longer, leave --timezone away)."
        )


def open_rows_end(known: np.ndarray, targets: int, open_end: bool) -> int:
    """The row at which the targets end, where covariates go on: all rows else.

    Args:
        known: ``<bool>[columns, rows]``, where there is a value.
        targets: the first columns.
        open_end: whether targets may end.
    """
    rows = known.shape[1]
    if not open_end:
        return rows
    seen = np.flatnonzero(known[:targets].any(0)).max(initial=-1) + 1
    return int(seen) if known[targets:, seen:].any() else rows


def check_filled(
    where: str, known: np.ndarray, names: list[str], targets: int, open_end: bool
) -> None:
    """Refuses a series with a target that is missing in more than half of its rows, or a column
    that is missing in all."""
    end = open_rows_end(known, targets, open_end)
    for index, name in enumerate(names):
        there = known[index, : end if index < targets else None]
        missing = len(there) - int(there.sum())
        if not there.any() or (index < targets and 2 * missing > len(there)):
            raise DataError(
                f"{where}: column '{name}' is missing in {missing} of {len(there)} rows; fill it, "
                "or name other columns with --target."
            )


def fill(
    table: RawTable, raw: np.ndarray, rows: Rows, places: np.ndarray | None, grid: np.ndarray,
    keep: list[int], block: np.ndarray, open_end: bool,
) -> None:  # fmt: skip
    """Writes the rows to their places in the block, and what lies between them."""
    if places is None:
        if not any(np.isnan(raw[rows, column]).any() for column in keep):
            for index, column in enumerate(keep):
                block[:, index] = raw[rows, column]
            return
        places = np.arange(len(grid))
    known = np.stack([~np.isnan(raw[rows, column]) for column in keep])
    targets = sum(column < table.targets for column in keep)
    end = open_rows_end(known, targets, open_end)
    for index, column in enumerate(keep):
        stop, name = end if index < targets else len(places), table.columns[column]
        there = known[index, :stop]
        missing = stop - int(there.sum())
        at = places[:stop][there]
        block[:, index] = np.interp(grid, grid[at], raw[rows, column][:stop][there])
        if missing:
            run = int(np.diff(np.flatnonzero(np.concatenate([[1], there, [1]]))).max()) - 1
            done = "interpolated (longest run: {size})."
            table.tell(f"missing value{{s}} of '{name}'", done, missing, run)
        if stop < len(places):
            block[places[stop - 1] + 1 :, index] = np.nan
