"""From the calls of a Functional model to nodes."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from serving.errors import ServingError
from serving.native_onnx.graph import Graph
from serving.native_onnx.registry import convert
from serving.native_onnx.value import Value


class Walk:
    """Goes through the calls of a Functional model and adds the nodes of each.

    Attributes:
        values: of each KerasTensor, by its id.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[int, Value] = {}

    def run(self, functional: Any) -> None:
        """Adds all calls of a model whose inputs have values."""
        for depth in sorted(functional._nodes_by_depth, reverse=True):
            for node in functional._nodes_by_depth[depth]:
                self.convert(node)

    def value(self, tensor: Any) -> Any:
        """Of a KerasTensor; one that no output depends on, as masks may be, is made here."""
        if not isinstance(tensor, keras.KerasTensor):
            return tensor
        if id(tensor) not in self.values:
            history = tensor._keras_history
            self.convert(history.operation._inbound_nodes[history.node_index])
        return self.values[id(tensor)]

    def convert(self, node: Any) -> None:
        """Adds one call of a layer or operation, unless it was added before."""
        if node.is_input or all(id(tensor) in self.values for tensor in node.outputs):
            return
        operation = node.operation
        arguments = node.arguments.args, _with_masks(operation, node.arguments)
        args, kwargs = keras.tree.map_structure(self.value, arguments)
        with self.graph.scope(operation.name):
            result = convert(self.graph, operation, args, kwargs)
        for tensor, value in zip(node.outputs, keras.tree.flatten(result), strict=True):
            self.values[id(tensor)] = value


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
