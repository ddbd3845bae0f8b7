"""Greedy search and sampling: numbers by hand, frequencies, and both forms alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markov import END, assert_same, every_sequence, graph_search, graph_step, model, some, step

from decoding import sampling, sampling_graph

FORMS = {"numpy": (sampling, step), "tensorflow": (sampling_graph, graph_step)}
HALVES = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def chosen(form, rows, chances, **settings):
    return np.asarray(
        form[0].choose(np.asarray(rows, np.float32), np.asarray(chances, np.float32), **settings)
    ).tolist()


# Squares of the halves are 16, 4, 1 and 1 of 22; roots 2, 1.41, 1 and 1 of 5.41, times a constant.
@pytest.mark.parametrize(("settings", "chances", "ids"), [
    ({}, [0, 0.499, 0.501, 0.749, 0.751, 0.87, 0.88, 0.999], [0, 0, 1, 1, 2, 2, 3, 3]),
    ({"temperature": 0.5}, [0.727, 0.728, 0.909, 0.91, 0.954, 0.955], [0, 1, 1, 2, 2, 3]),
    ({"temperature": 2.0}, [0.369, 0.37, 0.63, 0.631, 0.815, 0.816], [0, 1, 1, 2, 2, 3]),
    ({"temperature": 0.0}, [0, 0.6, 0.999], [0, 0, 0]),
    ({"top_k": 1}, [0, 0.999], [0, 0]),
    ({"top_k": 2}, [0.666, 0.667, 0.999], [0, 1, 1]),
    # Of two that are equally probable the lower one is kept.
    ({"top_k": 3}, [0.57, 0.572, 0.857, 0.858, 0.999], [0, 1, 1, 2, 2]),
    ({"top_k": 4}, [0.999], [3]),
    ({"top_k": 100}, [0.999], [3]),
    ({"top_p": 0.0}, [0.999], [0]),
    ({"top_p": 0.5}, [0.999], [0]),
    ({"top_p": 0.51}, [0.666, 0.667], [0, 1]),
    ({"top_p": 0.75}, [0.666, 0.999], [0, 1]),
    ({"top_p": 0.76}, [0.857, 0.858, 0.999], [1, 2, 2]),
    ({"top_p": 1.0}, [0.999], [3]),
    # The nucleus is of what temperature and top_k leave: of 2/3 and 1/3, of 16/22 and so on.
    ({"top_k": 2, "top_p": 0.66}, [0.999], [0]),
    ({"top_k": 2, "top_p": 0.67}, [0.999], [1]),
    ({"temperature": 0.5, "top_p": 0.72}, [0.999], [0]),
    ({"temperature": 0.5, "top_p": 0.73}, [0.79, 0.81], [0, 1]),
])  # fmt: skip
def test_choice_by_hand(form, settings, chances, ids):
    assert chosen(form, [HALVES] * len(chances), chances, **settings) == ids


def test_each_row_has_settings_of_its_own(form):
    found = chosen(
        form, [HALVES] * 4, [0.999] * 4,
        temperature=[1.0, 0.0, 1.0, 1.0], top_k=[0, 0, 2, 0], top_p=[1.0, 1.0, 1.0, 0.8],
    )  # fmt: skip
    assert found == [3, 0, 1, 2]


def test_of_equals_the_lowest_is_the_most_probable(form):
    assert chosen(form, [[-2, -1, -1], [-1, -1, -1]], [0.999] * 2, temperature=0.0) == [1, 0]
    assert chosen(form, [[-2, -1, -1]], [0.999], top_k=1) == [1]


def test_a_forbidden_id_is_never_drawn(form):
    rows = [[-np.inf, -1, -np.inf, -1, -np.inf]] * 4
    assert chosen(form, rows, [0, 0.4999, 0.5, 0.999]) == [1, 1, 3, 3]
    assert chosen(form, rows, [0, 0.4999, 0.5, 0.999], top_k=4, top_p=0.9) == [1, 1, 3, 3]


def test_extreme_temperatures_give_the_best_id_or_any(form):
    rows = [[-1.0, -1.001, -50.0]] * 3
    assert chosen(form, rows, [0, 0.5, 0.999], temperature=1e-30) == [0, 0, 0]
    assert chosen(form, rows, [0.38, 0.39, 0.999], temperature=100.0) == [0, 1, 2]


MASK = 2**64 - 1


def mixed(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def test_the_random_numbers_are_those_of_splitmix64(form):
    gamma = 0x9E3779B97F4A7C15
    assert mixed(gamma) == 0xE220A8397B1DCDAF  # the first number of its public code, seed 0
    seeds = [0, 1, -1, 12345, 2**31 - 1, -(2**63), 2**63 - 1]
    for position in (0, 1, 99_999):
        hashes = [mixed(mixed(s + gamma & MASK) + (position + 1) * gamma & MASK) for s in seeds]
        want = [(value >> 40) / 2**24 for value in hashes]
        assert np.asarray(form[0].uniforms(seeds, position)).tolist() == want


def chi_square(counts, expected):
    return float(((counts - expected) ** 2 / expected).sum())


def test_random_numbers_are_even_and_do_not_follow_one_another():
    first = sampling.uniforms(np.arange(8000), 0)
    after = sampling.uniforms(np.arange(8000), 1)
    one_seed = sampling.uniforms(7, np.arange(8000))
    for numbers in (first, after, one_seed):
        counts = np.bincount((numbers * 16).astype(int), minlength=16)
        assert chi_square(counts, 500.0) < 40  # 15 degrees of freedom: 37.7 is one in a thousand
    for a, b in ((first, after), (first[1:], first[:-1]), (one_seed[1:], one_seed[:-1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.04


@pytest.mark.parametrize(("settings", "weights"), [
    ({}, [8, 4, 2, 2]),
    ({"temperature": 0.5}, [16, 4, 1, 1]),
    ({"top_k": 3}, [4, 2, 1]),
    ({"top_p": 0.7}, [2, 1]),
])  # fmt: skip
def test_many_draws_come_as_often_as_they_should(settings, weights):
    count = 8000
    chances = sampling.uniforms(np.arange(count), 3)
    ids = sampling.choose(np.tile(HALVES, (count, 1)), chances, **settings)
    expected = np.array(weights) / np.sum(weights) * count
    counts = np.bincount(ids, minlength=len(weights))
    assert len(counts) == len(weights)
    assert chi_square(counts, expected) < 17


def test_whole_sequences_come_as_often_as_they_should():
    count = 8000
    first, states = some(np.zeros(count, int), *model(3, 1))
    found = sampling.sample(step, first, states, end=END, seed=np.arange(count), max_tokens=2)
    drawn = [tuple(row[:n].tolist()) for row, n in zip(found.ids, found.lengths, strict=True)]
    every = {tuple(ids): score for ids, score, *_ in every_sequence(first, states, 0, 2)}
    assert sum(map(np.exp, every.values())) == pytest.approx(1)
    assert set(drawn) <= set(every)
    counts = np.array([drawn.count(ids) for ids in every])
    assert chi_square(counts, count * np.exp([*every.values()])) < 30  # 6 degrees of freedom
    for ids, score in zip(drawn[:50], found.scores[:50], strict=True):
        assert score == pytest.approx(every[ids], rel=1e-6)


def chain(*following):
    """A model in which each id has one that surely follows it."""
    table = np.full((len(following),) * 2, -np.inf, np.float32)
    table[np.arange(len(following)), following] = 0
    return lambda ids, states: (table[np.asarray(ids)], {})


def test_the_end_is_scored_and_not_written(form):
    follow = chain(2, 3, 1, 0)  # 0 -> 2 -> 1 -> 3 -> 0
    found = [np.asarray(part).tolist() for part in form[0].greedy(
        follow, [0, 2, 1, 0], {}, end=3, max_tokens=[5, 5, 5, 2])]  # fmt: skip
    assert found == [[[2, 1], [1, 0], [0, 0], [2, 1]], [2, 1, 0, 2], [0, 0, 0, 0]]
    endless = form[0].greedy(follow, [0], {}, end=None, max_tokens=5)
    assert np.asarray(endless.ids).tolist() == [[2, 1, 3, 0, 2]]
    nothing = form[0].greedy(follow, [0, 0], {}, end=3, max_tokens=[0, 1])
    assert [np.asarray(part).tolist() for part in nothing] == [[[0], [2]], [0, 1], [0, 0]]


def test_without_chance_sampling_is_greedy(form):
    first, states = model(5, 4)
    search, one_step = form
    want = search.greedy(one_step, first, states, end=END, max_tokens=6)
    for sharp in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}, {"temperature": 1e-6}):
        found = search.sample(one_step, first, states, end=END, seed=9, max_tokens=6, **sharp)
        for mine, other in zip(found, want, strict=True):
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(other))


def test_equal_seeds_draw_equally_and_others_differ():
    first, states = some(np.zeros(40, int), *model(1, 1, size=4))

    def draw(seed):
        found = sampling.sample(step, first, states, end=None, seed=seed, max_tokens=8)
        return found.ids.tolist()

    same, apart = draw(11), draw(11 + np.arange(40))
    assert same == [same[0]] * 40
    assert apart[0] == same[0]
    assert len({tuple(ids) for ids in apart}) > 35


ROW = st.fixed_dictionaries({
    "seed": st.integers(-(2**63), 2**63 - 1),
    "temperature": st.sampled_from([0.0, 0.3, 1.0, 1.7, 100.0]),
    "top_k": st.sampled_from([0, 1, 2, 3, 2**31 - 1]),
    "top_p": st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    "max_tokens": st.integers(0, 6),
})  # fmt: skip
CASE = given(st.integers(0, 10**6), st.lists(ROW, max_size=5), st.booleans(), st.data())


def columns(rows, dtypes=(np.int64, np.float32, np.int64, np.float32, np.int64)):
    names = ("seed", "temperature", "top_k", "top_p", "max_tokens")
    return {n: np.array([row[n] for row in rows], d) for n, d in zip(names, dtypes, strict=True)}


@CASE
@settings(max_examples=120)
def test_samples_are_the_same_in_both_forms_and_in_any_company(seed, rows, ties, data):
    first, states = model(seed, len(rows), ties=ties)
    given_settings, end = columns(rows), data.draw(st.sampled_from([END, None]))
    want = sampling.sample(step, first, states, end=end, **given_settings)
    assert_same(graph_search("sample", first, states, given_settings, end), want)
    for i in data.draw(st.sets(st.integers(0, len(rows) - 1))) if rows else ():
        own = columns(rows[i : i + 1])
        alone = sampling.sample(step, *some([i], first, states), end=end, **own)
        assert alone.lengths[0] == want.lengths[i]
        assert alone.ids[0].tolist() == want.ids[i, : want.lengths[i]].tolist()
        assert not want.ids[i, want.lengths[i] :].any()
        assert alone.scores[0] == want.scores[i]


@given(st.integers(0, 10**6), st.lists(st.integers(0, 6), max_size=5), st.booleans())
@settings(max_examples=60)
def test_greedy_is_the_same_in_both_forms_and_takes_the_best(seed, limits, ties):
    first, states = model(seed, len(limits), ties=ties)
    given_settings = {"max_tokens": np.array(limits, np.int64)}
    found = sampling.greedy(step, first, states, end=END, **given_settings)
    assert_same(graph_search("greedy", first, states, given_settings), found)
    for row, limit in enumerate(limits):
        before, last, ids, score = 0, first[row], [], 0.0
        while len(ids) < limit and last != -1:
            values = states["table"][row, before, last]
            before, last = last, int(values.argmax())
            score += float(values[last])
            ids, last = (ids, -1) if last == END else ([*ids, last], last)
        assert found.ids[row, : found.lengths[row]].tolist() == ids
        assert found.scores[row] == pytest.approx(score, rel=1e-6)


def test_a_choice_of_no_rows_is_empty(form):
    assert chosen(form, np.zeros((0, 4)), np.zeros(0)) == []
