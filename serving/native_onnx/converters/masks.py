"""What a mask means to a recurrent layer: which steps it reads, in which order, what it repeats.

Keras holds the states at a masked step and repeats the output before it. Here the valid steps of
each row are brought to its front, the operator runs over them, and its outputs are brought back:
one gather in and one out. Where a mask is known to be right-padded (``Graph.right_padded``) the
valid steps are in front already, so that both gathers are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.native_onnx.graph import Graph
from serving.native_onnx.value import Value


@dataclass(frozen=True)
class Padding:
    """A mask, and where rows end once their valid steps are in front; time-major.

    Attributes:
        mask: ``<bool>[batch, time]``, as it was given.
        given: ``<bool>[time, batch, 1]``, the same.
        lengths: ``<int64>[batch]``, number of valid steps.
        valid: ``<bool>[time, batch, 1]``, before the end of a row.
        last: ``<int64>[batch, 2]``, (time, row) of the last valid step; time 0 in an empty row.
        filled: ``<bool>[batch, 1]``, whether the row has a valid step.
        right_padded: whether the valid steps are in front as given.
    """

    mask: Value
    given: Value
    lengths: Value
    valid: Value
    last: Value
    filled: Value
    right_padded: bool


@dataclass(frozen=True)
class Order:
    """The order in which valid steps are read, first to last or last to first.

    Attributes:
        steps: ``<int64>[time, batch, 2]``, (time, row) of the step that is read at each place;
            whatever behind the end of a row.
        places: ``<int64>[time, batch, 2]``, (place, row) of the last step that was read before or
            at each step of the row; place 0 where there is none.
        started: ``<bool>[time, batch, 1]``, whether there is one.
    """

    steps: Value
    places: Value
    started: Value


def padding(graph: Graph, mask: Value) -> Padding:
    """Valid steps of ``mask <bool>[batch, time]``; computed once however many layers use it."""

    def make() -> Padding:
        right_padded = mask.name in graph.right_padded
        lengths = graph.reduce("ReduceSum", graph.cast(mask, np.int64), [1])
        given = graph.laid_time_major(graph.expand(graph.transpose(mask, [1, 0]), 2))
        rows = _range(graph, graph.shape(lengths))
        step = graph.op("Max", lengths - 1, graph.indices([0]))
        last = graph.concat([graph.expand(step, 1), graph.expand(rows, 1)], 1)
        filled = graph.expand(graph.compare("Greater", lengths, 0), 1)
        valid = given
        if not right_padded:
            times = graph.expand(_range(graph, graph.shape(mask, 1)), 1, 2)
            valid = graph.compare("Less", times, graph.expand(lengths, 1))
            valid = graph.laid_time_major(valid)
        return Padding(mask, given, lengths, valid, last, filled, right_padded)

    return _once(graph, ("padding", mask.name), make)


def read(graph: Graph, x: Value, pad: Padding | None, backwards: bool) -> Value:
    """Valid steps of ``[time, batch, ...]`` in front, in the order in which they are read."""
    if pad is not None and not pad.right_padded:
        return graph.op("GatherND", x, order(graph, pad, backwards).steps)
    return reverse(graph, x, pad) if backwards else x


def placed(graph: Graph, y: Value, pad: Padding | None, backwards: bool) -> Value:
    """Outputs of what ``read`` gave in the row's own order; whatever at masked steps."""
    if pad is not None and not pad.right_padded:
        return graph.op("GatherND", y, order(graph, pad, backwards).places)
    return reverse(graph, y, pad) if backwards else y


def reverse(graph: Graph, x: Value, pad: Padding | None) -> Value:
    """Turns the valid steps of ``[time, batch, ...]`` around; what is behind them stays."""
    if pad is None:
        return graph.flip(x, 0)
    # A length of nought is not allowed everywhere; to turn one step around changes nothing.
    lengths = graph.cached(
        ("turned", pad.lengths.name), lambda: graph.op("Max", pad.lengths, graph.indices([1]))
    )
    return graph.op("ReverseSequence", x, lengths, time_axis=0, batch_axis=1)


def order(graph: Graph, pad: Padding, backwards: bool) -> Order:
    """The order of a mask's valid steps; computed once however many layers use it."""

    def make() -> Order:
        number = graph.cast(pad.mask, np.int64)
        read_by = graph.op("CumSum", number, graph.indices(1), reverse=int(backwards))
        place = read_by - 1
        time = graph.shape(pad.mask, 1)
        times = graph.op(
            "Expand", _range(graph, time), graph.shape(pad.mask), rank=2, dtype=np.int64
        )
        # Masked steps go to a place behind the last, which is cut off again.
        size = graph.concat([graph.shape(pad.mask, 0), time + 1], 0)
        nowhere = graph.op("Expand", graph.indices(0), size, rank=2)
        slots = graph.where(pad.mask, place, time)
        steps = graph.op("ScatterElements", nowhere, slots, times, axis=1)
        steps = graph.slice(steps, 1, 0, -1)
        first = graph.op("Max", place, graph.indices([0]))
        started = graph.expand(graph.transpose(graph.compare("Greater", read_by, 0), [1, 0]), 2)
        return Order(
            _with_rows(graph, steps), _with_rows(graph, first), graph.laid_time_major(started)
        )

    return _once(graph, ("order", pad.mask.name, backwards), make)


def _with_rows(graph: Graph, steps: Value) -> Value:
    """``<int64>[batch, time]`` as ``[time, batch, 2]``, each with the number of its row."""
    turned = graph.transpose(steps, [1, 0])
    rows = graph.op(
        "Expand", _range(graph, graph.shape(steps, 0)), graph.shape(turned), rank=2, dtype=np.int64
    )
    return graph.concat([graph.expand(turned, 2), graph.expand(rows, 2)], 2)


def _range(graph: Graph, size: Value) -> Value:
    """``<int64>[size]``, from nought."""
    return graph.op("Range", graph.indices(0), graph.squeeze(size, 0), graph.indices(1), rank=1)


def _once(graph: Graph, key: tuple, make) -> object:
    """What belongs to a mask and not to the layer that asks first."""
    scopes, graph._scopes = graph._scopes, []
    try:
        with graph.scope("mask"):
            return graph.cached(key, make)
    finally:
        graph._scopes = scopes
