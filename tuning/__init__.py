"""Hyperparameter search with KerasTuner; names load on first use."""

from importlib import import_module
from typing import Any

_HOME = {
    "Budget": "tuning.search",
    "Limits": "tuning.leaderboard",
    "LocalPool": "tuning.pools",
    "ClusterPool": "tuning.pools",
    "Recipe": "tuning.jobs",
    "SearchPlan": "tuning.search",
    "discover": "tuning.strategies",
    "read_search": "tuning.leaderboard",
    "search": "tuning.search",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
