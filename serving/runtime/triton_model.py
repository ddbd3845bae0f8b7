"""A signature of a bundle as a model of Triton's Python backend. No TensorFlow.

Runs inside Triton's stub process, which alone has ``triton_python_backend_utils``; ``model.py`` in
the exported repository imports the class below.

Source: Triton Inference Server, Python backend, README: "Usage" and "Error Handling".
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from common.errors import SeqloomError
from pipelines.program import NEXT
from pipelines.ragged import Arrays
from serving.errors import RequestError
from serving.predictor import OnnxModel
from serving.runtime.batching import Batcher, BatchOptions
from serving.runtime.core_backends import ProgramRunner

# Codes that Triton has no name for become the one that its clients treat alike. Names here: the
# stub gives the module its classes only after it has imported the model.
CODES = {
    "INVALID_ARGUMENT": "INVALID_ARG",
    "OUT_OF_RANGE": "INVALID_ARG",
    "NOT_FOUND": "NOT_FOUND",
    "FAILED_PRECONDITION": "UNSUPPORTED",
    "RESOURCE_EXHAUSTED": "UNAVAILABLE",
    "UNAVAILABLE": "UNAVAILABLE",
}


class TritonPythonModel:
    """What Triton calls: ``initialize`` once, then ``execute`` with the requests of a batch.

    A model with ``sequence_batching`` in its configuration keeps the states of each sequence, by
    correlation id.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the signature that the configuration's parameter ``signature`` names.

        Args:
            args: Triton's: ``model_config`` as JSON, ``model_repository`` (the model's directory),
                ``model_version``.

        Raises:
            ServingError: a file is missing or cannot be loaded; Triton's log shows it.
        """
        config = json.loads(args["model_config"])
        parameters = {n: one["string_value"] for n, one in config["parameters"].items()}
        signature, threads = parameters["signature"], int(parameters["threads"])
        directory = Path(args["model_repository"]) / args["model_version"]
        program = OnnxModel(directory, threads, [signature]).programs[signature]
        self.runner = ProgramRunner(program)
        self.batcher = Batcher(BatchOptions(max_rows=max(1, config["max_batch_size"])))
        self.inputs = [n for n in program.signature["inputs"] if n not in program.states]
        batching = config.get("sequence_batching")
        idle = int(batching["max_sequence_idle_microseconds"]) / 1e6 if batching else 0.0
        self.sequences = OpenSequences(self.runner, idle) if batching else None

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response for each request; a bad request fails alone.

        Args:
            requests: Triton's ``InferenceRequest``s: of any lengths, of different sequences.
        """
        with self.batcher.together():
            found = [self._submitted(request) for request in requests]
        return [self._response(*pair) for pair in zip(requests, found, strict=True)]

    def finalize(self) -> None:
        """Ends the threads."""
        self.batcher.close()

    def _submitted(self, request: Any) -> Future | Exception:
        try:
            tensors = {n: pb_utils.get_input_tensor_by_name(request, n) for n in self.inputs}
            arrays = {n: tensor.as_numpy() for n, tensor in tensors.items() if tensor is not None}
            if self.sequences is not None:
                arrays |= self.sequences.before(request)
            return self.batcher.submit(self.runner, self.runner.encode(arrays))
        except Exception as error:  # noqa: BLE001  it is this request's, not the batch's
            return error

    def _response(self, request: Any, found: Future | Exception) -> Any:
        try:
            if isinstance(found, Exception):
                raise found
            outputs = self.runner.decode(found.result())
            if self.sequences is not None:
                self.sequences.after(request, outputs)
            wanted = set(request.requested_output_names())
            return pb_utils.InferenceResponse(
                [pb_utils.Tensor(n, _sendable(x)) for n, x in outputs.items() if n in wanted]
            )
        except Exception as error:  # noqa: BLE001  it is this request's, not the batch's
            return pb_utils.InferenceResponse(error=_triton_error(error))
        finally:
            if self.sequences is not None:
                self.sequences.ended(request)


class OpenSequences:
    """States of the open sequences, by correlation id.

    Args:
        runner: signature with states.
        idle_seconds: how long Triton keeps a sequence without requests.

    Attributes:
        open: when each was used last, by ``time.monotonic``, and its states; the one used longest
            ago is first.
    """

    def __init__(self, runner: ProgramRunner, idle_seconds: float) -> None:
        self.runner = runner
        # Longer than Triton, which does not say which one it drops, and whose clock runs otherwise.
        self.idle_seconds = 2 * idle_seconds
        self.open: dict[int | str, tuple[float, Arrays]] = {}

    def before(self, request: Any) -> Arrays:
        """The states that a step begins with: zeros if the request has the start flag.

        Raises:
            RequestError: no such sequence is open here.
        """
        self._expire()
        identity = request.correlation_id()
        if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START:
            self._keep(identity, self.runner.initial(1))
        if identity not in self.open:
            raise RequestError(
                f"sequence {identity} is not open: it was idle for too long, or the model was "
                "loaded again; begin it with the start flag",
                code="NOT_FOUND",
            )
        return self.open[identity][1]

    def after(self, request: Any, outputs: Arrays) -> None:
        """Takes the next states out of the outputs of a step; one that failed changes nothing."""
        # Copies: a slice of a batch would keep the whole batch in memory.
        states = {name: outputs.pop(f"{name}{NEXT}").copy() for name in self.runner.states}
        self._keep(request.correlation_id(), states)

    def ended(self, request: Any) -> None:
        """Forgets the sequence if the request has the end flag, answered or not."""
        if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END:
            self.open.pop(request.correlation_id(), None)

    def _keep(self, identity: int | str, states: Arrays) -> None:
        self.open.pop(identity, None)
        self.open[identity] = (time.monotonic(), states)

    def _expire(self) -> None:
        before = time.monotonic() - self.idle_seconds
        while self.open:
            first = next(iter(self.open))
            if self.open[first][0] >= before:
                return
            del self.open[first]


def _sendable(array: np.ndarray) -> np.ndarray:
    """An output as Triton takes it: text as bytes."""
    if array.dtype.kind not in "OU":
        return np.ascontiguousarray(array)
    found = np.empty(array.shape, object)
    found.flat = [x.encode("utf-8") if isinstance(x, str) else x for x in array.flat]
    return found


def _triton_error(error: Exception) -> Any:
    """One sentence for whoever sent the request; what nobody foresaw goes to the log as well."""
    kinds = pb_utils.TritonError
    if isinstance(error, RequestError):
        return kinds(error.message, getattr(kinds, CODES.get(error.code, "INTERNAL")))
    if isinstance(error, SeqloomError):
        return kinds(str(error), kinds.INVALID_ARG)
    pb_utils.Logger.log_error("".join(traceback.format_exception(error)))
    return kinds(f"{type(error).__name__}: {error}", kinds.INTERNAL)
