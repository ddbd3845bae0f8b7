"""Predict requests from JSON to NumPy, and outputs back to JSON, as TensorFlow Serving does both.

The rules and the messages are those of TensorFlow Serving's REST API
(https://www.tensorflow.org/tfx/serving/api_rest and its json_tensor.cc), kept so that clients
written against it behave the same here. Pure functions, independent of HTTP and of models.

A signature's inputs are `{name: {"dtype": "float32", "shape": [-1, ...]}}`; shapes are not looked
at: a tensor takes its shape from the request, and the model judges it.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted

import numpy as np

from pipelines.ragged import Fields, split
from serving.errors import RequestError
from serving.runtime.json_dialect import decimals, echo, parse
from serving.runtime.json_tensor import (
    FLOATS,
    INTEGER_RANGES,
    TF_NAMES,
    format_error,
    is_named,
    tensor_from_json,
    try_tensor,
)
from serving.tensors import dtype_of


@dataclass(frozen=True)
class PredictRequest:
    """A parsed predict body.

    Attributes:
        signature_name: As sent; "" stands for `serving_default`.
        inputs: One array per input name; strings are object arrays of bytes.
        row: True for the row form (`instances`), False for the columnar form (`inputs`).
    """

    signature_name: str
    inputs: dict[str, np.ndarray]
    row: bool


def parse_predict(body: bytes, inputs_of: Callable[[str], Mapping[str, dict]]) -> PredictRequest:
    """Reads a predict request.

    The order of checks is TensorFlow Serving's: JSON, `signature_name`, then `inputs_of` (which
    looks up model and signature and may raise), then the tensors.

    Args:
        body: The JSON text.
        inputs_of: From the signature name as sent to that signature's inputs.

    Raises:
        RequestError: With TensorFlow Serving's message, whatever is wrong with the body.
    """
    return predict_of(*parse_envelope(body), inputs_of)


def predict_of(
    document: dict, signature_name: str, inputs_of: Callable[[str], Mapping[str, dict]]
) -> PredictRequest:
    """The predict request of a body that is parsed already; see ``parse_predict``."""
    inputs = inputs_of(signature_name)
    if not inputs:
        raise RequestError(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    if "instances" in document and "inputs" in document:
        raise format_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if "inputs" in document:
        return PredictRequest(signature_name, _columnar(document["inputs"], inputs), row=False)
    if "instances" not in document:
        raise RequestError("Missing 'inputs' or 'instances' key")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise format_error(document, "Expecting 'instances' to be an list/array")
    if not instances:
        raise format_error(document, "No values in 'instances' array")
    return PredictRequest(signature_name, _rows(instances, inputs), row=True)


def parse_envelope(body: bytes) -> tuple[dict, str]:
    """The parts common to predict, classify and regress: a JSON object and its `signature_name`.

    Raises:
        RequestError: The body is not JSON, not an object, or `signature_name` is not a string.
    """
    document = parse(body)
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise format_error(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return document, signature_name


# --- tensors from JSON -------------------------------------------------------------------------


def _columnar(value: object, inputs: Mapping[str, dict]) -> dict[str, np.ndarray]:
    """`inputs`: one tensor for a one-input signature, or an object of named tensors."""
    needed = _required(inputs)
    if not is_named(value):
        if len(needed) > 1:
            raise RequestError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name = min(needed or inputs)
        return {name: tensor_from_json(value, inputs[name]["dtype"])}
    tensors = {}
    for name in inputs:
        if name not in value:
            if name not in needed:
                continue
            raise RequestError(f"Missing named input: {name} in 'inputs' object.")
        tensors[name] = _named_tensor(name, value[name], inputs[name])
    return tensors


def _named_tensor(name: str, value: object, info: Mapping) -> np.ndarray:
    """One tensor; an error about one that has a default names it."""
    try:
        return tensor_from_json(value, info["dtype"])
    except RequestError as error:
        if "default" not in info:
            raise
        message = f"Failed to process key: {name} of 'inputs' object. Error: {error.status_text()}"
        raise RequestError(message, code=error.code) from error


def _rows(instances: list, inputs: Mapping[str, dict]) -> dict[str, np.ndarray]:
    """`instances`: one value, or one object of named values, per row; stacked to [n, ...]."""
    first, needed = instances[0], _required(inputs)
    if not isinstance(first, dict) and len(needed) > 1:
        raise RequestError(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    # The common case, at C speed: every row alike. Anything else is read row by row.
    named = is_named(first)
    if all(is_named(row) == named for row in instances):
        if not named:
            columns = {min(needed or inputs): instances}
        elif all(row.keys() == first.keys() for row in instances) and _fits(first, inputs):
            columns = {name: [row[name] for row in instances] for name in first}
        else:
            columns = None
        if columns is not None:
            tensors = {n: try_tensor(column, inputs[n]["dtype"]) for n, column in columns.items()}
            if all(tensor is not None for tensor in tensors.values()):
                return tensors
    raise _first_bad_row(instances, inputs, named)


def _first_bad_row(instances: list, inputs: Mapping[str, dict], named: bool) -> RequestError:
    """Finds, in reading order, what kept the rows from becoming tensors."""
    shapes: dict[str, list[int]] = {}
    for index, row in enumerate(instances):
        if named and not is_named(row):
            return RequestError(f"Expecting object but got list at item {index} of input list")
        if not named and is_named(row):
            return RequestError(
                f"Expecting value/list but got object at item {index} of input list"
            )
        for name, value in row.items() if named else [(min(_required(inputs) or inputs), row)]:
            error = _item_error(value, name, inputs, shapes)
            if error:
                key = f" key: {name}" if named else ""
                return RequestError(
                    f"Failed to process element: {index}{key} of 'instances' list. "
                    f"Error: {error.status_text()}"
                )
        if named and not (row.keys() == instances[0].keys() and _fits(row, inputs)):
            return RequestError(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{echo(row)} keys must be equal to: {','.join(sorted(inputs))}"
            )
    raise AssertionError("rows that became no tensor, yet none of them is wrong")


def _required(inputs: Mapping[str, dict]) -> set[str]:
    """Inputs that have no default."""
    return {name for name, info in inputs.items() if "default" not in info}


def _fits(row: Mapping[str, object], inputs: Mapping[str, dict]) -> bool:
    """Whether a row has all inputs that it needs, and none that is unknown."""
    return _required(inputs) <= row.keys() <= inputs.keys()


def _item_error(
    value: object, name: str, inputs: Mapping[str, dict], shapes: dict[str, list[int]]
) -> RequestError | None:
    """The error of one row's value, if any; its shape must equal that of the rows before it."""
    if name not in inputs:
        return RequestError(f"JSON object: does not have named input: {name}")
    try:
        shape = list(tensor_from_json(value, inputs[name]["dtype"]).shape)
    except RequestError as error:
        return error
    expected = shapes.setdefault(name, shape)
    if math.prod(shape) != math.prod(expected):
        return RequestError(
            f"Expecting tensor size: {math.prod(expected)} but got: {math.prod(shape)}"
        )
    if shape != expected:
        return RequestError(
            f"Expecting shape {_shape_text(expected)} but got: {_shape_text(shape)}"
        )
    return None


def _shape_text(shape: list[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


# --- tensors to JSON ---------------------------------------------------------------------------


def format_predict(
    outputs: Mapping[str, np.ndarray], row: bool, fields: Fields | None = None
) -> bytes:
    """The reply body of a predict request.

    Args:
        outputs: Arrays by name, `[n, ...]` each in the row form. Strings are object arrays of
            bytes or str; names that end in `_bytes` are written as base64.
        row: Whether to answer `{"predictions": [row, ...]}` or `{"outputs": ...}`; with several
            outputs rows and columns are objects, with one they are bare.
        fields: outputs whose rows have a length of their own, to which they are cut in the row
            form.

    Raises:
        RequestError: No outputs, a dtype without a JSON form, or in the row form a scalar or
            outputs that differ in n.
    """
    if not outputs:
        raise RequestError("Cannot convert empty tensor map to JSON")
    arrays = {name: np.asarray(array) for name, array in outputs.items()}
    if row:
        return _format_rows(arrays, fields or {}).encode("utf-8", "surrogateescape")
    texts = {name: _nested(name, array) for name, array in arrays.items()}
    (text,) = texts.values() if len(texts) == 1 else [_object(texts, "    ")]
    return f'{{\n    "outputs": {text}\n}}'.encode("utf-8", "surrogateescape")


def format_classifications(rows: list[list[tuple[str | bytes, float]]]) -> bytes:
    """The reply body of a classify request: label and score of each class of each example."""
    texts = []
    for row in rows:
        labels = _tokens("label", np.array([label for label, _ in row], object))
        scores = decimals(np.array([score for _, score in row], np.float32))
        pairs = [f"[{label}, {score}]" for label, score in zip(labels, scores, strict=True)]
        texts.append(f"[{', '.join(pairs)}]")
    return _results(texts)


def format_regressions(values: list[float]) -> bytes:
    """The reply body of a regress request: one number for each example."""
    return _results(decimals(np.array(values, np.float32)))


def _results(texts: list[str]) -> bytes:
    return f'{{\n    "results": [{", ".join(texts)}]\n}}'.encode("utf-8", "surrogateescape")


def _format_rows(arrays: dict[str, np.ndarray], fields: Fields) -> str:
    batch_size = None
    for name, array in arrays.items():
        if array.ndim == 0:
            raise RequestError(f"Tensor name: {name} has no shape information ")
        if batch_size not in (None, array.shape[0]):
            raise RequestError(
                f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} "
                f"expecting: {batch_size}"
            )
        batch_size = array.shape[0]
    alone = split(arrays, fields) if fields.keys() & arrays.keys() else []
    columns = {}
    for name, array in arrays.items():
        if name in fields:
            columns[name] = [_nested(name, np.asarray(row[name], array.dtype)) for row in alone]
        else:
            columns[name] = _nest(_tokens(name, array), list(array.shape[1:]), len(array))
    if len(columns) == 1:
        (rows,) = columns.values()
        body = ", ".join(rows)
    else:
        indent = " " * 8
        body = ",".join(
            f"\n{indent}" + _object(dict(zip(columns, row, strict=True)), indent)
            for row in zip(*columns.values(), strict=True)
        )
    return '{\n    "predictions": [' + (f"{body}\n    " if body else "") + "]\n}"


def _object(members: dict[str, str], indent: str) -> str:
    """A JSON object of values that are text already, one member per line."""
    lines = [f"\n{indent}    {json.dumps(name)}: {text}" for name, text in members.items()]
    return "{" + ",".join(lines) + f"\n{indent}}}"


def _nested(name: str, array: np.ndarray) -> str:
    """A whole array as nested lists."""
    return _nest(_tokens(name, array), list(array.shape))[0]


def _nest(tokens: list[str], shape: list[int], groups: int = 1) -> list[str]:
    """`groups` texts of nested lists of the given shape out of `groups * prod(shape)` tokens."""
    for level in range(len(shape) - 1, -1, -1):
        size = shape[level]
        count = groups * math.prod(shape[:level])
        tokens = ["[" + ", ".join(tokens[i * size : (i + 1) * size]) + "]" for i in range(count)]
    return tokens


def _tokens(name: str, array: np.ndarray) -> list[str]:
    """Every value of an array as JSON text, in C order."""
    flat = array.reshape(-1)
    if not len(flat):
        return []  # of a type without a JSON form, too, as upstream
    dtype = dtype_of(array)
    if dtype in FLOATS:
        return decimals(flat)
    if dtype in INTEGER_RANGES:
        return [str(value) for value in flat.tolist()]
    if dtype == "bool":
        return ["true" if value else "false" for value in flat.tolist()]
    if dtype == "string":
        as_bytes = [v if isinstance(v, bytes) else str(v).encode() for v in flat.tolist()]
        if name.endswith("_bytes"):
            return [f'{{"b64": "{base64.b64encode(v).decode()}"}}' for v in as_bytes]
        texts = [v.decode("utf-8", "surrogateescape") for v in as_bytes]
        return [quoted(text) for text in texts]
    raise RequestError(f"Failed to write JSON value for tensor type: {TF_NAMES.get(dtype, dtype)}")
