"""Steps of a decoder that attends to a source, in NumPy: what the programs of translation share.

``pipelines.translation_graph`` has the same as TensorFlow ops.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.program import NEXT, Cores, as_step
from pipelines.ragged import Arrays
from pipelines.vocabulary import Vocabulary

Step = Callable[[np.ndarray, Arrays], tuple[np.ndarray, Arrays]]

# What no translation may hold: padding, the unknown token, the start.
FORBIDDEN = 3
# A translation is at most some times as long as its source, as training's are, and so many tokens
# more: a model that has learnt little would else repeat itself for long.
MORE = 10
# What a batch has in common: arrays of other sizes cannot be one.
SHARED = ("beam", "n_best", "align")
IMPOSSIBLE = np.float32(-1e9)  # score of a hypothesis that is not there; JSON has no infinity


def decoder_step(cores: Cores, source: np.ndarray) -> tuple[Step, Arrays, Arrays]:
    """The decoder before its first token.

    Args:
        cores: ``encoder`` and ``step``, see ``models.translation.translation_cores``.
        source: ``<int32>[batch, source]``.

    Returns:
        A step for ``decoding`` that also returns its ``attention``; the arrays that stay the same
        from step to step; and the states before the first one.
    """
    core = cores["step"]
    memory = cores["encoder"]({"source": source})
    _, zeros = as_step(core, len(source))

    def step(last: np.ndarray, states: Arrays) -> tuple[np.ndarray, Arrays]:
        found = core({**{n: states[n] for n in core.inputs if n != "tokens"}, "tokens": last})
        following = {name: found[f"{name}{NEXT}"] for name in core.states}
        return found["log_probabilities"], {**following, "attention": found["attention"]}

    begin = {name: memory.get(name, state) for name, state in zeros.items()}
    fixed = {name: array for name, array in memory.items() if name not in begin}
    return step, {"source": source, **fixed}, begin


def allowed(step: Step) -> Step:
    """The step with -inf for what no translation may hold."""

    def without(last: np.ndarray, states: Arrays) -> tuple[np.ndarray, Arrays]:
        scores, following = step(last, states)
        scores = np.require(scores, requirements="W")  # a copy only of what is read-only
        scores[:, :FORBIDDEN] = -np.inf
        return scores, following

    return without


def follow(
    step: Step,
    fixed: Arrays,
    begin: Arrays,
    tokens: np.ndarray,
    following: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Gives the decoder the tokens of a target one by one.

    Args:
        step: of ``decoder_step``, and likewise the next two.
        fixed: what stays the same from step to step.
        begin: states before the first step.
        tokens: ``<int32>[batch, time]``, beginning with START.
        following: ``<int32>[batch, time]``, the token behind each; None to leave scores out.

    Returns:
        Log-probabilities of ``following <float32>[batch, time]``, and the attention at each step
        ``<float32>[batch, time, source]``.
    """
    rows, time = tokens.shape
    scores = np.zeros((rows, time), np.float32)
    weights = np.zeros((rows, time, fixed["source"].shape[1]), np.float32)
    for at in range(time if rows else 0):
        found, begin = step(tokens[:, at], {**fixed, **begin})
        weights[:, at] = begin.pop("attention")
        if following is not None:
            scores[:, at] = np.take_along_axis(found, following[:, at : at + 1], 1)[:, 0]
    return scores, weights


def tokens_of(vocabulary: Vocabulary, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``<object>[batch, time]``, the token of each id in UTF-8; nothing behind the lengths."""
    # Of those ids alone that are there: vocabularies are large.
    there, places = np.unique(ids, return_inverse=True)
    names = np.array([vocabulary.vocabulary[i].encode("utf-8") for i in there], object)
    inside = np.arange(ids.shape[1]) < lengths[:, None]
    return np.where(inside, names[places.reshape(ids.shape)], b"")
