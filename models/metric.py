"""A score: its name, and which way is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A score of a model.

    Attributes:
        name: as a key of results.
        mode: whether more ("max") or less ("min") is better.
        logged: the name that Keras logs it by, where that is another: of a model with several
            outputs it is ``<output>_<metric>``. The history has it under ``name``.
        proportion: whether it is the share of examples that were answered rightly, so that its
            error follows from their number.
        exponential_of: the logged value whose exponential it is, where Keras logs that instead.
        each_epoch: whether every epoch measures it on validation, so that it can choose the best
            one; else it is measured on the answers of the trained model alone.
    """

    name: str
    mode: str
    logged: str = ""
    proportion: bool = False
    exponential_of: str = ""
    each_epoch: bool = True

    @property
    def key(self) -> str:
        """Column of the history that has its value on validation."""
        return f"val_{self.name}"

    @property
    def best(self) -> Callable[[Iterable[float]], float]:
        """``max`` or ``min``."""
        return max if self.mode == "max" else min

    def loss(self, score: float, reference: float) -> float:
        """By which share of ``reference`` a score is worse; negative where it is better."""
        worse = reference - score if self.mode == "max" else score - reference
        return worse / max(abs(reference), 1e-12)
