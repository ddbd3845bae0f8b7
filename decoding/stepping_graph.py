"""The step function and its checks in TensorFlow: the twin of ``decoding.stepping``.

What is known while a function is traced is checked then and is a ``DecodingError``. What is known
only when it runs is checked by an assertion in the graph, whose failure is TensorFlow's
``InvalidArgumentError`` with the same kind of sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from decoding.stepping import LOG_PROBABILITY_TOLERANCE, TINY, DecodingError
from decoding.stepping import per_row as numpy_per_row

States = dict[str, tf.Tensor]
Step = Callable[[tf.Tensor, States], tuple[tf.Tensor, Mapping[str, tf.Tensor]]]


def require(condition: Any, sentence: str) -> None:
    """Checks ``<bool>[]`` now if it is known, else when the graph runs.

    Raises:
        DecodingError: if the condition is known to be false.
    """
    known = tf.get_static_value(tf.convert_to_tensor(condition))
    if known is None:
        tf.debugging.Assert(condition, [sentence], summarize=1)
    elif not known:
        raise DecodingError(sentence)


def check_start(first: Any, states: Mapping[str, Any]) -> tuple[tf.Tensor, States]:
    """First ids ``<int32>[rows]`` and states ``[rows, ...]`` as tensors.

    Raises:
        DecodingError: if shapes do not agree or an id is negative or no integer.
    """
    if isinstance(first, (list, tuple)) and not first:
        first = np.zeros(0, np.int32)
    ids = tf.convert_to_tensor(first)
    if ids.shape.rank != 1 or not ids.dtype.is_integer:
        raise DecodingError(
            f"first has type {ids.dtype.name} and shape {ids.shape}; it must be one integer per row"
        )
    wide = tf.cast(ids, tf.int64)
    require(
        tf.reduce_all((wide >= 0) & (wide < 2**31)),
        "an id in first is out of range; ids are from 0 to 2147483647",
    )
    ids = tf.cast(ids, tf.int32)
    tensors = {name: tf.convert_to_tensor(value) for name, value in states.items()}
    for name, tensor in tensors.items():
        _check_rows(name, tensor, tf.shape(ids)[0])
    return ids, tensors


def per_row(
    name: str, value: Any, rows: tf.Tensor, dtype: tf.DType, minimum: float, maximum: float
) -> tf.Tensor:
    """A setting that is one number or one number per row: ``[rows]`` of ``dtype``.

    Raises:
        DecodingError: if it has another shape or is out of range.
    """
    if not tf.is_tensor(value):
        count = np.size(value) if np.ndim(value) else 1
        value = numpy_per_row(name, value, count, dtype.as_numpy_dtype, minimum, maximum)[
            ... if np.ndim(value) else 0
        ]
    tensor = tf.convert_to_tensor(value)
    if tensor.shape.rank not in (0, 1) or (dtype.is_integer and not tensor.dtype.is_integer):
        raise DecodingError(
            f"{name} has type {tensor.dtype.name} and shape {tensor.shape}; "
            f"it must be one {dtype.name} or one for each row"
        )
    if not (tensor.dtype.is_integer or tensor.dtype.is_floating):
        raise DecodingError(f"{name} has type {tensor.dtype.name}; it must be of numbers")
    # Before it is cast, so that no integer that is too great wraps into the range.
    wide = tf.cast(tensor, tf.int64 if dtype.is_integer else tf.float64)
    low, high = tf.constant(minimum, wide.dtype), tf.constant(maximum, wide.dtype)
    require(
        tf.reduce_all((wide >= low) & (wide <= high)),
        f"{name} is out of range; it must be from {minimum:g} to {maximum:g}",
    )
    # The assertion does not hold the other ops back, which would go on with what is out of range.
    tensor = tf.cast(tf.clip_by_value(wide, low, high), dtype)
    if tensor.shape.rank == 0:
        return tf.fill([rows], tensor)
    require(tf.shape(tensor)[0] == rows, f"{name} must be one number or one number for each row")
    return tensor


def call_step(
    step: Step, ids: tf.Tensor, states: States, *, extra: str | None = None
) -> tuple[tf.Tensor, States]:
    """Calls the step and checks the states that it returns, which may be only some.

    Args:
        step: the step function.
        ids: ``<int32>[rows]``.
        states: tensors ``[rows, ...]``.
        extra: name that may be returned although it is no state.

    Returns:
        The unchecked log-probabilities and the returned states.

    Raises:
        DecodingError: if a returned name is unknown or a tensor has another dtype or shape.
    """
    log_probabilities, returned = step(ids, dict(states))
    changed = {name: tf.convert_to_tensor(value) for name, value in returned.items()}
    for name, tensor in changed.items():
        if name in states:
            before = states[name]
            shape = tf.TensorShape([None]).concatenate(before.shape[1:])
            if tensor.dtype != before.dtype or not tensor.shape.is_compatible_with(shape):
                raise DecodingError(
                    f"the step returned the state {name!r} as {tensor.dtype.name}{tensor.shape}; "
                    f"it was given as {before.dtype.name}{before.shape} and must keep its form"
                )
            changed[name] = tf.ensure_shape(tensor, shape)
        elif name != extra:
            raise DecodingError(f"the step returned a state {name!r}, which it was not given")
        _check_rows(name, tensor, tf.shape(ids)[0])
    return log_probabilities, changed


def check_log_probabilities(
    values: Any, rows: tf.Tensor, end: int, needed: tf.Tensor | None = None
) -> tf.Tensor:
    """Log-probabilities ``<float32>[rows, vocabulary]``, none above 0.

    Args:
        values: what a step returned.
        rows: how many rows there must be.
        end: the end id, which must be in the vocabulary; -1 for none.
        needed: ``<bool>[rows]``; all other rows are not looked at and become -inf.

    Raises:
        DecodingError: if the shape is another, or a value is NaN or greater than 0.01.
    """
    values = tf.cast(tf.convert_to_tensor(values), tf.float32)
    if values.shape.rank not in (None, 2):
        raise DecodingError(
            f"the log-probabilities have shape {values.shape}; it must be [rows, vocabulary]"
        )
    shape = tf.shape(values)
    require(
        (tf.rank(values) == 2) & (shape[0] == rows) & (shape[-1] > max(end, 0)),
        "the log-probabilities must have shape [rows, vocabulary], "
        f"and the vocabulary must hold the end id {end}",
    )
    values = tf.ensure_shape(values, [None, None])
    if needed is not None:
        values = tf.cond(
            tf.reduce_all(needed),
            lambda: values, lambda: tf.where(needed[:, None], values, -np.inf),
        )  # fmt: skip
    # By the greatest of each row, nearly always one pass will do. TensorFlow's maximum may leave
    # NaN out, and a sum of what is below infinity does not.
    greatest = tf.reduce_max(values, 1)
    broken = tf.math.is_nan(tf.reduce_sum(values, 1))
    require(
        tf.reduce_all((greatest <= LOG_PROBABILITY_TOLERANCE) & ~broken),
        "a log-probability is NaN or above 0; apply a log-softmax to logits first",
    )
    return tf.cond(
        tf.reduce_any(greatest > -TINY),
        lambda: tf.where(values > -TINY, 0.0, values), lambda: values,
    )  # fmt: skip


def check_allowed(log_probabilities: tf.Tensor, needed: tf.Tensor | None = None) -> None:
    """Requires that each row of ``<float32>[rows, vocabulary]`` that is needed allows an id."""
    allowed = tf.reduce_any(log_probabilities > -np.inf, axis=1)
    if needed is not None:
        allowed |= ~needed
    require(
        tf.reduce_all(allowed),
        "every id of a row has log-probability -inf; at least one must be allowed",
    )


def row_shape(tensor: tf.Tensor) -> tf.TensorShape:
    """The shape of a loop variable ``[rows, ...]``, its rows unknown."""
    return tf.TensorShape([None]).concatenate(tensor.shape[1:])


def _check_rows(name: str, tensor: tf.Tensor, rows: tf.Tensor) -> None:
    sentence = f"the first axis of the state {name!r} must be the rows"
    if tensor.shape.rank == 0:
        raise DecodingError(sentence)
    require(tf.shape(tensor)[0] == rows, sentence)
