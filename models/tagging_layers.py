"""The layers of ``models.tagging``: words, their characters and forms, and what stands around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from models.tables import WithTables

UNKNOWN = 1  # number of unknown words
# A rolling hash small enough that 32 bits never overflow.
FACTOR, PRIME = 1021, 1048573

Part = tuple[str, int, int]  # "words" or "forms", column, offset
Template = tuple[Part, ...]


def _word(offset: int) -> Part:
    return "words", 0, offset


def _form(column: int, offset: int = 0) -> Part:
    return "forms", column, offset


def templates(forms: int) -> tuple[Template, ...]:
    """What the linear model looks at: of each feature the words and forms, and where they are.

    Args:
        forms: of a token, in the order of ``pipelines.word_features``: shape, three beginnings,
            four ends; or the shape alone where tokens are single characters.
    """
    words = [(_word(offset),) for offset in range(-2, 3)]
    pairs = [(_word(-1), _word(0)), (_word(0), _word(1)), (_word(-1), _word(1))]
    if forms == 1:
        pairs += [(_word(-2), _word(-1)), (_word(1), _word(2)), (_word(-1), _word(0), _word(1))]
        return (*words, *pairs, (_form(0),))
    shape, end = _form(0), _form(forms - 2)
    return (
        *words,
        *pairs,
        *((_form(column),) for column in range(forms)),
        (_form(0, -1),),
        (_form(0, 1),),
        (_form(forms - 2, -1),),
        (_form(forms - 2, 1),),
        (_form(forms - 2, -1), end),
        (end, _form(forms - 2, 1)),
        (shape, _word(0)),
        (shape, end),
    )


# Pairs of a token and a neighbour, which say in scripts without spaces what word it is of.
PAIRS: tuple[Template, ...] = ((_word(-1), _word(0)), (_word(0), _word(1)))


@keras.saving.register_keras_serializable("seqloom")
class RareWordDropout(WithTables):
    """Replaces words by the unknown word while training, the rarer the more often.

    A word seen n times is replaced with probability ``a / (a + n)`` (Kiperwasser and Goldberg
    2016), so that the unknown word is trained on what it will stand for.

    Args:
        rates: ``<float32>[words]``, the probability of each, or its shape.
        seed: of the layer's own generator.
    """

    def __init__(self, rates, seed=None, **kwargs) -> None:
        # In mixed precision too: a draw is compared with the rates.
        super().__init__(**{"dtype": "float32", **kwargs})
        self._given, self.seed = rates, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape) -> None:
        """Makes the table."""
        self.rates = self.table(self._given, "rates", "float32")

    def call(self, words, training=False):
        """``<int32>[batch, time]`` to the same."""
        if not training:
            return words
        draw = keras.random.uniform(ops.shape(words), seed=self.seed_generator)
        return ops.where(draw < ops.take(self.rates, words, axis=0), UNKNOWN, words)

    def compute_output_shape(self, input_shape):
        """The input's."""
        return input_shape

    def get_config(self):
        """For ``model.keras``; the table is a weight."""
        return {**super().get_config(), "rates": tuple(np.shape(self._given))
                if isinstance(self._given, np.ndarray) else tuple(self._given),
                "seed": self.seed}  # fmt: skip


@keras.saving.register_keras_serializable("seqloom")
class CharacterConvolution(keras.layers.Layer):
    """What the characters of each word say: a convolution over them and its largest values.

    Source: Ma and Hovy 2016.

    Args:
        characters: largest number of a character plus one; 0 is padding.
        dim: size of the embedding of a character.
        units: filters.
        width: characters that a filter sees.
    """

    def __init__(self, characters: int, dim: int, units: int, width: int = 3, **kwargs) -> None:
        super().__init__(**kwargs)
        self.characters, self.dim, self.units, self.width = characters, dim, units, width
        self.embedding = keras.layers.Embedding(characters, dim, name="embedding")
        self.convolution = keras.layers.Conv1D(units, width, padding="same", name="convolution")

    def build(self, input_shape) -> None:
        """Makes the weights."""
        self.embedding.build((None, input_shape[-1]))
        self.convolution.build((None, input_shape[-1], self.dim))

    def call(self, characters):
        """``<int32>[batch, time, slots]`` to ``<float32>[batch, time, units]``, not negative."""
        shape = ops.shape(characters)
        flat = ops.reshape(characters, (-1, characters.shape[-1]))
        x = self.embedding(flat)
        x = x * ops.cast(ops.expand_dims(flat != 0, -1), x.dtype)
        x = ops.max(ops.relu(self.convolution(x)), axis=1)
        return ops.reshape(x, (shape[0], shape[1], self.units))

    def compute_output_shape(self, input_shape):
        """``(batch, time, units)``."""
        return (*input_shape[:2], self.units)

    def get_config(self):
        """For ``model.keras``."""
        config = {"characters": self.characters, "dim": self.dim, "units": self.units}
        return {**super().get_config(), **config, "width": self.width}


@keras.saving.register_keras_serializable("seqloom")
class CharacterRecurrence(keras.layers.Layer):
    """What the characters of each word say: the last states of a GRU that reads them both ways.

    Source: Lample et al. 2016.

    Args:
        characters: largest number of a character plus one; 0 is padding.
        dim: size of the embedding of a character.
        units: of both directions together.
    """

    def __init__(self, characters: int, dim: int, units: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.characters, self.dim, self.units = characters, dim, units
        self.embedding = keras.layers.Embedding(characters, dim, mask_zero=True, name="embedding")
        self.reader = keras.layers.Bidirectional(
            keras.layers.GRU(max(1, units // 2)), name="reader"
        )

    def build(self, input_shape) -> None:
        """Makes the weights."""
        self.embedding.build((None, input_shape[-1]))
        self.reader.build((None, input_shape[-1], self.dim))

    def call(self, characters):
        """``<int32>[batch, time, slots]`` to ``<float32>[batch, time, units]``."""
        shape = ops.shape(characters)
        flat = ops.reshape(characters, (-1, characters.shape[-1]))
        x = self.reader(self.embedding(flat), mask=flat != 0)
        return ops.reshape(x, (shape[0], shape[1], x.shape[-1]))

    def compute_output_shape(self, input_shape):
        """``(batch, time, units)``."""
        return (*input_shape[:2], 2 * max(1, self.units // 2))

    def get_config(self):
        """For ``model.keras``."""
        config = {"characters": self.characters, "dim": self.dim, "units": self.units}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("seqloom")
class FormEmbedding(keras.layers.Layer):
    """The embeddings of a token's forms, one after the other.

    Args:
        forms: largest number of a form plus one.
        dim: size of each embedding.
    """

    def __init__(self, forms: int, dim: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.forms, self.dim = forms, dim

    def build(self, input_shape) -> None:
        """Makes the table."""
        self.width = input_shape[-1] * self.dim
        self.embeddings = self.add_weight((self.forms, self.dim), "uniform", name="embeddings")

    def call(self, forms):
        """``<int32>[batch, time, forms]`` to ``<float32>[batch, time, forms * dim]``."""
        shape = ops.shape(forms)
        found = ops.take(self.embeddings, forms, axis=0)
        return ops.reshape(found, (shape[0], shape[1], self.width))

    def compute_output_shape(self, input_shape):
        """``(batch, time, forms * dim)``."""
        return (*input_shape[:2], input_shape[-1] * self.dim)

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "forms": self.forms, "dim": self.dim}


class _Window(keras.layers.Layer):
    """What stands at each token and around it, as rows of a table.

    Each template gives one feature at each token; features share ``rows`` rows by a hash
    (Weinberger et al. 2009), as many features of rare words never matter.

    Args:
        templates: of the features.
        rows: of the table.
        width: of each row.
        initializer: of the table.
    """

    def __init__(
        self, templates: Sequence, rows: int, width: int, initializer: str, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.templates = tuple(tuple(tuple(part) for part in one) for one in templates)
        self.rows, self.width, self.initializer = rows, width, initializer

    def build(self, input_shape) -> None:
        """Makes the table."""
        self.weight = self.add_weight((self.rows, self.width), self.initializer, name="weight")

    def features(self, inputs: Mapping):
        """``words`` and ``forms`` to the rows of the features: ``<int32>[batch, time, n]``."""
        words, forms = inputs["words"], inputs["forms"]
        time, reach = ops.shape(words)[1], self.reach
        padded = {
            "words": ops.pad(ops.expand_dims(words, -1), ((0, 0), (reach, reach), (0, 0))),
            "forms": ops.pad(forms, ((0, 0), (reach, reach), (0, 0))),
        }
        found = []
        for number, template in enumerate(self.templates, 1):
            place = number
            for name, column, offset in template:
                first = reach + offset
                ids = padded[name][:, first : first + time, column]
                place = (place * FACTOR + ids) % PRIME
            found.append(place % self.rows)
        return ops.stack(found, -1)

    @property
    def reach(self) -> int:
        """Farthest token that a template looks at."""
        return max(abs(offset) for template in self.templates for _, _, offset in template)

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "templates": self.templates, "rows": self.rows}


@keras.saving.register_keras_serializable("seqloom")
class WindowScores(_Window):
    """A linear model of what stands at each token and around it: the sum of the rows.

    Args:
        templates: see ``templates``.
        rows: of weights.
        tags: scores at each token.
    """

    def __init__(self, templates: Sequence, rows: int, tags: int, **kwargs) -> None:
        # No feature says anything at first.
        super().__init__(templates, rows, tags, "zeros", **{"dtype": "float32", **kwargs})

    def call(self, inputs):
        """``words <int32>[batch, time]``, ``forms <int32>[batch, time, forms]`` to
        ``<float32>[batch, time, tags]``."""
        return ops.sum(ops.take(self.weight, self.features(inputs), axis=0), axis=2)

    def compute_output_shape(self, input_shape):
        """``(batch, time, tags)``."""
        return (*input_shape["words"][:2], self.width)

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "tags": self.width}


@keras.saving.register_keras_serializable("seqloom")
class WindowEmbedding(_Window):
    """Embeddings of what stands around each token, such as pairs of characters, side by side.

    Args:
        templates: see ``templates``.
        rows: of the table.
        dim: of each embedding.
        dropout: share of the features that are hidden while training.
        seed: of the layer's own generator.
    """

    def __init__(
        self, templates: Sequence, rows: int, dim: int, dropout: float = 0.0, seed=None, **kwargs
    ) -> None:
        super().__init__(templates, rows, dim, "uniform", **kwargs)
        self.dropout, self.seed = dropout, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        """``words <int32>[batch, time]``, ``forms <int32>[batch, time, forms]`` to
        ``<float32>[batch, time, templates * dim]``."""
        features = self.features(inputs)
        found = ops.take(self.weight, features, axis=0)
        if training and self.dropout:
            draw = keras.random.uniform(ops.shape(features), seed=self.seed_generator)
            kept = ops.cast(draw >= self.dropout, found.dtype) / (1 - self.dropout)
            found = found * ops.expand_dims(kept, -1)
        shape = ops.shape(found)
        return ops.reshape(found, (shape[0], shape[1], len(self.templates) * self.width))

    def compute_output_shape(self, input_shape):
        """``(batch, time, templates * dim)``."""
        return (*input_shape["words"][:2], len(self.templates) * self.width)

    def get_config(self):
        """For ``model.keras``."""
        config = {"dim": self.width, "dropout": self.dropout, "seed": self.seed}
        return {**super().get_config(), **config}
