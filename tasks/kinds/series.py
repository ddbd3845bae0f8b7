"""How series are read and cut into batches, whatever is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.config import Config, number, text
from common.errors import DataError
from pipelines.encodings import ENCODING_HELP
from pipelines.raw_windows import window_from_json
from pipelines.scaling import SeriesPreprocessing
from pipelines.series import Series
from pipelines.series_reader import SeriesColumns
from pipelines.series_sources import chosen_columns, columns_of
from tasks.kinds.contract import Task


@dataclass(frozen=True)
class SeriesReading(Config):
    """Columns and parts of a series."""

    target: str = text("", "columns that matter, comma between; every numeric one if absent")
    time_column: str = text("", "column of the time; found by its name if absent")
    id_column: str = text("", "column that tells many series of one file apart")
    timezone: str = text("", "where times without an offset are, such as Europe/Berlin")
    encoding: str = text("", ENCODING_HELP)
    stride: int = number(1, 1, 100_000, "rows from one window to the next")
    split: str = text("0.7,0.1,0.2", "train, validation, test in order of time: shares or rows")

    @property
    def others(self) -> tuple[str, ...]:
        """Columns that are no targets."""
        return ()

    @property
    def columns(self) -> SeriesColumns:
        """What the reader is asked for."""
        return SeriesColumns(
            self.time_column,
            self.id_column,
            columns_of(self.target),
            self.others,
            self.timezone,
            self.encoding,
        )

    def deciding(self) -> dict[str, Any]:
        """What decides which rows are used, for a fingerprint.

        Not how their bytes are read, and not the place of labels, which count by their content.
        """
        elsewhere = {"encoding": "", "labels": ""}
        return {**self.to_dict(), **{n: v for n, v in elsewhere.items() if n in self.to_dict()}}

    def columns_like(self, targets: tuple[str, ...], others: tuple[str, ...] = ()) -> SeriesColumns:
        """The columns that a model was trained on, in another file."""
        return SeriesColumns(
            self.time_column,
            self.id_column,
            targets,
            others,
            self.timezone,
            self.encoding,
            flat=True,
        )


@dataclass(frozen=True, kw_only=True)
class SeriesTask(Task):
    """What all kinds over series share."""

    preprocessing: SeriesPreprocessing = SeriesPreprocessing()

    def parse_input(self, text: str) -> dict[str, Any]:
        """JSON of rows: ``{"values": [[...], ...], "time": "2018-01-01T00:00:00"}``."""
        return window_from_json(text)


def synthetic_rows(source: Any, default: int) -> int | None:
    """Rows of ``synthetic`` or ``synthetic:5000``; None for any other source."""
    kind, _, rows = source.partition(":") if isinstance(source, str) else ("", "", "")
    if kind != "synthetic":
        return None
    if rows and not rows.isdecimal():
        raise DataError(f"--data {source}: write rows as a number, such as synthetic:{default}")
    return int(rows or default)


def with_columns(series: Series, reading: SeriesReading) -> Series:
    """A generated series, of which a person may want some columns only."""
    return chosen_columns(series, reading.columns) if reading.target else series
