"""Which function turns which Keras layer into ONNX nodes; open to a user's own layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from serving.errors import ServingError
from serving.native_onnx.graph import Graph
from serving.native_onnx.value import Value


@dataclass(frozen=True)
class Converter:
    """A registered function.

    Attributes:
        function: ``function(graph, layer, *args, **kwargs)`` with the arguments of the layer's
            ``call``, values for tensors, without ``training``; gives what ``call`` gives.
        layout: "batch": values arrive as (batch, time, ...). "time": those of rank 3 and more as
            (time, batch, ...). "any": in either order, all in the same.
        per_step: True: it handles each time step by itself, so a step model may hold it.
            "query": so it does with its first argument, and the others are whole sequences that
            stay the same from step to step, as the memory that attention looks at. False: neither.
    """

    function: Callable[..., Any]
    layout: str
    per_step: bool | str


_CONVERTERS: dict[type | str, Converter] = {}


def converter(
    *kinds: type | str, layout: str = "batch", per_step: bool | str | None = None
) -> Callable:
    """Registers a function as the converter of layer classes, or of ``keras.ops`` by name.

    >>> @converter(MyScale, layout="any")            # doctest: +SKIP
    ... def my_scale(graph, layer, x):
    ...     return x * graph.weight(layer.scale.numpy(), "scale")

    Args:
        kinds: classes, matched exactly (a subclass may compute something else), or names of Keras
            operations such as "NotEqual".
        layout: see ``Converter``; "any" suits what looks at the last axis only.
        per_step: see ``Converter``; by default True with layout "any", else False.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for kind in kinds:
            steps = layout == "any" if per_step is None else per_step
            _CONVERTERS[kind] = Converter(function, layout, steps)
        return function

    return register


def convert(graph: Graph, operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Adds the nodes of one layer or operation.

    Raises:
        ServingError: no converter is registered for it.
    """
    found = converter_of(operation)
    kwargs = {name: value for name, value in kwargs.items() if name != "training"}
    args, kwargs = _laid_out(graph, found.layout, (args, kwargs))
    return found.function(graph, operation, *args, **kwargs)


def converter_of(operation: Any) -> Converter:
    """The converter of a layer or operation.

    Raises:
        ServingError: none is registered for it.
    """
    kind = type(operation)
    if kind in _CONVERTERS:
        return _CONVERTERS[kind]
    if kind.__module__.startswith("keras.src.ops.") and kind.__name__ in _CONVERTERS:
        return _CONVERTERS[kind.__name__]
    where = f"{kind.__module__}.{kind.__name__}"
    raise ServingError(
        f"layer {operation.name!r} of type {where} cannot be written as ONNX; register a converter "
        f"for it: @serving.native_onnx.converter({kind.__name__}) above a function of (graph, "
        "layer, inputs), see docs/export.md"
    )


def _laid_out(graph: Graph, layout: str, arguments: Any) -> Any:
    values = [v for v in keras.tree.flatten(arguments) if isinstance(v, Value)]
    to_time = layout == "time" or (
        layout == "any" and any(value.time_major for value in values if value.rank > 2)
    )

    def arrange(value: Any) -> Any:
        if not isinstance(value, Value):
            return value
        # Of rank 2 are masks, states and vectors: the converter knows which.
        return graph.time_major(value) if to_time and value.rank > 2 else (
            graph.batch_major(value) if layout != "any" else value
        )  # fmt: skip

    return keras.tree.map_structure(arrange, arguments)
