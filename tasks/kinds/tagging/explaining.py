"""What moved a tagger to the tag of one token, and a joint model to its intent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.kinds.question import Question, model_inputs, place_of

if TYPE_CHECKING:
    import keras

    from models.attribution import Entry
    from pipelines.tagging import TaggingPreprocessor

LINEAR = "linear model of words and forms"
NETWORK = "recurrent network"


def tag_question(
    model: keras.Model,
    preprocessor: TaggingPreprocessor,
    raw: Any,
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The log-odds of the answered tag of one token, transitions included.

    Without a target it is the first token of a span, or else the first whose tag is least sure.
    """
    from models.attribution import log_odds

    tokens, tags = answer["tokens"], answer["tags"]
    place = place_of(target, tokens, "tokens") if target else _usual_place(tags, answer)
    tag = preprocessor.tags.ids(tags)[place]
    crf = next((layer for layer in model.layers if layer.name == "crf"), None)
    length = np.array([len(tokens)], np.int32)

    def score(found: Any) -> Any:
        emissions = found["tags"]
        if crf is None:
            return log_odds(emissions[:, place], tag)
        return _marginal_log_odds(crf, emissions, length, place, tag)

    return token_question(
        model, preprocessor, raw, answer, score, f"log-odds of {tags[place]} for {tokens[place]}"
    )


def token_question(
    model: keras.Model,
    preprocessor: TaggingPreprocessor,
    raw: Any,
    answer: Mapping[str, Any],
    score: Callable[[Any], Any],
    target: str,
) -> Question:
    """A question about a model of words, forms and characters."""
    layers = {layer.name: layer for layer in model.layers}
    spread = {
        name: (lambda entry, layer=layers[name]: by_window(entry, layer))
        for name in ("window", "pairs") if name in layers
    }  # fmt: skip
    entries = ("embedding", "form_embedding", "characters_of_words", "pairs")
    return Question(
        inputs=model_inputs(preprocessor, model, raw),
        score=score,
        target=target,
        steps=tuple(answer["tokens"]),
        parts={"window": LINEAR, **dict.fromkeys(entries, NETWORK)},
        spread=spread,
    )


def _usual_place(tags: list[str], answer: Mapping[str, Any]) -> int:
    spans = [i for i, tag in enumerate(tags) if tag != "O"]
    if spans and len(spans) < len(tags):
        return spans[0]
    return int(np.argmin(answer["probabilities"])) if tags else 0


def _marginal_log_odds(crf: Any, emissions: Any, length: np.ndarray, place: int, tag: int) -> Any:
    """``log p / (1 - p)`` of a tag at a place, by a CRF: the paths with it against all others."""
    import tensorflow as tf

    # The gradient of the marginals is the forward-backward algorithm's own.
    share = crf.marginals(emissions, tf.repeat(length, tf.shape(emissions)[0]))[:, place, tag]
    share = tf.clip_by_value(tf.cast(share, tf.float64), 1e-7, 1 - 1e-7)
    return tf.cast(tf.math.log(share) - tf.math.log1p(-share), tf.float32)


def by_window(entry: Entry, layer: Any) -> np.ndarray:
    """Attributions of what stands around each token, shared by the tokens that each feature is
    made of: ``<float>[tokens]``; what lies outside of the sentence falls to the token itself."""
    features = _features_of(layer, entry)  # (T, templates)
    rows = np.asarray(layer.weight)[features]  # (T, templates, width)
    gradients = entry.gradients
    if gradients.shape[-1] == layer.width:  # a sum of the rows
        each = (rows * gradients[:, None]).sum(-1)
    else:  # the rows side by side
        each = (rows * gradients.reshape(rows.shape)).sum(-1)
    tokens = len(each)
    found = np.zeros(tokens)
    for column, template in enumerate(layer.templates):
        for _, _, offset in template:
            at = np.arange(tokens) + offset
            at = np.where((at >= 0) & (at < tokens), at, np.arange(tokens))
            np.add.at(found, at, each[:, column] / len(template))
    return found


def _features_of(layer: Any, entry: Entry) -> np.ndarray:
    """The rows of a window layer for its arguments, which Keras hands on sorted by name."""
    by_rank = {one.ndim: one for one in entry.arguments}
    inputs = {"words": by_rank[1][None], "forms": by_rank[2][None]}
    return np.asarray(layer.features(inputs))[0]
