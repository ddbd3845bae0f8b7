"""IBM model 1 and the trigram model by hand."""

import math

import pytest

from models.translation_baselines import NULL, AlignmentTable, TrigramModel, word_by_word

PAIRS = [(["das", "Haus"], ["the", "house"]), (["das", "Buch"], ["the", "book"])]


def test_one_iteration_by_hand():
    # From even shares each target word is shared by its three source words: NULL, das and the
    # noun. "das" has 1/3 of "the" twice and of each noun once, so t(the | das) = 2/4.
    table = AlignmentTable(PAIRS, iterations=1)
    assert table.probability("the", "das") == pytest.approx(1 / 2)
    assert table.probability("house", "das") == pytest.approx(1 / 4)
    assert table.probability("the", "Haus") == pytest.approx(1 / 2)
    assert table.probability("house", "Haus") == pytest.approx(1 / 2)
    assert table.probability("book", "Haus") == 0.0
    assert table.probability("the", NULL) == pytest.approx(1 / 2)


def test_two_iterations_by_hand():
    # "house" of the first pair: t is 1/4 of NULL, 1/4 of das, 1/2 of Haus, so Haus has 1/2 of it;
    # "the": 1/2 of each, so each has 1/3. t(house | Haus) = (1/2) / (1/2 + 1/3) = 3/5.
    table = AlignmentTable(PAIRS, iterations=2)
    assert table.probability("house", "Haus") == pytest.approx(3 / 5)
    assert table.probability("the", "Haus") == pytest.approx(2 / 5)
    # das: "the" twice 1/3, each noun 1/4.
    assert table.probability("the", "das") == pytest.approx((2 / 3) / (2 / 3 + 1 / 2))


def test_the_likelihood_never_falls_and_words_find_each_other():
    table = AlignmentTable(PAIRS, iterations=20)
    steps = zip(table.log_likelihoods, table.log_likelihoods[1:], strict=False)
    assert all(before <= after + 1e-9 for before, after in steps)
    assert table.likeliest["Haus"][0][0] == "house"
    assert table.likeliest["Buch"][0][0] == "book"
    assert table.likeliest["das"][0][0] == "the"
    for source in ("das", "Haus", "Buch", NULL):
        total = sum(table.probability(word, source) for word in ("the", "house", "book"))
        assert total == pytest.approx(1.0)


def test_trigrams_by_hand():
    model = TrigramModel([["a", "b", "a"], ["a", "b"]])
    assert model.score(("a", "b"), "a") == pytest.approx(math.log(1 / 2))
    # "b b a" is not there: 0.4 times "b a", one of two.
    assert model.score(("b", "b"), "a") == pytest.approx(math.log(0.4 / 2))
    # An unknown word: 0.4 twice, and half of what a word seen once has.
    count = sum(model._counts[0].values())
    assert model.score(("a", "b"), "z") == pytest.approx(math.log(0.16 * 0.5 / count))


def test_the_trigram_model_chooses_among_translations():
    pairs = [(["die", "Bank"], ["the", "bank"]), (["die", "Bank"], ["the", "bench"]),
             (["eine", "Bank"], ["a", "bench"])]  # fmt: skip
    table = AlignmentTable(pairs)
    money = TrigramModel([["the", "bank"]] * 3 + [["a", "bench"]])
    assert word_by_word(table, money, ["die", "Bank"]) == ["the", "bank"]
    assert word_by_word(table, money, ["eine", "Bank"]) == ["a", "bench"]
    assert word_by_word(table, money, ["eine", "Zebra"])[1] == "Zebra"
    assert word_by_word(table, money, []) == []
    assert AlignmentTable([]).likeliest == {}
