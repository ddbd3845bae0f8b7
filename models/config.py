"""The one description of a recurrent model and of how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_type_hints


class ConfigError(ValueError):
    """A configuration value that cannot be used; the message names it and what would do."""


def _number(default: float, least: float, most: float, help: str) -> Any:
    return field(default=default, metadata={"least": least, "most": most, "help": help})


def _choice(default: str, choices: tuple[str, ...], help: str) -> Any:
    return field(default=default, metadata={"choices": choices, "help": help})


def _switch(default: bool, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class RecurrentConfig:
    """Hyperparameters of one recurrent model.

    Frozen, and checked as it is made: an unknown key, a value of another type or out of range is a
    ``ConfigError``. A task changes the defaults with ``RecurrentConfig(units=128)``, a user with
    ``config.updated(units=128)``.
    """

    cell: str = _choice("gru", ("simple_rnn", "lstm", "gru"), "recurrent cell")
    layers: int = _number(1, 1, 4, "recurrent layers")
    units: int = _number(64, 1, 4096, "hidden size of each direction")
    bidirectional: bool = _switch(True, "read the sequence both ways")
    embedding_dim: int = _number(64, 1, 4096, "size of the token embedding")
    pooling: str = _choice("max", ("last", "mean", "max", "attention"), "sequence to vector")
    dropout: float = _number(0.4, 0.0, 0.95, "of embeddings, between layers and of the head")
    token_dropout: float = _number(0.1, 0.0, 0.9, "share of tokens hidden from the network")
    wide: str = _choice("characters", ("none", "words", "characters"), "n-grams of the linear path")
    wide_l2: float = _number(5e-5, 0.0, 1.0, "penalty on the linear path's weights")
    learning_rate: float = _number(2e-3, 1e-7, 1.0, "Adam's step size")
    decay: float = _number(0.05, 0.0, 1.0, "share of the step size left at the last epoch")
    clipnorm: float = _number(5.0, 1e-3, 1e6, "greatest global norm of the gradient")
    batch_size: int = _number(32, 1, 65536, "examples a step")
    epochs: int = _number(12, 1, 100000, "greatest number of epochs")
    patience: int = _number(4, 1, 100000, "epochs without a better validation score before the end")
    mixed_precision: bool = _switch(False, "compute in float16 where a GPU gains from it")

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            checked = _checked(item.name, getattr(self, item.name), hints[item.name], item.metadata)
            object.__setattr__(self, item.name, checked)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RecurrentConfig:
        """A configuration from a mapping; a key that is no field is an error."""
        return cls().updated(**values)

    def updated(self, **values: Any) -> RecurrentConfig:
        """The same with other values."""
        known = [item.name for item in fields(self)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"unknown setting {unknown[0]!r}; there are: {', '.join(known)}")
        return replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def _checked(name: str, value: Any, kind: type, limits: Mapping[str, Any]) -> Any:
    # bool is a subclass of int, and JSON writes 1.0 as 1: the one is refused, the other is taken.
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"{name} is {value!r}; it must be of type {kind.__name__}")
    if "choices" in limits and value not in limits["choices"]:
        raise ConfigError(f"{name} is {value!r}; use one of {', '.join(limits['choices'])}")
    if "least" in limits and not limits["least"] <= value <= limits["most"]:
        raise ConfigError(
            f"{name} is {value!r}; it must be from {limits['least']:g} to {limits['most']:g}"
        )
    return value
