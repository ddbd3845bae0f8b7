"""Hyperparameters of ``models.anomaly_detection``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number, switch
from common.errors import ConfigError
from models.config import RecurrentConfig


@dataclass(frozen=True)
class AnomalyConfig(RecurrentConfig):
    """Hyperparameters of ``models.anomaly_detection``."""

    bidirectional: bool = switch(False, "read windows both ways; scorer autoencoder")
    units: int = number(32, 1, 4096, "hidden size of each direction")
    embedding_dim: int = number(32, 1, 4096, "size of the embedding of each step")
    dropout: float = number(0.1, 0.0, 0.95, "between layers")
    learning_rate: float = number(3e-3, 1e-7, 1.0, "Adam's step size")
    epochs: int = number(30, 1, 100000, "maximum number of epochs")
    patience: int = number(8, 1, 100000, "epochs without a better validation score before the end")
    scorer: str = choice("residual", ("residual", "autoencoder"), "what an anomaly is far from")
    surprise: float = number(0.5, 0.01, 1.0, "weight of the next row's error; the usual row's is 1")
    threshold: str = choice(
        "evt", ("evt", "quantile"), "from train's scores: tail fit, or quantile"
    )
    alarm_rate: float = number(1e-4, 1e-9, 0.5, "share of normal rows that may raise an alarm")

    def check(self) -> None:
        """Refuses settings that do not go together.

        Raises:
            ConfigError: names the flags, and what would do.
        """
        if self.scorer == "residual" and self.bidirectional:
            raise ConfigError(
                "scorer residual reads forward; take --unidirectional or --scorer autoencoder"
            )
