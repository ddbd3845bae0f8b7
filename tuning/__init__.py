"""Hyperparameter search with KerasTuner. The names below are imported on first use."""

from importlib import import_module
from typing import Any

_MODULES = {
    "Budget": "tuning.search",
    "ClusterPool": "tuning.pools",
    "LocalPool": "tuning.pools",
    "SearchPlan": "tuning.search",
    "TrainerSpec": "tuning.jobs",
    "TrialLimits": "tuning.leaderboard",
    "discover": "tuning.strategies",
    "read_search": "tuning.leaderboard",
    "search": "tuning.search",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
