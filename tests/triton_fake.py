"""Triton's Python backend in this process, for models that it is too large for.

``utils`` has the names of ``triton_python_backend_utils`` and of the classes that Triton's stub
adds to it once the model is imported. ``LocalTriton`` is what its core does around a model: it
reads the configuration, refuses requests that do not suit it, forms sequences, checks responses.
"""

import importlib.util
import json
import sys
from itertools import count
from types import ModuleType, SimpleNamespace

import numpy as np
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

NUMPY = {"FP32": np.float32, "FP64": np.float64, "INT32": np.int32, "INT64": np.int64,
         "BOOL": np.bool_, "UINT8": np.uint8, "STRING": np.object_}  # fmt: skip
START, END = 1, 2
numbers = count()


class Tensor:
    """Strings are bytes once they have been sent, whatever they were."""

    def __init__(self, name, array):
        if not isinstance(array, np.ndarray):
            raise TypeError("__init__(): incompatible constructor arguments")
        if array.dtype.kind in "OUS":
            sent = np.empty(array.shape, object)
            sent.flat = [x if isinstance(x, bytes) else str(x).encode() for x in array.flat]
            array = sent
        self._name, self._array = name, array

    def name(self):
        return self._name

    def as_numpy(self):
        return self._array


class TritonError:
    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG = range(4)
    UNAVAILABLE, UNSUPPORTED, ALREADY_EXISTS, CANCELLED = range(4, 8)

    def __init__(self, message, code=UNKNOWN):
        self._message, self._code = message, code

    def message(self):
        return self._message

    def code(self):
        return self._code


class InferenceResponse:
    def __init__(self, output_tensors=(), error=None):
        self._tensors, self._error = list(output_tensors), error

    def output_tensors(self):
        return self._tensors

    def has_error(self):
        return self._error is not None

    def error(self):
        return self._error


class InferenceRequest:
    def __init__(self, inputs, outputs, sequence=0, flags=0):
        self._inputs, self._outputs, self._sequence, self._flags = inputs, outputs, sequence, flags

    def inputs(self):
        return self._inputs

    def requested_output_names(self):
        return self._outputs

    def correlation_id(self):
        return self._sequence

    def flags(self):
        return self._flags


logged = []
utils = ModuleType("triton_python_backend_utils")
utils.get_input_tensor_by_name = lambda request, name: next(
    (tensor for tensor in request.inputs() if tensor.name() == name), None
)
ADDED = {
    "Tensor": Tensor,
    "TritonError": TritonError,
    "InferenceResponse": InferenceResponse,
    "InferenceRequest": InferenceRequest,
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_START": START,
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_END": END,
    "Logger": SimpleNamespace(log_error=logged.append),
}


def read_config(directory):
    """``config.pbtxt`` of a model's directory as Triton's own message."""
    text = (directory / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


class LocalTriton:
    """A model's directory, loaded as the stub does it."""

    def __init__(self, directory):
        (version,) = (path for path in directory.iterdir() if path.is_dir())
        self.config = read_config(directory)
        assert self.config.backend == "python"
        before = list(sys.path)
        sys.modules[utils.__name__] = utils
        try:
            spec = importlib.util.spec_from_file_location(
                f"triton_model_{next(numbers)}", version / "model.py"
            )
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        finally:
            sys.path[:] = before
        utils.__dict__.update(ADDED)
        self.model = module.TritonPythonModel()
        config = json_format.MessageToDict(
            self.config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        self.model.initialize({
            "model_config": json.dumps(config), "model_repository": str(directory),
            "model_version": version.name, "model_name": self.config.name,
            "model_instance_kind": "CPU", "model_instance_device_id": "0",
        })  # fmt: skip
        self.sequences = set()

    def close(self):
        self.model.finalize()

    def ask(self, arrays, **options):
        """The answer to one request, or its error."""
        return self.batch([(arrays, options)])[0]

    def batch(self, requests):
        """Answers to requests that one batch has: outputs as clients get them, or an error."""
        sent = [self._request(arrays, **options) for arrays, options in requests]
        taken = [request for request in sent if isinstance(request, InferenceRequest)]
        responses = self.model.execute(taken) if taken else []
        assert len(responses) == len(taken)
        found = iter(responses)
        return [
            self._answer(next(found), request) if isinstance(request, InferenceRequest) else request
            for request in sent
        ]

    def _request(self, arrays, outputs=None, sequence=0, start=False, end=False):
        inputs, known = [], {tensor.name: tensor for tensor in self.config.input}
        missing = {name for name, tensor in known.items() if not tensor.optional} - set(arrays)
        if missing or set(arrays) - set(known):
            return TritonError(f"inputs {sorted(arrays)}", TritonError.INVALID_ARG)
        for name, array in arrays.items():
            seen = self._inside(known[name], array)
            if seen is None:
                return TritonError(f"input {name!r} {array.shape}", TritonError.INVALID_ARG)
            inputs.append(Tensor(name, seen))
        if self.config.WhichOneof("scheduling_choice") == "sequence_batching":
            if not sequence or not (start or sequence in self.sequences):
                return TritonError("must specify the START flag", TritonError.INVALID_ARG)
            self.sequences.add(sequence)
            if end:
                self.sequences.discard(sequence)
        names = outputs or [tensor.name for tensor in self.config.output]
        return InferenceRequest(inputs, names, sequence, START * start + END * end)

    def _inside(self, tensor, array):
        """An array as the model sees it; None if it does not suit its place."""
        kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
        fits = array.dtype == NUMPY[kind] and array.ndim == 1 + len(tensor.dims) and all(
            want in (-1, size) for want, size in zip(tensor.dims, array.shape[1:], strict=True)
        ) and 1 <= len(array) <= self.config.max_batch_size  # fmt: skip
        if not fits:
            return None
        reshaped = tensor.HasField("reshape")
        return array.reshape(len(array), *tensor.reshape.shape) if reshaped else array

    def _answer(self, response, request):
        if response.has_error():
            return response.error()
        known, found = {tensor.name: tensor for tensor in self.config.output}, {}
        for given in response.output_tensors():
            tensor, array = known[given.name()], given.as_numpy()
            kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
            assert array.dtype == NUMPY[kind], (given.name(), array.dtype)
            if tensor.HasField("reshape"):
                assert array.ndim == 1 + len(tensor.reshape.shape)
                array = array.reshape(len(array), *tensor.dims)
            assert array.ndim == 1 + len(tensor.dims), (given.name(), array.shape)
            assert all(
                want in (-1, n) for want, n in zip(tensor.dims, array.shape[1:], strict=True)
            )
            found[given.name()] = array
        assert set(found) == set(request.requested_output_names())
        return found


def as_sent(request):
    """Request tensors with the shapes that Triton's clients send: [batch] is [batch, 1]."""
    return {n: x.reshape(-1, 1) if x.ndim < 2 else x for n, x in map(_array, request.items())}


def _array(item):
    name, array = item[0], np.asarray(item[1])
    if array.dtype.kind in "OUS":
        sent = np.empty(array.shape, object)
        sent.flat = [x if isinstance(x, bytes) else x.encode() for x in array.flat]
        array = sent
    return name, array


def assert_sent(answer, want):
    """An answer's arrays are those of the predictor, as Triton has them."""
    want = as_sent(want)
    assert answer.keys() == want.keys()
    for name, array in want.items():
        if array.dtype == object:
            assert answer[name].tolist() == array.tolist()
        else:
            np.testing.assert_allclose(answer[name], array, atol=1e-5)
