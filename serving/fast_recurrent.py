"""Recurrent layers as TensorFlow graphs that are quick on a CPU, for the exported SavedModel.

Keras steps through time with some thirty small operations a step. Here the input projection is one
product over all steps, the loop takes several steps at a time, and masks are applied outside of it;
LSTMs use TensorFlow's fused kernel where batch and weights are small. All of it is core TensorFlow,
as TF Serving has it, and for inference only: the gradient that TensorFlow registers for
``BlockLSTMV2`` is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from models.recurrent import cloned_without_cudnn

CELLS = (layers.SimpleRNN, layers.LSTM, layers.GRU)
# Steps in one iteration of the loop: its overhead is that of several operations.
STEPS_AT_ONCE = 8
# The fused kernel beats the loop until TensorFlow shares its products among threads, which doubles
# their cost: from so many multiply-adds a step, sooner with large weights. Found by timing 32 to
# 256 units, 32 to 512 features and 1 to 256 rows, with some margin.
FUSED_PRODUCT = 400_000
SMALL_WEIGHTS, FUSED_PRODUCT_OF_SMALL = 50_000, 1_300_000
# A GRU's step is one product of few units, for the number of operations counts. Of more it is two,
# which run side by side where a core is free: one would be slower than Keras's there, at batch 32.
# Of many it is one again: that product has work for every core, and its weights, to be two, would
# be copied in every call.
FEW_UNITS, MANY_UNITS = 128, 512


def fast_copy(model: keras.Model) -> keras.Model:
    """A float32 copy of a Functional model whose recurrent layers are quick at inference.

    Models inside of it are treated alike. Layers that are none of SimpleRNN, LSTM and GRU, alone or
    in Bidirectional, and those that are stateful or unrolled, stay as Keras has them.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        copy = cloned_without_cudnn(layer)
        return FastRecurrent(copy) if _is_known(copy) else copy

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _is_known(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, layers.Bidirectional):
        inner = (layer.forward_layer, layer.backward_layer)
        return all(map(_is_known, inner)) and not inner[0].go_backwards
    return type(layer) in CELLS and not (layer.stateful or layer.unroll)


class FastRecurrent(layers.Layer):
    """Stands for a recurrent layer, whose weights it owns; called like it.

    Args:
        layer: SimpleRNN, LSTM, GRU, or Bidirectional of one of them.
    """

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(name=layer.name, dtype="float32")
        self.layer = layer
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes the inner layer's weights."""
        if not self.layer.built:
            self.layer.build(input_shape)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The inner layer's, which spares tracing the loops."""
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The inner layer's."""
        return self.layer.compute_mask(inputs, mask)

    def call(self, sequences, initial_state=None, mask=None, training=False):
        """``<float32>[batch, time, features]`` to what the inner layer gives."""
        both = isinstance(self.layer, layers.Bidirectional)
        inner = [self.layer.forward_layer, self.layer.backward_layer] if both else [self.layer]
        initial = tf.nest.flatten(initial_state) if initial_state is not None else []
        x = tf.transpose(sequences, [1, 0, 2])  # (T, B, E)
        pad = _Padding(x, mask)
        xs = [pad.read(x, layer.go_backwards) for layer in inner]
        states = _split(initial, inner) or [_zeros(layer, x) for layer in inner]
        results = []
        for layer, x, begun in zip(inner, xs, states, strict=True):
            outputs, *ends = _run(layer, x, begun)
            last = [pad.last(end, start) for end, start in zip(ends, begun, strict=False)]
            output = self._output(layer, outputs, last, pad, bool(initial))
            results.append((output, last))
        return self._merged(results) if both else _flat(layer, *results[0])

    def _output(self, layer, outputs, last, pad, started) -> tf.Tensor:
        """What Keras gives for one direction, batch-major; backwards in the order of reading."""
        backwards, zero = layer.go_backwards, layer.zero_output_for_mask
        if layer.return_sequences:
            both = isinstance(self.layer, layers.Bidirectional)
            return tf.transpose(pad.placed(outputs, backwards, zero, both), [1, 0, 2])
        if pad.mask is not None and zero:  # of the step that is read last
            end = pad.given[0 if backwards else -1]
            return tf.where(end, last[0], tf.zeros_like(last[0]))
        # Keras has no output for an empty row, whatever its state.
        return pad.last(outputs, tf.zeros_like(last[0])) if started else last[0]

    def _merged(self, results: list) -> Any:
        (first, states), (second, more) = results
        match self.layer.merge_mode:
            case "concat":
                merged = (tf.concat([first, second], -1),)
            case "sum":
                merged = (first + second,)
            case "mul":
                merged = (first * second,)
            case "ave":
                merged = ((first + second) / 2,)
            case _:
                merged = (first, second)
        if self.layer.return_state:
            merged = (*merged, *states, *more)
        return merged[0] if len(merged) == 1 else merged


def _flat(layer: keras.layers.Layer, output: tf.Tensor, states: list[tf.Tensor]) -> Any:
    return (output, *states) if layer.return_state else output


def _split(initial: list, inner: list) -> list[list] | None:
    size = len(initial) // len(inner)
    return [initial[i * size : (i + 1) * size] for i in range(len(inner))] if initial else None


def _zeros(layer: keras.layers.Layer, x: tf.Tensor) -> list[tf.Tensor]:
    zeros = tf.zeros([tf.shape(x)[1], layer.units])
    return [zeros, zeros] if isinstance(layer, layers.LSTM) else [zeros]


class _Padding:
    """A mask, and where rows end once their valid steps are in front; ``x`` is time-major."""

    def __init__(self, x: tf.Tensor, mask: tf.Tensor | None) -> None:
        self.mask = mask
        if mask is not None:
            self.lengths = tf.reduce_sum(tf.cast(mask, tf.int32), 1)
            in_front = tf.sequence_mask(self.lengths, tf.shape(mask)[1])
            # Of most batches; the others are brought into that form, and back.
            self.right_padded = tf.reduce_all(tf.equal(mask, in_front))
            self.given = tf.transpose(mask)[:, :, None]
            self.rows = tf.range(tf.shape(self.lengths)[0])
            self.index = tf.stack([tf.maximum(self.lengths - 1, 0), self.rows], 1)
            self.filled = (self.lengths > 0)[:, None]

    def read(self, x: tf.Tensor, backwards: bool) -> tf.Tensor:
        """Valid steps in front, in the order in which they are read."""
        if self.mask is None:
            return tf.reverse(x, [0]) if backwards else x

        def gathered() -> tf.Tensor:
            mask = self._in_reading_order(backwards)
            order = tf.argsort(tf.cast(~mask, tf.int32), 1, stable=True)
            return tf.gather_nd(tf.reverse(x, [0]) if backwards else x, self._with_rows(order))

        found = tf.cond(self.right_padded, lambda: self._turned(x) if backwards else x, gathered)
        return tf.ensure_shape(found, x.shape)

    def placed(self, outputs: tf.Tensor, backwards: bool, zero: bool, both: bool) -> tf.Tensor:
        """Outputs of what ``read`` gave, as Keras has them at every step.

        Args:
            outputs: ``[time, batch, units]``.
            backwards: whether it was read backwards.
            zero: noughts at masked steps, else the output before them.
            both: in the row's own order though it was read backwards.
        """
        if self.mask is None:
            return tf.reverse(outputs, [0]) if backwards and both else outputs

        def of_right_padded() -> tf.Tensor:
            # Read backwards, padding comes first, where no output is before it.
            ended = self._ended(outputs, not (zero or backwards or both))
            if not backwards:
                return ended
            return self._turned(ended) if both else tf.reverse(self._turned(ended), [0])

        def of_any() -> tf.Tensor:
            mask = self._in_reading_order(backwards)
            places = tf.cumsum(tf.cast(mask, tf.int32), 1) - 1
            kept = tf.transpose(mask if zero else places >= 0)[:, :, None]
            found = tf.gather_nd(outputs, self._with_rows(tf.maximum(places, 0)))
            found = tf.where(kept, found, tf.zeros_like(found))
            return tf.reverse(found, [0]) if backwards and both else found

        found = tf.cond(self.right_padded, of_right_padded, of_any)
        return tf.ensure_shape(found, outputs.shape)

    def last(self, values: tf.Tensor, otherwise: tf.Tensor) -> tf.Tensor:
        """``[time, batch, units]`` at the last valid step; an empty row gets the other."""
        if self.mask is None:
            return values[-1]
        return tf.where(self.filled, tf.gather_nd(values, self.index), otherwise)

    def _in_reading_order(self, backwards: bool) -> tf.Tensor:
        return tf.reverse(self.mask, [1]) if backwards else self.mask

    def _with_rows(self, steps: tf.Tensor) -> tf.Tensor:
        """``<int32>[batch, time]`` as ``[time, batch, 2]``, each with the number of its row."""
        turned = tf.transpose(steps)
        return tf.stack([turned, tf.broadcast_to(self.rows, tf.shape(turned))], 2)

    def _turned(self, x: tf.Tensor) -> tf.Tensor:
        """The valid steps, in front, turned around."""
        return tf.reverse_sequence(x, self.lengths, seq_axis=0, batch_axis=1)

    def _ended(self, outputs: tf.Tensor, repeat: bool) -> tf.Tensor:
        """Noughts, or the last output, past the end of each row."""
        zeros = tf.zeros_like(outputs[0])
        past = self.last(outputs, zeros) if repeat else zeros
        return tf.where(self.given, outputs, past[None])


def _run(layer: Any, x: tf.Tensor, states: list) -> tuple[tf.Tensor, ...]:
    """One direction over its input: outputs and states after every step, all time-major.

    Of an LSTM's two states the second is left out where the layer does not return it.
    """
    rows = _fusible_rows(layer, x.shape[-1])
    if not rows:
        return _looped(layer, x, states)
    return tf.cond(
        tf.shape(x)[1] <= rows,
        lambda: _fused_lstm(layer, x, states),
        lambda: _looped(layer, x, states),
    )


def _fusible_rows(layer: Any, features: int) -> int:
    """The largest batch for which the fused kernel is quicker than the loop; 0 where it is not."""
    fusible = (
        isinstance(layer, layers.LSTM)
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
    )
    weights = (features + layer.units) * 4 * layer.units
    product = FUSED_PRODUCT_OF_SMALL if weights <= SMALL_WEIGHTS else FUSED_PRODUCT
    return product // weights if fusible else 0


def _looped(layer: Any, x: tf.Tensor, states: list) -> tuple[tf.Tensor, ...]:
    """``_run`` for every layer and size."""
    time = tf.shape(x)[0]
    x = tf.pad(x, [[0, -time % STEPS_AT_ONCE], [0, 0], [0, 0]])
    parts, step = _stepping(layer.cell, x)
    kept = len(states) if layer.return_state else 1
    ran = [values[:time] for values in _loop(step, parts, states, kept)]
    return ran[0], *ran  # the first state of all three cells is their output


def _fused_lstm(layer: Any, x: tf.Tensor, states: list) -> tuple[tf.Tensor, ...]:
    """TensorFlow's own kernel; its gates have Keras's order."""
    cell, h, c = layer.cell, *states
    bias = cell.bias if cell.use_bias else tf.zeros([4 * layer.units])
    nothing = tf.zeros([layer.units])
    ran = tf.raw_ops.BlockLSTMV2(
        seq_len_max=tf.cast(tf.shape(x)[0], tf.int64), x=x, cs_prev=c, h_prev=h,
        w=tf.concat([cell.kernel, cell.recurrent_kernel], 0),
        wci=nothing, wcf=nothing, wco=nothing, b=bias, cell_clip=0.0,
    )  # fmt: skip
    return ran.h, ran.h, *([ran.cs] if layer.return_state else [])


def _projected(cell: Any, x: tf.Tensor, gates: Sequence[int]) -> list[tf.Tensor]:
    """The input's part of every step in one product, ``[time, batch, gates * units]`` for each.

    One product for each part rather than a split afterwards, which would copy.
    """
    sizes = [count * cell.units for count in gates]
    bias = cell.bias if cell.use_bias else tf.zeros([sum(sizes)])
    bias = bias[0] if len(bias.shape) == 2 else bias
    flat, lead = tf.reshape(x, [-1, x.shape[-1]]), tf.shape(x)[:2]
    return [
        tf.reshape(tf.nn.bias_add(tf.matmul(flat, weight), shift), [lead[0], lead[1], size])
        for weight, shift, size in zip(
            tf.split(tf.convert_to_tensor(cell.kernel), sizes, -1), tf.split(bias, sizes), sizes,
            strict=True,
        )
    ]  # fmt: skip


def _stepping(cell: Any, x: tf.Tensor) -> tuple[list[tf.Tensor], Any]:
    """The input's parts, each ``[time, batch, size]``, and a step from them and states to states.

    A step is a chain: operations that are ready together cost a hand-over between threads.
    """
    units, activation = cell.units, cell.activation
    weight = tf.convert_to_tensor(cell.recurrent_kernel)
    if isinstance(cell, layers.SimpleRNNCell):
        step = lambda x, h: [activation(x + tf.matmul(h, weight))]  # noqa: E731
        return _projected(cell, x, [1]), step
    gate = cell.recurrent_activation
    if isinstance(cell, layers.LSTMCell):

        def lstm(x, h, c):
            i, f, n, o = tf.split(x + tf.matmul(h, weight), 4, -1)
            c = gate(f) * c + gate(i) * activation(n)
            return [gate(o) * activation(c), c]

        return _projected(cell, x, [4]), lstm
    parts = _projected(cell, x, [2, 1])
    if not cell.reset_after:
        outer, inward = tf.split(weight, [2 * units, units], -1)

        def reset_before(x_gates, x_new, h):
            z, r = tf.split(gate(x_gates + tf.matmul(h, outer)), 2, -1)
            new = activation(x_new + tf.matmul(r * h, inward))
            return [new + z * (h - new)]

        return parts, reset_before
    bias = cell.bias[1] if cell.use_bias else tf.zeros([3 * units])
    parts[0] += bias[: 2 * units]  # that of the new state is inside a product with r
    sizes = [2 * units, units]
    as_one = not FEW_UNITS < units < MANY_UNITS
    w_gates, w_new = (None, None) if as_one else tf.split(weight, sizes, -1)

    def reset_after(x_gates, x_new, h):
        if as_one:
            h_gates, h_new = tf.split(tf.matmul(h, weight), sizes, -1)
        else:
            h_gates, h_new = tf.matmul(h, w_gates), tf.matmul(h, w_new)
        z, r = tf.split(gate(x_gates + h_gates), 2, -1)
        new = activation(x_new + r * (h_new + bias[2 * units :]))
        return [new + z * (h - new)]

    return parts, reset_after


def _loop(step: Any, parts: list[tf.Tensor], states: list, count: int) -> list[tf.Tensor]:
    """The first ``count`` states after every step, each ``[time, batch, units]``.

    Time is a multiple of ``STEPS_AT_ONCE``.
    """
    chunks = tf.shape(parts[0])[0] // STEPS_AT_ONCE
    parts = [tf.reshape(x, [chunks, STEPS_AT_ONCE, tf.shape(x)[1], x.shape[2]]) for x in parts]
    write = [tf.TensorArray(tf.float32, chunks) for _ in range(count)]

    def body(i, write, states):
        found: list[list[tf.Tensor]] = [[] for _ in write]
        # To index and to unstack the first dimension copies nothing.
        for inputs in zip(*(tf.unstack(x[i], STEPS_AT_ONCE) for x in parts), strict=True):
            states = step(*inputs, *states)
            for kept, state in zip(found, states, strict=False):
                kept.append(state)
        write = [array.write(i, tf.stack(kept)) for array, kept in zip(write, found, strict=True)]
        return i + 1, write, states

    _, write, _ = tf.while_loop(
        lambda i, *_: i < chunks, body, (0, write, states), maximum_iterations=chunks
    )
    return [
        tf.reshape(y, [-1, tf.shape(y)[2], y.shape[3]]) for y in (array.stack() for array in write)
    ]
