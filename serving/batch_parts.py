"""A batch in parts that run side by side, each in a thread of its own. No TensorFlow.

ONNX Runtime shares the work of one operator among threads, which meet again after each: the
products of a recurrent step are too small for that. Parts of a batch meet once, at its end. Rows
are sorted by length first, so that the part with the short ones leaves out padding.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pipelines.ragged import Arrays, Field, Fields

# Rows in a part, and rows times steps in a batch, from which parts are worth their hand-over.
MIN_ROWS, MIN_STEPS = 4, 1024


class BusyCores:
    """How many cores the runs of this process take: a server runs several batches at once."""

    def __init__(self) -> None:
        self._busy, self._lock = 0, threading.Lock()

    @contextmanager
    def taken(self, wanted: int, cores: int) -> Iterator[int]:
        """Takes as many of the idle cores as there are, at least one.

        Args:
            wanted: the most that are of use.
            cores: those that this process has, idle or not.

        Returns:
            How many are taken until the end of the block.
        """
        with self._lock:
            granted = max(1, min(wanted, cores - self._busy))
            self._busy += granted
        try:
            yield granted
        finally:
            with self._lock:
                self._busy -= granted


@dataclass(frozen=True)
class TimeAxis:
    """Inputs that are equally long along axis 1, and may be trimmed together.

    Attributes:
        names: of the inputs.
        marks: padding values by the names of those that show where a row ends.
    """

    names: tuple[str, ...]
    marks: Mapping[str, object]

    def lengths(self, arrays: Arrays) -> np.ndarray:
        """``<int64>[batch]``: steps of each row up to the last one that is not padding."""
        return np.max([_ends(arrays[name] != padding) for name, padding in self.marks.items()], 0)


def _ends(filled: np.ndarray) -> np.ndarray:
    """One past the last true value of each row of ``<bool>[batch, time]``; 0 if it has none."""
    return np.where(filled.any(1), filled.shape[1] - filled[:, ::-1].argmax(1), 0)


def time_axes(shapes: Mapping[str, Sequence[int | str]], fields: Fields) -> list[TimeAxis]:
    """The axes along which a file's inputs may be trimmed where all rows hold padding.

    Args:
        shapes: of the inputs; an open dimension is its name.
        fields: of inputs that may be lengthened, and so trimmed too. A unique one shows where its
            rows end.
    """
    groups: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        if len(shape) > 1 and isinstance(shape[1], str):
            groups.setdefault(shape[1], []).append(name)
    found = []
    for names in groups.values():
        marks = {n: fields[n].padding for n in names if _marks(fields.get(n), shapes[n])}
        if marks and all(name in fields for name in names):
            found.append(TimeAxis(tuple(names), marks))
    return found


def _marks(field: Field | None, shape: Sequence[int | str]) -> bool:
    return field is not None and field.unique and len(shape) == 2


def cut(lengths: np.ndarray, count: int) -> list[np.ndarray]:
    """Rows in parts of about as many steps each, from the shortest to the longest.

    Args:
        lengths: ``<int64>[batch]``.
        count: number of parts, at most that of the rows.

    Returns:
        The numbers of the rows of each part, of which none is empty.
    """
    order = np.argsort(lengths, kind="stable")
    sums = np.cumsum(np.maximum(lengths[order], 1))
    shares = sums[-1] * np.arange(1, count) / count
    ends = np.searchsorted(sums, shares, side="right")
    least = np.arange(1, count)  # so that each part has a row
    ends = np.clip(np.maximum.accumulate(ends - least) + least, least, len(order) - count + least)
    return np.split(order, ends)


def trimmed(arrays: Arrays, axes: Sequence[TimeAxis], lengths: Sequence[np.ndarray]) -> Arrays:
    """Arrays without the steps that are padding in all rows; one step is left."""
    found = dict(arrays)
    for axis, each in zip(axes, lengths, strict=True):
        longest = max(1, int(each.max()))
        found.update({name: arrays[name][:, :longest] for name in axis.names})
    return found


def joined(parts: Sequence[Arrays], rows: Sequence[np.ndarray]) -> Arrays:
    """The outputs of parts in the order of the batch, with zeros past the end of shorter ones.

    Args:
        parts: outputs of each; none is longer along any axis than the last.
        rows: of the batch that each part has, as ``cut`` gives them.
    """
    found = {}
    for name, last in parts[-1].items():
        whole = np.zeros((sum(map(len, rows)), *last.shape[1:]), last.dtype)
        for part, numbers in zip(parts, rows, strict=True):
            whole[(numbers, *map(slice, part[name].shape[1:]))] = part[name]
        found[name] = whole
    return found
