"""One recurrent encoder for two answers: what a sentence asks for, and the slots that it fills.

Joint models of intents and slots share what they learn of the words (Liu and Lane 2016; Goo et al.
2018): here everything but the two heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from models.crf import whole_scores
from models.intent_config import IntentConfig
from models.masking import MaskedBy
from models.network import Network
from models.pooling import MaskedPooling
from models.tagging import Vectors, encoded_sentence, sentence_inputs, tag_loss, tag_scores
from models.training import compile_model


def intent_model(
    config: IntentConfig,
    sizes: Mapping[str, int],
    forms: int,
    slots: int,
    tags: Sequence[str],
    scheme: str,
    counts: np.ndarray,
    intents: int,
    vectors: Vectors | None = None,
    network: Network | None = None,
) -> keras.Model:
    """A compiled model: arguments as for ``models.tagging.tagger``, and the number of intents.

    Returns:
        A model from ``sentence_inputs`` to ``{"tags": <float32>[batch, time, tags], "intents":
        <float32>[batch, intents]}``, scores and logits.
    """
    inputs = sentence_inputs(forms, slots)
    encoded = encoded_sentence(inputs, config, sizes, counts, vectors, network)
    scores = tag_scores(inputs, encoded, config, tags, scheme, int(counts.sum()))
    pooled = MaskedPooling(config.pooling, name="pooling")(
        MaskedBy(name="tokens")([encoded, inputs["words"]])
    )
    pooled = keras.layers.Dropout(config.dropout, name="intent_dropout")(pooled)
    logits = keras.layers.Dense(intents, dtype="float32", name="intents")(pooled)
    model = keras.Model(inputs, {"tags": scores, "intents": logits}, name="intent")
    losses = {"tags": tag_loss(model), "intents": intent_loss}
    weights = {"tags": 1.0, "intents": config.intent_weight}
    compile_model(model, config, losses, {}, weights)
    return model


@keras.saving.register_keras_serializable("seqloom")
def intent_loss(intents, logits):
    """Cross-entropy ``<float32>[batch]``; 0 for an intent of -1, which training does not have."""
    logits = whole_scores(logits, 2)
    known = ops.cast(intents >= 0, "float32")
    each = keras.losses.sparse_categorical_crossentropy(
        ops.maximum(intents, 0), logits, from_logits=True
    )
    return each * known
