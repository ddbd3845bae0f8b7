"""Where series come from: generated, a file, or a directory of one file or of three parts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from common.errors import DataError
from pipelines.layout import Layout, locate_parts
from pipelines.series import Series
from pipelines.series_reader import SeriesColumns, read_series
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


def load_series(source: str, wanted: SeriesColumns, *, regular: bool = True) -> Loaded:
    """Reads the series of a file or directory.

    A directory may hold ``train.*``, ``valid.*`` and ``test.*``, which follow one another in time.

    Args:
        source: a path.
        wanted: which columns.
        regular: see ``read_series``.

    Raises:
        DataError: one sentence that names the file, line, column or flag, and the way out.
    """
    if source.startswith("tfds:"):
        raise DataError(f"--data {source}: series are read from csv or tsv files; give a path")
    layout = locate_parts(source)
    series, notes, split = _parts(layout, wanted, regular)
    targets = len(series[0].columns) - len(wanted.others)
    return Loaded(series, targets, layout.name, split, [*layout.notes, *notes])


def columns_of(text: str) -> tuple[str, ...]:
    """``"a, b"`` as names.

    >>> columns_of("load, temperature"), columns_of("")
    (('load', 'temperature'), ())
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


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
    paths = {part: [file.path for file in files] for part, files in layout.parts.items()}
    if set(paths) == {"train"} and len(paths["train"]) == 1:
        return (*read_series(paths["train"][0], wanted, regular=regular), "")
    if set(paths) != set(PARTS) or any(len(found) != 1 for found in paths.values()):
        listed = ", ".join(str(path) for found in paths.values() for path in found)
        raise DataError(
            f"{layout.name} holds {listed}: give one csv, or train.csv, valid.csv and test.csv"
        )
    found = {part: read_series(paths[part][0], wanted, regular=regular) for part in PARTS}
    if any(len(series) != 1 for series, _ in found.values()):
        raise DataError(
            f"{layout.name}: several series in three files; join them into one csv and use --split"
        )
    ones = [found[part][0][0] for part in PARTS]
    for before, after, part in zip(ones, ones[1:], PARTS[1:], strict=False):
        expected = int(before.frequency.after(before.times[-1], 1))
        if after.columns != before.columns or int(after.times[0]) < expected:
            raise DataError(
                f"{paths[part][0]} does not continue {before.name}: it must have the same columns "
                "and begin after the last row before it"
            )
    joined = replace(
        ones[0],
        name=layout.name,
        times=np.concatenate([one.times for one in ones]),
        values=np.concatenate([one.values for one in ones]),
    )
    notes = [note for _, more in found.values() for note in more]
    return [joined], notes, ",".join(str(len(one)) for one in ones)
