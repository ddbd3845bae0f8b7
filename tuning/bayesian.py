"""Bayesian search: each configuration follows from a model of what the earlier ones scored."""

from __future__ import annotations

from keras_tuner.src.tuners.randomsearch import RandomSearchOracle

from tuning.model_based import ModelBased
from tuning.strategy import NoProposal, Proposal, Rows


class BayesianStrategy(ModelBased, RandomSearchOracle):
    """Search by a Gaussian process: the configuration with the greatest expected improvement.

    A trial uses the results of all earlier trials except the ``max_pending`` trials just before it,
    even if some of those have ended. Those are assumed to score what the process expects of them
    ("kriging believer", Ginsbourger et al. 2010). A failed trial counts as the worst known score,
    so that the process avoids similar configurations.
    """

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """The best guess of the process; at first a random sample."""
        until = max(0, number - self.max_pending)
        if not self._all_ended(until, rows):
            return NoProposal.WAIT
        known = [rows[n] for n in range(until)]
        pending = [rows[n] for n in range(until, number)]
        values = self._guess(number, known, pending, self._tried(number, rows))
        return NoProposal.END if values is None else Proposal(values, self.epochs)
