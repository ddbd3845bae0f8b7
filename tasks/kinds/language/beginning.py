"""Language models that go on learning on another text (Howard and Ruder 2018, arXiv:1801.06146)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ConfigError, DataError
from models.language_config import LanguageConfig
from pipelines.preprocessor import load_preprocessor

if TYPE_CHECKING:
    import keras

    from pipelines.language import LanguagePreprocessing
    from pipelines.units import Units


def check_beginning(config: LanguageConfig) -> None:
    """Refuses a directory that holds no finished run, before anything else is done.

    Raises:
        ConfigError: names the flag.
    """
    if config.encoder and not (Path(config.encoder) / "model.keras").is_file():
        raise ConfigError(
            f"--encoder {config.encoder} holds no finished run; give a directory that "
            "`seqloom train language` wrote"
        )


def sized(config: LanguageConfig) -> LanguageConfig:
    """A configuration with the sizes of the model to begin with.

    They are the model's own: a run that began with another one has settings that it did not use.
    """
    if not config.encoder:
        return config
    from models.recurrent import CELLS

    model = _model(config.encoder)
    recurrent = [one for one in model.layers if one.name.startswith("recurrent_")]
    return replace(
        config,
        cell=next(name for name, kind in CELLS.items() if isinstance(recurrent[0], kind)),
        layers=len(recurrent),
        units=recurrent[0].units,
        embedding_dim=model.get_layer("embedding").width,
        tied=all(one.name != "output" for one in model.layers),
    )


def _model(path: str) -> keras.Model:
    import keras

    import models.language_layers
    import models.weight_dropout  # noqa: F401  both register what the file holds

    return keras.saving.load_model(Path(path) / "model.keras", compile=False)


def units_of(path: str, wanted: LanguagePreprocessing) -> Units:
    """The units of a run.

    Args:
        path: of the run.
        wanted: how text becomes units here.

    Raises:
        DataError: the run is of another kind, its units are of another level, or it reads in the
            other direction.
    """
    theirs: Any = load_preprocessor(Path(path) / "preprocessor")
    if getattr(theirs, "TYPE", "") != "language":
        raise DataError(
            f"{path} is no run of a language model; --encoder takes one of `seqloom train language`"
        )
    for what, mine, found in (
        ("units are of level", wanted.level, theirs.units.level),
        ("reading is --backward:", wanted.backward, theirs.backward),
    ):
        if mine != found:
            raise DataError(
                f"the {what} {found} in {path}, and {mine} here; train both with the same settings"
            )
    return theirs.units


def begin(model: keras.Model, path: str, units: Units) -> None:
    """Sets the weights of a model to those of a run; units that the run does not have begin as the
    average of those that it has.

    Args:
        model: built with ``sized``.
        path: of the run.
        units: of the model.
    """
    theirs: Any = load_preprocessor(Path(path) / "preprocessor")
    rows, before = rows_of(units.names, theirs.units.names), _model(path)
    for layer in (one for one in model.layers if one.trainable_variables):
        weights = before.get_layer(layer.name).get_weights()
        if layer.name in ("embedding", "output"):
            weights = [_rows(array, rows) for array in weights]
        layer.set_weights(weights)


def rows_of(mine: Sequence[str], theirs: Sequence[str]) -> np.ndarray:
    """Where each unit stands among others; -1 where it does not.

    >>> rows_of(["a", "c", "b"], ["b", "a"])
    array([ 1, -1,  0])
    """
    places: Mapping[str, int] = {name: number for number, name in enumerate(theirs)}
    return np.array([places.get(name, -1) for name in mine])


def _rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if not array.ndim or array.dtype.kind != "f":
        return array
    return np.where(
        (rows >= 0).reshape(-1, *[1] * (array.ndim - 1)), array[rows], array.mean(0)
    ).astype(array.dtype)
