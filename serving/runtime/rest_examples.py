"""tf.Example from JSON, for classify and regress, as TensorFlow Serving reads it.

The rules are those of its json_tensor.cc: JSON integers and booleans make an int64_list, decimals a
float_list, strings and base64 a bytes_list; a feature has one kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from serving import protos
from serving.errors import RequestError
from serving.runtime.json_tensor import format_error, string_bytes, type_text
from serving.runtime.rest_json import parse_envelope

_KINDS = {"int64": "int64_list", "float": "float_list", "bytes": "bytes_list"}


def parse_examples(body: bytes) -> tuple[str, np.ndarray]:
    """Reads a classify or regress request.

    Returns:
        The signature name as sent, and serialized examples ``<bytes>[n]``.

    Raises:
        RequestError: in TensorFlow Serving's words, which say "classify" for regress too.
    """
    document, signature_name = parse_envelope(body)
    context = protos.Example()
    if "context" in document:
        if not isinstance(document["context"], dict):
            raise format_error(document, "Expecting 'context' value to be an object")
        _fill(context, document["context"])
    if "examples" not in document:
        raise format_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(document["examples"], list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not document["examples"]:
        raise format_error(document, "'examples' value is an empty array")
    before = context.SerializeToString()
    examples = np.empty(len(document["examples"]), object)
    for number, features in enumerate(document["examples"]):
        if not isinstance(features, dict):
            raise RequestError(f"Example must be JSON object but got JSON {type_text(features)}")
        example = protos.Example()
        _fill(example, features)
        # Messages concatenated are messages merged.
        examples[number] = before + example.SerializeToString()
    return signature_name, examples


def _fill(example: Any, features: dict[str, Any]) -> None:
    example.features.SetInParent()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        feature = example.features.feature[name.encode("utf-8", "replace").decode()]
        kind = None
        for item in values:
            found, plain = _kind(name, item)
            if kind not in (None, found):
                raise RequestError(
                    f"Unexpected element type in feature: {name} expecting type: {kind}"
                )
            kind = found
            getattr(feature, _KINDS[kind]).value.append(plain)


def _kind(name: str, item: Any) -> tuple[str, Any]:
    """The kind of list that a JSON value belongs to, and the value in it."""
    if isinstance(item, bool):
        return "int64", int(item)
    if isinstance(item, int):
        if not -(2**63) <= item < 2**63:
            raise RequestError(
                f"Feature: {name} has uint64 element. Only int64/float/bytes are supported"
            )
        return "int64", item
    if isinstance(item, float):
        return "float", item if abs(item) < 3.4e38 or item != item else np.copysign(np.inf, item)
    text = string_bytes(item)
    if text is None:
        raise RequestError(
            f"Feature: {name} has element with unexpected JSON type: {type_text(item)}"
        )
    return "bytes", text
