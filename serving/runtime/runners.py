"""A loaded model as the server sees it: named signatures, each run in three steps.

A signature is ``{"inputs": {name: {"dtype", "shape"}}, "outputs": {...}}``: dtype is NumPy's name
or ``string``; shape is a list with -1 for open dimensions, or None where even the rank is open. Two
optional keys carry what a SavedModel also records: ``name`` of a tensor, and ``method_name``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from pipelines.program import DEFAULT
from pipelines.ragged import Arrays, Fields
from serving.errors import RequestError
from serving.tensors import NUMBERS, TF_NAMES

DEFAULT_SIGNATURE = DEFAULT
# Row by row: the client sends the states back with the next row, or this server keeps them.
STEP_SIGNATURE = "step"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
NO_SIGNATURE = MappingProxyType({"inputs": {}, "outputs": {}})


class SignatureRunner:
    """One signature of a loaded model; all methods may be called from many threads at once.

    ``encode`` and ``decode`` work on one request. ``execute`` may be given the encoded rows of
    several requests at once, where ``joins``.

    Attributes:
        signature: see this module's top.
        joins: whether rows of several requests may be run together.
        fields: encoded inputs that may be lengthened without any effect on the answer, and outputs
            of ``execute`` that are cut to their own length when rows of several requests part.
        states: what a client, or a stream of this server, carries from step to step: shape of each
            without the batch.
    """

    joins = False
    fields: Fields = MappingProxyType({})
    states: Mapping[str, tuple[int, ...]] = MappingProxyType({})

    def __init__(self, signature: dict[str, Any]) -> None:
        self.signature = signature

    def encode(self, inputs: Arrays) -> Arrays:
        """Inputs of the signature, checked, as ``execute`` takes them.

        Raises:
            RequestError: they do not suit the signature.
        """
        raise NotImplementedError

    def group(self, encoded: Arrays) -> Hashable:
        """What encoded requests must have in common to be run together, besides their shapes."""
        return None

    def initial(self, rows: int) -> Arrays:
        """The states before the first step of so many rows."""
        return {n: np.zeros((rows, *shape), np.float32) for n, shape in self.states.items()}

    def execute(self, encoded: Arrays, timeout: float | None = None) -> Arrays:
        """The model itself.

        Args:
            encoded: of ``encode``; of several requests where ``joins``, padded by ``fields``.
            timeout: seconds; a model that can be interrupted gives up then.

        Raises:
            RequestError: it failed, or DEADLINE_EXCEEDED.
        """
        raise NotImplementedError

    def decode(self, encoded: Arrays) -> Arrays:
        """Outputs of the signature; strings as object arrays of bytes or str."""
        return encoded


class Backend:
    """One version of one loaded model.

    Attributes:
        runners: by signature.
    """

    def __init__(self, runners: dict[str, SignatureRunner]) -> None:
        self.runners = runners

    @property
    def signatures(self) -> dict[str, dict]:
        """All signatures by name."""
        return {name: runner.signature for name, runner in self.runners.items()}

    @property
    def signature(self) -> Mapping[str, Any]:
        """The ``serving_default`` signature, of no inputs and outputs if there is none."""
        return self.signatures.get(DEFAULT_SIGNATURE, NO_SIGNATURE)

    def run(self, inputs: Arrays, signature_name: str = DEFAULT_SIGNATURE) -> Arrays:
        """Runs one request by itself.

        Args:
            inputs: one array per input of the signature; strings as object arrays of bytes.
            signature_name: a key of ``signatures``.

        Returns:
            One array per output.

        Raises:
            RequestError: the inputs do not suit the model, or it failed on them.
        """
        runner = self.runners[signature_name]
        return runner.decode(runner.execute(runner.encode(inputs)))

    def warm(self) -> None:
        """Runs what the version's directory holds for that; nothing by default."""

    def close(self) -> None:
        """Frees what it holds; nothing may be run afterwards."""


def check_inputs(expected: Mapping[str, dict], inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses a request whose input names are not the signature's, in TensorFlow Serving's words.

    Raises:
        RequestError: INVALID_ARGUMENT (its predict_util.cc).
    """
    sent = sorted(inputs)
    required = sorted(n for n, spec in expected.items() if "default" not in spec or n in inputs)
    if len(sent) != len(required):
        extra = ",".join(sorted(set(sent) - set(required)))
        missing = ",".join(sorted(set(required) - set(sent)))
        raise RequestError(
            f"input size does not match signature: {len(sent)}!={len(required)} "
            f"len({{{','.join(sent)}}}) != len({{{','.join(required)}}}). "
            f"Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
        )
    for name in required:
        if name not in inputs:
            raise RequestError(
                f"Signature input alias: {name}(feed name: {tensor_name(name, expected[name])}) "
                "not found in request and no default value provided. Inputs expected to be in "
                f"the request {{{','.join(sent)}}}, or default input alias set: "
            )


def check_tensors(expected: Mapping[str, dict], inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses tensors of a dtype, rank or fixed dimension other than the signature's.

    TensorFlow Serving leaves this to the graph, whose words for dtypes are used here; ONNX
    Runtime's own would not name the input. All inputs that share the batch dimension must have as
    many rows.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    rows = {}
    for position, name in enumerate(sorted(expected)):
        if name not in inputs:  # it has a default
            continue
        array, info = inputs[name], expected[name]
        sent = "string" if array.dtype.kind in "OSU" else array.dtype.name
        if sent != info["dtype"]:
            takes, given = (TF_NAMES.get(kind, kind) for kind in (info["dtype"], sent))
            raise RequestError(f"Expects arg[{position}] to be {takes} but {given} is provided")
        if info.get("shape") is None:
            continue
        dims = [-1 if size is None else int(size) for size in info["shape"]]
        fits = len(dims) == array.ndim and all(
            size in (-1, actual) for size, actual in zip(dims, array.shape, strict=True)
        )
        if not fits:
            takes, has = (",".join(map(str, numbers)) for numbers in (dims, array.shape))
            raise RequestError(f"Input {name} takes shape [{takes}], but the request has [{has}]")
        if dims and dims[0] == -1 and not ("default" in info and len(array) == 1):
            rows[name] = len(array)
    if len(set(rows.values())) > 1:
        raise RequestError(f"Inputs differ in their number of rows: {rows}")


def signature_defs(signatures: Mapping[str, Mapping]) -> dict[str, dict]:
    """Signatures as the JSON form of SignatureDef protos, for metadata.

    Proto field names are kept, defaults are printed and int64 is text, as proto3's JSON mapping
    with TensorFlow Serving's options has it.
    """
    return {
        name: {
            "inputs": {k: _tensor_info(k, v, "serving_default_") for k, v in s["inputs"].items()},
            "outputs": {k: _tensor_info(k, v, "") for k, v in s["outputs"].items()},
            "method_name": s.get("method_name", PREDICT_METHOD),
            "defaults": {},
        }
        for name, s in signatures.items()
    }


def tensor_name(alias: str, info: dict, prefix: str = "serving_default_") -> str:
    """The graph's name of a tensor; an ONNX bundle gets the one that an export would give."""
    return info.get("name", f"{prefix}{alias}:0")


def _tensor_info(alias: str, info: dict, prefix: str) -> dict:
    """One TensorInfo in JSON."""
    from serving import protos

    dtype, shape = info["dtype"], info.get("shape")
    dims = [{"size": str(-1 if size is None else int(size)), "name": ""} for size in shape or []]
    number = NUMBERS.get(dtype)
    name = protos.DataType.values_by_number[number].name if number else f"DT_{dtype.upper()}"
    return {
        "dtype": name,
        "tensor_shape": {"dim": dims, "unknown_rank": shape is None},
        "name": tensor_name(alias, info, prefix),
    }
