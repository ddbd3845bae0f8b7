"""Lists of words and language models in a prefix beam search."""

import numpy as np
import pytest

from decoding.ctc_beam import beam_search
from decoding.ctc_scorers import BothScorers, LanguageScorer, WordScorer

SYMBOLS = (" ", "a", "b", "c")


def scores_of(text, sharp=3.0, seed=0):
    """Scores that spell a text, each symbol and a blank on two steps, with noise."""
    ids = {symbol: i for i, symbol in enumerate(SYMBOLS, 1)}
    wanted = [n for c in text for n in (ids[c], 0)]
    logits = np.random.default_rng(seed).normal(size=(len(wanted), 5))
    logits[np.arange(len(wanted)), wanted] += sharp
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)[None]


def heard(scores, scorer, beam=12):
    found = beam_search(scores, [scores.shape[1]], beam, scorer)
    return "".join(SYMBOLS[n - 1] for n in found.symbols[0, : found.length[0]])


def test_only_words_of_the_list_are_written():
    words = WordScorer(["ab", "abc", "ca", "dud"], SYMBOLS)
    assert heard(scores_of("ab ca"), None) == "ab ca"
    assert heard(scores_of("ab ca"), words) == "ab ca"
    for seed in range(6):
        text = heard(scores_of("abb ac", sharp=2.0, seed=seed), words)
        assert set(text.split(" ")) <= {"ab", "abc", "ca", ""}, text
        assert "  " not in text


def test_a_list_that_cannot_be_spelled_is_refused():
    with pytest.raises(ValueError, match="no word"):
        WordScorer(["dud", ""], SYMBOLS)


def counting_model(ids, states):
    """After a comes b for certain, after all else a or c alike; it counts its steps."""
    rows = np.full((len(ids), 5), -8.0, np.float32)
    rows[:, [1, 3]] = np.log(0.49)
    rows[ids == 1] = -8.0
    rows[ids == 1, 2] = 0.0
    return rows, {"steps": states["steps"] + 1}


def language(weight, reward):
    # Units of the model: 0 start, 1 a, 2 b, 3 c, 4 end; a space is a unit it hardly expects.
    return LanguageScorer(
        counting_model, lambda rows: {"steps": np.zeros((rows, 1), np.float32)},
        [4, 1, 2, 3], 0, 4, weight, reward,
    )  # fmt: skip


def test_a_language_model_decides_what_sounds_alike():
    # The second symbol may be b or c: the sound likes c a little, the language b.
    scores = np.full((1, 3, 5), -9.0, np.float32)
    scores[0, 0, 2] = scores[0, 1, 0] = -0.01
    scores[0, 2, 3:] = np.log([0.45, 0.55])
    assert heard(scores, None) == "ac"
    assert heard(scores, language(1.0, 3.0)) == "ab"
    assert heard(scores, BothScorers(language(1.0, 3.0), WordScorer(["ac"], SYMBOLS))) == "ac"
