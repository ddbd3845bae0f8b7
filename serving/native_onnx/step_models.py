"""From the model of whole sequences to the Keras model of one time step.

The step model is what decoding loops over: Keras runs it, ``tf.while_loop`` does inside a
SavedModel, and ``build_onnx`` writes it like any other model.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import keras
from keras import layers, ops

from models.one_step import OneStep
from models.recurrent import CELLS, rebuilt_without_cudnn
from pipelines.program import NEXT
from serving.errors import ServingError
from serving.native_onnx.converters import register_all
from serving.native_onnx.registry import converter_of
from serving.native_onnx.walk import Walk, flat, functional_of, inputs_of, node_of, outputs_of


def step_model(model: keras.Model, constant: Sequence[str] = ()) -> keras.Model:
    """Derives the model of one time step, in float32 and for inference.

    Step after step it gives what the whole model gives for rows without padding: masks of stepped
    inputs are dropped. The weights are copies; the model itself is left as it is.

    Args:
        model: Functional (or built Sequential) model of whole sequences ``[batch, time, ...]``.
        constant: names of the inputs that are the same in every step and stay whole, such as an
            encoder's memory ``[batch, source, width]``, and its mask or lengths.

    Returns:
        A Functional model with a dict of inputs and a dict of outputs.

        Inputs: those of the model without their time axis (axis 1), the constant ones as they are,
        and for each recurrent layer its states ``<layer>_h``, and ``<layer>_c`` of an LSTM,
        ``<float32>[batch, units]``: zeros before the first step. If the layer is called with an
        ``initial_state`` that is an input of the model, the state has that input's name instead,
        and begins with what the input would have been. Inputs that no output depends on are left
        out.

        Outputs: those of the model, without the time axis where they have one, and
        ``<state>_next``.

    Raises:
        ServingError: a layer looks at more than one step (Bidirectional, pooling, convolution,
            attention over stepped inputs), reads backwards, is called several times or begins with
            states that the model computes; there is no recurrent layer; a name in ``constant`` is
            no input; or names collide.
    """
    register_all()
    whole = flat(rebuilt_without_cudnn(functional_of(model)))
    unknown = sorted(set(constant) - set(inputs_of(whole)))
    if unknown:
        raise ServingError(
            f"constant: model {model.name!r} has no input {unknown[0]!r}; it has "
            f"{', '.join(inputs_of(whole))}"
        )
    walk = _StepWalk(whole, constant)
    outputs = {name: walk.output(name, tensor) for name, tensor in outputs_of(whole).items()}
    if not walk.following:
        raise ServingError(f"model {model.name!r} has no recurrent layer to make steps of")
    for name, tensor in walk.following.items():
        _add(outputs, f"{name}{NEXT}", tensor, "outputs")
    needed = _inputs_needed(outputs.values())
    inputs = {name: tensor for name, tensor in walk.inputs.items() if id(tensor) in needed}
    return keras.Model(inputs, outputs, name=f"{model.name}_step")


@dataclass(frozen=True)
class _Stepped:
    """A tensor that changes from step to step; ``timed``: its axis 1 is time, of length 1."""

    tensor: keras.KerasTensor
    timed: bool


@dataclass(frozen=True)
class _Initial:
    """An input that is the first state of a recurrent layer, and nothing else."""

    name: str


class _StepWalk(Walk):
    """Calls the layers of a model on one step; recurrent ones once, with their states as inputs.

    A value is a ``_Stepped``, an ``_Initial``, or for what is constant the KerasTensor itself.

    Args:
        whole: Functional model without inner models, whose layers may gain new calls.
        constant: names of inputs that stay whole.

    Attributes:
        inputs: of the step model, by name.
        following: the states after the step, by name of the state.
    """

    def __init__(self, whole: Any, constant: Sequence[str]) -> None:
        super().__init__()
        self.inputs: dict[str, keras.KerasTensor] = {}
        self.following: dict[str, keras.KerasTensor] = {}
        self._calls: set[int] = set()
        self._names = {operation.name for operation in whole.operations}
        self._varies: dict[int, bool] = {}
        self._times = {None}  # sizes of the time axis in the whole model
        initial = _initial_states(whole)
        for name, tensor in inputs_of(whole).items():
            self._varies[id(tensor)] = name not in constant
            if name in constant:
                value = self._input(name, tensor.shape, tensor.dtype)
            elif id(tensor) in initial:
                value = _Initial(name)
            else:
                value = self._one_step_of(name, tensor)
            self.values[id(tensor)] = value

    def _input(self, name: str, batch_shape: Any, dtype: Any) -> keras.KerasTensor:
        tensor = keras.Input(batch_shape=batch_shape, dtype=dtype, name=name)
        _add(self.inputs, name, tensor, "inputs")
        return tensor

    def _one_step_of(self, name: str, tensor: keras.KerasTensor) -> _Stepped:
        if len(tensor.shape) < 2:
            raise ServingError(
                f"input {name!r} has no time axis; name it among the constant inputs"
            )
        self._times.add(tensor.shape[1])
        step = self._input(name, (tensor.shape[0], *tensor.shape[2:]), tensor.dtype)
        return _Stepped(self._named(ops.expand_dims(step, 1), f"{name}_with_time"), True)

    def output(self, name: str, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """An output of the model for one step, without its time axis if it has one."""
        value = self.value(tensor)
        if isinstance(value, _Initial):
            raise _used_elsewhere(value)
        if not isinstance(value, _Stepped):
            return value
        if not value.timed:
            return value.tensor
        return self._named(ops.squeeze(value.tensor, 1), f"{name}_without_time")

    def _named(self, tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Names the operation that gave a tensor: Keras's own numbers may be taken by layers."""
        wanted, number = name.replace("/", "_"), 0
        name = wanted
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        tensor._keras_history.operation.name = name
        return tensor

    def arguments(self, node: Any) -> tuple[tuple, dict[str, Any]]:
        """Without the masks of what is stepped."""
        args, kwargs = super().arguments(node)
        if not isinstance(node.operation, keras.Layer):
            return args, kwargs
        names = list(inspect.signature(node.operation.call).parameters)[: len(args)]
        args = tuple(self._without_masks(*pair) for pair in zip_longest(names, args, fillvalue=""))
        return args, {name: self._without_masks(name, value) for name, value in kwargs.items()}

    def _without_masks(self, name: str, argument: Any) -> Any:
        if name != "mask" and (not name.endswith("_mask") or name == "attention_mask"):
            return argument
        masks = keras.tree.map_structure(self._constant_only, argument)
        return masks if any(m is not None for m in keras.tree.flatten(masks)) else None

    def _constant_only(self, mask: Any) -> Any:
        return None if self._is_stepped(mask) else mask

    def _is_stepped(self, tensor: Any) -> bool:
        """Whether a tensor of the whole model depends on an input that is not constant."""
        if not isinstance(tensor, keras.KerasTensor):
            return False
        if id(tensor) not in self._varies:
            parents = node_of(tensor).input_tensors
            self._varies[id(tensor)] = any(map(self._is_stepped, parents))
        return self._varies[id(tensor)]

    def call(self, node: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """One call of the model, on one step."""
        operation = node.operation
        given = keras.tree.flatten((args, kwargs))
        if type(operation) in CELLS.values() and isinstance(
            _first(operation, args, kwargs), _Stepped
        ):
            return self._recurrent(operation, args, kwargs)
        for value in given:
            if isinstance(value, _Initial):
                raise _used_elsewhere(value)
        if not any(isinstance(value, _Stepped) for value in given):
            return operation(*args, **kwargs)
        _check_per_step(operation, args, kwargs)
        if isinstance(operation, layers.Embedding):
            operation.mask_zero = False  # no mask when the step model runs, either
        result = operation(
            *keras.tree.map_structure(_tensor, args), **keras.tree.map_structure(_tensor, kwargs)
        )
        timed = any(isinstance(value, _Stepped) and value.timed for value in given)
        tensors = keras.tree.flatten(result)
        for before, after in zip(node.outputs, tensors, strict=True):
            after._keras_mask = None
            if timed and not self._is_one_step_of(before, after):
                raise _several_steps(operation)
        return [_Stepped(tensor, timed) for tensor in tensors]

    def _is_one_step_of(self, whole: keras.KerasTensor, step: keras.KerasTensor) -> bool:
        """Whether axis 1, which is time in the whole model, is one step; the rest is alike."""
        if len(whole.shape) != len(step.shape) or len(whole.shape) < 2:
            return False
        return (
            whole.shape[1] in self._times
            and step.shape[1] == 1
            and whole.shape[2:] == step.shape[2:]
        )

    def _recurrent(self, layer: Any, args: tuple, kwargs: dict[str, Any]) -> list[_Stepped]:
        """Replaces a recurrent layer by one step of it; returns the layer's outputs."""
        if layer.go_backwards:
            raise ServingError(f"a step model cannot hold layer {layer.name!r}: it reads backwards")
        if id(layer) in self._calls:
            raise ServingError(
                f"a step model cannot hold layer {layer.name!r}: it is called several times, and "
                "each call would need states of its own"
            )
        self._calls.add(id(layer))
        given = inspect.signature(layer.call).bind(*args, **kwargs).arguments
        x, initial = given["sequences"], keras.tree.flatten(given.get("initial_state"))
        if not x.timed:  # a sequence made of a last state, which begins anew at every step
            raise _several_steps(layer)
        names = self._state_names(layer, [state for state in initial if state is not None])
        states = [self._input(name, (x.tensor.shape[0], layer.units), "float32") for name in names]
        # Anew, for a stateful or unrolled one has other weights and needs a fixed batch.
        config = {**layer.get_config(), "stateful": False, "unroll": False}
        one = OneStep(type(layer).from_config(config))
        y, *following = one(x.tensor, states)
        one.layer.cell.set_weights(layer.cell.get_weights())
        self.following.update(zip(names, following, strict=True))
        results = [_Stepped(y, layer.return_sequences)]
        if layer.return_state:
            results += [_Stepped(state, False) for state in following]
        return results

    def _state_names(self, layer: Any, initial: list[Any]) -> list[str]:
        if not initial:
            parts = ("h", "c") if isinstance(layer, layers.LSTM) else ("h",)
            return [f"{layer.name}_{part}" for part in parts]
        for state in initial:
            if not isinstance(state, _Initial):
                raise ServingError(
                    f"a step model cannot hold layer {layer.name!r}: its initial_state is computed "
                    "in the model or constant; make it an input of the model"
                )
            if state.name in self.following or initial.count(state) > 1:
                raise _used_elsewhere(state)
        return [state.name for state in initial]


def _initial_states(whole: Any) -> set[int]:
    """Ids of the tensors that recurrent layers are called with as their first states."""
    found: set[int] = set()
    for nodes in whole._nodes_by_depth.values():
        for node in nodes:
            if type(node.operation) in CELLS.values():
                given = node.arguments
                bound = inspect.signature(node.operation.call).bind(*given.args, **given.kwargs)
                found.update(map(id, keras.tree.flatten(bound.arguments.get("initial_state"))))
    return found


def _check_per_step(operation: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    """Refuses what looks at more than one time step, by what its converter is registered with."""
    per_step = converter_of(operation).per_step
    if per_step == "query":
        given = inspect.signature(operation.call).bind(*args, **kwargs).arguments
        first, *others = keras.tree.flatten([v for n, v in given.items() if not n.endswith("mask")])
        stepped = any(isinstance(value, _Stepped) for value in others)
        per_step = isinstance(first, _Stepped) and not stepped and not given.get("use_causal_mask")
    if not per_step:
        raise _several_steps(operation)


def _first(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    given = inspect.signature(operation.call).bind(*args, **kwargs).arguments
    return next(iter(given.values()))


def _tensor(value: Any) -> Any:
    return value.tensor if isinstance(value, _Stepped) else value


def _add(named: dict[str, Any], name: str, tensor: Any, what: str) -> None:
    if name in named:
        raise ServingError(
            f"two {what} of the step model are called {name!r}; rename a layer or an input"
        )
    named[name] = tensor


def _inputs_needed(outputs: Iterable[keras.KerasTensor]) -> set[int]:
    """Ids of the tensors that the outputs depend on."""
    found: set[int] = set()
    waiting = list(outputs)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in found:
            found.add(id(tensor))
            waiting.extend(node_of(tensor).input_tensors)
    return found


def _several_steps(operation: Any) -> ServingError:
    return ServingError(
        f"a step model cannot hold layer {operation.name!r} ({type(operation).__name__}): it "
        "looks at more than one time step"
    )


def _used_elsewhere(state: _Initial) -> ServingError:
    return ServingError(
        f"input {state.name!r} is the first state of a recurrent layer, which changes from step to "
        "step; it cannot be used for anything else. Make it two inputs"
    )
