"""Hyperparameters of ``models.translation``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number, switch
from models.config import EncoderConfig

ATTENTIONS = ("additive", "general", "dot")


@dataclass(frozen=True)
class TranslationConfig(EncoderConfig):
    """Hyperparameters of ``models.translation``."""

    cell: str = choice("gru", ("simple_rnn", "lstm", "gru"), "recurrent cell of both sides")
    layers: int = number(1, 1, 4, "recurrent layers of the encoder, and of the decoder")
    units: int = number(256, 1, 4096, "hidden size of the decoder, and of each direction read")
    bidirectional: bool = switch(True, "read the source both ways")
    embedding_dim: int = number(256, 1, 4096, "size of the embedding, and of what is written from")
    dropout: float = number(0.3, 0.0, 0.95, "of embeddings, between layers and of the head")
    attention: str = choice(
        "additive", ATTENTIONS, "score of a source position: Bahdanau's (additive) or Luong's"
    )
    input_feeding: bool = switch(True, "the decoder reads what it attended to one step before")
    share_embeddings: bool = switch(True, "one table for source and target, of one vocabulary")
    tie_output: bool = switch(True, "score tokens by the table of the target's embeddings")
    label_smoothing: float = number(
        0.1, 0.0, 0.9, "share of the target's probability that is spread over all tokens"
    )
    average: float = number(0.99, 0.0, 0.99999, "momentum of a running average of the weights")
    learning_rate: float = number(3e-3, 1e-7, 1.0, "Adam's step size")
    clipnorm: float = number(1.0, 1e-3, 1e6, "greatest global norm of the gradient")
    batch_size: int = number(64, 1, 65536, "pairs a step")
    epochs: int = number(24, 1, 100000, "greatest number of epochs")
