"""One model in several forms: how far each is from Keras, how good, how fast."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.metric import Metric
from pipelines.preprocessor import Preprocessor
from pipelines.program import DEFAULT, Core, LoadedProgram
from pipelines.ragged import Arrays
from pipelines.responses import Responses, respond
from serving.errors import ServingError

# Float32 sums in another order differ by some units in the last place of values near one.
PARITY_BOUND = 1e-5
# A network may blow rounding up, say by a normalisation of values that hardly differ: so many times
# ``Reference.rounding`` is allowed, too, up to the second number.
ROUNDINGS, MOST_ROUNDING = 4, 1e-3
# Labels may part only where two classes are as likely to float rounding.
AGREEMENT_BOUND = 0.99
LATENCY_BATCHES = (1, 32)
# Rows in a batch while answers are compared.
COMPARED_ROWS = 32
# Number of inputs by which programs other than serving_default are verified.
OTHERS_EXAMPLES = 8
UNPUBLISHED = "nothing was published"

# Request tensors and the name of a signature to response tensors.
Runner = Callable[[Arrays, str], Arrays]


@dataclass(frozen=True)
class HeldOut:
    """Examples that the model did not learn from.

    Attributes:
        raw: the inputs, as a client has them.
        score: the task's metric of what ``serving_default`` answers; None without labels.
        metric: its name, and which way is better.
        alike: inputs that one request may hold, by which latency is measured and servers are warmed
            up; ``raw`` if None.
    """

    raw: Sequence[Any]
    score: Callable[[Responses], float] | None = None
    metric: Metric = Metric("metric", "max")
    alike: Sequence[Any] | None = None

    @property
    def timed(self) -> Sequence[Any]:
        """Inputs that one request may hold."""
        return self.raw if self.alike is None else self.alike


class Reference:
    """Keras's answers to the held-out examples, with which every artefact is compared.

    Args:
        programs: those of the preprocessor, with the Keras models as cores.
        preprocessor: the one that the model was trained with.
        held: the examples.
    """

    def __init__(
        self, programs: Mapping[str, LoadedProgram], preprocessor: Preprocessor, held: HeldOut
    ) -> None:
        self.programs, self.preprocessor, self.held = programs, preprocessor, held
        default = programs[DEFAULT]
        self.expected = respond(
            default.program, preprocessor.to_request, default.run, held.raw, COMPARED_ROWS
        )
        self.score = held.score(self.expected) if held.score else None
        # One row in each, since not every kind can pad.
        self.requests = [preprocessor.to_request([one]) for one in held.raw[:OTHERS_EXAMPLES]]
        self._others = {
            name: [program.replay(program.run, request) for request in self.requests]
            for name, program in programs.items() if name != DEFAULT
        }  # fmt: skip

    def compare(self, run: Runner) -> dict[str, Any]:
        """Runs an artefact over the held-out examples.

        Returns:
            ``{"parity", "agreement", "examples", "metric", "latency_ms": {"1": ..., "32": ...}}``:
            parity is the largest ``distance`` from Keras among the numbers, agreement the share of
            equal entries among the rest, such as labels; ``programs`` has both of each other
            program.

        Raises:
            ServingError: an output of Keras's is missing.
        """
        held = self.held
        got, found, others = self._apart(run)

        def default(request: Arrays) -> Arrays:
            return run(request, DEFAULT)

        return {
            **_worst([found, *others.values()]),
            "examples": len(held.raw),
            **({held.metric.name: held.score(got)} if held.score else {}),
            "latency_ms": latency(default, self.preprocessor.to_request, held.timed),
            **({"programs": others} if others else {}),
        }

    @cached_property
    def rounding(self) -> float:
        """How far Keras is from its own answers if each number that goes into a core is moved by
        one unit in its last place, up or down by chance: where sums in another order may lead."""
        moved = {
            name: LoadedProgram(one.program, {n: _moved(core) for n, core in one.cores.items()})
            for name, one in self.programs.items()
        }
        _, found, others = self._apart(lambda request, name: moved[name].run(request))
        return _worst([found, *others.values()])["parity"]

    def _apart(
        self, run: Runner
    ) -> tuple[Responses, dict[str, float], dict[str, dict[str, float]]]:
        """The answers of ``serving_default``, their differences, and those of other programs."""

        def default(request: Arrays) -> Arrays:
            return run(request, DEFAULT)

        program, to_request = self.programs[DEFAULT].program, self.preprocessor.to_request
        got = respond(program, to_request, default, self.held.raw, COMPARED_ROWS)
        others = {}
        for name, expected in self._others.items():
            pairs = []
            for request, wanted in zip(self.requests, expected, strict=True):
                steps = self.programs[name].replay(lambda r, name=name: run(r, name), request)
                pairs += zip(steps, wanted, strict=True)
            others[name] = _worst([differences(mine, want) for mine, want in pairs])
        return got, differences(got, self.expected), others


def _moved(core: Core) -> Core:
    """A core whose float32 inputs are one unit in the last place larger or smaller."""
    draw = np.random.default_rng(0)

    def near(array: np.ndarray) -> np.ndarray:
        if array.dtype != np.float32:
            return array
        up = draw.random(array.shape) < 0.5
        return array * np.where(up, 1 + 2**-23, 1 - 2**-23).astype(np.float32)

    def run(arrays: Arrays) -> Arrays:
        return core({name: near(array) for name, array in arrays.items()})

    run.inputs, run.states = core.inputs, core.states
    return run


def differences(got: Responses, want: Responses) -> dict[str, float]:
    """``{"parity", "agreement"}`` of response tensors; other shapes are infinitely far apart.

    Raises:
        ServingError: an output is missing.
    """
    missing = sorted(set(want) - set(got))
    if missing:
        raise ServingError(f"the export does not answer {', '.join(missing)}")
    parity, equal = 0.0, []
    for name, expected in want.items():
        ragged = isinstance(expected, list)
        mine, theirs = (got[name], expected) if ragged else ([got[name]], [expected])
        scale = max([1.0, *(float(np.abs(x).max(initial=0)) for x in theirs if _is_float(x))])
        for x, y in zip(mine, theirs, strict=True):
            same = np.shape(x) == np.shape(y)
            if _is_float(y):
                far = float(np.abs(x - y).max(initial=0)) / scale if same else np.inf
                parity = float(np.maximum(parity, far))  # unlike max() this keeps a NaN
            else:
                equal.extend(np.ravel(x == y) if same else [False] * max(1, np.size(y)))
    return {"parity": parity, "agreement": float(np.mean(equal)) if equal else 1.0}


def _is_float(array: Any) -> bool:
    return np.issubdtype(np.asarray(array).dtype, np.floating)


def _worst(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        "parity": float(np.max([one["parity"] for one in found])),
        "agreement": min(one["agreement"] for one in found),
    }


def latency(
    run: Callable[[Arrays], Arrays],
    to_request: Callable[[Sequence[Any]], Arrays],
    raw: Sequence[Any],
) -> dict[str, float]:
    """Median wall milliseconds of a call at batch 1 and 32, preprocessing included."""
    found = {}
    for batch in LATENCY_BATCHES:
        times = []
        for start in range(0, min(len(raw), 15 * batch) - batch + 1, batch):
            request = to_request(raw[start : start + batch])
            began = time.perf_counter()
            run(request)
            times.append(time.perf_counter() - began)
        if times:
            found[str(batch)] = 1e3 * statistics.median(times)
    return found


def judge(
    name: str,
    precision: str,
    found: dict[str, Any],
    reference: Reference,
    max_loss: float,
    hint: str = "",
) -> None:
    """Refuses an artefact that is not the model.

    In float32 it must give Keras's numbers, but for rounding, and labels; in a lower precision its
    metric may be worse by ``max_loss`` (a share of Keras's) at most.

    Args:
        name: of the format.
        precision: of the artefact.
        found: what ``Reference.compare`` gave.
        reference: Keras's answers.
        max_loss: see above.
        hint: what to look at, at the end of the error.

    Raises:
        ServingError: it is farther off.
    """
    if precision == "fp32":
        bound = PARITY_BOUND
        if bound < found["parity"] <= MOST_ROUNDING:
            bound = max(bound, ROUNDINGS * reference.rounding)
        if not found["parity"] <= bound:  # NaN is not
            raise ServingError(
                f"the {name} export differs from Keras by {found['parity']:.2g}, more than "
                f"{bound:.2g}; {UNPUBLISHED}{hint}"
            )
        if not found["agreement"] >= AGREEMENT_BOUND:
            raise ServingError(
                f"the {name} export gives other labels than Keras for "
                f"{1 - found['agreement']:.1%} of the examples; {UNPUBLISHED}{hint}"
            )
    elif reference.score is not None:
        metric = reference.held.metric
        loss = metric.loss(found[metric.name], reference.score)
        if not loss <= max_loss or np.isnan(found["parity"]):
            raise ServingError(
                f"{name} at {precision} has a {metric.name} of {found[metric.name]:.4g}, "
                f"{loss:.1%} worse than Keras's {reference.score:.4g}; "
                f"{UNPUBLISHED}: leave out --precision {precision}, or allow it with --max-loss"
            )
