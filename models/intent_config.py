"""Hyperparameters of ``models.intent``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number
from models.config import CLASS_WEIGHT_HELP, CLASS_WEIGHTS
from models.tagging_config import TaggingConfig


@dataclass(frozen=True)
class IntentConfig(TaggingConfig):
    """Hyperparameters of ``models.intent``."""

    batch_size: int = number(16, 1, 65536, "examples a step")
    epochs: int = number(30, 1, 100000, "greatest number of epochs")
    patience: int = number(8, 1, 100000, "epochs without a better validation score before the end")
    pooling: str = choice("attention", ("last", "mean", "max", "attention"), "sequence to vector")
    intent_weight: float = number(1.0, 0.0, 100.0, "of the intent's loss beside that of the slots")
    class_weight: str = choice("none", CLASS_WEIGHTS, f"of intents; {CLASS_WEIGHT_HELP}")
