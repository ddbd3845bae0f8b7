"""The one description of a recurrent model and of how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_type_hints


class ConfigError(ValueError):
    """A configuration value that cannot be used; the message names it and what would do."""


# How a field of a configuration is declared: its default, what it may be, and what it is.


def number(default: float, least: float, most: float, help: str) -> Any:
    """A number from ``least`` to ``most``."""
    return field(default=default, metadata={"least": least, "most": most, "help": help})


def choice(default: str, choices: tuple[str, ...], help: str) -> Any:
    """One of some words."""
    return field(default=default, metadata={"choices": choices, "help": help})


def switch(default: bool, help: str) -> Any:
    """True or false."""
    return field(default=default, metadata={"help": help})


def text(default: str, help: str) -> Any:
    """Any words; "" where there are none."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Checked:
    """A frozen dataclass whose values are checked as it is made.

    An unknown key, a value of another type or out of range is a ``ConfigError``.
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            checked = _checked(item.name, getattr(self, item.name), hints[item.name], item.metadata)
            object.__setattr__(self, item.name, checked)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Any:
        """A configuration from a mapping; a key that is no field is an error."""
        return cls().updated(**values)

    @classmethod
    def names(cls) -> list[str]:
        """Of all settings."""
        return [item.name for item in fields(cls)]

    def updated(self, **values: Any) -> Any:
        """The same with other values."""
        known = self.names()
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"unknown setting {unknown[0]!r}; there are: {', '.join(known)}")
        return replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class RecurrentConfig(Checked):
    """Hyperparameters of any recurrent model and of its training.

    A kind of task adds its own in a subclass. A task changes the defaults with
    ``RecurrentConfig(units=128)``, a user with ``config.updated(units=128)``.
    """

    cell: str = choice("gru", ("simple_rnn", "lstm", "gru"), "recurrent cell")
    layers: int = number(1, 1, 4, "recurrent layers")
    units: int = number(64, 1, 4096, "hidden size of each direction")
    bidirectional: bool = switch(True, "read the sequence both ways")
    embedding_dim: int = number(64, 1, 4096, "size of the embedding of each step")
    dropout: float = number(0.4, 0.0, 0.95, "of embeddings, between layers and of the head")
    learning_rate: float = number(2e-3, 1e-7, 1.0, "Adam's step size")
    decay: float = number(0.05, 0.0, 1.0, "share of the step size left at the last epoch")
    average: float = number(0.0, 0.0, 0.99999, "momentum of a running average of the weights")
    clipnorm: float = number(5.0, 1e-3, 1e6, "greatest global norm of the gradient")
    batch_size: int = number(32, 1, 65536, "examples a step")
    epochs: int = number(12, 1, 100000, "greatest number of epochs")
    patience: int = number(4, 1, 100000, "epochs without a better validation score before the end")
    mixed_precision: bool = switch(False, "compute in float16 where a GPU gains from it")


@dataclass(frozen=True)
class TextConfig(RecurrentConfig):
    """Of ``models.text_classifier``."""

    pooling: str = choice("max", ("last", "mean", "max", "attention"), "sequence to vector")
    token_dropout: float = number(0.1, 0.0, 0.9, "share of tokens hidden from the network")
    wide: str = choice("characters", ("none", "words", "characters"), "n-grams of the linear path")
    wide_l2: float = number(5e-5, 0.0, 1.0, "penalty on the linear path's weights")


@dataclass(frozen=True)
class ForecastConfig(RecurrentConfig):
    """Of ``models.forecaster``."""

    bidirectional: bool = switch(False, "read the past both ways; heads direct, encoder_decoder")
    units: int = number(256, 1, 4096, "hidden size of each direction")
    embedding_dim: int = number(256, 1, 4096, "size of the embedding of each segment or step")
    dropout: float = number(0.5, 0.0, 0.95, "between layers and of the head")
    learning_rate: float = number(1e-3, 1e-7, 1.0, "Adam's step size")
    average: float = number(0.99, 0.0, 0.99999, "momentum of a running average of the weights")
    batch_size: int = number(64, 1, 65536, "windows a step")
    epochs: int = number(15, 1, 100000, "greatest number of epochs")
    head: str = choice(
        "segment", ("segment", "direct", "encoder_decoder"), "how the future is read"
    )
    segment: int = number(24, 1, 10000, "steps of a segment; head segment")
    channels: str = choice("independent", ("independent", "joint"), "each column alone, or all")
    normalise: str = choice("last", ("last", "mean_std", "none"), "of each window by itself")
    linear: bool = switch(True, "a linear path from the window to the forecast beside it")
    loss: str = choice("mae", ("mae", "mse", "huber"), "of the mean; quantiles have their own")


@dataclass(frozen=True)
class AnomalyConfig(RecurrentConfig):
    """Of ``models.detector``."""

    bidirectional: bool = switch(False, "read windows both ways; scorer autoencoder")
    units: int = number(32, 1, 4096, "hidden size of each direction")
    embedding_dim: int = number(32, 1, 4096, "size of the embedding of each step")
    dropout: float = number(0.1, 0.0, 0.95, "between layers")
    learning_rate: float = number(3e-3, 1e-7, 1.0, "Adam's step size")
    epochs: int = number(30, 1, 100000, "greatest number of epochs")
    patience: int = number(8, 1, 100000, "epochs without a better validation score before the end")
    scorer: str = choice("residual", ("residual", "autoencoder"), "what an anomaly is far from")
    surprise: float = number(0.5, 0.01, 1.0, "weight of the next row's error; the usual row's is 1")
    threshold: str = choice(
        "evt", ("evt", "quantile"), "from train's scores: tail fit, or quantile"
    )
    alarm_rate: float = number(1e-4, 1e-9, 0.5, "share of normal rows that may raise an alarm")


def _checked(name: str, value: Any, kind: type, limits: Mapping[str, Any]) -> Any:
    # bool is a subclass of int, and JSON writes 1.0 as 1: the one is refused, the other is taken.
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)  # a column's name may look like a number
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"{name} is {value!r}; it must be of type {kind.__name__}")
    if "choices" in limits and value not in limits["choices"]:
        raise ConfigError(f"{name} is {value!r}; use one of {', '.join(limits['choices'])}")
    if "least" in limits and not limits["least"] <= value <= limits["most"]:
        raise ConfigError(
            f"{name} is {value!r}; it must be from {limits['least']:g} to {limits['most']:g}"
        )
    return value
