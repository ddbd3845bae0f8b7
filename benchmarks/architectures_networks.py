"""The networks that ``architectures.py`` compares: alike in parameters, apart in architecture."""

from __future__ import annotations

from functools import cache

import keras

from models.config import RecurrentConfig
from models.peers import PeerConfig, blocks_for, peer_stack
from models.recurrent import recurrent_stack

ARCHITECTURES = ("gru", "lstm", "tcn", "transformer")
# Of the Transformer, whose width goes in steps of eight: what the others are sized to.
WIDTHS = {100: 64, 26: 32}  # by thousands of parameters
MOST_WIDE = 512

NetworkConfig = RecurrentConfig | PeerConfig


def network_config(
    name: str, width: int, length: int, causal: bool = True, dropout: float = 0.0
) -> NetworkConfig:
    """One layer of a recurrent network, two blocks of a Transformer, or as many blocks of
    convolutions as see ``length`` steps.

    Args:
        name: one of ``ARCHITECTURES``.
        width: hidden size (of each direction), or width of the blocks.
        length: steps of the longest sequence.
        causal: False reads both ways, and lets convolutions and attention look ahead.
        dropout: of what each block adds.
    """
    if name in ("gru", "lstm"):
        return RecurrentConfig(cell=name, units=width, layers=1, bidirectional=not causal)
    blocks = blocks_for(length) if name == "tcn" else 2
    return PeerConfig(
        architecture=name, width=width, blocks=blocks, heads=4, causal=causal, dropout=dropout
    )


def stack(x: keras.KerasTensor, config: NetworkConfig) -> keras.KerasTensor:
    """``<float32>[batch, time, features]`` to ``[batch, time, width]``."""
    build = recurrent_stack if isinstance(config, RecurrentConfig) else peer_stack
    return build(x, config)


@cache
def stack_parameters(config: NetworkConfig, features: int) -> int:
    """Numbers that the stack learns, without what is before and behind it."""
    x = keras.Input((None, features))
    return keras.Model(x, stack(x, config)).count_params()


@cache
def sized(
    name: str, length: int, thousands: int, features: int, causal: bool = True, dropout: float = 0.0
) -> NetworkConfig:
    """The configuration whose stack comes nearest to the Transformer's number of parameters.

    Args:
        name: one of ``ARCHITECTURES``.
        length: steps of the longest sequence.
        thousands: of parameters, about: a key of ``WIDTHS``.
        features: of a step.
        causal: see ``network_config``.
        dropout: see ``network_config``.
    """

    def config(width: int) -> NetworkConfig:
        return network_config(name, width, length, causal, dropout)

    attention = network_config("transformer", WIDTHS[thousands], length, causal, dropout)
    if name == "transformer":
        return attention
    wanted, low, high = stack_parameters(attention, features), 1, MOST_WIDE
    while high - low > 1:
        middle = (low + high) // 2
        enough = stack_parameters(config(middle), features) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return min(map(config, (low, high)), key=lambda c: abs(stack_parameters(c, features) - wanted))
