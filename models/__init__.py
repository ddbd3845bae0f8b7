"""Recurrent networks: configuration, layers, training, baselines; names load on first use."""

from importlib import import_module
from typing import Any

_HOME = {
    "ConfigError": "common.errors",
    "RecurrentConfig": "models.config",
    "recurrent_stack": "models.recurrent",
    "MaskedPooling": "models.pooling",
    "text_classifier": "models.text_classification",
    "fit": "models.training",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
