"""Data parallel training: every batch shared by several devices of one machine.

Each device holds a replica of the model and computes the gradient of its share of the batch; the
sum of them moves all replicas alike. One machine only: ``MultiWorkerMirroredStrategy`` does not
train under Keras 3 (github.com/keras-team/keras/issues/20585).
"""

from __future__ import annotations

from functools import lru_cache

import keras
import tensorflow as tf

from common.errors import ConfigError


@lru_cache  # a second strategy's collective operations would meet those of the first
def strategy_of(devices: int) -> tf.distribute.Strategy:
    """What to build a model under that so many devices train.

    Args:
        devices: the first GPUs that are visible; logical devices of the processor where there is no
            GPU (``tf.config.set_logical_device_configuration``).

    Raises:
        ConfigError: there are not so many.
    """
    if devices == 1:
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    found = tf.config.list_logical_devices(kind)
    if devices > len(found):
        there = f"{len(found)} GPUs are visible" if kind == "GPU" else "no GPU is visible"
        raise ConfigError(f"devices is {devices}, but {there}; see `seqloom doctor`")
    return tf.distribute.MirroredStrategy([device.name for device in found[:devices]])


def idle_note(devices: int) -> str:
    """What to say of GPUs that are visible and take no part; "" where there are none."""
    count = len(tf.config.list_physical_devices("GPU"))
    if count <= devices:
        return ""
    train = "one of them trains" if devices == 1 else f"{devices} of them train"
    return f"{count} GPUs are visible, {train}: --devices {count} would share each batch out"


def keep_batches_whole(model: keras.Model) -> None:
    """Mends what Keras does with the batches of a model that has replicas.

    ``fit`` takes the first batch away, to build what here is built already: each epoch of a stream
    would begin a batch late. ``predict_on_batch`` hands all rows to every replica and joins their
    answers: each row would be answered several times.

    Args:
        model: built, its optimizer, loss and metrics too; without replicas it stays as it is.
    """
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return
    model._maybe_symbolic_build = lambda iterator=None, data_batch=None: None
    answer = tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)
    model.predict_on_batch = lambda inputs: keras.tree.map_structure(
        lambda found: found.numpy(), answer(keras.tree.map_structure(tf.convert_to_tensor, inputs))
    )
