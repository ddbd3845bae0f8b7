"""Random second-order Markov models, a model a row, as step functions of both forms.

What follows depends on the last id and on the one before it, which is a state: a search that mixes
up the states of its rows gives other answers.
"""

import itertools
from functools import cache, partial

import numpy as np
import tensorflow as tf

from decoding import beam_graph, sampling_graph
from decoding.prefill_graph import prefill as graph_prefill

END = 1
SOURCE = 3


def model(seed, rows, size=3, ties=False, attends=False):
    """First ids and states of so many rows; with ties, of few different numbers and some -inf."""
    rng = np.random.default_rng(seed)
    table = rng.normal(scale=2, size=(rows, size, size, size))
    table -= np.log(np.exp(table).sum(-1, keepdims=True))
    if ties:
        table = rng.choice([-0.5, -1.0, -2.0, -np.inf], size=table.shape)
        table[..., 2] = np.maximum(table[..., 2], -2.0)  # at least one id is allowed
    states = {"table": table.astype(np.float32), "before": np.zeros(rows, np.int32)}
    if attends:
        states["weights"] = rng.random((rows, size, SOURCE)).astype(np.float32)
        states["mask"] = rng.integers(0, 2, (rows, SOURCE)).astype(np.int32)
    return rng.integers(0, size, rows).astype(np.int32), states


def step(ids, states):
    """One step in NumPy."""
    rows = np.arange(len(ids))
    returned = {"before": ids}
    if "weights" in states:
        returned["attention"] = states["weights"][rows, ids]
    return states["table"][rows, states["before"], ids], returned


def graph_step(ids, states):
    """The same in TensorFlow."""
    rows = tf.range(tf.shape(ids)[0])
    returned = {"before": ids}
    if "weights" in states:
        returned["attention"] = tf.gather(states["weights"], ids, batch_dims=1)
    places = tf.stack([rows, states["before"], ids], 1)
    return tf.gather_nd(states["table"], places), returned


def some(rows, first, states):
    """The model of some of the rows."""
    return first[rows], {name: array[rows] for name, array in states.items()}


def every_sequence(first, states, row, limit, end=END):
    """(ids, score, positions, what was attended to) of each sequence that a row can have."""
    table = states["table"][row].astype(np.float64)
    weights = states["weights"][row].astype(np.float64) if "weights" in states else None
    others = [i for i in range(table.shape[-1]) if i != end]
    for length in range(limit if end is None else 0, limit + 1):
        for ids in itertools.product(others, repeat=length):
            whole = [*ids] if length == limit else [*ids, end]
            read = [int(states["before"][row]), int(first[row]), *whole]
            score = sum(table[a, b, c] for a, b, c in zip(read, read[1:], read[2:], strict=False))
            attended = weights[read[1:-1]].sum(0) if weights is not None else None
            if np.isfinite(score):
                yield [*ids], float(score), len(whole), attended


SPECS = {
    "table": tf.TensorSpec([None, None, None, None]),
    "before": tf.TensorSpec([None], tf.int32),
    "weights": tf.TensorSpec([None, None, SOURCE]),
    "mask": tf.TensorSpec([None, SOURCE], tf.int32),
}
SETTINGS = {
    "seed": tf.int64, "temperature": tf.float32, "top_k": tf.int64, "top_p": tf.float32,
    "max_tokens": tf.int64, "length_penalty": tf.float32, "coverage_penalty": tf.float32,
    "beam": tf.int32, "n_best": tf.int32,
}  # fmt: skip
SEARCHES = {
    "greedy": sampling_graph.greedy,
    "sample": sampling_graph.sample,
    "beam_search": beam_graph.beam_search,
}


@cache
def traced(search, end, states, settings, **more):
    """A search over ``graph_step``, traced once for any number of rows."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            {name: SPECS[name] for name in states},
            {
                name: tf.TensorSpec([] if name in ("beam", "n_best") else [None], SETTINGS[name])
                for name in settings
            },
        ]
    )
    def run(first, states, settings):
        return SEARCHES[search](graph_step, first, states, end=end, **settings, **more)

    return run


def graph_search(search, first, states, settings, end=END, **more):
    """What the TensorFlow twin finds, as NumPy arrays."""
    run = traced(search, end, tuple(states), tuple(settings), **more)
    given = {name: np.asarray(v, SETTINGS[name].as_numpy_dtype) for name, v in settings.items()}
    found = run(first, states, given)
    return type(found)(*(array.numpy() for array in found))


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None], tf.int32),
        {name: SPECS[name] for name in ("table", "before")},
    ]
)
def traced_prefill(ids, lengths, states):
    """The beginnings read in a graph."""
    return graph_prefill(graph_step, ids, lengths, states)


def assert_same(found, want):
    """Equal ids and lengths, scores as close as float32 is; nothing but padding behind a length."""
    for name, mine, other in zip(type(want)._fields, found, want, strict=True):
        check = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
        if other.dtype.kind == "i":
            check = np.testing.assert_array_equal
        check(mine, other, err_msg=name)
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
