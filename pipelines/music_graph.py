"""``pipelines.music_programs`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from decoding.nade_graph import draw_units
from decoding.stepping_graph import require
from pipelines.music_notes import BAD_NOTES, BAD_STEPS, BAD_TEMPERATURE, MAX_STEPS
from pipelines.piano_roll import GONE, HIGHEST, LOWEST, NOTES, SILENT
from pipelines.program import NEXT
from pipelines.program_graph import GraphCores, GraphProgram, Tensors


class ScorePieceGraph(GraphProgram):
    """``ScorePiece``."""

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.chunk = program.chunk

    def encode(self, request: Tensors) -> Tensors:
        """``rows``, the ``following`` ones, and their ``length``."""
        following, length = read_notes(request["notes"])
        rows = tf.concat([tf.zeros_like(following[:, :1]), following[:, :-1]], 1)
        return {"rows": rows, "following": following, "length": length}

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """Chunk after chunk, the states carried."""
        core, rows, following = cores["model"], encoded["rows"], encoded["following"]
        batch, time = tf.unstack(tf.shape(rows)[:2])
        states = {name: tf.zeros([batch, *shape]) for name, shape in core.states.items()}

        def body(start: tf.Tensor, states: Tensors, found: tf.Tensor) -> tuple:
            part = slice(start, start + self.chunk)
            outputs = core({"rows": rows[:, part], "following": following[:, part], **states})
            after = {name: outputs[f"{name}{NEXT}"] for name in states}
            return start + self.chunk, after, tf.concat([found, outputs["log_probabilities"]], 1)

        shapes = {name: tf.TensorShape([None, *core.states[name]]) for name in states}
        _, _, found = tf.while_loop(
            lambda start, *_: start < time,
            body,
            (tf.constant(0), states, tf.zeros([batch, 0])),
            shape_invariants=(tf.TensorShape([]), shapes, tf.TensorShape([None, None])),
        )
        return {"length": encoded["length"], "log_probabilities": found}

    def decode(self, outputs: Tensors) -> Tensors:
        """The sum too."""
        length, each = outputs["length"], outputs["log_probabilities"]
        each = tf.where(tf.sequence_mask(length, tf.shape(each)[1]), each, 0.0)
        total = tf.cast(tf.reduce_sum(tf.cast(each, tf.float64), 1), tf.float32)
        return {"log_probability": total, "log_probabilities": each, "length": length}


class ContinuePieceGraph(GraphProgram):
    """``ContinuePiece``."""

    cores = ("step",)

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.nade = program.nade

    def encode(self, request: Tensors) -> Tensors:
        """``opening <float32>[batch, time, 88]``, its ``length``, and the settings."""
        opening, length = read_notes(request["notes"])
        steps = request["steps"]
        good = (steps >= 1) & (steps <= MAX_STEPS)
        require(tf.reduce_all(good), BAD_STEPS)
        # The assertion does not hold the loop back, which is to be short then.
        steps = tf.where(good, steps, 1)
        return {"opening": opening, "length": length, "written": steps,
                "temperature": checked_temperature(request["temperature"]),
                "seed": request["seed"]}  # fmt: skip

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """Reads the opening and goes on, in one loop."""
        core, opening, length = cores["step"], encoded["opening"], encoded["length"]
        written, batch = encoded["written"], tf.shape(encoded["opening"])[0]
        # A step of silence, so that there is one to gather where the opening is over or empty.
        opening = tf.pad(opening, [[0, 0], [0, 1], [0, 0]])
        start = {
            "t": tf.constant(0),
            "states": {name: tf.zeros([batch, *shape]) for name, shape in core.states.items()},
            "last": tf.zeros([batch, NOTES]),
            "drawn": tf.zeros([batch, 0, NOTES]),
            "score": tf.zeros([batch], tf.float64),
        }

        def body(loop: dict[str, Any]) -> tuple[dict[str, Any]]:
            outputs = core({"rows": loop["last"], **loop["states"]})
            place = loop["t"] - length
            found = draw_units(
                outputs["note_bias"], outputs.get("hidden_bias"), self.nade, encoded["seed"],
                tf.cast(tf.maximum(place, 0), tf.int64), encoded["temperature"],
            )  # fmt: skip
            going = (place >= 0) & (place < written)
            now = opening[:, tf.minimum(loop["t"], tf.shape(opening)[1] - 1)]
            last = tf.where((place < 0)[:, None], now, found.units)
            score = tf.where(going, tf.cast(found.log_probabilities, tf.float64), 0.0)
            return ({
                "t": loop["t"] + 1,
                "states": {name: outputs[f"{name}{NEXT}"] for name in core.states},
                "last": last,
                "drawn": tf.concat([loop["drawn"], last[:, None]], 1),
                "score": loop["score"] + score,
            },)  # fmt: skip

        shapes = {
            "t": tf.TensorShape([]),
            "states": {name: tf.TensorShape([None, *core.states[name]]) for name in core.states},
            "last": tf.TensorShape([None, NOTES]),
            "drawn": tf.TensorShape([None, None, NOTES]),
            "score": tf.TensorShape([None]),
        }
        most = tf.reduce_max(length + written)  # of no rows it is negative
        (done,) = tf.while_loop(
            lambda loop: loop["t"] < most, body, (start,), shape_invariants=(shapes,)
        )
        longest = tf.maximum(tf.reduce_max(written), 0)
        places = length[:, None] + tf.range(longest)
        inside = tf.sequence_mask(written, longest)
        places = tf.where(inside, places, 0)
        # Without a row there was no step to gather from either.
        drawn = tf.pad(done["drawn"], [[0, 0], [0, 1], [0, 0]])
        drawn = tf.gather(drawn, places, batch_dims=1)
        drawn = tf.where(inside[:, :, None], drawn, 0.0)
        score = tf.cast(done["score"], tf.float32)
        return {"drawn": drawn, "written": written, "log_probability": score}

    def decode(self, outputs: Tensors) -> Tensors:
        """Numbers of notes, the lowest first."""
        drawn, written = outputs["drawn"], outputs["written"]
        inside = tf.sequence_mask(written, tf.shape(drawn)[1])
        sounding = tf.where(inside, tf.cast(tf.reduce_sum(drawn, 2), tf.int32), 0)
        voices = tf.maximum(tf.reduce_max(sounding, 1), 1)
        notes = numbers_of(drawn, tf.maximum(tf.reduce_max(voices), 1))
        there = inside[:, :, None] & tf.sequence_mask(voices, tf.shape(notes)[2])[:, None]
        return {
            "continuation": tf.where(there, notes, GONE),
            "written": written,
            "voices": voices,
            "log_probability": outputs["log_probability"],
        }


class NextNotesGraph(GraphProgram):
    """``NextNotes``."""

    cores = ("step",)

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.nade = program.nade

    def encode(self, request: Tensors) -> Tensors:
        """``rows <float32>[batch, 88]`` and the settings."""
        rows, _ = read_notes(request["notes"][:, None], whole=True)
        position = request["position"]
        return {
            "rows": rows[:, 0],
            "temperature": checked_temperature(request["temperature"]),
            "seed": request["seed"],
            "position": position,
            f"position{NEXT}": position + 1.0,
        }

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """One step, and a draw."""
        core = cores["step"]
        outputs = core({name: encoded[name] for name in core.inputs})
        found = draw_units(
            outputs["note_bias"], outputs.get("hidden_bias"), self.nade, encoded["seed"],
            tf.cast(encoded["position"], tf.int64), encoded["temperature"],
        )  # fmt: skip
        following = {f"{name}{NEXT}": outputs[f"{name}{NEXT}"] for name in core.states}
        return {**following, f"position{NEXT}": encoded[f"position{NEXT}"], **found._asdict()}

    def decode(self, outputs: Tensors) -> Tensors:
        """Numbers of notes, the lowest first."""
        units = outputs["units"]
        voices = tf.maximum(tf.cast(tf.reduce_sum(units, 1), tf.int32), 1)
        return {
            "next": numbers_of(units, tf.maximum(tf.reduce_max(voices), 1)),
            "voices": voices,
            "probabilities": outputs["probabilities"],
            "log_probability": outputs["log_probabilities"],
        }


def read_notes(notes: tf.Tensor, whole: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """See ``pipelines.music_notes.read_notes``; ``whole`` keeps steps behind the end."""
    sounds = notes >= LOWEST
    known = ((notes <= HIGHEST) & sounds) | (notes == SILENT) | (notes == GONE)
    require(tf.reduce_all(known), BAD_NOTES)
    there = tf.cast(tf.reduce_any(notes != GONE, 2), tf.int32)
    time = tf.shape(notes)[1]
    length = tf.maximum(tf.reduce_max(there * tf.range(1, time + 1), 1), 0)
    rows = tf.reduce_max(tf.one_hot(notes - LOWEST, NOTES), 2)  # what is no note has no place
    rows = tf.maximum(rows, 0.0)  # the maximum of no voices is negative
    return (rows if whole else rows[:, : tf.maximum(tf.reduce_max(length), 0)]), length


def numbers_of(rows: tf.Tensor, voices: tf.Tensor) -> tf.Tensor:
    """See ``pipelines.music_notes.numbers_of``."""
    beyond = HIGHEST + 1
    numbers = tf.where(rows > 0, tf.range(LOWEST, beyond), beyond)
    numbers = tf.sort(numbers, -1)[..., :voices]
    return tf.where(numbers < beyond, numbers, SILENT)


def checked_temperature(values: tf.Tensor) -> tf.Tensor:
    """See ``pipelines.music_notes.checked_temperature``."""
    require(tf.reduce_all((values >= 0) & (values <= 100)), BAD_TEMPERATURE)
    return tf.clip_by_value(values, 0.0, 100.0)
