"""One step of SimpleRNN, LSTM and GRU and its backward pass, for the loops of `models.fast_loops`.

``forward`` takes the input's part of a step, the states and the weights of the steps, and gives the
states after it and what else its backward pass needs. ``factors`` takes the states before and after
and what was kept, of many steps at once, and gives what the gradients of a step are multiplied
with. ``backward`` takes the gradients by the states after a step, its factors and the weights,
transposed; it gives the gradients by the states before it, and that by the input's part; where the
product with the recurrent weights has other gradients, these follow. ``gradients`` are those by the
weights of the steps, from the rows of many steps. Arrays are ``<float32>[rows, width]``, in
``factors`` ``[steps, rows, width]``; ``kept`` and ``parts`` have the widths of what ``forward``
keeps and of what ``backward`` finds, in units.

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


def _side_by_side(gates: list[tf.Tensor]) -> tf.Tensor:
    """Along the last axis; XLA's concat of many steps takes twice as long."""
    steps, _, units = gates[0].shape
    return tf.reshape(tf.stack(gates, 2), [steps, -1, len(gates) * units])


def column_sums(x: tf.Tensor) -> tf.Tensor:
    """``<float32>[width]`` of ``[rows, width]``; a product, which TensorFlow is quicker at."""
    return tf.matmul(tf.ones([1, tf.shape(x)[0]]), x)[0]


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

    def factors(self, before, after, kept):
        """See the module."""
        return [ACTIVATIONS[self.activation][1](after[0])]

    def backward(self, grads, factors, weights):
        """See the module."""
        a = grads[0] * factors[0]
        return [tf.matmul(a, weights[0])], [a]

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

    def factors(self, before, after, kept):
        """See the module."""
        (_, c), (half,) = before, kept
        i, f, g, o = tf.split(half, 4, -1)
        squashed = tf.tanh(after[1])
        of_gates = [
            0.5 * g * (1 - i * i),
            0.5 * c * (1 - f * f),
            _gate(i) * (1 - g * g),
            0.5 * squashed * (1 - o * o),
        ]
        return [_side_by_side(of_gates), _gate(o) * (1 - squashed * squashed), _gate(f)]

    def backward(self, grads, factors, weights):
        """See the module."""
        of_gates, of_squashed, forget = factors
        d = grads[1] + grads[0] * of_squashed
        a = tf.concat([d, d, d, grads[0]], -1) * of_gates
        return [tf.matmul(a, weights[0]), d * forget], [a]

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

    def factors(self, before, after, kept):
        """See the module."""
        (h,), (half, new, h_new) = before, kept
        z, r = tf.split(half, 2, -1)
        of_new = (1 - _gate(z)) * (1 - new * new)
        of_gates = [0.5 * (h - new) * (1 - z * z), 0.5 * of_new * h_new * (1 - r * r)]
        of_part, of_product = (
            _side_by_side([*of_gates, one]) for one in (of_new, of_new * _gate(r))
        )
        return [of_part, of_product, _gate(z)]

    def backward(self, grads, factors, weights):
        """See the module."""
        (d,), (of_part, of_product, z) = grads, factors
        thrice = tf.concat([d, d, d], -1)
        by_product = thrice * of_product
        return [d * z + tf.matmul(by_product, weights[0])], [thrice * of_part, by_product]

    def gradients(self, before, kept, found):
        """See the module."""
        by_bias = column_sums(found[1])[2 * self.units :]
        return [tf.matmul(before[0], found[1], transpose_a=True), by_bias]


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

    def factors(self, before, after, kept):
        """See the module."""
        (h,), (half, new, _) = before, kept
        z, r = tf.split(half, 2, -1)
        of_new = (1 - _gate(z)) * (1 - new * new)
        update, reset = 0.5 * (h - new) * (1 - z * z), 0.5 * h * (1 - r * r)
        return [of_new, update, reset, _gate(z), _gate(r)]

    def backward(self, grads, factors, weights):
        """See the module."""
        (d,), (of_new, update, reset, z, r), (outer, inner) = grads, factors, weights
        n = d * of_new
        by_reset = tf.matmul(n, inner)
        gates = tf.concat([d * update, by_reset * reset], -1)
        by_h = d * z + by_reset * r + tf.matmul(gates, outer)
        return [by_h], [tf.concat([gates, n], -1)]

    def gradients(self, before, kept, found):
        """See the module."""
        gates, n = tf.split(found[0], [2 * self.units, self.units], -1)
        return [
            tf.matmul(before[0], gates, transpose_a=True),
            tf.matmul(kept[2], n, transpose_a=True),
        ]
