"""One JSON value as one tensor, by the rules and in the words of TensorFlow Serving.

These are the rules of its json_tensor.cc: which JSON types a dtype takes, how nesting makes a
shape, and which of several faults is reported (the first in reading order).
"""

import base64
import binascii
from itertools import chain

import numpy as np

from serving.errors import RequestError
from serving.runtime.json_dialect import echo
from serving.tensors import TF_NAMES, numpy_dtype

FLOATS = ("float32", "float64")
# Literals are checked against the range of the proto field that carries them, so the narrow
# integers take any int32 literal and wrap.
_INT32_RANGE = (-(2**31), 2**31 - 1)
INTEGER_RANGES = {
    "int8": _INT32_RANGE,
    "int16": _INT32_RANGE,
    "int32": _INT32_RANGE,
    "uint8": _INT32_RANGE,
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def tensor_from_json(value: object, dtype: str) -> np.ndarray:
    """A scalar or nested list as an array.

    Args:
        value: Parsed JSON; for `string`, leaves may be `{"b64": ...}`.
        dtype: NumPy's name, or `string`.

    Returns:
        `<dtype>[...]` with the shape of the nesting; `string` gives an object array of bytes.

    Raises:
        RequestError: INVALID_ARGUMENT, or UNIMPLEMENTED for a dtype that JSON cannot carry.
    """
    tensor = try_tensor(value, dtype)
    if tensor is None:
        _explain(value, 0, _shape(value), dtype)
        raise AssertionError("a value that became no tensor, yet nothing in it is wrong")
    return tensor


def _shape(value: object) -> list[int]:
    """The shape that the first element at every level promises."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def try_tensor(value: object, dtype: str) -> np.ndarray | None:
    """`tensor_from_json` with None where anything is wrong. One pass per level, all in C."""
    shape = _shape(value)
    leaves = [value]
    for size in shape:
        if not set(map(type, leaves)) <= {list} or not set(map(len, leaves)) <= {size}:
            return None
        leaves = list(chain.from_iterable(leaves))
    flat = _convert(leaves, dtype)
    return None if flat is None else flat.reshape(shape)


def _convert(leaves: list, dtype: str) -> np.ndarray | None:
    """`<dtype>[len(leaves)]`, or None if any leaf is not of a JSON type that the dtype takes."""
    kinds = set(map(type, leaves))
    if dtype in FLOATS:
        if not kinds <= {int, float}:
            return None
        with np.errstate(over="ignore", under="ignore"):
            return np.array(leaves, np.float64).astype(dtype)
    if dtype in INTEGER_RANGES:
        low, high = INTEGER_RANGES[dtype]
        if not kinds <= {int} or (leaves and not low <= min(leaves) <= max(leaves) <= high):
            return None
        return np.array(leaves, np.uint64 if low == 0 else np.int64).astype(dtype)
    if dtype == "bool":
        return np.array(leaves, np.bool_) if kinds <= {bool} else None
    if dtype == "string":
        flat = np.empty(len(leaves), object)
        for index, leaf in enumerate(leaves):
            flat[index] = string_bytes(leaf)
            if flat[index] is None:
                return None
        return flat
    # JSON carries no half, bfloat16 or complex values, but an empty list has none to carry.
    return None if leaves else np.empty(0, numpy_dtype(dtype))


def _explain(value: object, level: int, shape: list[int], dtype: str) -> None:
    """Raises for the first wrong thing in reading order."""
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise RequestError(
                f"JSON Value: {echo(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {rank}"
            )
        if _convert([value], dtype) is None:
            raise _leaf_error(value, dtype)
        return
    if level >= rank:
        raise RequestError(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise RequestError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for item in value:
        _explain(item, level + 1, shape, dtype)


def _leaf_error(value: object, dtype: str) -> RequestError:
    """Why one value is not of the dtype."""
    if dtype == "string" and isinstance(value, dict):
        if _is_b64(value):
            return RequestError("Unable to base64 decode")
        return format_error(value, "not formatted correctly for base64 data")
    name = TF_NAMES.get(dtype, dtype)
    known = dtype in FLOATS or dtype in INTEGER_RANGES or dtype in ("bool", "string")
    if known or isinstance(value, dict):
        return format_error(value, f"Type: {type_text(value)} is not of expected type: {name}")
    return RequestError(
        f"Conversion of JSON Value: {echo(value)} to type: {name}", code="UNIMPLEMENTED"
    )


def type_text(value: object) -> str:
    """RapidJSON's name of a value's type; it counts true and false as two types."""
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    names = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def _is_b64(value: object) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def format_error(value: object, problem: str) -> RequestError:
    """INVALID_ARGUMENT that shows the value and what is wrong with it."""
    return RequestError(f"JSON Value: {echo(value)} {problem}")


def is_named(value: object) -> bool:
    """An object of named tensors; `{"b64": "..."}` is a value instead."""
    return isinstance(value, dict) and not _is_b64(value)


def string_bytes(leaf: object) -> bytes | None:
    """A JSON string or `{"b64": ...}` as bytes; None if it is neither or does not decode."""
    if isinstance(leaf, str):
        return leaf.encode("utf-8", "surrogateescape")
    if not _is_b64(leaf):
        return None
    # As absl::Base64Unescape: white space is skipped, padding is right or absent altogether.
    text = "".join(leaf["b64"].split())
    digits = text.rstrip("=")
    missing = -len(digits) % 4
    if missing == 3 or len(text) - len(digits) not in (0, missing):
        return None
    try:
        return base64.b64decode(digits + "=" * missing, validate=True)
    except (ValueError, binascii.Error):
        return None
