"""Which configuration a trial gets: KerasTuner's strategies, made reproducible by trial number.

The trials of a search are numbered. The configuration of a trial follows from the seed, its number
and the results of certain earlier trials, never from the clock. So any number of workers, also with
a kill and a resume, gives the same trials. The price is that a trial may have to wait for results
that it depends on; trials that do not depend on them can start meanwhile.

KerasTuner's search space language, random sampling, Gaussian process, bracket sizes and grid order
are used as they are (keras-tuner 1.4.8); its bookkeeping is not.
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

from tuning.leaderboard import TrialRow
from tuning.strategy_names import check_strategy

ENDED = ("COMPLETED", "FAILED", "SKIPPED")
# Number of random points before the Gaussian process is used.
INITIAL_POINTS = 8
# A discrete space with at most this many combinations is searched to its last one.
MAX_ENUMERATED = 4096

Rows = Mapping[int, TrialRow]


class NoProposal(Enum):
    """Why a strategy proposes no configuration."""

    WAIT = "it depends on a trial that has not ended"
    SKIP = "there is no trial with this number"
    END = "there is nothing left to try"


@dataclass(frozen=True)
class Proposal:
    """The configuration of a trial.

    Attributes:
        values: hyperparameters.
        until: total number of epochs to train.
        parent: number of the trial whose training this one continues, if any.
        bracket: bracket in Hyperband.
        round: round in Hyperband.
    """

    values: dict[str, Any]
    until: int
    parent: int | None = None
    bracket: int | None = None
    round: int | None = None


def discover(declare: Callable[[kt.HyperParameters], Any]) -> kt.HyperParameters:
    """Finds the whole search space by calling ``declare`` until every conditional was entered.

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


class Strategy:
    """Base class of all strategies: trial 0 has the defaults, and no trial repeats another."""

    epochs = 1
    _enumerated: list[dict[str, Any]] | None = None

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """The configuration of a trial.

        Args:
            number: number of the trial.
            rows: the trials so far, by number.
        """
        raise NotImplementedError

    def needed(self, rows: Rows) -> set[int]:
        """Numbers of the trials whose checkpoints a later trial may continue."""
        return set()

    def _sample(self, number: int, earlier: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Random values that are not among ``earlier``; None if the space has no others."""
        if number == 0:
            return self._defaults()
        self._tried_so_far = {self._compute_values_hash(values) for values in earlier}
        # Each trial has its own range of seeds, large enough for all its repeated samples.
        self._seed_state = (self.seed * 1_000_003 + number) * 1_000_003
        values = self._random_values()
        if values is None:
            if self._enumerated is None:
                self._enumerated = self._small_space()
            left = [values for values in self._enumerated if not self._duplicate(values)]
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
        """All combinations of a small discrete space; empty for any other space."""
        if any(isinstance(hp, Float) and hp.step is None for hp in self.hyperparameters.space):
            return []
        found = list(islice(_combinations(self.hyperparameters.space, {}), MAX_ENUMERATED + 1))
        return found if len(found) <= MAX_ENUMERATED else []


def _combinations(
    space: Sequence[HyperParameter], values: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """All combinations that extend ``values`` by the rest of the space.

    A hyperparameter whose conditions do not hold gets no value.
    """
    if not space:
        yield values
        return
    first, *rest = space
    if not all(condition.is_active(values) for condition in first.conditions):
        yield from _combinations(rest, values)
        return
    # KerasTuner lists only ten values of a logarithmic Int without a step.
    sampled = isinstance(first, Int) and first.step is None
    for value in range(first.min_value, first.max_value + 1) if sampled else first.values:
        yield from _combinations(rest, {**values, first.name: value})


class RandomStrategy(Strategy, RandomSearchOracle):
    """Random search."""

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """Random values that no earlier trial has."""
        values = self._sample(number, [rows[n].values for n in range(number)])
        return NoProposal.END if values is None else Proposal(values, self.epochs)


class GridStrategy(Strategy, GridSearchOracle):
    """All combinations in KerasTuner's order, the defaults first."""

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """The combination that follows the previous trial's."""
        values = self._get_next_combination(rows[number - 1].values) if number else self._defaults()
        return NoProposal.END if values is None else Proposal(values, self.epochs)


class BayesianStrategy(Strategy, BayesianOptimizationOracle):
    """Gaussian-process search.

    A trial uses the results of all earlier trials except the ``max_pending`` trials just before it,
    even if some of those have ended. For them it assumes the mean of the known scores ("constant
    liar", Ginsbourger et al. 2010). A failed trial counts as the worst known score, so that the
    process avoids similar configurations.
    """

    max_pending = 0

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """The best guess of the process; a random sample at first, or if the guess was tried."""
        known = [rows.get(n) for n in range(max(0, number - self.max_pending))]
        if any(row is None or row.state not in ENDED for row in known):
            return NoProposal.WAIT
        scores = [row.score for row in known if row.state == "COMPLETED"]
        earlier = [rows[n].values for n in range(number)]
        if len(scores) < INITIAL_POINTS:
            values = self._sample(number, earlier)
        else:
            values = self._guess(number, rows, scores)
            self._tried_so_far = {self._compute_values_hash(each) for each in earlier}
            if self._duplicate(values):
                values = self._sample(number, earlier)
        return NoProposal.END if values is None else Proposal(values, self.epochs)

    def _guess(self, number: int, rows: Rows, scores: list[float]) -> dict[str, Any]:
        worst = min(scores) if self.objective.direction == "max" else max(scores)
        assumed = float(np.mean(scores))
        self.trials = {}
        for n in range(number):
            row = rows[n]
            hps = self.hyperparameters.copy()
            hps.values = dict(row.values)
            trial = Trial(hps, row.trial, "COMPLETED")
            trial.score = assumed
            if n < number - self.max_pending:
                trial.score = row.score if row.state == "COMPLETED" else worst
            self.trials[row.trial] = trial
        mixed = (self.seed * 1_000_003 + number) % 2**32
        self._random_state, self.gpr = np.random.RandomState(mixed), self._make_gpr()
        self.num_initial_points = 1
        # Matrices of this size are 4x faster without threads, which would wait for each other.
        with threadpool_limits(1), warnings.catch_warnings():
            # The likelihood's optimum is often at the edge of a kernel parameter's range.
            warnings.simplefilter("ignore")
            return self.populate_space(str(number))["values"]


@dataclass(frozen=True)
class BracketPosition:
    """Position of a trial in Hyperband.

    Attributes:
        bracket: number of the bracket; 0 is the last one, without halvings.
        round: number of the round in the bracket, from 0.
        index: index of the trial in the round, from 0.
        first: number of the round's first trial.
        before: numbers of the previous round's trials; empty in the first round.
    """

    bracket: int
    round: int
    index: int
    first: int
    before: range


class HyperbandStrategy(Strategy, HyperbandOracle):
    """Hyperband (Li et al. 2018): many short trials, of which the better ones train longer.

    Brackets and rounds have KerasTuner's sizes and epochs. A round starts when all trials of the
    previous round have ended; failed trials count as the worst. While a round waits, the workers
    run the first round of the next bracket.
    """

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """A random sample in a first round; later, the next best trial of the previous round."""
        at = self.position(number)
        until = self._get_epochs(at.bracket, at.round)
        if at.round == 0:
            values = self._first_round(number, at, rows)
            if values is None:
                return NoProposal.SKIP if number else NoProposal.END
            return Proposal(values, until, None, at.bracket, 0)
        before = [rows.get(n) for n in at.before]
        if any(row is None or row.state not in ENDED for row in before):
            return NoProposal.WAIT
        sign = -1 if self.objective.direction == "max" else 1
        best = sorted(
            (sign * row.score, n)
            for n, row in zip(at.before, before, strict=True) if row.state == "COMPLETED"
        )  # fmt: skip
        if at.index >= len(best):
            return NoProposal.SKIP
        parent = best[at.index][1]
        return Proposal(rows[parent].values, until, parent, at.bracket, at.round)

    def _first_round(self, number: int, at: BracketPosition, rows: Rows) -> dict[str, Any] | None:
        firsts = [n for n in range(number) if self.position(n).round == 0 and rows[n].values]
        values = self._sample(number, [rows[n].values for n in firsts])
        if values is None:
            # In a small space, values of another bracket may be repeated, with other epochs.
            here = [rows[n].values for n in firsts if n >= at.first]
            values = self._sample(number, here)
        return values

    def needed(self, rows: Rows) -> set[int]:
        """Trials of rounds whose next round has not ended, also in an incomplete bracket."""
        found: set[int] = set()
        number, last = 0, max(rows, default=-1)
        while True:
            at = self.position(number)
            ended = number in rows and rows[number].state in ENDED
            if not ended:
                found |= {n for n in at.before if n in rows}
            if number > last and at.round == 0 and number == at.first:
                return found
            number += 1

    def position(self, number: int) -> BracketPosition:
        """Bracket, round and index of a trial; after the last bracket the first one follows."""
        first = 0
        while True:
            for bracket in reversed(range(self._get_num_brackets())):
                before = range(0)
                for round_ in range(bracket + 1):
                    size = self._get_size(bracket, round_)
                    if number < first + size:
                        return BracketPosition(bracket, round_, number - first, first, before)
                    before, first = range(first, first + size), first + size


def make_strategy(
    strategy: str,
    space: kt.HyperParameters,
    objective: kt.Objective,
    *,
    epochs: int,
    seed: int,
    max_pending: int = 0,
) -> Strategy:
    """Creates a strategy by name.

    Args:
        strategy: one of ``STRATEGIES``.
        space: the search space.
        objective: Keras's name of the validation metric, and its direction.
        epochs: number of epochs of a trial; in Hyperband, of a trial of the last round.
        seed: seed of all samples.
        max_pending: see ``BayesianStrategy``.
    """
    check_strategy(strategy)
    # KerasTuner treats seed 0 as "no seed".
    common = {"objective": objective, "hyperparameters": space, "seed": seed + 1}
    if strategy == "hyperband":
        # Iterations follow each other until the search has had all its trials.
        made: Strategy = HyperbandStrategy(max_epochs=epochs, **common)
    else:
        kinds = {"random": RandomStrategy, "bayesian": BayesianStrategy, "grid": GridStrategy}
        made = kinds[strategy](max_trials=None, **common)
    made.epochs, made.max_pending = epochs, max_pending
    return made
