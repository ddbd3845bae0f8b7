"""One model in several forms: how far each is from Keras, how good, how quick."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.preprocessor import Arrays, Preprocessor
from serving.errors import ServingError

# Float32 sums in another order differ by some units in the last place of values near one.
PARITY_BOUND = 1e-5
# Labels may part only where two classes are as likely to float rounding.
AGREEMENT_BOUND = 0.99
LATENCY_BATCHES = (1, 32)

Runner = Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class HeldOut:
    """Examples that the model did not learn from, and what Keras makes of them.

    Attributes:
        raw: the inputs, as a client has them.
        expected: Keras's wire outputs for them.
        score: the task's metric, from wire outputs for ``raw``; None where there are no labels.
        metric: its name.
        mode: "max" or "min", which is better.
    """

    raw: Sequence[Any]
    expected: Arrays
    score: Callable[[Arrays], float] | None = None
    metric: str = "metric"
    mode: str = "max"

    def loss(self, score: float) -> float:
        """By which share of Keras's score another is worse; negative where it is better."""
        reference = self.score(self.expected)
        worse = reference - score if self.mode == "max" else score - reference
        return worse / max(abs(reference), 1e-12)


def compare(runner: Runner, preprocessor: Preprocessor, held: HeldOut) -> dict[str, Any]:
    """Runs an artefact over the held-out examples.

    Returns:
        ``{"parity", "agreement", "examples", "metric", "latency_ms": {"1": ..., "32": ...}}``:
        parity is the greatest ``distance`` from Keras among the numbers, agreement the share of
        equal entries among the rest, such as labels.

    Raises:
        ServingError: an output of Keras's is missing.
    """
    parts = []
    for start in range(0, len(held.raw), 32):
        parts.append(runner(preprocessor.to_wire(held.raw[start : start + 32])))
    missing = sorted(set(held.expected) - set(parts[0]))
    if missing:
        raise ServingError(f"the export does not answer {', '.join(missing)}")
    got = {name: np.concatenate([part[name] for part in parts]) for name in held.expected}
    difference, equal = 0.0, []
    for name, want in held.expected.items():
        if np.issubdtype(want.dtype, np.floating):
            # Unlike max() this keeps a NaN.
            difference = float(np.maximum(difference, distance(got[name], want)))
        else:
            equal.extend(np.ravel(got[name] == want))
    return {
        "parity": difference,
        "agreement": float(np.mean(equal)) if equal else 1.0,
        "examples": len(held.raw),
        **({held.metric: held.score(got)} if held.score else {}),
        "latency_ms": latency(runner, preprocessor, held.raw),
    }


def distance(got: np.ndarray, want: np.ndarray) -> float:
    """Greatest absolute difference, in units of the greatest number where that is above one.

    Probabilities and scaled values are compared as they are; for forecasts in thousands of
    megawatts float32 has no more than these digits.
    """
    return float(np.abs(got - want).max() / max(1.0, np.abs(want).max()))


def latency(runner: Runner, preprocessor: Preprocessor, raw: Sequence[Any]) -> dict[str, float]:
    """Median wall milliseconds of a call at batch 1 and 32, preprocessing included."""
    found = {}
    for batch in LATENCY_BATCHES:
        times = []
        for start in range(0, min(len(raw), 15 * batch) - batch + 1, batch):
            wire = preprocessor.to_wire(raw[start : start + batch])
            began = time.perf_counter()
            runner(wire)
            times.append(time.perf_counter() - began)
        if times:
            found[str(batch)] = 1e3 * statistics.median(times)
    return found


def judge(name: str, precision: str, found: dict[str, Any], held: HeldOut, max_loss: float) -> None:
    """Refuses an artefact that is not the model.

    In float32 it must give Keras's numbers and labels; in a lower precision its metric may be
    worse by ``max_loss`` (a share of Keras's) at most.

    Raises:
        ServingError: it is farther off.
    """
    if precision == "fp32":
        if not found["parity"] <= PARITY_BOUND:  # NaN is not
            raise ServingError(
                f"the {name} export differs from Keras by {found['parity']:.2g}, more than "
                f"{PARITY_BOUND:g}; nothing was published"
            )
        if not found["agreement"] >= AGREEMENT_BOUND:
            raise ServingError(
                f"the {name} export gives other labels than Keras for "
                f"{1 - found['agreement']:.1%} of the examples; nothing was published"
            )
    elif held.score is not None:
        loss = held.loss(found[held.metric])
        if not loss <= max_loss or np.isnan(found["parity"]):
            raise ServingError(
                f"{name} at {precision} has a {held.metric} of {found[held.metric]:.4g}, "
                f"{loss:.1%} worse than Keras's {held.score(held.expected):.4g}; nothing was "
                f"published: leave out --precision {precision}, or allow it with --max-loss"
            )
