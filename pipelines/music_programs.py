"""Programs of polyphonic music: a piece scored, continued, and followed step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from decoding.nade import DrawnUnits, NadeWeights, draw_units
from pipelines.music_notes import (
    BAD_STEPS,
    MAX_STEPS,
    checked_temperature,
    numbers_of,
    read_notes,
)
from pipelines.piano_roll import GONE, NOTES, SILENT, steps_of
from pipelines.program import NEXT, Cores, Program
from pipelines.ragged import Arrays, Field

CHUNK = 64  # steps that one call of the core scores: those of a whole opera would fill the memory
OPENING, WRITTEN = 8, 8  # steps by which exports are compared
ROWS = {"dtype": "float32", "shape": [-1]}
COUNT = {"dtype": "int32", "shape": [-1]}
GRID = {"dtype": "int32", "shape": [-1, -1, -1]}
# Both axes may be lengthened and neither is trimmed: no array holds these lengths.
REQUESTED = Field(GONE, ("time of notes", "voices of notes"))


class _OfMusic(Program):
    """
    Args:
        decoding: default settings.
        nade: weights by which the notes of a step are drawn; None where they are independent.
    """

    def __init__(self, decoding: Mapping[str, Any], nade: NadeWeights | None) -> None:
        self.decoding, self.nade = decoding, nade

    def drawn(self, outputs: Arrays, positions: np.ndarray, encoded: Arrays) -> DrawnUnits:
        """The notes of one step, by the outputs of the core ``step``."""
        return draw_units(
            outputs["note_bias"], outputs.get("hidden_bias"), self.nade,
            encoded["seed"], positions.astype(np.int64), encoded["temperature"],
        )  # fmt: skip

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
                "default": self.decoding[name],
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
            found = self.drawn(outputs, np.maximum(place, 0), encoded)
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
        sings = np.arange(notes.shape[2]) < voices[:, None]
        there = inside[:, :, None] & sings[:, None]
        return {
            "continuation": np.where(there, notes, GONE).astype(np.int32),
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
        rows, _ = read_notes(request["notes"][:, None], whole=True)
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
        found = self.drawn(outputs, encoded["position"], encoded)
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
