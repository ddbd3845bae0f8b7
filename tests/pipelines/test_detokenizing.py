"""Text that comes in id by id equals the text of all ids, and never shows half a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.detokenizing import Detokenizer, StoppedText
from pipelines.text import TextEncoder

BYTES = Detokenizer.of_encoder(TextEncoder(level="byte").adapt([]))
FIRST = 4  # id of the byte 0


def ids_of(text):
    return [FIRST + byte for byte in text.encode()]


@given(st.lists(st.integers(0, 259)))
def test_bytes_that_are_no_text_come_out_as_they_would_at_once(ids):
    encoder = TextEncoder(level="byte").adapt([])
    text = BYTES.begin()
    pieces = [*map(text.push, ids), text.flush()]
    assert "".join(pieces) == encoder.decode(ids) == BYTES.text(ids)


@given(st.text())
def test_characters_are_never_split(text):
    begun = BYTES.begin()
    pieces = [begun.push(one) for one in ids_of(text)]
    assert "".join(pieces).count("\ufffd") == text.count("\ufffd")
    assert "".join(pieces) == text
    assert begun.flush() == ""


@pytest.mark.parametrize("level", ["word", "char"])
def test_words_and_characters(level):
    encoder = TextEncoder(level=level, strip_markup=False).adapt(["a cat, and a fine dog 😀"])
    table = Detokenizer.of_encoder(encoder)
    ids = encoder.encode("a dog and a fine cat")
    text = table.begin()
    assert "".join(map(text.push, ids)) == encoder.decode(ids) == table.text(ids)


def test_a_line_of_words_begins_without_a_space():
    table = Detokenizer([b"", b" a", b" b", b"\n"], spaced=True)
    text = table.begin()
    assert [text.push(i) for i in (1, 2, 3, 0, 2, 1, 3, 3, 1)] == [
        "a", " b", "\n", "", "b", " a", "\n", "\n", "a"
    ]  # fmt: skip


def stopped(text, stops, flush=True):
    one = StoppedText(BYTES.begin(), stops)
    pieces = []
    for number in ids_of(text):
        pieces.append(one.push(number))
        if one.stopped:
            break
    return pieces + [one.flush()] * flush, one.stopped


@pytest.mark.parametrize(("text", "stops", "pieces", "found"), [
    ("abcd", ["cd"], ["a", "b", "", "", ""], True),
    ("abcx", ["cd"], ["a", "b", "", "cx", ""], False),
    ("abc", ["cd"], ["a", "b", "", "c"], False),
    ("aab", ["aab"], ["", "", "", ""], True),
    ("aaab", ["aab"], ["", "", "a", "", ""], True),  # what is held is looked through again
    ("abc", ["bc", "b"], ["a", "", ""], True),  # the first that is complete counts
    ("abcd", ["d", "bcd"], ["a", "", "", "", ""], True),  # of two at once, the one that began first
    ("a\u20acb", ["\u20ac"], ["a", "", "", "", ""], True),
    ("abc", [], ["a", "b", "c", ""], False),
])  # fmt: skip
def test_stop_strings_across_ids(text, stops, pieces, found):
    assert stopped(text, stops) == (pieces, found)


@given(
    st.text("ab\u20ac", max_size=30),
    st.lists(st.text("ab\u20ac", min_size=1, max_size=4), max_size=3),
)
def test_a_text_ends_before_the_first_stop_string_that_is_complete(text, stops):
    pieces, found = stopped(text, stops)
    ends = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    assert found == bool(ends)
    end = min(ends)[0] if ends else None
    expected = text if end is None else text[: min(place for last, place in ends if last == end)]
    assert "".join(pieces) == expected
