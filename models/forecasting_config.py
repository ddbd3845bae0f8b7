"""Hyperparameters of ``models.forecasting``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number, switch
from common.errors import ConfigError
from models.config import RecurrentConfig


@dataclass(frozen=True)
class ForecastConfig(RecurrentConfig):
    """Hyperparameters of a forecaster."""

    bidirectional: bool = switch(False, "read the past both ways; heads direct, encoder_decoder")
    units: int = number(256, 1, 4096, "hidden size of each direction")
    embedding_dim: int = number(256, 1, 4096, "size of the embedding of each segment or step")
    dropout: float = number(0.5, 0.0, 0.95, "between layers and of the head")
    learning_rate: float = number(1e-3, 1e-7, 1.0, "Adam's step size")
    average: float = number(0.99, 0.0, 0.99999, "momentum of a running average of the weights")
    batch_size: int = number(64, 1, 65536, "windows a step")
    epochs: int = number(15, 1, 100000, "maximum number of epochs")
    head: str = choice(
        "segment", ("segment", "direct", "encoder_decoder"), "how the future is read"
    )
    segment: int = number(24, 1, 10000, "steps of a segment; head segment")
    channels: str = choice("independent", ("independent", "joint"), "each column alone, or all")
    normalise: str = choice("last", ("last", "mean_std", "none"), "of each window by itself")
    linear: bool = switch(True, "add a linear path from the window to the forecast")
    loss: str = choice("mae", ("mae", "mse", "huber"), "of the mean; quantiles have their own")

    def check(self, lookback: int, covariates: bool) -> None:
        """Refuses settings that do not go together.

        Args:
            lookback: rows of the past that are seen.
            covariates: whether there are columns of which only the past is known.

        Raises:
            ConfigError: names the flags, and what would do.
        """
        if self.head == "segment" and self.segment > lookback:
            raise ConfigError(
                f"segment is {self.segment}, longer than the lookback of {lookback}; "
                f"add --segment {lookback} or less, or lengthen --lookback"
            )
        if self.bidirectional and self.head == "segment":
            raise ConfigError("head segment reads forward; take --unidirectional or another --head")
        if self.channels == "independent" and covariates:
            raise ConfigError(
                "channels is 'independent', which cannot use covariates of the past; "
                "set --channels joint"
            )
