"""One step of SimpleRNN, LSTM and GRU and its backward pass, for the loops of `models.fast_loops`.

``forward`` takes the input's part of a step, the states and the weights of the steps, and gives the
states after it and what else its backward pass needs. ``backward`` takes the gradients by the
states after a step, the states before and after it and what was kept; it gives the gradients by the
states before it, and that by the input's part; where the product with the recurrent weights has
other gradients, these follow. ``gradients`` are those by the weights of the steps, from the rows of
many steps at once. All are ``<float32>[rows, width]``; ``kept`` and ``parts`` have the widths of
what ``forward`` keeps and of what ``backward`` finds, in units.

A gate is ``(1 + tanh(x / 2)) / 2``, which is its sigmoid: the half goes into the weights, and one
tanh serves all gates.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

ACTIVATIONS = {
    "tanh": (tf.tanh, lambda y: 1 - y * y),
    "relu": (tf.nn.relu, lambda y: tf.cast(y > 0, y.dtype)),
    "sigmoid": (tf.sigmoid, lambda y: y * (1 - y)),
    "linear": (tf.identity, tf.ones_like),
}  # with the derivative, from the value


def _gate(half: tf.Tensor) -> tf.Tensor:
    return 0.5 + 0.5 * half


def _halved(weights: tf.Tensor, units: int, gates: str) -> tf.Tensor:
    """Columns of gates, marked s, halved; those of candidates, marked t, as they are."""
    return weights * tf.repeat(tf.constant([0.5 if gate == "s" else 1.0 for gate in gates]), units)


@dataclass(frozen=True)
class SimpleSteps:
    """Elman 1990: ``h = activation(x + h R)``.

    Attributes:
        units: width of a state.
        activation: one of ``ACTIVATIONS``.
    """

    units: int
    activation: str = "tanh"
    states, kept, parts = 1, (), (1,)

    def prepared(self, kernel, recurrent, bias) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Weights and bias of the input's part, and the weights of the steps."""
        return kernel, bias, [recurrent]

    def forward(self, x, states, weights):
        """See the module."""
        h = ACTIVATIONS[self.activation][0](x + tf.matmul(states[0], weights[0]))
        return [h], []

    def backward(self, grads, before, after, kept, weights):
        """See the module."""
        a = grads[0] * ACTIVATIONS[self.activation][1](after[0])
        return [tf.matmul(a, weights[0], transpose_b=True)], [a]

    def gradients(self, before, kept, found):
        """See the module."""
        return [tf.matmul(before[0], found[0], transpose_a=True)]


@dataclass(frozen=True)
class LongShortSteps:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000."""

    units: int
    states, kept, parts = 2, (4,), (4,)

    def prepared(self, kernel, recurrent, bias):
        """See ``SimpleSteps``."""
        kernel, recurrent, bias = (
            _halved(one, self.units, "ssts") for one in (kernel, recurrent, bias)
        )
        return kernel, bias, [recurrent]

    def forward(self, x, states, weights):
        """See the module."""
        h, c = states
        half = tf.tanh(x + tf.matmul(h, weights[0]))
        i, f, g, o = tf.split(half, 4, -1)
        after = _gate(f) * c + _gate(i) * g
        return [_gate(o) * tf.tanh(after), after], [half]

    def backward(self, grads, before, after, kept, weights):
        """See the module."""
        (_, c), (half,) = before, kept
        i, f, g, o = tf.split(half, 4, -1)
        i, f, o = _gate(i), _gate(f), _gate(o)
        squashed = tf.tanh(after[1])
        d = grads[1] + grads[0] * o * (1 - squashed * squashed)
        by_gates = tf.concat([0.5 * d * g, 0.5 * d * c, d * i, 0.5 * grads[0] * squashed], -1)
        a = by_gates * (1 - half * half)
        return [tf.matmul(a, weights[0], transpose_b=True), d * f], [a]

    def gradients(self, before, kept, found):
        """See the module."""
        return [tf.matmul(before[0], found[0], transpose_a=True)]


@dataclass(frozen=True)
class GatedSteps:
    """Cho et al. 2014 with the reset gate behind the recurrent product, as cuDNN has it."""

    units: int
    states, kept, parts = 1, (2, 1, 1), (3, 3)

    def prepared(self, kernel, recurrent, bias):
        """See ``SimpleSteps``."""
        kernel, recurrent, bias = (
            _halved(one, self.units, "sst") for one in (kernel, recurrent, bias)
        )
        # The bias of the candidate's product is inside of that with the reset gate.
        inside = bias[1] * tf.repeat(tf.constant([1.0, 1.0, 0.0]), self.units)
        return kernel, bias[0] + inside, [recurrent, bias[1, 2 * self.units :]]

    def forward(self, x, states, weights):
        """See the module."""
        (h,), (recurrent, bias) = states, weights
        sizes = [2 * self.units, self.units]
        x_gates, x_new = tf.split(x, sizes, -1)
        h_gates, h_new = tf.split(tf.matmul(h, recurrent), sizes, -1)
        half, h_new = tf.tanh(x_gates + h_gates), h_new + bias
        z, r = (_gate(one) for one in tf.split(half, 2, -1))
        new = tf.tanh(x_new + r * h_new)
        return [new + z * (h - new)], [half, new, h_new]

    def backward(self, grads, before, after, kept, weights):
        """See the module."""
        (d,), (h,), (half, new, h_new) = grads, before, kept
        z, r = (_gate(one) for one in tf.split(half, 2, -1))
        n = d * (1 - z) * (1 - new * new)
        gates = tf.concat([0.5 * d * (h - new), 0.5 * n * h_new], -1) * (1 - half * half)
        by_product = tf.concat([gates, n * r], -1)
        by_h = d * z + tf.matmul(by_product, weights[0], transpose_b=True)
        return [by_h], [tf.concat([gates, n], -1), by_product]

    def gradients(self, before, kept, found):
        """See the module."""
        by_product = found[1]
        by_bias = tf.reduce_sum(by_product[:, 2 * self.units :], 0)
        return [tf.matmul(before[0], by_product, transpose_a=True), by_bias]


@dataclass(frozen=True)
class ResetBeforeSteps:
    """Cho et al. 2014 as it was written: the reset gate is before the recurrent product."""

    units: int
    states, kept, parts = 1, (2, 1, 1), (3,)

    def prepared(self, kernel, recurrent, bias):
        """See ``SimpleSteps``."""
        kernel, recurrent, bias = (
            _halved(one, self.units, "sst") for one in (kernel, recurrent, bias)
        )
        return kernel, bias, tf.split(recurrent, [2 * self.units, self.units], -1)

    def forward(self, x, states, weights):
        """See the module."""
        (h,), (outer, inner) = states, weights
        x_gates, x_new = tf.split(x, [2 * self.units, self.units], -1)
        half = tf.tanh(x_gates + tf.matmul(h, outer))
        z, r = (_gate(one) for one in tf.split(half, 2, -1))
        reset = r * h
        new = tf.tanh(x_new + tf.matmul(reset, inner))
        return [new + z * (h - new)], [half, new, reset]

    def backward(self, grads, before, after, kept, weights):
        """See the module."""
        (d,), (h,), (half, new, _), (outer, inner) = grads, before, kept, weights
        z, r = (_gate(one) for one in tf.split(half, 2, -1))
        n = d * (1 - z) * (1 - new * new)
        by_reset = tf.matmul(n, inner, transpose_b=True)
        gates = tf.concat([0.5 * d * (h - new), 0.5 * by_reset * h], -1) * (1 - half * half)
        by_h = d * z + by_reset * r + tf.matmul(gates, outer, transpose_b=True)
        return [by_h], [tf.concat([gates, n], -1)]

    def gradients(self, before, kept, found):
        """See the module."""
        gates, n = tf.split(found[0], [2 * self.units, self.units], -1)
        return [
            tf.matmul(before[0], gates, transpose_a=True),
            tf.matmul(kept[2], n, transpose_a=True),
        ]
