"""``batch_parts`` as TensorFlow operations: a batch in two halves that run side by side.

TensorFlow multiplies a step's state in one thread, and packs the weights anew each time. Two loops
over half of the rows take as long in all, but each has a core of its own, and the loop of the short
rows ends early.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from pipelines.program import KerasCore
from pipelines.program_graph import Tensors
from pipelines.ragged import Fields
from serving.batch_parts import MIN_ROWS, MIN_STEPS

# Rows times units from which two loops of half the rows cost no more operations than they save.
MIN_STATE = 4096


def in_parts(core: KerasCore, fields: Fields | None) -> Callable[[Tensors], Tensors]:
    """A core's model as a graph function, large batches of it in two halves.

    Args:
        core: from named tensors to named tensors.
        fields: inputs whose rows may be lengthened; None where rows may depend on each other or the
            model takes a single step, which is never run in parts.
    """
    weights = [weight for weight in core.model.weights if weight.path.endswith("recurrent_kernel")]
    if fields is None or not weights:
        return lambda tensors: core.model(tensors, training=False)
    named = dict(zip(core.inputs, core.model.inputs, strict=True))
    specs = {name: tf.TensorSpec(x.shape, x.dtype, name) for name, x in named.items()}
    # One function for all its calls, so that the file holds the model once.
    model = tf.function(
        lambda tensors: core.model(tensors, training=False),
        input_signature=[specs], autograph=False,
    )  # fmt: skip
    timed = [name for name, x in named.items() if len(x.shape) > 2 or None in x.shape[1:2]]
    open_ended = [name for name in timed if named[name].shape[1] is None]
    marks = {
        name: fields[name].padding for name in open_ended
        if name in fields and fields[name].unique and len(named[name].shape) == 2
    }  # fmt: skip
    trims = open_ended if marks and all(name in fields for name in open_ended) else []
    shapes = {name: x.shape for name, x in model.get_concrete_function().structured_outputs.items()}
    least = max(2 * MIN_ROWS, -(-MIN_STATE // max(weight.shape[0] for weight in weights)))

    def call(tensors: Tensors) -> Tensors:
        tensors = {name: tensors[name] for name in core.inputs}
        rows = tf.shape(tensors[core.inputs[0]])[0]
        steps = [tf.shape(tensors[name])[1] for name in timed]
        many = (rows >= least) & (rows * tf.reduce_max([*steps, 1]) >= MIN_STEPS)
        for name in trims[1:]:
            many &= tf.equal(tf.shape(tensors[name])[1], tf.shape(tensors[trims[0]])[1])
        halves = lambda: _halves(model, tensors, trims, marks, shapes)  # noqa: E731
        return tf.cond(many, halves, lambda: model(tensors))

    return call


def _halves(
    model: Callable[[Tensors], Tensors],
    tensors: Tensors,
    trims: list[str],
    marks: dict[str, object],
    shapes: dict[str, tf.TensorShape],
) -> Tensors:
    """The outputs of two halves of about as many steps, as ``batch_parts`` cuts and joins them."""
    rows = tf.shape(next(iter(tensors.values())))[0]
    lengths = tf.zeros([rows], tf.int32)
    for name in marks if trims else ():
        filled = tf.cast(tf.not_equal(tensors[name], marks[name]), tf.int32)
        ends = filled * tf.range(1, tf.shape(filled)[1] + 1)
        lengths = tf.maximum(lengths, tf.reduce_max(ends, 1))
    order = tf.argsort(lengths, stable=True)
    lengths = tf.maximum(tf.gather(lengths, order), 1)
    sums = tf.cumsum(lengths)
    first = tf.searchsorted(sums, [sums[-1] // 2], side="right")[0]
    first = tf.clip_by_value(first, 1, rows - 1)
    ordered = {name: tf.gather(tensor, order) for name, tensor in tensors.items()}
    short = {name: tensor[:first] for name, tensor in ordered.items()}
    short |= {name: short[name][:, : lengths[first - 1]] for name in trims}
    outputs = model(short)
    others = model({name: tensor[first:] for name, tensor in ordered.items()})
    back = tf.math.invert_permutation(order)

    def joined(name: str) -> tf.Tensor:
        part, whole = outputs[name], others[name]
        missing = (tf.shape(whole) - tf.shape(part))[1:]
        part = tf.pad(part, tf.stack([tf.zeros_like(tf.shape(part)), [0, *tf.unstack(missing)]], 1))
        return tf.ensure_shape(tf.gather(tf.concat([part, whole], 0), back), shapes[name])

    return {name: joined(name) for name in shapes}
