"""What strategies share that choose by a model of the scores so far."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from tuning.leaderboard import TrialRow
from tuning.strategy import Strategy
from tuning.surrogate import Encoding, Process, fitted, representative, without_outliers

# Number of random configurations that the process judges, and as many near the best ones.
CANDIDATES = 400


class ModelBased(Strategy):
    """Base class of strategies that choose the greatest expected improvement.

    With more than ``surrogate.MAX_POINTS`` trials the process knows the better and the newer half
    of that number. Its own parameters are fitted anew when the number of trials has grown by a
    tenth. So the time per draw hardly grows with the search.
    """

    max_pending = 0
    # Completed trials from which on the process is used.
    initial_points = 4
    _fitted: tuple[list[str], np.ndarray] | None = None

    def _guess(
        self, number: int, known: Sequence[TrialRow], pending: Sequence[TrialRow], tried: set[str]
    ) -> dict[str, Any] | None:
        """The best guess of the process; a random sample while it knows too little.

        Args:
            number: number of the trial.
            known: earlier trials, all of which have ended.
            pending: earlier trials that may not have ended.
            tried: hashes of configurations that are not to be repeated.
        """
        # A number without a configuration is none.
        known, pending = ([row for row in rows if row.values] for rows in (known, pending))
        if sum(row.state == "COMPLETED" for row in known) < self.initial_points:
            return self._sample(number, tried)
        scores, random = self._scores(known), self._random(number)
        # Matrices of this size are 4x faster without threads, which would wait for each other.
        with threadpool_limits(1):
            chosen = representative(scores)
            process = Process(
                self._places([known[n] for n in chosen]), without_outliers(scores[chosen]),
                self._unordered, self._parameters(known, scores),
            )  # fmt: skip
            if pending:
                process.believing(self._places(pending))
            best = chosen[np.argsort(scores[chosen], kind="stable")[:8]]
            candidates = self._candidates([known[n].values for n in best], tried, random)
            if not candidates:
                return self._sample(number, tried)
            whole = np.array([self._place(values) for values in candidates])
            goal = process.predict(self._whole(process.rows))[0].min()
            return candidates[int(np.argmax(process.improvement(whole, goal)))]

    def _place(self, values: dict[str, Any]) -> list[float]:
        """A configuration that is trained to the end, as the process sees it."""
        return self._encoding.row(values)

    def _places(self, rows: Sequence[TrialRow]) -> np.ndarray:
        """Trials as the process sees them."""
        return np.array([self._place(row.values) for row in rows])

    def _whole(self, places: np.ndarray) -> np.ndarray:
        """The same configurations, trained to the end."""
        return places

    @property
    def _unordered(self) -> np.ndarray:
        return self._encoding.unordered

    def _scores(self, known: Sequence[TrialRow]) -> np.ndarray:
        """Scores, lower is better; of a failed trial the worst."""
        sign = -1.0 if self.objective.direction == "max" else 1.0
        scores = np.array(
            [sign * row.score if row.state == "COMPLETED" else np.nan for row in known]
        )
        return np.where(np.isnan(scores), np.nanmax(scores), scores)

    def _random(self, number: int) -> np.random.RandomState:
        return np.random.RandomState((self.seed * 1_000_003 + number) % 2**32)

    def _parameters(self, known: Sequence[TrialRow], scores: np.ndarray) -> np.ndarray:
        """Those fitted to so many first trials as there were when they last had to be."""
        until = self.initial_points
        while (later := until + max(1, until // 10)) <= len(known):
            until = later
        names = [row.trial for row in known[:until]]
        if self._fitted is None or self._fitted[0] != names:
            chosen = representative(scores[:until])
            places = self._places([known[n] for n in chosen])
            random = self._random(until)
            found = fitted(places, without_outliers(scores[chosen]), self._unordered, random)
            self._fitted = names, found
        return self._fitted[1]

    def _candidates(
        self, best: Sequence[dict[str, Any]], tried: set[str], random: np.random.RandomState
    ) -> list[dict[str, Any]]:
        """Configurations that were not tried: all of a small space, else random and near ones."""
        if self._small_space:
            return [values for name, values in self._small_space.items() if name not in tried]
        rows = np.array([self._encoding.row(values) for values in best])
        anywhere = random.uniform(size=(CANDIDATES, rows.shape[1]))
        near = self._encoding.around(rows, CANDIDATES, random)
        found = map(self._encoding.values, np.concatenate([anywhere, near]))
        return [values for values in found if self._compute_values_hash(values) not in tried]

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self.hyperparameters)
