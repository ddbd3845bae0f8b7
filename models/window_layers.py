"""Layers that normalise windows, and that turn columns and segments into rows and back."""

from __future__ import annotations

import keras
from keras import ops

TINY = 1e-5


@keras.saving.register_keras_serializable("seqloom")
class WindowLevel(keras.layers.Layer):
    """Level and scale of each column of a window ``<float32>[batch, time, columns]``.

    ``last``: the last value, and one (as in NLinear and SegRNN); ``mean_std``: mean and standard
    deviation (RevIN, Kim et al. 2022, without its affine weights). Two ``[batch, 1, columns]``.
    """

    def __init__(self, kind: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, x):
        """To (level, scale)."""
        if self.kind == "last":
            last = x[:, -1:]
            return last, ops.ones_like(last)
        mean = ops.mean(x, 1, keepdims=True)
        variance = ops.mean(ops.square(x - mean), 1, keepdims=True)
        return mean, ops.sqrt(variance + TINY)

    def compute_output_shape(self, shape):
        """Twice ``(batch, 1, columns)``."""
        return (shape[0], 1, shape[2]), (shape[0], 1, shape[2])

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("seqloom")
class Normalize(keras.layers.Layer):
    """``(x - level) / scale``; called on ``[x, level, scale]``."""

    def call(self, inputs):
        """To the shape of ``x``."""
        x, level, scale = inputs
        return (x - level) / scale


@keras.saving.register_keras_serializable("seqloom")
class Denormalize(keras.layers.Layer):
    """``y * scale + level`` for ``y [batch, horizon, columns, outputs]``.

    Called on ``[y, level, scale]``; levels of the first columns count, inputs may have more.
    """

    def build(self, shapes) -> None:
        """Remembers how many columns are forecast."""
        self.columns = shapes[0][2]

    def call(self, inputs):
        """To the shape of ``y``."""
        y, level, scale = inputs
        return y * scale[:, :, : self.columns, None] + level[:, :, : self.columns, None]

    def compute_output_shape(self, shapes):
        """That of ``y``."""
        return shapes[0]


@keras.saving.register_keras_serializable("seqloom")
class Repeat(keras.layers.Layer):
    """Each row ``copies`` times in a row: ``[batch, ...]`` to ``[batch * copies, ...]``."""

    def __init__(self, copies: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.copies = copies

    def call(self, x):
        """Along the first axis."""
        tail = x.shape[1:]
        x = ops.broadcast_to(x[:, None], (ops.shape(x)[0], self.copies, *tail))
        return ops.reshape(x, (-1, *tail))

    def compute_output_shape(self, shape):
        """The batch grows."""
        return (None, *shape[1:])

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "copies": self.copies}


@keras.saving.register_keras_serializable("seqloom")
class ColumnsToRows(keras.layers.Layer):
    """``[batch, time, columns]`` to ``[batch * columns, time]``: each column is a row."""

    def call(self, x):
        """The columns of one window follow one another."""
        return ops.reshape(ops.transpose(x, (0, 2, 1)), (-1, x.shape[1]))

    def compute_output_shape(self, shape):
        """The batch grows."""
        return (None, shape[1])


@keras.saving.register_keras_serializable("seqloom")
class RowsToColumns(keras.layers.Layer):
    """``[batch * columns, horizon * outputs]`` to ``[batch, horizon, columns, outputs]``."""

    def __init__(self, columns: int, outputs: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.columns, self.outputs = columns, outputs

    def build(self, shape) -> None:
        """Remembers the steps of the future."""
        self.horizon = shape[1] // self.outputs

    def call(self, y):
        """The way back of ``ColumnsToRows``."""
        y = ops.reshape(y, (-1, self.columns, self.horizon, self.outputs))
        return ops.transpose(y, (0, 2, 1, 3))

    def compute_output_shape(self, shape):
        """The batch shrinks."""
        return (None, shape[1] // self.outputs, self.columns, self.outputs)

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "columns": self.columns, "outputs": self.outputs}


@keras.saving.register_keras_serializable("seqloom")
class PositionalQueries(keras.layers.Layer):
    """Learnt vectors for each segment of the future and each column, side by side.

    Takes the encoder's last state for its batch size, gives
    ``[batch * columns * segments, width]``.
    """

    def __init__(self, segments: int, columns: int, width: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.segments, self.columns, self.width = segments, columns, width

    def build(self, shape) -> None:
        """Half of the width for the place, the rest for the column."""
        half = self.width // 2
        start = keras.initializers.RandomNormal(stddev=1.0)
        self.place = self.add_weight((self.segments, half), start, name="place")
        self.column = self.add_weight((self.columns, self.width - half), start, name="column")

    def table(self):
        """``[columns * segments, width]``, the segments of a column after one another."""
        place = ops.tile(self.place, (self.columns, 1))
        column = ops.repeat(self.column, self.segments, axis=0)
        return ops.concatenate([place, column], -1)

    def call(self, state):
        """One copy of the table for each window."""
        windows = ops.shape(state)[0] // self.columns
        table = ops.broadcast_to(self.table(), (windows, self.columns * self.segments, self.width))
        return ops.reshape(table, (-1, self.width))

    def compute_output_shape(self, shape):
        """One row a window, column and segment."""
        return (None, self.width)

    def get_config(self):
        """For ``model.keras``."""
        sizes = {"segments": self.segments, "columns": self.columns, "width": self.width}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("seqloom")
class SortQuantiles(keras.layers.Layer):
    """Sorts ``[batch, horizon, columns, levels]`` along its levels.

    Quantiles are learnt apart and may cross; sorted they are no worse (Chernozhukov et al. 2010).
    """

    def build(self, shape) -> None:
        """Remembers how many there are."""
        self.levels = shape[-1]

    def call(self, quantiles):
        """To the same shape."""
        return ops.sort(quantiles, axis=-1)


@keras.saving.register_keras_serializable("seqloom")
class CalibrateQuantiles(SortQuantiles):
    """Sorts, and adds an offset of all axes but the first: of runs of earlier versions alone."""

    def build(self, shape) -> None:
        """No offset before the weights are read."""
        super().build(shape)
        self.offset = self.add_weight(tuple(shape[1:]), "zeros", trainable=False, name="offset")

    def call(self, quantiles):
        """To the same shape."""
        return super().call(quantiles) + self.offset


@keras.saving.register_keras_serializable("seqloom")
class FutureRows(keras.layers.Layer):
    """Joins the ``segments`` rows of a window, ``[n * segments, width]`` to ``[n, size]``.

    What the last segment has beyond the horizon is cut off.
    """

    def __init__(self, segments: int, size: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.segments, self.size = segments, size

    def build(self, shape) -> None:
        """Remembers how wide a segment is."""
        self.segment = shape[1]

    def call(self, y):
        """In order of time."""
        return ops.reshape(y, (-1, self.segments * self.segment))[:, : self.size]

    def compute_output_shape(self, shape):
        """The batch shrinks."""
        return (None, self.size)

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "segments": self.segments, "size": self.size}


@keras.saving.register_keras_serializable("seqloom")
class SegmentsToRows(keras.layers.Layer):
    """``[n, segments, width]`` to ``[n * segments, width]``."""

    def call(self, x):
        """The segments of a row follow one another."""
        return ops.reshape(x, (-1, x.shape[2]))

    def compute_output_shape(self, shape):
        """The batch grows."""
        return (None, shape[2])
