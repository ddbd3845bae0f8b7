"""Token ids to class logits."""

from __future__ import annotations

import keras
from keras import ops

from models.config import RecurrentConfig
from models.pooling import pooled_stack


@keras.saving.register_keras_serializable("seqloom")
class TokenDropout(keras.layers.Layer):
    """Replaces a share of the tokens by one id while training ("word dropout").

    Unlike dropout of embeddings it takes a word from its whole sentence context, so the network
    cannot lean on single words (Iyyer et al. 2015). Ids below ``first`` stay: padding must.

    Args:
        rate: share replaced.
        replacement: the id put in, that of unknown tokens.
        first: smallest id that may be replaced.
        seed: of the layer's own generator.
    """

    def __init__(self, rate: float, replacement: int = 1, first: int = 4, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.replacement, self.first, self.seed = rate, replacement, first, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, tokens, training=False):
        """``<int32>[batch, time]`` to the same."""
        if not training or not self.rate:
            return tokens
        draw = keras.random.uniform(ops.shape(tokens), seed=self.seed_generator)
        hidden = ops.logical_and(draw < self.rate, tokens >= self.first)
        return ops.where(hidden, self.replacement, tokens)

    def compute_output_shape(self, input_shape):
        """The input's."""
        return input_shape

    def get_config(self):
        """For ``model.keras``."""
        config = {"rate": self.rate, "replacement": self.replacement, "first": self.first}
        return {**super().get_config(), **config, "seed": self.seed}


def text_classifier(config: RecurrentConfig, vocabulary_size: int, classes: int) -> keras.Model:
    """Embedding, recurrent stack, pooling, logits.

    Args:
        config: the whole of it.
        vocabulary_size: greatest token id plus one; id 0 is padding.
        classes: number of labels.

    Returns:
        A model from ``tokens <int32>[batch, time]`` to ``logits <float32>[batch, classes]``.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = TokenDropout(config.token_dropout, name="token_dropout")(tokens)
    x = keras.layers.Embedding(
        vocabulary_size, config.embedding_dim, mask_zero=True, name="embedding"
    )(x)  # (B, T, E)
    x = keras.layers.Dropout(config.dropout, name="embedding_dropout")(x)
    x = pooled_stack(x, config)  # (B, W)
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model({"tokens": tokens}, logits, name="text_classifier")
