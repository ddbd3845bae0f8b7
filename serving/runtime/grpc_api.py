"""TensorFlow Serving's gRPC services, streams, and the standard health service.

Codes and messages are those of its predict_util.cc, classifier.cc, get_model_metadata_impl.cc and
get_model_status_impl.cc.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from serving import protos
from serving.errors import RequestError
from serving.runtime.batching import timed_out
from serving.runtime.config_files import models_of
from serving.runtime.grpc_generate import send_generated
from serving.runtime.grpc_status import CODES
from serving.runtime.inference import classifications, examples_of, regressions
from serving.runtime.rest_api import check_token
from serving.runtime.runtime import Runtime, generating, selected
from serving.runtime.servables import Servable
from serving.runtime.signatures import (
    CLASSIFY_METHOD,
    DEFAULT_SIGNATURE,
    GENERATE_SIGNATURE,
    REGRESS_METHOD,
    signature_defs,
)
from serving.tensors import fill_proto, to_array

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
# A field of metadata that is this server's own: a Struct, as REST's metadata has it.
LABELS_FIELD = "output_labels"
COUNTED = ("Predict", "Classify", "Regress", "Generate")  # calls that ask a model
STREAM, HEALTH = "seqloom.StreamService", "grpc.health.v1.Health"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GrpcOptions:
    """Services of the gRPC port, and who may call them.

    Attributes:
        health: whether there is a health service.
        as_content: outputs in ``tensor_content`` instead of typed fields, which is faster.
        token: requests must carry it, unless it is None.
    """

    health: bool = True
    as_content: bool = False
    token: str | None = field(default=None, repr=False)


class GrpcApi:
    """Answers gRPC calls.

    Args:
        runtime: runs the models.
        options: services and tokens.
    """

    def __init__(self, runtime: Runtime, options: GrpcOptions | None = None) -> None:
        self._runtime, self._options = runtime, options or GrpcOptions()
        # False while the server drains: calls under way go on, new ones are refused in words that
        # make clients ask elsewhere. gRPC's own end would say CANCELLED to some.
        self.serving = True

    def calls(self) -> dict[bytes, Callable[[bytes, Any], Awaitable[bytes | None]]]:
        """The calls by path: from the message and a ``serving.runtime.grpc_server.Call`` to the
        answer's message, or to nothing where all are written already.

        They raise a RequestError.
        """
        services: dict[str, dict[str, tuple[str, Any]]] = {
            PREDICTION: {
                "Predict": ("PredictRequest", self._predict),
                "Classify": ("ClassificationRequest", self._classify),
                "Regress": ("RegressionRequest", self._regress),
                "MultiInference": ("MultiInferenceRequest", self._multi_inference),
                "GetModelMetadata": ("GetModelMetadataRequest", self._metadata),
            },
            MODEL: {
                "GetModelStatus": ("GetModelStatusRequest", self._status),
                "HandleReloadConfigRequest": ("ReloadConfigRequest", self._reload),
            },
            STREAM: {
                "Open": ("OpenRequest", self._open),
                "Step": ("StepRequest", self._step),
                "Close": ("CloseRequest", self._close),
            },
        }
        if self._options.health:
            services[HEALTH] = {"Check": ("HealthCheckRequest", self._health)}
        found: dict[bytes, Any] = {
            f"/{service}/{name}".encode(): self._method(name, message, answer)
            for service, methods in services.items()
            for name, (message, answer) in methods.items()
        }
        generate = self._counted("Generate", "PredictRequest", self._generate)
        return {**found, f"/{STREAM}/Generate".encode(): generate}

    def _method(
        self, api: str, message: str, answer: Callable[[Any, float | None], Awaitable[Any]]
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """A call, bytes to bytes, around one that takes and gives messages."""

        async def whole(request: Any, context: Any) -> bytes:
            return (await answer(request, context.deadline)).SerializeToString()

        return self._counted(api, message, whole)

    def _counted(
        self, api: str, message: str, answer: Callable[[Any, Any], Awaitable[Any]]
    ) -> Callable[[bytes, Any], Awaitable[Any]]:
        """A call of bytes around one that takes a message; counted if it asks a model."""
        kind = getattr(protos, message)

        async def call(body: bytes, context: Any) -> Any:
            began, request, status = time.perf_counter(), None, "OK"
            try:
                request = self._read(kind, body, context, always=api == "Check")
                return await answer(request, context)
            except RequestError as error:
                status = error.code
                raise
            except Exception:
                status = "INTERNAL"
                raise
            finally:
                if api in COUNTED:
                    name = "" if request is None else request.model_spec.name
                    self._runtime.count_request(
                        name, api, "GRPC", status, time.perf_counter() - began
                    )

        return call

    def _read(self, kind: Any, body: bytes, context: Any, always: bool = False) -> Any:
        """The message of a call; ``always``: while the server drains, too."""
        if self._options.token is not None:
            sent = context.metadata.get(b"authorization", b"")
            check_token(sent.decode("latin-1"), self._options.token)
        if not self.serving and not always:
            raise RequestError("The server is shutting down.", code="UNAVAILABLE")
        try:
            return kind.FromString(body)
        except DecodeError:
            raise RequestError(f"The request is no {kind.DESCRIPTOR.name}.") from None

    def _use(self, spec: Any) -> Any:
        """The servable that a ``ModelSpec`` names."""
        return self._runtime.manager.use(*_target(spec))

    def _spec(self, spec: Any, servable: Servable, signature_name: str = "") -> None:
        spec.name, spec.signature_name = servable.name, signature_name
        spec.version.value = servable.version

    # --- PredictionService ---------------------------------------------------------------------

    async def _predict(self, request: Any, deadline: float | None) -> Any:
        if not request.HasField("model_spec"):
            raise RequestError("Missing ModelSpec")
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        with self._use(request.model_spec) as servable:
            runner = servable.backend.runners.get(name)
            if runner is None:
                raise RequestError(
                    f'Serving signature key "{name}" not found.', code="FAILED_PRECONDITION"
                )
            # Before the model is run: an unknown output must not cost anything.
            selected(runner.signature["outputs"], list(request.output_filter))
            runner = runner.only(request.output_filter)
            outputs = await self._runtime.run(servable, runner, self._inputs(request), deadline)
            response = protos.PredictResponse()
            self._spec(response.model_spec, servable, name)
        for key, array in selected(outputs, list(request.output_filter)).items():
            fill_proto(response.outputs[key], array, self._options.as_content)
        return response

    def _inputs(self, request: Any) -> dict[str, Any]:
        limit = self._runtime.limits.max_elements
        return {name: to_array(proto, limit) for name, proto in request.inputs.items()}

    async def _classify(self, request: Any, deadline: float | None) -> Any:
        response = protos.ClassificationResponse()
        await self._infer(
            request.model_spec, request.input, CLASSIFY_METHOD, deadline, response.model_spec,
            response.result,
        )  # fmt: skip
        return response

    async def _regress(self, request: Any, deadline: float | None) -> Any:
        response = protos.RegressionResponse()
        await self._infer(
            request.model_spec, request.input, REGRESS_METHOD, deadline, response.model_spec,
            response.result,
        )  # fmt: skip
        return response

    async def _infer(
        self,
        spec: Any,
        given: Any,
        method: str,
        deadline: float | None,
        model_spec: Any,
        result: Any,
    ) -> None:
        """Classifies or regresses, into the fields of a response."""
        _check_named(spec)
        with self._use(spec) as servable:
            name = spec.signature_name or DEFAULT_SIGNATURE
            examples = examples_of(given)
            outputs = await self._runtime.infer(servable, name, method, examples, deadline)
            self._spec(model_spec, servable, name)
        if method == REGRESS_METHOD:
            for value in regressions(outputs, len(examples)):
                result.regressions.add().value = value
            return
        for row in classifications(outputs, len(examples)):
            classes = result.classifications.add().classes
            for label, score in row:
                text = label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
                classes.add(label=text, score=score)

    async def _multi_inference(self, request: Any, deadline: float | None) -> Any:
        response, seen = protos.MultiInferenceResponse(), set()
        if not request.tasks:
            raise RequestError("Inference request must contain at least one task.")
        for task in request.tasks:
            _check_named(task.model_spec)
            if task.model_spec.name != request.tasks[0].model_spec.name:
                raise RequestError(
                    "All ModelSpecs in a MultiInferenceRequest must access the same model name."
                )
            name = task.model_spec.signature_name or DEFAULT_SIGNATURE
            if name in seen:
                raise RequestError(f"Duplicate evaluation of signature: {name}")
            seen.add(name)
            if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
                raise RequestError(
                    f"Unsupported signature method_name: {task.method_name}", code="UNIMPLEMENTED"
                )
            with self._use(task.model_spec) as servable:
                if name not in servable.backend.runners:
                    raise RequestError(f"Requested signature not found in model graph: {name}")
            result = response.results.add()
            kind = "classification" if task.method_name == CLASSIFY_METHOD else "regression"
            part = getattr(result, f"{kind}_result")
            part.SetInParent()
            await self._infer(
                task.model_spec, request.input, task.method_name, deadline, result.model_spec, part
            )
        return response

    async def _metadata(self, request: Any, deadline: float | None) -> Any:
        if not request.HasField("model_spec"):
            raise RequestError("Missing ModelSpec")
        if not request.metadata_field:
            raise RequestError("GetModelMetadataRequest must specify at least one metadata_field")
        for wanted in request.metadata_field:
            if wanted not in ("signature_def", LABELS_FIELD):
                raise RequestError(f"Metadata field {wanted} is not supported")
        response, signatures = protos.GetModelMetadataResponse(), protos.SignatureDefMap()
        with self._use(request.model_spec) as servable:
            self._spec(response.model_spec, servable)
            known, labels = signature_defs(servable.backend.signatures), servable.backend.labels
        if "signature_def" in request.metadata_field:
            json_format.ParseDict({"signature_def": known}, signatures)
            response.metadata["signature_def"].Pack(signatures)
        if LABELS_FIELD in request.metadata_field:
            response.metadata[LABELS_FIELD].Pack(json_format.ParseDict(labels, Struct()))
        return response

    # --- ModelService --------------------------------------------------------------------------

    async def _status(self, request: Any, deadline: float | None) -> Any:
        if not request.HasField("model_spec"):
            raise RequestError("Missing ModelSpec")
        # A label is not looked at here: all versions come back.
        name, version, _ = _target(request.model_spec)
        response = protos.GetModelStatusResponse()
        for servable in self._runtime.manager.versions(name, version):
            one = response.model_version_status.add()
            one.version, one.state = servable.version, int(servable.state)
            one.status.error_code = CODES[servable.error[0]]
            one.status.error_message = servable.error[1]
        return response

    async def _reload(self, request: Any, deadline: float | None) -> Any:
        response = protos.ReloadConfigResponse()
        before = {name: self._runtime.metrics.value(name) for name in request.metric_names}
        if request.config.WhichOneof("config") == "custom_model_config":
            raise RequestError("Custom model configs are not served here.", code="UNIMPLEMENTED")
        models = models_of(request.config, self._runtime.manager.settings)
        # In a thread: loading may take long, and the event loop answers others meanwhile.
        missing = await asyncio.to_thread(self._runtime.manager.replace, models)
        await self._available(missing, deadline)
        response.status.SetInParent()
        for name, value in before.items():
            grown = self._runtime.metrics.value(name) - value
            response.metric.add(name=name, int64_value_increase=grown)
        return response

    async def _available(self, models: Any, deadline: float | None) -> None:
        """Waits until all models that a reload brought have a version, as long as the client does.

        Raises:
            RequestError: DEADLINE_EXCEEDED; a model failed; the server or the client ends.
        """
        manager = self._runtime.manager
        pause = max(0.05, min(manager.watching.poll_seconds, 1.0))
        while models:
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise timed_out()
            if not self.serving:
                raise RequestError("The server is shutting down.", code="UNAVAILABLE")
            await asyncio.sleep(min(pause, left))
            await asyncio.to_thread(manager.look)
            models = await asyncio.to_thread(manager.missing, models)

    # --- streams -------------------------------------------------------------------------------

    async def _open(self, request: Any, deadline: float | None) -> Any:
        with self._use(request.model_spec) as servable:
            response = protos.OpenResponse(session=self._runtime.sessions.open(servable))
            self._spec(response.model_spec, servable)
        response.idle_seconds = self._runtime.sessions.limits.idle_seconds
        return response

    async def _step(self, request: Any, deadline: float | None) -> Any:
        sessions, asked = self._runtime.sessions, request.request
        session = sessions.find(request.session)
        with self._runtime.manager.use(session.name, session.version) as servable:
            inputs = self._inputs(asked)
            outputs = await sessions.step(session, servable, inputs, deadline)
            response = protos.PredictResponse()
            self._spec(response.model_spec, servable)
        for key, array in selected(outputs, list(asked.output_filter)).items():
            fill_proto(response.outputs[key], array, self._options.as_content)
        return response

    async def _close(self, request: Any, deadline: float | None) -> Any:
        return protos.CloseResponse(steps=self._runtime.sessions.close(request.session))

    async def _generate(self, request: Any, context: Any) -> None:
        try:
            with self._use(request.model_spec) as servable:
                runner = generating(servable, request.model_spec.signature_name)
                writing = await self._runtime.write(servable, runner, self._inputs(request))
                first = protos.GenerateResponse()
                self._spec(first.model_spec, servable, GENERATE_SIGNATURE)
                left = context.deadline and context.deadline - time.monotonic()
                await asyncio.wait_for(send_generated(writing, runner, context, first), left)
        except asyncio.TimeoutError:
            raise timed_out() from None

    # --- health --------------------------------------------------------------------------------

    async def _health(self, request: Any, deadline: float | None) -> Any:
        known = ("", "ModelService", "PredictionService", PREDICTION, MODEL)
        if request.service not in known:
            raise RequestError("unknown service", code="NOT_FOUND")
        return protos.HealthCheckResponse(status=1 if self.serving else 2)


def _target(spec: Any) -> tuple[str, int | None, str | None]:
    """Name, version and label of a ``ModelSpec``; a version of 0 is version 0, not the latest.

    Raises:
        RequestError: it names no model.
    """
    _check_named(spec)
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return spec.name, version, spec.version_label if choice == "version_label" else None


def _check_named(spec: Any) -> None:
    if not spec.name:
        raise RequestError("ModelSpec has no name specified.")
