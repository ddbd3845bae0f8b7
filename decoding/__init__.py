"""Greedy search, sampling and beam search over a step function. Names load on first use.

The NumPy implementations are exported here. Their TensorFlow twins have the same names and
arguments in ``decoding.sampling_graph`` and ``decoding.beam_graph``.
"""

from common.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
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
    },
)
