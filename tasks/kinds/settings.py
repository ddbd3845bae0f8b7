"""What a task is made with: where its data is, its settings, and what its network must learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.config import Config
from models.config import RecurrentConfig
from pipelines.frames import Source

if TYPE_CHECKING:
    import keras_tuner


@dataclass(frozen=True)
class DataOptions:
    """Where the examples come from and how they are read.

    Attributes:
        source: what ``--data`` takes; a pandas DataFrame or a dict of parts too.
        seed: decides which examples are split off where parts are missing.
        reading: settings of the task's ``data`` that are not its defaults.
    """

    source: Source = "synthetic"
    seed: int = 0
    reading: Mapping[str, Any] = field(default_factory=dict)

    def in_files(self, directory: Path) -> DataOptions:
        """The same, with data in memory stored there: other processes and commands read it."""
        from pipelines.frames import stored

        return replace(self, source=stored(self.source, directory))


@dataclass(frozen=True)
class Settings:
    """Every choice that makes a model, and the defaults of how its answers are decoded."""

    model: RecurrentConfig
    preprocessing: Config
    decoding: Config

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain values by group, for JSON."""
        return {
            "model": self.model.to_dict(),
            "preprocessor": self.preprocessing.to_dict(),
            "decoding": self.decoding.to_dict(),
        }


@dataclass(frozen=True)
class Overfit:
    """What proves that the network alone can learn: a tiny sample, memorised.

    Attributes:
        bound: value of the task's metric on the sample that must be reached.
        epochs: in which it must be reached.
        settings: changes to the settings, such as no dropout and no linear path.
        examples: size of the sample.
    """

    bound: float
    epochs: int = 30
    settings: Mapping[str, Any] = field(default_factory=dict)
    examples: int = 32


def choice(hp: keras_tuner.HyperParameters, name: str, default: Any, *others: Any) -> Any:
    """One of some values and the default, which need not be among them."""
    values = dict.fromkeys([default, *others])
    return hp.Choice(
        name, list(values) if isinstance(default, str) else sorted(values), default=default
    )


def choices(hp: keras_tuner.HyperParameters, config: Any, options: Mapping[str, Any]) -> Any:
    """A configuration with some of its settings chosen by KerasTuner.

    Args:
        hp: chooses.
        config: its values are the defaults.
        options: by setting: a list of other values; a range for whole numbers; ``(low, high)`` for
            a float on a logarithmic scale; ``bool`` for a switch.
    """
    chosen = {}
    for name, values in options.items():
        at = getattr(config, name)
        if values is bool:
            chosen[name] = hp.Boolean(name, default=at)
        elif isinstance(values, range):
            chosen[name] = hp.Int(name, values.start, values.stop - 1, default=at)
        elif isinstance(values, tuple):
            chosen[name] = hp.Float(name, *values, sampling="log", default=at)
        else:
            chosen[name] = choice(hp, name, at, *values)
    return replace(config, **chosen)
