"""A time series as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.frequency import Frequency


@dataclass(frozen=True)
class Written:
    """How a file writes what can be read in two ways; "" where it does not say.

    Attributes:
        decimal: the mark of decimals, "." or ",".
        date_order: "dmy" or "mdy".
    """

    decimal: str = ""
    date_order: str = ""


@dataclass(frozen=True)
class Series:
    """One series, its rows in order of time.

    Attributes:
        name: its id; the file's name where a file holds one series.
        times: ``<int64>[time]``, seconds since 1970, of UTC or of an unnamed local clock; or a
            counter's numbers.
        values: ``<float32>[time, columns]``, finite; perhaps a file on disk, mapped into memory.
        columns: their names.
        frequency: time from one row to the next.
        windows: first and last row of each labelled anomaly; none where nothing is labelled.
        written: how its file wrote numbers and dates.
    """

    name: str
    times: np.ndarray
    values: np.ndarray
    columns: tuple[str, ...]
    frequency: Frequency
    windows: tuple[tuple[int, int], ...] = ()
    written: Written = Written()

    def __len__(self) -> int:
        return len(self.times)
