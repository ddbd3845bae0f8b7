"""Any SavedModel, run as TensorFlow Serving runs it: in a TF1-style session.

TensorFlow Serving runs SavedModels in a DirectSession. Doing the same gives the same error texts
and per-call timeouts; `tf.saved_model.load().signatures` gives neither.
"""

import logging
from pathlib import Path

import numpy as np

from serving.backends import DEFAULT_SIGNATURE, check_inputs
from serving.errors import HTTP_STATUS, RequestError, ServingError

# HTTP_STATUS lists the canonical codes in numeric order.
_CODES = dict(enumerate(HTTP_STATUS))
_NOTHING = {"inputs": {}, "outputs": {}}


class SavedModelBackend:
    """A SavedModel with tag `serve`; see `serving.backends.Backend`."""

    def __init__(
        self,
        path: str | Path,
        name: str = "default",
        version: int = 1,
        timeout_ms: int = 30_000,
    ) -> None:
        """Loads the model and runs its initialisers.

        Args:
            path: Directory that holds `saved_model.pb`.
            name: Name in URLs.
            version: Version in URLs.
            timeout_ms: Longest run of one request, TensorFlow Serving's
                `--rest_api_timeout_in_ms`; beyond it DEADLINE_EXCEEDED. 0: no limit.

        Raises:
            ServingError: TensorFlow cannot load it, or cannot be imported.
        """
        try:
            import tensorflow as tf
        except ImportError as error:
            raise ServingError(
                f"{path} needs TensorFlow, which is not installed: install seqloom with it, or "
                "export with `--format onnx` and serve with `--backend onnx`."
            ) from error
        self.name, self.version = name, version
        self._error = tf.errors.OpError
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            meta_graph = self._load(tf, Path(path))
        except (tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ServingError(
                f"{path} cannot be loaded as a SavedModel ({reason}); export it anew."
            ) from error
        self.signatures = {
            key: {
                "inputs": {k: _tensor_info(tf, v) for k, v in sorted(definition.inputs.items())},
                "outputs": {k: _tensor_info(tf, v) for k, v in sorted(definition.outputs.items())},
                "method_name": definition.method_name,
            }
            for key, definition in sorted(meta_graph.signature_def.items())
        }
        self.signature = self.signatures.get(DEFAULT_SIGNATURE, _NOTHING)
        self._prepare_run(tf, timeout_ms)

    def _load(self, tf, path: Path):
        """The MetaGraphDef, loaded into the session's graph."""
        logger = tf.get_logger()
        level = logger.level
        logger.setLevel(logging.ERROR)  # the loader announces that it is deprecated
        try:
            with self._session.graph.as_default():
                return tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        finally:
            logger.setLevel(level)

    def _prepare_run(self, tf, timeout_ms: int) -> None:
        """Binds the private call that skips Session.run's own checks, or the public one.

        Session.run checks dtypes and shapes in Python, in words that TensorFlow Serving does not
        use, and takes half as long again. A test fails loudly should the private call go away.
        """
        options = tf.compat.v1.RunOptions(timeout_in_ms=timeout_ms)
        try:
            from tensorflow.python.client import pywrap_tf_session

            self._session._extend_graph()
            self._options = pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
            self.is_direct = callable(self._session._call_tf_sessionrun)
        except (ImportError, AttributeError):
            self._options, self.is_direct = options, False

    def run(
        self, inputs: dict[str, np.ndarray], signature_name: str = DEFAULT_SIGNATURE
    ) -> dict[str, np.ndarray]:
        """See `Backend.run`; errors are the session's own, timeouts DEADLINE_EXCEEDED."""
        signature = self.signatures[signature_name]
        check_inputs(signature["inputs"], inputs)
        feeds = {signature["inputs"][name]["name"]: array for name, array in inputs.items()}
        fetches = [info["name"] for info in signature["outputs"].values()]
        try:
            if self.is_direct:
                arrays = self._session._call_tf_sessionrun(
                    self._options,
                    {self._tensor(name)._as_tf_output(): array for name, array in feeds.items()},
                    [self._tensor(name)._as_tf_output() for name in fetches],
                    [],
                    None,
                )
            else:
                arrays = self._session.run(fetches, feeds, options=self._options)
        except self._error as error:
            raise RequestError(error.message, code=_CODES[error.error_code]) from error
        except (ValueError, TypeError) as error:
            raise RequestError(str(error)) from error
        return {
            name: np.asarray(array)
            for name, array in zip(signature["outputs"], arrays, strict=True)
        }

    def _tensor(self, name: str):
        return self._session.graph.get_tensor_by_name(name)

    def close(self) -> None:
        """Frees the session; `run` fails afterwards."""
        self._session.close()


def _tensor_info(tf, info) -> dict:
    """A TensorInfo proto as a signature's entry."""
    dtype = "invalid" if info.dtype == 0 else tf.dtypes.as_dtype(info.dtype).name
    shape = info.tensor_shape
    return {
        "dtype": dtype,
        "shape": None if shape.unknown_rank else [dim.size for dim in shape.dim],
        "name": info.name,
    }
