"""What moved a language model to the unit that follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ConfigError, DataError
from pipelines.units import SPECIAL, START
from tasks.kinds.question import Question

if TYPE_CHECKING:
    import keras

    from pipelines.language import LanguagePreprocessor

MOST_UNITS = 256  # before the one that follows that are read


def unit_question(
    model: keras.Model,
    preprocessor: LanguagePreprocessor,
    raw: Any,
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The log-probability of the unit behind a text: the likeliest one, or the one that is named.

    Raises:
        ConfigError: the model reads from the end.
        DataError: the target is no unit of the model.
    """
    if preprocessor.backward:
        raise ConfigError("a model that reads backwards has no next unit to explain")
    units = preprocessor.units
    text = raw if isinstance(raw, (str, bytes)) else str(raw)
    tokens = np.array([START, *units.encode(text)], np.int32)[-MOST_UNITS:][None]
    names = units.names
    place = _number_of(target, names) if target else _likeliest(model, tokens)
    following = np.concatenate([tokens[:, 1:], [[place]]], 1).astype(np.int32)
    steps = [names[number] for number in tokens[0]]
    return Question(
        inputs={"tokens": tokens, "following": following, "begins": np.array([True])},
        score=lambda found: found["log_probabilities"][:, -1],
        target=f"log-probability of {names[place]!r} to follow",
        steps=steps,
        joint=" " if units.spaced else "",
        baseline="embeddings of zeros in place of each unit",
    )


def _number_of(target: str, names: tuple[str, ...]) -> int:
    if target not in names:
        raise DataError(f"--target {target}: this is no unit of the model; leave it out, or name "
                        "one such as " + ", ".join(map(repr, names[4:9])))  # fmt: skip
    return names.index(target)


def _likeliest(model: keras.Model, tokens: np.ndarray) -> int:
    """The likeliest unit, but for the special ones."""
    from models.language import language_cores

    core = language_cores(model)["next"]
    states = {
        name: np.zeros((1, tensor.shape[-1]), np.float32)
        for name, tensor in core.input.items() if name != "tokens"
    }  # fmt: skip
    scores = np.asarray(core({"tokens": tokens, **states})["log_probabilities"])[0, -1]
    return int(scores[len(SPECIAL) :].argmax()) + len(SPECIAL)
