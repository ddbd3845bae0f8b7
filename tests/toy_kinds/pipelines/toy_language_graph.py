"""``pipelines.toy_language`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from decoding.prefill_graph import prefill
from decoding.sampling_graph import sample
from pipelines.program_graph import GraphCores, GraphProgram, Tensors, as_step
from pipelines.text import END, PAD, SPECIAL_TOKENS
from pipelines.text_graph import TextEncoderGraph


class ScoreGraph(GraphProgram):
    """``Score``."""

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.text = TextEncoderGraph(program.encoder)
        self.names = tf.constant([b"", *(t.encode() for t in program.encoder.vocabulary[1:])])

    def encode(self, request: Tensors) -> Tensors:
        """``tokens``, the ``following`` ones, and their ``length``."""
        ids = self.text.ragged(request["text"])
        return {
            "tokens": ids[:, :-1].to_tensor(PAD),
            "following": ids[:, 1:].to_tensor(PAD),
            "length": tf.cast(ids.row_lengths() - 1, tf.int32),
        }

    def decode(self, outputs: Tensors) -> Tensors:
        """The log-probabilities of the following characters."""
        following, length = outputs["following"], outputs["length"]
        each = tf.gather(outputs["log_probabilities"], following, batch_dims=2)
        each = tf.where(tf.sequence_mask(length, tf.shape(each)[1]), each, 0.0)
        return {
            "log_probability": tf.reduce_sum(each, 1),
            "characters": tf.gather(self.names, following),
            "log_probabilities": each,
            "length": length,
        }


class GenerateGraph(GraphProgram):
    """``Generate``."""

    cores = ("step",)

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.text = TextEncoderGraph(program.encoder)
        self.settings = list(program.settings)
        special = len(SPECIAL_TOKENS)
        names = [b""] * special + [t.encode() for t in program.encoder.vocabulary[special:]]
        self.names = tf.constant(names)

    def encode(self, request: Tensors) -> Tensors:
        """``tokens`` of the beginning without an end, their ``length``, and the settings."""
        ids = self.text.ragged(request["text"])[:, :-1]
        length = tf.cast(ids.row_lengths(), tf.int32)
        settings = {name: request[name] for name in self.settings}
        return {"tokens": ids.to_tensor(PAD), "length": length, **settings}

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """Reads the beginning, then writes."""
        step, states = as_step(cores["step"], tf.shape(encoded["tokens"])[0])
        first, states = prefill(step, encoded["tokens"], encoded["length"], states)
        settings = {name: encoded[name] for name in self.settings}
        found = sample(step, first, states, end=END, **settings)
        return {"ids": found.ids, "written": found.lengths, "log_probability": found.scores}

    def decode(self, outputs: Tensors) -> Tensors:
        """Text, without special tokens."""
        ids = tf.RaggedTensor.from_tensor(outputs["ids"], lengths=outputs["written"])
        texts = tf.strings.reduce_join(tf.gather(self.names, ids), axis=-1)
        return {"continuation": texts, "log_probability": outputs["log_probability"]}


class StepGraph(GraphProgram):
    """``Step``."""

    cores = ("step",)

    def __init__(self, program: Any) -> None:
        super().__init__()

    def encode(self, request: Tensors) -> Tensors:
        """As they are; what is out of range, TensorFlow refuses itself."""
        return {"tokens": request["tokens"]}

    def decode(self, outputs: Tensors) -> Tensors:
        """As they are."""
        return {"log_probabilities": outputs["log_probabilities"]}
