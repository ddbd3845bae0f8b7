"""Encoders that a language model has trained: units and recurrent weights to begin with.

Sources: Dai and Le 2015 (arXiv:1511.01432); Howard and Ruder 2018 (arXiv:1801.06146).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ConfigError, DataError
from models.config import EncoderConfig
from pipelines.preprocessor import load_preprocessor
from pipelines.text import END, SPECIAL_TOKENS, START, UNKNOWN

if TYPE_CHECKING:
    import keras

RECURRENT = "recurrent_0"  # the layer of a language model that is taken over
WORDS = ("token", "word")  # levels of a language model whose units are words
UNITS = {"token": "words", "word": "words", "subword": "subwords", "char": "characters"}


@dataclass(frozen=True)
class Encoder:
    """What is taken over of one or two language models.

    Attributes:
        table: ``<float32>[units, n]``, vectors of the units of the new model: those of the forward
            model and, behind them, those of the backward one, each of which has its own.
        found: ``<bool>[units]``: which of them the language models have.
        cell: of the recurrent layer.
        units: of each direction.
        forward: weights of the forward layer, as Keras has them.
        backward: of the backward one; None begins at random.

    Each direction reads its own part of a vector, so that its states are at first exactly those of
    its language model.
    """

    table: np.ndarray
    found: np.ndarray
    cell: str
    units: int
    forward: list[np.ndarray]
    backward: list[np.ndarray] | None = None

    def settings(self, config: EncoderConfig) -> EncoderConfig:
        """A configuration with the sizes of what is taken over."""
        sizes = {"units": self.units, "embedding_dim": self.table.shape[1]}
        return replace(config, cell=self.cell, **sizes)

    def begin(
        self, model: keras.Model, rate: float, table: str = "embedding", prefix: str = ""
    ) -> None:
        """Sets the weights of a model's first recurrent layer, and slows what is taken over down.

        Of a layer that reads more than vectors of units these come first.

        Args:
            model: built with ``settings`` and the table.
            rate: share of the step size by which taken weights are trained.
            table: name of the layer that has the vectors.
            prefix: of the names of the recurrent layers.
        """
        import keras

        layer = model.get_layer(f"{prefix}{self.cell}_0")
        both = isinstance(layer, keras.layers.Bidirectional)
        parts = [(layer.forward_layer if both else layer, self.forward)]
        if both and self.backward is not None:
            parts.append((layer.backward_layer, self.backward))
        for each, weights in parts:
            kernel, taken = each.get_weights()[0], weights[0]
            first = 0 if weights is self.forward else len(self.forward[0])
            kernel[: self.table.shape[1]] = 0
            kernel[first : first + len(taken)] = taken
            each.set_weights([kernel, *weights[1:]])
        for variable in (v for each, _ in parts for v in each.trainable_variables):
            variable.value.rate = rate
        # What the language model does not have begins at random and has all to learn.
        rates = np.where(self.found, rate, 1.0).astype(np.float32)[:, None]
        model.get_layer(table).embeddings.value.rate = rates


def check_encoder(config: EncoderConfig) -> None:
    """Refuses directories that hold no finished language model, before anything else is done.

    Raises:
        ConfigError: names the flag.
    """
    if config.encoder_backward and not config.encoder:
        raise ConfigError("--encoder-backward is the other half of --encoder; give that too")
    for flag, path in (("encoder", config.encoder), ("encoder-backward", config.encoder_backward)):
        if path and not (Path(path) / "model.keras").is_file():
            raise ConfigError(
                f"--{flag} {path} holds no finished run; give a directory that "
                "`seqloom train language` wrote"
            )


def read_encoder(
    config: EncoderConfig,
    words: np.ndarray,
    normalise: Callable[[str], str],
    levels: Sequence[str] = WORDS,
) -> Encoder:
    """Reads what the settings name.

    Args:
        config: ``encoder`` and ``encoder_backward`` are read.
        words: ``<object>[units]`` of the new model by number; "" where there is none. ``UNKNOWN``,
            ``START`` and ``END`` are those of the language model where they are "".
        normalise: a unit of the language model to how ``words`` would spell it.
        levels: of language models whose units fit, the one to advise first.

    Raises:
        DataError: a directory holds no language model of such units, or the two do not fit each
            other.
    """
    model, names = _loaded(config.encoder, False, levels)
    layer, backward = _recurrent(model), None
    table, found = _vectors(model, names, words, normalise, (UNKNOWN, START, END))
    if not found[words != ""].any():
        raise DataError(
            f"the language model of {config.encoder} has none of the {UNITS[levels[0]]} of the "
            "training data; train one on texts in the same language"
        )
    if config.encoder_backward:
        model, names = _loaded(config.encoder_backward, True, levels)
        other = _recurrent(model)
        if type(other) is not type(layer) or other.units != layer.units:
            raise DataError(
                f"{config.encoder} and {config.encoder_backward} have recurrent layers of "
                "different kinds or sizes; train both with the same settings"
            )
        # It begins where a text ends.
        more, also = _vectors(model, names, words, normalise, (UNKNOWN, END, START))
        table, found = np.concatenate([table, more], 1), found | also
        backward = other.get_weights()
    cell = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn"}[type(layer).__name__]
    return Encoder(table, found, cell, layer.units, layer.get_weights(), backward)


def _vectors(
    model: keras.Model,
    names: Sequence[str],
    words: np.ndarray,
    normalise: Callable[[str], str],
    special: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the words ``<float32>[words, n]``, 0 where the model has none, and which it has.

    Args:
        model: of language.
        names: of its units.
        words: see ``read_encoder``.
        normalise: see there.
        special: the model's units that stand for the words ``UNKNOWN``, ``START`` and ``END``.
    """
    rows: dict[str, int] = {}
    for number, name in enumerate(names):
        rows.setdefault(normalise(name), number)
    taken = np.array([rows.get(word, -1) if word else -1 for word in words])
    for place, unit in zip((UNKNOWN, START, END), special, strict=True):
        if place < len(words) and not words[place]:
            taken[place] = unit
    vectors = model.get_layer("embedding").embeddings.numpy()
    found = taken >= 0
    return np.where(found[:, None], vectors[taken], 0).astype(np.float32), found


def _recurrent(model: keras.Model) -> keras.layers.Layer:
    """Its first recurrent layer, of one of Keras's own classes."""
    layer = model.get_layer(RECURRENT)
    return layer.plain() if hasattr(layer, "plain") else layer  # see models.weight_dropout


def encoder_words(path: str, levels: Sequence[str] = WORDS) -> Sequence[str]:
    """The units of a language model, without the special ones.

    A text to be answered may have words that no training text has and the language model knows.

    Raises:
        DataError: the directory holds no language model of such units.
    """
    return _preprocessor(path, False, levels).units.names[len(SPECIAL_TOKENS) :]


def _loaded(path: str, backward: bool, levels: Sequence[str]) -> tuple[keras.Model, Sequence[str]]:
    """A language model, and the names of its units."""
    import keras

    import models.language_layers
    import models.weight_dropout  # noqa: F401  both register what the file holds

    names = _preprocessor(path, backward, levels).units.names
    return keras.saving.load_model(Path(path) / "model.keras", compile=False), names


def _preprocessor(path: str, backward: bool, levels: Sequence[str]) -> Any:
    """Of a language model; anything else is a DataError."""
    preprocessor: Any = load_preprocessor(Path(path) / "preprocessor")
    is_language = getattr(preprocessor, "TYPE", "") == "language"
    if not is_language or preprocessor.units.level not in levels:
        raise DataError(
            f"{path} is no language model of {UNITS[levels[0]]}; train one with "
            f"`seqloom train language --level {levels[0]}`"
        )
    if preprocessor.backward != backward:
        reads = "to the beginning" if preprocessor.backward else "to the end"
        raise DataError(
            f"the language model of {path} reads {reads}: --encoder takes one that reads to the "
            "end, --encoder-backward one of `seqloom train language --backward`"
        )
    return preprocessor
