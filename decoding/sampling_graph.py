"""Greedy search and sampling in TensorFlow ops: the twin of ``decoding.sampling``.

The names, arguments, results and errors are those of ``decoding.sampling``; arrays are tensors. All
functions can be traced by ``tf.function`` with an unknown number of rows. Here finished rows go on
being stepped, with the last id that they had, and what the step answers for them is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from decoding.sampling import (
    GOLDEN_GAMMA,
    MAX_TEMPERATURE,
    MAX_TOP_K,
    MIX_1,
    MIX_2,
    NUCLEUS_TOLERANCE,
)
from decoding.stepping import MAX_LENGTH, TINY, Sequences, check_end
from decoding.stepping_graph import (
    Step,
    call_step,
    check_allowed,
    check_log_probabilities,
    check_start,
    per_row,
    row_shape,
)


def uniforms(seeds: Any, positions: Any) -> tf.Tensor:
    """As ``decoding.sampling.uniforms``: ``<float32>[rows]``."""
    seeds, positions = (
        value if tf.is_tensor(value) else tf.constant(value, tf.int64)
        for value in (seeds, positions)
    )
    rows = next((tf.shape(value)[0] for value in (seeds, positions) if value.shape.rank), 1)
    seed = per_row("seed", seeds, rows, tf.int64, -(2**63), 2**63 - 1)
    position = per_row("position", positions, rows, tf.int64, 0, 2**63 - 2)
    gamma = _int64(GOLDEN_GAMMA)
    hashed = _mix(_mix(seed + gamma) + (position + 1) * gamma)
    return tf.cast(_shifted(hashed, 40), tf.float32) * 2.0**-24


def choose(
    log_probabilities: Any,
    uniforms: Any,
    temperature: Any = 1.0,
    top_k: Any = 0,
    top_p: Any = 1.0,
) -> tf.Tensor:
    """As ``decoding.sampling.choose``: ``<int32>[rows]``."""
    log_probabilities = tf.convert_to_tensor(log_probabilities)
    rows = tf.shape(log_probabilities)[0]
    checked = check_log_probabilities(log_probabilities, rows, -1)
    check_allowed(checked)
    chances = per_row("uniforms", uniforms, rows, tf.float32, 0.0, 1.0 - 2.0**-24)
    return _choose(checked, chances, *_settings(rows, temperature, top_k, top_p))


def greedy(
    step: Step, first: Any, states: Mapping[str, Any], *, end: int | None, max_tokens: Any = 100
) -> Sequences:
    """As ``decoding.sampling.greedy``."""

    def pick(log_probabilities: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        return _most_probable(log_probabilities)

    return _generate(step, first, states, end, max_tokens, pick)


def sample(
    step: Step,
    first: Any,
    states: Mapping[str, Any],
    *,
    end: int | None,
    seed: Any,
    temperature: Any = 1.0,
    top_k: Any = 0,
    top_p: Any = 1.0,
    max_tokens: Any = 100,
) -> Sequences:
    """As ``decoding.sampling.sample``."""
    first, states = check_start(first, states)
    rows = tf.shape(first)[0]
    seeds = per_row("seed", seed, rows, tf.int64, -(2**63), 2**63 - 1)
    settings = _settings(rows, temperature, top_k, top_p)

    def pick(log_probabilities: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        return _choose(log_probabilities, uniforms(seeds, position), *settings)

    return _generate(step, first, states, end, max_tokens, pick)


def _generate(
    step: Step,
    first: Any,
    states: Mapping[str, Any],
    end: int | None,
    max_tokens: Any,
    pick: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> Sequences:
    end = check_end(end)
    first, states = check_start(first, states)
    rows = tf.shape(first)[0]
    limits = per_row("max_tokens", max_tokens, rows, tf.int32, 0, MAX_LENGTH)

    def body(loop: dict[str, Any]) -> tuple[dict[str, Any]]:
        still = loop["still"]
        values, changed = call_step(step, loop["ids"], loop["states"])
        values = check_log_probabilities(values, rows, end, still)
        check_allowed(values, still)
        picked = pick(values, loop["position"])
        score = tf.cast(tf.gather(values, picked, batch_dims=1), tf.float64)
        goes_on = still & (picked != end)
        column = tf.where(goes_on, picked, 0)
        position = loop["position"] + 1
        going = {
            "position": position,
            "ids": tf.where(goes_on, picked, loop["ids"]),
            "still": goes_on & (limits > position),
            "written": tf.concat([loop["written"], column[:, None]], axis=1),
            "lengths": loop["lengths"] + tf.cast(goes_on, tf.int32),
            "scores": loop["scores"] + tf.where(still, score, 0.0),
            "states": {**loop["states"], **changed},
        }
        return (going,)

    start = {
        "position": tf.constant(0),
        "ids": first,
        "still": limits > 0,
        "written": tf.zeros([rows, 0], tf.int32),
        "lengths": tf.zeros([rows], tf.int32),
        "scores": tf.zeros([rows], tf.float64),
        "states": states,
    }
    shapes = {
        **{name: row_shape(start[name]) for name in ("ids", "still", "lengths", "scores")},
        "position": tf.TensorShape([]),
        "written": tf.TensorShape([None, None]),
        "states": {name: row_shape(state) for name, state in states.items()},
    }
    (done,) = tf.while_loop(
        lambda loop: tf.reduce_any(loop["still"]), body, (start,), shape_invariants=(shapes,)
    )
    longest = tf.maximum(tf.reduce_max(done["lengths"]), 0)  # the maximum of no rows is negative
    scores = tf.cast(done["scores"], tf.float32)
    return Sequences(done["written"][:, :longest], done["lengths"], scores)


def _settings(
    rows: tf.Tensor, temperature: Any, top_k: Any, top_p: Any
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return (
        per_row("temperature", temperature, rows, tf.float32, 0.0, MAX_TEMPERATURE),
        per_row("top_k", top_k, rows, tf.int32, 0, MAX_TOP_K),
        per_row("top_p", top_p, rows, tf.float32, 0.0, 1.0),
    )


def _choose(
    log_probabilities: tf.Tensor,
    chances: tf.Tensor,
    temperature: tf.Tensor,
    top_k: tf.Tensor,
    top_p: tf.Tensor,
) -> tf.Tensor:
    vocabulary = tf.shape(log_probabilities)[1]
    sampled = temperature >= TINY
    values = tf.cast(log_probabilities, tf.float64)
    divisor = tf.cast(tf.where(sampled, temperature, 1.0), tf.float64)[:, None]
    highest = tf.reduce_max(values, axis=1, keepdims=True)
    # Rows without any allowed id are finished ones; they get a number, which nobody reads.
    highest = tf.where(tf.math.is_inf(highest), tf.zeros_like(highest), highest)
    weights = tf.exp((values - highest) / divisor)
    kept = tf.where((top_k > 0) & (top_k < vocabulary), top_k, vocabulary)
    filtered = sampled & ((kept < vocabulary) | (top_p < 1))
    weights = tf.cond(
        tf.reduce_any(filtered),
        lambda: _filtered(log_probabilities, weights, filtered, kept, top_p),
        lambda: weights,
    )
    cumulative = tf.cumsum(weights, axis=1)
    thresholds = tf.cast(chances, tf.float64) * cumulative[:, -1]
    ids = tf.reduce_sum(tf.cast(cumulative <= thresholds[:, None], tf.int32), axis=1)
    ids = tf.minimum(ids, vocabulary - 1)  # of finished rows, whose weights are all 0
    return tf.where(sampled, ids, _most_probable(log_probabilities))


def _filtered(
    log_probabilities: tf.Tensor,
    weights: tf.Tensor,
    filtered: tf.Tensor,
    top_k: tf.Tensor,
    top_p: tf.Tensor,
) -> tf.Tensor:
    """The weights ``<float64>[rows, vocabulary]``, 0 for ids that are not kept."""
    shape = tf.shape(weights)
    width = tf.reduce_max(tf.where(filtered, top_k, 1))
    _, order = tf.math.top_k(log_probabilities, width)  # of equals the lower id first
    rank = tf.range(width)
    within = rank < top_k[:, None]
    zero = tf.zeros([], weights.dtype)
    ordered = tf.where(within, tf.gather(weights, order, batch_dims=1), zero)
    before = tf.cumsum(ordered, axis=1, exclusive=True)
    total = before[:, -1:] + ordered[:, -1:]
    needed = tf.cast(top_p, tf.float64)[:, None] * (1 - NUCLEUS_TOLERANCE) * total
    keep = within & ((before < needed) | (top_p >= 1)[:, None] | (rank == 0))
    places = order + tf.range(shape[0])[:, None] * shape[1]
    kept = tf.scatter_nd(
        tf.reshape(places, [-1, 1]),
        tf.reshape(tf.where(keep, ordered, zero), [-1]),
        [shape[0] * shape[1]],
    )
    return tf.where(filtered[:, None], tf.reshape(kept, shape), weights)


def _most_probable(log_probabilities: tf.Tensor) -> tf.Tensor:
    # tf.argmax does not promise which of equals it takes; top_k promises the lower one.
    return tf.math.top_k(log_probabilities, 1).indices[:, 0]


def _mix(values: tf.Tensor) -> tf.Tensor:
    values = tf.bitwise.bitwise_xor(values, _shifted(values, 30)) * _int64(MIX_1)
    values = tf.bitwise.bitwise_xor(values, _shifted(values, 27)) * _int64(MIX_2)
    return tf.bitwise.bitwise_xor(values, _shifted(values, 31))


def _shifted(values: tf.Tensor, bits: int) -> tf.Tensor:
    # int64, which wraps as uint64 does and has kernels everywhere; its shift copies the sign bit.
    shifted = tf.bitwise.right_shift(values, tf.constant(bits, tf.int64))
    return tf.bitwise.bitwise_and(shifted, tf.constant(2 ** (64 - bits) - 1, tf.int64))


def _int64(unsigned: int) -> tf.Tensor:
    return tf.constant(unsigned - 2**64 if unsigned >= 2**63 else unsigned, tf.int64)
