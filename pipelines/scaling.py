"""Scalers of columns, adapted on training rows only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.config import Config, choice, switch
from common.errors import DataError

SCALERS = ("standard", "minmax", "robust")
_CHUNK = 1 << 18


@dataclass(frozen=True)
class SeriesPreprocessing(Config):
    """How numbers of a series become model inputs."""

    scaler: str = choice("standard", SCALERS, "how columns are scaled")
    calendar: bool = switch(True, "tell the model the time of the day, week and year")


@dataclass(frozen=True)
class Scaler:
    """``(x - center) / scale`` for each column.

    Attributes:
        center: ``<float32>[columns]``.
        scale: ``<float32>[columns]``, above zero.
    """

    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def adapt(cls, kind: str, rows: np.ndarray) -> Scaler:
        """Learns from ``<float32>[rows, columns]``; a constant column keeps its unit.

        Args:
            kind: "standard" (mean, standard deviation), "minmax" (to the range 0 to 1) or "robust"
                (median, distance of the quartiles).
            rows: of train.
        """
        if kind == "standard":
            center, scale = _moments(rows)
        elif kind == "minmax":
            center, scale = rows.min(0), rows.max(0) - rows.min(0)
        elif kind == "robust":
            low, center, high = np.quantile(rows, (0.25, 0.5, 0.75), axis=0)
            scale = high - low
        else:
            raise DataError(f"scaler {kind!r} is not known; use one of {', '.join(SCALERS)}")
        # Below float32's own rounding a spread is no spread.
        constant = scale <= 1e-6 * np.maximum(1e-30, np.abs(center))
        scale = np.where(constant, 1.0, scale)
        return cls(np.asarray(center, np.float32), np.asarray(scale, np.float32))

    def apply(self, x: np.ndarray) -> np.ndarray:
        """``<float32>[..., columns]`` to the same."""
        return (x - self.center) / self.scale

    def invert(self, x: np.ndarray) -> np.ndarray:
        """The way back."""
        return x * self.scale + self.center

    def first(self, columns: int) -> Scaler:
        """The scaler of the first columns only."""
        return Scaler(self.center[:columns], self.scale[:columns])

    def to_json(self) -> dict[str, Any]:
        """Plain values; every float32 is exact as a float64."""
        return {"center": self.center.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Scaler:
        """Reads back what ``to_json`` gave."""
        return cls(np.array(state["center"], np.float32), np.array(state["scale"], np.float32))


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation in float64, by chunks of a file perhaps on disk."""
    starts = range(0, len(rows), _CHUNK)
    total = sum(rows[i : i + _CHUNK].sum(0, dtype=np.float64) for i in starts)
    mean = total / len(rows)
    squares = sum(np.square(rows[i : i + _CHUNK] - mean).sum(0) for i in starts)
    return mean, np.sqrt(squares / len(rows))
