"""Hyperparameters of ``models.intent``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number
from models.tagging_config import TaggingConfig


@dataclass(frozen=True)
class IntentConfig(TaggingConfig):
    """Hyperparameters of ``models.intent``."""

    pooling: str = choice("max", ("last", "mean", "max", "attention"), "sequence to vector")
    intent_weight: float = number(1.0, 0.0, 100.0, "of the intent's loss beside that of the slots")
