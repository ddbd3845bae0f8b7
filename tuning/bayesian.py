"""Bayesian search: each configuration follows from a model of what the earlier ones scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from keras_tuner.src.tuners.randomsearch import RandomSearchOracle

from tuning.leaderboard import TrialRow
from tuning.model_based import ModelBased
from tuning.pruning import bounds, expected, outlooks
from tuning.strategy import NoProposal, Proposal, Rows


class BayesianStrategy(ModelBased, RandomSearchOracle):
    """Search by a Gaussian process: the configuration with the greatest expected improvement.

    A trial uses the results of all earlier trials except the ``max_pending`` trials just before it,
    even if some of those have ended. Those are assumed to score what the process expects of them
    ("kriging believer", Ginsbourger et al. 2010). A failed trial counts as the worst known score,
    so that the process avoids similar configurations; a pruned one counts as what it would have
    scored in the end.
    """

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """The best guess of the process; at first a random sample."""
        until = max(0, number - self.max_pending)
        if not self._all_ended(until, rows):
            return NoProposal.WAIT
        known = [rows[n] for n in range(until)]
        pending = [rows[n] for n in range(until, number)]
        values = self._guess(number, known, pending, self._tried(number, rows))
        if values is None:
            return NoProposal.END
        mode, epochs = self.objective.direction, self.epochs
        return Proposal(values, epochs, bounds=bounds(known, mode, epochs) if self.prune else [])

    def _scores(self, known: Sequence[TrialRow]) -> np.ndarray:
        mode = self.objective.direction
        if any(row.pruned for row in known):
            looks = outlooks(known, mode, self.epochs)
            known = [
                replace(row, score=expected(row, looks, mode)) if row.pruned else row
                for row in known
            ]
        return super()._scores(known)
