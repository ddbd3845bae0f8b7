"""Any SavedModel, run as TensorFlow Serving runs it: in a TF1-style session.

TensorFlow Serving runs SavedModels in a DirectSession. Doing the same gives the same error texts
and per-call timeouts; `tf.saved_model.load().signatures` gives neither.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.program import NEXT, check_shared, with_defaults
from pipelines.ragged import Arrays, trim
from serving import protos
from serving.declared import DeclaredProgram, read_programs
from serving.errors import HTTP_STATUS, RequestError, ServingError
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.signatures import check_inputs, check_tensors, no_rows
from serving.tensors import QUANTISED, dtype_name, dtype_of, numpy_dtype, to_array

# HTTP_STATUS lists the canonical codes in numeric order.
_CODES = dict(enumerate(HTTP_STATUS))
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000
# What TensorFlow takes by itself, and logs.
RECORD_BYTES = 262_144
# So many choices of outputs are remembered; clients choose few.
MAX_PARTIAL = 32


class SavedModelBackend(Backend):
    """A SavedModel; see ``Backend``.

    Args:
        path: directory that holds ``saved_model.pb``.
        tags: tags of the MetaGraph to load.
        threads: number of TensorFlow's threads, within and between ops; if None TensorFlow
            chooses.

    Raises:
        ServingError: TensorFlow cannot load it, or cannot be imported.
    """

    def __init__(
        self, path: str | Path, tags: tuple[str, ...] = ("serve",), threads: int | None = None
    ) -> None:
        try:
            import tensorflow as tf
        except ImportError as error:
            raise ServingError(
                f"{path} needs TensorFlow, which is not installed: install seqloom with it, or "
                "export with `--format onnx` and serve with `--backend onnx`."
            ) from error
        self.path, self._tf, self._error = Path(path), tf, tf.errors.OpError
        declared = read_programs(self.path)
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads or 0, inter_op_parallelism_threads=threads or 0
        )
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            meta_graph = self._load(tags)
        except (tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
            self._session.close()
            raise ServingError(
                f"{path} cannot be loaded as a SavedModel ({_reason(error)}); export it again."
            ) from error
        self._bind()
        super().__init__(
            {
                key: _SessionRunner(self, _signature(definition), declared.get(key))
                for key, definition in sorted(meta_graph.signature_def.items())
            }
        )

    def _load(self, tags: tuple[str, ...]) -> Any:
        """The MetaGraphDef, loaded into the session's graph."""
        logger = self._tf.get_logger()
        level = logger.level
        logger.setLevel(logging.ERROR)  # the loader announces that it is deprecated
        try:
            with self._session.graph.as_default():
                return self._tf.compat.v1.saved_model.load(self._session, tags, str(self.path))
        finally:
            logger.setLevel(level)

    def _bind(self) -> None:
        """Binds the private call that skips Session.run's own checks, or the public one.

        Session.run checks dtypes and shapes in Python, in words that TensorFlow Serving does not
        use, and takes half as long again. A test fails loudly should the private call go away.
        """
        try:
            from tensorflow.python.client import pywrap_tf_session

            self._session._extend_graph()
            self._buffer = pywrap_tf_session.TF_NewBufferFromString
            self.is_direct = callable(self._session._call_tf_sessionrun)
        except (ImportError, AttributeError):
            self.is_direct = False

    def execute(self, feeds: Arrays, fetches: list[str], timeout: float | None) -> list[Any]:
        """One run of the session.

        Args:
            feeds: arrays by the name of a tensor.
            fetches: names of the tensors to return.
            timeout: seconds after which it is DEADLINE_EXCEEDED.

        Raises:
            RequestError: with the session's own message.
        """
        milliseconds = 0 if timeout is None else max(1, int(timeout * 1000))
        options = self._tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)
        try:
            if not self.is_direct:
                return self._session.run(fetches, feeds, options=options)
            return self._session._call_tf_sessionrun(
                self._buffer(options.SerializeToString()),
                {self._tensor(name)._as_tf_output(): array for name, array in feeds.items()},
                [self._tensor(name)._as_tf_output() for name in fetches],
                [],
                None,
            )
        except self._error as error:
            raise RequestError(error.message, code=_CODES[error.error_code]) from error
        except (ValueError, TypeError) as error:
            raise RequestError(str(error)) from error

    def _tensor(self, name: str) -> Any:
        return self._session.graph.get_tensor_by_name(name)

    def warm(self) -> None:
        """Runs the recorded requests, as TensorFlow Serving does before it answers others.

        Raises:
            ServingError: the file is broken, or a request of it fails.
        """
        from serving.runtime.inference import infer_log

        for number, record in enumerate(self._warmup_records()):
            try:
                infer_log(self, protos.PredictionLog.FromString(record))
            except (RequestError, ValueError, KeyError) as error:
                raise ServingError(
                    f"{self.path / WARMUP_FILE}, record {number}: {error}"
                ) from error

    def _warmup_records(self) -> Iterator[bytes]:
        path = self.path / WARMUP_FILE
        if not path.is_file():
            return
        try:
            records = self._tf.data.TFRecordDataset(
                str(path), buffer_size=RECORD_BYTES
            ).as_numpy_iterator()
            for number, record in enumerate(records):
                if number == MAX_WARMUP_RECORDS:
                    raise ServingError(
                        "Number of warmup records exceeds the maximum "
                        f"({MAX_WARMUP_RECORDS}) at {path}"
                    )
                yield record
        except self._error as error:
            raise ServingError(
                f"{path}: {error.message}. Please verify your warmup data is in TFRecord format."
            ) from error

    def close(self) -> None:
        """Frees the session; nothing may be run afterwards."""
        self._session.close()


class _SessionRunner(SignatureRunner):
    """One signature; it is known to be row-wise where the file that Seqloom writes declares it."""

    def __init__(
        self,
        backend: SavedModelBackend,
        signature: dict[str, Any],
        declared: DeclaredProgram | None,
    ) -> None:
        super().__init__(signature)
        self._backend, self._is_ours = backend, declared is not None
        if declared is not None:
            self.fields, self.shared = declared.fields, declared.shared
            self.labels = declared.labels
        self.states = {
            name: tuple(info["shape"][1:]) for name, info in signature["inputs"].items()
            if f"{name}{NEXT}" in signature["outputs"] and info["shape"]
        }  # fmt: skip
        self._feeds = {name: info["name"] for name, info in signature["inputs"].items()}
        self._partial: dict[frozenset[str], _SessionRunner] = {}
        self._fetches = {name: info["name"] for name, info in signature["outputs"].items()}
        inputs, outputs = signature["inputs"].values(), signature["outputs"].values()
        has_batch = bool(self._feeds) and all(
            info["shape"] is not None and info["shape"][:1] == [-1] for info in (*inputs, *outputs)
        )
        self.joins = has_batch and self._is_ours
        # Whether a default belongs to a row is not known.
        self.joinable = has_batch and not any("default" in info for info in inputs)

    def only(self, outputs: Collection[str]) -> SignatureRunner:
        """See ``SignatureRunner.only``; the lengths by which outputs are cut come with them."""
        wanted = set(outputs)
        for name in outputs:
            wanted.update(self.fields[name].lengths if name in self.fields else ())
        wanted &= self._fetches.keys()
        if not wanted or wanted == self._fetches.keys():
            return self
        key = frozenset(wanted)
        if key not in self._partial:
            runner = copy.copy(self)
            runner._fetches = {n: t for n, t in self._fetches.items() if n in wanted}
            kept = {n: info for n, info in self.signature["outputs"].items() if n in wanted}
            runner.signature = {**self.signature, "outputs": kept}
            if len(self._partial) >= MAX_PARTIAL:
                return runner
            self._partial.setdefault(key, runner)
        return self._partial[key]

    def encode(self, inputs: Arrays) -> Arrays:
        """See ``SignatureRunner.encode``; of a graph of others shapes are its own to judge."""
        specs = self.signature["inputs"]
        check_inputs(specs, inputs)
        if self._is_ours:  # every array has a row for each row of the request
            check_tensors(specs, inputs)  # its graph would spread what lacks columns or rows
            try:
                filled = with_defaults(specs, inputs)
                check_shared(self.shared, filled)
            except ValueError as error:
                raise RequestError(str(error)) from error
            return filled
        missing = {n: spec["default"] for n, spec in specs.items()
                   if "default" in spec and n not in inputs}  # fmt: skip
        return {**inputs, **missing}

    def execute(self, encoded: Arrays, timeout: float | None = None) -> Arrays:
        """See ``SignatureRunner.execute``; errors are the session's own.

        A request of no rows is run as one row of zeros, of which the answer has none: TensorFlow's
        loops refuse to stack nothing.
        """
        if self._is_ours and all(array.shape[:1] == (0,) for array in encoded.values()):
            if not all(array.size or 0 not in array.shape[1:] for array in encoded.values()):
                return {name: no_rows(info) for name, info in self.signature["outputs"].items()}
            specs = self.signature["inputs"]
            row = {n: _blank(array, specs[n].get("default")) for n, array in encoded.items()}
            outputs = self._run(row, timeout)
            return trim({name: array[:0] for name, array in outputs.items()}, self.fields)
        return self._run(encoded, timeout)

    def _run(self, encoded: Arrays, timeout: float | None) -> Arrays:
        feeds = {self._feeds[name]: array for name, array in encoded.items()}
        # TensorFlow refuses to fetch what is fed: an output that is an input too.
        asked = [tensor for tensor in self._fetches.values() if tensor not in feeds]
        arrays = self._backend.execute(feeds, asked, timeout) if asked else []
        found = dict(zip(asked, arrays, strict=True))
        return {
            name: _as_declared(
                np.asarray(feeds[tensor] if tensor in feeds else found[tensor]), info
            )
            for (name, tensor), info in zip(
                self._fetches.items(), self.signature["outputs"].values(), strict=True
            )
        }


def _reason(error: Exception) -> str:
    """All that TensorFlow says, in one line: its first line often says only that there is more.

    The stack of Python calls that it may add is this project's, not the model's.
    """
    return " ".join(str(error).partition("\nOriginal stack trace for ")[0].split())


def _as_declared(array: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """A session hands quantised integers over as plain ones; those of the signature are told."""
    if info["dtype"] in QUANTISED and dtype_of(array) != info["dtype"]:
        return array.view(numpy_dtype(info["dtype"]))
    return array


def _blank(array: np.ndarray, default: Any) -> np.ndarray:
    """One row in place of none: of the default, of no text, or of zeros."""
    fill = default if default is not None else b"" if array.dtype == object else 0
    return np.full((1, *array.shape[1:]), fill, array.dtype)


def _signature(definition: Any) -> dict[str, Any]:
    """A SignatureDef as this server keeps it."""
    inputs = {key: _tensor_info(info) for key, info in sorted(definition.inputs.items())}
    for key, tensor in definition.defaults.items():
        if key in inputs:
            proto = protos.TensorProto.FromString(tensor.SerializeToString())
            # One that cannot be read must not keep the whole model from being served.
            with contextlib.suppress(RequestError):
                inputs[key]["default"] = to_array(proto)
    return {
        "inputs": inputs,
        "outputs": {key: _tensor_info(info) for key, info in sorted(definition.outputs.items())},
        "method_name": definition.method_name,
    }


def _tensor_info(info: Any) -> dict[str, Any]:
    shape = info.tensor_shape
    found = {
        "dtype": dtype_name(info.dtype),
        "shape": None if shape.unknown_rank else [dim.size for dim in shape.dim],
        "name": info.name,
    }
    if info.WhichOneof("encoding") == "coo_sparse":
        parts = ("values_tensor_name", "indices_tensor_name", "dense_shape_tensor_name")
        found["sparse"] = {part: getattr(info.coo_sparse, part) for part in parts}
    return found
