"""Which function turns which Keras layer into ONNX nodes; open to a user's own layers."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Callable, Mapping
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


LAYOUTS = ("batch", "time", "any")
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

    Raises:
        ServingError: no class or name is given, or an option is unknown.
    """

    wrong = [kind for kind in kinds if not isinstance(kind, (type, str))]
    if wrong or not kinds:
        raise ServingError(
            f"converter takes layer classes or names of operations, not {wrong or 'nothing'}: "
            "write @converter(MyLayer) above a function of (graph, layer, inputs)"
        )
    if layout not in LAYOUTS or per_step not in (None, True, False, "query"):
        raise ServingError(
            f"converter of {kinds[0]}: layout {layout!r} is one of {', '.join(LAYOUTS)}; "
            f"per_step {per_step!r} is True, False or 'query'"
        )

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for kind in kinds:
            steps = layout == "any" if per_step is None else per_step
            _CONVERTERS[kind] = Converter(function, layout, steps)
        return function

    return register


def convert(graph: Graph, operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Adds the nodes of one layer or operation.

    Raises:
        ServingError: no converter is registered for it, or the one that is fails, or gives
            something else than values of the graph.
    """
    found = converter_of(operation)
    kwargs = {name: value for name, value in kwargs.items() if name != "training"}
    args, kwargs = _laid_out(graph, found.layout, (args, kwargs))
    _check_arguments(found.function, operation, args, kwargs)
    try:
        result = found.function(graph, operation, *args, **kwargs)
    except ServingError:
        raise
    except Exception as error:
        *_, last = traceback.extract_tb(error.__traceback__)
        raise ServingError(
            f"{_described(found.function, operation)} failed at "
            f"{last.filename}:{last.lineno} with {type(error).__name__}: {error}"
        ) from error
    given = keras.tree.flatten(result)
    if not given or not all(isinstance(value, Value) for value in given):
        raise ServingError(
            f"{_described(found.function, operation)} returns {_kind_of(given)}; return what the "
            "layer's call returns, as values of the graph"
        )
    return result


def _check_arguments(
    function: Callable[..., Any], operation: Any, args: tuple, kwargs: Mapping[str, Any]
) -> None:
    """Refuses a converter that does not take what the layer is called with."""
    try:
        inspect.signature(function).bind(None, operation, *args, **kwargs)
    except TypeError as error:
        names = [f"input_{number}" for number in range(len(args))]
        with contextlib.suppress(TypeError, ValueError):
            names = list(inspect.signature(operation.call).bind(*args).arguments)
        wanted = ", ".join(["graph", "layer", *names, *(f"{name}=None" for name in kwargs)])
        raise ServingError(
            f"{_described(function, operation)} cannot be called ({error}); the model calls the "
            f"layer so that it must be a function of ({wanted})"
        ) from error


def _described(function: Callable[..., Any], operation: Any) -> str:
    code = getattr(function, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    name = getattr(function, "__name__", str(function))
    return f"converter {name}{where} of layer {operation.name!r} ({type(operation).__name__})"


def _kind_of(given: list[Any]) -> str:
    wrong = next((value for value in given if not isinstance(value, Value)), None)
    return "nothing" if wrong is None else f"a {type(wrong).__name__}"


def is_own(operation: Any) -> bool:
    """Whether a layer has a converter that is none of this package's, but a user's."""
    found = _CONVERTERS.get(type(operation))
    module = getattr(found and found.function, "__module__", None) or ""
    return found is not None and not module.startswith(f"{__package__}.")


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
