"""Forms by hand, and beside ``re``."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.forms import NOWHERE, Form, check_form
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


@pytest.mark.parametrize("pattern", ["(", "a)", "[", "a{9999999}", "(a{999}){999}"])
def test_what_is_no_expression_is_refused(pattern):
    with pytest.raises(DecodingError, match="form"):
        Form(pattern, WRITTEN, END)


def test_a_pattern_of_few_characters_may_have_too_many_states_and_is_given_up():
    for made in (check_form, lambda pattern: Form(pattern, WRITTEN, END)):
        with pytest.raises(DecodingError, match="form has more than [0-9]+ states: simplify it"):
            made("[ab]*a[ab]{30}")
    assert len(Form("[ab]*a[ab]{8}", WRITTEN, END).table) == 2**9


def test_a_form_of_many_states_is_soon_there():
    form = Form("a{9000}", WRITTEN, END)
    assert allowed(form, form.behind([1] * 8999)) == [1]
    assert allowed(form, form.behind([1] * 9000)) == [END]


@pytest.mark.parametrize("pattern", ["(?=a.*b)[ab]{3}", "[^a]", "a|", "(?i:AB)", "(a|ab)(b|)"])
def test_look_ahead_classes_and_flags(pattern):
    form = Form(pattern, WRITTEN, END)
    for text in ("", "a", "b", "ab", "ba", "aab", "abb", "bbb", "\n", "\u6625"):
        state = form.first
        for character in text:
            state = form.table[state, WRITTEN.index(character)] if state != NOWHERE else state
        ends = state != NOWHERE and form.table[state, END] != NOWHERE
        assert ends == bool(re.fullmatch(pattern, text, re.DOTALL)), text


def test_a_prompt_must_begin_as_the_form_does():
    with pytest.raises(DecodingError, match="does not begin as form 'ab\\*' says; .* change one"):
        Form("ab*", WRITTEN, END).behind([2])
    with pytest.raises(DecodingError, match="states"):
        Form("a{9000}", ["", *"abcdefghij" * 300], END)


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
