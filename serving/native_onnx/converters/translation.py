"""The layers of ``models.translation`` that its cores hold."""

from __future__ import annotations

from models.translation_layers import TokenTable, Unmasked
from serving.native_onnx.registry import converter


@converter(TokenTable, layout="any")
def token_table(graph, layer, x, reverse=False):
    """Rows of the table; in reverse products with all of them, and the bias."""
    if not reverse:
        return graph.take(graph.weight(layer.table, "table"), x)
    # Stored a second time, transposed: a runtime would else do it at each step.
    scores = x @ graph.weight(layer.table.numpy().T, "table_transposed")
    return scores + graph.weight(layer.bias, "bias")


@converter(Unmasked, layout="any")
def unmasked(graph, layer, x):
    """Nothing to do."""
    return x
