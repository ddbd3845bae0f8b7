"""Preprocessor of polyphonic music: a piece in, how likely each of its steps was, or how it goes on.

Three programs: ``serving_default`` scores a piece, ``generate`` continues one, ``step`` takes what
sounds now and gives what may sound next, the states going with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.config import Config, number
from common.errors import DataError
from decoding.nade import DrawnUnits, NadeWeights, draw_units
from pipelines.encoded import EncodedRows
from pipelines.piano_roll import (
    GONE,
    HIGHEST,
    LOWEST,
    NOTES,
    SILENT,
    Piece,
    checked_steps,
    notes_of,
    roll_of,
    steps_of,
)
from pipelines.preprocessor import save_state
from pipelines.program import DEFAULT, NEXT, Cores, Program
from pipelines.ragged import Arrays, Field, Ragged

CHUNK = 64  # steps that one call of the core scores: those of a whole opera would fill the memory
MAX_STEPS = 10_000
OPENING, WRITTEN = 8, 8  # steps by which exports are compared
WEIGHTS = "nade.npz"
BAD_NOTES = (
    f"notes must be MIDI numbers from {LOWEST} to {HIGHEST}, {SILENT} where a voice is silent, and "
    f"{GONE} behind the end of a piece"
)
BAD_STEPS = f"steps must be from 1 to {MAX_STEPS}"
BAD_TEMPERATURE = "temperature must be from 0 to 100"
ROWS = {"dtype": "float32", "shape": [-1]}
COUNT = {"dtype": "int32", "shape": [-1]}
GRID = {"dtype": "int32", "shape": [-1, -1, -1]}
# Both axes may be lengthened and neither is trimmed: no array holds these lengths.
REQUESTED = Field(GONE, ("time of notes", "voices of notes"))


@dataclass(frozen=True)
class MusicPreprocessing(Config):
    """How pieces become examples."""

    window: int = number(512, 2, 100_000, "steps of an example in training; longer pieces are cut")


@dataclass(frozen=True)
class MusicDecoding(Config):
    """How pieces are continued."""

    temperature: float = number(1.0, 0.0, 100.0, "below 1 surer, above 1 wilder; 0: likeliest")
    steps: int = number(64, 1, MAX_STEPS, "steps that are written")
    seed: int = number(0, 0, 2**31 - 1, "seed of the random numbers")


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
        return {DEFAULT: ScorePiece(self), "generate": ContinuePiece(self), "step": NextNotes(self)}

    # ---- examples

    def encoded(self, examples: Sequence[Piece]) -> EncodedRows:
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

    def raw(self, examples: Sequence[Piece]) -> list[list[list[int]]]:
        """The notes of each step."""
        return [[list(step) for step in piece.steps] for piece in examples]

    def edge_inputs(self) -> list[Any]:
        """Nothing, silence, one note, the whole piano at once, more than one chunk."""
        whole = list(range(LOWEST, HIGHEST + 1))
        return [[], [[]], [[60]], [whole, [], whole], [[60, 64, 67], [59, 62, 67]] * CHUNK]

    def validate(self, examples: Sequence[Piece]) -> None:
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

    # ---- drawing

    def drawn(
        self, outputs: Mapping[str, Any], seeds: Any, positions: Any, temperature: Any
    ) -> DrawnUnits:
        """The notes of one step by the outputs of the core ``step``."""
        hidden = outputs.get("hidden_bias")
        return draw_units(outputs["note_bias"], hidden, self.nade, seeds, positions, temperature)

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


class _OfMusic(Program):
    def __init__(self, preprocessor: MusicPreprocessor) -> None:
        self.preprocessor = preprocessor

    def graph(self) -> Any:
        """The same as TensorFlow ops."""
        from pipelines import music_graph

        return getattr(music_graph, f"{type(self).__name__}Graph")(self)

    def settings(self, *names: str) -> dict[str, dict[str, Any]]:
        """Decoding settings as inputs that may be left out."""
        dtypes = {"temperature": "float32", "steps": "int32", "seed": "int64"}
        return {
            name: {
                "dtype": dtypes[name],
                "shape": [-1],
                "default": self.preprocessor.decoding[name],
            }
            for name in names
        }


class ScorePiece(_OfMusic):
    """A piece to the log-probability of each of its steps, given all steps before."""

    chunk = CHUNK
    signature = {
        "inputs": {"notes": GRID},
        "outputs": {
            "log_probability": ROWS,
            "log_probabilities": {"dtype": "float32", "shape": [-1, -1]},
            "length": COUNT,
        },
    }
    fields = {
        "notes": REQUESTED,
        "rows": Field(0.0, "length"),
        "following": Field(0.0, "length"),
        "log_probabilities": Field(0.0, "length"),
    }

    def encode(self, request: Arrays) -> Arrays:
        """``rows``, the ``following`` ones, and their ``length``."""
        following, length = read_notes(request["notes"])
        rows = np.concatenate([np.zeros_like(following[:, :1]), following[:, :-1]], 1)
        return {"rows": rows[:, : following.shape[1]], "following": following, "length": length}

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """Chunk after chunk, the states carried."""
        core, rows, following = cores["model"], encoded["rows"], encoded["following"]
        states = {n: np.zeros((len(rows), *s), np.float32) for n, s in core.states.items()}
        found = [np.zeros((len(rows), 0), np.float32)]
        for start in range(0, rows.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            outputs = core({"rows": rows[:, part], "following": following[:, part], **states})
            found.append(outputs["log_probabilities"])
            states = {name: outputs[f"{name}{NEXT}"] for name in states}
        return {"length": encoded["length"], "log_probabilities": np.concatenate(found, 1)}

    def decode(self, outputs: Arrays) -> Arrays:
        """The sum too."""
        length, each = outputs["length"], outputs["log_probabilities"]
        inside = np.arange(each.shape[1]) < length[:, None]
        each = np.where(inside, each, np.float32(0))
        total = each.sum(1, dtype=np.float64).astype(np.float32)
        return {"log_probability": total, "log_probabilities": each, "length": length}


class ContinuePiece(_OfMusic):
    """An opening to its continuation."""

    cores = ("step",)
    fields = {
        "notes": REQUESTED,
        "opening": Field(0.0, "length"),
        "drawn": Field(0.0, "written"),
        "continuation": Field(GONE, ("written", "voices")),
    }

    @property
    def signature(self) -> dict[str, Any]:
        """``notes`` and settings to the ``continuation``, in numbers as ``notes`` are."""
        settings = self.settings("temperature", "steps", "seed")
        return {
            "inputs": {"notes": GRID, **settings},
            "outputs": {
                "continuation": GRID,
                "written": COUNT,
                "voices": COUNT,
                "log_probability": ROWS,
            },
        }

    def encode(self, request: Arrays) -> Arrays:
        """``opening <float32>[batch, time, 88]``, its ``length``, and the settings."""
        opening, length = read_notes(request["notes"])
        steps = request["steps"].astype(np.int32)
        if steps.size and not 1 <= steps.min() <= steps.max() <= MAX_STEPS:
            raise ValueError(BAD_STEPS)
        temperature = checked_temperature(request["temperature"])
        return {"opening": opening, "length": length, "written": steps,
                "temperature": temperature, "seed": request["seed"]}  # fmt: skip

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """Reads the opening and goes on, in one loop: row by row, what comes in is the opening's
        until that is over, and then what was drawn."""
        core, opening, length = cores["step"], encoded["opening"], encoded["length"]
        written, count = encoded["written"], len(encoded["opening"])
        states = {n: np.zeros((count, *s), np.float32) for n, s in core.states.items()}
        last, score = np.zeros((count, NOTES), np.float32), np.zeros(count, np.float64)
        longest = int(written.max(initial=0))
        drawn = np.zeros((count, longest, NOTES), np.float32)
        for t in range(int((length + written).max(initial=0))):
            outputs = core({"rows": last, **states})
            states = {name: outputs[f"{name}{NEXT}"] for name in states}
            place = t - length
            found = self.preprocessor.drawn(
                outputs, encoded["seed"], np.maximum(place, 0).astype(np.int64),
                encoded["temperature"],
            )  # fmt: skip
            last = found.units
            going = np.flatnonzero((place >= 0) & (place < written))
            drawn[going, place[going]] = last[going]
            score[going] += found.log_probabilities[going]
            if t < opening.shape[1]:
                last = np.where((place < 0)[:, None], opening[:, t], last)
        return {"drawn": drawn, "written": written, "log_probability": score.astype(np.float32)}

    def decode(self, outputs: Arrays) -> Arrays:
        """Numbers of notes, the lowest first."""
        drawn, written = outputs["drawn"], outputs["written"]
        inside = np.arange(drawn.shape[1]) < written[:, None]
        voices = np.where(inside, drawn.sum(2), 0).max(1, initial=1).astype(np.int32)
        notes = numbers_of(drawn, int(voices.max(initial=1)))
        return {
            "continuation": np.where(inside[:, :, None], notes, GONE).astype(np.int32),
            "written": written,
            "voices": voices,
            "log_probability": outputs["log_probability"],
        }

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """The beginning of each piece, continued."""
        rows = len(request["notes"])
        yield {"notes": request["notes"][:, :OPENING], "steps": np.full(rows, WRITTEN, np.int32)}

    def answers(self, response: Mapping[str, Any], raw: Sequence[Any]) -> list[dict[str, Any]]:
        """``{"notes", "log_probability"}``: the notes of each step of the continuation."""
        rows = zip(response["continuation"], response["log_probability"], strict=True)
        return [
            {"notes": steps_of(notes), "log_probability": float(score)} for notes, score in rows
        ]


class NextNotes(_OfMusic):
    """What sounds now to what may sound next; the states go with it, and how many steps there were.

    A piece begins after silence: the first step that is sent is one in which nothing sounds.
    """

    cores = ("step",)
    stateful = True
    memory = {"position": ()}
    fields = {
        "notes": Field(SILENT, "voices of notes"),
        "next": Field(SILENT, "voices"),
    }

    @property
    def signature(self) -> dict[str, Any]:
        """``notes <int32>[batch, voices]`` to notes that were drawn to follow, and how likely each
        of the 88 was, given the lower ones of these."""
        pairs = {"dtype": "int32", "shape": [-1, -1]}
        return {
            "inputs": {"notes": pairs, **self.settings("temperature", "seed")},
            "outputs": {
                "next": pairs,
                "voices": COUNT,
                "probabilities": {"dtype": "float32", "shape": [-1, NOTES]},
                "log_probability": ROWS,
            },
        }

    def encode(self, request: Arrays) -> Arrays:
        """``rows <float32>[batch, 88]`` and the settings."""
        rows, _ = read_notes(request["notes"][:, None])
        position = request["position"]
        return {
            "rows": rows[:, 0],
            "temperature": checked_temperature(request["temperature"]),
            "seed": request["seed"],
            "position": position,
            f"position{NEXT}": position + np.float32(1),
        }

    def execute(self, cores: Cores, encoded: Arrays) -> Arrays:
        """One step, and a draw."""
        core = cores["step"]
        outputs = core({name: encoded[name] for name in core.inputs})
        found = self.preprocessor.drawn(
            outputs, encoded["seed"], encoded["position"].astype(np.int64), encoded["temperature"]
        )
        following = {f"{name}{NEXT}": outputs[f"{name}{NEXT}"] for name in core.states}
        return {**following, f"position{NEXT}": encoded[f"position{NEXT}"], **found._asdict()}

    def decode(self, outputs: Arrays) -> Arrays:
        """Numbers of notes, the lowest first."""
        units = outputs["units"]
        voices = np.maximum(units.sum(1), 1).astype(np.int32)
        notes = numbers_of(units[:, None], int(voices.max(initial=1)))
        return {
            "next": notes[:, 0].astype(np.int32),
            "voices": voices,
            "probabilities": outputs["probabilities"],
            "log_probability": outputs["log_probabilities"],
        }

    def examples(self, request: Arrays) -> Iterator[Arrays]:
        """Silence, and then the steps of a piece one after the other."""
        notes = np.maximum(request["notes"], SILENT)
        yield {"notes": np.zeros_like(notes[:, 0]) if notes.shape[1] else notes[:, :, 0]}
        for t in range(min(notes.shape[1], OPENING)):
            yield {"notes": notes[:, t]}


def read_notes(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers ``<int32>[batch, time, voices]`` as rows ``<float32>[batch, time, 88]`` and the
    length ``<int32>[batch]`` of each piece, up to its last step in which any number is no ``GONE``.

    Raises:
        ValueError: a number is neither a note nor stands for none.
    """
    sounds = notes >= LOWEST
    if not (((notes <= HIGHEST) & sounds) | (notes == SILENT) | (notes == GONE)).all():
        raise ValueError(BAD_NOTES)
    there = (notes != GONE).any(2)
    length = (there * np.arange(1, notes.shape[1] + 1)).max(1, initial=0).astype(np.int32)
    rows = np.zeros((*notes.shape[:2], NOTES), np.float32)
    batch, time, _ = np.nonzero(sounds)
    rows[batch, time, notes[sounds] - LOWEST] = 1
    longest = int(length.max(initial=0))
    return rows[:, :longest] if notes.shape[1] > longest else rows, length


def numbers_of(rows: np.ndarray, voices: int) -> np.ndarray:
    """Rows ``[batch, time, 88]`` as numbers ``<int>[batch, time, voices]``, the lowest first."""
    beyond = HIGHEST + 1
    numbers = np.where(rows > 0, np.arange(LOWEST, beyond), beyond)
    numbers = np.sort(numbers, -1)[..., :voices]
    return np.where(numbers < beyond, numbers, SILENT)


def checked_temperature(values: np.ndarray) -> np.ndarray:
    """``<float32>[batch]``, in the range of the setting.

    Raises:
        ValueError: it is not.
    """
    if values.size and not ((values >= 0) & (values <= 100)).all():
        raise ValueError(BAD_TEMPERATURE)
    return values.astype(np.float32)


PREPROCESSOR = MusicPreprocessor
