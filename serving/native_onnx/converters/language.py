"""The layers of ``models.language``."""

from __future__ import annotations

from models import language_layers
from serving.native_onnx.registry import converter


@converter(language_layers.TiedEmbedding, layout="any")
def tied_embedding(graph, layer, inputs, reverse=False):
    """Rows of the table, or the products with all of them."""
    table = layer.embeddings.numpy()
    if not reverse:
        return graph.take(graph.weight(table, "embeddings"), inputs)
    scores = graph.op("MatMul", inputs, graph.weight(table.T.copy(), "output"))
    return scores + graph.weight(layer.bias.numpy(), "bias")


@converter(language_layers.ChosenLogProbabilities)
def chosen_log_probabilities(graph, layer, inputs):
    """A log-softmax, of which one number is taken at each place."""
    scores, numbers = inputs
    each = graph.op("LogSoftmax", scores, axis=-1)
    chosen = graph.op("GatherElements", each, graph.expand(graph.cast(numbers, "int64"), 2), axis=2)
    return graph.squeeze(chosen, 2)
