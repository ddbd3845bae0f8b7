"""``pipelines.tagging`` as TensorFlow ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from decoding.crf_graph import viterbi
from decoding.crf_sums_graph import marginals
from pipelines.program_graph import GraphProgram, Tensors
from pipelines.tag_table import BEGINS, CONTINUES, OUTSIDE
from pipelines.tokens import SEPARATOR
from pipelines.tokens_graph import TokenRulesGraph
from pipelines.word_features_graph import WordFeaturesGraph


class TaggingGraph(GraphProgram):
    """``TaggingPreprocessor`` as TensorFlow ops."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self.rules = TokenRulesGraph(preprocessor.rules)
        self.features = WordFeaturesGraph(preprocessor.features)
        self.table = preprocessor.tags
        self.scores = preprocessor.scores
        self.offsets = preprocessor.offsets
        self.tag_temperature = preprocessor.tag_temperature

    def encode(self, request: Tensors) -> Tensors:
        """``text`` to ``words``, ``characters``, ``forms``, and what is known of the tokens."""
        tokens, starts, ends = self.rules(request["text"])
        arrays = self.features(tokens)
        time = tf.shape(arrays["words"])[1]

        def dense(rows: tf.RaggedTensor, padding: Any) -> tf.Tensor:
            found = rows.to_tensor(padding)
            return tf.pad(found, [[0, 0], [0, time - tf.shape(found)[1]]], constant_values=padding)

        return {
            **arrays,
            "tokens": dense(tokens, ""),
            "starts": dense(starts, 0),
            "ends": dense(ends, 0),
            "length": tf.cast(tokens.row_lengths(), tf.int32),
        }

    def decode(self, outputs: Tensors) -> Tensors:
        """``emissions <float32>[batch, time, tags]`` to the best tags and their spans."""
        emissions, length = outputs["emissions"], outputs["length"]
        choosing, sharing = emissions - self.offsets, emissions / self.tag_temperature
        if self.scores is None:
            ids, shares = tf.argmax(choosing, -1, tf.int32), tf.nn.softmax(sharing)
        else:
            ids = viterbi(choosing, length, self.scores)
            shares = marginals(sharing, length, self.scores.divided(self.tag_temperature))
        shares = tf.gather(shares, ids, batch_dims=2)
        inside = tf.sequence_mask(length, tf.shape(ids)[1])
        found = {
            "length": length,
            "tokens": outputs["tokens"],
            "starts": outputs["starts"],
            "ends": outputs["ends"],
            "tags": tf.where(inside, tf.gather(tf.constant(list(self.table.shown)), ids), ""),
            "probabilities": tf.where(inside, tf.cast(shares, tf.float32), 0.0),
        }
        longest = tf.reduce_max(tf.concat([length, [0]], 0))
        found = {n: x if n == "length" else x[:, :longest] for n, x in found.items()}
        if not self.table.scheme:
            return found
        return {**found, **self._spans(ids[:, :longest], inside[:, :longest], found)}

    def _spans(self, ids: tf.Tensor, inside: tf.Tensor, found: Tensors) -> Tensors:
        first, last = self._borders(ids, inside)
        types = tf.gather(tf.constant(list(self.table.types)), ids)

        def at(values: tf.Tensor, mask: tf.Tensor) -> tf.RaggedTensor:
            return tf.ragged.boolean_mask(values, mask)

        labels = at(types, first)
        # Spans are numbered along the batch; tokens outside of them go to one more number.
        flat_first = tf.reshape(tf.cast(first, tf.int32), [-1])
        covered = tf.reshape(tf.gather(self.table.roles, ids) != OUTSIDE, [-1])
        covered &= tf.reshape(inside, [-1])
        count = tf.reduce_sum(flat_first)
        number = tf.where(covered, tf.cumsum(flat_first) - 1, count)
        shares = tf.reshape(found["probabilities"], [-1])
        least = tf.math.unsorted_segment_min(shares, number, count + 1)[:count]
        return {
            "spans": tf.cast(labels.row_lengths(), tf.int32),
            "span_labels": labels.to_tensor(""),
            "span_starts": at(found["starts"], first).to_tensor(0),
            "span_ends": at(found["ends"], last).to_tensor(0),
            "span_probabilities": labels.with_flat_values(least).to_tensor(0.0),
        }

    def _borders(self, ids: tf.Tensor, inside: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See ``TagTable.borders``."""
        role = tf.where(inside, tf.gather(self.table.roles, ids), OUTSIDE)
        kind = tf.where(role == OUTSIDE, -1, tf.gather(self.table.type_ids, ids))
        before = tf.pad(kind, [[0, 0], [1, 0]], constant_values=-1)[:, :-1]
        first = (role == BEGINS) | ((role == CONTINUES) & (kind != before))
        after_role = tf.pad(role, [[0, 0], [0, 1]])[:, 1:]
        after_kind = tf.pad(kind, [[0, 0], [0, 1]], constant_values=-1)[:, 1:]
        goes_on = (after_role == CONTINUES) & (after_kind == kind)
        return first, (role != OUTSIDE) & ~goes_on


class TokensGraph(GraphProgram):
    """``TokensProgram`` as TensorFlow ops."""

    def __init__(self, graph: TaggingGraph) -> None:
        super().__init__()
        self.inner = graph

    def encode(self, request: Tensors) -> Tensors:
        """``tokens <string>[batch, time]`` to model tensors."""
        tokens = request["tokens"]
        marked = tf.where(tokens == "", "", tf.strings.join([tokens, SEPARATOR]))
        rest = {name: tensor for name, tensor in request.items() if name != "tokens"}
        return self.inner.encode({**rest, "text": tf.strings.reduce_join(marked, -1)})

    def decode(self, outputs: Tensors) -> Tensors:
        """That of the preprocessor."""
        return self.inner.decode(outputs)
