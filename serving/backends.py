"""Loaded models as the server sees them: named signatures and a `run` method.

A signature is `{"inputs": {name: {"dtype", "shape"}}, "outputs": {...}}`: dtype is NumPy's name or
`string`; shape is a list with -1 for open dimensions, or None where even the rank is open. Two
optional keys carry what a SavedModel also records: `name` of a tensor, and `method_name`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from serving.bundle import read_manifest
from serving.errors import RequestError, ServingError

DEFAULT_SIGNATURE = "serving_default"
# Row by row, for bundles with step.onnx: the client sends the states back with the next row.
STEP_SIGNATURE = "step"
PREDICT_METHOD = "tensorflow/serving/predict"
BACKENDS = ("onnx", "savedmodel")

# DataType enum names where they are not "DT_" and NumPy's name in capitals.
_ENUM_NAMES = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}


class Backend(Protocol):
    """One version of one loaded model; `run` may be called from many threads at once.

    Attributes:
        name: The model's name in URLs.
        version: Its version, a non-negative integer.
        signature: The `serving_default` signature (of no inputs and outputs if there is none).
        signatures: All signatures by name.
    """

    name: str
    version: int
    signature: dict
    signatures: dict[str, dict]

    def run(
        self, inputs: dict[str, np.ndarray], signature_name: str = DEFAULT_SIGNATURE
    ) -> dict[str, np.ndarray]:
        """Runs one request.

        Args:
            inputs: One array per input of the signature; strings as object arrays of bytes.
            signature_name: A key of `signatures`.

        Returns:
            One array per output; strings as object arrays of bytes or str.

        Raises:
            RequestError: The inputs do not suit the model, or it failed on them.
        """
        ...


class OnnxBackend:
    """The TensorFlow-free model of a bundle, run by ONNX Runtime."""

    def __init__(self, bundle_dir: str | Path, version: int | None = None) -> None:
        """Loads `BUNDLE/onnx/<version>`; the newest version by default.

        Raises:
            ServingError: The bundle has no usable ONNX model.
        """
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument
        from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException as RuntimeFailure

        from serving.predictor import Predictor
        from serving.streaming import RowModel

        self._invalid, self._failed = InvalidArgument, (Fail, RuntimeFailure)
        self._predictor = Predictor(bundle_dir, version=version)
        self.name = self._predictor.name
        self.version = self._predictor.version
        self.signature = self._predictor.signature
        self.signatures = {DEFAULT_SIGNATURE: self.signature}
        self._runs = {DEFAULT_SIGNATURE: self._predictor.run}
        onnx = Path(bundle_dir) / "onnx" / str(self.version)
        if (onnx / "step.onnx").is_file() and hasattr(self._predictor.preprocessor, "encode_row"):
            rows = RowModel(onnx)
            self.signatures[STEP_SIGNATURE] = rows.signature
            self._runs[STEP_SIGNATURE] = rows.run

    def run(
        self, inputs: dict[str, np.ndarray], signature_name: str = DEFAULT_SIGNATURE
    ) -> dict[str, np.ndarray]:
        """See `Backend.run`; shapes are checked against the signature first."""
        signature = self.signatures[signature_name]
        check_inputs(signature["inputs"], inputs)
        check_shapes(signature["inputs"], inputs)
        try:
            return self._runs[signature_name](inputs)
        except (ValueError, self._invalid) as error:
            raise RequestError(str(error)) from error
        except self._failed as error:
            raise RequestError(str(error), code="INTERNAL") from error


def check_inputs(expected: Mapping[str, dict], inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses a request whose input names are not the signature's, in TensorFlow Serving's words.

    Raises:
        RequestError: INVALID_ARGUMENT (its predict_util.cc).
    """
    sent, required = sorted(inputs), sorted(expected)
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
                f"Signature input alias: {name}(feed name: {_tensor_name(name, expected[name])}) "
                "not found in request and no default value provided. Inputs expected to be in "
                f"the request {{{','.join(sent)}}}, or default input alias set: "
            )


def check_shapes(expected: Mapping[str, dict], inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses tensors of a rank or fixed dimension other than the signature's.

    TensorFlow Serving leaves this to the graph; ONNX Runtime's own words would not name the input.

    Raises:
        RequestError: INVALID_ARGUMENT that shows both shapes.
    """
    for name, array in inputs.items():
        shape = expected[name].get("shape")
        if shape is None:
            continue
        dims = [-1 if size is None else int(size) for size in shape]
        fits = len(dims) == array.ndim and all(
            size in (-1, actual) for size, actual in zip(dims, array.shape, strict=True)
        )
        if not fits:
            takes, has = (",".join(map(str, numbers)) for numbers in (dims, array.shape))
            raise RequestError(f"Input {name} takes shape [{takes}], but the request has [{has}]")


def signature_defs(signatures: Mapping[str, dict]) -> dict[str, dict]:
    """Signatures as the JSON form of SignatureDef protos, for the metadata endpoint.

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


def _tensor_name(alias: str, info: dict, prefix: str = "serving_default_") -> str:
    """The graph's name of a tensor; an ONNX bundle gets the one that an export would give."""
    return info.get("name", f"{prefix}{alias}:0")


def _tensor_info(alias: str, info: dict, prefix: str) -> dict:
    """One TensorInfo in JSON."""
    dtype, shape = info["dtype"], info.get("shape")
    dims = [{"size": str(-1 if size is None else int(size)), "name": ""} for size in shape or []]
    return {
        "dtype": _ENUM_NAMES.get(dtype, f"DT_{dtype.upper()}"),
        "tensor_shape": {"dim": dims, "unknown_rank": shape is None},
        "name": _tensor_name(alias, info, prefix),
    }


def load_backend(
    directory: str | Path, backend: str | None = None, model_name: str | None = None
) -> Backend:
    """Loads what a directory holds: a bundle, a SavedModel, or integer versions of one.

    Args:
        directory: BUNDLE, a directory with `saved_model.pb`, or one with `<version>/saved_model.pb`
            (the highest version is taken).
        backend: `onnx`, `savedmodel` or None: ONNX where the bundle has it.
        model_name: Name in URLs, instead of the bundle's or the directory's own.

    Raises:
        ServingError: Nothing servable is there, or not for that backend.
    """
    directory = Path(directory)
    if backend not in (None, *BACKENDS):
        raise ServingError(f"--backend {backend} is not known; choose {' or '.join(BACKENDS)}.")
    if not directory.is_dir():
        raise ServingError(f"{directory} is not a directory; give one that `seqloom export` wrote.")
    if (directory / "manifest.json").is_file():
        loaded = _open_bundle(directory, backend)
    else:
        loaded = _open_saved_model(directory, backend)
    if model_name is not None:
        loaded.name = model_name
    return loaded


def _open_bundle(bundle: Path, backend: str | None) -> Backend:
    """A bundle's model with the wanted backend, or with the lightest that it has."""
    manifest = read_manifest(bundle)
    try:
        name, version = str(manifest["name"]), int(manifest["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ServingError(
            f"{bundle / 'manifest.json'} lacks a name or a version ({error!r}); "
            "write it anew with `seqloom export`."
        ) from error
    folders = {kind: bundle / kind / str(version) for kind in BACKENDS}
    present = [kind for kind in BACKENDS if folders[kind].is_dir()]
    if backend is None and not present:
        raise ServingError(
            f"{bundle} holds neither {folders['onnx']} nor {folders['savedmodel']}; "
            "write it anew with `seqloom export`."
        )
    chosen = backend or present[0]
    if chosen not in present:
        raise ServingError(
            f"{folders[chosen]} does not exist; add it with `seqloom export RUN --format {chosen}` "
            f"or drop `--backend {chosen}`."
        )
    if chosen == "onnx":
        return OnnxBackend(bundle, version)
    return _saved_model(folders[chosen], name, version)


def _open_saved_model(directory: Path, backend: str | None) -> Backend:
    """A SavedModel that no bundle surrounds: the directory itself or its highest version."""
    versions = {}
    for child in sorted(directory.iterdir()):
        # As TensorFlow Serving: any name that is an integer, leading zeros and all.
        if child.name.isascii() and child.name.isdigit() and is_saved_model(child):
            versions[int(child.name)] = child
    if not is_saved_model(directory) and not versions:
        raise ServingError(
            f"{directory} has no manifest.json and is no SavedModel; "
            "write a bundle with `seqloom export RUN --out BUNDLE`."
        )
    if backend == "onnx":
        raise ServingError(
            f"{directory} is a plain SavedModel without manifest.json: serve it with "
            "`--backend savedmodel`, or write a bundle with `seqloom export`."
        )
    if versions and not is_saved_model(directory):
        version = max(versions)
        return _saved_model(versions[version], directory.resolve().name, version)
    resolved = directory.resolve()
    if resolved.name.isascii() and resolved.name.isdigit():
        return _saved_model(directory, resolved.parent.name, int(resolved.name))
    return _saved_model(directory, resolved.name, 1)


def is_saved_model(directory: Path) -> bool:
    """Whether the directory holds the file by which TensorFlow knows a SavedModel."""
    return any((directory / f"saved_model.{end}").is_file() for end in ("pb", "pbtxt", "cpb"))


def _saved_model(path: Path, name: str, version: int) -> Backend:
    # Imported here, not above: this module must not pull TensorFlow in for ONNX bundles.
    from serving.savedmodel_backend import SavedModelBackend

    return SavedModelBackend(path, name=name, version=version)
