"""A time series as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.frequency import Frequency


@dataclass(frozen=True)
class Series:
    """One series, its rows in order of time.

    Attributes:
        name: its id; the file's name where a file holds one series.
        times: ``<int64>[time]``, seconds since 1970, of UTC or of an unnamed local clock.
        values: ``<float32>[time, columns]``, finite; perhaps a file on disk, mapped into memory.
        columns: their names.
        frequency: time from one row to the next.
        windows: first and last row of each labelled anomaly; none where nothing is labelled.
        lines: ``<int64>[time]``, line of each row in its file, -1 where a hole was filled; None
            where it is of no file.
    """

    name: str
    times: np.ndarray
    values: np.ndarray
    columns: tuple[str, ...]
    frequency: Frequency
    windows: tuple[tuple[int, int], ...] = ()
    lines: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.times)
