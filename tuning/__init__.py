"""Hyperparameter search with KerasTuner; names load on first use."""

from importlib import import_module
from typing import Any

_HOME = {
    "SearchPlan": "tuning.search",
    "search": "tuning.search",
    "TrialRow": "tuning.leaderboard",
    "read_search": "tuning.leaderboard",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
