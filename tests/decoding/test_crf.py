"""Viterbi, k best and marginals against all paths, in NumPy and as TensorFlow ops."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from decoding import crf_graph, crf_sums_graph
from decoding.crf import FORBIDDEN, CrfScores, allowed_transitions, k_best, viterbi
from decoding.crf_sums import marginals
from tests.decoding.chains import NAMES, every_path, exact_marginals, path_score, random_scores

CASES = [(3, 4, "bio"), (5, 3, "bio"), (5, 4, "bioes"), (4, 4, None), (1, 3, None), (2, 6, None)]
LENGTHS = np.array([3, 1, 0, 2, 3], np.int32)


def a_batch(tags, time, scheme, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    emissions = (scale * rng.normal(size=(len(LENGTHS), time, tags))).astype(np.float32)
    lengths = np.minimum(LENGTHS, time)
    lengths[0] = time
    return emissions, lengths, random_scores(rng, tags, scheme)


@pytest.mark.parametrize("scale", [1, 30, 10_000])
@pytest.mark.parametrize(("tags", "time", "scheme"), CASES)
def test_all_answers_are_those_of_listing_every_path(tags, time, scheme, scale):
    emissions, lengths, scores = a_batch(tags, time, scheme, scale)
    best, shares = viterbi(emissions, lengths, scores), marginals(emissions, lengths, scores)
    some, totals = k_best(emissions, lengths, scores, 3)
    for row, length in enumerate(lengths):
        paths, every = every_path(emissions[row], length, scores)
        order = np.argsort(-every)
        assert tuple(best[row, :length]) == paths[order[0]]
        assert not best[row, length:].any()
        np.testing.assert_allclose(
            shares[row], exact_marginals(emissions[row], length, scores), atol=1e-6
        )
        count = min(3, len(paths))
        np.testing.assert_allclose(totals[row, :count], every[order[:count]], rtol=1e-6, atol=1e-5)
        assert np.all(totals[row, count:] == -np.inf)
        for path, total in zip(some[row, :count, :length], totals[row], strict=False):
            assert path_score(emissions[row], scores, path) == pytest.approx(total, rel=1e-6)


def graph_of(function, *more):
    """The function in a graph that knows neither batch nor time."""

    @tf.function(autograph=False)
    def run(emissions, lengths, transitions, start, end):
        return function(emissions, lengths, CrfScores(transitions, start, end), *more)

    def call(emissions, lengths, scores):
        specs = [tf.TensorSpec([None, None, emissions.shape[2]]), tf.TensorSpec([None], tf.int32)]
        parts = (scores.transitions, scores.start, scores.end)
        concrete = run.get_concrete_function(*specs, *(tf.TensorSpec(x.shape) for x in parts))
        given = (emissions, lengths.astype(np.int32), *parts)
        return tf.nest.map_structure(np.asarray, concrete(*map(tf.constant, given)))

    return call


@pytest.mark.parametrize(("tags", "time", "scheme"), CASES)
def test_the_graph_finds_the_same(tags, time, scheme):
    for scale, seed in ((1, 0), (1, 1), (10_000, 2)):
        batch = a_batch(tags, time, scheme, scale, seed)
        assert np.array_equal(graph_of(crf_graph.viterbi)(*batch), viterbi(*batch))
        found = graph_of(crf_sums_graph.marginals)(*batch)
        np.testing.assert_allclose(found, marginals(*batch), atol=1e-6)
        paths, totals = graph_of(crf_graph.k_best, 4)(*batch)
        mine, mine_totals = k_best(*batch, 4)
        assert np.array_equal(paths, mine)
        np.testing.assert_allclose(totals, mine_totals, rtol=1e-12)


@pytest.mark.parametrize(("batch", "time"), [(0, 3), (2, 0), (0, 0), (3, 1)])
def test_nothing_and_almost_nothing(batch, time):
    emissions, lengths = np.zeros((batch, time, 4), np.float32), np.full(batch, time, np.int32)
    scores = CrfScores.zeros(4)
    for function in (viterbi, graph_of(crf_graph.viterbi)):
        assert function(emissions, lengths, scores).shape == (batch, time)
    for function in (marginals, graph_of(crf_sums_graph.marginals)):
        assert function(emissions, lengths, scores).shape == (batch, time, 4)
    for function in (lambda *x: k_best(*x, 2), graph_of(crf_graph.k_best, 2)):
        paths, totals = function(emissions, lengths, scores)
        assert paths.shape == (batch, 2, time)
        assert totals.shape == (batch, 2)


def test_of_equal_paths_both_take_the_lower_tags():
    emissions, lengths = np.zeros((2, 5, 3), np.float32), np.array([5, 2], np.int32)
    scores = CrfScores.zeros(3)
    assert not viterbi(emissions, lengths, scores).any()
    assert not graph_of(crf_graph.viterbi)(emissions, lengths, scores).any()
    mine = k_best(emissions, lengths, scores, 5)[0]
    assert np.array_equal(graph_of(crf_graph.k_best, 5)(emissions, lengths, scores)[0], mine)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 12), st.sampled_from([0.1, 3, 200])
)
def test_marginals_are_shares_and_agree_with_logarithms(seed, tags, time, scale):
    from decoding.crf_sums import _by_logarithms

    rng = np.random.default_rng(seed)
    emissions = (scale * rng.normal(size=(3, time, tags))).astype(np.float32)
    lengths = rng.integers(0, time + 1, 3)
    scores = random_scores(rng, tags, scale=scale / 2)
    found = marginals(emissions, lengths, scores)
    inside = np.arange(time) < lengths[:, None]
    np.testing.assert_allclose(found.sum(-1), inside, atol=1e-5)
    x = np.where(inside[..., None], emissions.astype(float), 0)
    slow = np.where(inside[..., None], _by_logarithms(x, lengths, scores), 0)
    np.testing.assert_allclose(found, slow, atol=1e-6)


def test_scores_far_below_are_still_paths_and_forbidden_ones_never():
    # All paths score below the sum of a forbidden transition and zeros.
    emissions, lengths = np.full((1, 200, 3), -1e4, np.float32), np.array([200], np.int32)
    emissions[0, :, 2] = 1e5  # I-P pays for what would be forbidden, many times over
    allowed = allowed_transitions(("O", "B-P", "I-P"), "bio")
    start, pairs, end = (np.where(yes, 0, FORBIDDEN).astype(np.float32) for yes in allowed)
    scores = CrfScores(pairs, start, end)
    for function in (viterbi, graph_of(crf_graph.viterbi), crf_graph.viterbi):
        assert np.asarray(function(emissions, lengths, scores)).tolist() == [[1] + 199 * [2]]
    emissions[0, :, 2] = -1e4
    for function in (lambda *x: k_best(*x, 2), graph_of(crf_graph.k_best, 2)):
        paths, totals = function(emissions, lengths, scores)
        assert totals.tolist() == [[-2e6, -2e6]]
        assert not np.array_equal(paths[0, 0], paths[0, 1])


def test_a_long_chain_keeps_its_digits():
    rng = np.random.default_rng(0)
    emissions = (5 * rng.normal(size=(1, 2000, 5))).astype(np.float32)
    scores = random_scores(rng, 5, "bio")
    whole = marginals(emissions, np.array([2000]), scores)
    # A stretch of forty steps from its middle: what is farther away says nothing any more.
    part = marginals(emissions[:, 980:1020], np.array([40]), scores)
    np.testing.assert_allclose(whole[:, 995:1005], part[:, 15:25], atol=1e-5)


def test_a_span_never_goes_on_with_what_was_not_begun():
    rng = np.random.default_rng(3)
    for scheme in ("bio", "bioes"):
        names = NAMES[scheme]
        emissions = rng.normal(size=(20, 9, 5)).astype(np.float32)
        scores = random_scores(rng, 5, scheme)
        paths = viterbi(emissions, np.full(20, 9), scores)
        for path in paths:
            tags = [names[i] for i in path]
            for before, tag in zip(["O", *tags], tags, strict=False):
                if tag[0] in "IE":
                    assert before[0] in "BI"
                    assert before[1:] == tag[1:]
                elif scheme == "bioes":
                    assert before[0] in "OES"
            if scheme == "bioes":
                assert tags[-1][0] in "OES"


def test_allowed_transitions_by_hand():
    start, pairs, end = allowed_transitions(("O", "B-P", "I-P", "B-Q"), "bio")
    assert start.tolist() == [True, True, False, True]
    assert end.all()
    assert pairs[:, 2].tolist() == [False, True, True, False]  # I-P behind B-P and I-P alone
    assert pairs[:, [0, 1, 3]].all()
    start, pairs, end = allowed_transitions(("O", "B-P", "I-P", "E-P", "S-P"), "bioes")
    assert start.tolist() == [True, True, False, False, True]
    assert end.tolist() == [True, False, False, True, True]
    assert pairs[1].tolist() == [False, False, True, True, False]
    assert pairs[3].tolist() == [True, True, False, False, True]


@pytest.mark.parametrize(("tags", "scheme"), [(["O", "E-P"], "bio"), (["O"], "iob1")])
def test_tags_that_no_scheme_has_are_refused(tags, scheme):
    with pytest.raises(ConfigError, match="use bio or bioes|E-P"):
        allowed_transitions(tags, scheme)


def test_scores_survive_json():
    import json

    scores = random_scores(np.random.default_rng(0), 5, "bio")
    again = CrfScores.from_dict(json.loads(json.dumps(scores.to_dict())))
    for name in ("transitions", "start", "end"):
        assert np.array_equal(getattr(again, name), getattr(scores, name))
    assert scores.transitions.min() == np.float32(FORBIDDEN)
