"""Hyperparameters of ``models.forecasting``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.config import choice, number, switch
from common.errors import ConfigError
from models.config import RecurrentConfig

STEPS = 1000  # that a training takes, where its epochs are not set
# Windows of train from which on a network has so many units.
UNITS = ((4000, 128), (1000, 64), (300, 32), (0, 16))
LINES = 1000  # windows of train below which a linear path is added
SEGMENTS = 15  # that the past is cut into, about


@dataclass(frozen=True)
class ForecastConfig(RecurrentConfig):
    """Hyperparameters of a forecaster; those that are 0 are chosen by ``for_windows``."""

    bidirectional: bool = switch(False, "read the past both ways; heads direct, encoder_decoder")
    units: int = number(0, 0, 4096, "hidden size of each direction; 0: by the data")
    embedding_dim: int = number(
        0, 0, 4096, "size of the embedding of each segment or step; 0: that of units"
    )
    dropout: float = number(0.5, 0.0, 0.95, "between layers and of the head")
    learning_rate: float = number(1e-3, 1e-7, 1.0, "Adam's step size")
    average: float = number(0.99, 0.0, 0.99999, "momentum of a running average of the weights")
    batch_size: int = number(0, 0, 65536, "windows a step; 0: by the data")
    epochs: int = number(0, 0, 100000, "maximum number of epochs; 0: by the data")
    patience: int = number(
        0, 0, 100000, "epochs without a better validation score before the end; 0: by the epochs"
    )
    head: str = choice(
        "segment", ("segment", "direct", "encoder_decoder"), "how the future is read"
    )
    segment: int = number(0, 0, 10000, "steps of a segment, head segment; 0: by the data")
    channels: str = choice("independent", ("independent", "joint"), "each column alone, or all")
    normalise: str = choice(
        "auto", ("auto", "last", "mean_std", "none"), "of each window by itself; auto: by the data"
    )
    linear: str = choice(
        "auto",
        ("auto", "yes", "no"),
        "a linear path from window to forecast; auto: by the data",
    )
    blend: bool = switch(True, "blend with the best baseline, as much as validation says")
    loss: str = choice("mae", ("mae", "mse", "huber"), "of the mean; quantiles have their own")

    def __post_init__(self) -> None:
        if isinstance(self.linear, bool):  # --linear, --no-linear, and runs of earlier versions
            object.__setattr__(self, "linear", "yes" if self.linear else "no")
        super().__post_init__()

    def for_windows(
        self,
        windows: int,
        lookback: int,
        horizon: int,
        season: int = 1,
        proportional: bool = False,
    ) -> ForecastConfig:
        """The same with what is 0, or auto, chosen for the data; what was set stays.

        The rules are those that did best on the validation parts of the series of
        docs/results.md.

        Args:
            windows: of train.
            lookback: rows of the past that are seen.
            horizon: rows of the future.
            season: rows; 1 for none.
            proportional: whether windows vary the more the higher they are.
        """
        usual = "mean_std" if proportional else "last"
        # With few windows a line is what can be learnt of them; with many it keeps the network from
        # learning more.
        line = "yes" if windows < LINES else "no"
        units = self.units or next(size for least, size in UNITS if windows >= least)
        batch = self.batch_size or (64 if windows >= 500 else 16)
        steps = max(1, -(-windows // batch))
        epochs = self.epochs or min(200, max(4, math.ceil(STEPS / steps)))
        return self.updated(
            units=units,
            embedding_dim=self.embedding_dim or units,
            batch_size=batch,
            epochs=epochs,
            patience=self.patience or max(4, epochs // 5),
            segment=self.segment or segment_length(lookback, horizon, season),
            linear=line if self.linear == "auto" else self.linear,
            normalise=usual if self.normalise == "auto" else self.normalise,
        )

    def check(self, lookback: int, covariates: bool) -> None:
        """Refuses settings that do not go together.

        Args:
            lookback: rows of the past that are seen; 0 where the data will say.
            covariates: whether there are columns of which only the past is known.

        Raises:
            ConfigError: names the flags, and what would do.
        """
        if self.head == "segment" and lookback and self.segment > lookback:
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


def segment_length(lookback: int, horizon: int, season: int) -> int:
    """Rows of a segment: whole seasons where there is room, and about ``SEGMENTS`` of them.

    >>> segment_length(336, 24, 24), segment_length(720, 96, 24), segment_length(98, 7, 7)
    (24, 48, 7)
    """
    length = max(1, round(lookback / SEGMENTS))
    if season > 1 and 2 * season <= lookback and season <= 2 * max(horizon, length):
        length = season * max(1, round(length / season))
    return min(length, lookback)
