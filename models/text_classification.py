"""Token ids to class logits."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from models.embedding import word_embedding
from models.label_metrics import label_scores
from models.masking import MaskedBy
from models.network import Network
from models.pooling import pooled_stack
from models.text_classification_config import TextConfig
from models.training import compile_model
from models.wide import Pairs, WideTables, wide_logits, word_ngrams

FIRST_SHARE = 0.25
# Pairs of letters are rare and many: a network that may lean on them memorises its texts.
PAIR_DROPOUT = 0.3
LOG_SCALES = (-3.0, 2.0)
# Of so many times more classes every second, third... example is weighed: each share is tried at
# some twenty scales of all logits, which would take longer than the epoch.
WEIGHED_CLASSES = 200
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
    config: TextConfig,
    vocabulary_size: int,
    classes: int,
    tables: WideTables | None = None,
    vectors: tuple[np.ndarray, np.ndarray] | None = None,
    network: Network | None = None,
) -> keras.Model:
    """Embedding, recurrent stack, pooling and logits, with the linear n-gram path next to it.

    Args:
        config: the whole of it.
        vocabulary_size: largest token id plus one; id 0 is padding.
        classes: number of labels.
        tables: n-grams of the training texts, for the linear path and, in scripts without spaces,
            for the pairs of letters that are embedded; None leaves both out.
        vectors: see ``word_embedding``.
        network: in place of the recurrent stack.

    Returns:
        A model from ``tokens <int32>[batch, time]`` to logits ``<float32>[batch, classes]``:
        ``deep`` of the recurrent path, ``wide`` of the linear one where there is one, and
        ``answer``, their weighted sum.
    """
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = TokenDropout(config.token_dropout, name="token_dropout")(tokens)
    x = word_embedding(
        vocabulary_size, config.embedding_dim, vectors, frozen=config.freeze_vectors, mask_zero=True
    )(x)  # (B, T, E)
    words = None if tables is None else word_ngrams(tokens, tables)
    if words is not None and tables.pairs and config.pairs:
        pairs = Pairs(tables.pairs, name="pairs")(words)
        pairs = TokenDropout(PAIR_DROPOUT, 0, 1, name="pair_dropout")(pairs)
        pairs = keras.layers.Embedding(
            tables.pairs + 1, config.embedding_dim, name="pair_embedding"
        )(pairs)
        x = keras.layers.Concatenate(name="letters_and_pairs")([x, pairs])  # (B, T, 2E)
        x = MaskedBy(name="mask")([x, tokens])
    x = keras.layers.Dropout(config.dropout, name="embedding_dropout")(x)
    x = pooled_stack(x, config, network)  # (B, W)
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    logits = {"deep": keras.layers.Dense(classes, dtype="float32", name="deep")(x)}  # (B, C)
    if words is not None and config.wide != "none":
        characters = config.wide == "characters"
        logits["wide"] = wide_logits(tokens, words, tables, characters, config.wide_l2)
    answer = WeightedSum(name="heads")(list(logits.values()))
    return keras.Model({"tokens": tokens}, {**logits, "answer": answer}, name="text_classifier")


def compile_classifier(model: keras.Model, config: TextConfig) -> None:
    """Each path has its own cross-entropy; the accuracy is that of their sum."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    paths = {name: loss for name in model.output if name != "answer"}
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    compile_model(model, config, paths, {"answer": [accuracy]})


@keras.saving.register_keras_serializable("seqloom")
class WeightedSum(keras.layers.Layer):
    """Weighted sum of the logits of the paths, ``<float32>[batch, classes]`` each.

    ``share`` is the weight of the first path, the recurrent one; it is no trainable weight, since
    on its own training examples each path looks better than it is: ``choose_share`` sets it.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, input_shape) -> None:
        """Makes the share; a path alone has all of the answer."""
        first = 1.0 if len(input_shape) == 1 else FIRST_SHARE
        self.share = self.add_weight((), keras.initializers.Constant(first), trainable=False)

    def call(self, logits):
        """A list of paths to their sum."""
        total = logits[0] * self.share
        for other in logits[1:]:
            total = total + other
        return total


def choose_share(
    model: keras.Model, validation: Iterable, metric: str = "accuracy"
) -> dict[str, float]:
    """Weighs the recurrent path as is best on validation.

    Which path knows more depends on the data: the n-grams nearly all of it in short reviews, the
    recurrent one where word order decides. By the accuracy the cross-entropy decides, whatever the
    scale: it is the same for all examples, and less a matter of chance. What it says of common
    labels drowns the rare ones, so any other metric decides itself; of equals the cross-entropy.

    Args:
        model: of ``text_classifier``; its share is changed, unless it has one path only.
        validation: batches of ``({"tokens"}, {"answer": labels})``, read twice where there are many
            classes.
        metric: that of ``label_scores`` by which configurations are chosen.

    Returns:
        The ``label_scores`` on validation with that share.
    """
    found = [_sampled(model, x, np.asarray(y["answer"])) for x, y in validation]
    ours, labels = (np.concatenate([one[key] for one in found]) for key in ("answer", "labels"))
    if "wide" not in found[0]:
        return label_scores(labels, ours)
    deep, wide, truth = (
        np.concatenate([one[key] for one in found]) for key in ("deep", "wide", "truth")
    )

    def weighted(share: float) -> np.ndarray:
        return share * deep + wide

    def cross_entropy(share: float) -> float:
        z = weighted(share)

        def tempered(log_scale: float) -> float:
            y = np.exp(log_scale) * z
            return float(np.mean(logsumexp(y, 1) - y[np.arange(len(truth)), truth]))

        # At its best scale: a network that is too sure of itself may still know more.
        return minimize_scalar(tempered, bounds=LOG_SCALES, method="bounded").fun

    def worth(share: float) -> tuple[float, float]:
        scores = label_scores(truth, weighted(share).argmax(1))
        return 0.0 if metric == "accuracy" else scores[metric], -cross_entropy(share)

    best = max(SHARES, key=worth)
    model.get_layer("heads").share.assign(best)
    if len(truth) == len(labels):
        return label_scores(labels, weighted(best).argmax(1))
    again = [model.predict_on_batch(x)["answer"].argmax(1) for x, _ in validation]
    return label_scores(labels, np.concatenate(again))


def _sampled(model: keras.Model, x: dict, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The labels and answers of a batch, and logits and labels of as many of its examples as shall
    be weighed: of many classes not all."""
    found = model.predict_on_batch(x)
    some = slice(None, None, -(-found["answer"].shape[1] // WEIGHED_CLASSES))
    logits = {name: found[name][some] for name in ("deep", "wide") if name in found}
    return {**logits, "truth": labels[some], "labels": labels, "answer": found["answer"].argmax(1)}
