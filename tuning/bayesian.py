"""Bayesian search: each configuration follows from a model of what the earlier ones scored."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from keras_tuner.src.tuners.randomsearch import RandomSearchOracle
from threadpoolctl import threadpool_limits

from tuning.strategy import NoProposal, Proposal, Rows, Strategy
from tuning.surrogate import Encoding, Process, fitted, representative, without_outliers

# Number of random points before the Gaussian process is used.
INITIAL_POINTS = 8
# Number of random configurations that the process judges, and as many near the best ones.
CANDIDATES = 400


class BayesianStrategy(Strategy, RandomSearchOracle):
    """Search by a Gaussian process: the configuration with the greatest expected improvement.

    A trial uses the results of all earlier trials except the ``max_pending`` trials just before it,
    even if some of those have ended. Those are assumed to score what the process expects of them
    ("kriging believer", Ginsbourger et al. 2010). A failed trial counts as the worst known score,
    so that the process avoids similar configurations.

    With more than ``surrogate.MAX_POINTS`` trials the process knows the better and the newer half
    of that number. Its own parameters are fitted anew when the number of trials has grown by a
    tenth. So the time per draw does not grow with the search.
    """

    max_pending = 0

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """The best guess of the process; at first a random sample."""
        known = max(0, number - self.max_pending)
        if not self._all_ended(known, rows):
            return NoProposal.WAIT
        tried = self._tried(number, rows)
        completed = (n for n in range(known) if rows[n].state == "COMPLETED")
        if len(list(islice(completed, INITIAL_POINTS))) < INITIAL_POINTS:
            values = self._sample(number, tried)
        else:
            values = self._guess(number, rows, tried)
        return NoProposal.END if values is None else Proposal(values, self.epochs)

    def _guess(self, number: int, rows: Rows, tried: set[str]) -> dict[str, Any] | None:
        known = number - self.max_pending
        scores = self._scores(known, rows)
        random = np.random.RandomState((self.seed * 1_000_003 + number) % 2**32)
        # Matrices of this size are 4x faster without threads, which would wait for each other.
        with threadpool_limits(1):
            chosen = representative(scores)
            process = Process(
                self._encoded(chosen, rows), without_outliers(scores[chosen]),
                self._encoding.unordered, self._parameters(known, scores, rows),
            )  # fmt: skip
            if self.max_pending:
                process.believing(self._encoded(range(known, number), rows))
            best = chosen[np.argsort(scores[chosen], kind="stable")[:8]]
            candidates = self._candidates(self._encoded(best, rows), tried, random)
            if not candidates:
                return self._sample(number, tried)
            places = np.array([self._encoding.row(values) for values in candidates])
            return candidates[int(np.argmax(process.improvement(places)))]

    def _scores(self, known: int, rows: Rows) -> np.ndarray:
        """Scores of the first trials, lower is better; of a failed one the worst."""
        sign = -1.0 if self.objective.direction == "max" else 1.0
        completed = (rows[n].state == "COMPLETED" for n in range(known))
        scores = np.array([
            sign * rows[n].score if done else np.nan for n, done in enumerate(completed)
        ])  # fmt: skip
        return np.where(np.isnan(scores), np.nanmax(scores), scores)

    def _parameters(self, known: int, scores: np.ndarray, rows: Rows) -> np.ndarray:
        """Those fitted to so many first trials as there were when they last had to be."""
        until = INITIAL_POINTS
        while (later := until + max(1, until // 10)) <= known:
            until = later
        until = min(until, known)
        if self._fitted is None or self._fitted[0] is not rows or self._fitted[1] != until:
            random = np.random.RandomState((self.seed * 1_000_003 + until) % 2**32)
            chosen = representative(scores[:until])
            found = fitted(
                self._encoded(chosen, rows), without_outliers(scores[chosen]),
                self._encoding.unordered, random,
            )  # fmt: skip
            self._fitted = rows, until, found
        return self._fitted[2]

    _fitted: tuple[Rows, int, np.ndarray] | None = None

    def _candidates(
        self, best: np.ndarray, tried: set[str], random: np.random.RandomState
    ) -> list[dict[str, Any]]:
        """Configurations that were not tried: all of a small space, else random and near ones."""
        if self._small_space:
            return [values for name, values in self._small_space.items() if name not in tried]
        anywhere = random.uniform(size=(CANDIDATES, best.shape[1]))
        near = self._encoding.around(best, CANDIDATES, random)
        found = map(self._encoding.values, np.concatenate([anywhere, near]))
        return [values for values in found if self._compute_values_hash(values) not in tried]

    def _encoded(self, numbers: Iterable[int], rows: Rows) -> np.ndarray:
        return np.array([self._encoding.row(rows[n].values) for n in numbers])

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self.hyperparameters)
