"""The layers of ``models.language``."""

from __future__ import annotations

from models.language_layers import UnitTable
from serving.native_onnx.registry import converter


@converter(UnitTable, layout="any")
def unit_table(graph, layer, inputs, mode="embed"):
    """Rows of the table, the products with all of them, or one of these after a log-softmax."""
    if mode == "embed":
        return graph.take(graph.weight(layer.embeddings.numpy(), "embeddings"), inputs)
    x, numbers = (graph.batch_major(inputs[0]), inputs[1]) if mode == "choose" else (inputs, None)
    # The transposed table stands in the file once, whatever number of calls there is.
    output = graph.cached(
        ("output", layer.name), lambda: graph.weight(layer.embeddings.numpy().T.copy(), "output")
    )
    scores = graph.op("MatMul", x, output) + graph.weight(layer.bias.numpy(), "bias")
    if numbers is None:
        return scores
    each = graph.op("LogSoftmax", scores, axis=-1)
    numbers = graph.cast(numbers, "int64")
    chosen = graph.op("GatherElements", each, graph.expand(numbers, numbers.rank), axis=-1)
    return graph.squeeze(chosen, numbers.rank)
