"""The ticket grammar: deterministic, of unequal labels, and decided by what is negated."""

import re
from collections import Counter

import pytest

from common.errors import DataError
from pipelines import synthetic_tickets as grammar
from pipelines.sources import load_labelled_text
from pipelines.synthetic_tickets import synthetic_tickets


@pytest.fixture(scope="module")
def tickets():
    return synthetic_tickets(1000, 3)


def requested(text):
    """Finds the queue by other means: the one thing that stands in a request that is open."""
    body, found = text.partition(" | ")[2], []
    for queue, things in grammar._THINGS.items():
        for thing in things:
            for request, _ in grammar._FRAMES:
                found += [queue] * len(re.findall(rf"\b{re.escape(request.format(thing))}", body))
    return found


def test_exactly_one_request_is_open_and_it_gives_the_label(tickets):
    assert [requested(one.text) for one in tickets] == [[one.label] for one in tickets]


def test_labels_have_the_shares_that_are_promised(tickets):
    counts = Counter(one.label for one in tickets)
    assert counts == {name: round(1000 * share) for name, share in grammar.SHARES.items()}
    assert sum(grammar.SHARES.values()) == pytest.approx(1)
    assert Counter(one.label for one in synthetic_tickets(117, 0)).total() == 117


def test_tickets_are_distinct_and_the_same_each_time(tickets):
    assert len({one.text for one in tickets}) == 1000
    assert synthetic_tickets(1000, 3) == tickets
    assert synthetic_tickets(1000, 4) != tickets


def test_every_label_is_in_every_part():
    splits = load_labelled_text("synthetic:400", synthetic=synthetic_tickets)
    for part in (splits.train, splits.validation, splits.test):
        assert {one.label for one in part} == set(grammar.SHARES)


@pytest.mark.parametrize("size", [10, 99, 200_001])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(DataError, match=f"of {size} examples cannot be made: ask for 100 to"):
        synthetic_tickets(size)
