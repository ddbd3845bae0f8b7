"""What no search can use is refused in one sentence that says what is wrong."""

import numpy as np
import pytest
import tensorflow as tf
from markov import END, graph_search, graph_step, model, step

from common.errors import ConfigError
from decoding import beam, beam_graph, sampling, sampling_graph
from decoding.stepping import DecodingError

SEARCHES = {
    "greedy": (sampling.greedy, sampling_graph.greedy, {}),
    "sample": (sampling.sample, sampling_graph.sample, {"seed": 0}),
    "beam_search": (beam.beam_search, beam_graph.beam_search, {}),
}
NAN = float("nan")
RANGES = [
    ("sample", "temperature", [-0.1, 100.5, NAN, "hot", True]),
    ("sample", "top_k", [-1, 2**31, 2**32 + 1, 1.0]),
    ("sample", "top_p", [-0.1, 1.1, NAN]),
    ("sample", "seed", [2**63, 0.5]),
    ("sample", "max_tokens", [-1, 100_001, 1.5, [1, 2, 3]]),
    ("greedy", "max_tokens", [-1, 2**32 + 1]),
    ("beam_search", "beam", [0, 1001, 2.0, True]),
    ("beam_search", "n_best", [0, 5, 1.0]),
    ("beam_search", "length_penalty", [-0.1, 10.5, NAN, [[0.1, 0.2]]]),
    ("beam_search", "coverage_penalty", [-0.1, 10.5, NAN]),
    ("beam_search", "max_tokens", [-1, 100_001]),
    ("beam_search", "source_mask", ["nothing"]),
    ("greedy", "end", [-1, True, 1.0]),
]
CASES = [(search, name, value) for search, name, values in RANGES for value in values]


def one_sentence(error):
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(("search", "name", "value"), CASES, ids=str)
def test_a_setting_out_of_range_is_refused_by_its_name(search, name, value):
    first, states = model(0, 2)
    for find, one_step in zip(SEARCHES[search][:2], (step, graph_step), strict=True):
        given = {"end": END, **SEARCHES[search][2], name: value}
        with pytest.raises(DecodingError) as error:
            find(one_step, first, states, **given)
        assert name in one_sentence(error)


WITHIN = {"seed": [0, 1], "temperature": [1.0, 1.0], "top_k": [0, 0], "top_p": [1.0, 1.0]}


@pytest.mark.parametrize(("search", "name", "value"), [
    ("sample", "temperature", [1.0, -1.0]),
    ("sample", "temperature", [1.0, NAN]),
    ("sample", "top_p", [1.1, 1.0]),
    ("sample", "top_k", [0, -1]),
    # Cast to 32 bits these would be numbers within the range.
    ("sample", "top_k", [2**32 + 1, 0]),
    ("sample", "max_tokens", [3, 2**32 + 1]),
    ("sample", "max_tokens", [3]),
    ("beam_search", "length_penalty", [1.0, 11.0]),
    ("beam_search", "n_best", 5),
    ("beam_search", "beam", 1001),
    # More than any memory holds: nothing may be allocated before the refusal.
    ("beam_search", "beam", 2**30),
    ("beam_search", "n_best", 2**30),
])  # fmt: skip
def test_a_graph_refuses_a_setting_as_it_runs(search, name, value):
    first, states = model(0, 2)
    given = {**(WITHIN if search == "sample" else {"beam": 4, "n_best": 1}), name: value}
    with pytest.raises(tf.errors.InvalidArgumentError, match=name):
        graph_search(search, first, states, given)


def test_a_graph_refuses_a_first_id_that_32_bits_do_not_hold():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def run(first):
        return sampling_graph.greedy(graph_step, first, model(0, 1)[1], end=END).ids

    with pytest.raises(tf.errors.InvalidArgumentError, match="an id in first is out of range"):
        run(np.array([2**32], np.int64))


@pytest.mark.parametrize(("first", "words"), [
    ([0.5, 1.0], "first has type float"),
    ([[0, 1]], "first has type int"),
    ([0, -1], "an id in first is out of range"),
    ([0, 2**31], "an id in first is out of range"),
    ([0, 1, 2], "'table'|'before'"),
])  # fmt: skip
@pytest.mark.parametrize("search", SEARCHES)
def test_first_ids_that_cannot_be_are_refused(search, first, words):
    _, states = model(0, 2)
    for find, one_step in zip(SEARCHES[search][:2], (step, graph_step), strict=True):
        with pytest.raises(DecodingError, match=words):
            find(one_step, np.array(first), states, end=END, **SEARCHES[search][2])


def answering(values, **states):
    return lambda ids, _: (np.array(values, np.float32), states)


@pytest.mark.parametrize(("bad", "words"), [
    (answering([[0.5, -1, -1]]), "log-softmax"),
    (answering([[NAN, -1, -1]]), "NaN"),
    (answering([[-1]]), "vocabulary"),
    (answering([-1, -1]), "shape"),
    (answering([[-1, -1]] * 2), r"\[1, vocabulary\]|\[rows, vocabulary\]"),
    (answering([[-1, -1]], more=np.zeros(1)), "'more'"),
])  # fmt: skip
@pytest.mark.parametrize("search", SEARCHES)
def test_an_answer_that_no_search_can_use_is_refused(search, bad, words):
    more = {**SEARCHES[search][2], **({"beam": 1} if search == "beam_search" else {})}
    for find in SEARCHES[search][:2]:
        with pytest.raises((DecodingError, tf.errors.InvalidArgumentError), match=words):
            find(bad, [0], {}, end=END, **more)


@pytest.mark.parametrize("search", ["greedy", "sample"])
def test_a_row_that_allows_no_id_is_refused(search):
    for find in SEARCHES[search][:2]:
        with pytest.raises((DecodingError, tf.errors.InvalidArgumentError), match="at least one"):
            find(answering([[-np.inf] * 3]), [0], {}, end=END, **SEARCHES[search][2])


def test_coverage_needs_the_attention():
    first, states = model(0, 2)
    for find, one_step in ((beam.beam_search, step), (beam_graph.beam_search, graph_step)):
        with pytest.raises(DecodingError, match="'attention'"):
            find(one_step, first, states, end=END, coverage_penalty=0.5)


@pytest.mark.parametrize(("kind", "settings", "words"), [
    (sampling.SamplingConfig, {"temperature": -1}, "temperature is -1.0; it must be from 0 to 100"),
    (sampling.SamplingConfig, {"top_p": 2}, "top_p is 2.0; it must be from 0 to 1"),
    (sampling.SamplingConfig, {"top_k": 1.5}, "top_k is 1.5; it must be of type int"),
    (sampling.SamplingConfig, {"max_tokens": 0}, "max_tokens is 0; it must be from 1 to 100000"),
    (sampling.SamplingConfig, {"seed": -1}, "seed is -1"),
    (sampling.SamplingConfig, {"beam": 2}, "unknown setting 'beam'"),
    (beam.BeamConfig, {"beam": 0}, "beam is 0; it must be from 1 to 1000"),
    (beam.BeamConfig, {"beam": 2, "n_best": 3}, "n_best is 3; it must be at most beam, 2"),
    (beam.BeamConfig, {"length_penalty": 11}, "length_penalty is 11.0; it must be from 0 to 10"),
])  # fmt: skip
def test_declared_settings_are_checked_as_they_are_made(kind, settings, words):
    with pytest.raises(ConfigError) as error:
        kind.from_dict(settings)
    assert one_sentence(error).startswith(words)


def test_the_defaults_of_a_search_are_those_of_its_settings():
    for find, kind in (
        (sampling.sample, sampling.SamplingConfig),
        (beam.beam_search, beam.BeamConfig),
    ):
        found = {name: find.__kwdefaults__[name] for name in kind.names() if name != "seed"}
        assert found == {n: v for n, v in kind().to_dict().items() if n != "seed"}
    first, states = model(0, 2)
    short = sampling.SamplingConfig(max_tokens=3).to_dict()
    assert sampling.sample(step, first, states, end=None, **short).lengths.tolist() == [3, 3]
    short = beam.BeamConfig(max_tokens=3).to_dict()
    assert beam.beam_search(step, first, states, end=None, **short).lengths.tolist() == [[3], [3]]
