"""How series are read and cut into batches, whatever is made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from common.config import Config, choice, number, text
from common.errors import DataError
from pipelines.encodings import ENCODING_HELP
from pipelines.named_columns import named_columns
from pipelines.raw_windows import window_from_json
from pipelines.scaling import SeriesPreprocessing
from pipelines.series import Series
from pipelines.series_columns import SeriesColumns
from pipelines.series_sources import chosen_columns
from tasks.kinds.contract import Task


@dataclass(frozen=True)
class SeriesReading(Config):
    """Columns and parts of a series."""

    target: str = text("", "columns that matter, comma between; every numeric one if absent")
    time_column: str = text(
        "", "column of the time, or several (date,hour); none: rows follow one another"
    )
    id_column: str = text("", "columns that tell many series of one file apart")
    timezone: str = text("", "where times without an offset are, such as Europe/Berlin")
    decimal: str = choice("auto", ("auto", ".", ","), "mark of decimals; told by the file")
    date_order: str = choice("auto", ("auto", "dmy", "mdy"), "of 01/02/2020; told by the file")
    encoding: str = text("", ENCODING_HELP)
    stride: int = number(1, 1, 100_000, "rows from one window to the next")
    split: str = text("0.7,0.1,0.2", "train, validation, test in order of time: shares or rows")

    # What a trained model expects of further data; no setting.
    trained: SeriesColumns | None = None

    @property
    def others(self) -> tuple[str, ...]:
        """Columns that are no targets."""
        return ()

    def deciding(self) -> dict[str, Any]:
        """What decides which rows are used, for a fingerprint.

        Not how they are written, nor the place of labels, which count by their content.
        """
        others = ("encoding", "decimal", "date_order", "labels")
        return {name: value for name, value in self.to_dict().items() if name not in others}

    @property
    def columns(self) -> SeriesColumns:
        """What the reader is asked for."""
        return replace(
            self.trained
            or SeriesColumns(targets=named_columns(self.target, "--target"), others=self.others),
            time=self.time_column,
            id=self.id_column,
            timezone=self.timezone,
            encoding=self.encoding,
            decimal=self.decimal.removeprefix("auto"),
            date_order=self.date_order.removeprefix("auto"),
        )


@dataclass(frozen=True, kw_only=True)
class SeriesTask(Task):
    """What all kinds over series share."""

    preprocessing: SeriesPreprocessing = SeriesPreprocessing()

    def as_trained(self, preprocessor: Any) -> SeriesTask:
        """The task whose data has the columns that a model was trained on.

        Where its files do not say how numbers and dates are written, those of training do.
        """
        pre = preprocessor
        targets, others = pre.roles
        columns = SeriesColumns(
            targets=targets, others=others, flat=True, like=pre.written, step=pre.frequency
        )
        return replace(self, data=replace(self.data, trained=columns))

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
