"""A KerasTuner search over a task's space: one trial after the other, in this process.

What is added to KerasTuner: the first trial is the space's defaults, so that no search ends below
where it began; every trial has a seed of its own; each leaves its history, time and size for the
leaderboard; and a search may end by the clock.
"""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
from keras_tuner.src.tuners.bayesian import BayesianOptimizationOracle
from keras_tuner.src.tuners.gridsearch import GridSearchOracle
from keras_tuner.src.tuners.hyperband import HyperbandOracle
from keras_tuner.src.tuners.randomsearch import RandomSearchOracle

from pipelines.files import write_json
from tuning.leaderboard import TrialRow, read_rows, write_csv


class SearchError(ValueError):
    """A search that cannot begin or has nothing to show; the message says why."""


class SearchOracle:
    """What every oracle gains: defaults first, and an end by the clock."""

    deadline: float | None = None

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The strategy's next draw, none once the time is over."""
        if self.trials and self.deadline and time.monotonic() > self.deadline:
            return {"status": "STOPPED", "values": None}
        return super().populate_space(trial_id)

    def _random_values(self) -> dict[str, Any] | None:
        if self.trials:
            return super()._random_values()
        hps = kt.HyperParameters()
        for hp in self.hyperparameters.space:
            hps.merge([hp])
            if hps.is_active(hp):
                hps.values[hp.name] = hp.default
        return hps.values


class RandomOracle(SearchOracle, RandomSearchOracle):
    """Random search."""


class BayesianOracle(SearchOracle, BayesianOptimizationOracle):
    """Gaussian-process search."""


class BracketOracle(SearchOracle, HyperbandOracle):
    """Hyperband (Li et al. 2018): many short trials, the better ones longer."""


class GridOracle(SearchOracle, GridSearchOracle):
    """Every combination in order."""

    def reload(self) -> None:
        """Takes up the trials; KerasTuner forgets which of them it has to count on from."""
        super().reload()
        for trial_id in self.start_order:
            self._ordered_ids.insert(trial_id)
        self._populate_next = list(self.start_order)


STRATEGIES = ("random", "bayesian", "hyperband", "grid")


def check_strategy(strategy: str) -> None:
    """Raises SearchError unless it is one of ``STRATEGIES``."""
    if strategy not in STRATEGIES:
        raise SearchError(f"strategy is {strategy!r}; use one of {', '.join(STRATEGIES)}")


def make_oracle(
    strategy: str, objective: kt.Objective, trials: int, epochs: int, seed: int
) -> kt.Oracle:
    """The oracle of a strategy, which never runs more than ``trials`` trials."""
    check_strategy(strategy)
    # KerasTuner takes seed 0 for "no seed", and ends a search by an exception after some failures
    # in a row; a trial that failed once is tried once more.
    common = {
        "objective": objective,
        "seed": seed + 1,
        "max_retries_per_trial": 1,
        "max_consecutive_failed_trials": trials + 1,
    }
    if strategy == "random":
        return RandomOracle(max_trials=trials, **common)
    if strategy == "bayesian":
        points = max(3, trials // 3)
        return BayesianOracle(max_trials=trials, num_initial_points=points, **common)
    if strategy == "grid":
        return GridOracle(max_trials=trials, **common)
    oracle = BracketOracle(max_epochs=epochs, hyperband_iterations=1000, **common)
    oracle.max_trials = trials
    return oracle


class Deadline(keras.callbacks.Callback):
    """Ends a trial after the epoch in which the search's time runs out."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline

    def on_epoch_end(self, epoch, logs=None):
        """Looks at the clock."""
        if time.monotonic() > self.deadline:
            self.model.stop_training = True


class SearchTuner(kt.Hyperband):
    """The tuner of every strategy.

    ``kt.Hyperband`` differs from ``kt.Tuner`` only where a trial carries Hyperband's own values, so
    it serves the other oracles unchanged.
    """

    def __init__(self, oracle: kt.Oracle, seed: int, on_trial: Callable | None, **kwargs) -> None:
        self.seed, self.on_trial = seed, on_trial
        kt.Tuner.__init__(self, oracle=oracle, **kwargs)

    def run_trial(self, trial, *args, **kwargs):
        """Trains one trial and keeps what KerasTuner throws away."""
        keras.utils.set_random_seed((self.seed * 100_003 + int(trial.trial_id)) % 2**31)
        started = time.perf_counter()
        histories = super().run_trial(trial, *args, **kwargs)
        rows = histories[0].history
        write_json(
            Path(self.get_trial_dir(trial.trial_id)) / "result.json",
            {
                "seconds": time.perf_counter() - started,
                "epochs": len(next(iter(rows.values()))),
                "parameters": sum(math.prod(w.shape) for w in histories[0].model.trainable_weights),
                "history": {key: [float(v) for v in values] for key, values in rows.items()},
            },
        )
        return histories

    def on_trial_end(self, trial):
        """Saves the state, then the leaderboard, then tells whoever watches."""
        super().on_trial_end(trial)
        rows = read_rows(Path(self.project_dir), self.oracle.objective.direction)
        write_csv(rows, Path(self.directory) / "leaderboard.csv")
        if self.on_trial:
            self.on_trial(next(row for row in rows if row.trial == trial.trial_id), rows)


@dataclass(frozen=True)
class SearchPlan:
    """How to search.

    Attributes:
        strategy: one of ``STRATEGIES``.
        trials: greatest number of trials, those of an earlier start counted in.
        epochs: greatest number of epochs of a trial.
        metric: Keras's name of the validation metric.
        mode: "max" or "min" of it.
        seed: of the draws and of each trial.
    """

    strategy: str
    trials: int
    epochs: int
    metric: str
    mode: str
    seed: int = 0


def search(
    hypermodel: kt.HyperModel,
    plan: SearchPlan,
    directory: Path,
    on_trial: Callable[[TrialRow, list[TrialRow]], None] | None = None,
    max_seconds: float | None = None,
) -> list[TrialRow]:
    """Runs or goes on with a search.

    Args:
        hypermodel: its ``build(hp)`` gives a compiled model, its ``fit(hp, model, **kwargs)``
            trains it with the callbacks and epochs of ``kwargs``.
        plan: strategy and limits.
        directory: of the search; what is there is taken up.
        on_trial: called with each finished trial's row and all rows so far.
        max_seconds: begin no trial after that time, and end the one under way after its epoch.

    Returns:
        The leaderboard, best first.

    Raises:
        SearchError: no trial succeeded.
    """
    objective = kt.Objective(plan.metric, direction=plan.mode)
    oracle = make_oracle(plan.strategy, objective, plan.trials, plan.epochs, plan.seed)
    # KerasTuner reports to stdout, which belongs to the command's result.
    with contextlib.redirect_stdout(io.StringIO()):
        tuner = SearchTuner(
            oracle,
            plan.seed,
            on_trial,
            hypermodel=hypermodel,
            directory=str(directory),
            project_name="trials",
        )
        callbacks = []
        if max_seconds is not None:
            oracle.deadline = time.monotonic() + max_seconds
            callbacks = [Deadline(oracle.deadline)]
        tuner.search(epochs=plan.epochs, callbacks=callbacks, verbose=0)
    rows = read_rows(directory / "trials", plan.mode)
    if not any(row.state == "COMPLETED" for row in rows):
        why = next((row.message for row in rows if row.message), "none was run")
        raise SearchError(f"no trial of {directory} succeeded; the first said: {why}")
    return rows
