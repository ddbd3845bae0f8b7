"""Words, characters and forms of a sentence to scores of tags, with a CRF on top.

A recurrent network reads the sentence both ways (Huang, Xu, Yu 2015), each word by its embedding,
its characters (Ma and Hovy 2016) and the embeddings of its beginnings and ends. Beside it stands a
linear model of the words, forms and their neighbours, as taggers had before: trained from scratch
on some thousand sentences, the network alone learns too little of what counting tells at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from models.crf import CRF, whole_scores
from models.embedding import word_embedding
from models.masking import MaskedBy
from models.network import Network, read_sequence
from models.tagging_config import TaggingConfig
from models.tagging_layers import (
    PAIRS,
    UNKNOWN,
    CharacterConvolution,
    CharacterRecurrence,
    FormEmbedding,
    RareWordDropout,
    WindowEmbedding,
    WindowScores,
    templates,
)
from models.training import compile_model

SUM_BOUND = 6_000_000  # weights of the linear model
FEWEST_ROWS, MOST_ROWS = 12, 18  # powers of two
PAIR_ROWS = 2**16
# Pairs are rare and many: a network that may lean on them memorises its sentences.
PAIR_DROPOUT = 0.4

Vectors = tuple[np.ndarray, np.ndarray]


def table_rows(tokens: int, tags: int) -> int:
    """Rows of ``WindowScores``, a power of two: some for each training token, within bounds."""
    fitting = int(np.log2(max(1, SUM_BOUND // tags)))
    wanted = int(np.ceil(np.log2(max(1, 4 * tokens))))
    return 2 ** max(FEWEST_ROWS, min(wanted, fitting, MOST_ROWS))


def word_rates(counts: np.ndarray, a: float) -> np.ndarray:
    """Rates of ``RareWordDropout``: ``a / (a + n)``, zero for padding and the unknown word.

    Args:
        counts: ``<int>[words]``, how often training has each.
        a: see there.
    """
    rates = a / (a + np.maximum(counts, 1))
    rates[: UNKNOWN + 1] = 0
    return rates.astype(np.float32)


def sentence_inputs(forms: int, slots: int) -> dict[str, keras.KerasTensor]:
    """``words``, ``forms`` and, where there are slots for them, ``characters``."""
    inputs = {
        "words": keras.Input((None,), dtype="int32", name="words"),
        "forms": keras.Input((None, forms), dtype="int32", name="forms"),
    }
    if slots:
        inputs["characters"] = keras.Input((None, slots), dtype="int32", name="characters")
    return inputs


def encoded_sentence(
    inputs: Mapping[str, keras.KerasTensor],
    config: TaggingConfig,
    sizes: Mapping[str, int],
    counts: np.ndarray,
    vectors: Vectors | None,
    network: Network | None = None,
) -> keras.KerasTensor:
    """Words and what they look like, read by the recurrent stack.

    Args:
        inputs: of ``sentence_inputs``.
        config: hyperparameters.
        sizes: largest number plus one of words, characters and forms.
        counts: ``<int>[words]``, how often training has each word.
        vectors: see ``word_embedding``.
        network: in place of the recurrent stack.

    Returns:
        ``<float32>[batch, time, width]``, with the mask of the words.
    """
    words = inputs["words"]
    hidden = RareWordDropout(word_rates(counts, config.word_dropout), name="word_dropout")(words)
    embedding = word_embedding(
        sizes["words"], config.embedding_dim, vectors, frozen=config.freeze_vectors
    )
    parts = [embedding(hidden)]
    if config.form_dim:
        forms = FormEmbedding(sizes["forms"], config.form_dim, name="form_embedding")
        parts.append(forms(inputs["forms"]))
    if "characters" in inputs and config.characters != "none":
        reader = CharacterConvolution if config.characters == "cnn" else CharacterRecurrence
        size = (sizes["characters"], config.character_dim, config.character_units)
        parts.append(reader(*size, name="characters_of_words")(inputs["characters"]))
    if "characters" not in inputs and config.pairs:
        pairs = WindowEmbedding(PAIRS, PAIR_ROWS, config.embedding_dim, PAIR_DROPOUT, name="pairs")
        parts.append(pairs({"words": words, "forms": inputs["forms"]}))
    x = keras.layers.Concatenate(name="words_and_forms")(parts) if len(parts) > 1 else parts[0]
    x = keras.layers.Dropout(config.dropout, name="embedding_dropout")(x)  # (B, T, E)
    x = MaskedBy(name="mask")([x, words])
    x = read_sequence(x, config, network)  # (B, T, W)
    return keras.layers.Dropout(config.dropout, name="head_dropout")(x)


def tag_scores(
    inputs: Mapping[str, keras.KerasTensor],
    encoded: keras.KerasTensor,
    config: TaggingConfig,
    tags: Sequence[str],
    scheme: str,
    tokens: int,
) -> keras.KerasTensor:
    """Scores of the tags of each token, from the layer ``crf`` if the head is one.

    Args:
        inputs: of ``sentence_inputs``.
        encoded: of ``encoded_sentence``.
        config: hyperparameters.
        tags: their names.
        scheme: "bio", "bioes", or "" where tags are plain classes.
        tokens: of training, which say how large the linear model may be.

    Returns:
        ``<float32>[batch, time, tags]``.
    """
    x = keras.layers.Dense(len(tags), dtype="float32", name="deep")(encoded)
    if config.wide:
        forms = inputs["forms"].shape[-1]
        rows = table_rows(tokens, len(tags))
        window = WindowScores(templates(forms), rows, len(tags), name="window")
        wide = window({"words": inputs["words"], "forms": inputs["forms"]})
        x = keras.layers.Add(name="emissions", dtype="float32")([x, wide])
    if config.head == "softmax":
        return x
    return CRF(tags, constraints=scheme or None, name="crf")(x)


def tagger(
    config: TaggingConfig,
    sizes: Mapping[str, int],
    forms: int,
    slots: int,
    tags: Sequence[str],
    scheme: str,
    counts: np.ndarray,
    vectors: Vectors | None = None,
    network: Network | None = None,
) -> keras.Model:
    """A compiled tagger: arguments are those of the functions above.

    Returns:
        A model from ``sentence_inputs`` to ``{"tags": <float32>[batch, time, tags]}``.
    """
    inputs = sentence_inputs(forms, slots)
    encoded = encoded_sentence(inputs, config, sizes, counts, vectors, network)
    scores = tag_scores(inputs, encoded, config, tags, scheme, int(counts.sum()))
    model = keras.Model(inputs, {"tags": scores}, name="tagger")
    compile_model(model, config, {"tags": tag_loss(model)}, {})
    return model


def tag_loss(model: keras.Model):
    """Negative log-likelihood of tags ``<int32>[batch, time]``, -1 where there is none, of each
    token on average."""
    crf = next((layer for layer in model.layers if isinstance(layer, CRF)), None)

    def loss(tags, scores):
        scores = whole_scores(scores, 3)
        known = ops.cast(tags >= 0, "float32")
        if crf is not None:
            total = crf.loss(tags, scores)  # (B,)
        else:
            each = keras.losses.sparse_categorical_crossentropy(
                ops.maximum(tags, 0), scores, from_logits=True
            )
            total = ops.sum(each * known, -1)
        # Keras takes the mean over the batch; a long sentence counts by its tokens.
        rows = ops.cast(ops.shape(scores)[0], "float32")
        return total * rows / ops.maximum(ops.sum(known), 1.0)

    return loss
