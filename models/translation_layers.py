"""Layers of ``models.translation``: the decoder over whole sequences, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

CELLS = {
    "simple_rnn": keras.layers.SimpleRNNCell,
    "lstm": keras.layers.LSTMCell,
    "gru": keras.layers.GRUCell,
}
FAR = 1e9  # taken from the score of padding, as Keras's attention does


@keras.saving.register_keras_serializable("seqloom")
class AttentionDecoder(keras.layers.Layer):
    """Recurrent layers that attend to a source at each step, over a whole target at once.

    At step t (Luong et al. 2015, "Effective approaches to attention-based neural machine
    translation", arXiv:1508.04025; the additive score is that of Bahdanau et al. 2015,
    arXiv:1409.0473)::

        h_t = cell([embedded_t, attentional_{t-1}], h_{t-1})      without input feeding: embedded_t
        weights_t = softmax over the source of score(h_t, keys)
        attentional_t = tanh(W [h_t, weights_t memory])

    From the second layer on each adds its input to its output. What does not depend on the step
    before is computed for all steps together: the projection of the embeddings, and without input
    feeding attention too. ``models.translation.step_model`` is one step of it.

    Args:
        cell: "simple_rnn", "lstm" or "gru".
        layers: how many.
        units: hidden size.
        width: size of the attentional vector.
        attention: "additive", "general" or "dot".
        input_feeding: whether the cell reads the attentional vector of the step before.
        dropout: of the outputs of the recurrent layers, one mask for all steps of a row.
    """

    def __init__(
        self,
        cell: str,
        layers: int,
        units: int,
        width: int,
        attention: str,
        input_feeding: bool,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cell, self.layers, self.units, self.width = cell, layers, units, width
        self.attention, self.input_feeding, self.dropout = attention, input_feeding, dropout
        self.cells = [CELLS[cell](units, name=f"{cell}_{depth}") for depth in range(layers)]
        self.combine = keras.layers.Dense(width, "tanh", name="combine")
        self.query = (
            keras.layers.Dense(units, use_bias=False, name="query")
            if attention == "additive" else None
        )  # fmt: skip
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, embedded_shape, memory_shape, keys_shape=None, source_shape=None,
              states_shape=None) -> None:  # fmt: skip
        """Makes the weights of the cells and of the attention."""
        fed = self.width if self.input_feeding else 0
        for depth, cell in enumerate(self.cells):
            cell.build((None, self.units if depth else embedded_shape[-1] + fed))
        self.combine.build((None, None, self.units + memory_shape[-1]))
        if self.query is not None:
            self.query.build((None, None, self.units))
            self.scale = self.add_weight((self.units,), "glorot_uniform", name="scale")

    def call(self, embedded, memory, keys, source, states, training=False):
        """The attentional vectors of all steps.

        Args:
            embedded: ``<float32>[batch, target, features]``, the tokens so far.
            memory: ``<float32>[batch, source, width of memory]``.
            keys: ``<float32>[batch, source, units]``.
            source: ``<int32>[batch, source]``, 0 where it is padding.
            states: ``<float32>[batch, units]`` of each layer: h, and c of an LSTM.
            training: whether to drop.

        Returns:
            ``<float32>[batch, target, width]``.
        """
        far = tf.where(source == 0, tf.cast(-FAR, memory.dtype), 0)  # (B, S)
        masks = self._dropout_masks(tf.shape(source)[0], memory.dtype) if training else None
        weights = self._weights()
        if self.input_feeding:
            return self._loop(weights, embedded, states, masks, (keys, memory, far))
        hidden = self._loop(weights, embedded, states, masks, None)
        # All steps at once: (B, T, S, U) of the additive score.
        looked = tf.nn.softmax(self._scores(weights, hidden, keys) + far[:, None])
        attended = self._combined(weights, hidden, tf.matmul(looked, memory))
        return tf.ensure_shape(attended, [None, None, self.width])

    def _weights(self) -> dict[str, Any]:
        """Weights as tensors, read once outside of the loop."""
        read = tf.convert_to_tensor
        combine = read(self.combine.kernel)
        found = {
            "recurrent": [read(cell.recurrent_kernel) for cell in self.cells],
            "kernel": [read(cell.kernel) for cell in self.cells],
            "bias": [read(cell.bias) for cell in self.cells],
            "from_hidden": combine[: self.units],
            "from_context": combine[self.units :],
            "combine_bias": read(self.combine.bias),
        }
        if self.query is not None:
            found |= {"query": read(self.query.kernel), "scale": read(self.scale)}
        return found

    def _scores(self, weights, hidden, keys):
        """Of ``hidden [batch, target, units]``, or ``[batch, units]`` for one step: scores of each
        source position, ``[batch, target, source]`` or ``[batch, source]``."""
        steps = len(hidden.shape) == 3
        if self.query is None:
            one = hidden if steps else hidden[:, None]
            scores = tf.matmul(one, keys, transpose_b=True)
            return scores if steps else scores[:, 0]
        asked = tf.tensordot(hidden, weights["query"], 1) if steps else (
            tf.matmul(hidden, weights["query"]))  # fmt: skip
        together = asked[:, :, None] + keys[:, None] if steps else asked[:, None] + keys
        return tf.reduce_sum(tf.tanh(together) * weights["scale"], -1)

    def _combined(self, weights, hidden, context):
        found = tf.tensordot(hidden, weights["from_hidden"], 1)
        found += tf.tensordot(context, weights["from_context"], 1)
        return tf.tanh(found + weights["combine_bias"])

    def _dropout_masks(self, rows, dtype):
        ones = tf.ones((rows, self.units), dtype)
        if not self.dropout:
            return None
        drop = keras.random.dropout
        return [drop(ones, self.dropout, seed=self.seed_generator) for _ in self.cells]

    def _loop(self, weights, embedded, states, masks, read):
        """Outputs of all steps; attentional ones where ``read`` is given."""
        width = self.units if read is None else self.width
        x = tf.transpose(embedded, [1, 0, 2])  # (T, B, E)
        size = embedded.shape[-1]
        # What the first cell adds for each token, of all steps together: (T, B, gates).
        projected = tf.tensordot(x, weights["kernel"][0][:size], 1) + self._input_bias(weights, 0)
        gates, fed_kernel = projected.shape[-1], weights["kernel"][0][size:]
        time, rows = tf.shape(projected)[0], tf.shape(projected)[1]
        outputs = tf.TensorArray(projected.dtype, time, element_shape=[None, width])

        def step(at, states, fed, outputs):
            x = tf.ensure_shape(projected[at], [None, gates])
            x = x if read is None else x + tf.matmul(fed, fed_kernel)
            y, following = self._cells_step(weights, x, states, masks)
            if read is not None:
                y = self._attended(weights, y, *read)
            return at + 1, following, y, outputs.write(at, y)

        fed = tf.zeros([rows, width], projected.dtype)
        same = [tf.TensorShape([None, self.units])] * len(states)
        *_, outputs = tf.while_loop(
            lambda at, *_: at < time, step, (0, list(states), fed, outputs),
            shape_invariants=(
                tf.TensorShape([]), same, tf.TensorShape([None, width]), tf.TensorShape(None)
            ),
            maximum_iterations=time,
        )  # fmt: skip
        return tf.ensure_shape(tf.transpose(outputs.stack(), [1, 0, 2]), [None, None, width])

    def _attended(self, weights, hidden, keys, memory, far):
        """The attentional vector of one step."""
        looked = tf.nn.softmax(self._scores(weights, hidden, keys) + far)
        context = tf.matmul(looked[:, None], memory)[:, 0]
        found = self._combined(weights, hidden, context)
        return tf.ensure_shape(found, [None, self.width])

    def _input_bias(self, weights, depth):
        bias = weights["bias"][depth]
        return bias[0] if self.cell == "gru" else bias

    def _cells_step(self, weights, x, states, masks):
        """One step of all cells, of which the first one's input is projected already."""
        each = 2 if self.cell == "lstm" else 1
        y, following = None, []
        for depth in range(self.layers):
            mine = states[each * depth : each * (depth + 1)]
            if depth:
                x = tf.matmul(y, weights["kernel"][depth]) + self._input_bias(weights, depth)
            recurrent = tf.matmul(mine[0], weights["recurrent"][depth])
            if self.cell == "gru":
                recurrent += weights["bias"][depth][1]
            found = _cell_step(self.cell, x, recurrent, mine)
            h = found[0] * masks[depth] if masks else found[0]
            y = h if y is None else y + h
            following += found
        return y, following

    def compute_mask(self, *args, **kwargs):
        """None: the loss knows by the targets where a row ends."""
        return

    def compute_output_shape(self, embedded_shape, *args, **kwargs):
        """See ``call``."""
        return (*embedded_shape[:2], self.width)

    def get_config(self):
        """For ``model.keras``."""
        names = ("cell", "layers", "units", "width", "attention", "input_feeding", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _cell_step(
    kind: str, x: tf.Tensor, recurrent: tf.Tensor, states: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """The next states of one of Keras's cells, given both its products with their biases."""
    if kind == "simple_rnn":
        return [tf.tanh(x + recurrent)]
    if kind == "gru":
        update, reset, fresh = tf.split(x, 3, 1)
        u, r, n = tf.split(recurrent, 3, 1)
        z = tf.sigmoid(update + u)
        candidate = tf.tanh(fresh + tf.sigmoid(reset + r) * n)
        return [candidate + z * (states[0] - candidate)]
    i, f, c, o = tf.split(x + recurrent, 4, 1)
    carry = tf.sigmoid(f) * states[1] + tf.sigmoid(i) * tf.tanh(c)
    return [tf.sigmoid(o) * tf.tanh(carry), carry]


@keras.saving.register_keras_serializable("seqloom")
class Unmasked(keras.layers.Layer):
    """Its input without a mask: what reads it is told by the source's ids where rows end."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x):
        """Any tensor to the same."""
        return tf.identity(x)

    def compute_mask(self, x, mask=None):
        """None."""
        return

    def compute_output_shape(self, shape):
        """As it is."""
        return shape


@keras.saving.register_keras_serializable("seqloom")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of the next token with label smoothing, the mean over all tokens of a batch.

    The target has probability ``1 - smoothing`` and all tokens share ``smoothing`` evenly
    (Szegedy et al. 2016, "Rethinking the Inception architecture", section 7). Positions whose
    target is 0, the padding, do not count.

    Args:
        smoothing: 0 for the plain cross-entropy.
    """

    def __init__(self, smoothing: float = 0.0, name: str = "smoothed_cross_entropy") -> None:
        super().__init__(name=name, reduction="sum")
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        """``<int32>[batch, time]`` and logits ``<float32>[batch, time, tokens]`` to a number."""
        targets = ops.cast(y_true, "int32")
        logits = ops.cast(y_pred, "float32")
        flat = tf.reshape(logits, [-1, logits.shape[-1]])
        losses = smoothed_nats(flat, tf.reshape(targets, [-1]), self.smoothing)
        losses = tf.reshape(losses, tf.shape(targets))
        counts = tf.cast(targets != 0, tf.float32)
        return tf.reduce_sum(losses * counts) / tf.maximum(tf.reduce_sum(counts), 1.0)

    def get_config(self):
        """For ``model.keras``."""
        return {"smoothing": self.smoothing, "name": self.name}


def smoothed_nats(logits: tf.Tensor, targets: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Label-smoothed cross-entropy of each row.

    ``plain + smoothing * (logit of the target - mean of the logits)``, where plain is the
    cross-entropy of the target alone: no array of smoothed targets is made, and the gradient is one
    pass over the softmax that plain leaves behind.

    Args:
        logits: ``<float32>[rows, tokens]``.
        targets: ``<int32>[rows]``.
        smoothing: share of the target's probability that is spread evenly.
    """
    if not smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    tokens = logits.shape[-1]

    @tf.custom_gradient
    def nats(logits):
        plain, gradient = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
            features=logits, labels=targets
        )
        right = tf.gather(logits, targets, axis=-1, batch_dims=1)

        def backward(upstream):
            found = (gradient - smoothing / tokens) * upstream[:, None]
            places = tf.stack([tf.range(tf.shape(targets)[0]), targets], 1)
            return tf.tensor_scatter_nd_add(found, places, smoothing * upstream)

        return plain + smoothing * (right - tf.reduce_mean(logits, -1)), backward

    return nats(logits)
