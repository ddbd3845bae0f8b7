"""RapidJSON's dialect: what is accepted, how errors read, how numbers are written."""

import contextlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.runtime.json_dialect import (
    _DECODER,
    MAX_NESTING,
    _parse_strictly,
    check_nesting,
    decimals,
    echo,
    parse,
)

PARSE = "JSON Parse error: "


def refusal(body):
    with pytest.raises(RequestError) as caught:
        parse(body)
    return caught.value


SYNTAX = [
    (b"", "The document is empty"),
    (b" \n ", "The document is empty. at offset: 3"),
    (b"x", "Invalid value. at offset: 0"),
    (b"]", "The document is empty. at offset: 0"),
    (b"[", "Invalid value. at offset: 1"),
    (b"[1,", "Invalid value. at offset: 3"),
    (b"[1,]", "Invalid value. at offset: 3"),
    (b"[,1]", "Invalid value. at offset: 1"),
    (b"[1 2]", "Missing a comma or ] after an array element. at offset: 3"),
    (b"[01]", "Missing a comma or ] after an array element. at offset: 2"),
    (b"[1", "Missing a comma or ] after an array element. at offset: 2"),
    (b"{", "Missing a name for object member. at offset: 1"),
    (b"{1:2}", "Missing a name for object member. at offset: 1"),
    (b'{"a":1,}', "Missing a name for object member. at offset: 7"),
    (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
    (b'{"a":}', "Invalid value. at offset: 5"),
    (b'{"a":1 "b":2}', "Missing a comma or } after an object member. at offset: 7"),
    (b'{"a":nul}', "Invalid value. at offset: 8"),
    (b'{"a":tRue}', "Invalid value. at offset: 6"),
    (b'{"a":Nan}', "Invalid value. at offset: 7"),
    (b'{"a":Infi}', "Invalid value. at offset: 9"),
    (b'{"a":-}', "Invalid value. at offset: 6"),
    (b'{"a":1.}', "Miss fraction part in number. at offset: 7"),
    (b'{"a":1e+}', "Miss exponent in number. at offset: 8"),
    (b'{"a":1e400}', "Number too big to be stored in double. at offset: 5"),
    (b'{"a":' + b"9" * 400 + b"}", "Number too big to be stored in double. at offset: 5"),
    (b'{"a":"b', "Missing a closing quotation mark in string. at offset: 7"),
    (b'{"a":"\x01"}', "Invalid encoding in string. at offset: 6"),
    (b'{"a":"\\x"}', "Invalid escape character in string. at offset: 6"),
    (b'{"a":"\\u12G4"}', "Incorrect hex digit after \\u escape in string. at offset: 6"),
    (b'{"a":"\\ud800"}', "The surrogate pair in string is invalid. at offset: 6"),
    (b'{"a":"\\udc80"}', "The surrogate pair in string is invalid. at offset: 6"),
    ("{é".encode(), "Missing a name for object member. at offset: 1"),
    ('{"é" 1}'.encode(), "Missing a colon after a name of object member. at offset: 6"),
    (b"\xef\xbb\xbfx", "Invalid value. at offset: 3"),
]


@pytest.mark.parametrize(("body", "text"), SYNTAX)
def test_syntax_errors_are_rapidjsons(body, text):
    error = refusal(body)
    assert (error.http_status, error.message) == (400, PARSE + text)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_deep_nesting_is_refused_without_recursion(opening):
    error = refusal(opening * 500_000)
    assert (error.http_status, error.message) == (400, PARSE + "Nested deeper than 32 levels.")


def test_nesting_limit_is_exact_and_ignores_strings():
    depth = MAX_NESTING - 1
    ok = b'{"inputs":' + b"[" * depth + b"1" + b"]" * depth + b"}"
    value = parse(ok)["inputs"]
    assert np.shape(value) == (1,) * depth
    assert "Nested deeper" in refusal(ok.replace(b"1", b"[1]")).message
    text = r"\"" + "[" * 100 + r"\\"
    assert parse(f'{{"inputs": "{text}"}}'.encode()) == {"inputs": '"' + "[" * 100 + chr(92)}
    check_nesting(b'["' + b"]" * 3_000_000 + b'", [1]]')


def test_echo_is_cut():
    assert echo({"instances": "y" * 10_000}) == '{\n    "instances": "' + "y" * 236 + "..."
    assert echo(list(range(10**6))).count("\n") < 50
    assert echo(0.123456789) == "0.123456791"
    assert echo(2**70) == "1.1805916207174113e+21"
    assert echo({"a": [], "b": {}}) == '{\n    "a": [],\n    "b": {}\n}'


NUMBERS = [
    (0.1, "0.1"), (1 / 3, "0.333333343"), (2, "2.0"), (9e6, "9e+06"), (999999, "999999.0"),
    (3e-5, "3e-05"), (-0.0, "-0.0"), (math.nan, "NaN"), (math.inf, "Infinity"),
    (-math.inf, "-Infinity"), (1e-45, "1.4013e-45"), (16777216, "16777216.0"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_float32_texts(value, text):
    assert decimals(np.array([value], np.float32)) == [text]


def test_float64_uses_seventeen_digits():
    assert decimals(np.array([0.1, 1 / 3])) == ["0.1", "0.33333333333333331"]


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "a", "b", "b64", "é"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans())
def test_both_parsers_agree(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace").decode()
    assert _parse_strictly(text) == _DECODER.raw_decode(text)[0]


@given(
    st.binary() | st.text(alphabet='{}[]",:\\u0dD8eE+-.19 tfnNInafi"', max_size=30).map(str.encode)
)
def test_any_bytes_are_read_or_refused(body):
    with contextlib.suppress(RequestError):
        parse(body)
