"""Forecasts without a network: naive ones, a ridge regression, exponential smoothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

ALPHAS = (1e-1, 1e0, 1e1, 1e2, 1e3, 1e4)  # ridge penalties, a window standardised
DAY, DAYS = 86400, 365
MAX_WINDOWS = 20_000  # that a ridge is fitted on
# Smoothing of level, trend and season, and damping of the trend.
SMOOTHINGS = tuple(
    product((0.05, 0.1, 0.2, 0.4, 0.7, 0.95), (0.0, 0.02, 0.1), (0.02, 0.1, 0.3), (0.9, 1.0))
)


@dataclass(frozen=True)
class WindowMap:
    """A forecast that is linear in the window: its last value, and what is added to that.

    Attributes:
        kernel: ``<float32>[columns or 1, lookback, horizon]``, on the window less its last value.
        bias: ``<float32>[columns or 1, horizon]``.
    """

    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, past: np.ndarray) -> np.ndarray:
        """``<float>[windows, lookback, columns]`` to ``[windows, horizon, columns]``."""
        last = past[:, -1:]
        rows = (past - last).transpose(2, 0, 1) @ self.kernel + self.bias[:, None]
        return rows.transpose(1, 2, 0) + last


def last_value(past: np.ndarray, horizon: int, season: int = 1) -> np.ndarray:
    """The last value again and again: the best there is for a random walk.

    Args:
        past: ``<float>[windows, lookback, columns]``.
        horizon: steps.
        season: not used.

    Returns:
        ``[windows, horizon, columns]``.
    """
    return np.repeat(past[:, -1:], horizon, 1)


def drift(past: np.ndarray, horizon: int, season: int = 1) -> np.ndarray:
    """The line through the first and the last value goes on; see ``last_value``."""
    slope = (past[:, -1:] - past[:, :1]) / (past.shape[1] - 1)
    return past[:, -1:] + slope * np.arange(1, horizon + 1)[:, None]


def window_mean(past: np.ndarray, horizon: int, season: int = 1) -> np.ndarray:
    """The mean of the window: the best there is for noise; see ``last_value``."""
    return np.repeat(past.mean(1, keepdims=True), horizon, 1)


def seasonal_naive(past: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The last season again; the last value where the past holds no season.

    Args:
        past: ``<float>[windows, lookback, columns]``.
        horizon: steps.
        season: steps.

    Returns:
        ``[windows, horizon, columns]``.
    """
    period = season if season <= past.shape[1] else 1
    return past[:, past.shape[1] - period + np.arange(horizon) % period]


NAIVE = {
    "last_value": last_value,
    "seasonal_naive": seasonal_naive,
    "drift": drift,
    "window_mean": window_mean,
}


def naive_map(name: str, lookback: int, horizon: int, season: int) -> WindowMap:
    """One of ``NAIVE`` as a map: what it makes of windows that are nought but for one row."""
    rows = np.eye(lookback, dtype=np.float64)[None]  # one window, in which each column is a row
    kernel = NAIVE[name](rows, horizon, season)[0].T
    return WindowMap(kernel[None].astype(np.float32), np.zeros((1, horizon), np.float32))


class Ridge:
    """One linear map for each column, on windows less their last value (as NLinear).

    Args:
        past: ``<float>[windows, lookback, columns]`` of train; ``MAX_WINDOWS`` are plenty.
        future: ``<float>[windows, horizon, columns]``.
    """

    def __init__(self, past: np.ndarray, future: np.ndarray) -> None:
        last = past[:, -1:]
        x, y = past - last, future - last
        self.columns = [self._decomposed(x[..., c], y[..., c]) for c in range(x.shape[2])]
        self.penalty = ALPHAS[0]

    @staticmethod
    def _decomposed(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        mean_x, mean_y = x.mean(0), y.mean(0)
        x, y = (x - mean_x).astype(np.float64), (y - mean_y).astype(np.float64)
        values, vectors = np.linalg.eigh(x.T @ x)
        return mean_x, mean_y, np.maximum(values, 0), vectors, vectors.T @ (x.T @ y)

    def predict(self, past: np.ndarray) -> np.ndarray:
        """``[windows, horizon, columns]``."""
        return self.map(past)

    @property
    def map(self) -> WindowMap:
        """The map of the penalty that was chosen."""
        kernels, biases = [], []
        for mean_x, mean_y, values, vectors, projected in self.columns:
            kernels.append(vectors @ (projected / (values + self.penalty)[:, None]))
            biases.append(mean_y - mean_x @ kernels[-1])
        return WindowMap(np.stack(kernels), np.stack(biases))

    def choose(self, past: np.ndarray, future: np.ndarray) -> None:
        """Takes the penalty with the smallest squared error on these windows."""

        def error(penalty: float) -> float:
            self.penalty = penalty
            return float(np.mean((self.predict(past) - future) ** 2))

        self.penalty = min(ALPHAS, key=error)


class Climatology:
    """The mean of the same time of the day and days of the year around it, of train.

    It knows the calendar and nothing of the window; what meteorology measures skill against (Murphy
    1988). Means are smoothed over ``NEAR`` days on either side, with triangular weights.

    Args:
        times: ``<int64>[rows]`` of train, in seconds since 1970.
        values: ``<float>[rows, columns]``.
        step: seconds from one row to the next.
    """

    NEAR = 15

    def __init__(self, times: np.ndarray, values: np.ndarray, step: int) -> None:
        self.slot = min(max(step, DAY // 48), DAY)
        slots, columns = -(-DAY // self.slot), values.shape[1]
        sums, counts = np.zeros((DAYS, slots, columns)), np.zeros((DAYS, slots, 1))
        place = self._places(times)
        np.add.at(sums, place, values)
        np.add.at(counts, place, 1)
        weights = [1 - abs(k) / (self.NEAR + 1) for k in range(-self.NEAR, self.NEAR + 1)]
        sums, counts = (
            sum(w * np.roll(x, k - self.NEAR, 0) for k, w in enumerate(weights))
            for x in (sums, counts)
        )
        usual = values.mean(0, dtype=np.float64)
        self.means = np.where(counts > 0, sums / np.maximum(counts, 1e-9), usual)

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """``<int64>[...]`` to ``<float32>[..., columns]``."""
        return self.means[self._places(times)].astype(np.float32)

    def _places(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        days = (times // DAY).astype("datetime64[D]")
        day = (days - days.astype("datetime64[Y]")).astype(np.int64)
        # The 366th day of a leap year is as near to the first of January as the 365th.
        return np.minimum(day, DAYS - 1), times % DAY // self.slot


class ExponentialSmoothing:
    """Holt-Winters with additive season and damped trend, one model a column.

    Source: Hyndman & Athanasopoulos, Forecasting: principles and practice, section 8.3. The
    smoothing weights are those of a grid with the smallest squared one-step error on train.

    Args:
        train: ``<float>[rows, columns]``, at least two seasons.
        season: steps; 1 for none.
    """

    def __init__(self, train: np.ndarray, season: int) -> None:
        self.season = season
        train = train[-max(3000, 4 * season) :]
        grid = np.array(SMOOTHINGS)
        if season == 1:
            grid = np.unique(grid * [1, 1, 0, 1], axis=0)
        weights = grid.T[:, :, None]  # four of [candidates, 1]
        errors = np.zeros((len(grid), train.shape[1]))

        def count(_: int, error: np.ndarray, __: Callable) -> None:
            np.add(errors, error**2, out=errors)

        self._run(train, weights, (len(grid), train.shape[1]), count)
        self.weights = grid[errors.argmin(0)].T  # four of [columns]

    def forecasts(self, rows: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Forecasts after the rows ``origins``, which rise.

        Args:
            rows: ``<float>[rows, columns]`` from the beginning of the series.
            origins: ``<int>[origins]``, the last row seen by each forecast.
            horizon: steps.

        Returns:
            ``[origins, horizon, columns]``.
        """
        wanted = {int(origin): i for i, origin in enumerate(origins)}
        found = np.zeros((len(origins), horizon, rows.shape[1]))

        def keep(t: int, _: np.ndarray, ahead: Callable) -> None:
            if t in wanted:
                found[wanted[t]] = ahead(horizon)

        self._run(rows[: int(origins[-1]) + 1], self.weights, (rows.shape[1],), keep)
        return found

    def _run(self, rows: np.ndarray, weights, shape: tuple[int, ...], see: Callable) -> None:
        alpha, beta, gamma, damping = weights
        m = self.season
        first = rows[: 2 * m].astype(np.float64)
        level = np.broadcast_to(first.mean(0), shape).copy()
        trend = np.zeros(shape)
        seasons = np.zeros((m, *shape))
        if m > 1:
            folded = np.stack([first[i::m].mean(0) for i in range(m)])
            seasons += np.expand_dims(
                folded - first.mean(0), tuple(range(1, len(shape)))
            ) if len(shape) > 1 else folded - first.mean(0)  # fmt: skip

        for t, row in enumerate(rows):
            damped = damping * trend
            season = seasons[t % m]
            error = row - (level + damped + season)
            level = level + damped + alpha * error
            trend = damped + alpha * beta * error
            if m > 1:
                seasons[t % m] = season + gamma * error

            def ahead(horizon: int, t=t, level=level, trend=trend) -> np.ndarray:
                steps = np.arange(1, horizon + 1)[:, None]
                growth = np.where(
                    damping == 1, steps, damping * (1 - damping**steps) / (1 - damping + 1e-12)
                )
                return level + growth * trend + seasons[(t + steps[:, 0]) % m]

            see(t, error, ahead)
