"""The wide path: a linear model over word and character n-grams, beside the recurrent one.

A recurrent network trained from scratch on some thousand texts loses to a linear model, because it
must learn from few examples what counting tells at once. This path does the counting: every n-gram
carries its naive-Bayes log-count ratio, as in NB-SVM (Wang & Manning 2012) but damped and weighted
by rarity, a trainable weight, and is summed over the n-grams that are present. Wide and deep paths
are trained side by side as in Cheng et al. 2016, except that each has its own cross-entropy: under
a common one the wide path, which fits first, leaves the deep one little to learn.

Everything is computed from the token ids inside the model, so that it is exported with it: known
word n-grams are found through a hash table of constants, the character n-grams of a word through a
constant table by the word's id.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from models.tables import WithTables
from models.wide_tables import CHECK_HASH, FIRST_TOKEN, SLOT_HASH, WideTables

# From so many classes on, presence is scattered to a row of flags and multiplied: to gather a ratio
# for every n-gram, step and class would take gigabytes.
MANY_CLASSES = 32
BLOCK = 256  # n-grams that are summed before their sums are


@keras.saving.register_keras_serializable("seqloom")
class WordNGrams(WithTables):
    """Token ids to the ids of the known word n-grams that begin at each step.

    Args:
        check: table of ``WideTables``, or its shape.
        slot: likewise.
        orders: longest n-gram.
    """

    def __init__(self, check, slot, orders: int = 3, **kwargs) -> None:
        super().__init__(**kwargs)
        self.orders, self._given = orders, (check, slot)

    def build(self, input_shape) -> None:
        """Makes the tables."""
        self.check = self.table(self._given[0], "check", "int32")
        self.slot = self.table(self._given[1], "slot", "int32")

    def call(self, tokens):
        """``<int32>[batch, time]`` to ``<int32>[batch, orders * time]``, 0 for none."""
        size = self.check.shape[0]
        padded = ops.pad(tokens, ((0, 0), (0, self.orders)))
        time = ops.shape(tokens)[1]
        slot = check = ops.zeros_like(tokens)
        known = tokens >= FIRST_TOKEN
        found = []
        for n in range(self.orders):
            shifted = padded[:, n : n + time]
            slot = (slot * SLOT_HASH[0] + shifted) % SLOT_HASH[1]
            check = (check * CHECK_HASH[0] + shifted) % CHECK_HASH[1]
            known = ops.logical_and(known, shifted >= FIRST_TOKEN)
            hit = ops.equal(ops.take(self.check, slot % size, axis=0), check)
            hit = ops.logical_and(hit, known)
            found.append(ops.where(hit, ops.take(self.slot, slot % size, axis=0), 0))
        return ops.concatenate(found, 1)

    def compute_output_shape(self, input_shape):
        """Time is open."""
        return (input_shape[0], None)

    def get_config(self):
        """For ``model.keras``; the tables are weights."""
        shapes = [tuple(t.shape) for t in self._given] if not self.built else [
            tuple(self.check.shape), tuple(self.slot.shape)
        ]  # fmt: skip
        config = {"check": shapes[0], "slot": shapes[1], "orders": self.orders}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("seqloom")
class Pairs(keras.layers.Layer):
    """The pairs among the n-grams that ``WordNGrams`` found, one for each step.

    Args:
        limit: ids above it, those of rarer n-grams, become 0.
        orders: longest n-gram that was looked for.
    """

    def __init__(self, limit: int, orders: int = 3, **kwargs) -> None:
        super().__init__(**kwargs)
        self.limit, self.orders = limit, orders

    def call(self, found):
        """``<int32>[batch, orders * time]`` to ``<int32>[batch, time]``, 0 for none."""
        pairs = ops.split(found, self.orders, axis=1)[1]
        return ops.where(pairs <= self.limit, pairs, 0)

    def compute_output_shape(self, input_shape):
        """Time is open."""
        return (input_shape[0], None)

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "limit": self.limit, "orders": self.orders}


@keras.saving.register_keras_serializable("seqloom")
class CharacterNGrams(WithTables):
    """Token ids to the ids of the character n-grams of the words.

    Args:
        grams: table of ``WideTables``, or its shape.
    """

    def __init__(self, grams, **kwargs) -> None:
        super().__init__(**kwargs)
        self._given = grams

    def build(self, input_shape) -> None:
        """Makes the table."""
        self.grams = self.table(self._given, "grams", "int32")

    def call(self, tokens):
        """``<int32>[batch, time]`` to ``<int32>[batch, time * J]``, 0 for none."""
        found = ops.take(self.grams, tokens, axis=0)  # (B, T, J)
        return ops.reshape(found, (ops.shape(tokens)[0], -1))

    def compute_output_shape(self, input_shape):
        """Time is open."""
        return (input_shape[0], None)

    def get_config(self):
        """For ``model.keras``; the table is a weight."""
        return {**super().get_config(), "grams": tuple(self.grams.shape)}


@keras.saving.register_keras_serializable("seqloom")
class Evidence(WithTables):
    """Logits from the features that are present: ``gain * sum(r * w) / norm(r)`` for each class.

    Args:
        ratio: ``feature_values``, ``<float32>[features, classes]``, or their shape.
        gain: scale of the logits, which also scales the weights' step.
        start: first value of ``gain * w``.
        l2: strength of the penalty on ``gain * w``.
    """

    def __init__(self, ratio, gain=10.0, start=0.5, l2=5e-5, **kwargs) -> None:
        super().__init__(**kwargs)
        self._given, self.gain, self.start, self.l2 = ratio, gain, start, l2

    def build(self, input_shape) -> None:
        """Makes the table and the weights."""
        self.ratio = self.table(self._given, "ratio", "float32")
        self.weight = self.add_weight(
            self.ratio.shape,
            keras.initializers.Constant(self.start / self.gain),
            regularizer=keras.regularizers.L2(self.l2 * self.gain**2),
            name="weight",
        )

    def call(self, features):
        """``<int32>[batch, n]`` to ``<float32>[batch, classes]``; a feature counts once."""
        if self.ratio.shape[1] > MANY_CLASSES:
            present = self._present(features)  # (B, F)
            total = ops.matmul(present, self.ratio * self.weight)
            squares = ops.matmul(present, ops.square(self.ratio))
            return self.gain * total / ops.sqrt(squares + 1e-6)
        features = ops.sort(features, axis=1)
        before = ops.pad(features, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
        first = features != before
        features = _blocks(ops.where(first, features, 0))
        ratio = ops.take(self.ratio, features, axis=0)  # (B, blocks, BLOCK, C)
        total = ops.sum(ops.sum(ratio * ops.take(self.weight, features, axis=0), 2), 1)
        squares = ops.sum(ops.sum(ratio * ratio, 2), 1)
        return self.gain * total / ops.sqrt(squares + 1e-6)

    def _present(self, features):
        """Whether each feature is there, 1 or 0: ``<float32>[batch, features]``."""
        shape = ops.shape(features)
        rows = ops.broadcast_to(ops.arange(shape[0], dtype="int32")[:, None], shape)
        places = ops.reshape(ops.stack([rows, features], -1), (-1, 2))
        flags = ops.zeros((shape[0], self.ratio.shape[0]))
        return ops.scatter_update(flags, places, ops.ones((shape[0] * shape[1],)))

    def compute_output_shape(self, input_shape):
        """``(batch, classes)``."""
        shape = self._given.shape if isinstance(self._given, np.ndarray) else self._given
        return (input_shape[0], shape[-1])

    def get_config(self):
        """For ``model.keras``; the table is a weight."""
        config = {"gain": self.gain, "start": self.start, "l2": self.l2}
        return {**super().get_config(), "ratio": tuple(self.ratio.shape), **config}


def _blocks(features):
    """``<int32>[batch, n]`` as ``[batch, blocks, BLOCK]``, filled up with the feature 0, which
    counts nothing: one sum over the n-grams of a long text would add each to a number so large that
    half of its digits are lost."""
    shape = ops.shape(features)
    more = ops.zeros((shape[0], (BLOCK - shape[1] % BLOCK) % BLOCK), "int32")
    return ops.reshape(ops.concatenate([features, more], 1), (shape[0], -1, BLOCK))


def word_ngrams(tokens: keras.KerasTensor, tables: WideTables) -> keras.KerasTensor:
    """The known word n-grams of ``tokens <int32>[batch, time]``, see ``WordNGrams``."""
    return WordNGrams(tables.check, tables.slot, name="word_ngrams", dtype="float32")(tokens)


def wide_logits(
    tokens: keras.KerasTensor,
    words: keras.KerasTensor,
    tables: WideTables,
    characters: bool,
    l2: float,
) -> keras.KerasTensor:
    """Logits of the n-grams.

    Args:
        tokens: ``<int32>[batch, time]``.
        words: their ``word_ngrams``.
        tables: what counting gave.
        characters: whether the character n-grams of the words count too.
        l2: strength of the penalty on the weights.

    Returns:
        ``<float32>[batch, classes]``.
    """
    logits = Evidence(tables.word_ratio, l2=l2, name="word_evidence", dtype="float32")(words)
    if not characters or not tables.grams.any():
        return logits
    grams = CharacterNGrams(tables.grams, name="character_ngrams", dtype="float32")(tokens)
    more = Evidence(tables.gram_ratio, l2=l2, name="character_evidence", dtype="float32")(grams)
    return keras.layers.Add(name="wide", dtype="float32")([logits, more])
