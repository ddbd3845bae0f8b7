"""Which configuration a trial gets: KerasTuner's strategies, each draw a function of its number.

A search is a row of numbered slots. What a slot gets follows from the seed, its number and the
results of certain earlier slots, never from the clock: any number of workers, a kill and a resume
give the same trials. The price is that a slot may have to wait for results it depends on; others
that do not depend on them go ahead meanwhile.

KerasTuner's own search space language, random draws, Gaussian process, bracket sizes and order of
the grid are used as they are (keras-tuner 1.4.8); its bookkeeping is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from random import Random
from typing import Any

import keras_tuner as kt
import numpy as np
from keras_tuner.engine.hyperparameters import Float, HyperParameter, Int
from keras_tuner.src.engine.trial import Trial
from keras_tuner.src.tuners.bayesian import BayesianOptimizationOracle
from keras_tuner.src.tuners.gridsearch import GridSearchOracle
from keras_tuner.src.tuners.hyperband import HyperbandOracle
from keras_tuner.src.tuners.randomsearch import RandomSearchOracle
from threadpoolctl import threadpool_limits

from tuning.errors import SearchError
from tuning.leaderboard import TrialRow

STRATEGIES = ("random", "bayesian", "hyperband", "grid")
ENDED = ("COMPLETED", "FAILED", "SKIPPED")
# Random points before the Gaussian process speaks.
INITIAL_POINTS = 8
# A discrete space of no more combinations is searched to its last one.
SMALL_SPACE = 4096

Rows = Mapping[int, TrialRow]


class Answer(Enum):
    """What a strategy may say instead of a draw."""

    WAIT = "it depends on a trial that has not ended"
    SKIP = "this slot stays empty"
    END = "there is nothing left to try"


@dataclass(frozen=True)
class Draw:
    """What a slot gets: values, and how far to train; ``parent`` is the slot it goes on from."""

    values: dict[str, Any]
    until: int
    parent: int | None = None
    bracket: int | None = None
    round: int | None = None


def discover(declare: Callable[[kt.HyperParameters], Any]) -> kt.HyperParameters:
    """The whole search space: ``declare`` is called until each conditional branch was entered.

    Follows ``BaseTuner._activate_all_conditions`` of KerasTuner, which builds a model each time.
    """
    space = kt.HyperParameters()
    seen: list[Any] = []
    waiting: list[Any] = [[]]
    while waiting:
        hp = kt.HyperParameters()
        hp.merge(space.space)
        hp.values = {condition.name: condition.values[0] for condition in waiting.pop(0)}
        for item in hp.space:
            if hp.is_active(item):
                hp.values.setdefault(item.name, item.default)
        declare(hp)
        space.merge(hp, overwrite=False)
        seen += [scope for scope in hp.active_scopes if scope not in seen]
        waiting += [scope for scope in hp.inactive_scopes if scope not in [*seen, *waiting]]
        waiting = [scope for scope in waiting if scope not in seen]
    space.values = {}
    return space


class SlotOracle:
    """What every strategy gains: the first slot has the defaults, and no slot repeats another."""

    epochs = 1
    _every: list[dict[str, Any]] | None = None

    def propose(self, slot: int, rows: Rows) -> Draw | Answer:
        """What a slot gets, given the trials so far."""
        raise NotImplementedError

    def needed(self, rows: Rows) -> set[int]:
        """Slots whose checkpoints a later slot may go on from."""
        return set()

    def _drawn(self, slot: int, earlier: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Random values that are not among ``earlier``; None where the space has no others."""
        if slot == 0:
            return self._defaults()
        self._tried_so_far = {self._compute_values_hash(values) for values in earlier}
        # Far enough apart for every redraw of a slot.
        self._seed_state = (self.seed * 1_000_003 + slot) * 1_000_003
        values = self._random_values()
        if values is None:
            if self._every is None:
                self._every = self._small_space()
            left = [values for values in self._every if not self._duplicate(values)]
            values = Random(self._seed_state).choice(left) if left else None
        return values

    def _defaults(self) -> dict[str, Any]:
        hps = kt.HyperParameters()
        for hp in self.hyperparameters.space:
            hps.merge([hp])
            if hps.is_active(hp):
                hps.values[hp.name] = hp.default
        return hps.values

    def _small_space(self) -> list[dict[str, Any]]:
        """Every combination of a discrete space, none of a larger one."""
        if any(isinstance(hp, Float) and hp.step is None for hp in self.hyperparameters.space):
            return []
        found = list(islice(_combinations(self.hyperparameters.space, {}), SMALL_SPACE + 1))
        return found if len(found) <= SMALL_SPACE else []


def _combinations(
    space: Sequence[HyperParameter], values: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Every way to go on from ``values``; what is not active has none."""
    if not space:
        yield values
        return
    first, *rest = space
    if not all(condition.is_active(values) for condition in first.conditions):
        yield from _combinations(rest, values)
        return
    # Of a logarithmic Int without a step KerasTuner lists ten samples only.
    some = isinstance(first, Int) and first.step is None
    for value in range(first.min_value, first.max_value + 1) if some else first.values:
        yield from _combinations(rest, {**values, first.name: value})


class RandomSlots(SlotOracle, RandomSearchOracle):
    """Random search."""

    def propose(self, slot: int, rows: Rows) -> Draw | Answer:
        """Values unlike those of every earlier slot."""
        values = self._drawn(slot, [rows[s].values for s in range(slot)])
        return Answer.END if values is None else Draw(values, self.epochs)


class GridSlots(SlotOracle, GridSearchOracle):
    """Every combination in KerasTuner's order, the defaults first."""

    def propose(self, slot: int, rows: Rows) -> Draw | Answer:
        """The combination after that of the slot before."""
        values = self._get_next_combination(rows[slot - 1].values) if slot else self._defaults()
        return Answer.END if values is None else Draw(values, self.epochs)


class BayesianSlots(SlotOracle, BayesianOptimizationOracle):
    """Gaussian-process search.

    A slot knows the results of all slots but the ``lag`` before it, whatever has ended meanwhile;
    of those it supposes the mean of what is known ("constant liar", Ginsbourger et al. 2010). A
    failed trial counts as the worst known one, so that the process keeps away from its like.
    """

    lag = 0

    def propose(self, slot: int, rows: Rows) -> Draw | Answer:
        """The process's best guess; a random draw at first, and where the guess was tried."""
        known = [rows.get(s) for s in range(max(0, slot - self.lag))]
        if any(row is None or row.state not in ENDED for row in known):
            return Answer.WAIT
        scores = [row.score for row in known if row.state == "COMPLETED"]
        earlier = [rows[s].values for s in range(slot)]
        if len(scores) < INITIAL_POINTS:
            values = self._drawn(slot, earlier)
        else:
            values = self._guess(slot, rows, scores)
            self._tried_so_far = {self._compute_values_hash(each) for each in earlier}
            if self._duplicate(values):
                values = self._drawn(slot, earlier)
        return Answer.END if values is None else Draw(values, self.epochs)

    def _guess(self, slot: int, rows: Rows, scores: list[float]) -> dict[str, Any]:
        worst = min(scores) if self.objective.direction == "max" else max(scores)
        supposed = float(np.mean(scores))
        self.trials = {}
        for s in range(slot):
            row = rows[s]
            hps = self.hyperparameters.copy()
            hps.values = dict(row.values)
            trial = Trial(hps, row.trial, "COMPLETED")
            trial.score = supposed
            if s < slot - self.lag:
                trial.score = row.score if row.state == "COMPLETED" else worst
            self.trials[row.trial] = trial
        mixed = (self.seed * 1_000_003 + slot) % 2**32
        self._random_state, self.gpr = np.random.RandomState(mixed), self._make_gpr()
        self.num_initial_points = 1
        # Matrices of this size are four times as quick without threads that wait for each other.
        with threadpool_limits(1), warnings.catch_warnings():
            # The likelihood's optimum often lies at the edge of a kernel parameter's range.
            warnings.simplefilter("ignore")
            return self.populate_space(str(slot))["values"]


@dataclass(frozen=True)
class Place:
    """Where in Hyperband a slot is: ``first`` is the first slot of its round."""

    bracket: int
    round: int
    index: int
    first: int
    before: range  # slots of the round before; empty in the first


class BracketSlots(SlotOracle, HyperbandOracle):
    """Hyperband (Li et al. 2018): many short trials, the better ones longer.

    Brackets and rounds have KerasTuner's sizes and epochs. A round begins when the one before has
    ended whole, its failures counted as the worst; while it waits, the first round of the next
    bracket fills the workers.
    """

    def propose(self, slot: int, rows: Rows) -> Draw | Answer:
        """A random draw in a first round; in the others the next best of the round before."""
        place = self.place(slot)
        until = self._get_epochs(place.bracket, place.round)
        if place.round == 0:
            values = self._first_round(slot, place, rows)
            if values is None:
                return Answer.SKIP if slot else Answer.END
            return Draw(values, until, None, place.bracket, 0)
        before = [rows.get(s) for s in place.before]
        if any(row is None or row.state not in ENDED for row in before):
            return Answer.WAIT
        sign = -1 if self.objective.direction == "max" else 1
        best = sorted(
            (sign * row.score, s)
            for s, row in zip(place.before, before, strict=True) if row.state == "COMPLETED"
        )  # fmt: skip
        if place.index >= len(best):
            return Answer.SKIP
        parent = best[place.index][1]
        return Draw(rows[parent].values, until, parent, place.bracket, place.round)

    def _first_round(self, slot: int, place: Place, rows: Rows) -> dict[str, Any] | None:
        firsts = [s for s in range(slot) if self.place(s).round == 0 and rows[s].values]
        values = self._drawn(slot, [rows[s].values for s in firsts])
        if values is None:
            # A small space: what another bracket had may come again, with other epochs.
            here = [rows[s].values for s in firsts if s >= place.first]
            values = self._drawn(slot, here)
        return values

    def needed(self, rows: Rows) -> set[int]:
        """Slots of rounds whose next round has not ended, the bracket that was cut off included."""
        found: set[int] = set()
        slot, last = 0, max(rows, default=-1)
        while True:
            place = self.place(slot)
            ended = slot in rows and rows[slot].state in ENDED
            if not ended:
                found |= {s for s in place.before if s in rows}
            if slot > last and place.round == 0 and slot == place.first:
                return found
            slot += 1

    def place(self, slot: int) -> Place:
        """Bracket, round and index of a slot; brackets follow each other without end."""
        first = 0
        while True:
            for bracket in reversed(range(self._get_num_brackets())):
                before = range(0)
                for number in range(bracket + 1):
                    size = self._get_size(bracket, number)
                    if slot < first + size:
                        return Place(bracket, number, slot - first, first, before)
                    before, first = range(first, first + size), first + size


def check_strategy(strategy: str) -> None:
    """Raises SearchError unless it is one of ``STRATEGIES``."""
    if strategy not in STRATEGIES:
        raise SearchError(f"strategy is {strategy!r}; use one of {', '.join(STRATEGIES)}")


def make_strategy(
    strategy: str,
    space: kt.HyperParameters,
    objective: kt.Objective,
    *,
    epochs: int,
    seed: int,
    lag: int = 0,
) -> SlotOracle:
    """The strategy of a name.

    Args:
        strategy: one of ``STRATEGIES``.
        space: what is searched.
        objective: Keras's name of the validation metric, and its direction.
        epochs: of a trial; in Hyperband of the last round.
        seed: of all draws.
        lag: see ``BayesianSlots``.
    """
    check_strategy(strategy)
    # KerasTuner takes seed 0 for "no seed".
    common = {"objective": objective, "hyperparameters": space, "seed": seed + 1}
    if strategy == "hyperband":
        # An iteration after the other, until the search has had its trials.
        made: SlotOracle = BracketSlots(max_epochs=epochs, **common)
    else:
        kinds = {"random": RandomSlots, "bayesian": BayesianSlots, "grid": GridSlots}
        made = kinds[strategy](max_trials=None, **common)
    made.epochs, made.lag = epochs, lag
    return made
