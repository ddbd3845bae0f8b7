"""Names of the strategies, known without KerasTuner, which takes seconds to import."""

from __future__ import annotations

from tuning.errors import SearchError

STRATEGIES = ("random", "bayesian", "hyperband", "grid")


def check_strategy(strategy: str) -> None:
    """Raises SearchError if the name is not one of ``STRATEGIES``."""
    if strategy not in STRATEGIES:
        raise SearchError(f"strategy is {strategy!r}; use one of {', '.join(STRATEGIES)}")
