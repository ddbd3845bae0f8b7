"""Where series come from: files or memory, one table or three parts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from common.errors import DataError
from pipelines.frames import Source, located
from pipelines.layout import Layout
from pipelines.records import Records
from pipelines.series import Series
from pipelines.series_columns import SeriesColumns
from pipelines.series_reader import read_series
from pipelines.splits import PARTS


@dataclass(frozen=True)
class Loaded:
    """What was read.

    Attributes:
        series: with the columns in the order asked for, targets first.
        targets: how many of the columns are targets.
        name: a short name of the data set.
        split: rows of each part, as ``--split`` has them, where the files say so; else "".
        notes: what was decided on the way.
    """

    series: list[Series]
    targets: int
    name: str
    split: str = ""
    notes: list[str] = field(default_factory=list)


def load_series(source: Source, wanted: SeriesColumns, *, regular: bool = True) -> Loaded:
    """Reads the series of a file, a directory or memory.

    A directory may hold ``train.*``, ``valid.*`` and ``test.*``, which follow one another in time;
    so do the parts of a mapping.

    Args:
        source: a path; a DataFrame or a list of dicts; or a mapping of the three parts to
            DataFrames, lists of dicts and paths (see ``pipelines.frames.located``).
        wanted: which columns are what.
        regular: whether rows are put on a grid of one step (see ``read_series``).

    Raises:
        DataError: one sentence that names the file and line, or part and row, the column or flag,
            and the way out.
    """
    if isinstance(source, str) and source.startswith("tfds:"):
        raise DataError(f"--data {source}: series are read from csv or tsv files; give a path")
    layout = located(source)
    series, notes, split = _parts(layout, wanted, regular)
    targets = len(series[0].columns) - len(wanted.others)
    return Loaded(series, targets, layout.name, split, [*layout.notes, *notes])


def chosen_columns(series: Series, wanted: SeriesColumns) -> Series:
    """A generated series with some of its columns only.

    Raises:
        DataError: it has no such column.
    """
    names = [*(wanted.targets or series.columns), *wanted.others]
    missing = [name for name in names if name not in series.columns]
    if missing:
        raise DataError(
            f"the synthetic series has no column {missing[0]!r}; name some of "
            f"{', '.join(series.columns)}"
        )
    values = series.values[:, [series.columns.index(name) for name in names]]
    return replace(series, values=values, columns=tuple(names))


def _parts(layout: Layout, wanted: SeriesColumns, regular: bool) -> tuple[list[Series], list, str]:
    tables = {
        part: [file if isinstance(file, Records) else file.path for file in files]
        for part, files in layout.parts.items()
    }
    if set(tables) == {"train"} and len(tables["train"]) == 1:
        return (*read_series(tables["train"][0], wanted, regular=regular), "")
    if set(tables) != set(PARTS) or any(len(found) != 1 for found in tables.values()):
        listed = ", ".join(_name(table) for found in tables.values() for table in found)
        raise DataError(
            f"{layout.name} holds {listed}: give one table, or all of train, valid and test "
            "(train.csv, valid.csv and test.csv)."
        )
    found = {}
    for part in PARTS:
        found[part] = read_series(tables[part][0], wanted, regular=regular)
        first = found[part][0][0]
        wanted = replace(wanted, like=first.written, step=first.frequency)
    if any(len(series) != 1 for series, _ in found.values()):
        raise DataError(
            f"{layout.name}: several series in three parts; join the parts into one table and use "
            "--split."
        )
    ones = [found[part][0][0] for part in PARTS]
    for place, part in enumerate(PARTS[1:], 1):
        before, after = ones[place - 1 : place + 1]
        if after.frequency.counter and after.times[0] <= before.times[-1]:
            # Each file counts its own rows, which follow those of the file before.
            moved = before.times[-1] + after.frequency.count - after.times[0]
            after = ones[place] = replace(after, times=after.times + moved)
        expected = int(before.frequency.after(before.times[-1], 1))
        if after.columns != before.columns or int(after.times[0]) < expected:
            raise DataError(
                f"{_name(tables[part][0])} does not continue {before.name}: it must have the same "
                "columns and begin after the last row before it."
            )
    joined = replace(
        ones[0],
        name=layout.name,
        times=np.concatenate([one.times for one in ones]),
        values=np.concatenate([one.values for one in ones]),
    )
    notes = [note for _, more in found.values() for note in more]
    return [joined], notes, ",".join(str(len(one)) for one in ones)


def _name(table: Path | Records) -> str:
    return table.name if isinstance(table, Records) else str(table)
