"""A window of the past to many steps of the future: mean and quantiles.

Head ``segment`` is SegRNN (Lin et al. 2023): the recurrence runs over segments of many steps, so
that a long past costs few of them, and all segments of the future are decoded in parallel, each by
one step from the last state with a query that says which segment it is. ``direct`` reads step by
step and answers from the last state; ``encoder_decoder`` reads and then writes step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import ops

from models.forecasting_config import ForecastConfig
from models.network import VECTOR, Network, read_sequence
from models.recurrent import CELLS
from models.training import compile_model
from models.window_layers import (
    ColumnsToRows,
    Denormalize,
    FutureRows,
    Normalize,
    PositionalQueries,
    Repeat,
    RowsToColumns,
    SegmentsToRows,
    SortQuantiles,
    WindowLevel,
)


@dataclass(frozen=True)
class WindowShape:
    """What the model sees and says.

    Attributes:
        lookback: steps of the past.
        horizon: steps of the future.
        inputs: columns of the past; the first ``targets`` of them are forecast.
        targets: columns that are forecast.
        known: columns known in advance, calendar features among them; of past and future.
        quantiles: levels, rising.
    """

    lookback: int
    horizon: int
    inputs: int
    targets: int
    known: int = 0
    quantiles: tuple[float, ...] = (0.025, 0.1, 0.5, 0.9, 0.975)

    @property
    def outputs(self) -> int:
        """Numbers for each step and column: the mean and each quantile."""
        return 1 + len(self.quantiles)


def forecaster(
    config: ForecastConfig, shape: WindowShape, network: Network | None = None
) -> keras.Model:
    """A model from ``values <float32>[batch, lookback, inputs]`` to the future.

    Args:
        config: the whole of it.
        shape: of the windows. With ``known`` columns there is a second input,
            ``known <float32>[batch, lookback + horizon, known]``.
        network: in place of the recurrent stack; with head segment it reads the segments.

    Returns:
        A model to ``mean <float32>[batch, horizon, targets]`` and ``quantiles [batch, horizon,
        targets, levels]``, in the units of the input.

    Raises:
        ConfigError: settings that do not go together.
    """
    config = config.for_windows(0, shape.lookback, shape.horizon)
    config.check(shape.lookback, shape.inputs > shape.targets)
    values = keras.Input((shape.lookback, shape.inputs), name="values")
    inputs = {"values": values}
    known = None
    if shape.known:
        known = inputs["known"] = keras.Input(
            (shape.lookback + shape.horizon, shape.known), name="known"
        )
    x, level, scale = values, None, None
    if config.normalise != "none":
        level, scale = WindowLevel(config.normalise, name="level")(values)
        x = Normalize(name="normalize")([values, level, scale])
    y = HEADS[config.head](config, shape, x, known, network)
    if config.linear == "yes":
        y = keras.layers.Add(name="paths")([y, _linear_path(config, shape, x)])
    if level is not None:
        y = Denormalize(name="denormalize")([y, level, scale])  # (B, H, C, 1 + Q)
    mean = keras.layers.Activation("linear", name="mean", dtype="float32")(y[..., 0])
    quantiles = SortQuantiles(name="quantiles", dtype="float32")(y[..., 1:])
    return keras.Model(inputs, {"mean": mean, "quantiles": quantiles}, name="forecaster")


def compile_forecaster(model: keras.Model, config: ForecastConfig, levels: Sequence[float]) -> None:
    """The error of the mean as ``config.loss`` says, and the pinball loss of the quantiles."""
    point = keras.losses.Huber() if config.loss == "huber" else config.loss
    loss = {"mean": point, "quantiles": Pinball(levels)}
    mse = keras.metrics.MeanSquaredError(name="mse")
    compile_model(model, config, loss, {"mean": [mse]})


def _segment_head(config, shape: WindowShape, x, known, network):
    """SegRNN; with joint channels a segment holds all columns."""
    size, count = config.segment, shape.lookback // config.segment
    future = -(-shape.horizon // size)
    joint = config.channels == "joint"
    columns = 1 if joint else shape.targets
    x = x[:, shape.lookback - count * size :]
    if not joint:
        x = ColumnsToRows(name="columns")(x)
    width = size * (shape.inputs if joint else 1)
    x = keras.layers.Reshape((count, width), name="segments")(x)
    x = keras.layers.Dense(config.embedding_dim, "relu", name="embedding")(x)
    if network is not None:
        if known is not None:
            past, _ = _known_segments(config, shape, known, count, future, columns)
            x = keras.layers.Add(name="with_known_past")([x, past])
        x = network(x, config, VECTOR)
        outputs = shape.outputs * (shape.targets // columns)
        return _whole_future(config, shape, x, known, columns, outputs)
    cells = [
        CELLS[config.cell](
            config.units, return_sequences=True, return_state=True, name=f"{config.cell}_{depth}"
        )
        for depth in range(config.layers)
    ]
    past = ahead = None
    if known is not None:
        past, ahead = _known_segments(config, shape, known, count, future, columns)
        x = keras.layers.Add(name="with_known_past")([x, past])
    states = []
    for depth, cell in enumerate(cells):
        if depth:
            x = keras.layers.Dropout(config.dropout, name=f"dropout_{depth}")(x)
        x, *state = cell(x)
        states.append(state)
    y = PositionalQueries(future, columns, config.embedding_dim, name="queries")(states[0][0])
    if ahead is not None:
        y = keras.layers.Add(name="with_known_future")([y, ahead])
    y = keras.layers.Reshape((1, config.embedding_dim), name="steps")(y)
    copies = Repeat(future, name="copies")
    for cell, state in zip(cells, states, strict=True):
        y, *_ = cell(y, initial_state=[copies(part) for part in state])
    y = keras.layers.Reshape((config.units,), name="decoded")(y)
    y = keras.layers.Dropout(config.dropout, name="head_dropout")(y)
    each = shape.outputs * (shape.targets if joint else 1)
    y = keras.layers.Dense(size * each, name="head")(y)
    y = FutureRows(future, shape.horizon * each, name="future")(y)
    if joint:
        return keras.layers.Reshape((shape.horizon, shape.targets, shape.outputs), name="joint")(y)
    return RowsToColumns(shape.targets, shape.outputs, name="rows")(y)


def _known_segments(config, shape: WindowShape, known, count: int, future: int, columns: int):
    """What is known of each segment, as vectors for the encoder and for the decoder."""
    size, lookback = config.segment, shape.lookback
    short = future * size - shape.horizon
    dense = keras.layers.Dense(config.embedding_dim, name="known_embedding")
    copies = Repeat(columns, name="known_of_columns")

    past = known[:, lookback - count * size : lookback]
    past = dense(keras.layers.Reshape((count, size * shape.known), name="known_past")(past))
    ahead = keras.layers.ZeroPadding1D((0, short), name="known_padding")(known[:, lookback:])
    ahead = dense(keras.layers.Reshape((future, size * shape.known), name="known_future")(ahead))
    ahead = copies(ahead)
    return copies(past), SegmentsToRows(name="known_rows")(ahead)


def _direct_head(config, shape: WindowShape, x, known, network):
    """Step by step over the past, all of the future from the last state."""
    x, columns, outputs = _step_inputs(config, shape, x, known)
    x = read_sequence(x, config, network, return_sequences=False)
    return _whole_future(config, shape, x, known, columns, outputs)


def _whole_future(config, shape: WindowShape, x, known, columns: int, outputs: int):
    """All of the future from one vector of each row, and what is known of it."""
    x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    if known is not None:
        ahead = keras.layers.Flatten(name="known_ahead")(known[:, shape.lookback :])
        x = keras.layers.Concatenate(name="with_known")(
            [x, _for_columns(ahead, columns, "known_ahead_rows")]
        )
    y = keras.layers.Dense(shape.horizon * outputs, name="head")(x)
    return _by_column(shape, y, columns)


def _encoder_decoder_head(config, shape: WindowShape, x, known, network):
    """Reads step by step, then writes step by step from the last state and what is known."""
    x, columns, outputs = _step_inputs(config, shape, x, known)
    x = read_sequence(x, config, network, return_sequences=False)
    y = keras.layers.RepeatVector(shape.horizon, name="context")(x)
    if known is not None:
        ahead = _for_columns(known[:, shape.lookback :], columns, "known_ahead_rows")
        y = keras.layers.Concatenate(name="with_known")([y, ahead])
    size = config.units * (2 if config.bidirectional else 1)
    y = CELLS[config.cell](size, return_sequences=True, name="decoder")(y)
    y = keras.layers.Dropout(config.dropout, name="head_dropout")(y)
    y = keras.layers.Dense(outputs, name="head")(y)
    y = keras.layers.Reshape((shape.horizon * outputs,), name="flat")(y)
    return _by_column(shape, y, columns)


def _step_inputs(config, shape: WindowShape, x, known):
    """``[rows, time, features]``, the rows of a window, and the outputs of a row and step."""
    columns = 1 if config.channels == "joint" else shape.targets
    if config.channels != "joint":
        x = ColumnsToRows(name="columns")(x)
        x = keras.layers.Reshape((shape.lookback, 1), name="steps")(x)
    if known is not None:
        past = _for_columns(known[:, : shape.lookback], columns, "known_past_rows")
        x = keras.layers.Concatenate(name="with_known_past")([x, past])
    return x, columns, shape.outputs * (shape.targets // columns)


def _for_columns(known, columns: int, name: str):
    return known if columns == 1 else Repeat(columns, name=name)(known)


def _by_column(shape: WindowShape, y, columns: int):
    if columns == shape.targets and columns > 1:
        return RowsToColumns(shape.targets, shape.outputs, name="rows")(y)
    return keras.layers.Reshape((shape.horizon, shape.targets, shape.outputs), name="joint")(y)


def _linear_path(config, shape: WindowShape, x):
    """NLinear (Zeng et al. 2023) for the mean; the head's quantiles lie around it."""
    x = ColumnsToRows(name="linear_columns")(x[:, :, : shape.targets])
    y = keras.layers.Dense(
        shape.horizon,
        use_bias=config.normalise != "none",
        kernel_initializer=keras.initializers.Constant(0.0),
        name="linear",
    )(x)
    # (B, H, C, 1), added to each of the outputs
    return RowsToColumns(shape.targets, 1, name="linear_rows")(y)


HEADS = {
    "segment": _segment_head,
    "direct": _direct_head,
    "encoder_decoder": _encoder_decoder_head,
}


@keras.saving.register_keras_serializable("seqloom")
class Pinball(keras.losses.Loss):
    """Quantile loss (Koenker & Bassett 1978), the mean over the levels.

    Args:
        levels: of the quantiles, rising.
    """

    def __init__(self, levels: Sequence[float], **kwargs) -> None:
        super().__init__(**{"name": "pinball", **kwargs})
        self.levels = tuple(levels)

    def call(self, y_true, y_pred):
        """``[batch, horizon, columns]`` and the same with levels, to the shape of the first."""
        errors = y_true[..., None] - y_pred
        levels = ops.convert_to_tensor(self.levels, dtype=errors.dtype)
        return ops.mean(ops.maximum(levels * errors, (levels - 1) * errors), -1)

    def get_config(self):
        """For compiled models that are saved."""
        return {**super().get_config(), "levels": self.levels}
