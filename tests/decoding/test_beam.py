"""Beam search: against all sequences that there are, by hand, and both forms alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markov import END, assert_same, every_sequence, graph_search, graph_step, model, some, step

from decoding import beam, beam_graph, sampling
from decoding.stepping import top_ids

FORMS = {"numpy": (beam, step), "tensorflow": (beam_graph, graph_step)}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def ranked(first, states, row, limit, alpha=0.0, beta=0.0, end=END):
    """All sequences of a row with their scores after the penalties of Wu et al., best first."""
    found = []
    for ids, score, positions, attended in every_sequence(first, states, row, limit, end):
        normalised = score / ((5 + positions) / 6) ** alpha
        if beta and limit:
            covered = np.log(np.minimum(attended, 1.0))
            normalised += beta * covered[states["mask"][row] != 0].sum()
        found.append((normalised, score, ids))
    return sorted(found, key=lambda one: -one[0])


def assert_is_best(found, row, want):
    """The hypotheses of a row are the first of all, and -inf where there are no more."""
    known = {tuple(ids): (normalised, score) for normalised, score, ids in want}
    assert found.ids.shape[1] == len(found.normalised[row])
    for n, length in enumerate(found.lengths[row]):
        ids = tuple(found.ids[row, n, :length].tolist())
        scores = found.normalised[row, n], found.scores[row, n]
        if n < len(want):
            # Where two are equal, rounding may have exchanged them.
            assert scores[0] == pytest.approx(want[n][0], rel=1e-5, abs=1e-6)
            assert scores == pytest.approx(known.pop(ids), rel=1e-5, abs=1e-6)
        else:
            assert (ids, *scores) == ((), -np.inf, -np.inf)


@given(
    st.integers(0, 10**6),
    st.sampled_from([3, 4]),
    st.sampled_from([0.0, 0.6, 1.0, 4.0]),
    st.sampled_from([0.0, 0.5, 3.0]),
)
@settings(max_examples=25)
def test_a_beam_that_holds_all_sequences_finds_the_best_ones(seed, size, alpha, beta):
    first, states = model(seed, 3, size, attends=True)
    limits = [5, 4, 0] if size == 3 else [4, 1, 2]
    found = beam.beam_search(
        step, first, states, end=END, beam=81, n_best=10, length_penalty=alpha,
        coverage_penalty=beta, max_tokens=limits, source_mask="mask",
    )  # fmt: skip
    for row, limit in enumerate(limits):
        assert_is_best(found, row, ranked(first, states, row, limit, alpha, beta))


@given(st.integers(0, 10**6), st.sampled_from([0.0, 2.0]))
@settings(max_examples=10)
def test_without_an_end_all_sequences_are_as_long_as_may_be(seed, alpha):
    first, states = model(seed, 2)
    limits, more = [4, 2], {"beam": 81, "n_best": 12, "length_penalty": alpha}
    found = beam.beam_search(step, first, states, end=None, max_tokens=limits, **more)
    for row, limit in enumerate(limits):
        want = ranked(first, states, row, limit, alpha, end=None)
        assert len(want) == 3**limit
        assert_is_best(found, row, want)


def test_forbidden_ids_leave_fewer_sequences_than_asked_for(form):
    table = np.full((1, 3, 3, 3), -np.inf, np.float32)
    table[..., 1], table[:, 0, 0, 2] = -2.0, -1.0  # an end at once, or a 2 and then an end
    states = {"table": table, "before": np.zeros(1, np.int32)}
    found = form[0].beam_search(
        form[1], np.zeros(1, np.int32), states, end=END, beam=5, n_best=4, length_penalty=0.0
    )
    ids, lengths, scores, normalised = map(np.asarray, found)
    assert ids.tolist() == [[[0], [2], [0], [0]]]
    assert lengths.tolist() == [[0, 1, 0, 0]]
    assert scores.tolist() == normalised.tolist() == [[-2, -3, -np.inf, -np.inf]]


def tree(ids, states):
    """0 goes to 2 (0.6) or 3 (0.4); 2 to the end or itself (0.5 each); 3 to the end (0.9)."""
    rows = {0: [0, 0, 0.6, 0.4], 2: [0, 0.5, 0.5, 0], 3: [0.1, 0.9, 0, 0]}
    with np.errstate(divide="ignore"):
        return np.log(np.array([rows.get(i, [1, 0, 0, 0]) for i in np.asarray(ids)], "f4")), {}


def test_search_by_hand(form):
    def found(**settings):
        parts = form[0].beam_search(tree, [0], {}, end=END, max_tokens=4, **settings)
        ids, lengths, scores, normalised = (np.asarray(part)[0] for part in parts)
        return [(row[:n].tolist(), np.exp(s), m)
                for row, n, s, m in zip(ids, lengths, scores, normalised, strict=True)]  # fmt: skip

    # One hypothesis goes the way of the greedy one; two find the better end.
    (alone,) = found(beam=1, length_penalty=0.0)
    assert alone[0] == [2]
    assert alone[1] == pytest.approx(0.3)
    best, second = found(beam=2, n_best=2, length_penalty=0.0)
    assert (best[0], second[0]) == ([3], [2])
    assert (best[1], second[1]) == (pytest.approx(0.36), pytest.approx(0.3))
    assert best[2] == pytest.approx(np.log(0.36))
    # Two ids with the end count as two: ((5 + 2) / 6) ** 0.6.
    (best,) = found(beam=2)
    assert best[2] == pytest.approx(np.log(0.36) / (7 / 6) ** 0.6)
    # A great penalty prefers what is long: four ids, 0.6 * 0.5 ** 3, the fourth the end or, with
    # the same score but a higher id, one more 2, where the limit stops it.
    best, second = found(beam=2, n_best=2, length_penalty=5.0)
    assert (best[0], second[0]) == ([2, 2, 2], [2, 2, 2, 2])
    assert best[2] == second[2] == pytest.approx(np.log(0.075) / 1.5**5)


def test_equals_rank_by_hypothesis_then_by_id(form):
    def even(ids, states):
        return np.full((np.asarray(ids).size, 3), -1.0, np.float32), {}

    ids = np.asarray(
        form[0].beam_search(even, [0], {}, end=None, beam=4, n_best=4, max_tokens=2)[0]
    )
    assert ids.tolist() == [[[0, 0], [0, 1], [0, 2], [1, 0]]]


def test_attention_to_all_of_the_source_is_preferred(form):
    # 2 attends to the first half of the source, 3 to the second; the first step to neither.
    weights = np.array([[0, 0, 0], [0, 0, 0], [0.9, 0.1, 0], [0.1, 0.9, 0]], np.float32)

    def attending(ids, states):
        values = np.log(np.array([0.01, 0.01, 0.5, 0.48], np.float32))
        ids = np.asarray(ids)
        return np.tile(values, (len(ids), 1)), {"attention": weights[ids]}

    def best(**settings):
        states = {"mask": np.array([[1, 1, 0]], np.int32)}
        found = form[0].beam_search(
            attending, [0], states, end=None, beam=16, max_tokens=3, source_mask="mask", **settings
        )
        return np.asarray(found.ids)[0, 0].tolist(), np.asarray(found.normalised)[0, 0]

    assert best(length_penalty=0.0)[0] == [2, 2, 2]
    ids, normalised = best(length_penalty=0.0, coverage_penalty=1.0)
    assert ids == [2, 3, 2]  # both places attended to, once each: log(min(1, 1)) is 0
    assert normalised == pytest.approx(np.log(0.5 * 0.48 * 0.5), rel=1e-5)


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([END, None]))
@settings(max_examples=30)
def test_a_beam_of_one_is_greedy(seed, ties, end):
    first, states = model(seed, 4, ties=ties)
    # A length penalty may make it go on behind the greedy end, in the hope of something better.
    alpha = 0.0 if end is not None else 1.0
    limits = [6, 5, 1, 0]
    greedy = sampling.greedy(step, first, states, end=end, max_tokens=limits)
    found = beam.beam_search(
        step, first, states, end=end, beam=1, length_penalty=alpha, max_tokens=limits
    )
    assert found.lengths[:, 0].tolist() == greedy.lengths.tolist()
    assert found.ids[:, 0].tolist() == greedy.ids.tolist()
    np.testing.assert_array_equal(found.scores[:, 0], greedy.scores)


@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.0, 0.6, 2.0]))
@settings(max_examples=30)
def test_a_narrow_beam_finds_real_sequences_and_none_twice(seed, width, alpha):
    first, states = model(seed, 3)
    found = beam.beam_search(
        step, first, states, end=END, beam=width, n_best=width, length_penalty=alpha, max_tokens=4
    )
    for row in range(3):
        every = ranked(first, states, row, 4, alpha)
        known = {tuple(ids): normalised for normalised, _, ids in every}
        ids = [tuple(i[:n].tolist())
               for i, n in zip(found.ids[row], found.lengths[row], strict=True)]  # fmt: skip
        real = [i for i, s in zip(ids, found.scores[row], strict=True) if s > -np.inf]
        assert len(set(real)) == len(real) > 0
        for i, normalised in zip(real, found.normalised[row], strict=False):
            assert normalised == pytest.approx(known[i], rel=1e-5, abs=1e-6)
        assert (np.diff(found.normalised[row][: len(real)]) <= 0).all()


@pytest.mark.parametrize("values", [3, 1000])
@pytest.mark.parametrize("k", [1, 10])
def test_the_best_ids_of_a_large_vocabulary(values, k):
    # Of three values nearly all are ties.
    draw = np.random.default_rng(values)
    scores = -draw.integers(0, values, (7, 1234)).astype(np.float32)
    scores[2, 5:] = -np.inf
    scores[3] = -np.inf
    want = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(top_ids(scores, k), want)
    np.testing.assert_array_equal(top_ids(scores[::2], k), want[::2])
    assert top_ids(scores[:0], k).shape == (0, k)


def test_rows_that_are_done_are_not_stepped_any_more():
    asked = []

    def counting(ids, states):
        asked.append(len(ids))
        return step(ids, states)

    first, states = model(2, 4)
    beam.beam_search(counting, first, states, end=None, beam=3, max_tokens=[1, 3, 0, 2])
    assert asked == [3, 6, 3]  # all hypotheses of a row are one at first


ROW = st.fixed_dictionaries({
    "max_tokens": st.integers(0, 5),
    "length_penalty": st.sampled_from([0.0, 0.6, 1.0, 10.0]),
    "coverage_penalty": st.sampled_from([0.0, 0.0, 0.3, 2.0]),
})  # fmt: skip


def columns(rows):
    dtypes = {"max_tokens": np.int64, "length_penalty": np.float32, "coverage_penalty": np.float32}
    return {name: np.array([row[name] for row in rows], dtype) for name, dtype in dtypes.items()}


@pytest.mark.slow
@given(st.integers(0, 10**6), st.lists(ROW, max_size=4), st.integers(1, 6), st.data())
@settings(max_examples=100)
def test_hypotheses_are_the_same_in_both_forms_and_in_any_company(seed, rows, width, data):
    first, states = model(seed, len(rows), ties=data.draw(st.booleans()), attends=True)
    widths = {"beam": width, "n_best": data.draw(st.integers(1, width))}
    more = {"source_mask": data.draw(st.sampled_from([None, "mask"]))}
    end = data.draw(st.sampled_from([END, None]))
    want = beam.beam_search(step, first, states, end=end, **columns(rows), **widths, **more)
    found = graph_search("beam_search", first, states, {**columns(rows), **widths}, end, **more)
    assert_same(found, want)
    for i in data.draw(st.sets(st.integers(0, len(rows) - 1))) if rows else ():
        own = {**columns(rows[i : i + 1]), **widths, **more}
        alone = beam.beam_search(step, *some([i], first, states), end=end, **own)
        longest = alone.ids.shape[2]
        assert alone.ids[0].tolist() == want.ids[i, :, :longest].tolist()
        assert not want.ids[i, :, longest:].any()
        for name in ("lengths", "scores", "normalised"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(want, name)[i])


@pytest.mark.parametrize("attends", [False, True])
def test_settings_that_are_no_tensors_give_the_same(attends):
    first, states = model(8, 3, attends=attends)
    for more in (
        {"beam": 3, "n_best": 2},
        {"coverage_penalty": [0.0, 0.5, 1.0]} if attends else {},
    ):
        want = beam.beam_search(step, first, states, end=END, max_tokens=4, **more)
        found = beam_graph.beam_search(graph_step, first, states, end=END, max_tokens=4, **more)
        assert_same(type(found)(*(array.numpy() for array in found)), want)
