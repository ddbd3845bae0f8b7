"""Beam search in TensorFlow ops: the twin of ``decoding.beam``, with equal results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from decoding.beam import MAX_BEAM, MAX_PENALTY, check_widths
from decoding.stepping import MAX_LENGTH, TINY, DecodingError, Hypotheses, check_end
from decoding.stepping_graph import (
    States,
    Step,
    call_step,
    check_log_probabilities,
    check_start,
    per_row,
    require,
    row_shape,
)

Loop = dict[str, Any]


def beam_search(
    step: Step,
    first: Any,
    states: Mapping[str, Any],
    *,
    end: int | None,
    beam: Any = 4,
    n_best: Any = 1,
    length_penalty: Any = 0.6,
    coverage_penalty: Any = 0.0,
    max_tokens: Any = 100,
    attention: str = "attention",
    source_mask: str | None = None,
) -> Hypotheses:
    """As ``decoding.beam.beam_search``; ``beam`` and ``n_best`` may be ``<int>[]`` tensors.

    Where the coverage penalty is a tensor, it counts only if the step returns the attention.
    """
    end = check_end(end)
    beam, n_best = _widths(beam, n_best)
    ids, tensors = check_start(first, states)
    if source_mask is not None and source_mask not in tensors:
        raise DecodingError(f"source_mask names {source_mask!r}, which is not among the states")
    rows = tf.shape(ids)[0]
    search = _Search(
        step,
        end=end,
        beam=beam,
        n_best=n_best,
        limits=per_row("max_tokens", max_tokens, rows, tf.int32, 0, MAX_LENGTH),
        alpha=tf.cast(
            per_row("length_penalty", length_penalty, rows, tf.float32, 0.0, MAX_PENALTY),
            tf.float64,
        ),
        beta=tf.cast(
            per_row("coverage_penalty", coverage_penalty, rows, tf.float32, 0.0, MAX_PENALTY),
            tf.float64,
        ),
        never_covers=not tf.is_tensor(coverage_penalty) and not np.any(coverage_penalty),
        attention=attention,
        source_mask=source_mask,
    )
    start = search.start(ids, tensors)
    (done,) = tf.while_loop(
        lambda loop: tf.size(loop["rows"]) > 0,
        lambda loop: (search.advance(loop),),
        (start,),
        shape_invariants=(_open_shapes(start),),
    )
    longest = tf.maximum(tf.reduce_max(done["lengths"]), 0)  # the maximum of no rows is negative
    return Hypotheses(
        done["best"][:, :, :longest],
        done["lengths"],
        tf.cast(done["scores"], tf.float32),
        done["normalised"],
    )


def _open_shapes(loop: Mapping[str, Any]) -> dict[str, Any]:
    """Shapes of the loop's values as far as they stay the same from step to step."""
    shapes = tf.nest.map_structure(row_shape, loop)
    shapes["position"] = tf.TensorShape([])
    for name in ("sums", "scores", "normalised", "lengths"):
        shapes[name] = tf.TensorShape([None, None])
    for name in ("written", "best"):
        shapes[name] = tf.TensorShape([None, None, None])
    return shapes


def _widths(beam: Any, n_best: Any) -> tuple[Any, Any]:
    if not tf.is_tensor(beam) and not tf.is_tensor(n_best):
        check_widths(beam, n_best)
        return beam, n_best
    beam, n_best = tf.convert_to_tensor(beam), tf.convert_to_tensor(n_best)
    if not (beam.dtype.is_integer and n_best.dtype.is_integer):
        raise DecodingError("beam and n_best must be integers")
    beam, n_best = tf.cast(beam, tf.int64), tf.cast(n_best, tf.int64)
    require(
        (n_best >= 1) & (n_best <= beam) & (beam <= MAX_BEAM),
        f"n_best must be from 1 to beam, and beam at most {MAX_BEAM}",
    )
    # The assertion does not hold the other ops back: no width of a request may fill the memory.
    beam = tf.clip_by_value(beam, 1, MAX_BEAM)
    return tf.cast(beam, tf.int32), tf.cast(tf.clip_by_value(n_best, 1, beam), tf.int32)


class _Search:
    """One position of all open rows; see ``decoding.beam._Search`` for the names."""

    def __init__(
        self,
        step: Step,
        *,
        end: int,
        beam: Any,
        n_best: Any,
        limits: tf.Tensor,
        alpha: tf.Tensor,
        beta: tf.Tensor,
        never_covers: bool,
        attention: str,
        source_mask: str | None,
    ) -> None:
        self.step, self.end, self.beam, self.n_best = step, end, beam, n_best
        self.limits, self.alpha, self.beta = limits, alpha, beta
        self.never_covers, self.attention, self.source_mask = never_covers, attention, source_mask
        self.extra: str | None = None

    def start(self, ids: tf.Tensor, states: States) -> Loop:
        """The variables of the loop before the first position."""
        rows = tf.shape(ids)[0]
        self.extra = None if self.attention in states else self.attention
        opened = tf.cast(tf.reshape(tf.where(self.limits > 0), [-1]), tf.int32)
        # A row that may have no ids has one finished hypothesis, the empty one.
        closed = tf.where(self.limits > 0, tf.constant(-np.inf, tf.float64), 0.0)[:, None]
        more = tf.fill([rows, self.n_best - 1], tf.constant(-np.inf, tf.float64))
        scores = tf.concat([closed, more], 1)
        loop = {
            "position": tf.constant(0),
            "rows": opened,
            "ids": tf.gather(ids, opened),
            "sums": tf.zeros([tf.size(opened), 1], tf.float64),
            "written": tf.zeros([tf.size(opened), 1, 0], tf.int32),
            "states": {name: tf.gather(state, opened) for name, state in states.items()},
            "normalised": tf.cast(scores, tf.float32),
            "scores": scores,
            "lengths": tf.zeros([rows, self.n_best], tf.int32),
            "best": tf.zeros([rows, self.n_best, 0], tf.int32),
        }
        if not self.never_covers and self._attends(loop):
            width = tf.shape(self._source(loop))[1]
            loop["coverage"] = tf.zeros([tf.size(opened), width], tf.float64)
        return loop

    def _source(self, loop: Loop) -> tf.Tensor:
        """Something as wide as the source; without a mask the step is called once more."""
        if self.source_mask is not None:
            return loop["states"][self.source_mask]
        _, changed = call_step(self.step, loop["ids"], loop["states"], extra=self.extra)
        return changed[self.attention]

    def _attends(self, loop: Loop) -> bool:
        given, names = (loop["ids"], loop["states"]), []

        def called(ids: tf.Tensor, states: States) -> tf.Tensor:
            names.extend(call_step(self.step, ids, states, extra=self.extra)[1])
            return ids

        if tf.executing_eagerly():
            called(*given)
        else:  # Traced and not run: only what it returns is of interest.
            tf.function(called, autograph=False).get_concrete_function(*tf.nest.map_structure(
                lambda one: tf.TensorSpec(row_shape(one), one.dtype), given
            ))  # fmt: skip
        if self.attention in names:
            return True
        require(
            tf.reduce_all(self.beta == 0),
            f"the coverage penalty needs {self.attention!r} among the states that the step "
            "returns: its attention, [rows, source]",
        )
        return False

    def advance(self, loop: Loop) -> Loop:
        """The variables after one more position."""
        alive = loop["sums"] > -np.inf
        values, changed = call_step(self.step, loop["ids"], loop["states"], extra=self.extra)
        values = check_log_probabilities(values, tf.size(alive), self.end, tf.reshape(alive, [-1]))
        coverage = self._covered(loop, changed, alive)
        if self.extra:
            changed.pop(self.extra, None)
        position = loop["position"] + 1
        sums, parents, tokens = self._continuations(loop["sums"], values)
        ends = tokens == self.end
        # Only the best `beam` can end; of the others the best `beam` stay open.
        finishes = ends & (tf.range(tf.shape(sums)[1]) < self.beam)
        stays = ~ends & (tf.cumsum(tf.cast(~ends, tf.int32), axis=1) <= self.beam)
        limits = tf.gather(self.limits, loop["rows"])
        at_limit = (limits == position)[:, None]
        written = tf.gather(loop["written"], parents, batch_dims=1)
        written = tf.concat([written, tf.where(ends, 0, tokens)[:, :, None]], 2)
        normalised = self._normalised(loop, sums, parents, position, coverage)
        normalised = tf.where(finishes | (stays & at_limit), normalised, -np.inf)
        lengths = position - tf.cast(ends, tf.int32)
        found = (tf.cast(normalised, tf.float32), sums, lengths, written)
        best = self._kept_best(loop, found)

        order = tf.argsort(tf.cast(~stays, tf.int32), axis=1, stable=True)[:, : self.beam]
        sums = tf.gather(tf.where(stays, sums, -np.inf), order, batch_dims=1)
        # Scores only fall, so this is the best that an open hypothesis can still reach.
        bound = tf.reduce_max(sums, 1) / self._length_penalty(loop, limits)
        worst = tf.gather(best[0], loop["rows"])[:, -1]
        still = tf.where((limits > position) & (tf.cast(bound, tf.float32) > worst))[:, 0]
        parents = tf.gather(tf.gather(parents, order, batch_dims=1), still)
        sums = tf.gather(sums, still)
        return {
            "position": position,
            "rows": tf.gather(loop["rows"], still),
            "ids": tf.reshape(tf.gather(tf.gather(tokens, order, batch_dims=1), still), [-1]),
            "sums": sums,
            "written": tf.gather(tf.gather(written, order, batch_dims=1), still),
            **self._moved(loop, changed, coverage, still, parents),
            **dict(zip(("normalised", "scores", "lengths", "best"), best, strict=True)),
        }

    def _moved(
        self, loop: Loop, changed: States, coverage: tf.Tensor | None, still: tf.Tensor,
        parents: tf.Tensor,
    ) -> Loop:  # fmt: skip
        """States and coverage of the hypotheses that go on, by the rows that are open still and
        the hypotheses ``<int>[open, width]`` that they continue."""
        before, width = tf.shape(loop["sums"]), tf.shape(parents)[1]
        first = tf.cast(still, tf.int32)[:, None] * before[1]
        source = tf.reshape(first + parents, [-1])
        own = tf.reshape(tf.tile(first, [1, width]), [-1])
        same = (tf.shape(still)[0] == before[0]) & (width == before[1])
        states = {}
        for name, state in loop["states"].items():
            if name in changed:
                states[name] = tf.gather(changed[name], source)
            else:  # all hypotheses of a row have the same
                states[name] = tf.cond(
                    same, lambda state=state: state, lambda state=state: tf.gather(state, own)
                )
        found = {"states": states}
        return found if coverage is None else {**found, "coverage": tf.gather(coverage, source)}

    def _continuations(
        self, sums: tf.Tensor, values: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The best ``2 * beam``: sums, hypotheses continued and ids, each ``[rows, 2 * beam]``."""
        width = tf.minimum(2 * self.beam, tf.shape(values)[1])
        chosen, tokens = tf.math.top_k(values, width)  # of equal ones the lower id comes first
        count = tf.shape(sums)[1] * width
        shape = [tf.shape(sums)[0], count]
        every = tf.reshape(tf.reshape(sums, [-1, 1]) + tf.cast(chosen, tf.float64), shape)
        best, order = tf.math.top_k(every, tf.minimum(2 * self.beam, count))
        return best, order // width, tf.gather(tf.reshape(tokens, shape), order, batch_dims=1)

    def _length_penalty(self, loop: Loop, length: Any) -> tf.Tensor:
        return ((5.0 + tf.cast(length, tf.float64)) / 6.0) ** tf.gather(self.alpha, loop["rows"])

    def _normalised(
        self,
        loop: Loop,
        sums: tf.Tensor,
        parents: tf.Tensor,
        position: tf.Tensor,
        coverage: tf.Tensor | None,
    ) -> tf.Tensor:
        result = sums / self._length_penalty(loop, position)[:, None]
        if coverage is None:
            return result
        covered = tf.math.log(tf.clip_by_value(coverage, TINY, 1.0))
        if self.source_mask is not None:
            mask = loop["states"][self.source_mask]
            covered = tf.where(tf.cast(mask, tf.bool), covered, 0.0)
        term = tf.reshape(tf.reduce_sum(covered, 1), tf.shape(loop["sums"]))
        beta = tf.gather(self.beta, loop["rows"])[:, None]
        return result + beta * tf.gather(term, parents, batch_dims=1)

    def _kept_best(self, loop: Loop, found: tuple[tf.Tensor, ...]) -> list[tf.Tensor]:
        """Those of all rows, of the open ones with what is finished now."""
        every, rows = [loop["normalised"], loop["scores"], loop["lengths"]], loop["rows"]
        every.append(tf.pad(loop["best"], [[0, 0], [0, 0], [0, 1]]))
        kept = [tf.gather(array, rows) for array in every]
        joined = [tf.concat(pair, 1) for pair in zip(kept, found, strict=True)]
        order = tf.argsort(joined[0], 1, "DESCENDING", stable=True)[:, : self.n_best]
        return [
            tf.tensor_scatter_nd_update(array, rows[:, None], tf.gather(one, order, batch_dims=1))
            for array, one in zip(every, joined, strict=True)
        ]

    def _covered(self, loop: Loop, changed: States, alive: tf.Tensor) -> tf.Tensor | None:
        if "coverage" not in loop:
            return None
        weights = tf.cast(tf.cast(changed[self.attention], tf.float32), tf.float64)
        alive = tf.reshape(alive, [-1, 1])
        require(
            tf.reduce_all((weights >= 0) | ~alive),
            "an attention weight is negative or NaN; attention is 0 or greater",
        )
        return loop["coverage"] + tf.where(alive, weights, 0.0)
