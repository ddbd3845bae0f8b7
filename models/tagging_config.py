"""Hyperparameters of ``models.tagging``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number, switch
from models.config import WordConfig


@dataclass(frozen=True)
class TaggingConfig(WordConfig):
    """Hyperparameters of ``models.tagging``."""

    cell: str = choice("lstm", ("simple_rnn", "lstm", "gru"), "recurrent cell")
    units: int = number(128, 1, 4096, "hidden size of each direction")
    embedding_dim: int = number(100, 1, 4096, "size of the embedding of each word")
    dropout: float = number(0.5, 0.0, 0.95, "of embeddings, between layers and of the head")
    average: float = number(0.99, 0.0, 0.99999, "momentum of a running average of the weights")
    epochs: int = number(8, 1, 100000, "greatest number of epochs")
    head: str = choice("crf", ("crf", "softmax"), "tags chosen together, or each by itself")
    characters: str = choice("cnn", ("none", "cnn", "rnn"), "how the characters of a word are read")
    character_dim: int = number(32, 1, 1024, "size of the embedding of each character")
    character_units: int = number(64, 1, 1024, "size of what is read from a word's characters")
    form_dim: int = number(32, 0, 1024, "size of the embedding of each beginning, end and shape")
    pairs: bool = switch(True, "embed pairs of neighbours too, where tokens are single characters")
    word_dropout: float = number(
        0.25, 0.0, 100.0, "a: a word seen n times is hidden from training by a / (a + n)"
    )
    wide: bool = switch(True, "add a linear model of words, forms and their neighbours")
