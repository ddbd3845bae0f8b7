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
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.stepwise import wrapped_calls

POINTS = 16  # of the Gauss-Legendre rule on each piece of the path
MOST_POINTS = 1024  # of all pieces together
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
        return abs(self.residual) <= max(TOLERANCE * difference, _rounding(self))


def _rounding(found: Attribution) -> float:
    """What may be missed where the scores hardly differ: rounding is then no small share."""
    return 1e-4 * max(1.0, abs(found.score), abs(found.baseline_score))


@dataclass(frozen=True, eq=False)
class _Piece:
    """A part of the path: its ends, the integral of the gradients over it, and what the
    attributions miss of the change of the score."""

    first: float
    last: float
    gradients: Mapping[str, np.ndarray]
    missed: float

    @property
    def halves(self) -> list[tuple[float, float]]:
        """Both, by their ends."""
        middle = (self.first + self.last) / 2
        return [(self.first, middle), (middle, self.last)]


def integrated_gradients(
    model: keras.Model,
    inputs: Mapping[str, np.ndarray],
    score: Score,
    baselines: Mapping[str, np.ndarray] | None = None,
    most_points: int = MOST_POINTS,
) -> Attribution:
    """Attributions of one example.

    The path is cut in half, and again, where attributions miss the change of the score by most:
    completeness holds for each piece of it.

    Args:
        model: of a dict of named inputs.
        inputs: a batch of one.
        score: takes the model's outputs, gives ``<float32>[batch]``.
        baselines: of inputs that are floating-point numbers: those that are named here are
            explained, the others are held as they are.
        most_points: of the integral.
    """
    path = _Path(model, inputs, score, baselines or {})
    pieces = path.pieces([(0.0, 1.0)])
    while True:
        found = path.attribution(
            {name: sum(one.gradients[name] for one in pieces) for name in path.values},
            POINTS * len(pieces),
        )
        allowed = max(TOLERANCE * abs(found.score - found.baseline_score), _rounding(found))
        if sum(abs(one.missed) for one in pieces) <= allowed:
            return found
        worst = max(abs(one.missed) for one in pieces)
        bad = [one for one in pieces if abs(one.missed) >= worst / 8]
        if POINTS * (len(pieces) + len(bad)) > most_points:
            return found
        halves = [half for one in bad for half in one.halves]
        pieces = [one for one in pieces if one not in bad] + path.pieces(halves)


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
    gradients = path.gradients(np.array([1.0]))
    return path.attribution({name: one[0] for name, one in gradients.items()}, 1)


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

    def pieces(self, ends: list[tuple[float, float]]) -> list[_Piece]:
        """Parts of the path, each by the Gauss-Legendre rule."""
        places, weights = np.polynomial.legendre.leggauss(POINTS)
        edges = np.array(ends)
        scores = np.concatenate([
            self.scores(edges.ravel()[i : i + ROWS]) for i in range(0, edges.size, ROWS)
        ]).reshape(edges.shape)  # fmt: skip
        found, together = [], ROWS // POINTS
        for i in range(0, len(edges), together):
            part = edges[i : i + together]
            middle, half = part.mean(1, keepdims=True), (part[:, 1:] - part[:, :1]) / 2
            gradients = self.gradients((middle + half * places).ravel())
            for j, (first, last) in enumerate(part.tolist()):
                rows = slice(j * POINTS, (j + 1) * POINTS)
                mine = {
                    name: np.tensordot(weights * half[j, 0], one[rows], 1)
                    for name, one in gradients.items()
                }
                change = float(scores[i + j, 1] - scores[i + j, 0])
                found.append(_Piece(first, last, mine, change - self.total(mine)))
        return found

    def total(self, gradients: Mapping[str, np.ndarray]) -> float:
        """Sum of the attributions by these gradients."""
        return float(sum(
            np.vdot(gradients[name], np.asarray(value - self.baselines[name])[0])
            for name, value in self.values.items()
        ))  # fmt: skip

    def attribution(self, gradients: Mapping[str, np.ndarray], points: int) -> Attribution:
        """What the integral of the gradients over the whole path says."""
        ends = self.ends
        entries = {
            name: Entry(
                self.values[name].numpy()[0], self.baselines[name].numpy()[0],
                gradients[name], self.arguments.get(name, ()),
            )
            for name in self.values
        }  # fmt: skip
        return Attribution(entries, float(ends[1]), float(ends[0]), points)

    @cached_property
    def ends(self) -> np.ndarray:
        """Scores at the baseline and at the input."""
        return self.scores(np.array([0.0, 1.0]))


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
