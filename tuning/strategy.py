"""Which configuration a trial gets: KerasTuner's strategies, made reproducible by trial number.

The trials of a search are numbered. The configuration of a trial follows from the seed, its number
and the results of certain earlier trials, never from the clock. So any number of workers, also with
a kill and a resume, gives the same trials. The price is that a trial may have to wait for results
that it depends on; trials that do not depend on them can start meanwhile.

KerasTuner's search space language, random sampling, bracket sizes and grid order are used as they
are (keras-tuner 1.4.8); its bookkeeping and its Gaussian process are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import islice
from random import Random
from typing import Any

import keras_tuner as kt
from keras_tuner.engine.hyperparameters import Float, HyperParameter, Int

from tuning.leaderboard import TrialRow

ENDED = ("COMPLETED", "FAILED", "SKIPPED")
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
        bounds: after each epoch the score that the trial needs to go on; see ``tuning.pruning``.
    """

    values: dict[str, Any]
    until: int
    parent: int | None = None
    bracket: int | None = None
    round: int | None = None
    bounds: list[float | None] = field(default_factory=list)


class Strategy:
    """Base class of all strategies: trial 0 has the defaults, and no trial repeats another.

    ``rows`` of the methods is one mapping that grows as the search does, so what was computed from
    trials that cannot change any more is kept for the next call.
    """

    epochs = 1
    # Whether trials that will not win are ended early, where the strategy can.
    prune = False
    _rows: Rows | None = None

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

    def _look_at(self, rows: Rows) -> None:
        """Forgets what was computed from other trials than these."""
        if rows is not self._rows:
            self._rows, self._ended, self._hashed, self._hashes = rows, 0, 0, set()

    def _all_ended(self, before: int, rows: Rows) -> bool:
        """Whether all trials with a lower number have ended."""
        self._look_at(rows)
        while self._ended < before:
            row = rows.get(self._ended)
            if row is None or row.state not in ENDED:
                return False
            self._ended += 1
        return True

    def _tried(self, number: int, rows: Rows) -> set[str]:
        """Hashes of the configurations of the trials before this one that were sampled."""
        self._look_at(rows)
        if number < self._hashed:
            self._hashed, self._hashes = 0, set()
        for n in range(self._hashed, number):
            if self.samples(n) and rows[n].values:
                self._hashes.add(self._compute_values_hash(rows[n].values))
        self._hashed = number
        return self._hashes

    def samples(self, number: int) -> bool:
        """Whether a trial has a configuration of its own, not that of another trial.

        While such a trial waits, all later ones wait too.
        """
        return True

    def _sample(self, number: int, tried: set[str]) -> dict[str, Any] | None:
        """Random values whose hash is not in ``tried``; None if the space has no others."""
        if number == 0:
            return self._defaults()
        self._tried_so_far = tried
        # Each trial has its own range of seeds, large enough for all its repeated samples.
        self._seed_state = (self.seed * 1_000_003 + number) * 1_000_003
        values = self._random_values()
        if values is None:
            left = [values for name, values in self._small_space.items() if name not in tried]
            values = Random(self._seed_state).choice(left) if left else None
        return values

    def _defaults(self) -> dict[str, Any]:
        hps = kt.HyperParameters()
        for hp in self.hyperparameters.space:
            hps.merge([hp])
            if hps.is_active(hp):
                hps.values[hp.name] = hp.default
        return hps.values

    @cached_property
    def _small_space(self) -> dict[str, dict[str, Any]]:
        """All combinations of a small discrete space by hash; empty for any other space."""
        if any(isinstance(hp, Float) and hp.step is None for hp in self.hyperparameters.space):
            return {}
        found = list(islice(_combinations(self.hyperparameters.space, {}), MAX_ENUMERATED + 1))
        if len(found) > MAX_ENUMERATED:
            return {}
        return {self._compute_values_hash(values): values for values in found}


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
