"""What a configuration may score, from those that were tried: the model of a Bayesian search.

A Gaussian process (Rasmussen and Williams 2006, chapters 2 and 5) over the hyperparameters, each on
its own scale: numbers by their place in the space's range, on a logarithmic scale where the space
has one; strings and switches as equal or different, since their order means nothing. The kernel is
Matérn's with nu = 5/2 and one length scale per hyperparameter, so that those that do not matter
stop counting. Length scales and noise are those of the highest posterior density.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner as kt
import numpy as np
from keras_tuner.engine.hyperparameters import Boolean, Choice, Fixed, HyperParameter
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtr

# The process is fitted to at most this many trials: its time grows with their cube.
MAX_POINTS = 256
# Logarithms of length scales and noise: mean and standard deviation of their prior.
LENGTH_PRIOR = (-0.7, 1.0)
NOISE_PRIOR = (-4.0, 2.0)
RESTARTS = 1


class Encoding:
    """Configurations of a space as rows of numbers from 0 to 1.

    Args:
        space: the search space.
    """

    def __init__(self, space: kt.HyperParameters) -> None:
        self.space = space.space
        self.free = [hp for hp in self.space if not isinstance(hp, Fixed)]
        self.unordered = np.array([_unordered(hp) for hp in self.free], bool)

    def row(self, values: Mapping[str, Any]) -> list[float]:
        """A configuration; a hyperparameter that it does not have is at its default."""
        return [float(hp.value_to_prob(values.get(hp.name, hp.default))) for hp in self.free]

    def values(self, row: Sequence[float]) -> dict[str, Any]:
        """The configuration at a row, without hyperparameters whose conditions do not hold."""
        found: dict[str, Any] = {}
        places = dict(zip((hp.name for hp in self.free), row, strict=True))
        for hp in self.space:
            if all(condition.is_active(found) for condition in hp.conditions):
                fixed = isinstance(hp, Fixed)
                found[hp.name] = hp.value if fixed else hp.prob_to_value(places[hp.name])
        return found

    def around(self, rows: np.ndarray, count: int, random: np.random.RandomState) -> np.ndarray:
        """Rows that differ little from given ones: ``<float64>[count, hyperparameters]``."""
        width = rows.shape[1]
        new = rows[random.randint(len(rows), size=count)]
        scale = 10.0 ** -random.uniform(0.5, 3.0, size=(count, 1))
        moved = np.clip(new + scale * random.standard_normal(new.shape), 0.0, 1.0)
        moved = np.where(self.unordered, random.uniform(size=new.shape), moved)
        changed = random.uniform(size=new.shape) < max(0.3, 1.0 / width)
        changed[np.arange(count), random.randint(width, size=count)] = True
        return np.where(changed, moved, new)


def _unordered(hp: HyperParameter) -> bool:
    return isinstance(hp, Boolean) or (
        isinstance(hp, Choice) and not (hp.ordered and len(hp.values) > 1)
    )


def representative(scores: np.ndarray, limit: int = MAX_POINTS) -> np.ndarray:
    """Indices of the trials that a process is fitted to: all, or the better and the newer half.

    Args:
        scores: of all trials in their order, lower is better.
        limit: maximum number of trials.
    """
    if len(scores) <= limit:
        return np.arange(len(scores))
    best = np.argsort(scores, kind="stable")[: limit // 2]
    rest = np.setdiff1d(np.arange(len(scores)), best)
    return np.sort(np.concatenate([best, rest[-(limit - len(best)) :]]))


def without_outliers(scores: np.ndarray) -> np.ndarray:
    """Scores, lower is better, none much worse than the median.

    A training that diverged says that its configuration is bad, but how bad would otherwise hide
    all differences among good ones. The limit is as far above the median as three times the best
    is below it.
    """
    middle = np.median(scores)
    return np.minimum(scores, middle + 3.0 * max(middle - scores.min(), 1e-12))


def fitted(
    rows: np.ndarray, scores: np.ndarray, unordered: np.ndarray, random: np.random.RandomState
) -> np.ndarray:
    """Logarithms of the length scales and of the noise's variance with the highest density.

    Args:
        rows: see ``Process``.
        scores: see ``Process``.
        unordered: see ``Process``.
        random: where searches for them start, except the first, which starts from the prior.
    """
    width, apart = rows.shape[1], distances(rows, rows, unordered)
    targets = (scores - scores.mean()) / (scores.std() or 1.0)
    starts = [np.append(np.full(width, LENGTH_PRIOR[0]), NOISE_PRIOR[0])]
    for _ in range(RESTARTS):
        lengths = random.normal(*LENGTH_PRIOR, size=width)
        starts.append(np.append(lengths, random.normal(*NOISE_PRIOR)))
    found = [
        minimize(
            _loss, start, args=(apart, targets), jac=True, method="L-BFGS-B",
            bounds=[(-4.0, 4.0)] * width + [(-12.0, 1.0)], options={"maxiter": 40},
        )
        for start in starts
    ]  # fmt: skip
    return min(found, key=lambda each: each.fun).x


def distances(one: np.ndarray, other: np.ndarray, unordered: np.ndarray) -> np.ndarray:
    """Squared distances of rows by hyperparameter: ``[hyperparameters, one, other]``."""
    apart = one.T[:, :, None] - other.T[:, None, :]
    return np.where(unordered[:, None, None], np.abs(apart) > 1e-9, apart**2)


def _loss(
    parameters: np.ndarray, apart: np.ndarray, targets: np.ndarray
) -> tuple[float, np.ndarray]:
    """Negative logarithm of the posterior density, and its gradient."""
    weights, noise = np.exp(-2.0 * parameters[:-1]), np.exp(parameters[-1])
    kernel, slope = _matern(np.tensordot(weights, apart, 1))
    unit = np.eye(len(targets))
    factor = cho_factor(kernel + (noise + 1e-8) * unit, lower=True)
    solved = cho_solve(factor, targets)
    value = 0.5 * targets @ solved + np.log(np.diag(factor[0])).sum()
    inner = cho_solve(factor, unit) - np.outer(solved, solved)
    lengths = -weights * np.tensordot(apart, inner * slope, 2)
    gradient = np.append(lengths, 0.5 * noise * np.trace(inner))
    for part, (mean, deviation) in (
        (slice(None, -1), LENGTH_PRIOR), (slice(-1, None), NOISE_PRIOR)
    ):  # fmt: skip
        away = (parameters[part] - mean) / deviation
        value += 0.5 * (away**2).sum()
        gradient[part] += away / deviation
    return value, gradient


class Process:
    """A Gaussian process over trials.

    Args:
        rows: ``<float64>[trials, hyperparameters]`` from 0 to 1.
        scores: ``<float64>[trials]``, lower is better.
        unordered: ``<bool>[hyperparameters]``: which are equal or different only.
        parameters: from ``fitted``.
    """

    def __init__(
        self, rows: np.ndarray, scores: np.ndarray, unordered: np.ndarray, parameters: np.ndarray
    ) -> None:
        self.rows, self.unordered = rows, unordered
        self.mean, self.scale = float(scores.mean()), float(scores.std()) or 1.0
        self.targets = (scores - self.mean) / self.scale
        self.weights, self.noise = np.exp(-2.0 * parameters[:-1]), np.exp(parameters[-1]) + 1e-8
        self._condition()

    def _condition(self) -> None:
        kernel, _ = self._kernel(self.rows)
        self.factor = cho_factor(kernel + self.noise * np.eye(len(self.rows)), lower=True)
        self.solved = cho_solve(self.factor, self.targets)

    def _kernel(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        apart = distances(rows, self.rows, self.unordered)
        return _matern(np.tensordot(self.weights, apart, 1))

    def believing(self, rows: np.ndarray) -> None:
        """Adds trials that have not ended, as if they scored what is expected of them."""
        expected, _ = self.predict(rows)
        self.targets = np.append(self.targets, (expected - self.mean) / self.scale)
        self.rows = np.concatenate([self.rows, rows])
        self._condition()

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected score and standard deviation at rows, without the noise of one training."""
        kernel, _ = self._kernel(rows)
        half = solve_triangular(self.factor[0], kernel.T, lower=True)
        variance = np.maximum(1.0 - (half**2).sum(0), 1e-12)
        return self.mean + self.scale * (kernel @ self.solved), self.scale * np.sqrt(variance)

    def improvement(self, rows: np.ndarray, best: float) -> np.ndarray:
        """Expected improvement on a score (Jones, Schonlau and Welch 1998)."""
        mean, deviation = self.predict(rows)
        z = (best - mean) / deviation
        density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
        return deviation * (z * ndtr(z) + density)


def _matern(squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matérn's kernel with nu = 5/2 at squared distances, and its derivative by them."""
    root = np.sqrt(5.0 * squared)
    decay = np.exp(-root)
    return (1.0 + root + root**2 / 3.0) * decay, -5.0 / 6.0 * (1.0 + root) * decay
