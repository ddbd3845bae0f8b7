"""Functional models: their inputs and outputs by name, inner models dissolved, call after call."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from models.recurrent import rebuilt_without_cudnn
from serving.errors import ServingError
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import convert


class Walk:
    """Goes through the calls of a Functional model; a subclass says what each call becomes.

    Attributes:
        values: by the id of a KerasTensor, what the subclass made of it.
    """

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}

    def call(self, node: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Handles one call, given values for its tensors; returns the values of its outputs."""
        raise NotImplementedError

    def arguments(self, node: Any) -> tuple[tuple, dict[str, Any]]:
        """Arguments of a call as the model has them, KerasTensors and implicit masks included."""
        return node.arguments.args, _with_masks(node.operation, node.arguments)

    def run(self, functional: Any) -> None:
        """Handles all calls of a model whose inputs have values."""
        for depth in sorted(functional._nodes_by_depth, reverse=True):
            for node in functional._nodes_by_depth[depth]:
                self.visit(node)

    def value(self, tensor: Any) -> Any:
        """Value of a KerasTensor; the calls that lead to it are handled first if need be.

        Masks may be outside the model: no output depends on some of them.
        """
        if not isinstance(tensor, keras.KerasTensor):
            return tensor
        if id(tensor) not in self.values:
            self.visit(node_of(tensor))
        return self.values[id(tensor)]

    def visit(self, node: Any) -> None:
        """Handles one call of a layer or operation, unless that was done before."""
        if node.is_input or all(id(tensor) in self.values for tensor in node.outputs):
            return
        args, kwargs = keras.tree.map_structure(self.value, self.arguments(node))
        values = keras.tree.flatten(self.call(node, args, kwargs))
        if len(values) != len(node.outputs):
            raise ServingError(
                f"layer {node.operation.name!r} ({type(node.operation).__name__}) has "
                f"{len(node.outputs)} outputs, but its converter returns {len(values)}"
            )
        for tensor, value in zip(node.outputs, values, strict=True):
            self.values[id(tensor)] = value


class OnnxWalk(Walk):
    """Adds the ONNX nodes of each call to a graph."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def call(self, node: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Names of the nodes begin with the layer's."""
        with self.graph.scope(node.operation.name):
            return convert(self.graph, node.operation, args, kwargs)


def node_of(tensor: keras.KerasTensor) -> Any:
    """The call that gave a KerasTensor."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _with_masks(operation: Any, arguments: Any) -> dict[str, Any]:
    """The keyword arguments of a call and the masks that Keras adds when it makes the call.

    Some calls have them among their arguments. For the others this is the rule of
    ``keras.Layer.__call__``: ``mask`` where there is one tensor argument, else ``<argument>_mask``.
    """
    kwargs = dict(arguments.kwargs)
    if not isinstance(operation, keras.Layer):
        return kwargs
    given = inspect.signature(operation.call).bind(*arguments.args, **kwargs).arguments
    names = inspect.signature(operation.call).parameters

    def is_tensors(argument: Any) -> bool:
        return any(isinstance(t, keras.KerasTensor) for t in keras.tree.flatten(argument))

    tensors = {name: argument for name, argument in given.items() if is_tensors(argument)}
    for name, argument in tensors.items():
        to = "mask" if len(tensors) == 1 else f"{name}_mask"
        if to in names and kwargs.get(to) is None:
            masks = keras.tree.map_structure(lambda t: getattr(t, "_keras_mask", None), argument)
            if is_tensors(masks):
                kwargs[to] = masks
    return kwargs


def functional_of(model: keras.Model) -> Any:
    """The Functional model that a model is or, if it is Sequential, holds.

    Raises:
        ServingError: it is neither.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = model._functional
    if not hasattr(model, "_nodes_by_depth"):
        raise ServingError(
            f"model {model.name!r} is not a Functional model (or a built Sequential one); make it "
            "with keras.Input and keras.Model(inputs, outputs)"
        )
    return model


def inputs_of(functional: Any) -> dict[str, keras.KerasTensor]:
    """Inputs by the keys of their dict, or else by their own names."""
    struct, tensors = functional._inputs_struct, functional.inputs
    # Keras flattens a dict in the order of its sorted keys.
    names = sorted(struct) if isinstance(struct, Mapping) else [tensor.name for tensor in tensors]
    return dict(zip(names, tensors, strict=True))


def outputs_of(functional: Any) -> dict[str, keras.KerasTensor]:
    """Outputs by the keys of their dict; else by the names of the layers that gave them."""
    struct = functional._outputs_struct
    if isinstance(struct, Mapping):
        return dict(struct)
    names = list(functional.output_names)
    if len(set(names)) != len(names):
        names = [f"{name}_{i}" for i, name in enumerate(names)]
    return dict(zip(names, functional.outputs, strict=True))


def flat(model: Any) -> Any:
    """The Functional model with the models among its layers dissolved; itself if it has none.

    Layers of different inner models may have one name, which Keras forbids within one model: from
    the second on they are called ``<name>_1``, ``<name>_2``...
    """
    if not any(isinstance(layer, keras.Model) for layer in model.layers):
        return model
    copy = rebuilt_without_cudnn(model)  # so that the user's layers do not gain new calls
    names: dict[str, Any] = {}

    def run(functional: Any, inputs: Any) -> Any:
        return functional._run_through_graph(inputs, operation_fn=dissolved)

    def dissolved(operation: Any) -> Any:
        if isinstance(operation, keras.Model):
            return lambda inputs, **_: run(functional_of(operation), inputs)
        wanted, number = operation.name, 0
        while names.setdefault(operation.name, operation) is not operation:
            number += 1
            operation.name = f"{wanted}_{number}"
        return operation

    inputs = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
        for name, tensor in inputs_of(copy).items()
    ]
    tensors = keras.tree.flatten(run(copy, inputs))
    return keras.Model(inputs, _like(copy, tensors), name=model.name)


def _like(functional: Any, tensors: Sequence[Any]) -> dict[str, Any]:
    """The outputs of a copy of a model, under the names that the model's own have."""
    at = {id(tensor): i for i, tensor in enumerate(functional.outputs)}
    return {name: tensors[at[id(tensor)]] for name, tensor in outputs_of(functional).items()}
