"""Hyperparameters of ``models.speech``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number
from models.audio_config import AudioConfig


@dataclass(frozen=True)
class SpeechConfig(AudioConfig):
    """Hyperparameters of ``models.speech``."""

    cell: str = choice("lstm", ("simple_rnn", "lstm", "gru"), "recurrent cell")
    layers: int = number(1, 1, 4, "recurrent layers")
    units: int = number(128, 1, 4096, "hidden size of each direction")
    dropout: float = number(0.2, 0.0, 0.95, "of the first layer and between layers")
    learning_rate: float = number(5e-3, 1e-7, 1.0, "Adam's step size")
    epochs: int = number(40, 1, 100000, "greatest number of epochs")
    patience: int = number(10, 1, 100000, "epochs without a better validation score before the end")
