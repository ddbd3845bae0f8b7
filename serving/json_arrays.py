"""Arrays of a client in JSON, and back."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from pipelines.ragged import Arrays
from serving.errors import RequestError
from serving.tensors import NUMBERS, dtype_of


def to_json(arrays: Arrays) -> dict[str, Any]:
    """Arrays as JSON; bytes that are no text as base64.

    Raises:
        RequestError: UNIMPLEMENTED for a type that JSON cannot carry.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "fiubO":
            raise RequestError(
                f"JSON carries no {dtype_of(array)}, which input {name} is; ask the server's gRPC "
                "port instead: grpc://HOST:8500",
                code="UNIMPLEMENTED",
            )

    def leaf(value: Any) -> Any:
        if isinstance(value, list):
            return [leaf(item) for item in value]
        if isinstance(value, bytes):
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                return {"b64": base64.b64encode(value).decode()}
        return value

    return {
        name: leaf(array.tolist()) if array.dtype == object else array.tolist()
        for name, array in arrays.items()
    }


def from_json(value: Any, dtype: str | None) -> np.ndarray:
    """An output in JSON as an array.

    Args:
        value: nested lists; other bytes than text as ``{"b64": ...}``.
        dtype: NumPy's name, or "string" for an object array of bytes; None if it is not known.
    """

    def leaf(item: Any) -> Any:
        if isinstance(item, list):
            return [leaf(one) for one in item]
        if isinstance(item, dict):
            return base64.b64decode(item["b64"])
        return item.encode("utf-8") if isinstance(item, str) else item

    if dtype == "string":
        return np.array(leaf(value), object)
    return np.array(value, dtype if dtype in NUMBERS else None)
