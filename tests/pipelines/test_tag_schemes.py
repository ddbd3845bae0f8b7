"""Schemes of tags, told apart and converted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tag_schemes import (
    detect_scheme,
    spans_of,
    spans_to_bio,
    split_tag,
    to_bio,
    to_bioes,
)

SPELLED = {
    "bio": "B-P I-P O B-P B-P I-P O B-Q",
    "iob1": "I-P I-P O I-P B-P I-P O I-Q",
    "bioes": "B-P E-P O S-P B-P E-P O S-Q",
    "bilou": "B-P L-P O U-P B-P L-P O U-Q",
    "bmes": "B-P E-P O S-P B-P E-P O S-Q",
}


@pytest.mark.parametrize("scheme", SPELLED)
def test_one_sentence_in_every_scheme(scheme):
    tags = SPELLED[scheme].split()
    bio, mended = to_bio(tags, scheme)
    assert " ".join(bio) == SPELLED["bio"]
    assert not mended
    known = {"bmes": "bioes"}.get(scheme, scheme)
    assert detect_scheme([tags]) == known


@pytest.mark.parametrize(("rows", "scheme"), [
    (["B-P M-P E-P"], "bmes"),
    (["DET NOUN VERB"], "plain"),
    (["O O O"], "plain"),
    (["O X B-P"], "plain"),
    (["I-P O I-P I-P", "B-P O"], "iob1"),
    (["B-P O B-P I-P", "I-P O"], "bio"),
    (["I-P B-P"], "iob1"),
    (["I-P I-P O"], "iob1"),
    ([], "plain"),
])  # fmt: skip
def test_schemes_are_told_apart(rows, scheme):
    assert detect_scheme([row.split() for row in rows]) == scheme


def test_tags_that_go_on_with_nothing_begin_there_and_are_named():
    tags = "I-P O I-P I-P B-Q I-P O".split()  # noqa: SIM905
    assert to_bio(tags, "bio") == (["B-P", "O", "B-P", "I-P", "B-Q", "B-P", "O"], [0, 2, 5])
    assert to_bio(tags, "iob1") == (["B-P", "O", "B-P", "I-P", "B-Q", "B-P", "O"], [])
    assert to_bio(["E-P", "B-P", "O", "E-P"], "bioes")[1] == [0, 3]
    assert to_bio(["S-P", "I-P"], "bioes") == (["B-P", "B-P"], [1])


def test_spans_as_the_scoring_script_of_conll_counts_them():
    assert spans_of("B-P I-P I-Q O I-Q B-Q".split()) == [  # noqa: SIM905
        ("P", 0, 2), ("Q", 2, 3), ("Q", 4, 5), ("Q", 5, 6),
    ]  # fmt: skip
    assert spans_of([]) == []
    assert spans_of(["NOUN", "O"]) == []


def test_prefixes():
    assert split_tag("B-PER") == ("B", "PER")
    assert split_tag("I_geo") == ("I", "geo")
    assert split_tag("B-") == ("", "B-")
    assert split_tag("BEER") == ("", "BEER")
    assert split_tag("B-time-of-day") == ("B", "time-of-day")


@st.composite
def span_lists(draw):
    length = draw(st.integers(0, 12))
    spans, at = [], 0
    while at < length:
        at += draw(st.integers(0, 3))
        size = draw(st.integers(1, 3))
        if at + size <= length:
            spans.append((draw(st.sampled_from("PQ")), at, at + size))
        at += size
    return spans, length


@given(span_lists())
def test_spans_survive_every_spelling(given_spans):
    spans, length = given_spans
    bio = spans_to_bio(spans, length)
    assert spans_of(bio) == spans
    assert to_bio(to_bioes(bio), "bioes") == (bio, [])
    bilou = [{"S": "U", "E": "L"}.get(t[0], t[0]) + t[1:] for t in to_bioes(bio)]
    assert to_bio(bilou, "bilou") == (bio, [])
    bmes = [("M" if t[0] == "I" else t[0]) + t[1:] for t in to_bioes(bio)]
    assert to_bio(bmes, "bmes") == (bio, [])
    iob1 = [
        tag if tag[0] != "B" or (i and bio[i - 1][1:] == tag[1:]) else "I" + tag[1:]
        for i, tag in enumerate(bio)
    ]
    assert to_bio(iob1, "iob1") == (bio, [])
