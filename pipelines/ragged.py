"""Arrays whose rows differ in length: the one place that pads, joins and trims them.

Training batches, judging, parity, the batches that a server joins and JSON answers all go through
here, so that an answer always has its own length, whatever it was batched with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Field:
    """How the rows of one named array differ in length.

    Attributes:
        padding: the value that lengthens a row. Whoever makes a padded array puts it behind the end
            of each row, so that an array does not depend on what a row was batched with.
        length: name of the array ``<int>[batch]`` that holds the lengths along axis 1, among the
            same arrays; several names for axes 1, 2 and so on. None where the model itself sees by
            the padding where a row ends: such an array may be lengthened, and is never trimmed.
        unique: no row holds the padding value itself, so that a mask of it marks the end of a row
            and nothing else. An exported graph then spares the gathers that any other mask takes.
    """

    padding: Any = 0
    length: str | tuple[str, ...] | None = None
    unique: bool = False

    @property
    def lengths(self) -> tuple[str, ...]:
        """Names of the arrays of lengths, of axis 1 and on."""
        if self.length is None:
            return ()
        return (self.length,) if isinstance(self.length, str) else self.length

    @property
    def axes(self) -> range:
        """The axes along which rows may be lengthened."""
        return range(1, 1 + max(1, len(self.lengths)))


Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, one after the other.

    Attributes:
        values: ``<dtype>[all, ...]``, the steps of all rows.
        ends: ``<int64>[rows + 1]``, where each row begins, and where the last one ends.
    """

    values: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]], dtype: Any, shape: Sequence[int] = ()) -> Ragged:
        """Joins rows.

        Args:
            rows: ``[time, *shape]`` each.
            dtype: of the values.
            shape: of one step; it matters where there is no row.
        """
        parts = [np.asarray(row, dtype).reshape(-1, *shape) for row in rows]
        values = np.concatenate(parts) if parts else np.zeros((0, *shape), dtype)
        return cls(values, np.cumsum([0, *map(len, parts)]))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """``<int64>[rows]``."""
        return np.diff(self.ends)

    def rows(self) -> list[np.ndarray]:
        """Each row, as a view."""
        return np.split(self.values, self.ends[1:-1]) if len(self) else []


Columns = Mapping[str, "np.ndarray | Ragged"]  # of one row for each example


def padded(rows: Sequence[np.ndarray], padding: Any = 0, axes: Iterable[int] = (1,)) -> np.ndarray:
    """Rows ``[time, ...]`` as one array ``[rows, longest, ...]``.

    Args:
        rows: at least one; equally large along all other axes than ``axes``.
        padding: what is put behind the end of the shorter ones.
        axes: those that may differ, counted in the result.
    """
    return lengthened([row[None] for row in rows], padding, axes)


def lengthened(parts: Sequence[np.ndarray], padding: Any, axes: Iterable[int]) -> np.ndarray:
    """Batches ``[batch, time, ...]`` below one another, each padded to the longest of them."""
    shape = list(parts[0].shape)
    for axis in axes:
        shape[axis] = max(part.shape[axis] for part in parts)
    if all(list(part.shape[1:]) == shape[1:] for part in parts):
        return np.concatenate(parts) if len(parts) > 1 else parts[0]
    whole = np.full((sum(map(len, parts)), *shape[1:]), padding, parts[0].dtype)
    first = 0
    for part in parts:
        whole[(slice(first, first + len(part)), *map(slice, part.shape[1:]))] = part
        first += len(part)
    return whole


def join(parts: Sequence[Arrays], fields: Fields) -> Arrays:
    """Batches of the same arrays as one batch, in their order.

    Args:
        parts: at least one.
        fields: arrays that may be lengthened; all others must be alike but for the batch.
    """
    joined = {}
    for name in parts[0]:
        arrays = [part[name] for part in parts]
        if name in fields:
            joined[name] = lengthened(arrays, fields[name].padding, fields[name].axes)
        else:
            joined[name] = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    return joined


def trim(arrays: Arrays, fields: Fields) -> Arrays:
    """Takes off what is behind the end of the longest row, as the rows alone would have it."""
    found = {}
    for name, array in arrays.items():
        field = fields.get(name)
        for axis, length in enumerate(field.lengths if field else (), 1):
            if length in arrays and axis < array.ndim:
                longest = int(np.max(arrays[length], initial=0))
                if array.shape[axis] > longest:
                    array = array[(slice(None),) * axis + (slice(longest),)]
        found[name] = array
    return found


def take(arrays: Arrays, rows: slice, fields: Fields) -> Arrays:
    """Some rows of a batch, as they would be by themselves."""
    return trim({name: array[rows] for name, array in arrays.items()}, fields)


def split(arrays: Arrays, fields: Fields) -> list[Arrays]:
    """Each row of a batch by itself, without its batch axis and without padding."""
    count = len(next(iter(arrays.values()), ()))
    each = (take(arrays, slice(i, i + 1), fields) for i in range(count))
    return [{name: array[0] for name, array in row.items()} for row in each]


def plain(value: Any) -> Any:
    """Arrays, and bytes in them, as what JSON has: lists, numbers, text (bytes read as UTF-8)."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def as_lists(row: Mapping[str, Any]) -> dict[str, Any]:
    """Named arrays as what JSON has."""
    return {name: plain(value) for name, value in row.items()}


def instances(arrays: Arrays, fields: Fields | None = None) -> list[Any]:
    """The rows of named arrays as JSON instances: dicts by name, or the only input by itself."""
    rows = [as_lists(row) for row in split(arrays, fields or {})]
    return [next(iter(row.values())) for row in rows] if len(arrays) == 1 else rows
