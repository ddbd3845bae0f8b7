"""Signatures of a loaded model: what they take and give, and whether a request suits them.

A signature is ``{"inputs": {name: {"dtype", "shape"}}, "outputs": {...}}``: dtype is NumPy's name
or ``string``; shape is a list with -1 for open dimensions, or None where even the rank is open.
Optional keys carry what a SavedModel also records: ``name`` of a tensor, ``default`` of an input
that may be left out, ``sparse`` with the names of a sparse tensor's three parts, and
``method_name`` of the signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from google.protobuf import json_format

from pipelines.program import DEFAULT, setting_array
from serving import protos
from serving.errors import RequestError, ServingError
from serving.tensors import TF_NAMES, dtype_of, fill_proto, numpy_dtype, type_in_json

DEFAULT_SIGNATURE = DEFAULT
# Row by row: the client sends the states back with the next row, or this server keeps them.
STEP_SIGNATURE = "step"
# Token by token, where it is asked for as a stream.
GENERATE_SIGNATURE = "generate"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
NO_SIGNATURE = MappingProxyType({"inputs": {}, "outputs": {}})


def check_inputs(expected: Mapping[str, dict], inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses a request whose input names are not the signature's, in TensorFlow Serving's words.

    Inputs with a default may be left out.

    Raises:
        RequestError: INVALID_ARGUMENT (its predict_util.cc, and TensorFlow's saved_model/util.cc).
    """
    sent, known = sorted(inputs), sorted(expected)
    defaults = [name for name in known if "default" in expected[name]]
    if len(sent) > len(known) or (len(sent) < len(known) and not defaults):
        extra = ",".join(sorted(set(sent) - set(known)))
        missing = ",".join(sorted(set(known) - set(sent)))
        raise RequestError(
            f"input size does not match signature: {len(sent)}!={len(known)} "
            f"len({{{','.join(sent)}}}) != len({{{','.join(known)}}}). "
            f"Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
        )
    for name in known:
        if name not in inputs and name not in defaults:
            raise RequestError(
                f"Signature input alias: {name}(feed name: {tensor_name(name, expected[name])}) "
                "not found in request and no default value provided. Inputs expected to be in "
                f"the request {{{','.join(sent)}}}, or default input alias set: "
                f"{','.join(defaults)}"
            )
    used = [name for name in sent if name in expected]
    if used != sent:
        raise RequestError(
            f"Inputs contains invalid name. Used request inputs: {','.join(used)}, "
            f"request input: {','.join(sent)}"
        )


def check_tensors(expected: Mapping[str, dict], inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses tensors of a dtype, rank or fixed dimension other than the signature's.

    TensorFlow Serving leaves this to the graph, whose words for dtypes are used here; ONNX
    Runtime's own would not name the input. All inputs that share the batch dimension must have as
    many rows, and each row at least one step.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    check_settings(expected, inputs)
    rows = {}
    for position, name in enumerate(sorted(expected)):
        array, info = inputs.get(name), expected[name]
        if array is None or is_setting(info):
            continue
        sent = dtype_of(array)
        if sent != info["dtype"]:
            takes, given = (TF_NAMES.get(kind, kind) for kind in (info["dtype"], sent))
            raise RequestError(f"Expects arg[{position}] to be {takes} but {given} is provided")
        if array.dtype == object and not all(isinstance(x, (bytes, str)) for x in array.flat):
            raise RequestError(f"Input {name} takes text or bytes, and the request has others")
        if info.get("shape") is None:
            continue
        dims = [-1 if size is None else int(size) for size in info["shape"]]
        fits = len(dims) == array.ndim and all(
            size in (-1, actual) for size, actual in zip(dims, array.shape, strict=True)
        )
        # Rows without a step: there is nothing to answer, and native kernels would abort.
        fits = fits and (array.size or 0 in (*dims, *array.shape[:1]))
        if not fits:
            raise _shape_error(name, dims, array)
        if dims and dims[0] == -1:
            rows[name] = len(array)
    if len(set(rows.values())) > 1:
        raise RequestError(f"Inputs differ in their number of rows: {rows}")


def is_setting(info: Mapping[str, Any]) -> bool:
    """Whether an input has a default and one value for each row, as a decoding setting has."""
    return "default" in info and list(info.get("shape") or ()) == [-1]


def check_settings(expected: Mapping[str, dict], inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses settings of another dtype than the signature's, or of more than one dimension.

    Raises:
        RequestError: INVALID_ARGUMENT with the name of the input.
    """
    for name, info in expected.items():
        if name not in inputs or not is_setting(info):
            continue
        array = inputs[name]
        takes, given = (TF_NAMES.get(n, n) for n in (info["dtype"], dtype_of(array)))
        if takes != given:
            raise RequestError(f"Input {name} is of type {takes}, but the request has {given}")
        if array.ndim > 1:
            raise _shape_error(name, [-1], array)


def no_rows(info: Mapping[str, Any]) -> np.ndarray:
    """An output of no rows; a dimension that is open is 0."""
    shape = [max(0, size) for size in info["shape"][1:]]
    return np.zeros((0, *shape), numpy_dtype(info["dtype"]))


def _shape_error(name: str, dims: list[int], array: np.ndarray) -> RequestError:
    takes, has = (",".join(map(str, numbers)) for numbers in (dims, array.shape))
    return RequestError(f"Input {name} takes shape [{takes}], but the request has [{has}]")


def replace_defaults(
    signatures: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]
) -> None:
    """Changes defaults in place, in every signature that has such an input.

    Args:
        signatures: the model's signatures by name.
        values: new defaults by the name of an input whose default is one value.

    Raises:
        ServingError: no signature has such an input, or a value is of another type.
    """
    known: dict[str, list[dict[str, Any]]] = {}
    for signature in signatures.values():
        for name, info in signature["inputs"].items():
            if "default" in info and np.size(info["default"]) == 1:
                known.setdefault(name, []).append(signature["inputs"])
    for name, value in values.items():
        if name not in known:
            which = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise ServingError(f"the model has no setting {name!r}; {which}")
        for inputs in known[name]:
            info = inputs[name]
            try:
                array = setting_array(value, info["dtype"])
                inputs[name] = {**info, "default": array.reshape(np.shape(info["default"]))}
            except (ValueError, KeyError, TypeError) as error:
                raise ServingError(f"setting {name}: {value!r} is no {info['dtype']}") from error


def signature_defs(signatures: Mapping[str, Mapping]) -> dict[str, dict]:
    """Signatures as the JSON form of SignatureDef protos, for metadata.

    Proto field names are kept, empty fields are printed and int64 is text, as proto3's JSON mapping
    with TensorFlow Serving's options has it.
    """
    return {
        name: {
            "inputs": {k: _tensor_info(k, v, "serving_default_") for k, v in s["inputs"].items()},
            "outputs": {k: _tensor_info(k, v, "") for k, v in s["outputs"].items()},
            "method_name": s.get("method_name", PREDICT_METHOD),
            "defaults": {k: _default_proto(v) for k, v in s["inputs"].items() if "default" in v},
        }
        for name, s in signatures.items()
    }


def _default_proto(info: Mapping[str, Any]) -> dict[str, Any]:
    """A default as the JSON form of a TensorProto; a setting's one value has shape [1]."""
    array = info["default"]
    if not isinstance(array, np.ndarray):  # one that a program has; a SavedModel's are arrays
        array = setting_array(array, info["dtype"])
    proto = protos.TensorProto()
    fill_proto(proto, array.reshape(1) if is_setting(info) and not array.ndim else array)
    return json_format.MessageToDict(
        proto, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def tensor_name(alias: str, info: dict, prefix: str = "serving_default_") -> str:
    """The graph's name of a tensor; an ONNX bundle gets the one that an export would give."""
    return info.get("name", f"{prefix}{alias}:0")


def _tensor_info(alias: str, info: dict, prefix: str) -> dict:
    """One TensorInfo in JSON; a type that this server does not know has its number there."""
    shape = info.get("shape")
    dims = [{"size": str(-1 if size is None else int(size)), "name": ""} for size in shape or []]
    where = {"coo_sparse": info["sparse"]} if "sparse" in info else {
        "name": tensor_name(alias, info, prefix)
    }  # fmt: skip
    return {
        "dtype": type_in_json(info["dtype"]),
        "tensor_shape": {"dim": dims, "unknown_rank": shape is None},
        **where,
    }
