"""Forms by hand, and beside ``re``."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.forms import NOWHERE, Form
from decoding.stepping import DecodingError

END = 0
WRITTEN = ["", "a", "b", "ab", "\n", "\u6625"]


def allowed(form, state):
    return [i for i, target in enumerate(form.table[state]) if target != NOWHERE]


def test_only_what_leads_to_the_form_is_allowed():
    form = Form("a{2}b", WRITTEN, END)
    assert allowed(form, form.first) == [1]  # "ab" would leave one a out
    second = form.behind([1])
    assert allowed(form, second) == [1, 3]
    assert allowed(form, form.behind([1, 1])) == [2]
    assert allowed(form, form.behind([1, 3])) == [END]
    assert form.behind([1, 3]) == form.behind([1, 1, 2])


def test_what_no_unit_can_write_is_avoided():
    form = Form("a|bz", WRITTEN, END)
    assert allowed(form, form.first) == [1]
    with pytest.raises(DecodingError, match="matches no text"):
        Form("z+", WRITTEN, END)


def test_a_line_of_five_characters():
    form = Form("[^\\n]{5}\\n", WRITTEN, END)
    state = form.behind([5, 3, 1, 1])
    assert allowed(form, state) == [4]
    assert allowed(form, form.behind([5, 3, 1])) == [1, 2, 5]


def test_an_unknown_character_of_a_prompt_is_one_character_and_never_written():
    unknown = 6
    form = Form("[^\\n]{3}\\n", [*WRITTEN, "<unk>"], END, unknown)
    assert allowed(form, form.first) == [1, 2, 3, 5]
    assert form.behind([1, unknown]) == form.behind([1, 1])
    assert allowed(form, form.behind([unknown, unknown, 1])) == [4]
    with pytest.raises(DecodingError, match="begin"):
        Form("ab*", [*WRITTEN, "<unk>"], END, unknown).behind([1, unknown])


@pytest.mark.parametrize("pattern", ["(", "a)", "[", "a{9999999}", "(a{999}){999}"])
def test_what_is_no_expression_is_refused(pattern):
    with pytest.raises(DecodingError, match="form"):
        Form(pattern, WRITTEN, END)


def test_a_prompt_must_begin_as_the_form_does():
    with pytest.raises(DecodingError, match="begin"):
        Form("ab*", WRITTEN, END).behind([2])
    with pytest.raises(DecodingError, match="states"):
        Form("a{9000}", ["", *"abcdefghij" * 300], END)


def test_anchors_of_the_whole_text_change_nothing():
    plain, anchored = Form("ab?", WRITTEN, END), Form("^ab?$", WRITTEN, END)
    np.testing.assert_array_equal(anchored.table, plain.table)
    with pytest.raises(DecodingError, match="no regular expression"):
        Form("a^b", WRITTEN, END)
    dollar = Form("a\\$", ["", "a", "$"], END)
    assert allowed(dollar, dollar.behind([1])) == [2]


PATTERNS = ["(ab|ba)*", "a?b+a*", "(a|b){2,4}", "a.b", "(aa)*b|b*", "[ab]*ab[ab]"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PATTERNS), st.integers(0, 10**6))
def test_whatever_is_written_matches_and_every_match_can_be_written(pattern, seed):
    written, draw = ["", "a", "b", "ab", "ba"], np.random.default_rng(seed)
    form = Form(pattern, written, END)
    state, text = form.first, ""
    for _ in range(12):
        choices = allowed(form, state)
        assert choices
        if END in choices:
            assert re.fullmatch(pattern, text)
            if draw.random() < 0.3 or choices == [END]:
                break
        chosen = draw.choice([one for one in choices if one != END])
        state, text = form.table[state, chosen], text + written[chosen]
    else:
        return
    ids = [written.index(character) for character in text]
    assert form.table[form.behind(ids), END] != NOWHERE
