"""Hyperparameters of ``models.keyword``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number, switch
from models.audio_config import AudioConfig
from models.config import CLASS_WEIGHT_HELP, CLASS_WEIGHTS


@dataclass(frozen=True)
class KeywordConfig(AudioConfig):
    """Hyperparameters of ``models.keyword``."""

    layers: int = number(2, 1, 4, "recurrent layers")
    learning_rate: float = number(4e-3, 1e-7, 1.0, "Adam's step size")
    dropout: float = number(0.3, 0.0, 0.95, "of the first layer, between layers and of the head")
    epochs: int = number(30, 1, 100000, "greatest number of epochs")
    patience: int = number(10, 1, 100000, "epochs without a better validation score before the end")
    pooling: str = choice(
        "max", ("max", "mean", "attention", "last"), "how steps become one answer"
    )
    floor_db: float = number(
        40.0, 0.0, 200.0, "decibels below a sound's loudest band under which all is alike; 0: none"
    )
    centre: bool = switch(True, "take away the mean of each sound's frames: another microphone")
    class_weight: str = choice("none", CLASS_WEIGHTS, CLASS_WEIGHT_HELP)
