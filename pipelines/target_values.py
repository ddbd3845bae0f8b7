"""Values of targets as a forecaster sees them: perhaps as logarithms, with a lower bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import ConfigError, DataError
from pipelines.windows import Table

TRANSFORMS = ("none", "log", "log1p")
# Below this share of the smallest value of train a logarithm is that of this share: a client of a
# SavedModel may send what training and the NumPy implementation refuse.
FLOOR = 1e-3
LARGEST = 80.0  # of what is raised to a power of e: float32 ends at 88


@dataclass(frozen=True)
class TargetValues:
    """How targets are transformed before they are scaled, and what answers may not fall below.

    Attributes:
        transform: "none"; "log" of values above 0; "log1p", the logarithm of 1 + x, of values
            from 0 on.
        minimum: of each target, in the data's units; minus infinity where there is none.
        floor: of each target: what smaller values count as, with a logarithm.
    """

    transform: str = "none"
    minimum: tuple[float, ...] = ()
    floor: tuple[float, ...] = ()

    @classmethod
    def adapt(cls, transform: str, minimum: str, table: Table, rows: np.ndarray) -> TargetValues:
        """Learns the floor from the rows of train.

        Args:
            transform: one of ``TRANSFORMS``.
            minimum: as ``--minimum`` takes it; see ``parse_minimum``.
            table: of all rows, each of which must be possible.
            rows: ``<float32>[rows, targets]`` of train.

        Raises:
            ConfigError: ``minimum`` is no number, or not one for each target.
            DataError: a target has a value that has no logarithm, or that is below the minimum; the
                message names its line and column.
        """
        bounds = parse_minimum(minimum, table.columns[: table.targets])
        if transform == "log1p":
            bounds = np.maximum(bounds, 0.0)
        found = cls(transform, tuple(bounds.tolist()) if np.isfinite(bounds).any() else ())
        found.check(table)
        if transform == "none":
            return found
        floor = rows.min(0) * FLOOR if transform == "log" else np.zeros(rows.shape[1])
        return cls(transform, found.minimum, tuple(np.float32(floor).tolist()))

    def check(self, table: Table) -> None:
        """Refuses a table with a target that has no logarithm, or is below the minimum.

        Raises:
            DataError: names the first line and the column.
        """
        values = table.values[:, : table.targets]
        if self.transform == "log":
            self._refuse(table, values <= 0, "has no logarithm; --transform log1p takes values "
                         "from 0 on, --transform none takes all")  # fmt: skip
        if self.transform == "log1p":
            self._refuse(table, values < 0, "is below 0, which --transform log1p does not take; "
                         "use --transform none")  # fmt: skip
        if self.minimum:
            lowest = np.array(self.minimum, np.float32)
            self._refuse(table, values < lowest, "is below --minimum; lower it, or mend the value")

    @staticmethod
    def _refuse(table: Table, bad: np.ndarray, why: str) -> None:
        rows, columns = np.nonzero(bad)
        if not len(rows):
            return
        row, column = int(rows[0]), int(columns[0])
        series = int(np.searchsorted(table.offsets, row, "right")) - 1
        line = -1 if table.lines is None else int(table.lines[row])
        where = f"line {line}" if line > 0 else f"row {row - int(table.offsets[series])}"
        raise DataError(
            f"{table.names[series]}, {where}, column '{table.columns[column]}': "
            f"{table.values[row, column]:g} {why} ({len(rows)} such values in all)"
        )

    def check_windows(self, values: np.ndarray, targets: Sequence[str]) -> None:
        """Refuses windows ``<float32>[batch, time, inputs]`` with a target that has no logarithm.

        Raises:
            DataError: names the input, the row and the column.
        """
        if self.transform == "none":
            return
        values = values[..., : len(targets)]
        bad = np.argwhere(values <= 0 if self.transform == "log" else values < 0)
        if len(bad):
            i, row, column = bad[0].tolist()
            bound = "above 0" if self.transform == "log" else "0 or above"
            raise DataError(
                f"input {i}: row {row} of values has {values[i, row, column]:g} for "
                f"{targets[column]!r}, of which this model takes the logarithm; give values {bound}"
            )

    def forward(self, x: np.ndarray) -> np.ndarray:
        """``<float>[..., targets]``, in the data's units, to what is scaled."""
        if self.transform == "none":
            return x
        x = np.maximum(x, np.array(self.floor, x.dtype))
        return np.log(x) if self.transform == "log" else np.log1p(x)

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """The way back, ``<float>[..., targets]``; nothing falls below the minimum."""
        if self.transform != "none":
            y = np.minimum(y, np.asarray(LARGEST, y.dtype))
            y = np.exp(y) if self.transform == "log" else np.expm1(y)
        return np.maximum(y, np.array(self.minimum, y.dtype)) if self.minimum else y

    def to_json(self) -> dict[str, Any]:
        """Plain values; no bound is null, as JSON has no infinity."""
        minimum = [bound if np.isfinite(bound) else None for bound in self.minimum]
        return {"transform": self.transform, "minimum": minimum, "floor": list(self.floor)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> TargetValues:
        """Reads back what ``to_json`` gave."""
        minimum = tuple(-np.inf if bound is None else bound for bound in state["minimum"])
        return cls(state["transform"], minimum, tuple(state["floor"]))


def parse_minimum(text: str, targets: Sequence[str]) -> np.ndarray:
    """The lower bound of each target: ``<float64>[targets]``, minus infinity where there is none.

    >>> parse_minimum("0", ["a", "b"]).tolist(), parse_minimum("0,none", ["a", "b"]).tolist()
    ([0.0, 0.0], [0.0, -inf])

    Raises:
        ConfigError: it is neither one number nor one for each target.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else ["none"]
    try:
        bounds = [-np.inf if part == "none" else float(part) for part in parts]
    except ValueError:
        bounds = [np.nan]
    if len(bounds) == 1:
        bounds = bounds * len(targets)
    if len(bounds) != len(targets) or np.isnan(bounds).any() or np.inf in bounds:
        raise ConfigError(
            f"--minimum {text}: write one number such as 0, or one for each target with commas "
            f"between and 'none' for no bound; the targets are {', '.join(targets)}"
        )
    return np.array(bounds)
