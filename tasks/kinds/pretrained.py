"""Encoders that a language model has trained: units and recurrent weights to begin with.

Sources: Dai and Le 2015 (arXiv:1511.01432); Howard and Ruder 2018 (arXiv:1801.06146).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ConfigError, DataError
from models.config import EncoderConfig
from pipelines.preprocessor import load_preprocessor

if TYPE_CHECKING:
    import keras

RECURRENT = "recurrent_0"  # the layer of a language model that is taken over
WORDS = ("token", "word")  # levels of a language model whose units are words
UNITS = {"token": "words", "word": "words", "subword": "subwords", "char": "characters"}


@dataclass(frozen=True)
class Encoder:
    """What is taken over of one or two language models.

    Attributes:
        table: ``<float32>[units, n]``, vectors of the units of the new model.
        found: ``<bool>[units]``: which of them the language model has.
        cell: of the recurrent layer.
        units: of each direction.
        forward: weights of the forward layer, as Keras has them.
        backward: of the backward one; None begins at random.
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
            kernel, *rest = each.get_weights()
            kernel[: len(weights[0])] = weights[0]
            each.set_weights([kernel, *weights[1:]])
            assert len(rest) == len(weights) - 1
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
    words: Sequence[str],
    normalise: Callable[[str], str],
    levels: Sequence[str] = WORDS,
) -> Encoder:
    """Reads what the settings name.

    Args:
        config: ``encoder`` and ``encoder_backward`` are read.
        words: units of the new model by number; "" where there is none.
        normalise: a unit of the language model to how ``words`` would spell it.
        levels: of language models whose units fit, the one to advise first.

    Raises:
        DataError: a directory holds no language model of such units, or the two do not fit each
            other.
    """
    model, names = _loaded(config.encoder, False, levels)
    layer = _recurrent(model)
    vectors = model.get_layer("embedding").embeddings.numpy()
    rows: dict[str, int] = {}
    for number, name in enumerate(names):
        rows.setdefault(normalise(name), number)
    taken = [rows.get(word, -1) if word else -1 for word in words]
    found = np.array(taken) >= 0
    table = np.where(found[:, None], vectors[np.maximum(taken, 0)], 0).astype(np.float32)
    backward = None
    if config.encoder_backward:
        other = _recurrent(_loaded(config.encoder_backward, True, levels)[0])
        backward = other.get_weights()
        if type(other) is not type(layer) or backward[0].shape != layer.get_weights()[0].shape:
            raise DataError(
                f"{config.encoder} and {config.encoder_backward} have recurrent layers of "
                "different kinds or sizes; train both with the same settings"
            )
    cell = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn"}[type(layer).__name__]
    return Encoder(table, found, cell, layer.units, layer.get_weights(), backward)


def _recurrent(model: keras.Model) -> keras.layers.Layer:
    """Its first recurrent layer, of one of Keras's own classes."""
    layer = model.get_layer(RECURRENT)
    return layer.plain() if hasattr(layer, "plain") else layer  # see models.weight_dropout


def _loaded(path: str, backward: bool, levels: Sequence[str]) -> tuple[keras.Model, Sequence[str]]:
    """A language model, and the names of its units."""
    import keras

    import models.language_layers  # noqa: F401  registers what the file holds

    preprocessor = load_preprocessor(Path(path) / "preprocessor")
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
    model = keras.saving.load_model(Path(path) / "model.keras", compile=False)
    return model, preprocessor.units.names
