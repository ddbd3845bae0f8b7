"""Token ids to class logits."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops
from scipy.special import logsumexp

from models.pooling import pooled_stack
from models.text_classification_config import TextConfig
from models.wide import WideTables, wide_logits

FIRST_SHARE = 0.25
SHARES = (0.05, 0.1, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)


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
    config: TextConfig, vocabulary_size: int, classes: int, tables: WideTables | None = None
) -> keras.Model:
    """Embedding, recurrent stack, pooling and logits, with the linear n-gram path beside it.

    Args:
        config: the whole of it.
        vocabulary_size: greatest token id plus one; id 0 is padding.
        classes: number of labels.
        tables: n-grams of the training texts; None leaves the linear path out.

    Returns:
        A model from ``tokens <int32>[batch, time]`` to ``<float32>[batch, heads + 1, classes]``:
        the logits of each path, and last those of the answer, their weighted sum.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = TokenDropout(config.token_dropout, name="token_dropout")(tokens)
    x = keras.layers.Embedding(
        vocabulary_size, config.embedding_dim, mask_zero=True, name="embedding"
    )(x)  # (B, T, E)
    x = keras.layers.Dropout(config.dropout, name="embedding_dropout")(x)
    x = pooled_stack(x, config)  # (B, W)
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    heads = [keras.layers.Dense(classes, dtype="float32", name="deep")(x)]
    if tables is not None:
        heads.append(wide_logits(tokens, tables, config.wide == "characters", config.wide_l2))
    outputs = WeightedSum(name="heads")(heads)  # (B, H + 1, C)
    return keras.Model({"tokens": tokens}, outputs, name="text_classifier")


@keras.saving.register_keras_serializable("seqloom")
class WeightedSum(keras.layers.Layer):
    """Stacks logits ``<float32>[batch, classes]`` of the paths, and their weighted sum.

    ``share`` is the weight of the first path, the recurrent one; it is no trainable weight, since
    on its own training examples each path looks better than it is: ``choose_share`` sets it.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, input_shape) -> None:
        """Makes the share; a path alone has all of the answer."""
        first = 1.0 if len(input_shape) == 1 else FIRST_SHARE
        self.share = self.add_weight((), keras.initializers.Constant(first), trainable=False)

    def call(self, heads):
        """A list of H to ``<float32>[batch, H + 1, classes]``."""
        total = heads[0] * self.share
        for head in heads[1:]:
            total = total + head
        return ops.stack([*heads, total], 1)


def choose_share(model: keras.Model, validation: Iterable) -> float:
    """Weighs the recurrent path so that validation's cross-entropy is least.

    Which path knows more depends on the data: the n-grams nearly all of it in short reviews, the
    recurrent one where word order decides.

    Args:
        model: of ``text_classifier``; its share is changed, unless it has one path only.
        validation: batches of ``({"tokens"}, labels)``.

    Returns:
        The accuracy on validation with that share.
    """
    batches = [(model.predict_on_batch(inputs), np.asarray(y)) for inputs, y in validation]
    heads = np.concatenate([outputs for outputs, _ in batches])  # (N, H + 1, C)
    labels = np.concatenate([y for _, y in batches])

    def logits(share: float) -> np.ndarray:
        return share * heads[:, 0] + heads[:, 1]

    def cross_entropy(share: float) -> float:
        z = logits(share)
        return float(np.mean(logsumexp(z, 1) - z[np.arange(len(labels)), labels]))

    answer = heads[:, -1]
    if heads.shape[1] == 3:
        best = min(SHARES, key=cross_entropy)
        model.get_layer("heads").share.assign(best)
        answer = logits(best)
    return float(np.mean(answer.argmax(1) == labels))


@keras.saving.register_keras_serializable("seqloom")
class AnswerSoftmax(keras.layers.Layer):
    """``<float32>[batch, heads + 1, classes]`` to the probabilities of the answer."""

    def call(self, heads):
        """To ``<float32>[batch, classes]``."""
        return ops.softmax(heads[:, -1], axis=-1)


@keras.saving.register_keras_serializable("seqloom")
class PathsLoss(keras.losses.Loss):
    """Sum of the cross-entropies of the paths, each judged alone."""

    def call(self, y_true, y_pred):
        """``<int>[batch]`` and ``<float32>[batch, heads + 1, classes]`` to ``<float32>[batch]``."""
        return sum(
            keras.losses.sparse_categorical_crossentropy(y_true, y_pred[:, path], from_logits=True)
            for path in range(y_pred.shape[1] - 1)
        )


@keras.saving.register_keras_serializable("seqloom")
class AnswerAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Accuracy of the answer, the last of the stacked logits."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        """``<int>[batch]`` and ``<float32>[batch, heads + 1, classes]``."""
        return super().update_state(y_true, y_pred[:, -1], sample_weight)
