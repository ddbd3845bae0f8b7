"""Greedy search, sampling and beam search over a step function. Names load on first use.

The NumPy implementations are exported here. Their TensorFlow twins have the same names and
arguments in ``decoding.sampling_graph`` and ``decoding.beam_graph``.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "BeamConfig": "decoding.beam",
    "DecodingError": "decoding.stepping",
    "Hypotheses": "decoding.stepping",
    "SamplingConfig": "decoding.sampling",
    "Sequences": "decoding.stepping",
    "beam_search": "decoding.beam",
    "choose": "decoding.sampling",
    "greedy": "decoding.sampling",
    "sample": "decoding.sampling",
    "uniforms": "decoding.sampling",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
