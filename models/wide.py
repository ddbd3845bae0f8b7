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

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from models.tables import WithTables

FIRST_TOKEN = 4  # ids below are padding, unknown, start and end
# Two rolling hashes of an n-gram, small enough that 32 bits never overflow: one names the slot, the
# other tells whether the slot is this n-gram's.
SLOT_HASH, CHECK_HASH = (1021, 1048573), (1999, 999983)


@dataclass(frozen=True)
class WideTables:
    """What counting the training texts gave; F word and G character n-grams, ids from 1.

    Attributes:
        check: ``<int32>[slots]``, second hash of the n-gram in each slot, -1 where there is none.
        slot: ``<int32>[slots]``, its id.
        word_ratio: ``<float32>[F + 1, classes]``, their ``feature_values``; row 0 is zeros.
        grams: ``<int32>[vocabulary, J]``, ids of the character n-grams of each word, 0 for none.
        gram_ratio: ``<float32>[G + 1, classes]``.
        pairs: so many of the word n-grams, the most frequent ones, are embedded where they are
            pairs of words; 0 where words have spaces between them.
    """

    check: np.ndarray
    slot: np.ndarray
    word_ratio: np.ndarray
    grams: np.ndarray
    gram_ratio: np.ndarray
    pairs: int = 0


def count_wide_tables(
    rows: Sequence[np.ndarray],
    labels: np.ndarray,
    vocabulary: Sequence[str],
    classes: int,
    *,
    orders: int = 3,
    min_documents: int = 2,
    max_grams: int = 40,
    max_pairs: int = 40_000,
    letters: Callable[[str], bool] = lambda word: False,
) -> WideTables:
    """Counts n-grams in training texts.

    Args:
        rows: token ids of each text, without padding.
        labels: ``<int>[texts]``.
        vocabulary: word of each id.
        classes: number of labels.
        orders: longest word n-gram.
        min_documents: n-grams in fewer texts are left out.
        max_grams: character n-grams kept of one word.
        max_pairs: limit of ``WideTables.pairs``.
        letters: whether a word is but one letter of a script without spaces. Such words have no
            character n-grams of their own; where they are most of the text, what a word is to other
            scripts is a pair of them, so pairs are embedded.
    """
    documents = [set(_hashes(row, orders)) for row in rows]
    kept = _frequent(documents, min_documents)
    size = 1 << int(np.ceil(np.log2(8 * max(len(kept), 1))))
    check, slot = np.full(size, -1, np.int32), np.zeros(size, np.int32)
    numbers: dict[tuple[int, int], int] = {}
    for key in kept:  # the more frequent n-gram keeps a contested slot
        if check[key[0] % size] < 0:
            numbers[key] = len(numbers) + 1
            check[key[0] % size], slot[key[0] % size] = key[1], numbers[key]
    word_rows = [[numbers[key] for key in document if key in numbers] for document in documents]

    is_letter = np.array([i >= FIRST_TOKEN and letters(word) for i, word in enumerate(vocabulary)])
    spelled = [
        character_grams(word) if i >= FIRST_TOKEN and not is_letter[i] else []
        for i, word in enumerate(vocabulary)
    ]
    documents = [set().union(*(spelled[i] for i in set(row.tolist()))) for row in rows]
    gram_numbers = {gram: i + 1 for i, gram in enumerate(_frequent(documents, min_documents))}
    grams = np.zeros((len(vocabulary), max_grams), np.int32)
    for row, word in zip(grams, spelled, strict=True):
        known = [gram_numbers[gram] for gram in word if gram in gram_numbers][:max_grams]
        row[: len(known)] = known
    grams = grams[:, : max(1, int((grams > 0).sum(1).max()))]
    gram_rows = [np.setdiff1d(grams[row], [0]) for row in rows]
    return WideTables(
        check,
        slot,
        feature_values(word_rows, labels, len(numbers) + 1, classes),
        grams,
        feature_values(gram_rows, labels, len(gram_numbers) + 1, classes),
        min(len(numbers), max_pairs) if _mostly(is_letter, rows) else 0,
    )


def _mostly(kind: np.ndarray, rows: Sequence[np.ndarray]) -> bool:
    """Whether half of the tokens or more are of the kind ``<bool>[vocabulary]``."""
    counts = np.zeros(len(kind))
    for row in rows:
        np.add.at(counts, row, 1)
    return counts[FIRST_TOKEN:].sum() > 0 and counts[kind].sum() >= counts[FIRST_TOKEN:].sum() / 2


def character_grams(word: str, shortest: int = 3, longest: int = 5) -> list[str]:
    """Distinct character n-grams of a word with its ends marked.

    >>> character_grams("so")
    ['<so', '<so>', 'so>']
    """
    marked = f"<{word}>"
    sizes = range(shortest, longest + 1)
    return sorted({marked[i : i + n] for n in sizes for i in range(len(marked) - n + 1)})


def log_count_ratio(
    rows: Iterable[Sequence[int]], labels: np.ndarray, features: int, classes: int
) -> np.ndarray:
    """``log p(f | class) - log p(f | other classes)`` with add-one smoothing.

    Args:
        rows: ids of the features present in each text, from 1.
        labels: ``<int>[texts]``.
        features: number of ids, 0 included.
        classes: number of labels.

    Returns:
        ``<float32>[features, classes]``; row 0, which stands for no feature, is zeros.
    """
    counts = np.zeros((features, classes))
    for row, label in zip(rows, labels, strict=True):
        counts[row, label] += 1
    inside = counts[1:] + 1
    outside = counts[1:].sum(1, keepdims=True) - counts[1:] + 1
    ratio = np.log(inside / inside.sum(0)) - np.log(outside / outside.sum(0))
    return np.concatenate([np.zeros((1, classes)), ratio]).astype(np.float32)


def feature_values(
    rows: Sequence[Sequence[int]], labels: np.ndarray, features: int, classes: int
) -> np.ndarray:
    """Square root of the log-count ratio, with its sign, times the inverse document frequency.

    A rare n-gram's ratio is large by chance as often as by meaning, and drowns the common ones in
    the sum: the root damps it. On reviews in English and Chinese a linear model over these values
    is right a little more often on average (``benchmarks/ngrams.py``).

    Arguments and result are those of ``log_count_ratio``.
    """
    ratio = log_count_ratio(rows, labels, features, classes)
    texts = np.zeros((features, 1))
    for row in rows:
        texts[row] += 1
    rarity = np.log((1 + len(rows)) / (1 + texts)) + 1
    return (np.sign(ratio) * np.sqrt(np.abs(ratio)) * rarity).astype(np.float32)


def _frequent(documents: Iterable[Iterable], least: int) -> list:
    counts = Counter(key for document in documents for key in document)
    return sorted((k for k, n in counts.items() if n >= least), key=lambda k: (-counts[k], k))


def _hashes(row: np.ndarray, orders: int) -> list[tuple[int, int]]:
    """(slot hash, check hash) of every n-gram of known words; the NumPy face of WordNGrams."""
    ids = np.asarray(row, np.int64)
    slot = check = np.zeros(len(ids), np.int64)
    known = np.ones(len(ids), bool)
    found: list[tuple[int, int]] = []
    for n in range(orders):
        shifted = np.concatenate([ids[n:], np.zeros(min(n, len(ids)), np.int64)])
        slot = (slot * SLOT_HASH[0] + shifted) % SLOT_HASH[1]
        check = (check * CHECK_HASH[0] + shifted) % CHECK_HASH[1]
        known = known & (shifted >= FIRST_TOKEN)
        found.extend(zip(slot[known].tolist(), check[known].tolist(), strict=True))
    return found


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
        features = ops.sort(features, axis=1)
        before = ops.pad(features, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
        first = features != before
        features = ops.where(first, features, 0)
        ratio = ops.take(self.ratio, features, axis=0)  # (B, n, C)
        total = ops.sum(ratio * ops.take(self.weight, features, axis=0), 1)
        return self.gain * total / ops.sqrt(ops.sum(ratio * ratio, 1) + 1e-6)

    def compute_output_shape(self, input_shape):
        """``(batch, classes)``."""
        shape = self._given.shape if isinstance(self._given, np.ndarray) else self._given
        return (input_shape[0], shape[-1])

    def get_config(self):
        """For ``model.keras``; the table is a weight."""
        config = {"gain": self.gain, "start": self.start, "l2": self.l2}
        return {**super().get_config(), "ratio": tuple(self.ratio.shape), **config}


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
