"""Hyperparameter search with KerasTuner. The names below are imported on first use."""

from common.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Budget": "tuning.search",
        "ClusterPool": "tuning.pools",
        "LocalPool": "tuning.pools",
        "SearchPlan": "tuning.search",
        "TrainerSpec": "tuning.jobs",
        "TrialLimits": "tuning.leaderboard",
        "discover": "tuning.strategies",
        "read_search": "tuning.leaderboard",
        "search": "tuning.search",
    },
)
