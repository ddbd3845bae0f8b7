"""Kneser-Ney by hand, and what must hold of any probabilities."""

import itertools

import numpy as np
import pytest

from models.kneser_ney import KneserNey

START, END, A, B, C = 2, 3, 4, 5, 6


def share(model, document):
    return np.exp(model.log_probabilities(document)[-1])


def test_bigrams_by_hand():
    """Of ``a b a c`` each pair is seen once: the discount of one is cut to 0.95. Behind how many
    units: a 2, b 1, c 1, the end 1, so that 0.6 is taken from ones and 1.95 from the two."""
    model = KneserNey([[START, A, B, A, C, END]], size=7, order=2, foretold=4)
    left = (3 * 0.6 + 1.95) / 5 / 4
    unigram = {A: 0.05 / 5 + left, B: 0.4 / 5 + left}
    assert share(model, [START, A, B]) == pytest.approx(0.05 / 2 + 0.95 * unigram[B])
    assert share(model, [START, A, A]) == pytest.approx(0.95 * unigram[A])
    # Nothing was seen behind the end: the shorter context decides.
    assert share(model, [START, END, A]) == pytest.approx(unigram[A])


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_of_what_may_follow_sum_to_one(order):
    draw = np.random.default_rng(0)
    documents = [[START, *draw.integers(4, 9, draw.integers(1, 12)), END] for _ in range(20)]
    model = KneserNey(documents, size=9, order=order, foretold=7)
    for context in itertools.product([START], range(4, 9), range(4, 9), range(4, 9)):
        total = sum(share(model, [*context, unit]) for unit in (1, END, *range(4, 9)))
        assert total == pytest.approx(1)


def test_each_unit_is_scored_once_whatever_the_document():
    model = KneserNey([[START, A, END]], size=7, order=4, foretold=5)
    assert len(model.log_probabilities([START])) == 0
    assert model.log_probabilities([START, B, B, B]).shape == (3,)
    assert np.isfinite(model.log_probabilities([START, 1, C, END])).all()
