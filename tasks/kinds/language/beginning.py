"""Language models that go on learning on another text (Howard and Ruder 2018, arXiv:1801.06146)."""

from __future__ import annotations

import json
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

SIZES = ("cell", "layers", "units", "embedding_dim", "tied")


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

    Raises:
        DataError: the run is of another kind.
    """
    if not config.encoder:
        return config
    found = json.loads((Path(config.encoder) / "config.json").read_text("utf-8"))
    if found["task"] != "language" and not set(SIZES) <= set(found["model"]):
        raise DataError(
            f"{config.encoder} is a run of {found['task']}; --encoder takes one of "
            "`seqloom train language`"
        )
    return replace(config, **{name: found["model"][name] for name in SIZES})


def units_of(path: str, wanted: LanguagePreprocessing) -> Units:
    """The units of a run.

    Args:
        path: of the run.
        wanted: how text becomes units here.

    Raises:
        DataError: the run's units are of another level, or it reads in the other direction.
    """
    theirs: Any = load_preprocessor(Path(path) / "preprocessor")
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
    import keras

    import models.language_layers  # noqa: F401  registers what the file holds

    theirs: Any = load_preprocessor(Path(path) / "preprocessor")
    rows = rows_of(units.names, theirs.units.names)
    before = keras.saving.load_model(Path(path) / "model.keras", compile=False)
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
