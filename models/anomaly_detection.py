"""Anomaly scores of rows: how far each is from what a network expects.

``residual`` holds two expectations. The *next* row: a recurrent network reads the rows before and
the time; a jump gives a high score, but soon the network is used to the new level. The *usual* row,
a time-of-day profile: a network of the time alone, whose error stays high as long as a row is not
what it is at that hour. Each error is measured in train's own and against its own threshold, the
next row's with less weight. ``pipelines.anomaly_watch`` adds what needs a memory but no network.
All of it goes step by step: one row in, one score out, the state carried.

``autoencoder`` measures the last row of a window against the window written again from one vector
(Malhotra et al. 2016).
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from models.anomaly_detection_config import AnomalyConfig
from models.network import Network, read_sequence
from models.recurrent import CELLS
from models.training import compile_model

MIN_SCALE = 1e-3  # standardised units: of a column without any error on train


def core_model(
    config: AnomalyConfig,
    columns: int,
    calendar: int,
    window: int,
    network: Network | None = None,
) -> keras.Model:
    """What is trained: expectations, or reconstructions.

    Args:
        config: the whole of it.
        columns: that are watched.
        calendar: features of the time of each row; 0 for none.
        window: rows that an autoencoder sees.
        network: in place of the recurrent stack.

    Returns:
        ``previous <float32>[batch, time, columns]``, the rows before, and ``calendar [batch, time,
        calendar]`` to ``next`` and ``usual [batch, time, columns]``: what comes next, and what
        there is at that time. Or ``values [batch, window, columns]`` to ``rebuilt`` of that shape.

    Raises:
        ConfigError: settings that do not go together.
    """
    if config.scorer == "autoencoder":
        return _autoencoder(config, columns, window, network)
    config.check()
    previous = keras.Input((None, columns), name="previous")
    inputs = {"previous": previous}
    seen = [previous]
    if calendar:
        inputs["calendar"] = keras.Input((None, calendar), name="calendar")
        seen.append(inputs["calendar"])
    x = keras.layers.Concatenate(name="seen")(seen) if calendar else previous
    x = keras.layers.Dense(config.embedding_dim, "tanh", name="embedding")(x)
    x = read_sequence(x, config, network, causal=True)
    change = keras.layers.Dense(columns, name="change")(x)
    following = keras.layers.Add(name="next")([previous, change])
    # Without a calendar the usual row is always the same one: the bias of a layer of zeros.
    clock = inputs.get("calendar", previous * 0.0)
    u = keras.layers.Dense(config.units, "tanh", name="clock")(clock)
    u = keras.layers.Dense(config.units, "tanh", name="clock_deep")(u)
    usual = keras.layers.Dense(columns, name="usual")(u)
    return keras.Model(inputs, {"next": following, "usual": usual}, name="expectation")


def _autoencoder(
    config: AnomalyConfig, columns: int, window: int, network: Network | None
) -> keras.Model:
    values = keras.Input((window, columns), name="values")
    x = keras.layers.Dense(config.embedding_dim, "tanh", name="embedding")(values)
    x = read_sequence(x, config, network, return_sequences=False)
    x = keras.layers.RepeatVector(window, name="repeated")(x)
    x = CELLS[config.cell](config.units, return_sequences=True, name="decoder")(x)
    y = keras.layers.Dense(columns, name="head")(x)
    return keras.Model({"values": values}, {"rebuilt": y}, name="autoencoder")


def compile_expectation(model: keras.Model, config: AnomalyConfig) -> None:
    """Mean absolute error of each expectation: a wild row in train moves a median little."""
    outputs = list(model.output)
    mae = keras.metrics.MeanAbsoluteError(name="mae")
    compile_model(
        model, config, dict.fromkeys(outputs, "mae"), {outputs[0]: [mae]},
        loss_weights=dict.fromkeys(outputs, 1 / len(outputs)),
    )  # fmt: skip


@keras.saving.register_keras_serializable("seqloom")
class AnomalyScore(keras.layers.Layer):
    """Score of a row: one and more is an anomaly.

    Called on ``[values, expectation, ...]``, ``<float32>[batch, time, columns]`` each: the root
    mean square over columns of the error in units of ``scale``, in units of ``threshold``.
    ``calibrate_scores`` sets both.

    Args:
        each: gives the scores of all expectations, ``[batch, time, expectations]``; else, as in
            models of earlier versions, that of the one that is farthest off, ``[batch, time]``.
        parts: gives a second output, what each column adds to the square of each score:
            ``[batch, time, expectations * columns]``, column by column of the first expectation,
            then of the next. Models of earlier versions have none.
    """

    def __init__(self, each: bool = False, parts: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.each, self.parts = each, parts

    def build(self, shapes) -> None:
        """Units of one."""
        count, columns = len(shapes) - 1, shapes[0][-1]
        self.scale = self.add_weight((count, columns), "ones", trainable=False, name="scale")
        self.threshold = self.add_weight((count,), "ones", trainable=False, name="threshold")

    def call(self, inputs):
        """For each row."""
        values, *expectations = inputs
        scores, parts = [], []
        for i, expected in enumerate(expectations):
            error = ops.square((values - expected) / self.scale[i])
            scores.append(ops.sqrt(ops.mean(error, -1)) / self.threshold[i])
            parts.append(error / (error.shape[-1] * ops.square(self.threshold[i])))
        scores = ops.stack(scores, -1)
        scores = scores if self.each else ops.max(scores, -1)
        return (scores, ops.concatenate(parts, -1)) if self.parts else scores

    def compute_output_shape(self, shapes):
        """One number for each row, or for each expectation; and one for each of its columns."""
        *rows, columns = shapes[0]
        count = len(shapes) - 1
        scores = (*rows, count) if self.each else tuple(rows)
        return (scores, (*rows, count * columns)) if self.parts else scores

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "each": self.each, "parts": self.parts}


@keras.saving.register_keras_serializable("seqloom")
class SlidingWindows(keras.layers.Layer):
    """The window that ends at each row: ``[batch, time, n]`` to ``[batch * time, window, n]``.

    Before the first row the first row is repeated.
    """

    def __init__(self, window: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.window = window

    def call(self, x):
        """Rows by their places."""
        places = ops.arange(ops.shape(x)[1])[:, None] + ops.arange(1 - self.window, 1)[None]
        windows = ops.take(x, ops.maximum(places, 0), axis=1)
        return ops.reshape(windows, (-1, self.window, x.shape[-1]))

    def compute_output_shape(self, shape):
        """The batch grows."""
        return (None, self.window, shape[-1])

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "window": self.window}


@keras.saving.register_keras_serializable("seqloom")
class LastOfWindows(keras.layers.Layer):
    """SlidingWindows ``[batch * time, window, n]`` to ``[batch, time, n]``.

    Called on ``[windows, series]``; the series says how many rows there are.
    """

    def call(self, inputs):
        """The last row of each window, in the order of the series."""
        windows, series = inputs
        return ops.reshape(windows[:, -1], (-1, ops.shape(series)[1], windows.shape[-1]))

    def compute_output_shape(self, shapes):
        """As long as the series."""
        return (shapes[1][0], shapes[1][1], shapes[0][-1])


def scoring_model(
    core: keras.Model, config: AnomalyConfig, columns: int, window: int
) -> keras.Model:
    """The trained model with its scorer: what is saved, exported and served.

    Returns:
        ``values``, and what ``core`` takes, to ``score <float32>[batch, time, expectations]``,
        ``parts`` of its columns (see ``AnomalyScore``) and the expectations ``[batch, time,
        columns]``, by the names that ``core`` gives them.
    """
    values = keras.Input((None, columns), name="values")
    inputs = {"values": values}
    if config.scorer == "autoencoder":
        written = core({"values": SlidingWindows(window, name="windows")(values)})
        expected = {"rebuilt": LastOfWindows(name="last")([written["rebuilt"], values])}
    else:
        for name, tensor in core.input.items():
            inputs[name] = keras.Input((None, tensor.shape[-1]), name=name)
        expected = core({name: x for name, x in inputs.items() if name != "values"})
    every = [expected[name] for name in sorted(expected)]
    score, parts = AnomalyScore(each=True, parts=True, name="score")([values, *every])
    return keras.Model(inputs, {"score": score, "parts": parts, **expected}, name="detector")


def calibrate_scores(
    detector: keras.Model,
    series: list[dict[str, np.ndarray]],
    config: AnomalyConfig,
    normal: list[np.ndarray] | None = None,
    witnesses: int = 1,
) -> np.ndarray:
    """Learns the units of errors and the thresholds from the training rows.

    Args:
        detector: of ``scoring_model``; its layer ``score`` is changed.
        series: core inputs of each training series, a batch of one each.
        config: threshold and alarm_rate are read.
        normal: the rows of each that count, ``<bool>[time]``; all by default.
        witnesses: how many share the rate of alarms.

    Returns:
        The threshold of each expectation.
    """
    layer, errors = detector.get_layer("score"), []
    names = expectations(detector)
    for i, inputs in enumerate(series):
        found = detector.predict_on_batch(inputs)
        expected = np.stack([found[name][0] for name in names], 1)  # (T, E, C)
        error = np.abs(inputs["values"][0][:, None] - expected)
        errors.append(error if normal is None else error[normal[i]])
    error = np.concatenate(errors)
    scale = np.maximum(np.median(error, 0), MIN_SCALE)
    layer.scale.assign(scale)
    scores = np.sqrt(np.square(error / scale).mean(-1)).T
    rate = config.alarm_rate / witnesses
    if len(scores) > 1:
        # What comes next is harder to forecast, and its errors have a heavy tail by nature.
        following = threshold_of(scores[0], config.threshold, rate) / config.surprise
        thresholds = [following, *(robust_threshold(x, config.threshold, rate) for x in scores[1:])]
    else:
        thresholds = [robust_threshold(scores[0], config.threshold, rate)]
    thresholds = np.array(thresholds)
    layer.threshold.assign(np.maximum(thresholds, 1e-3))
    return thresholds


def expectations(detector: keras.Model) -> list[str]:
    """Names of what a detector expects; the first one is shown to people."""
    return [name for name in ("next", "usual", "rebuilt") if name in detector.output]


def threshold_of(scores: np.ndarray, kind: str, alarm_rate: float) -> float:
    """The score that a share ``alarm_rate`` of normal rows exceeds.

    ``quantile``: of the scores themselves, which cannot go beyond the largest. ``evt``: a
    generalised Pareto distribution fitted to the highest two hundredths (peaks over threshold;
    Siffer et al. 2017), which can.
    """
    scores = np.asarray(scores, np.float64)
    if kind == "quantile" or alarm_rate >= 0.02:  # no tail beyond what the scores show
        return float(np.quantile(scores, 1 - alarm_rate, method="higher"))
    from scipy.stats import genpareto

    start = float(np.quantile(scores, 0.98))
    excesses = scores[scores > start] - start
    if len(excesses) < 10:
        return float(scores.max())
    shape, _, scale = genpareto.fit(excesses, floc=0)
    # A heavier tail than this has no mean; so few points do not show one.
    shape = min(shape, 0.5)
    share = alarm_rate * len(scores) / len(excesses)
    tail = -np.log(share) if abs(shape) < 1e-6 else (share**-shape - 1) / shape
    return max(start + scale * float(tail), start)


def robust_threshold(scores: np.ndarray, kind: str, alarm_rate: float) -> float:
    """``threshold_of``, but a tail fit goes no farther than the bulk of the scores would have it.

    A few anomalies in train, or one long one, make the tail so heavy that nothing is beyond it. So
    a straight line of log survival through the median and the highest fiftieth, an exponential
    tail, bounds it. What may be wild by nature, such as a row's surprise, is better left alone.
    """
    found = threshold_of(scores, kind, alarm_rate)
    if kind == "quantile" or alarm_rate >= 0.02:
        return found
    middle, high = np.quantile(np.asarray(scores, np.float64), (0.5, 0.98))
    line = middle + (high - middle) * np.log(0.5 / alarm_rate) / np.log(0.5 / 0.02)
    return float(min(found, line))
