"""``pipelines.translation`` as TensorFlow ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from decoding.beam_graph import beam_search
from decoding.stepping_graph import require
from pipelines.program import NEXT
from pipelines.program_graph import GraphCores, GraphProgram, Tensors, as_step
from pipelines.text import END, PAD, START
from pipelines.translation_steps import FORBIDDEN, IMPOSSIBLE, MORE, SHARED

Step = Callable[[tf.Tensor, Tensors], tuple[tf.Tensor, Tensors]]

# Log-probabilities of one step, of all hypotheses of all texts, half a gigabyte: a graph takes all
# texts of a request at once, where ``pipelines.translation`` takes some after the others.
MOST_SCORES = 2**27


class TranslationGraph(GraphProgram):
    """``TranslationPreprocessor``.

    Args:
        source: a ``VocabularyGraph``.
        target: likewise.
        settings: of the search, by default.
        times: see ``TranslationPreprocessor``.
    """

    cores = ("encoder", "step")

    def __init__(self, source: Any, target: Any, settings: Mapping[str, Any], times: int) -> None:
        super().__init__()
        self.source, self.target, self.settings = source, target, dict(settings)
        self.times = times

    def encode(self, request: Tensors) -> Tensors:
        """``source``, its lengths, and the settings."""
        source = self.source(request["text"])
        length = tf.reduce_sum(tf.cast(source != PAD, tf.int32), 1)
        settings = {name: request[name] for name in self.settings}
        return {"source": source, "source_length": length, **settings}

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """Encodes, searches over the steps of the decoder, and follows the best once more."""
        source, length = encoded["source"], encoded["source_length"]
        step, fixed, begin = decoder_step(cores, source)
        settings = {name: encoded[name] for name in self.settings}
        for name in SHARED:
            # The first row's; of no rows the default.
            settings[name] = tf.concat([settings[name], [self.settings[name]]], 0)[0]
        align = settings.pop("align")
        settings["beam"] = self.bounded(settings["beam"], tf.shape(source)[0])
        settings["max_tokens"] = tf.minimum(settings["max_tokens"], self.times * length + MORE)
        first = tf.fill(tf.shape(source)[:1], START)
        found = beam_search(
            allowed(step), first, {**fixed, **begin}, end=END, source_mask="source", **settings
        )
        best = found.lengths[:, 0]
        longest = tf.maximum(tf.reduce_max(best), 0)
        ids = found.ids[:, 0, :longest]

        def attention() -> tf.Tensor:
            before = tf.concat([first[:, None], ids], 1)[:, :-1]
            weights = follow(step, fixed, begin, before)[1]
            return tf.where(tf.sequence_mask(best, longest)[:, :, None], weights, 0.0)

        def nothing() -> tf.Tensor:
            return tf.zeros([tf.shape(source)[0], 0, 0])

        return {
            "source": source,
            "source_length": length,
            "ids": found.ids,
            "lengths": found.lengths,
            "best": ids,
            "target_length": best,
            "scores": found.normalised,
            "attention": tf.cond(align, attention, nothing),
        }

    def bounded(self, beam: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """A beam that the memory holds; a wider one is refused, and cut before it can fill it."""
        widest = MOST_SCORES // int(self.target.names.shape[0]) // tf.maximum(rows, 1)
        require(
            beam <= tf.maximum(widest, 1),
            "so many texts with so wide a beam do not fit into memory at once; send fewer texts in "
            "a request, or a smaller beam",
        )
        return tf.minimum(beam, tf.maximum(widest, 1))

    def decode(self, outputs: Tensors) -> Tensors:
        """Text of each hypothesis, the best one by itself too, and its tokens."""
        ids = outputs["ids"]
        kept = tf.sequence_mask(outputs["lengths"], tf.shape(ids)[2])
        hypotheses = self.target.decode(tf.where(kept, ids, PAD))
        return {
            "text": hypotheses[:, 0],
            "hypotheses": hypotheses,
            "scores": tf.maximum(outputs["scores"], IMPOSSIBLE),
            "source_tokens": tokens_of(self.source, outputs["source"], outputs["source_length"]),
            "source_length": outputs["source_length"],
            "target_tokens": tokens_of(self.target, outputs["best"], outputs["target_length"]),
            "target_length": outputs["target_length"],
            "attention": outputs["attention"],
        }


class ScoredPairGraph(GraphProgram):
    """``ScoreProgram``.

    Args:
        texts: the graph of the preprocessor.
    """

    cores = ("encoder", "step")

    def __init__(self, texts: TranslationGraph) -> None:
        super().__init__()
        self.texts = texts

    def encode(self, request: Tensors) -> Tensors:
        """``source`` and ``target``."""
        source = self.texts.source(request["text"])
        return {"source": source, "target": self.texts.target(request["target"])}

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """Follows the target from step to step."""
        target = encoded["target"]
        step, fixed, begin = decoder_step(cores, encoded["source"])
        following = target[:, 1:]
        scores, _ = follow(step, fixed, begin, target[:, :-1], following)
        return {
            "log_probabilities": tf.where(following != PAD, scores, 0.0),
            "following": following,
            "target_length": tf.reduce_sum(tf.cast(following != PAD, tf.int32), 1),
        }

    def decode(self, outputs: Tensors) -> Tensors:
        """The log-probability of each token, END among them, and their sum."""
        scores, length = outputs["log_probabilities"], outputs["target_length"]
        return {
            "score": tf.cast(tf.reduce_sum(tf.cast(scores, tf.float64), 1), tf.float32),
            "log_probabilities": scores,
            "target_tokens": tokens_of(self.texts.target, outputs["following"], length),
            "target_length": length,
        }


def decoder_step(cores: GraphCores, source: tf.Tensor) -> tuple[Step, Tensors, Tensors]:
    """See ``pipelines.translation_steps.decoder_step``."""
    core = cores["step"]
    memory = cores["encoder"]({"source": source})
    _, zeros = as_step(core, tf.shape(source)[0])

    def step(last: tf.Tensor, states: Tensors) -> tuple[tf.Tensor, Tensors]:
        found = core({**{n: states[n] for n in core.inputs if n != "tokens"}, "tokens": last})
        following = {name: found[f"{name}{NEXT}"] for name in core.states}
        return found["log_probabilities"], {**following, "attention": found["attention"]}

    begin = {name: memory.get(name, state) for name, state in zeros.items()}
    fixed = {name: tensor for name, tensor in memory.items() if name not in begin}
    return step, {"source": source, **fixed}, begin


def allowed(step: Step) -> Step:
    """The step with -inf for what no translation may hold."""

    def without(last: tf.Tensor, states: Tensors) -> tuple[tf.Tensor, Tensors]:
        scores, following = step(last, states)
        # One pass over the scores, where cutting and joining takes two.
        never = np.where(np.arange(scores.shape[1]) < FORBIDDEN, -np.inf, 0.0)
        return scores + never.astype(np.float32), following

    return without


def follow(
    step: Step,
    fixed: Tensors,
    begin: Tensors,
    tokens: tf.Tensor,
    following: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """See ``pipelines.translation_steps.follow``."""
    rows, time = tf.shape(tokens)[0], tf.shape(tokens)[1]
    # One step at least, which is cut off again: TensorFlow stacks no empty array.
    steps, more = tf.maximum(time, 1), [[0, 0], [0, tf.maximum(1 - time, 0)]]
    tokens = tf.pad(tokens, more)
    following = None if following is None else tf.pad(following, more)

    def advance(at, states, scores, weights):
        found, after = step(tokens[:, at], {**fixed, **states})
        weights = weights.write(at, after.pop("attention"))
        if following is not None:
            scores = scores.write(at, tf.gather(found, following[:, at], batch_dims=1))
        return at + 1, after, scores, weights

    arrays = [tf.TensorArray(tf.float32, steps, infer_shape=False) for _ in range(2)]
    shapes = {name: tf.TensorShape([None, *one.shape[1:]]) for name, one in begin.items()}
    *_, scores, weights = tf.while_loop(
        lambda at, *_: at < steps, advance, (0, begin, *arrays),
        shape_invariants=(tf.TensorShape([]), shapes, tf.TensorShape(None), tf.TensorShape(None)),
    )  # fmt: skip
    weights = tf.reshape(weights.stack(), [steps, rows, tf.shape(fixed["source"])[1]])
    weights = tf.transpose(weights, [1, 0, 2])[:, :time]
    if following is None:
        return tf.zeros([rows, time]), weights
    return tf.transpose(tf.reshape(scores.stack(), [steps, rows]))[:, :time], weights


def tokens_of(vocabulary: Any, ids: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """See ``pipelines.translation.tokens_of``."""
    inside = tf.sequence_mask(lengths, tf.shape(ids)[1])
    return tf.where(inside, vocabulary.tokens(ids), b"")
