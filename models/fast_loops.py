"""Loops over time for the training of recurrent layers on a CPU.

Keras steps through time with some thirty small operations a step, and as many for the gradients.
Here the input's part is a product over many steps, and a run of steps is one compiled loop (XLA).
The backward pass is written by hand: it goes through the steps once, and the gradients of the
weights are products over many steps. What is compiled depends on units and rows, and on the length
of sequences only where that is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import tensorflow as tf

from common.errors import SeqloomError
from models.fast_steps import column_sums

# Most steps of one compiled loop: what they keep has to stay in a processor's own cache.
STEPS = 16
_BEFORE, _AFTER = slice(None, -1), slice(1, None)
plain = tf.autograph.experimental.do_not_convert


class SecondDerivativeError(SeqloomError, LookupError):
    """A derivative of a derivative, which the loops here do not have."""


def run_loop(
    steps: Any,
    x: tf.Tensor,
    mask: tf.Tensor | None,
    weights: tuple[tf.Tensor, tf.Tensor, Sequence[tf.Tensor]],
    states: Sequence[tf.Tensor],
    refusal: str,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Runs a layer over its input.

    Args:
        steps: one of ``models.fast_steps``.
        x: ``<float32>[time, rows, features]``, in the order in which it is read.
        mask: ``<bool>[time, rows]``; states stay as they are where it is False.
        weights: as ``steps.prepared`` gives them.
        states: before the first step, ``<float32>[rows, units]`` each.
        refusal: what to say of second derivatives.

    Returns:
        The first state after each step, ``<float32>[time, rows, units]``, and all states at the
        end.
    """
    rows = tf.shape(x)[1]
    more = _rounded(rows) - rows
    x = tf.pad(x, [[0, 0], [0, more], [0, 0]])
    states = [tf.pad(one, [[0, more], [0, 0]]) for one in states]
    mask = None if mask is None else tf.pad(mask, [[0, 0], [0, more]])
    kernel, bias, recurrent = weights
    ys, *last = _differentiable(steps, mask, refusal, len(recurrent))(
        x, kernel, bias, *recurrent, *states
    )
    return ys[:, :rows], [one[:rows] for one in last]


def _rounded(rows: tf.Tensor) -> tf.Tensor:
    """Rows of what is compiled: few sizes, so that the last batches of buckets share them."""
    step = tf.where(rows <= 32, 8, tf.where(rows <= 128, 16, 32))
    return tf.where(rows <= 2, rows, -(-rows // step) * step)


def _differentiable(steps: Any, mask: tf.Tensor | None, refusal: str, count: int) -> Callable:
    """The loop as a function of tensors: input, kernel, bias, recurrent weights, states."""

    @tf.custom_gradient
    @plain
    def loop(x, kernel, bias, *others):
        recurrent, states = list(others[:count]), list(others[count:])
        forward = _Forward(steps, x, mask, kernel, bias, recurrent)
        ys, last = forward.run(states)

        @plain
        def grad(*upstream):
            return _once(refusal, forward.backward)(*upstream, x, kernel, *recurrent)

        return (ys, *last), grad

    return loop


def _once(refusal: str, function: Callable) -> Callable:
    """The function, whose derivative is refused rather than wrong: it reads what was kept."""

    @tf.custom_gradient
    def refusing(*given):
        def refuse(*_):
            raise SecondDerivativeError(refusal)

        return function(*given), refuse

    return refusing


class _Forward:
    """A loop that ran, and what its backward pass needs."""

    def __init__(self, steps, x, mask, kernel, bias, recurrent) -> None:
        self.steps, self.x, self.mask = steps, x, mask
        self.kernel, self.bias, self.recurrent = kernel, bias, recurrent
        self.time, self.rows = tf.shape(x)[0], tf.shape(x)[1]
        self.size = _run_size(x.shape[0])
        # A sequence without steps has one run without steps.
        self.runs = tf.maximum(-(-self.time // self.size), 1)

    def run(self, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The first state after each step, and all states at the end."""
        compiled = _compiled_forward(self.steps, self.size)
        first = tf.TensorArray(
            tf.float32, self.runs, infer_shape=False, element_shape=[None, None, self.steps.units]
        )
        units = self.steps.units
        shapes = [[self.size + 1, None, units]] * self.steps.states
        shapes += [[self.size, None, width * units] for width in self.steps.kept]
        kept = [tf.TensorArray(tf.float32, self.runs, element_shape=one) for one in shapes]

        @plain
        def body(i, first, kept, states):
            at = self._steps_of(i)
            part = _flat(self.x[at])
            part = tf.nn.bias_add(tf.matmul(part, self.kernel), self.bias)
            part = tf.reshape(part, [-1, self.rows, self.kernel.shape[1]])
            count = tf.shape(part)[0]
            found = compiled(self._whole(part), self._mask(at), count, states, self.recurrent)
            after = _like([one[count] for one in found[: self.steps.states]], states)
            return i + 1, first.write(i, found[0][1 : count + 1]), _writes(kept, i, found), after

        _, first, self.kept, last = tf.while_loop(
            lambda i, *_: i < self.runs, body, (0, first, kept, states),
            maximum_iterations=self.runs,
        )  # fmt: skip
        return first.concat(), last

    def backward(self, by_ys: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Gradients by input, kernel, bias, recurrent weights and states.

        Args:
            by_ys: gradient by the first state after each step.
            others: gradients by the last states; the rest is named by ``_once`` alone.
        """
        grads = list(others[: self.steps.states])
        compiled = _compiled_backward(self.steps, self.size)
        by_x = tf.TensorArray(
            tf.float32, self.runs, infer_shape=False, element_shape=[None, None, self.x.shape[2]]
        )
        turned = [tf.transpose(one) for one in self.recurrent if one.shape.rank == 2]
        sums = [tf.zeros_like(one) for one in (self.kernel, self.bias, *self.recurrent)]

        @plain
        def body(i, by_x, sums, grads):
            at = self._steps_of(i)
            x, d = self.x[at], by_ys[at]
            count = tf.shape(x)[0]
            kept = [array.read(i) for array in self.kept]
            new, found = compiled(self._whole(d), self._mask(at), count, grads, kept, turned)
            grads = _like(new, grads)
            found = [_flat(one) for one in found]
            part = found[0][: count * self.rows]
            of_x = tf.matmul(part, self.kernel, transpose_b=True)
            by_x = by_x.write(i, tf.reshape(of_x, tf.shape(x)))
            more = [
                tf.matmul(_flat(x), part, transpose_a=True),
                column_sums(part),
                *self.steps.gradients(
                    [_flat(one[: self.size]) for one in kept[: self.steps.states]],
                    [_flat(one) for one in kept[self.steps.states :]],
                    found,
                ),
            ]
            return i - 1, by_x, [a + b for a, b in zip(sums, more, strict=True)], grads

        _, by_x, sums, grads = tf.while_loop(
            lambda i, *_: i >= 0, body, (self.runs - 1, by_x, sums, grads),
            maximum_iterations=self.runs,
        )  # fmt: skip
        return by_x.concat(), *sums, *grads

    def _steps_of(self, i: tf.Tensor) -> slice:
        return slice(i * self.size, tf.minimum((i + 1) * self.size, self.time))

    def _mask(self, at: slice) -> list[tf.Tensor]:
        return [] if self.mask is None else [self._whole(self.mask[at])]

    def _whole(self, x: tf.Tensor) -> tf.Tensor:
        """A run of the full number of steps; a copy for the last run alone."""
        if x.shape[0] == self.size:
            return x
        after = [[0, self.size - tf.shape(x)[0]]] + [[0, 0]] * (x.shape.rank - 1)
        return tf.ensure_shape(tf.pad(x, after), [self.size, *x.shape[1:]])


def _run_size(time: int | None) -> int:
    """Steps of a run: of a known length runs are equal, so that little or nothing is filled up."""
    return STEPS if not time else -(-time // -(-time // STEPS))


def _flat(x: tf.Tensor) -> tf.Tensor:
    """``[time, rows, width]`` as ``[time * rows, width]``."""
    return tf.reshape(x, [-1, x.shape[-1] if x.shape[-1] is not None else tf.shape(x)[-1]])


def _writes(arrays: list, i: tf.Tensor, values: list) -> list:
    return [array.write(i, one) for array, one in zip(arrays, values, strict=True)]


def _arrays(steps: Any, widths: Sequence[int], size: int) -> list[tf.TensorArray]:
    shapes = [[None, width * steps.units] for width in widths]
    return [tf.TensorArray(tf.float32, size, element_shape=one) for one in shapes]


def _like(values: list, others: list) -> list:
    """The values, with what is known of the others' shapes, as a loop wants it."""
    return [tf.ensure_shape(a, b.shape) for a, b in zip(values, others, strict=True)]


@cache
def _compiled_forward(steps: Any, size: int = STEPS) -> Callable:
    """``size`` steps, of which ``count`` are taken; the others' values are noughts.

    It gives the states before each step and after the last one taken, and what each step keeps. A
    step writes the states that it found: XLA's code is slower where a state is computed in place.
    """

    @tf.function(jit_compile=True, autograph=False)
    def forward(x, mask, count, states, weights):
        def body(i, past, kept, states):
            after, found = steps.forward(x[i], states, weights)
            if mask:
                there = mask[0][i][:, None]
                after = [tf.where(there, *pair) for pair in zip(after, states, strict=True)]
            return i + 1, _writes(past, i, states), _writes(kept, i, found), _like(after, states)

        past, kept = _arrays(steps, [1] * steps.states, size + 1), _arrays(steps, steps.kept, size)
        _, past, kept, states = tf.while_loop(
            lambda i, *_: i < count, body, (0, past, kept, states), maximum_iterations=size
        )
        return [array.stack() for array in (*_writes(past, count, states), *kept)]

    return forward


@cache
def _compiled_backward(steps: Any, size: int = STEPS) -> Callable:
    """The same steps backwards: gradients by the states before them, and by parts of each step.

    ``turned`` are the weights, transposed; what does not depend on gradients is computed for all
    steps at once, which takes two thirds of the time that it takes step by step.
    """

    @tf.function(jit_compile=True, autograph=False)
    def backward(by_ys, mask, count, grads, kept, turned):
        before, after = ([one[at] for one in kept[: steps.states]] for at in (_BEFORE, _AFTER))
        factors = steps.factors(before, after, kept[steps.states :])

        def body(i, found, first):
            grads = [first[0] + by_ys[i], *first[1:]]
            if mask:
                there = mask[0][i][:, None]
                past = [tf.where(there, 0.0, one) for one in grads]
                grads = [tf.where(there, one, 0.0) for one in grads]
            grads, parts = steps.backward(grads, [one[i] for one in factors], turned)
            if mask:
                grads = [a + b for a, b in zip(grads, past, strict=True)]
            return i - 1, _writes(found, i, parts), _like(grads, first)

        _, found, grads = tf.while_loop(
            lambda i, *_: i >= 0, body, (count - 1, _arrays(steps, steps.parts, size), grads),
            maximum_iterations=size,
        )  # fmt: skip
        return grads, [array.stack() for array in found]

    return backward
