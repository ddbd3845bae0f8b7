"""``pipelines.speech`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from decoding.ctc import BLANK
from decoding.ctc_graph import align, beam_search, greedy, log_likelihood
from pipelines.audio_graph import AudioFeaturesGraph
from pipelines.audio_program import SILENCE
from pipelines.audio_program_graph import SoundGraph
from pipelines.program import NEXT
from pipelines.program_graph import GraphCores, GraphProgram, Tensors
from pipelines.speech_text import MOST_SECONDS, OUTPUT


class TranscribeGraph(SoundGraph):
    """``Transcribe``."""

    def __init__(self, program: Any) -> None:
        super().__init__(program.features)
        self.names = tf.constant(["", *program.preprocessor.symbols])
        self.a_step = program.features.seconds_a_step

    def encode(self, request: Tensors) -> Tensors:
        """Frames, and the width of the beam."""
        longest = MOST_SECONDS * tf.cast(request["rate"], tf.int64)
        tf.debugging.assert_less_equal(
            tf.cast(request["length"], tf.int64), longest,
            f"length must be at most that of {MOST_SECONDS} seconds of sound; send pieces",
        )  # fmt: skip
        beam = tf.clip_by_value(request["beam"], 1, 1024)
        return {**super().encode(request), "beam": beam}

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """The core, from states of zeros where it has any."""
        core, rows = cores["model"], tf.shape(encoded["steps"])[0]
        zeros = {name: tf.zeros([rows, *shape]) for name, shape in core.states.items()}
        kept = {name: x for name, x in encoded.items() if name not in core.inputs}
        given = {name: encoded[name] for name in core.inputs if name not in zeros}
        return {**kept, **core({**given, **zeros})}

    def decode(self, outputs: Tensors) -> Tensors:
        """Searches, and aligns what is found."""
        scores, steps = outputs[OUTPUT], outputs["steps"]
        beam = tf.reduce_max(tf.concat([outputs["beam"], [1]], 0))
        symbols, count = tf.cond(
            beam == 1, lambda: greedy(scores, steps), lambda: beam_search(scores, steps, beam)
        )
        first, last = align(scores, steps, symbols, count)
        inside = tf.sequence_mask(count, tf.shape(symbols)[1])
        characters = tf.gather(self.names, symbols)

        def seconds(places: tf.Tensor) -> tf.Tensor:
            return tf.where(inside, tf.cast(places, tf.float32) * self.a_step, 0.0)

        return {
            "text": tf.strings.reduce_join(characters, 1),
            "log_probability": log_likelihood(scores, steps, symbols, count),
            "characters": characters,
            "starts": seconds(first),
            "ends": seconds(last + 1),
            "count": count,
        }


class TranscribeStepGraph(GraphProgram):
    """``TranscribeStep``."""

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.features = AudioFeaturesGraph(program.features)
        self.names = tf.constant(["", *program.symbols])

    def encode(self, request: Tensors) -> Tensors:
        """Frames of the steps that are whole now, and what is left over."""
        sizes, audio, final = self.features.features, request["audio"], request["final"]
        length = tf.clip_by_value(request["length"], 0, tf.shape(audio)[1])
        waiting = tf.cast(tf.clip_by_value(request["waiting"], 0, sizes.span), tf.int32)
        begun = request["begun"] > 0
        data = _joined(request["pending"], waiting, audio, length)
        total = waiting + length
        steps = self._steps(total, final, begun)
        longest = tf.maximum(1, tf.reduce_max(tf.concat([steps, [0]], 0)))
        samples = (longest - 1) * sizes.hop + sizes.span
        missing = tf.maximum(0, samples - tf.shape(data)[1])
        whole = tf.pad(data, [[0, 0], [0, missing]])[:, :samples]
        # What is behind the steps of a row waits for the next piece.
        frames = self.features.stacked(self.features.frames(whole))
        inside = tf.sequence_mask(steps, longest)
        left = tf.where(final, 0, total - steps * sizes.hop)
        places = steps[:, None] * sizes.hop + tf.range(sizes.span)[None]
        places = tf.minimum(places, tf.shape(data)[1] - 1)
        kept = tf.where(
            tf.sequence_mask(left, sizes.span), tf.gather(data, places, batch_dims=1), SILENCE
        )
        return {
            "frames": tf.where(inside[..., None], frames, 0.0),
            "inside": tf.cast(inside, tf.int32),
            "steps": steps,
            "last": request["last"],
            "final": final,
            f"pending{NEXT}": kept,
            f"waiting{NEXT}": tf.cast(left, tf.float32),
            f"begun{NEXT}": tf.cast((begun | (steps > 0)) & ~final, tf.float32),
        }

    def _steps(self, total: tf.Tensor, final: tf.Tensor, begun: tf.Tensor) -> tf.Tensor:
        sizes = self.features.features
        running = tf.where(total < sizes.span, 0, 1 + (total - sizes.span) // sizes.hop)
        least = tf.where(begun | (total == 0), 0, 1)
        filled = tf.maximum(1 - (sizes.span - total) // sizes.hop, least)
        return tf.where(final, filled, running)

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """The core; the symbol of each step behind the last one of the piece before."""
        found = super().execute(cores, encoded)
        last = tf.cast(encoded["last"], tf.int32)
        each = tf.concat([last[:, None], tf.argmax(found[OUTPUT], -1, tf.int32)], 1)
        following = tf.gather(each, encoded["steps"], batch_dims=1)
        following = tf.cast(tf.where(encoded["final"], BLANK, following), tf.float32)
        return {**found, "each": each, f"last{NEXT}": following}

    def decode(self, outputs: Tensors) -> Tensors:
        """What the new steps add to the text of greedy search."""
        scores, steps, each = outputs[OUTPUT], outputs["steps"], outputs["each"]
        inside = tf.sequence_mask(steps, tf.shape(scores)[1])
        new = inside & (each[:, 1:] != BLANK) & (each[:, 1:] != each[:, :-1])
        names = tf.gather(self.names, tf.where(new, each[:, 1:], BLANK))
        longest = tf.reduce_max(tf.concat([steps, [0]], 0))
        text = tf.strings.reduce_join(names, 1)
        return {"text": text, OUTPUT: scores[:, :longest], "steps": steps}


def _joined(
    pending: tf.Tensor, waiting: tf.Tensor, audio: tf.Tensor, length: tf.Tensor
) -> tf.Tensor:
    """What waited, and behind it what came: ``[batch, span + samples]``, zero at the end."""
    span = pending.shape[1]
    width = span + tf.shape(audio)[1]
    places = tf.range(width)[None] - waiting[:, None]
    old = tf.gather(
        tf.pad(pending, [[0, 0], [0, width - span]]),
        tf.broadcast_to(tf.range(width)[None], tf.shape(places)), batch_dims=1,
    )  # fmt: skip
    audio = tf.pad(audio, [[0, 0], [0, 1]])
    new = tf.gather(audio, tf.clip_by_value(places, 0, tf.shape(audio)[1] - 1), batch_dims=1)
    return tf.where(places < 0, old, tf.where(places < length[:, None], new, SILENCE))
