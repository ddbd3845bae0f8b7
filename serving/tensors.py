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

# Number in DataType: (name, field of values, NumPy type of the same bits). The name is NumPy's, or
# that of the package ml_dtypes, which extends it, or of a quantised integer, which TensorFlow has
# as a record of one field.
_FIELDS = {
    1: ("float32", "float_val", "float32"),
    2: ("float64", "double_val", "float64"),
    3: ("int32", "int_val", "int32"),
    4: ("uint8", "int_val", "uint8"),
    5: ("int16", "int_val", "int16"),
    6: ("int8", "int_val", "int8"),
    7: ("string", "string_val", "object"),
    8: ("complex64", "scomplex_val", "complex64"),
    9: ("int64", "int64_val", "int64"),
    10: ("bool", "bool_val", "bool"),
    11: ("qint8", "int_val", "int8"),
    12: ("quint8", "int_val", "uint8"),
    13: ("qint32", "int_val", "int32"),
    14: ("bfloat16", "half_val", "uint16"),
    15: ("qint16", "int_val", "int16"),
    16: ("quint16", "int_val", "uint16"),
    17: ("uint16", "int_val", "uint16"),
    18: ("complex128", "dcomplex_val", "complex128"),
    19: ("float16", "half_val", "uint16"),
    22: ("uint32", "uint32_val", "uint32"),
    23: ("uint64", "uint64_val", "uint64"),
    24: ("float8_e5m2", "float8_val", "uint8"),
    25: ("float8_e4m3fn", "float8_val", "uint8"),
    26: ("float8_e4m3fnuz", "float8_val", "uint8"),
    27: ("float8_e4m3b11fnuz", "float8_val", "uint8"),
    28: ("float8_e5m2fnuz", "float8_val", "uint8"),
    29: ("int4", "int_val", "int8"),
    30: ("uint4", "int_val", "uint8"),
    31: ("int2", "int_val", "int8"),
    32: ("uint2", "int_val", "uint8"),
    33: ("float4_e2m1fn", "float8_val", "uint8"),
}
NUMBERS = {name: number for number, (name, _, _) in _FIELDS.items()}
QUANTISED = ("qint8", "quint8", "qint32", "qint16", "quint16")
# Complex values are pairs of these.
_HALVES = {"complex64": np.float32, "complex128": np.float64}
# TensorFlow's DataTypeString where it differs from NumPy's name.
TF_NAMES = {"float32": "float", "float64": "double", "float16": "half"}
DEFAULT_MAX_ELEMENTS = 2**28


def dtype_name(number: int | str) -> str:
    """Name of a DataType, told by its number or, as JSON has it, by ``DT_...``.

    Returns:
        NumPy's, where there is one; ``string``; TensorFlow's for others, such as ``resource``; for
        a number that it does not have, ``type 999``.
    """
    if isinstance(number, str):
        known = protos.DataType.values_by_name.get(number)
        if known is None:
            return number.removeprefix("DT_").lower()
        number = known.number
    if number in _FIELDS:
        return _FIELDS[number][0]
    known = protos.DataType.values_by_number.get(number)
    return known.name.removeprefix("DT_").lower() if known else f"type {number}"


def type_in_json(name: str) -> str | int:
    """The opposite of ``dtype_name``, as JSON has it: ``DT_...``, or an unknown type's number."""
    if name in NUMBERS:
        return protos.DataType.values_by_number[NUMBERS[name]].name
    if name.startswith("type "):
        return int(name.removeprefix("type "))
    return f"DT_{name.upper()}"


def dtype_of(array: np.ndarray) -> str:
    """Name of an array's type, as ``dtype_name`` has it."""
    if array.dtype.kind in "OSU":
        return "string"
    return array.dtype.names[0] if array.dtype.names else array.dtype.name


def numpy_dtype(name: str) -> np.dtype:
    """NumPy's type by its name as ``dtype_name`` has it.

    Raises:
        RequestError: UNIMPLEMENTED: there is none, or it takes ``ml_dtypes``, which is missing.
    """
    number = NUMBERS.get(name)
    if number is None:
        raise RequestError(f"Tensors of type {name} are not served.", code="UNIMPLEMENTED")
    carrier = _FIELDS[number][2]
    if name in QUANTISED:
        return np.dtype([(name, carrier)])
    if name in ("string", "float16") or carrier == name:
        return np.dtype("object" if name == "string" else name)
    try:
        import ml_dtypes
    except ImportError:
        raise RequestError(
            f"Tensors of type {name} need the package ml_dtypes, which is not installed: "
            "pip install ml_dtypes",
            code="UNIMPLEMENTED",
        ) from None
    if not hasattr(ml_dtypes, name):
        raise RequestError(
            f"Tensors of type {name} need a newer ml_dtypes: pip install -U ml_dtypes",
            code="UNIMPLEMENTED",
        )
    return np.dtype(getattr(ml_dtypes, name))


def to_array(proto: Any, max_elements: int = DEFAULT_MAX_ELEMENTS) -> np.ndarray:
    """A request's tensor.

    Args:
        proto: ``TensorProto``.
        max_elements: largest number of values of a tensor; a few bytes can ask for any number.

    Returns:
        ``<dtype>[shape]``; strings as an object array of bytes; bfloat16 as float32, which holds
        the same values, where ``ml_dtypes`` is not installed.

    Raises:
        RequestError: INVALID_ARGUMENT; UNIMPLEMENTED as ``numpy_dtype``.
    """
    if proto.dtype not in _FIELDS:
        raise _unparsable(proto)
    name, field, carrier = _FIELDS[proto.dtype]
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
        packed = np.dtype(carrier).newbyteorder("<")
        if len(proto.tensor_content) != count * packed.itemsize:
            raise _unparsable(proto)
        values = np.frombuffer(proto.tensor_content, packed)
        if carrier == name:
            return values.reshape(shape)
        values = values.astype(carrier)
    else:
        values = _field_values(name, carrier, getattr(proto, field))
        values = _filled(values, count, np.zeros(1, carrier), proto)
    return _typed(values, name).reshape(shape)


def _field_values(name: str, carrier: str, given: Any) -> np.ndarray:
    """The values of a typed field, as many as there are, in the carrier's type."""
    if isinstance(given, bytes):
        return np.frombuffer(given, carrier)
    if name in _HALVES:
        # Half a number at the end counts for nothing, as in TensorFlow.
        return np.array(given[: len(given) // 2 * 2], _HALVES[name]).view(name)
    if carrier in ("int8", "uint8", "int16", "uint16"):
        # int_val and half_val carry what is narrow, which wraps as in C.
        return np.array(given, np.int32).astype(carrier)
    return np.array(given, carrier)


def _typed(values: np.ndarray, name: str) -> np.ndarray:
    """From the carrier's type to the tensor's own."""
    if values.dtype.name == name:
        return values
    try:
        dtype = numpy_dtype(name)
    except RequestError:
        if name != "bfloat16":
            raise
        return (values.astype(np.uint32) << 16).view(np.float32)
    # Integers of a few bits are kept one a byte, and wrap.
    return values.astype(dtype) if name.endswith(("int4", "int2")) else values.view(dtype)


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
        array: strings as object arrays of bytes or str; bfloat16 and narrower types as
            ``ml_dtypes`` has them.
        as_content: packed bytes, which is faster; TensorFlow Serving answers in typed fields.

    Raises:
        RequestError: UNIMPLEMENTED for a dtype that is not served.
    """
    array = np.asarray(array)
    name = dtype_of(array)
    if name not in NUMBERS:
        raise RequestError(f"Outputs of type {name} are not served.", code="UNIMPLEMENTED")
    proto.dtype = NUMBERS[name]
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    _, field, carrier = _FIELDS[proto.dtype]
    if name == "string":
        flat = array.reshape(-1).tolist()
        proto.string_val.extend(v if isinstance(v, bytes) else str(v).encode() for v in flat)
        return
    values = np.ascontiguousarray(array).reshape(-1)
    few_bits = name.endswith(("int4", "int2"))
    values = values.astype(carrier) if few_bits or carrier == name else values.view(carrier)
    if as_content:
        proto.tensor_content = values.astype(values.dtype.newbyteorder("<")).tobytes()
    elif field == "float8_val":
        proto.float8_val = values.tobytes()
    else:
        values = values.view(_HALVES[name]) if name in _HALVES else values
        getattr(proto, field).extend(values.tolist())
