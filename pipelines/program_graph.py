"""Programs as TensorFlow ops, for the SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from pipelines.program import NEXT

Tensors = dict[str, tf.Tensor]
# A core's inputs by name, and the graph itself.
GraphCores = Mapping[str, "GraphCore"]


class GraphCore:
    """A core inside a graph: see ``pipelines.program.Core``.

    Args:
        inputs: their names.
        states: shape of each without the batch.
        call: named tensors to named tensors.
    """

    def __init__(
        self,
        inputs: tuple[str, ...],
        states: Mapping[str, tuple[int, ...]],
        call: Callable[[Tensors], Tensors],
    ) -> None:
        self.inputs, self.states, self._call = inputs, states, call

    def __call__(self, tensors: Tensors) -> Tensors:
        return self._call(tensors)


class GraphProgram(tf.Module):
    """``pipelines.program.Program`` on tensors; subclasses encode and decode."""

    cores: tuple[str, ...] = ("model",)

    def encode(self, request: Tensors) -> Tensors:
        """See ``Program.encode``."""
        raise NotImplementedError

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """See ``Program.execute``."""
        core = cores[self.cores[0]]
        kept = {name: tensor for name, tensor in encoded.items() if name not in core.inputs}
        return {**kept, **core({name: encoded[name] for name in core.inputs})}

    def decode(self, outputs: Tensors) -> Tensors:
        """See ``Program.decode``."""
        raise NotImplementedError

    def run(self, cores: GraphCores, request: Tensors) -> Tensors:
        """See ``Program.run``."""
        return self.decode(self.execute(cores, self.encode(request)))


def with_defaults(inputs: Mapping[str, Mapping], request: Tensors) -> Tensors:
    """See ``pipelines.program.with_defaults``."""
    required = [tensor for name, tensor in request.items() if "default" not in inputs[name]]
    if required:
        rows = tf.shape(required[0])[:1]
    else:
        rows = [tf.reduce_max([tf.size(tensor) for tensor in request.values()])]
    return {
        name: tf.broadcast_to(tensor, rows) if "default" in inputs[name] else tensor
        for name, tensor in request.items()
    }


def as_step(
    core: GraphCore, rows: tf.Tensor, ids: str = "tokens", outputs: str = "log_probabilities"
) -> tuple[Callable[[tf.Tensor, Tensors], tuple[tf.Tensor, Tensors]], Tensors]:
    """See ``pipelines.program.as_step``."""

    def step(last: tf.Tensor, states: Tensors) -> tuple[tf.Tensor, Tensors]:
        found = core({**{n: states[n] for n in core.inputs if n != ids}, ids: last})
        return found[outputs], {name: found[f"{name}{NEXT}"] for name in core.states}

    return step, {name: tf.zeros([rows, *shape]) for name, shape in core.states.items()}
