"""What ``seqloom explain`` asks of a model: which number of an answer, and what its inputs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ConfigError, DataError
from pipelines.program import DEFAULT, with_defaults

if TYPE_CHECKING:
    import keras

    from models.attribution import Entry
    from pipelines.preprocessor import Preprocessor

TEXT, SERIES, SOUND, ROLL = "text", "series", "sound", "roll"


@dataclass(frozen=True)
class Question:
    """One number that a model gives for one input, and how its inputs are named and shown.

    Attributes:
        inputs: of the model, a batch of one.
        score: takes the model's outputs, gives the number ``<float32>[batch]``.
        target: the number in words.
        steps: names of the steps of the input.
        view: how it is shown: ``TEXT``, ``SERIES``, ``SOUND`` or ``ROLL``.
        columns: names of what there is at each step; empty for text.
        baselines: of inputs of floating-point numbers; see ``models.attribution``.
        baseline: in words what the input is compared with.
        parts: what entries of the model are called, by their names; those that are alike add up.
        spread: by entry, how its attributions lie on steps (and columns), ``<float>[steps]`` or
            ``[steps, columns]``, where they are not already so.
        values: what is drawn, ``<float>[steps, columns]``, NaN where there is nothing.
        joint: what stands between steps of a text when it is written.
        rows: as which a model reads one example, such as one for each column.
        row: of these the one whose states are shown.
        notes: sentences that a person has to read with it.
    """

    inputs: Mapping[str, np.ndarray]
    score: Callable[[Any], Any]
    target: str
    steps: Sequence[str]
    view: str = TEXT
    columns: Sequence[str] = ()
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)
    baseline: str = "embeddings of zeros in place of each token"
    parts: Mapping[str, str] = field(default_factory=dict)
    spread: Mapping[str, Callable[[Entry], np.ndarray]] = field(default_factory=dict)
    values: np.ndarray | None = None
    joint: str = " "
    rows: int = 1
    row: int = 0
    notes: tuple[str, ...] = ()


class Explained:
    """What a kind says of its models for ``seqloom explain`` and ``--insight``: part of a task."""

    name: str
    kind: str

    def question(
        self,
        model: keras.Model,
        preprocessor: Any,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """What `seqloom explain` asks of a model about one raw input.

        Args:
            model: of the run.
            preprocessor: of the run.
            raw: the input.
            answer: to it.
            target: which number is explained, as ``--target`` says; "" for the kind's choice.

        Raises:
            DataError: there is no such target.
            ConfigError: the kind has no explanations.
        """
        raise ConfigError(f"answers of the task {self.name} ({self.kind}) are not explained yet")

    def vocabularies(self, preprocessor: Preprocessor) -> dict[str, Sequence[str]]:
        """What the rows of embeddings are, by the name of their layer; for ``--insight``."""
        return {}


def model_inputs(preprocessor: Any, model: keras.Model, raw: Any) -> dict[str, np.ndarray]:
    """The tensors of a model for one raw input, as ``serving_default`` encodes it."""
    program = preprocessor.programs[DEFAULT]
    request = with_defaults(program.signature["inputs"], preprocessor.to_request([raw]))
    encoded = program.encode(request)
    return {name: encoded[name] for name in model.input if name in encoded}


def place_of(target: str, names: Sequence[str], what: str) -> int:
    """The place of a name, or of a number from 1, among names.

    Args:
        target: what ``--target`` says.
        names: that there are.
        what: they are, in the plural, such as "labels".

    Raises:
        DataError: it is neither.
    """
    if target in names:
        return list(names).index(target)
    if target.isdecimal() and 1 <= int(target) <= len(names):
        return int(target) - 1
    shown = ", ".join(map(str, names[:20])) + (", ..." if len(names) > 20 else "")
    raise DataError(
        f"--target {target}: the {what} are {shown}; give one of them, or a number from 1 to "
        f"{len(names)}"
    )
