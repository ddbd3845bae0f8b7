"""Tasks, found by their module's name: ``tasks/NAME.py`` declares ``TASK``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from common.errors import DataError

if TYPE_CHECKING:
    from tasks.kinds.contract import Task

__all__ = ["get", "names"]


def names() -> list[str]:
    """Names of all tasks."""
    return sorted(module.name for module in iter_modules(__path__) if not module.ispkg)


def get(name: str) -> Task:
    """The task of this name.

    Raises:
        DataError: there is none; the message lists those that there are.
    """
    if name not in names():
        raise DataError(f"there is no task {name!r}; there are: {', '.join(names())}")
    return import_module(f"tasks.{name}").TASK
