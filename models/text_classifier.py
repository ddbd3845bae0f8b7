"""Token ids to class logits."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops
from scipy.special import logsumexp

from models.config import RecurrentConfig
from models.pooling import pooled_stack
from models.wide import WideTables, wide_logits

DEEP_SHARES = (0.1, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)


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


def text_classifier(
    config: RecurrentConfig, vocabulary_size: int, classes: int, tables: WideTables | None = None
) -> keras.Model:
    """Embedding, recurrent stack, pooling and logits, with the linear n-gram path beside it.

    Args:
        config: the whole of it.
        vocabulary_size: greatest token id plus one; id 0 is padding.
        classes: number of labels.
        tables: n-grams of the training texts; None leaves the linear path out.

    Returns:
        A model from ``tokens <int32>[batch, time]`` to ``<float32>[batch, heads, classes]``: the
        logits of each path, already weighted, so that their sum is the answer's.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = TokenDropout(config.token_dropout, name="token_dropout")(tokens)
    x = keras.layers.Embedding(
        vocabulary_size, config.embedding_dim, mask_zero=True, name="embedding"
    )(x)  # (B, T, E)
    x = keras.layers.Dropout(config.dropout, name="embedding_dropout")(x)
    x = pooled_stack(x, config)  # (B, W)
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    heads, shares = [keras.layers.Dense(classes, dtype="float32", name="deep")(x)], [1.0]
    if tables is not None:
        heads.append(wide_logits(tokens, tables, config.wide == "characters", config.wide_l2))
        shares = [config.deep_share, 1.0]
    return keras.Model(
        {"tokens": tokens}, WeightedHeads(shares, name="heads")(heads), name="text_classifier"
    )


@keras.saving.register_keras_serializable("seqloom")
class WeightedHeads(keras.layers.Layer):
    """Stacks logits ``<float32>[batch, classes]`` of several heads, each times its share.

    Args:
        shares: first value of the shares; they are a weight, but no training moves them.
    """

    def __init__(self, shares, **kwargs) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.first_shares = list(shares)

    def build(self, input_shape) -> None:
        """Makes the shares."""
        first = keras.initializers.Constant(self.first_shares)
        self.shares = self.add_weight((len(self.first_shares),), first, trainable=False)

    def call(self, heads):
        """A list of H to ``<float32>[batch, H, classes]``."""
        return ops.stack(heads, 1) * ops.reshape(self.shares, (1, -1, 1))

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "shares": self.first_shares}


def choose_deep_share(model: keras.Model, validation: Iterable) -> float:
    """Sets the recurrent path's share where validation's cross-entropy is least.

    Which path knows more depends on the data: bags of n-grams nearly all of it in short reviews,
    the recurrent one where word order decides. One number chosen on validation after training
    settles it.

    Args:
        model: of ``text_classifier``, trained; its share is changed. One path alone has none.
        validation: batches of ``({"tokens"}, labels)``.

    Returns:
        The share, one of ``DEEP_SHARES``.
    """
    layer = model.get_layer("heads")
    if len(layer.first_shares) == 1:
        return 1.0
    before = ops.convert_to_numpy(layer.shares)[None, :, None]
    batches = [(model.predict_on_batch(x) / before, np.asarray(y)) for x, y in validation]
    heads = np.concatenate([h for h, _ in batches])  # (N, 2, C)
    labels = np.concatenate([y for _, y in batches])

    def cross_entropy(share: float) -> float:
        logits = share * heads[:, 0] + heads[:, 1]
        return float(np.mean(logsumexp(logits, 1) - logits[np.arange(len(labels)), labels]))

    best = min(DEEP_SHARES, key=cross_entropy)
    layer.shares.assign([best, 1.0])
    return best


@keras.saving.register_keras_serializable("seqloom")
class HeadsSoftmax(keras.layers.Layer):
    """``<float32>[batch, heads, classes]`` to the probabilities of the heads' sum."""

    def call(self, heads):
        """To ``<float32>[batch, classes]``."""
        return ops.softmax(ops.sum(heads, 1), axis=-1)


@keras.saving.register_keras_serializable("seqloom")
class HeadsLoss(keras.losses.Loss):
    """Sum of the cross-entropies of the heads, each judged alone and without its share.

    Args:
        shares: of the heads, as in ``WeightedHeads``.
    """

    def __init__(self, shares, name: str = "heads_loss", **kwargs) -> None:
        super().__init__(name=name, **kwargs)
        self.shares = list(shares)

    def call(self, y_true, y_pred):
        """``<int>[batch]`` and ``<float32>[batch, heads, classes]`` to ``<float32>[batch]``."""
        total = 0.0
        for head, share in enumerate(self.shares):
            total = total + keras.losses.sparse_categorical_crossentropy(
                y_true, y_pred[:, head] / share, from_logits=True
            )
        return total

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "shares": self.shares}


@keras.saving.register_keras_serializable("seqloom")
class HeadsAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Accuracy of the sum of the heads."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        """``<int>[batch]`` and ``<float32>[batch, heads, classes]``."""
        return super().update_state(y_true, ops.sum(y_pred, 1), sample_weight)
