"""Dynamic evaluation: a language model that goes on learning from the text it is judged on.

Krause et al. 2018, arXiv:1709.07432. Each window is foretold first, and learnt from afterwards: a
step down its gradient, scaled by the root of the gradient's mean square, and a step back towards
the trained weights, the larger the more a weight's gradient varies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from models.language import PAD, window_loss

# Added to the root mean square of a weight's gradient, as a share of their mean over all weights:
# without it weights that hardly ever had a gradient, such as those of rare words, would leap.
STEADY = 0.1
Window = Mapping[str, np.ndarray]


class DynamicEvaluation:
    """Judges windows by a model that learns from each after it was judged.

    A window is what the model takes: ``tokens`` and ``following <int32>[rows, time]``, ``begins
    <bool>[rows]``. However it ends, ``nats`` leaves the model with the weights that it had.

    Args:
        model: of ``models.language.language_model``.
        windows: on which the gradient's mean square is taken, window by window, before anything is
            learnt; the paper takes those of training.
    """

    def __init__(self, model: keras.Model, windows: Iterable[Window]) -> None:
        self.model = model
        self._weights = [weight.value for weight in model.trainable_variables]
        self._trained = [tf.identity(weight) for weight in self._weights]
        self._roots = self._root_mean_squares(windows)
        total = sum(float(tf.reduce_sum(root)) for root in self._roots)
        self._mean = tf.constant(total / sum(root.shape.num_elements() for root in self._roots))

    def nats(self, windows: Iterable[Window], step: float, decay: float) -> float:
        """Negative log-likelihood of all units that follow, each foretold once.

        Args:
            windows: in the order in which they are read.
            step: how far a weight moves in one window whose gradient is as large as usual.
            decay: share of the way back to the trained weights that follows, of a weight whose
                gradient varies as much as the mean; none goes back further than the whole way.
        """
        total, step, decay = 0.0, tf.constant(step), tf.constant(decay)
        try:
            for window in windows:
                nats, gradients = self._judged(**window)
                total += float(nats)
                self._learn(gradients, step, decay)
        finally:
            for weight, trained in zip(self._weights, self._trained, strict=True):
                weight.assign(trained)
        return total

    def _root_mean_squares(self, windows: Iterable[Window]) -> list[tf.Tensor]:
        sums, count = [tf.zeros_like(weight) for weight in self._weights], 0
        for window in windows:
            _, gradients = self._judged(**window)
            # The mean gradient of many rows varies less than that of one, which is what is learnt
            # from later.
            rows = int((window["following"] != PAD).any(1).sum())
            sums = [a + rows * tf.square(b) for a, b in zip(sums, gradients, strict=True)]
            count += 1
        return [tf.sqrt(one / max(1, count)) for one in sums]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, "tokens"),
            tf.TensorSpec([None, None], tf.int32, "following"),
            tf.TensorSpec([None], tf.bool, "begins"),
        ]
    )
    def _judged(self, tokens, following, begins):
        """Nats of a window, and the gradient of their mean by weight."""
        inputs = {"tokens": tokens, "following": following, "begins": begins}
        with tf.GradientTape() as tape:
            each = self.model(inputs, training=False)["log_probabilities"]
            loss = window_loss(following, each)
        gradients = tape.gradient(
            loss, self._weights, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        known = tf.cast(following != PAD, tf.float32)
        return -tf.reduce_sum(each * known), [tf.convert_to_tensor(one) for one in gradients]

    # Compiled into one pass over the weights, which are far more than a window has to compute.
    @tf.function(jit_compile=True)
    def _learn(self, gradients, step, decay):
        every = zip(self._weights, self._trained, self._roots, gradients, strict=True)
        for weight, trained, root, gradient in every:
            back = tf.minimum(decay * root / self._mean, 1.0) * (trained - weight)
            weight.assign_add(back - step * gradient / (root + STEADY * self._mean))
