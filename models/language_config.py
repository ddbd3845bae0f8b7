"""Hyperparameters of ``models.language``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number, path, switch, text
from models.config import RecurrentConfig


@dataclass(frozen=True)
class LanguageConfig(RecurrentConfig):
    """Hyperparameters of ``models.language``."""

    cell: str = choice("lstm", ("simple_rnn", "lstm", "gru"), "recurrent cell")
    layers: int = number(2, 1, 4, "recurrent layers")
    units: int = number(256, 1, 8192, "hidden size")
    bidirectional: bool = switch(False, "must stay off: what follows is to be foretold")
    embedding_dim: int = number(256, 1, 8192, "size of the embedding of each unit")
    tied: bool = switch(True, "the embeddings are the weights of the output too")
    dropout: float = number(0.3, 0.0, 0.95, "between and behind the recurrent layers")
    input_dropout: float = number(0.2, 0.0, 0.95, "of embeddings")
    unit_dropout: float = number(0.0, 0.0, 0.95, "of whole units, hidden wherever they stand")
    weight_dropout: float = number(0.0, 0.0, 0.95, "of recurrent weights")
    label_smoothing: float = number(0.0, 0.0, 0.9, "share of the target given to all units")
    sampled_units: int = number(
        0, 0, 10_000_000, "units scored in training beside those that follow; 0 for all"
    )
    encoder: str = path("", "directory of a `seqloom train language` run to begin with")
    window: int = number(70, 1, 100_000, "units of a window of truncated backpropagation")
    learning_rate: float = number(2e-3, 1e-7, 100.0, "Adam's step size")
    clipnorm: float = number(1.0, 1e-3, 1e6, "greatest global norm of the gradient")
    batch_size: int = number(32, 1, 65536, "documents, or places of one, read side by side")
    sample_units: int = number(80, 0, 10_000, "units written after each epoch, to look at; 0: none")
    sample_prompt: str = text("", "beginning of what is written after each epoch")
    epochs: int = number(20, 1, 100000, "greatest number of epochs")
