"""Hyperparameters that every recurrent model has."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import Config, choice, number, path, switch


@dataclass(frozen=True)
class RecurrentConfig(Config):
    """Hyperparameters of any recurrent model and of its training.

    A kind of task adds its own in a subclass. A task changes the defaults with
    ``RecurrentConfig(units=128)``, a user with ``config.updated(units=128)``.
    """

    cell: str = choice("gru", ("simple_rnn", "lstm", "gru"), "recurrent cell")
    layers: int = number(1, 1, 4, "recurrent layers")
    units: int = number(64, 1, 4096, "hidden size of each direction")
    bidirectional: bool = switch(True, "read the sequence both ways")
    embedding_dim: int = number(64, 1, 4096, "size of the embedding of each step")
    dropout: float = number(0.4, 0.0, 0.95, "of embeddings, between layers and of the head")
    learning_rate: float = number(2e-3, 1e-7, 1.0, "Adam's step size")
    decay: float = number(0.05, 0.0, 1.0, "share of the step size left at the last epoch")
    weight_decay: float = number(
        0.0,
        0.0,
        1.0,
        "share of the weights that a step takes away, times the step size",
    )
    average: float = number(0.0, 0.0, 0.99999, "momentum of a running average of the weights")
    clipnorm: float = number(5.0, 1e-3, 1e6, "greatest global norm of the gradient")
    batch_size: int = number(32, 1, 65536, "examples a step")
    epochs: int = number(12, 1, 100000, "greatest number of epochs")
    patience: int = number(4, 1, 100000, "epochs without a better validation score before the end")
    devices: int = number(1, 1, 64, "GPUs of this machine that share each batch")
    mixed_precision: bool = switch(
        False, "train in 16 bits: float16 on a GPU, bfloat16 where processors multiply that faster"
    )
    fast_loops: bool = switch(
        True, "train on a CPU with quicker recurrent loops than Keras's, equal to float rounding"
    )


# Of models that answer one label; ``tasks.kinds.class_weights`` does it.
CLASS_WEIGHTS = ("none", "balanced")
CLASS_WEIGHT_HELP = "balanced: the loss of rare labels counts as much as that of common ones"


@dataclass(frozen=True)
class EncoderConfig(RecurrentConfig):
    """Hyperparameters of models that may begin with what a language model has learnt."""

    encoder: str = path(
        "", "directory of a `seqloom train language` run whose units and recurrent weights to take"
    )
    encoder_backward: str = path("", "likewise, of a run with --backward, for the other direction")
    encoder_rate: float = number(
        0.3, 0.0, 1.0, "share of the step size for what an encoder gave; 0 leaves it as it is"
    )


@dataclass(frozen=True)
class WordConfig(EncoderConfig):
    """Hyperparameters of models that embed words."""

    vectors: str = path(
        "", "file of pre-trained word vectors: GloVe, word2vec (text, binary), fastText .vec, .gz"
    )
    freeze_vectors: bool = switch(False, "do not train the vectors further")
