"""The strategies of a search by name, and the search space that they search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras_tuner as kt
from keras_tuner.src.tuners.gridsearch import GridSearchOracle
from keras_tuner.src.tuners.randomsearch import RandomSearchOracle

from tuning.bayesian import BayesianStrategy
from tuning.hyperband import HyperbandStrategy
from tuning.strategy import NoProposal, Proposal, Rows, Strategy
from tuning.strategy_names import check_strategy


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


class RandomStrategy(Strategy, RandomSearchOracle):
    """Random search."""

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """Random values that no earlier trial has."""
        values = self._sample(number, self._tried(number, rows))
        return NoProposal.END if values is None else Proposal(values, self.epochs)


class GridStrategy(Strategy, GridSearchOracle):
    """All combinations in KerasTuner's order, the defaults first."""

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """The combination that follows the previous trial's."""
        values = self._get_next_combination(rows[number - 1].values) if number else self._defaults()
        return NoProposal.END if values is None else Proposal(values, self.epochs)


def make_strategy(
    strategy: str,
    space: kt.HyperParameters,
    objective: kt.Objective,
    *,
    epochs: int,
    seed: int,
    max_pending: int = 0,
    prune: bool = False,
) -> Strategy:
    """Creates a strategy by name.

    Args:
        strategy: one of ``STRATEGIES``.
        space: the search space.
        objective: Keras's name of the validation metric, and its direction.
        epochs: number of epochs of a trial; in Hyperband, of a trial of the last round.
        seed: seed of all samples.
        max_pending: see ``BayesianStrategy``.
        prune: whether Bayesian search ends trials early that will not win.
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
    made.epochs, made.max_pending, made.prune = epochs, max_pending, prune
    return made
