"""How series are read and cut into batches, whatever is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.config import Config, number, text
from common.errors import DataError
from pipelines.scaling import SCALERS
from pipelines.series import Series
from pipelines.series_reader import SeriesColumns
from pipelines.series_sources import chosen_columns, columns_of
from tasks.kinds.contract import Task

if TYPE_CHECKING:
    import tensorflow as tf

    from pipelines.batching import ShuffledEpochs
    from pipelines.preprocessor import Preprocessor
    from pipelines.windows import Windows


@dataclass(frozen=True)
class SeriesReading(Config):
    """Columns and parts of a series."""

    target: str = text("", "columns that matter, comma between; every numeric one if absent")
    time_column: str = text("", "column of the time; found by its name if absent")
    id_column: str = text("", "column that tells many series of one file apart")
    timezone: str = text("", "where times without an offset are, such as Europe/Berlin")
    stride: int = number(1, 1, 100_000, "rows from one window to the next")
    split: str = text("0.7,0.1,0.2", "train, validation, test in order of time: shares or rows")

    @property
    def others(self) -> tuple[str, ...]:
        """Columns beside the targets."""
        return ()

    @property
    def columns(self) -> SeriesColumns:
        """What the reader is asked for."""
        return SeriesColumns(
            self.time_column, self.id_column, columns_of(self.target), self.others, self.timezone
        )

    def columns_like(self, targets: tuple[str, ...], others: tuple[str, ...] = ()) -> SeriesColumns:
        """The columns that a model was trained on, in another file."""
        return SeriesColumns(
            self.time_column, self.id_column, targets, others, self.timezone, flat=True
        )


class SeriesTask(Task):
    """What all kinds over series share: windows gathered from one table."""

    def check_preprocessing(self, values: Mapping[str, Any]) -> None:
        """The scaler must be one that there is."""
        if values["scaler"] not in SCALERS:
            raise DataError(f"scaler is {values['scaler']!r}; use one of {', '.join(SCALERS)}")

    def batches(
        self, preprocessor: Preprocessor, examples: Windows, batch_size: int
    ) -> tf.data.Dataset:
        """What ``preprocessor.graph().examples`` makes of the gathered rows, in order."""
        from pipelines.window_batches import window_batches

        return window_batches(examples, preprocessor.graph().examples, batch_size)

    def training_batches(
        self, preprocessor: Preprocessor, examples: Windows, batch_size: int, seed: int
    ) -> ShuffledEpochs:
        """The same, shuffled."""
        from pipelines.window_batches import shuffled_windows

        return shuffled_windows(examples, preprocessor.graph().examples, batch_size, seed)


def synthetic_rows(source: str, default: int) -> int | None:
    """Rows of ``synthetic`` or ``synthetic:5000``; None for any other source."""
    kind, _, rows = source.partition(":")
    if kind != "synthetic":
        return None
    if rows and not rows.isdecimal():
        raise DataError(f"--data {source}: write rows as a number, such as synthetic:{default}")
    return int(rows or default)


def with_columns(series: Series, reading: SeriesReading) -> Series:
    """A generated series, of which a person may want some columns only."""
    return chosen_columns(series, reading.columns) if reading.target else series
