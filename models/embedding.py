"""Embeddings of words, which may begin with vectors that were trained elsewhere."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

_SPREAD = 0.03  # standard deviation of Keras's own first values, for vectors that have none


def word_embedding(
    words: int,
    dim: int,
    vectors: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    frozen: bool = False,
    mask_zero: bool = False,
    name: str = "embedding",
) -> keras.layers.Embedding:
    """A table of words.

    The layer holds its values as weights and nothing of where they came from, so that a saved model
    loads anywhere.

    Args:
        words: rows; row 0 is padding.
        dim: of each row, where there are no vectors.
        vectors: ``<float32>[words, n]`` and ``<bool>[words]``: which rows of them are of use; the
            others begin at random, as widely spread as those.
        frozen: whether training leaves the table as it is.
        mask_zero: see Keras.
        name: of the layer.
    """
    size = dim if vectors is None else vectors[0].shape[1]
    layer = keras.layers.Embedding(
        words, size, mask_zero=mask_zero, name=name, trainable=not (frozen and vectors is not None)
    )
    if vectors is not None:
        begin_with(layer, vectors)
    return layer


def begin_with(layer: keras.layers.Layer, vectors: tuple[np.ndarray, np.ndarray]) -> None:
    """Builds a layer that has ``embeddings`` and sets them; see ``word_embedding``."""
    table, found = vectors
    spread = float(table[found].std()) or _SPREAD
    values = keras.random.normal(table.shape, stddev=spread)
    values = np.where(found[:, None], table, ops.convert_to_numpy(values))
    values[0] = 0.0
    layer.build((None, None))
    layer.embeddings.assign(values)
