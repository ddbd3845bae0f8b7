"""TensorProto to NumPy and back, by TensorFlow's rules and in its words, without TensorFlow.

The rules are those of tensorflow/core/framework/tensor.proto and tensor.cc: values lie either in
``tensor_content`` (little endian, C order) or in the field of their type, where a short list is
filled up with its last value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from serving import protos
from serving.errors import RequestError

# Number in DataType: (NumPy's name, field of values).
_FIELDS = {
    1: ("float32", "float_val"),
    2: ("float64", "double_val"),
    3: ("int32", "int_val"),
    4: ("uint8", "int_val"),
    5: ("int16", "int_val"),
    6: ("int8", "int_val"),
    7: ("string", "string_val"),
    9: ("int64", "int64_val"),
    10: ("bool", "bool_val"),
    17: ("uint16", "int_val"),
    19: ("float16", "half_val"),
    22: ("uint32", "uint32_val"),
    23: ("uint64", "uint64_val"),
}
NUMBERS = {name: number for number, (name, _) in _FIELDS.items()}
# TensorFlow's DataTypeString where it differs from NumPy's name.
TF_NAMES = {"float32": "float", "float64": "double", "float16": "half"}
DEFAULT_MAX_ELEMENTS = 2**28


def dtype_name(number: int) -> str:
    """NumPy's name of a DataType, or ``string``; other types by their own, such as ``bfloat16``."""
    if number in _FIELDS:
        return _FIELDS[number][0]
    known = protos.DataType.values_by_number.get(number)
    return known.name.removeprefix("DT_").lower() if known else f"type {number}"


def to_array(proto: Any, max_elements: int = DEFAULT_MAX_ELEMENTS) -> np.ndarray:
    """A request's tensor.

    Args:
        proto: ``TensorProto``.
        max_elements: largest number of values of a tensor; a few bytes can ask for any number.

    Returns:
        ``<dtype>[shape]``; strings as an object array of bytes.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    if proto.dtype not in _FIELDS:
        raise _unparsable(proto)
    name, field = _FIELDS[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0 or len(shape) > 32:
        raise _unparsable(proto)
    count = math.prod(shape)
    if count > max_elements:
        raise RequestError(
            f"A tensor of {count} values is larger than this server takes ({max_elements}).",
            code="RESOURCE_EXHAUSTED",
        )
    if name == "string":
        return _strings(proto, shape, count)
    if proto.tensor_content:
        dtype = np.dtype(name).newbyteorder("<")
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise _unparsable(proto)
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    given = getattr(proto, field)
    if name == "float16":
        values = np.array(given, np.uint16).view(np.float16)
    else:
        with np.errstate(over="ignore"):
            # int_val carries the narrow integers, which wrap as in C.
            values = np.array(given, np.int32 if field == "int_val" else name).astype(name)
    return _filled(values, count, np.zeros(1, name), proto).reshape(shape)


def _strings(proto: Any, shape: list[int], count: int) -> np.ndarray:
    given = list(proto.string_val)
    if proto.tensor_content:
        given = _packed_strings(proto, count)
    values = np.empty(len(given), object)
    values[:] = given
    return _filled(values, count, np.array([b""], object), proto).reshape(shape)


def _packed_strings(proto: Any, count: int) -> list[bytes]:
    """Strings in ``tensor_content``: their lengths as varints, then their bytes."""
    content, lengths, position = proto.tensor_content, [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 63:
                raise _unparsable(proto)
            byte = content[position]
            position += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        lengths.append(length)
    if sum(lengths) != len(content) - position:
        raise _unparsable(proto)
    texts = []
    for length in lengths:
        texts.append(content[position : position + length])
        position += length
    return texts


def _filled(values: np.ndarray, count: int, nothing: np.ndarray, proto: Any) -> np.ndarray:
    """Repeats the last value until there are as many as the shape has."""
    if len(values) > count:
        raise _unparsable(proto)
    if len(values) < count:
        last = values[-1:] if len(values) else nothing
        values = np.concatenate([values, np.repeat(last, count - len(values))])
    return values


def _unparsable(proto: Any) -> RequestError:
    known = protos.DataType.values_by_number.get(proto.dtype)
    kind = known.name if known else str(proto.dtype)
    dims = ",".join(str(dim.size) for dim in proto.tensor_shape.dim)
    return RequestError(f"tensor parsing error: {kind} of shape [{dims}] with other contents")


def fill_proto(proto: Any, array: np.ndarray, as_content: bool = False) -> None:
    """Writes an array into an empty ``TensorProto``.

    Args:
        proto: where to.
        array: strings as object arrays of bytes or str.
        as_content: packed bytes, which is faster; TensorFlow Serving answers in typed fields.

    Raises:
        RequestError: UNIMPLEMENTED for a dtype that is not served.
    """
    array = np.asarray(array)
    name = "string" if array.dtype.kind in "OSU" else array.dtype.name
    if name not in NUMBERS:
        raise RequestError(f"Outputs of type {name} are not served.", code="UNIMPLEMENTED")
    proto.dtype = NUMBERS[name]
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if name == "string":
        flat = array.reshape(-1).tolist()
        proto.string_val.extend(v if isinstance(v, bytes) else str(v).encode() for v in flat)
    elif as_content:
        proto.tensor_content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    elif name == "float16":
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).reshape(-1).tolist())
    else:
        getattr(proto, _FIELDS[proto.dtype][1]).extend(array.reshape(-1).tolist())
