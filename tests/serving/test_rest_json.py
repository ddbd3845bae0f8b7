"""The JSON dialect, every error row of predict requests, and number formatting."""

import contextlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.runtime.rest_examples import parse_examples
from serving.runtime.rest_json import format_predict, parse_predict

FLOAT = {"x": {"dtype": "float32", "shape": [-1, -1]}}
STRING = {"x": {"dtype": "string", "shape": [-1]}}
INT32 = {"x": {"dtype": "int32", "shape": [-1]}}
TWO = {"a": {"dtype": "float32"}, "b": {"dtype": "int64"}}
ELEMENT = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: "
PARSE = "JSON Parse error: "


def read(body, inputs=FLOAT):
    body = body if isinstance(body, bytes) else body.encode()
    return parse_predict(body, lambda _: inputs)


def refusal(body, inputs=FLOAT):
    with pytest.raises(RequestError) as caught:
        read(body, inputs)
    return caught.value


B64_MESSAGE = 'JSON Value: {\n    "c": "eA=="\n} not formatted correctly for base64 data'
BODIES = [
    ("[1,2]", FLOAT, "JSON Value: [\n    1,\n    2\n] Is not object"),
    (
        '{"signature_name":1}',
        FLOAT,
        'JSON Value: {\n    "signature_name": 1\n} not formatted correctly. '
        "'signature_name' key must be a string value.",
    ),
    ("{}", {}, "Failed to get input map for signature: DEFAULT"),
    ('{"signature_name":"s"}', {}, "Failed to get input map for signature: s"),
    ("{}", FLOAT, "Missing 'inputs' or 'instances' key"),
    (
        '{"inputs":1,"instances":[1]}',
        FLOAT,
        'JSON Value: {\n    "inputs": 1,\n    "instances": [\n        1\n    ]\n} Not formatted '
        "correctly expecting only one of 'inputs' or 'instances' keys to exist ",
    ),
    (
        '{"instances":"s"}',
        FLOAT,
        'JSON Value: {\n    "instances": "s"\n} Expecting \'instances\' to be an list/array',
    ),
    (
        '{"instances":[]}',
        FLOAT,
        "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
    ),
    (
        '{"instances":["x"]}',
        FLOAT,
        ELEMENT.format(0) + 'JSON Value: "x" Type: String is not of expected type: float',
    ),
    (
        '{"instances":[{"x":1},{"x":true}]}',
        FLOAT,
        ELEMENT.format("1 key: x") + "JSON Value: true Type: True is not of expected type: float",
    ),
    (
        '{"instances":[1, null]}',
        FLOAT,
        ELEMENT.format(1) + "JSON Value: null Type: Null is not of expected type: float",
    ),
    (
        '{"instances":[1.0]}',
        INT32,
        ELEMENT.format(0) + "JSON Value: 1.0 Type: Number is not of expected type: int32",
    ),
    (
        '{"instances":[2147483648]}',
        INT32,
        ELEMENT.format(0) + "JSON Value: 2147483648 Type: Number is not of expected type: int32",
    ),
    (
        '{"instances":[1]}',
        STRING,
        ELEMENT.format(0) + "JSON Value: 1 Type: Number is not of expected type: string",
    ),
    (
        '{"instances":[[1,2,3],[1,2]]}',
        FLOAT,
        ELEMENT.format(1) + "Expecting tensor size: 3 but got: 2",
    ),
    (
        '{"instances":[[[1],[2]],[[1,2]]]}',
        FLOAT,
        ELEMENT.format(1) + "Expecting shape [2,1] but got: [1,2]",
    ),
    (
        '{"instances":[[[1,2,3],[1,2]]]}',
        FLOAT,
        ELEMENT.format(0) + "Encountered list at unexpected size: 2 at level: 1 expected size: 3",
    ),
    (
        '{"inputs":[[1],5]}',
        FLOAT,
        "JSON Value: 5 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    ('{"inputs":[5,[1]]}', FLOAT, "Encountered list at unexpected level: 1 expected < 1"),
    (
        '{"instances":[{"x":1,"z":2}]}',
        FLOAT,
        ELEMENT.format("0 key: z") + "JSON object: does not have named input: z",
    ),
    (
        '{"instances":[{"a":1,"b":2},{"a":1}]}',
        TWO,
        "Failed to process element: 1 of 'instances' list. "
        'JSON object: {\n    "a": 1\n} keys must be equal to: a,b',
    ),
    (
        '{"instances":[1]}',
        TWO,
        "instances is a plain list, but expecting list of objects as multiple input tensors "
        "required as per tensorinfo_map",
    ),
    (
        '{"instances":[{"x":1},2]}',
        FLOAT,
        "Expecting object but got list at item 1 of input list",
    ),
    (
        '{"instances":[1,{"x":1}]}',
        FLOAT,
        "Expecting value/list but got object at item 1 of input list",
    ),
    (
        '{"inputs":[1]}',
        TWO,
        "inputs is a plain value/list, but expecting an object as multiple input tensors required "
        "as per tensorinfo_map",
    ),
    ('{"inputs":{"a":1}}', TWO, "Missing named input: b in 'inputs' object."),
    ('{"inputs":{"b64":"%"}}', STRING, "Unable to base64 decode"),
    ('{"inputs":{"b64":"eA="}}', STRING, "Unable to base64 decode"),
    ('{"inputs":[{"c":"eA=="}]}', STRING, B64_MESSAGE),
    (
        '{"inputs":{"x":{"b64":"eA=="}}}',
        FLOAT,
        'JSON Value: {\n    "b64": "eA=="\n} Type: Object is not of expected type: float',
    ),
]


@pytest.mark.parametrize(("body", "inputs", "text"), BODIES)
def test_predict_errors(body, inputs, text):
    error = refusal(body, inputs)
    assert (error.http_status, error.message) == (400, text)


def test_types_that_json_cannot_carry():
    half = {"x": {"dtype": "float16"}}
    error = refusal('{"inputs": 1}', half)
    assert (error.http_status, error.message) == (501, "Conversion of JSON Value: 1 to type: half")
    row = refusal('{"instances": [1]}', half)
    assert row.http_status == 400
    assert row.message.endswith("UNIMPLEMENTED: Conversion of JSON Value: 1 to type: half")
    assert read('{"inputs": []}', half).inputs["x"].shape == (0,)
    assert read('{"inputs": []}', {"x": {"dtype": "bfloat16"}}).inputs["x"].shape == (0,)


EXAMPLES = [
    ("{}", "{} When method is classify, key 'examples' is expected and was not found"),
    (
        '{"examples":1}',
        "{\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array",
    ),
    ('{"examples":[]}', "{\n    \"examples\": []\n} 'examples' value is an empty array"),
]


@pytest.mark.parametrize(("body", "text"), EXAMPLES)
def test_examples_errors(body, text):
    with pytest.raises(RequestError) as caught:
        parse_examples(body.encode())
    assert caught.value.message == "JSON Value: " + text


def test_order_of_checks():
    def lookup(_):
        raise RequestError("no such model", code="NOT_FOUND")

    for body, status in ((b"x", 400), (b'{"signature_name":1}', 400), (b'{"inputs":"?"}', 404)):
        with pytest.raises(RequestError) as caught:
            parse_predict(body, lookup)
        assert caught.value.http_status == status


ACCEPTED = [
    ('{"instances": [[1, 2.5], [-3e0, 0]]}', FLOAT, [[1, 2.5], [-3, 0]], True),
    ('{"instances": [{"x": [1]}, {"x": [2]}]} trailing }{', FLOAT, [[1], [2]], True),
    ('{"inputs": {"x": [[1]], "ignored": {}}, "other": null}', FLOAT, [[1]], False),
    ('{"inputs": 3, "inputs": "second"}', FLOAT, 3, False),
    ('{"inputs": []}', FLOAT, [], False),
    ('{"instances": [[], []]}', FLOAT, [[], []], True),
    ('{"inputs": [Inf, -Inf, Infinity, -Infinity, 1e39, -1e39, 1e-60]}', FLOAT,
     [math.inf, -math.inf, math.inf, -math.inf, math.inf, -math.inf, 0], False),
    ('{"inputs": [16777217, 123456789012345678901234567890]}', FLOAT,
     [16777216, np.float32(1.2345678901234568e29)], False),
    ('{"inputs": [-2147483648, 2147483647]}', INT32, [-(2**31), 2**31 - 1], False),
    ('{"inputs": [300, -1]}', {"x": {"dtype": "uint8"}}, [44, 255], False),
    ('{"inputs": 18446744073709551615}', {"x": {"dtype": "uint64"}}, 2**64 - 1, False),
    ('{"inputs": -9223372036854775808}', {"x": {"dtype": "int64"}}, -(2**63), False),
    ('{"inputs": [true, false]}', {"x": {"dtype": "bool"}}, [True, False], False),
    ('{"instances": ["é", {"b64": "/w=="}, {"b64": " /w "}]}', STRING,
     ["é".encode(), b"\xff", b"\xff"], True),
    ('{"inputs": {"b64": "eA"}}', STRING, b"x", False),
    (b'{"inputs": "\xff\\u00e9\\ud83d\\ude00"}', STRING,
     b"\xff" + "é\U0001f600".encode(), False),
    ("\ufeff{\"inputs\": 1}", FLOAT, 1, False),
]  # fmt: skip


@pytest.mark.parametrize(("body", "inputs", "expected", "row"), ACCEPTED)
def test_accepted_bodies(body, inputs, expected, row):
    request = read(body, inputs)
    tensor = request.inputs["x"]
    assert tensor.tolist() == expected
    dtype = inputs["x"]["dtype"]
    assert tensor.dtype == (object if dtype == "string" else np.dtype(dtype))
    assert request.row is row


def test_nan_and_minus_nan():
    tensor = read('{"inputs": [NaN, -NaN]}').inputs["x"]
    assert np.isnan(tensor).all()


def test_several_inputs_are_stacked_by_name():
    rows = read('{"instances": [{"a": [1], "b": 2}, {"b": 4, "a": [3]}]}', TWO)
    columns = read('{"inputs": {"b": [2, 4], "a": [[1], [3]]}}', TWO)
    for request in (rows, columns):
        assert request.inputs["a"].tolist() == [[1], [3]]
        assert request.inputs["b"].tolist() == [2, 4]


def test_base64_first_row_of_several_inputs_fills_one_of_them():
    inputs = {"q": {"dtype": "string"}, "a": {"dtype": "string"}}
    request = read('{"instances": [{"b64": "eA=="}]}', inputs)
    assert list(request.inputs) == ["a"]


# --- formatting --------------------------------------------------------------------------------


@given(st.lists(st.floats(width=32)))
def test_float32_round_trips(values):
    array = np.array(values, np.float32)
    body = format_predict({"y": array}, row=False).replace(b'"outputs"', b'"inputs"')
    again = read(body).inputs["x"]
    assert again.tobytes() == array.tobytes() or np.array_equal(again, array, equal_nan=True)


@given(st.lists(st.floats()))
def test_float64_round_trips(values):
    array = np.array(values, np.float64)
    body = format_predict({"y": array}, row=False).replace(b'"outputs"', b'"inputs"')
    again = read(body, {"x": {"dtype": "float64"}}).inputs["x"]
    assert np.array_equal(again, array, equal_nan=True)


@given(st.lists(st.binary()))
def test_bytes_round_trip_raw_and_as_base64(values):
    array = np.empty(len(values), object)
    array[:] = values
    coded = format_predict({"y_bytes": array}, row=False).replace(b'"outputs"', b'"inputs"')
    assert read(coded, STRING).inputs["x"].tolist() == values
    raw = format_predict({"y": array}, row=False).replace(b'"outputs"', b'"inputs"')
    assert read(raw, STRING).inputs["x"].tolist() == values


def test_row_and_columnar_forms():
    one = {"y": np.array([[1.5, 2], [3, 4]], np.float32)}
    two = {**one, "label": np.array([b"a", "é"], object), "n": np.array([1, 2], np.int64)}
    assert json.loads(format_predict(one, row=True)) == {"predictions": [[1.5, 2], [3, 4]]}
    assert json.loads(format_predict(one, row=False)) == {"outputs": [[1.5, 2], [3, 4]]}
    assert json.loads(format_predict(two, row=True)) == {
        "predictions": [
            {"y": [1.5, 2], "label": "a", "n": 1},
            {"y": [3, 4], "label": "é", "n": 2},
        ]
    }
    assert json.loads(format_predict(two, row=False)) == {
        "outputs": {"y": [[1.5, 2], [3, 4]], "label": ["a", "é"], "n": [1, 2]}
    }


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (2, 0, 3), (2, 3, 0), (1, 2, 3, 4)])
def test_every_shape_keeps_its_nesting(shape):
    array = np.arange(math.prod(shape), dtype=np.uint8).reshape(shape)
    for row, key in ((True, "predictions"), (False, "outputs")):
        assert json.loads(format_predict({"y": array}, row=row)) == {key: array.tolist()}


def test_a_scalar_output_and_booleans():
    assert json.loads(format_predict({"y": np.array(True)}, row=False)) == {"outputs": True}


OUTPUT_ERRORS = [
    ({}, False, "Cannot convert empty tensor map to JSON"),
    ({"y": np.zeros(1, np.float16)}, True, "Failed to write JSON value for tensor type: half"),
    (
        {"y": np.zeros(1, np.complex64)},
        False,
        "Failed to write JSON value for tensor type: complex64",
    ),
    ({"y": np.zeros(())}, True, "Tensor name: y has no shape information "),
    (
        {"x": np.zeros(2), "y": np.zeros(1)},
        True,
        "Tensor name: y has inconsistent batch size: 1 expecting: 2",
    ),
]


@pytest.mark.parametrize(("outputs", "row", "text"), OUTPUT_ERRORS)
def test_output_errors(outputs, row, text):
    with pytest.raises(RequestError) as caught:
        format_predict(outputs, row)
    assert (caught.value.http_status, caught.value.message) == (400, text)


# --- properties --------------------------------------------------------------------------------

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
DTYPES = st.sampled_from(["float32", "float64", "int8", "int64", "uint64", "bool", "string"])


@given(JSON_VALUES, st.sampled_from(["instances", "inputs"]), DTYPES, st.booleans())
def test_any_json_is_read_or_refused(value, key, dtype, several):
    inputs = {"x": {"dtype": dtype}}
    if several:
        inputs["a"] = {"dtype": "float32"}
    with contextlib.suppress(RequestError):
        request = read(json.dumps({key: value}), inputs)
        assert set(request.inputs) <= set(inputs)
