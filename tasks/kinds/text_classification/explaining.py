"""What moved a classifier to its label: words by the recurrent path, and by their n-grams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.text import SPECIAL_TOKENS
from pipelines.text_inputs import as_one_text, joined_bytes
from tasks.kinds.question import Question, place_of

if TYPE_CHECKING:
    import keras

    from models.attribution import Entry
    from pipelines.text_classification import TextClassificationPreprocessor

RECURRENT, NGRAMS = "recurrent network", "linear n-gram path"


def label_question(
    model: keras.Model,
    preprocessor: TextClassificationPreprocessor,
    raw: Any,
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The log-odds of a label: of the answered one if ``target`` is empty."""
    from models.attribution import log_odds

    encoder, labels, raw = preprocessor.encoder, preprocessor.labels, as_one_text(raw)
    place = place_of(target or answer["label"], labels, "labels")
    request = preprocessor.to_request([raw])
    tokens = preprocessor.encode(request)["tokens"]
    text = joined_bytes([request[name] for name in preprocessor.inputs])[0]
    layers = {layer.name: layer for layer in model.layers}
    spread = {"pair_embedding": _of_pairs}
    if "word_evidence" in layers:
        orders = layers["word_ngrams"].orders
        spread["word_evidence"] = lambda entry: _of_ngrams(entry, layers["word_evidence"], orders)
    if "character_evidence" in layers:
        spread["character_evidence"] = lambda entry: _of_characters(
            entry, layers["character_evidence"], tokens.shape[1]
        )
    linear = ("word_evidence", "character_evidence")
    return Question(
        inputs={"tokens": tokens},
        score=lambda found: log_odds(found["answer"], place),
        target=f"log-odds of {labels[place]}",
        steps=(SPECIAL_TOKENS[2], *encoder.kept(text), SPECIAL_TOKENS[3]),
        parts={**dict.fromkeys(("embedding", "pair_embedding"), RECURRENT),
               **dict.fromkeys(linear, NGRAMS)},
        spread=spread,
        joint=" " if encoder.level == "word" else "",
    )  # fmt: skip


def _of_pairs(entry: Entry) -> np.ndarray:
    """A pair belongs to both of its tokens, the one where it begins and the next."""
    half = entry.attributions.sum(-1) / 2
    return half + np.concatenate([[0.0], half[:-1]]) + np.eye(1, len(half), len(half) - 1)[0] * half


def _of_features(entry: Entry, layer: keras.layers.Layer) -> np.ndarray:
    """Attributions of the features that ``Evidence`` sums: ``<float>[features]``.

    The layer is linear in them but for their norm, which counts as a constant of the text. A
    feature that is there several times counts once, and is shared out evenly.
    """
    (features,) = entry.arguments
    ratio, weight = (np.asarray(one)[features] for one in (layer.ratio, layer.weight))
    _, inverse, counts = np.unique(features, return_inverse=True, return_counts=True)
    times = counts[inverse]
    norm = np.sqrt((ratio**2 / times[:, None]).sum(0) + 1e-6)
    each = layer.gain * ratio * weight / norm / times[:, None]  # (n, C)
    return each @ entry.gradients


def _of_ngrams(entry: Entry, layer: keras.layers.Layer, orders: int) -> np.ndarray:
    """Attributions of word n-grams, shared by the tokens that they are made of."""
    each = _of_features(entry, layer).reshape(orders, -1)
    found = np.zeros(each.shape[1])
    for order, row in enumerate(each):
        for later in range(order + 1):
            found[later:] += row[: len(row) - later] / (order + 1)
    return found


def _of_characters(entry: Entry, layer: keras.layers.Layer, tokens: int) -> np.ndarray:
    """Attributions of character n-grams, each its word's."""
    return _of_features(entry, layer).reshape(tokens, -1).sum(1)
