"""``pipelines.toy_reversal`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from pipelines.toy_reversal import WIDTHS

from decoding.beam_graph import beam_search
from pipelines.program_graph import GraphCores, GraphProgram, Tensors, as_step
from pipelines.text import END, SPECIAL_TOKENS, START
from pipelines.text_graph import TextEncoderGraph


class ToyReversalGraph(GraphProgram):
    """``ToyReversalPreprocessor``."""

    cores = ("encoder", "step")

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self.text = TextEncoderGraph(preprocessor.encoder)
        self.settings = dict(preprocessor.settings)
        special, vocabulary = len(SPECIAL_TOKENS), preprocessor.encoder.vocabulary
        self.names = tf.constant([b""] * special + [t.encode() for t in vocabulary[special:]])

    def encode(self, request: Tensors) -> Tensors:
        """``source``, and the settings."""
        settings = {name: request[name] for name in self.settings}
        return {"source": self.text(request["text"]), **settings}

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """Encodes, then searches over the steps of the decoder."""
        source = encoded["source"]
        memory = cores["encoder"]({"source": source})
        step, _ = as_step(cores["step"], tf.shape(source)[0])
        settings = {name: encoded[name] for name in self.settings}
        for name in WIDTHS:
            # The first row's; of no rows the default.
            padded = tf.concat([settings[name], [self.settings[name]]], 0)
            settings[name] = padded[0]
        first = tf.fill(tf.shape(source)[:1], START)
        found = beam_search(step, first, {"source": source, **memory}, end=END, **settings)
        return {"ids": found.ids, "lengths": found.lengths, "scores": found.normalised}

    def decode(self, outputs: Tensors) -> Tensors:
        """Text of each hypothesis, the best one by itself too."""
        ids = outputs["ids"]
        kept = tf.sequence_mask(outputs["lengths"], tf.shape(ids)[2])
        letters = tf.where(kept, tf.gather(self.names, ids), b"")
        hypotheses = tf.strings.reduce_join(letters, axis=-1)
        scores = tf.maximum(outputs["scores"], -1e9)
        return {"text": hypotheses[:, 0], "hypotheses": hypotheses, "scores": scores}
