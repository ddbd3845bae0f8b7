"""CTC against the enumeration of every alignment."""

import itertools

import numpy as np
import pytest

from decoding.ctc import BLANK, align, greedy, log_likelihood
from decoding.ctc_beam import PrefixBeam, beam_search


def spelled(alignment):
    """What an alignment spells."""
    joined = [s for s, _ in itertools.groupby(alignment)]
    return tuple(s for s in joined if s != BLANK)


def every_text(scores):
    """Probability of each text, and its likeliest alignment, by enumeration."""
    steps, symbols = scores.shape
    texts, best = {}, {}
    for alignment in itertools.product(range(symbols), repeat=steps):
        p = float(np.exp(sum(scores[t, s] for t, s in enumerate(alignment))))
        text = spelled(alignment)
        texts[text] = texts.get(text, 0.0) + p
        best[text] = max(best.get(text, (0.0, ())), (p, alignment))
    return texts, best


def random_scores(seed, rows, steps, symbols, sharp=1.5):
    logits = np.random.default_rng(seed).normal(size=(rows, steps, symbols)) * sharp
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def padded(texts):
    width = max(map(len, texts))
    return (
        np.array([[*t, *[BLANK] * (width - len(t))] for t in texts], np.int32).reshape(-1, width),
        np.array([len(t) for t in texts]),
    )


def test_a_likelihood_worked_by_hand():
    # Two steps, blank 0.4 and a 0.6 at each: "a" is a-a, a-blank, blank-a; "" is blank-blank.
    scores = np.log(np.array([[[0.4, 0.6], [0.4, 0.6]]], np.float32))
    texts, counts = padded([(1,)])
    assert np.exp(log_likelihood(scores, [2], texts, counts)) == pytest.approx([0.84])
    empty = np.zeros((1, 0), np.int32)
    assert np.exp(log_likelihood(scores, [2], empty, [0])) == pytest.approx([0.16])
    # "aa" would need a blank in between: three steps.
    twice, counts = padded([(1, 1)])
    assert log_likelihood(scores, [2], twice, counts)[0] < -1e29


@pytest.mark.parametrize("seed", range(4))
def test_likelihood_beam_and_alignment_are_those_of_enumeration(seed):
    steps, symbols = 5, 3
    scores = random_scores(seed, 1, steps, symbols)
    texts, best = every_text(scores[0])
    assert sum(texts.values()) == pytest.approx(1, abs=1e-5)
    for text, p in texts.items():
        numbers = np.array([text], np.int32).reshape(1, -1)
        found = log_likelihood(scores, [steps], numbers, [len(text)])
        assert np.exp(found[0]) == pytest.approx(p, rel=1e-4)
    likeliest = max(texts, key=texts.get)
    found = beam_search(scores, [steps], beam=len(texts))
    assert tuple(found.symbols[0]) == likeliest
    assert np.exp(found.log_probability[0]) == pytest.approx(texts[likeliest], rel=1e-4)
    for text in texts:
        first, last = align(scores, [steps], np.array([text], np.int32).reshape(1, -1), [len(text)])
        alignment = best[text][1]
        runs, t = [], 0
        for symbol, run in itertools.groupby(alignment):
            size = len(list(run))
            if symbol != BLANK:
                runs.append((t, t + size - 1))
            t += size
        assert list(zip(first[0], last[0], strict=True)) == runs


def test_a_beam_joins_what_greedy_search_keeps_apart():
    # Hannun's example: the likeliest alignment is all blank, the likeliest text is not.
    scores = np.log(np.array([[[0.6, 0.4], [0.6, 0.4]]], np.float32))
    assert greedy(scores, [2]).length[0] == 0
    assert beam_search(scores, [2], 4).symbols.tolist() == [[1]]


def test_rows_do_not_depend_on_their_neighbours():
    scores = random_scores(7, 6, 9, 5)
    lengths = np.array([9, 0, 1, 4, 9, 6])
    for search in (greedy, lambda x, n: beam_search(x, n, 6)):
        whole = search(scores, lengths)
        for i, n in enumerate(lengths):
            alone = search(scores[i : i + 1, :n], np.array([n]))
            assert alone.length[0] == whole.length[i]
            text = whole.symbols[i, : whole.length[i]]
            assert text.tolist() == alone.symbols[0, : alone.length[0]].tolist()
            assert alone.log_probability[0] == pytest.approx(whole.log_probability[i], abs=1e-4)
    texts = beam_search(scores, lengths, 6)
    first, last = align(scores, lengths, texts.symbols, texts.length)
    for i, n in enumerate(texts.length):
        steps = [s for pair in zip(first[i, :n], last[i, :n], strict=True) for s in pair]
        assert steps == sorted(steps)
        assert all(step < lengths[i] for step in steps)


def test_a_search_step_by_step_is_the_search_of_the_whole():
    scores = random_scores(3, 1, 12, 4)
    search = PrefixBeam(1, 8)
    for t in range(12):
        search.push(scores[:, t])
        symbols, counts = search.best()
        now = beam_search(scores[:, : t + 1], [t + 1], 8)
        assert symbols[0, : counts[0]].tolist() == now.symbols[0].tolist()


class OnlyTwos:
    """Allows the symbol 2 alone, and rewards it."""

    def start(self, rows):
        return {"count": np.zeros(rows, np.int32)}

    def following(self, states):
        found = np.full((len(states["count"]), 4), -1e30, np.float32)
        found[:, 2] = 1.0
        return found

    def after(self, states, symbols):
        assert (symbols == 2).all()
        return {"count": states["count"] + 1}

    def end(self, states):
        return np.where(states["count"] == 2, 5.0, 0.0).astype(np.float32)

    def take(self, states, rows):
        return {"count": states["count"][rows]}


def test_a_scorer_forbids_rewards_and_weighs_the_end():
    scores = random_scores(5, 1, 8, 4, sharp=0.3)
    found = beam_search(scores, [8], 16, OnlyTwos())
    assert found.symbols[0].tolist() == [2, 2]


@pytest.mark.parametrize("seed", range(3))
def test_the_graph_finds_the_same(seed):
    import tensorflow as tf

    from decoding import ctc_graph

    scores = random_scores(seed, 7, 14, 6)
    lengths = np.array([14, 0, 1, 4, 14, 9, 13], np.int32)
    for beam in (1, 2, 9):
        want = beam_search(scores, lengths, beam)
        symbols, counts = ctc_graph.beam_search(scores, lengths, tf.constant(beam))
        assert counts.numpy().tolist() == want.length.tolist()
        assert symbols.numpy().tolist() == want.symbols.tolist()
        likely = ctc_graph.log_likelihood(scores, lengths, symbols, counts)
        assert likely.numpy() == pytest.approx(want.log_probability, abs=1e-4)
    found = ctc_graph.align(scores, lengths, symbols, counts)
    for got, expected in zip(found, align(scores, lengths, want.symbols, want.length), strict=True):
        assert got.numpy().tolist() == expected.tolist()
    symbols, counts = ctc_graph.greedy(scores, lengths)
    want = greedy(scores, lengths)
    assert symbols.numpy().tolist() == want.symbols.tolist()
    assert counts.numpy().tolist() == want.length.tolist()
