"""The network and a baseline together, each as much as validation says.

A network has to earn its share: where it knows no more than the last value does, as of a random
walk, the forecast becomes the last value. Intervals are set around what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from models.conformal import WILDEST, Calibration
from models.forecasting_baselines import WindowMap
from models.forecasting_metrics import block_sums

ALL = 0.99  # a share from which on the network stands alone


def network_shares(
    truth: np.ndarray, network: np.ndarray, baseline: np.ndarray, blocks: np.ndarray
) -> np.ndarray:
    """Share of the network in the blend that errs least in squares, for each column.

    A share is shrunk to nought by its own uncertainty (the positive part of James & Stein 1961),
    so that chance alone gives a network nothing; nor does a single stretch of time, which cannot
    tell how much of a share is chance.

    Args:
        truth: ``<float>[windows, horizon, columns]``.
        network: forecasts of the same shape.
        baseline: likewise.
        blocks: ``<int>[windows]``, stretches of time that are as good as independent.

    Returns:
        ``<float32>[columns]``, 0 to 1.
    """
    apart = (network - baseline).astype(np.float64)
    gain = block_sums((apart * (truth - baseline)).sum(1), blocks)
    size = block_sums(np.square(apart).sum(1), blocks)
    total = np.maximum(size.sum(0), 1e-12)
    share = gain.sum(0) / total
    count = len(gain)
    if count < 2:
        return np.zeros(len(share), np.float32)  # nothing says how sure it is: it may be chance
    variance = np.square(gain - share * size).sum(0) / total**2 * count / (count - 1)
    kept = np.maximum(0, 1 - variance / np.maximum(np.square(share), 1e-12))
    return np.abs(np.clip(share * kept, 0, 1)).astype(np.float32)  # no nought with a minus


@dataclass(frozen=True)
class Blend:
    """A baseline, and how much of the network there is beside it.

    Attributes:
        map: the baseline, on scaled windows.
        share: ``<float32>[columns]``, of the network.
    """

    map: WindowMap
    share: np.ndarray


def finished_forecaster(
    model: keras.Model, blend: Blend | None, calibration: Calibration, median: bool
) -> keras.Model:
    """A trained forecaster with what validation said of it.

    Args:
        model: of ``models.forecasting.forecaster``; its layers are shared, not copied.
        blend: what to blend in; None leaves the network alone.
        calibration: of the quantiles around the blend.
        median: whether ``mean`` estimates the median, as trained on absolute errors: then the
            quantile of a half is ``mean`` itself.
    """
    alone, quantiles = model.output["mean"], model.output["quantiles"]
    values, mean = model.input["values"], alone
    if blend is not None:
        layer = BlendBaseline(len(blend.map.kernel), name="blend", dtype="float32")
        mean = layer([alone, values])
        layer.set_weights([blend.map.kernel, blend.map.bias, blend.share])
    layer = Intervals(median, name="intervals", dtype="float32")
    quantiles = layer([alone, mean, quantiles, values])
    layer.set_weights([calibration.scale, calibration.offset, calibration.variance])
    outputs = {"mean": mean, "quantiles": quantiles}
    return keras.Model(model.input, outputs, name="forecaster")


@keras.saving.register_keras_serializable("seqloom")
class BlendBaseline(keras.layers.Layer):
    """``baseline + share * (network - baseline)``; called on ``[network, values]``.

    The baseline is a ``WindowMap`` of ``values <float32>[batch, lookback, inputs]``, of whose
    columns the first count.

    Args:
        maps: one for each column, or 1.
    """

    def __init__(self, maps: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.maps = maps

    def build(self, shapes) -> None:
        """Weights that are set, not trained."""
        (_, horizon, self.columns), (_, lookback, _) = shapes
        fixed = {"initializer": "zeros", "trainable": False}
        self.kernel = self.add_weight((self.maps, lookback, horizon), name="kernel", **fixed)
        self.bias = self.add_weight((self.maps, horizon), name="bias", **fixed)
        self.share = self.add_weight((self.columns,), name="share", **fixed)

    def call(self, inputs):
        """To ``[batch, horizon, columns]``."""
        network, values = inputs
        values = values[:, :, : self.columns]
        last = values[:, -1:]
        rows = ops.transpose(values - last, (2, 0, 1))
        rows = ops.matmul(rows, self.kernel) + self.bias[:, None]
        baseline = ops.transpose(rows, (1, 2, 0)) + last
        return baseline + self.share * (network - baseline)

    def compute_output_shape(self, shapes):
        """That of the network's forecast."""
        return shapes[0]

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "maps": self.maps}


@keras.saving.register_keras_serializable("seqloom")
class Intervals(keras.layers.Layer):
    """Quantiles around the forecast as ``models.conformal`` calibrated them.

    Called on ``[network, mean, quantiles, values]``: the network's forecast, what the blend made
    of it, the network's quantiles ``[batch, horizon, columns, levels]`` in order, and the window.

    Args:
        median: whether the quantile of a half is the forecast itself.
    """

    def __init__(self, median: bool, **kwargs) -> None:
        super().__init__(**kwargs)
        self.median = median

    def build(self, shapes) -> None:
        """Weights that are set, not trained."""
        (_, _, self.columns), shape = shapes[0], tuple(shapes[2][1:])
        self.scale = self.add_weight(shape, "ones", trainable=False, name="scale")
        self.offset = self.add_weight(shape, "zeros", trainable=False, name="offset")
        # Of a usual window, which the spread of this one is compared with.
        self.variance = self.add_weight((self.columns,), "ones", trainable=False, name="variance")

    def call(self, inputs):
        """To the shape of the quantiles."""
        network, mean, quantiles, values = inputs
        values = values[:, :, : self.columns]
        away = values - ops.mean(values, 1, keepdims=True)
        variance = ops.mean(ops.square(away), 1, keepdims=True)
        spread = ops.sqrt((variance + self.variance) / (2 * self.variance))
        spread = ops.minimum(spread, WILDEST)
        middle = quantiles.shape[-1] // 2
        middle = quantiles[..., middle : middle + 1]
        centre = mean if self.median else mean + (middle[..., 0] - network)
        reach = self.scale * (quantiles - middle) + self.offset
        return centre[..., None] + spread[..., None] * reach

    def compute_output_shape(self, shapes):
        """That of the quantiles."""
        return shapes[2]

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "median": self.median}
