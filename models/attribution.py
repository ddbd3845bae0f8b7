"""Integrated gradients: how much each input of a model moved a score.

Source: Sundararajan, Taly, Yan 2017 (arXiv:1703.01365). The attribution of an input is its distance
from a baseline times the mean gradient of the score along the straight line from the baseline to
the input. All attributions sum to the difference of the scores at both ends (completeness), which
is checked: an integral that misses it by too much is computed again with more points.

Tokens have no gradient. What is differentiated instead is the first layer behind them that gives
floating-point numbers, such as an embedding; its baseline is zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.stepwise import wrapped_calls

POINTS = (16, 32, 64, 128, 256, 512)  # of the integral, until it is complete
TOLERANCE = 0.01  # share of the difference of the scores that attributions may miss it by
ROWS = 64  # points that go through the model together

Tensors = dict[str, tf.Tensor]
Score = Callable[[Any], tf.Tensor]


@dataclass(frozen=True)
class Entry:
    """A tensor through which an input enters the differentiable part of a model.

    Attributes:
        values: at the input, no batch axis.
        baseline: at the baseline.
        gradients: mean along the path.
        arguments: what the layer that gave it was called on: arrays without a batch axis; empty
            for an input of the model.
    """

    values: np.ndarray
    baseline: np.ndarray
    gradients: np.ndarray
    arguments: tuple[np.ndarray, ...] = ()

    @property
    def attributions(self) -> np.ndarray:
        """Of the shape of ``values``."""
        return (self.values - self.baseline) * self.gradients


@dataclass(frozen=True)
class Attribution:
    """What integrated gradients found.

    Attributes:
        entries: by name: an input of the model, or a layer behind whole numbers.
        score: at the input.
        baseline_score: at the baseline.
        points: of the integral.
    """

    entries: Mapping[str, Entry]
    score: float
    baseline_score: float
    points: int

    @property
    def total(self) -> float:
        """Sum of all attributions."""
        return float(sum(one.attributions.sum(dtype=np.float64) for one in self.entries.values()))

    @property
    def residual(self) -> float:
        """What the attributions miss of the difference of the scores."""
        return self.score - self.baseline_score - self.total

    @property
    def complete(self) -> bool:
        """Whether that is within ``TOLERANCE``."""
        difference = abs(self.score - self.baseline_score)
        # Of a difference that is as good as none, rounding is no small share.
        rounding = 1e-4 * max(1.0, abs(self.score), abs(self.baseline_score))
        return abs(self.residual) <= max(TOLERANCE * difference, rounding)


def integrated_gradients(
    model: keras.Model,
    inputs: Mapping[str, np.ndarray],
    score: Score,
    baselines: Mapping[str, np.ndarray] | None = None,
    points: tuple[int, ...] = POINTS,
) -> Attribution:
    """Attributions of one example.

    Args:
        model: of a dict of named inputs.
        inputs: a batch of one.
        score: takes the model's outputs, gives ``<float32>[batch]``.
        baselines: of inputs that are floating-point numbers: those that are named here are
            explained, the others are held as they are.
        points: of the integral; the next number is tried while it is not complete.
    """
    path = _Path(model, inputs, score, baselines or {})
    ends = path.scores(np.array([0.0, 1.0]))
    for count in points:
        gradients = path.mean_gradients(count)
        entries = {
            name: Entry(
                path.values[name].numpy()[0], path.baselines[name].numpy()[0],
                gradients[name], path.arguments.get(name, ()),
            )
            for name in path.values
        }  # fmt: skip
        found = Attribution(entries, float(ends[1]), float(ends[0]), count)
        if found.complete:
            break
    return found


def gradients_at(
    model: keras.Model,
    inputs: Mapping[str, np.ndarray],
    score: Score,
    baselines: Mapping[str, np.ndarray] | None = None,
) -> Attribution:
    """Gradient times input: the same with the gradient at the input alone, which is not complete.

    Arguments are those of ``integrated_gradients``.
    """
    path = _Path(model, inputs, score, baselines or {})
    ends, gradients = path.scores(np.array([0.0, 1.0])), path.gradients(np.array([1.0]))
    entries = {
        name: Entry(path.values[name].numpy()[0], path.baselines[name].numpy()[0],
                    gradients[name][0], path.arguments.get(name, ()))
        for name in path.values
    }  # fmt: skip
    return Attribution(entries, float(ends[1]), float(ends[0]), 1)


def log_odds(logits: tf.Tensor, place: int) -> tf.Tensor:
    """``log p / (1 - p)`` of one class: ``<float32>[batch]`` of ``<float32>[batch, classes]``.

    It has the scale of logits, but not their free constant. Of one class alone it is the logit.
    """
    others = tf.concat([logits[:, :place], logits[:, place + 1 :]], 1)
    if others.shape[1] == 0:
        return logits[:, place]
    return logits[:, place] - tf.reduce_logsumexp(others, 1)


class _Path:
    """The straight line from a baseline to an input, in the entries of a model.

    Attributes:
        values: of each entry at the input, ``[1, ...]``.
        baselines: at the baseline.
        arguments: see ``Entry``.
    """

    def __init__(self, model, inputs, score, baselines) -> None:
        self.model, self.score = model, score
        self.inputs = {name: tf.convert_to_tensor(x) for name, x in inputs.items()}
        self.layers = [
            one for one in model._flatten_layers()
            if one.weights and not isinstance(one, keras.Model)
        ]  # fmt: skip
        self.arguments: dict[str, tuple[np.ndarray, ...]] = {}
        self.values = {name: tf.cast(self.inputs[name], tf.float32) for name in baselines}
        self.values |= self._embedded()
        self.baselines = {name: tf.zeros_like(value) for name, value in self.values.items()}
        for name, baseline in baselines.items():
            shape = self.values[name].shape
            self.baselines[name] = tf.broadcast_to(tf.cast(baseline, tf.float32), shape)

    def _embedded(self) -> Tensors:
        """What the outermost layers with weights make of whole numbers alone."""
        found: Tensors = {}
        inside = False

        def record(layer, call, args, kwargs):
            nonlocal inside
            if inside or not _only_numbers(args, kwargs):
                return call(*args, **kwargs)
            inside = True
            try:
                output = call(*args, **kwargs)
            finally:
                inside = False
            if _is_float(output):
                name = _fresh(layer.name, found)
                found[name] = tf.cast(output, tf.float32)
                self.arguments[name] = tuple(np.asarray(one)[0] for one in _tensors(args, kwargs))
            return output

        with wrapped_calls(self.layers, record):
            self.model(self.inputs, training=False)
        return found

    def run(self, tensors: Tensors) -> tf.Tensor:
        """Scores ``[rows]`` with the entries as given, ``[rows, ...]`` each."""
        rows = next(iter(tensors.values())).shape[0]
        inputs = {
            name: tf.cast(tensors[name], x.dtype) if name in tensors else tf.repeat(x, rows, 0)
            for name, x in self.inputs.items()
        }
        seen: dict[str, Any] = {}

        def replace(layer, call, args, kwargs):
            if not _only_numbers(args, kwargs):
                return call(*args, **kwargs)
            name = _fresh(layer.name, seen)
            if name not in tensors:
                return call(*args, **kwargs)
            seen[name] = True
            return tf.cast(tensors[name], layer.compute_dtype)

        with wrapped_calls(self.layers, replace):
            return self.score(self.model(inputs, training=False))

    def at(self, places: np.ndarray) -> Tensors:
        """The entries at these places of the path, 0 at the baseline and 1 at the input."""
        return {
            name: self.baselines[name]
            + tf.reshape(tf.cast(places, tf.float32), [-1, *[1] * (value.shape.rank - 1)])
            * (value - self.baselines[name])
            for name, value in self.values.items()
        }

    def scores(self, places: np.ndarray) -> np.ndarray:
        """``<float32>[places]``."""
        return np.asarray(self.run(self.at(places)))

    def gradients(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """Of each entry ``<float32>[places, ...]``."""
        tensors = self.at(places)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tensors)
            total = tf.reduce_sum(self.run(tensors))
        found = tape.gradient(total, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return {name: np.asarray(one) for name, one in found.items()}

    def mean_gradients(self, count: int) -> dict[str, np.ndarray]:
        """Along the path, by the Gauss-Legendre rule with so many points."""
        places, weights = np.polynomial.legendre.leggauss(count)
        total: dict[str, Any] = dict.fromkeys(self.values, 0.0)
        for first in range(0, count, ROWS):
            part = slice(first, first + ROWS)
            for name, found in self.gradients((places[part] + 1) / 2).items():
                total[name] = total[name] + np.tensordot(weights[part] / 2, found, 1)
        return total


def _tensors(args: tuple, kwargs: Mapping[str, Any]) -> list[Any]:
    given = [value for name, value in kwargs.items() if name != "mask"]
    return [one for one in keras.tree.flatten([args, given]) if tf.is_tensor(one)]


def _only_numbers(args: tuple, kwargs: Mapping[str, Any]) -> bool:
    """Whether a layer is called on whole numbers alone."""
    tensors = _tensors(args, kwargs)
    return bool(tensors) and not any(one.dtype.is_floating for one in tensors)


def _is_float(output: Any) -> bool:
    return tf.is_tensor(output) and output.dtype.is_floating


def _fresh(name: str, found: Mapping[str, Any]) -> str:
    """The name, or ``name/2`` and so on for further calls of the same layer."""
    number, fresh = 1, name
    while fresh in found:
        number += 1
        fresh = f"{name}/{number}"
    return fresh
