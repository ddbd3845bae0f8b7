"""The equations of SimpleRNN, LSTM and GRU, one step at a time, and the derivative of a step.

NumPy in float64, for looking at what a trained layer does: gates, states, and how far a gradient
reaches (`models.memory`). Keras computes the same in float32, see the tests. One step takes the
input ``x <float64>[batch, features]`` and the state before it; a state is one array
``<float64>[batch, width]``: h of SimpleRNN and GRU, h and c side by side of an LSTM, so that its
derivative is one matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
import numpy as np

from common.errors import ConfigError


@dataclass(frozen=True)
class CellWeights:
    """Weights of one recurrent layer.

    Attributes:
        cell: simple_rnn, lstm or gru.
        kernel: ``<float64>[features, gates * units]``, W.
        recurrent: ``<float64>[units, gates * units]``, U.
        bias: ``<float64>[gates * units]``, b; ``[2, gates * units]`` of a GRU: of W and of U.
        relu: whether a SimpleRNN has ReLU in place of tanh.
    """

    cell: str
    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray
    relu: bool = False

    @classmethod
    def of(cls, layer: keras.layers.Layer) -> CellWeights:
        """Weights of a Keras layer that has been built.

        Raises:
            ConfigError: the layer is not one of the three, or computes something else.
        """
        names = {"SimpleRNN": "simple_rnn", "LSTM": "lstm", "GRU": "gru"}
        cell = names.get(type(layer).__name__)
        activation = getattr(getattr(layer, "activation", None), "__name__", "")
        gate = getattr(getattr(layer, "recurrent_activation", None), "__name__", "sigmoid")
        usual = activation == "tanh" or (cell == "simple_rnn" and activation == "relu")
        whole = getattr(layer, "use_bias", True) and getattr(layer, "reset_after", True)
        if cell is None or not usual or gate != "sigmoid" or not whole:
            raise ConfigError(
                f"the layer {layer.name!r} is not a SimpleRNN with tanh or relu, nor an LSTM or "
                "GRU with Keras's own activations, biases and reset_after"
            )
        arrays = (np.asarray(w, np.float64) for w in layer.get_weights())
        return cls(cell, *arrays, relu=activation == "relu")

    def with_forget_bias(self, value: float) -> CellWeights:
        """The same LSTM with another bias of its forget gate; sigmoid(value) of c is kept."""
        bias = self.bias.copy()
        bias[self.units : 2 * self.units] = value
        return replace(self, bias=bias)

    @property
    def units(self) -> int:
        """Width of h."""
        return len(self.recurrent)

    @property
    def width(self) -> int:
        """Width of a state: ``units``, or twice that for an LSTM."""
        return self.units * (2 if self.cell == "lstm" else 1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def gates(weights: CellWeights, x: np.ndarray, state: np.ndarray) -> dict[str, np.ndarray]:
    """Gates and candidates of one step by their usual names, ``<float64>[batch, units]`` each.

    SimpleRNN: none but the candidate ``h``. LSTM: ``i``, ``f``, ``o`` and the candidate ``g``
    (Hochreiter and Schmidhuber 1997; Gers et al. 2000). GRU: ``z``, ``r`` and the candidate ``g``
    (Cho et al. 2014), the reset gate behind the recurrent product as in Keras and cuDNN, which
    ``u`` holds: U h + b of the candidate.
    """
    h = state[:, : weights.units]
    if weights.cell == "gru":
        from_x = np.split(x @ weights.kernel + weights.bias[0], 3, axis=1)
        from_h = np.split(h @ weights.recurrent + weights.bias[1], 3, axis=1)
        z, r = (sigmoid(a + b) for a, b in zip(from_x[:2], from_h[:2], strict=True))
        return {"z": z, "r": r, "u": from_h[2], "g": np.tanh(from_x[2] + r * from_h[2])}
    sums = x @ weights.kernel + h @ weights.recurrent + weights.bias
    if weights.cell == "simple_rnn":
        return {"h": np.maximum(sums, 0) if weights.relu else np.tanh(sums)}
    i, f, g, o = np.split(sums, 4, axis=1)
    return {"i": sigmoid(i), "f": sigmoid(f), "g": np.tanh(g), "o": sigmoid(o)}


def step(weights: CellWeights, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    """The state after one step: ``<float64>[batch, width]``."""
    found = gates(weights, x, state)
    if weights.cell == "simple_rnn":
        return found["h"]
    if weights.cell == "gru":
        return found["z"] * state + (1 - found["z"]) * found["g"]
    c = found["f"] * state[:, weights.units :] + found["i"] * found["g"]
    return np.concatenate([found["o"] * np.tanh(c), c], axis=1)


def states(weights: CellWeights, x: np.ndarray) -> np.ndarray:
    """States before the first step, zeros, and after each: ``<float64>[time + 1, batch, width]``.

    Args:
        weights: of the layer.
        x: ``<float>[batch, time, features]``.
    """
    found = [np.zeros((len(x), weights.width))]
    for now in np.moveaxis(np.asarray(x, np.float64), 1, 0):
        found.append(step(weights, now, found[-1]))
    return np.stack(found)


def step_derivative(weights: CellWeights, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Jacobian of one step, ``<float64>[batch, width, width]``: entry (i, j) is the derivative of
    value i of the state after it by value j of the state before it."""
    found = gates(weights, x, state)
    parts = [part.T for part in np.split(weights.recurrent, _GATES[weights.cell], axis=1)]
    if weights.cell == "simple_rnn":
        slope = (found["h"] > 0) if weights.relu else 1 - found["h"] ** 2
        return slope[:, :, None] * parts[0]
    if weights.cell == "gru":
        return _gru_derivative(found, parts, state)
    return _lstm_derivative(found, parts, state[:, weights.units :])


_GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}


def _diagonal(values: np.ndarray) -> np.ndarray:
    return values[:, :, None] * np.eye(values.shape[1])


def _gru_derivative(
    found: dict[str, np.ndarray], parts: list[np.ndarray], h: np.ndarray
) -> np.ndarray:
    z, r, u, g = (found[name] for name in "zrug")
    of_z, of_r, of_g = parts
    inside = r[:, :, None] * of_g + (u * r * (1 - r))[:, :, None] * of_r
    by_gate = ((h - g) * z * (1 - z))[:, :, None] * of_z
    return _diagonal(z) + by_gate + ((1 - z) * (1 - g**2))[:, :, None] * inside


def _lstm_derivative(
    found: dict[str, np.ndarray], parts: list[np.ndarray], c: np.ndarray
) -> np.ndarray:
    i, f, g, o = (found[name] for name in "ifgo")
    of_i, of_f, of_g, of_o = parts
    after = np.tanh(f * c + i * g)
    c_by_h = (
        (c * f * (1 - f))[:, :, None] * of_f
        + (g * i * (1 - i))[:, :, None] * of_i
        + (i * (1 - g**2))[:, :, None] * of_g
    )
    through = o * (1 - after**2)
    h_by_h = through[:, :, None] * c_by_h + (after * o * (1 - o))[:, :, None] * of_o
    rows_of_h = np.concatenate([h_by_h, _diagonal(through * f)], axis=2)
    rows_of_c = np.concatenate([c_by_h, _diagonal(f)], axis=2)
    return np.concatenate([rows_of_h, rows_of_c], axis=1)
