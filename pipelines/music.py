"""Preprocessor of polyphonic music: a piece in; how likely its steps were, or how it goes on.

Three programs: ``serving_default`` scores a piece, ``generate`` continues one, ``step`` takes what
sounds now and gives what may sound next, the states going with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.config import Config, number
from common.errors import DataError
from decoding.nade import NadeWeights
from pipelines.encoded import EncodedRows
from pipelines.music_programs import CHUNK, ContinuePiece, NextNotes, ScorePiece
from pipelines.piano_roll import (
    HIGHEST,
    LOWEST,
    NOTES,
    PianoRoll,
    checked_steps,
    notes_of,
    roll_of,
)
from pipelines.preprocessor import save_state
from pipelines.program import DEFAULT, Program
from pipelines.ragged import Arrays, Ragged

WEIGHTS = "nade.npz"


@dataclass(frozen=True)
class MusicPreprocessing(Config):
    """How pieces become examples."""

    window: int = number(512, 2, 100_000, "steps of an example in training; longer pieces are cut")


@dataclass(frozen=True)
class MusicPreprocessor:
    """Notes to rows of a piano roll.

    Attributes:
        settings: see there.
        decoding: default settings of ``generate`` and ``step``.
        per_beat: steps of a beat, of the training pieces.
        nade: weights by which the notes of a step are drawn after training; None where they are
            independent, and before it.
    """

    TYPE: ClassVar[str] = "music"

    settings: MusicPreprocessing
    decoding: Mapping[str, Any]
    per_beat: int = 1
    nade: NadeWeights | None = None

    @property
    def programs(self) -> dict[str, Program]:
        """By signature."""
        kinds = {DEFAULT: ScorePiece, "generate": ContinuePiece, "step": NextNotes}
        return {name: kind(self.decoding, self.nade) for name, kind in kinds.items()}

    # ---- examples

    def encoded(self, examples: Sequence[PianoRoll]) -> EncodedRows:
        """Rows, the ``following`` ones, and the place of each step as its target, from 1.

        Pieces past ``window`` are cut, each part read as if nothing had stood before it.
        """
        rolls = [roll for piece in examples for roll in self._windows(roll_of(piece.steps))]
        before = [np.concatenate([np.zeros((1, NOTES), np.float32), roll[:-1]]) for roll in rolls]
        places = [np.arange(1, len(roll) + 1) for roll in rolls]
        return EncodedRows(
            {
                "rows": Ragged.of(before, np.float32, (NOTES,)),
                "following": Ragged.of(rolls, np.float32, (NOTES,)),
            },
            {"log_probabilities": Ragged.of(places, np.float32)},
        )

    def _windows(self, roll: np.ndarray) -> list[np.ndarray]:
        size = self.settings.window
        return [roll[first : first + size] for first in range(0, len(roll), size)]

    def raw(self, examples: Sequence[PianoRoll]) -> list[list[list[int]]]:
        """The notes of each step."""
        return [[list(step) for step in piece.steps] for piece in examples]

    def edge_inputs(self) -> list[Any]:
        """Nothing, silence, one note, the whole piano at once, more than one chunk."""
        whole = list(range(LOWEST, HIGHEST + 1))
        return [[], [[]], [[60]], [whole, [], whole], [[60, 64, 67], [59, 62, 67]] * CHUNK]

    def validate(self, examples: Sequence[PianoRoll]) -> None:
        """Any piece has a probability."""

    def to_request(self, raw: Sequence[Any]) -> Arrays:
        """Lists of MIDI numbers as ``notes <int32>[batch, time, voices]``.

        Raises:
            DataError: an input is no such list, or a note is not on the piano.
        """
        pieces = [checked_steps(steps, f"input {i}") for i, steps in enumerate(raw)]
        time = max(1, *map(len, pieces), 1)  # no axis is empty, which servers would refuse
        voices = max((len(step) for piece in pieces for step in piece), default=1)
        rows = [notes_of(piece, time, max(1, voices)) for piece in pieces]
        return {"notes": np.stack(rows) if rows else np.zeros((0, 1, 1), np.int32)}

    def answers(self, response: Mapping[str, Any], raw: Sequence[Any]) -> list[dict[str, Any]]:
        """``{"nll", "nll_with_first", "log_probability", "log_probabilities"}`` of each piece."""
        found = []
        for total, each in zip(
            response["log_probability"], response["log_probabilities"], strict=True
        ):
            later = each[1:].sum(dtype=np.float64)
            found.append({
                "nll": float(-later / max(1, len(each) - 1)),
                "nll_with_first": float(-total / max(1, len(each))),
                "log_probability": float(total),
                "log_probabilities": [float(one) for one in each],
            })  # fmt: skip
        return found

    # ---- files

    def save(self, directory: Path) -> None:
        """Writes ``preprocessor.json``, and the estimator's weights where it has some."""
        if self.nade is not None:
            np.savez(directory / WEIGHTS, reading=self.nade.reading, writing=self.nade.writing)
        state = {
            "settings": self.settings.to_dict(),
            "decoding": dict(self.decoding),
            "per_beat": self.per_beat,
            "nade": self.nade is not None,
        }
        save_state(directory, self.TYPE, state)

    @classmethod
    def load(cls, directory: Path, state: dict[str, Any]) -> MusicPreprocessor:
        """Reads back what ``save`` wrote."""
        weights = None
        if state["nade"]:
            try:
                with np.load(directory / WEIGHTS) as file:
                    weights = NadeWeights(file["reading"], file["writing"])
            except (OSError, ValueError, KeyError) as error:
                raise DataError(f"{directory / WEIGHTS} cannot be read ({error})") from error
        settings = MusicPreprocessing.from_dict(state["settings"])
        return cls(settings, state["decoding"], state["per_beat"], weights)


PREPROCESSOR = MusicPreprocessor
