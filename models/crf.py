"""A linear-chain conditional random field as a Keras layer.

    tags = ["O", "B-PER", "I-PER"]
    crf = CRF(tags, constraints="bio", name="crf")
    model = keras.Model(inputs, crf(keras.layers.Dense(len(tags))(x)))
    model.compile("adam", loss=crf.loss)
    model.fit(x, y)                                     # y: -1 behind the end of a row
    paths = crf.decode(model(x), lengths)

docs/crf.md shows the whole of it. Sources: Lafferty et al. 2001; Huang, Xu, Yu 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from common.errors import ConfigError
from decoding import crf_graph, crf_sums_graph
from decoding.crf import FORBIDDEN, CrfScores, allowed_transitions
from models.crf_likelihood import log_likelihood


def whole_scores(scores, rank: int):
    """Scores of classes with their last axis, which Keras takes away before a loss where there is
    one class alone."""
    return scores if len(scores.shape) == rank else ops.expand_dims(scores, -1)


@keras.saving.register_keras_serializable("seqloom")
class CRF(keras.layers.Layer):
    """Scores of transitions between tags, over emissions that the layers before it give.

    The layer gives its emissions on as they are, in float32 whatever the policy, so that it stands
    at the end of any model; ``loss`` and the methods below bring the transitions in.

    Args:
        tags: how many there are, or their names.
        constraints: "bio" or "bioes" to forbid what the names of the tags do not allow, such as
            ``I-PER`` after ``O``: it is neither learnt nor decoded. It needs names.
    """

    def __init__(
        self, tags: int | Sequence[str], constraints: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.tags = tags if isinstance(tags, int) else tuple(tags)
        self.constraints = constraints
        self.size = tags if isinstance(tags, int) else len(self.tags)
        if self.size < 1:
            raise ConfigError(f"a CRF needs one tag at least, not {tags!r}")
        if constraints is not None and isinstance(tags, int):
            raise ConfigError("constraints need the names of the tags: CRF(names, 'bio')")
        self._allowed = allowed_transitions(self.tags, constraints) if constraints else None

    def build(self, input_shape) -> None:
        """Makes the scores, of which none differs at first."""
        if input_shape[-1] != self.size:
            raise ConfigError(
                f"{self.name} has {self.size} tags, but its input ends with {input_shape[-1]}"
            )
        self.transitions = self.add_weight((self.size, self.size), "zeros", name="transitions")
        self.start = self.add_weight((self.size,), "zeros", name="start")
        self.end = self.add_weight((self.size,), "zeros", name="end")

    def call(self, emissions):
        """``<float>[batch, time, tags]`` to the same in float32."""
        # A tensor of its own: the mask of the one given must not go on with it.
        return tf.identity(ops.cast(emissions, "float32"))

    def compute_mask(self, inputs, mask=None):
        """None: Keras would multiply the loss of a row by the mask of its steps."""
        return

    def compute_output_shape(self, input_shape):
        """The input's."""
        return input_shape

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "tags": self.tags, "constraints": self.constraints}

    # ---- scores

    def scores(self) -> CrfScores:
        """The scores as tensors, what is not allowed far below all others."""
        names = ("start", "transitions", "end")
        start, pairs, end = (tf.convert_to_tensor(getattr(self, name).value) for name in names)
        if self._allowed is not None:
            found = zip(self._allowed, (start, pairs, end), strict=True)
            start, pairs, end = (ops.where(yes, score, FORBIDDEN) for yes, score in found)
        return CrfScores(pairs, start, end)

    def potentials(self) -> CrfScores:
        """The scores as NumPy arrays, for ``decoding.crf`` outside of Keras."""
        found = self.scores()
        return CrfScores(*(np.asarray(x) for x in (found.transitions, found.start, found.end)))

    # ---- learning

    def loss(self, y_true, y_pred):
        """Negative log-likelihood of each row, to compile a model with.

        Args:
            y_true: tags ``<int>[batch, time]``, -1 behind the end of a row. A row with a -1
                before its end, a tag that is not known, is left out.
            y_pred: what the layer gave, ``<float32>[batch, time, tags]``; of one tag Keras takes
                the last axis away.

        Returns:
            ``<float32>[batch]``; 0 for a row without a tag.
        """
        tags, y_pred = ops.cast(y_true, "int32"), whole_scores(y_pred, 3)
        steps = ops.arange(1, ops.shape(tags)[1] + 1, dtype="int32")
        lengths = ops.max(ops.where(tags >= 0, steps, 0), axis=1, initial=0)
        return -self.log_likelihood(y_pred, tags, lengths)

    def log_likelihood(self, emissions, tags, lengths):
        """The logarithm of the probability of paths.

        Args:
            emissions: ``<float32>[batch, time, tags]``.
            tags: ``<int32>[batch, time]``, from 0.
            lengths: ``<int32>[batch]``.

        Returns:
            ``<float32>[batch]``; 0 where a tag is -1 before the end of its row.
        """
        scores = self.scores()
        emissions = ops.cast(emissions, "float32")
        inside = tf.sequence_mask(lengths, tf.shape(tags)[1])
        unknown = tf.reduce_any((tags < 0) & inside, axis=1)
        found = log_likelihood(
            emissions, tf.maximum(tags, 0), lengths, scores.transitions, scores.start, scores.end
        )
        return tf.where(unknown, 0.0, found)

    # ---- answers

    def decode(self, emissions, lengths):
        """The best path of each row: ``<int32>[batch, time]``, 0 behind the end.

        Args:
            emissions: ``<float32>[batch, time, tags]``.
            lengths: ``<int32>[batch]``.
        """
        return crf_graph.viterbi(emissions, lengths, self.scores())

    def decode_k(self, emissions, lengths, k: int):
        """The k best paths of each row, the best first: ``<int32>[batch, k, time]``, and their
        scores ``<float64>[batch, k]``, -inf where there are fewer."""
        return crf_graph.k_best(emissions, lengths, self.scores(), k)

    def marginals(self, emissions, lengths):
        """The probability of each tag: ``<float32>[batch, time, tags]``, 0 behind the end."""
        return crf_sums_graph.marginals(emissions, lengths, self.scores())
