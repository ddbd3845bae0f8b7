"""``batch_parts`` as TensorFlow operations: a batch in two halves that run side by side.

TensorFlow multiplies a step's state in one thread, and packs the weights anew each time. Two loops
over half of the rows take as long in all, but each has a core of its own, and the loop of the short
rows ends early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from pipelines.program import KerasCore
from pipelines.program_graph import Tensors
from pipelines.ragged import Fields
from serving.batch_parts import MIN_STEPS

# Rows times units from which two loops of half the rows cost no more operations than they save;
# of layers with fewer units operations cost more than products.
MIN_STATE, MIN_UNITS = 4096, 128


def in_parts(core: KerasCore, fields: Fields | None) -> Callable[[Tensors], Tensors]:
    """A core's model as a graph function, large batches of it in two halves.

    Args:
        core: from named tensors to named tensors.
        fields: inputs whose rows may be lengthened; None where rows may depend on each other or the
            model takes a single step, which is never run in parts.
    """
    weights = [weight for weight in core.model.weights if weight.path.endswith("recurrent_kernel")]
    units = max((weight.shape[0] for weight in weights), default=0)
    if fields is None or units < MIN_UNITS:
        return lambda tensors: core.model(tensors, training=False)
    named = dict(zip(core.inputs, core.model.inputs, strict=True))
    timed = [name for name, x in named.items() if len(x.shape) > 2 or None in x.shape[1:2]]
    open_ended = [name for name in timed if named[name].shape[1] is None]
    marks = {
        name: fields[name].padding for name in open_ended
        if name in fields and fields[name].unique and len(named[name].shape) == 2
    }  # fmt: skip
    trims = open_ended if marks and all(name in fields for name in open_ended) else []

    def call(tensors: Tensors) -> Tensors:
        tensors = {name: tensors[name] for name in core.inputs}
        steps = [tf.shape(tensors[name])[1] for name in timed] or [tf.constant(1)]
        lengths = _lengths(tensors, marks if trims else {})
        many = tf.size(lengths) * tf.reduce_max(steps) >= MIN_STEPS
        many &= tf.size(lengths) >= max(2, MIN_STATE // units)
        if trims:  # other inputs than these may have another length
            size = [tf.shape(tensors[name])[1] for name in trims]
            many &= tf.reduce_all(tf.equal(size, size[0]))
        return _run(core.model, tensors, trims, lengths, many)

    return call


def _lengths(tensors: Tensors, marks: Mapping[str, Any]) -> tf.Tensor:
    """``<int32>[batch]``: steps of each row up to the last one that is not padding."""
    lengths = tf.zeros(tf.shape(next(iter(tensors.values())))[:1], tf.int32)
    for name, padding in marks.items():
        filled = tf.cast(tf.not_equal(tensors[name], padding), tf.int32)
        ends = filled * tf.range(1, tf.shape(filled)[1] + 1)
        lengths = tf.maximum(lengths, tf.reduce_max(ends, 1))
    return tf.maximum(lengths, 1)


def _run(
    model: keras.Model, tensors: Tensors, trims: list[str], lengths: tf.Tensor, many: tf.Tensor
) -> Tensors:
    """The outputs of a batch in two parts, or in one.

    The parts are the iterations of a loop, which TensorFlow runs at the same time: so the graph
    holds the model once, and is no longer in the making.
    """
    rows = tf.size(lengths)
    order = tf.cond(many, lambda: tf.argsort(lengths, stable=True), lambda: tf.range(rows))
    lengths = tf.gather(lengths, order)
    sums = tf.cumsum(lengths)
    first = tf.searchsorted(sums, [tf.reduce_sum(lengths) // 2], side="right")[0]
    first = tf.cond(many, lambda: tf.clip_by_value(first, 1, rows - 1), lambda: rows)
    ordered = {name: tf.gather(tensor, order) for name, tensor in tensors.items()}
    arrays = {
        name: tf.TensorArray(x.dtype, 2, infer_shape=False, element_shape=x.shape)
        for name, x in model.output.items()
    }

    # A variable that is read in the loop would make an iteration wait for the one before.
    values = [(variable, tf.convert_to_tensor(variable.value)) for variable in model.variables]

    def body(i: tf.Tensor, arrays: dict[str, tf.TensorArray]) -> tuple[tf.Tensor, dict]:
        begin, end = tf.where(i > 0, first, 0), tf.where(i > 0, rows, first)
        part = {name: tensor[begin:end] for name, tensor in ordered.items()}
        for name in trims:
            last = tf.shape(tensors[name])[1]  # the last part gives outputs their whole length
            longest = tf.reduce_max(lengths[begin:end])
            part[name] = part[name][:, : tf.where(end < rows, longest, last)]
        with keras.StatelessScope(values):
            found = model(part, training=False)
        return i + 1, {name: array.write(i, found[name]) for name, array in arrays.items()}

    count = tf.where(many, 2, 1)
    _, arrays = tf.while_loop(lambda i, _: i < count, body, (0, arrays), parallel_iterations=2)
    return {
        name: tf.ensure_shape(tf.cond(
            many, lambda array=array: tf.gather(_joined(array), tf.math.invert_permutation(order)),
            lambda array=array: array.read(0),
        ), model.output[name].shape)
        for name, array in arrays.items()
    }  # fmt: skip


def _joined(array: tf.TensorArray) -> tf.Tensor:
    """Both parts of an output below one another, the first filled up with zeros."""
    part, whole = array.read(0), array.read(1)
    missing = [0, *tf.unstack((tf.shape(whole) - tf.shape(part))[1:])]
    return tf.concat([tf.pad(part, [[0, more] for more in missing]), whole], 0)
