"""What validation says of a trained forecaster: its share beside a baseline, and its intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
import numpy as np

from models.conformal import calibrate
from models.forecasting_baselines import WindowMap, naive_map
from models.forecasting_blend import ALL, Blend, finished_forecaster, network_shares
from models.forecasting_config import ForecastConfig
from models.forecasting_metrics import time_blocks
from pipelines.forecasting import ForecastPreprocessor
from pipelines.frequency import CYCLES
from pipelines.splits import Splits
from pipelines.windows import Windows
from tasks.kinds.forecasting.baseline import CHUNK, Forecast, forecasts, window_baselines

MOST_NUMBERS = 4_000_000  # of a map that is blended in: 16 MB


def finish(
    model: keras.Model, pre: ForecastPreprocessor, splits: Splits, config: ForecastConfig
) -> tuple[keras.Model, ForecastPreprocessor]:
    """Blends a forecaster with the baseline that is best on validation, and sets its intervals.

    Args:
        model: trained.
        pre: its preprocessor.
        splits: of which validation alone is judged; a ridge regression is fitted on train.
        config: says whether to blend, and by its loss whether the forecast is a median.

    Returns:
        The finished model, and the preprocessor that knows what was found.
    """
    windows, median = splits.validation, config.loss == "mae"
    truth = pre.to_scaled(windows.future())
    said = [model.predict_on_batch(x) for x, _ in pre.encoded(windows).batches(256)]
    network = np.concatenate([one["mean"] for one in said])
    quantiles = np.concatenate([one["quantiles"] for one in said])

    scores, chosen = _best_baseline(pre, splits, truth)
    share, blend, mean = np.ones(len(pre.targets), np.float32), None, network
    if chosen and config.blend:
        share = network_shares(truth, network, chosen.said, blocks_of(pre, windows))
    if share.min() < ALL:
        blend = Blend(_map(chosen, pre), share)
        mean = chosen.said + share * (network - chosen.said)
    middle = quantiles[..., quantiles.shape[-1] // 2]
    calibration = calibrate(
        truth,
        mean if median else mean + middle - network,
        quantiles,
        _variances(pre, windows),
        pre.levels,
        windows.table.times[windows.starts],
        stride_of(windows),
        max([CYCLES[name] for name in pre.calendar], default=0),
    )
    validated = {
        "point": "median" if median else "mean",
        "naive": min(("last_value", "seasonal_naive"), key=scores.__getitem__),
        "baseline": chosen.name if chosen else "",
        "network_share": [round(float(x), 4) for x in share] if blend else [1.0] * len(share),
        "mse": {"network": _mse(truth, network), "blend": _mse(truth, mean), **scores},
        "rises": _rises(splits.train),
        "stretches": int(blocks_of(pre, windows).max()) + 1,
        "windows": len(windows),
        "independent_windows": [round(count, 1) for count in calibration.independent],
    }  # fmt: skip
    return finished_forecaster(model, blend, calibration, median), replace(pre, validated=validated)


def blocks_of(pre: ForecastPreprocessor, windows: Windows) -> np.ndarray:
    """Stretches of time that are as good as independent; see ``time_blocks``."""
    return time_blocks(windows.table.times[windows.starts], pre.frequency.seconds, pre.horizon)


def stride_of(windows: Windows) -> float:
    """Rows from one window to the next of its series."""
    apart = np.diff(windows.starts)
    return float(apart[apart > 0].min(initial=windows.horizon))


@dataclass(frozen=True)
class _Chosen:
    """A baseline, and what it says of validation, scaled."""

    name: str
    forecast: Forecast
    said: np.ndarray


def _best_baseline(
    pre: ForecastPreprocessor, splits: Splits, truth: np.ndarray
) -> tuple[dict[str, float], _Chosen | None]:
    """The mse of each baseline on validation, and the best of those that fit into a model."""
    scores, best = {}, None
    for name, forecast in window_baselines(pre, splits).items():
        said = pre.to_scaled(forecasts(pre, forecast, splits.validation))
        scores[name] = _mse(truth, said)
        if _size(name, pre) <= MOST_NUMBERS and (not best or scores[name] < scores[best.name]):
            best = _Chosen(name, forecast, said)
    return scores, best


def _map(chosen: _Chosen, pre: ForecastPreprocessor) -> WindowMap:
    if isinstance(chosen.forecast, WindowMap):
        return chosen.forecast
    return naive_map(chosen.name, pre.lookback, pre.horizon, pre.frequency.season)


def _size(name: str, pre: ForecastPreprocessor) -> int:
    return (len(pre.targets) if name == "ridge" else 1) * pre.lookback * pre.horizon


def _variances(pre: ForecastPreprocessor, windows: Windows) -> np.ndarray:
    """Variance of the scaled values of each window: ``<float>[windows, targets]``."""
    return np.concatenate([
        pre.to_scaled(windows[i : i + CHUNK].past()).var(1)
        for i in range(0, len(windows), CHUNK)
    ])  # fmt: skip


def _rises(train: Windows) -> list[bool]:
    """Whether each target ends above the last value seen in more of the windows than below it."""
    last = train.last()
    ahead = train.starts + train.lookback + train.horizon - 1
    moved = np.sign(train.table.values[ahead, : train.table.targets] - last)
    return [bool(x >= 0) for x in moved.sum(0)]


def _mse(truth: np.ndarray, said: np.ndarray) -> float:
    return float(np.square(truth - said).mean(dtype=np.float64))
