"""Hyperparameters of ``models.music``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number, switch
from models.config import RecurrentConfig


@dataclass(frozen=True)
class MusicConfig(RecurrentConfig):
    """Hyperparameters of ``models.music``."""

    cell: str = choice("lstm", ("simple_rnn", "lstm", "gru"), "recurrent cell")
    units: int = number(200, 1, 4096, "hidden size")
    bidirectional: bool = switch(False, "must stay off: what follows is to be foretold")
    embedding_dim: int = number(0, 0, 4096, "width of a layer before the recurrent ones; 0: none")
    output: str = choice(
        "nade", ("independent", "nade"), "whether notes of a step depend on each other"
    )
    nade_units: int = number(128, 1, 4096, "hidden size of the output nade")
    skip: bool = switch(True, "the output sees the last step directly too")
    pitch_filters: int = number(
        16,
        0,
        1024,
        "filters over pitch, alike in all keys, from the last step to the next; 0: none",
    )
    input_dropout: float = number(0.3, 0.0, 0.95, "of single notes in what is read")
    dropout: float = number(0.6, 0.0, 0.95, "between and behind the recurrent layers")
    transpose: int = number(0, 0, 12, "semitones that training moves pieces by at most, at random")
    learning_rate: float = number(5e-3, 1e-7, 1.0, "Adam's step size")
    clipnorm: float = number(1.0, 1e-3, 1e6, "greatest global norm of the gradient")
    batch_size: int = number(8, 1, 65536, "pieces a step")
    epochs: int = number(60, 1, 100000, "greatest number of epochs")
    patience: int = number(10, 1, 100000, "epochs without a better validation score before the end")
