"""Hyperparameters of ``models.text_classification``."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import choice, number, switch
from models.config import CLASS_WEIGHT_HELP, CLASS_WEIGHTS, WordConfig


@dataclass(frozen=True)
class TextConfig(WordConfig):
    """Hyperparameters of ``models.text_classification``."""

    average: float = number(0.99, 0.0, 0.99999, "momentum of a running average of the weights")
    pooling: str = choice("max", ("last", "mean", "max", "attention"), "sequence to vector")
    token_dropout: float = number(0.1, 0.0, 0.9, "share of tokens hidden from the network")
    wide: str = choice("characters", ("none", "words", "characters"), "n-grams of the linear path")
    pairs: bool = switch(True, "embed pairs of letters too, in scripts without spaces")
    wide_l2: float = number(5e-5, 0.0, 1.0, "penalty on the linear path's weights")
    class_weight: str = choice("none", CLASS_WEIGHTS, CLASS_WEIGHT_HELP)
