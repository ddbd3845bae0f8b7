"""Tables in memory as rows: pandas DataFrames and lists of dicts.

pandas is never imported for this: who has a DataFrame has imported it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from common.errors import DataError
from pipelines.messages import shorten
from pipelines.readers import Row

_CHUNK = 10_000  # rows that are converted at a time
_DATES = ("datetime64", "datetime", "date", "period")


@dataclass(frozen=True)
class Records:
    """A table in memory. It is read like a file whose cells have types.

    Attributes:
        data: a DataFrame, or a list or tuple of dicts.
        name: for messages: "DataFrame", "test DataFrame" or "test records".
    """

    data: Any
    name: str
    form: ClassVar[str] = "memory"

    @classmethod
    def of(cls, data: Any, part: str = "") -> Records:
        """Names the table by the part that it is, and by its type."""
        title = "DataFrame" if is_frame(data) else "records"
        return cls(data, f"{part} {title}".strip())

    def rows(self) -> Iterator[Row]:
        """Yields one `Row` per row, numbered from 0, its values as `plain` makes them.

        Of the index of a DataFrame those levels are columns, in front, that have a name or hold
        dates (a DatetimeIndex without a name is called "time").

        Raises:
            DataError: two columns of one name, or a record that is no dict.
        """
        return _frame_rows(self) if is_frame(self.data) else _dict_rows(self)


def is_frame(value: Any) -> bool:
    """Tells whether this is a pandas DataFrame."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def is_table(value: Any) -> bool:
    """Tells whether this is a table in memory: a DataFrame, or a list or tuple (of dicts)."""
    return isinstance(value, (list, tuple)) or is_frame(value)


def plain(value: Any) -> Any:
    """Returns a cell as JSON can hold it, so that it is read back from a file as the same.

    None, NaN, NaT and NA are "", as in a csv file; NumPy's numbers are Python's (float32 by its
    shortest decimal form, 0.1 and not 0.10000000149011612); dates and times are ISO 8601; bytes
    are UTF-8 text; lists, arrays and dicts are converted inside; all else is its `str`.
    """
    if isinstance(value, (str, bool, int)):
        return str(value) if isinstance(value, str) else value
    if _is_missing(value):
        return ""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, np.floating):
        return float(str(value))
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {str(key): plain(inside) for key, inside in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(inside) for inside in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _is_missing(value: Any) -> bool:
    if value is None or value is getattr(sys.modules.get("pandas"), "NA", None):
        return True
    if isinstance(value, (float, np.floating)) or hasattr(value, "isoformat"):
        return bool(value != value)  # NaN, and pandas's NaT
    return isinstance(value, np.datetime64) and bool(np.isnat(value))


def _dict_rows(records: Records) -> Iterator[Row]:
    for number, record in enumerate(records.data):
        if not isinstance(record, Mapping):
            raise DataError(
                f"{records.name}, row {number}: expected a dict such as "
                f'{{"text": "...", "label": "..."}}, found {shorten(repr(record))}.'
            )
        values = {str(key): plain(value) for key, value in record.items()}
        yield Row(values, records.name, number, "row")


def _frame_rows(records: Records) -> Iterator[Row]:
    frame = records.data
    columns = [
        *_index_columns(frame.index, {str(name) for name in frame.columns}),
        *((str(name), frame.iloc[:, place]) for place, name in enumerate(frame.columns)),
    ]
    names = [name for name, _ in columns]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{records.name}: two columns are named '{shorten(twice[0])}', or one and the index; "
            "rename one."
        )
    for start in range(0, len(frame), _CHUNK):
        cells = [_cells(column.iloc[start : start + _CHUNK]) for _, column in columns]
        for number, values in enumerate(zip(*cells, strict=True), start):
            yield Row(dict(zip(names, values, strict=True)), records.name, number, "row")


def _index_columns(index: Any, taken: set[str]) -> Iterator[tuple[str, Any]]:
    for number in range(index.nlevels):
        level = index.get_level_values(number)
        is_date = level.inferred_type in _DATES
        if level.name is not None:
            name = str(level.name)
        elif is_date:
            name = next(
                name for name in ("time", "datetime", f"level {number}") if name not in taken
            )
        elif index.nlevels > 1:
            name = f"level {number}"
        else:
            continue  # row numbers
        yield name, level.to_series()


def _cells(column: Any) -> list[Any]:
    dtype = column.dtype
    if str(dtype).startswith("period"):
        column = column.dt.to_timestamp()
    if isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.itemsize < 8:
        return [plain(value) for value in column.to_numpy()]  # astype(object) would widen them
    return [plain(value) for value in column.astype(object)]
