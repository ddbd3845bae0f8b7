"""The model of one time step, made from the model of whole sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from models.recurrent import rebuilt_without_cudnn
from pipelines.program import NEXT
from serving.errors import ServingError

RECURRENT = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)


@keras.saving.register_keras_serializable("seqloom")
class OneStep(keras.layers.Layer):
    """A recurrent layer over one time step: its cell, called once.

    Called on ``[x <float32>[batch, 1, features], *states [batch, units]]``; gives the output
    ``[batch, 1, units]``, or ``[batch, units]`` as ``return_sequences`` of the layer says, and then
    the next states.

    Args:
        layer: SimpleRNN, LSTM or GRU, whose weights it owns.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs) -> None:
        super().__init__(**kwargs)
        self.layer, self.supports_masking = layer, True

    def build(self, shapes) -> None:
        """Builds the layer, where it is not."""
        if not self.layer.built:
            self.layer.build(shapes[0])

    def call(self, inputs):
        """One step."""
        x, *states = inputs
        y, following = self.layer.cell(x[:, 0], list(states))
        following = following if isinstance(following, (list, tuple)) else [following]
        return (ops.expand_dims(y, 1) if self.layer.return_sequences else y, *following)

    def compute_output_shape(self, shapes):
        """Output and states."""
        batch, units = shapes[0][0], self.layer.units
        y = (batch, 1, units) if self.layer.return_sequences else (batch, units)
        return (y, *[(batch, units)] * (len(shapes) - 1))

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        """Reads back what ``get_config`` gave."""
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


def step_model(model: keras.Model, constant: Sequence[str] = ()) -> keras.Model:
    """The model of one time step: inputs of the step and states, to outputs and next states.

    Inputs lose their time axis and gain, for each recurrent layer, ``<layer>_h`` (and ``<layer>_c``
    of an LSTM) ``<float32>[batch, units]``, all zeros before the first step; outputs lose theirs
    and gain ``<layer>_h_next``. Step after step it gives what the whole model gives for rows
    without padding; masks are left out.

    Args:
        model: Functional, with named inputs; it is not changed, the weights are copied.
        constant: inputs that stay whole at every step, such as the memory of an encoder. A
            recurrent layer whose ``initial_state`` is an input of the model has its state under the
            name of that input, which is then no other input.

    Raises:
        ServingError: a layer looks at more than one step (Bidirectional, pooling, convolution), or
            the model has no recurrent layer.
    """
    from serving.native_onnx.converters import register_all
    from serving.native_onnx.walk import functional_of

    register_all()
    copy = functional_of(rebuilt_without_cudnn(functional_of(model)))
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Embedding):
            layer.mask_zero = False  # a step that is given is a step that counts
    return _Stepper(copy, constant).built()


class _Stepper:
    """Runs through the graph of a copy, one step long."""

    def __init__(self, functional: Any, constant: Sequence[str]) -> None:
        self.functional, self.constant = functional, set(constant)
        self.inputs: dict[str, Any] = {}
        self.following: dict[str, Any] = {}
        self.given: dict[int, str] = {}  # names of model inputs, by the tensor that stands for them
        self.constants: set[int] = set()

    def built(self) -> keras.Model:
        struct = self.functional._inputs_struct
        names = sorted(struct) if isinstance(struct, Mapping) else [
            tensor.name for tensor in self.functional.inputs]  # fmt: skip
        whole = dict(zip(names, self.functional.inputs, strict=True))
        fed = {name: self._fed(name, tensor) for name, tensor in whole.items()}
        outputs = self._run(
            self.functional, fed if isinstance(struct, Mapping) else list(fed.values())
        )
        if not self.following:
            raise ServingError(
                f"model {self.functional.name!r} has no recurrent layer to make steps of"
            )
        named = self._named(outputs)
        for name, tensor in self._named(self.functional._outputs_struct).items():
            # The time axis is the one that became a single step.
            if len(tensor.shape) > 1 and tensor.shape[1] != 1 and named[name].shape[1] == 1:
                named[name] = ops.squeeze(named[name], 1)
        named |= {f"{name}{NEXT}": tensor for name, tensor in self.following.items()}
        used = _reachable(named.values())
        inputs = {n: tensor for n, tensor in self.inputs.items() if id(tensor) in used}
        return keras.Model(inputs, named, name=f"{self.functional.name}_step")

    def _named(self, struct: Any) -> dict[str, Any]:
        if isinstance(struct, Mapping):
            return dict(struct)
        return dict(zip(self.functional.output_names, keras.tree.flatten(struct), strict=True))

    def _fed(self, name: str, tensor: Any) -> Any:
        """What stands for an input of the whole model."""
        shape = tuple(tensor.shape[1:])
        if name in self.constant or not shape:
            given = self.inputs[name] = keras.Input(shape, dtype=tensor.dtype, name=name)
            self.constants.add(id(given))
        elif len(shape) == 1 and shape[0] is not None:  # a vector of each row: a state, perhaps
            given = self.inputs[name] = keras.Input(shape, dtype=tensor.dtype, name=name)
        else:
            step = self.inputs[name] = keras.Input(shape[1:], dtype=tensor.dtype, name=name)
            given = ops.expand_dims(step, 1)
        self.given[id(given)] = name
        return given

    def _run(self, functional: Any, inputs: Any) -> Any:
        return functional._run_through_graph(inputs, operation_fn=self._one_step)

    def _one_step(self, operation: Any) -> Any:
        from serving.native_onnx.walk import functional_of

        if isinstance(operation, keras.Model):
            return lambda inputs, **_: self._run(functional_of(operation), inputs)
        if type(operation) in RECURRENT:
            return lambda x, initial_state=None, **_: self._recurrent(operation, x, initial_state)

        def called(*args, **kwargs):
            if not self._goes_step_by_step(operation, args):
                raise ServingError(
                    f"a step model cannot hold layer {operation.name!r} "
                    f"({type(operation).__name__}): it looks at more than one time step"
                )
            tensors = keras.tree.flatten((args, kwargs))
            if not self._constant(kwargs.get("mask")):
                kwargs.pop("mask", None)  # of steps; that of a memory stays
            result = operation(*args, **kwargs)
            if self._constant(tensors):
                self.constants |= {id(t) for t in keras.tree.flatten(result)}
            return keras.tree.map_structure(_without_mask, result)

        return called

    def _goes_step_by_step(self, operation: Any, args: tuple) -> bool:
        from serving.native_onnx.registry import per_step

        if self._constant(args):
            return True
        attends = (keras.layers.Attention, keras.layers.AdditiveAttention)
        if isinstance(operation, attends):  # only the query belongs to the step
            return self._constant(keras.tree.flatten(args)[1:])
        return per_step(operation)

    def _constant(self, arguments: Any) -> bool:
        """Whether tensors are the same at every step."""
        tensors = [t for t in keras.tree.flatten(arguments) if isinstance(t, keras.KerasTensor)]
        return all(id(tensor) in self.constants for tensor in tensors)

    def _recurrent(self, layer: Any, x: Any, initial_state: Any) -> Any:
        if layer.go_backwards:
            raise ServingError(f"a step model cannot hold layer {layer.name!r}: it reads backwards")
        kinds = ["h", "c"] if isinstance(layer, keras.layers.LSTM) else ["h"]
        begins = keras.tree.flatten(initial_state) if initial_state is not None else []
        states = []
        for i, kind in enumerate(kinds):
            name = self.given.get(id(begins[i])) if begins else None
            if name is None:
                name = f"{layer.name}_{kind}"
                self.inputs[name] = keras.Input((layer.units,), name=name)
            states.append((name, self.inputs[name]))
        result = OneStep(layer, name=layer.name)([x, *(tensor for _, tensor in states)])
        y, *following = result
        self.following |= {name: t for (name, _), t in zip(states, following, strict=True)}
        return (y, *following) if layer.return_state else y


def _without_mask(tensor: Any) -> Any:
    if hasattr(tensor, "_keras_mask"):
        tensor._keras_mask = None
    return tensor


def _reachable(outputs: Any) -> set[int]:
    """Tensors that some output is made from."""
    found: set[int] = set()
    waiting = list(outputs)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in found:
            continue
        found.add(id(tensor))
        history = tensor._keras_history
        waiting += history.operation._inbound_nodes[history.node_index].input_tensors
    return found
