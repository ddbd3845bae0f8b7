"""Which tasks take a network of the user's own."""

from __future__ import annotations

from typing import Any

from common.errors import ConfigError
from models.network import Network


def own_network(task: Any) -> Network | None:
    """The network that a task was given, with the source that it needs; None without.

    Raises:
        ConfigError: the task takes none, or see ``Network.of``.
    """
    if task.network is None:
        return None
    if not task.takes_network:
        raise ConfigError(
            f"task {task.name!r} takes no network of its own: its layers hand states on from step "
            "to step; docs/own_models.md says which tasks take one"
        )
    return Network.of(task.network)
