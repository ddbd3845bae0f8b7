"""A network of the user's own, tried on numbers before it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Steps of the row by which a network is tried, and of padding behind it.
STEPS, PADDING = 6, 3


@dataclass(frozen=True)
class Trial:
    """A network as a model of its own, and numbers to try it by.

    Attributes:
        model: from ``[batch, time, width]`` and ``<int32>[batch, time]``, which steps there are.
        steps: of a row.
        width: of a step.
    """

    model: Any
    steps: int
    width: int

    @property
    def drawn(self) -> np.ndarray:
        """Two rows, always the same."""
        shape = (2, self.steps, self.width)
        return np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def answer(self, values: np.ndarray) -> np.ndarray:
        """To rows whose steps behind ``steps`` are padding."""
        there = np.arange(values.shape[1]) < self.steps
        there = np.broadcast_to(there.astype(np.int32), values.shape[:2])
        return np.asarray(self.model([values, there], training=False)[0], np.float32)

    def by_later_steps(self) -> float:
        """Difference that the last step makes to those before it; 0 within rounding."""
        later = self.drawn
        later[:, -1] += 1
        return self._far(self.answer(later)[:, :-1], self.answer(self.drawn)[:, :-1])

    def by_padding(self) -> float:
        """Difference that padding makes; 0 within rounding."""
        longer = np.pad(self.drawn, ((0, 0), (0, PADDING), (0, 0)), constant_values=1)
        found, whole = self.answer(longer), self.answer(self.drawn)
        return self._far(found[:, : self.steps] if found.ndim == 3 else found, whole)

    def _far(self, found: np.ndarray, wanted: np.ndarray) -> float:
        far = float(np.abs(found - wanted).max(initial=0))
        rounding = 1e-3 if self.model.output[0].dtype == "float32" else 5e-2
        return far if not far <= rounding else 0.0
