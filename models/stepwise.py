"""Recurrent layers run one step at a time, so that their states and gates can be looked at.

Keras's layers keep states and gates to themselves. Within ``stepwise(model)`` every SimpleRNN, LSTM
and GRU that a model calls, however deep inside of it, is replaced by the same equations written out
step by step. The model's answers are the same to float rounding; what every step was is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

CELLS = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
# A gate is saturated in the lowest or highest tenth of its range (Karpathy, Johnson, Fei-Fei 2016,
# arXiv:1506.02078), where its own gradient is small.
TENTH = 0.1
# Smallest and largest value of the activations that have both.
_RANGES = {"sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


@dataclass(frozen=True)
class RecurrentSteps:
    """All steps of one call of a recurrent layer, in the order in which it read them.

    Attributes:
        name: of the layer; ``name/2`` for its second call.
        backwards: whether it read from the end; step 0 is then the last of the input.
        states: by name, ``h`` and of an LSTM ``c``: one ``<float32>[batch, units]`` for each step.
        gates: by name, likewise.
        activations: name of the activation of each gate and of ``h``.
        valid: ``<bool>[batch, time]``: which steps are no padding.
    """

    name: str
    backwards: bool
    states: Mapping[str, list[tf.Tensor]]
    gates: Mapping[str, list[tf.Tensor]]
    activations: Mapping[str, str]
    valid: np.ndarray

    def array(self, steps: list[tf.Tensor]) -> np.ndarray:
        """Steps as ``<float32>[batch, time, units]`` in the order of the input."""
        found = np.stack([np.asarray(one) for one in steps], 1)
        return found[:, ::-1] if self.backwards else found

    @property
    def inside(self) -> np.ndarray:
        """``valid`` in the order of the input."""
        return self.valid[:, ::-1] if self.backwards else self.valid

    @property
    def distances(self) -> np.ndarray:
        """Valid steps that the layer read after each, ``<int>[batch, time]``, in its own order."""
        left = np.cumsum(self.valid[:, ::-1], 1)[:, ::-1]
        return left - self.valid


def saturated(values: np.ndarray, activation: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Where values are in the lowest and in the highest tenth of the activation's range.

    >>> low, high = saturated(np.array([0.05, 0.5, 0.95]), "sigmoid")
    >>> low.tolist(), high.tolist()
    ([True, False, False], [False, False, True])

    Returns:
        Two ``<bool>`` arrays; None for an activation without bounds, such as relu.
    """
    if activation not in _RANGES:
        return None
    low, high = _RANGES[activation]
    room = TENTH * (high - low)
    return values < low + room, values > high - room


@contextmanager
def wrapped_calls(
    layers: Iterable[keras.layers.Layer],
    around: Callable[[keras.layers.Layer, Callable, tuple, dict], Any],
) -> Iterator[None]:
    """Within, each eager call of these layers is ``around(layer, call, args, kwargs)``.

    Graphs that were traced before keep the layers' own calls.
    """
    changed = []

    def wrap(layer: keras.layers.Layer, call: Callable) -> Callable:
        return lambda *args, **kwargs: around(layer, call, args, kwargs)

    try:
        for layer in {id(one): one for one in layers}.values():
            # Past Keras's own setter, which would track it as a part of the layer.
            object.__setattr__(layer, "call", wrap(layer, layer.call))
            changed.append(layer)
        yield
    finally:
        for layer in changed:
            object.__delattr__(layer, "call")


@contextmanager
def stepwise(model: keras.Model) -> Iterator[list[RecurrentSteps]]:
    """Within, the recurrent layers of a model go step by step when it is called eagerly.

    Args:
        model: any Keras model; recurrent layers in nested models, in wrappers and in other layers
            are found.

    Yields:
        A list that each call of a recurrent layer adds its steps to.
    """
    every = list(model._flatten_layers())
    layers = [one for one in every if isinstance(one, CELLS)]
    # Bidirectional calls one kernel for both of its layers where it may.
    fused = [one for one in layers if getattr(one, "use_cudnn", False)]
    before = [one.use_cudnn for one in fused]
    found: list[RecurrentSteps] = []
    calls: dict[str, int] = {}

    def around(layer, call, args, kwargs):
        count = calls[layer.name] = calls.get(layer.name, 0) + 1
        name = layer.name if count == 1 else f"{layer.name}/{count}"
        steps, outputs = run_steps(layer, name, *args, **kwargs)
        found.append(steps)
        return outputs

    for one in fused:
        one.use_cudnn = False
    try:
        with wrapped_calls(layers, around):
            yield found
    finally:
        for one, use in zip(fused, before, strict=True):
            one.use_cudnn = use


def run_steps(
    layer: keras.layers.Layer, name: str, sequences, initial_state=None, mask=None, training=None
) -> tuple[RecurrentSteps, Any]:
    """The steps of a recurrent layer at inference, and what it returns.

    Args:
        layer: SimpleRNN, LSTM or GRU, built.
        name: for the steps.
        sequences: ``<float>[batch, time, features]``.
        initial_state: as the layer takes it; zeros, or the layer's own if it is stateful.
        mask: ``<bool>[batch, time]``; None where every step is valid.
        training: ignored: dropout of the recurrence is for training.
    """
    x = tf.cast(sequences, tf.float32)
    mask = None if mask is None else tf.cast(tf.reshape(mask, tf.shape(x)[:2]), tf.bool)
    if layer.go_backwards:
        x, mask = tf.reverse(x, [1]), mask if mask is None else tf.reverse(mask, [1])
    states = _first_states(layer, initial_state, tf.shape(x)[0])
    step = _STEPS[next(kind for kind in CELLS if isinstance(layer, kind))]
    cell = _weights(layer.cell)
    names = ("h", "c")[: len(states)]
    seen: dict[str, list] = {key: [] for key in names}
    gates: dict[str, list] = {}
    outputs, output = [], tf.zeros_like(states[0])
    for t in range(x.shape[1] if x.shape[1] is not None else int(tf.shape(x)[1])):
        found, following = step(cell, x[:, t], states)
        keep = None if mask is None else mask[:, t, None]
        if keep is not None:
            following = [tf.where(keep, *p) for p in zip(following, states, strict=True)]
            before = tf.zeros_like(output) if layer.zero_output_for_mask else output
            output = tf.where(keep, following[0], before)
        else:
            output = following[0]
        states = following
        outputs.append(output)
        for key, state in zip(names, states, strict=True):
            seen[key].append(state)
        for key, gate in found.items():
            gates.setdefault(key, []).append(gate)
    if layer.stateful:
        for kept, state in zip(keras.tree.flatten(layer.states), states, strict=True):
            kept.assign(state)
    shape = (int(tf.shape(x)[0]), len(outputs))
    valid = np.ones(shape, bool) if mask is None else np.asarray(mask)
    about = {key: _activation(layer.cell, key) for key in (*gates, "h")}
    steps = RecurrentSteps(name, layer.go_backwards, seen, gates, about, valid)
    y = tf.stack(outputs, 1) if layer.return_sequences else output
    dtype = layer.compute_dtype
    returned = [tf.cast(one, dtype) for one in (y, *(states if layer.return_state else ()))]
    return steps, returned[0] if len(returned) == 1 else tuple(returned)


def _first_states(layer, given, rows) -> list[tf.Tensor]:
    if given is None and layer.stateful:
        given = layer.states
    if given is None:
        count = 2 if isinstance(layer, keras.layers.LSTM) else 1
        return [tf.zeros([rows, layer.units]) for _ in range(count)]
    return [tf.cast(tf.convert_to_tensor(one), tf.float32) for one in keras.tree.flatten(given)]


def _weights(cell) -> dict[str, Any]:
    """Weights and activations of a cell, its weights read once."""

    def read(value):
        return None if value is None else tf.cast(tf.convert_to_tensor(value), tf.float32)

    return {
        "kernel": read(cell.kernel),
        "recurrent": read(cell.recurrent_kernel),
        "bias": read(cell.bias if cell.use_bias else None),
        "activation": cell.activation,
        "gate": getattr(cell, "recurrent_activation", None),
        "reset_after": getattr(cell, "reset_after", False),
    }


def _activation(cell, gate: str) -> str:
    plain = gate in ("h", "candidate") or not hasattr(cell, "recurrent_activation")
    # The state of an LSTM and of a GRU stays within the range of its activation too.
    function = cell.activation if plain else cell.recurrent_activation
    return getattr(function, "__name__", "")


def _lstm_step(cell, x, states):
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000."""
    h, c = states
    z = tf.matmul(x, cell["kernel"]) + tf.matmul(h, cell["recurrent"])
    z = z if cell["bias"] is None else z + cell["bias"]
    i, f, n, o = tf.split(z, 4, 1)
    gates = {"input": cell["gate"](i), "forget": cell["gate"](f),
             "candidate": cell["activation"](n), "output": cell["gate"](o)}  # fmt: skip
    c = gates["forget"] * c + gates["input"] * gates["candidate"]
    return gates, [gates["output"] * cell["activation"](c), c]


def _gru_step(cell, x, states):
    """Cho et al. 2014; with ``reset_after`` as cuDNN has it."""
    (h,) = states
    kernel, recurrent, bias = cell["kernel"], cell["recurrent"], cell["bias"]
    units = h.shape[-1]
    first, second = (None, None)
    if bias is not None:
        first, second = (bias[0], bias[1]) if cell["reset_after"] else (bias, None)
    read = tf.matmul(x, kernel)
    read = read if first is None else read + first
    z, r, n = tf.split(read, 3, 1)
    if cell["reset_after"]:
        inner = tf.matmul(h, recurrent)
        inner = inner if second is None else inner + second
        hz, hr, hn = tf.split(inner, 3, 1)
        update, reset = cell["gate"](z + hz), cell["gate"](r + hr)
        candidate = cell["activation"](n + reset * hn)
    else:
        hz, hr = tf.split(tf.matmul(h, recurrent[:, : 2 * units]), 2, 1)
        update, reset = cell["gate"](z + hz), cell["gate"](r + hr)
        candidate = cell["activation"](n + tf.matmul(reset * h, recurrent[:, 2 * units :]))
    gates = {"update": update, "reset": reset, "candidate": candidate}
    return gates, [update * h + (1 - update) * candidate]


def _simple_step(cell, x, states):
    """Elman 1990: no gates."""
    z = tf.matmul(x, cell["kernel"]) + tf.matmul(states[0], cell["recurrent"])
    z = z if cell["bias"] is None else z + cell["bias"]
    return {}, [cell["activation"](z)]


_STEPS = {
    keras.layers.LSTM: _lstm_step,
    keras.layers.GRU: _gru_step,
    keras.layers.SimpleRNN: _simple_step,
}
