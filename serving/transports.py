"""The two transports of a client: JSON over HTTP, and gRPC."""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from google.protobuf import json_format

from serving import protos
from serving.client_generation import TextStream, grpc_events, rest_events
from serving.errors import HTTP_STATUS, RequestError, ServingError
from serving.json_arrays import from_json, to_json
from serving.tensors import dtype_name, fill_proto, to_array

Arrays = dict[str, np.ndarray]
# Certificate authority, and this client's certificate and key.
Files = tuple[Any, Any, Any]

# HTTP status to canonical code; of several codes, the one that servers mean most often.
_CODES = {status: code for code, status in reversed(HTTP_STATUS.items())}


class RestTransport:
    """HTTP/1.1 with a kept connection for each thread."""

    def __init__(
        self, client: Any, host: str, port: int, secure: bool, token: str | None, files: Files
    ) -> None:
        self._client, self._host, self._port = client, host, port
        self._context = _tls_context(files) if secure else None
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._kept = threading.local()
        self._dtypes: dict[str, dict[str, str]] = {}

    @property
    def _path(self) -> str:
        path = f"/v1/models/{quote(self._client.model, safe='')}"
        if self._client.version is not None:
            return f"{path}/versions/{self._client.version}"
        if self._client.label:
            return f"{path}/labels/{quote(self._client.label, safe='')}"
        return path

    def predict(self, arrays: Arrays, signature_name: str, left: float) -> Arrays:
        body = {"signature_name": signature_name, "inputs": to_json(arrays)}
        outputs = self._ask("POST", f"{self._path}:predict", body, left)["outputs"]
        return self._typed(outputs, signature_name, left)

    def _typed(self, outputs: Any, signature_name: str, left: float) -> Arrays:
        """JSON does not tell dtypes, and leaves out the name of an only output."""
        if signature_name not in self._dtypes:
            known = self.signatures(left).get(signature_name, {}).get("outputs", {})
            self._dtypes[signature_name] = {name: info["dtype"] for name, info in known.items()}
        dtypes = self._dtypes[signature_name]
        if len(dtypes) == 1:
            outputs = {next(iter(dtypes)): outputs}
        return {name: from_json(value, dtypes.get(name)) for name, value in outputs.items()}

    def signatures(self, left: float) -> dict[str, dict[str, Any]]:
        found = self._ask("GET", f"{self._path}/metadata", None, left)
        known = found["metadata"]["signature_def"]["signature_def"]
        return {
            name: {
                side: {
                    key: _info(value, side == "inputs" and definition.get("defaults", {}).get(key))
                    for key, value in definition[side].items()
                }
                for side in ("inputs", "outputs")
            }
            for name, definition in known.items()
            if not name.startswith("__saved_model")
        }

    def status(self, left: float) -> dict[int, str]:
        path = (
            self._path if self._client.version is not None else self._path.partition("/labels")[0]
        )
        found = self._ask("GET", path, None, left)
        return {int(one["version"]): one["state"] for one in found["model_version_status"]}

    def open(self, left: float) -> str:
        return self._ask("POST", f"{self._path}:open", {}, left)["stream"]

    def step(self, identity: str, arrays: Arrays, left: float) -> Arrays:
        path = f"/v1/streams/{identity}:step"
        outputs = self._ask("POST", path, {"inputs": to_json(arrays)}, left)["outputs"]
        if "step" not in self._dtypes:
            known = self.signatures(left)["step"]
            self._dtypes["step"] = {
                name: info["dtype"]
                for name, info in known["outputs"].items()
                if name.removesuffix("_next") not in known["inputs"]
            }
        return self._typed(outputs, "step", left)

    def end(self, identity: str, left: float) -> int:
        return self._ask("POST", f"/v1/streams/{identity}:close", {}, left)["steps"]

    def generate(self, arrays: Arrays, left: float) -> TextStream:
        """On a connection of its own, which the server sees broken when the client hangs up."""
        body = json.dumps({"inputs": to_json(arrays), "stream": True}).encode()
        connection = self._connect()
        connection.timeout = left
        try:
            connection.request("POST", f"{self._path}:generate", body, self._headers)
            reply = connection.getresponse()
            if reply.status != 200:
                raise _refusal(reply.status, reply.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._broken(error, left) from error
        except BaseException:
            connection.close()
            raise

        def lines() -> Iterator[bytes]:
            try:
                while line := reply.readline():
                    yield line
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._broken(error, left) from error

        return TextStream(rest_events(lines()), connection.close)

    def _broken(self, error: Exception, left: float) -> RequestError:
        if isinstance(error, TimeoutError):
            return RequestError(f"no answer within {left:g} s", code="DEADLINE_EXCEEDED")
        where = f"{self._host}:{self._port}"
        return RequestError(f"{where} does not answer: {error}", code="UNAVAILABLE")

    def _ask(self, method: str, path: str, body: Any, left: float) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        try:
            status, text = self._exchange(method, path, sent, left)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error, left) from error
        found = _parsed(status, text)
        if status == 200 and "error" not in found:
            return found
        raise _refusal(status, text)

    def _exchange(
        self, method: str, path: str, body: bytes | None, left: float
    ) -> tuple[int, bytes]:
        """One request on this thread's connection; a new one if the server has closed it."""
        for fresh in (False, True):
            kept = None if fresh else getattr(self._kept, "connection", None)
            connection = kept or self._connect()
            connection.timeout = left
            if connection.sock is not None:
                connection.sock.settimeout(left)
            try:
                connection.request(method, path, body, self._headers)
                reply = connection.getresponse()
                text = reply.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()
                self._kept.connection = None
                # A kept connection that the server closed while idle has answered nothing.
                if kept is None or "/streams/" in path:
                    raise
                continue
            except BaseException:
                connection.close()
                self._kept.connection = None
                raise
            self._kept.connection = connection
            return reply.status, text
        raise AssertionError("a fresh connection answers or raises")

    def _connect(self) -> http.client.HTTPConnection:
        if self._context is not None:
            return http.client.HTTPSConnection(self._host, self._port, context=self._context)
        return http.client.HTTPConnection(self._host, self._port)

    def close(self) -> None:
        if (connection := getattr(self._kept, "connection", None)) is not None:
            connection.close()


class GrpcTransport:
    """One channel, which reconnects by itself."""

    def __init__(
        self, client: Any, host: str, port: int, secure: bool, token: str | None, files: Files
    ) -> None:
        try:
            import grpc
        except ImportError as error:
            raise ServingError("grpc:// needs grpcio: pip install grpcio") from error
        self._grpc, self._client = grpc, client
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if secure:
            ca, cert, key = (Path(file).read_bytes() if file else None for file in files)
            credentials = grpc.ssl_channel_credentials(ca, key, cert)
            self._channel = grpc.secure_channel(where, credentials, options)
        else:
            self._channel = grpc.insecure_channel(where, options)
        self._metadata = [("authorization", f"Bearer {token}")] if token else None

    def predict(self, arrays: Arrays, signature_name: str, left: float) -> Arrays:
        request = protos.PredictRequest()
        self._spec(request.model_spec).signature_name = signature_name
        return self._run(
            "tensorflow.serving.PredictionService/Predict", request, request, arrays, left
        )

    def _run(self, method: str, sent: Any, request: Any, arrays: Arrays, left: float) -> Arrays:
        for name, array in arrays.items():
            fill_proto(request.inputs[name], array, as_content=array.dtype != object)
        reply = self._call(method, sent, protos.PredictResponse, left)
        return {name: to_array(proto) for name, proto in reply.outputs.items()}

    def signatures(self, left: float) -> dict[str, dict[str, Any]]:
        request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._spec(request.model_spec)
        reply = self._call(
            "tensorflow.serving.PredictionService/GetModelMetadata", request,
            protos.GetModelMetadataResponse, left,
        )  # fmt: skip
        known = protos.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(known)
        return {
            name: {
                side: {
                    key: {
                        "dtype": dtype_name(info.dtype),
                        "shape": None if info.tensor_shape.unknown_rank
                        else [dim.size for dim in info.tensor_shape.dim],
                        **(_default(definition.defaults[key])
                           if side == "inputs" and key in definition.defaults else {}),
                    }
                    for key, info in getattr(definition, side).items()
                }
                for side in ("inputs", "outputs")
            }
            for name, definition in known.signature_def.items()
            if not name.startswith("__saved_model")
        }  # fmt: skip

    def status(self, left: float) -> dict[int, str]:
        request = protos.GetModelStatusRequest()
        self._spec(request.model_spec)
        reply = self._call(
            "tensorflow.serving.ModelService/GetModelStatus", request,
            protos.GetModelStatusResponse, left,
        )  # fmt: skip
        states = protos.ModelVersionStatus.DESCRIPTOR.enum_types_by_name["State"]
        return {
            one.version: states.values_by_number[one.state].name
            for one in reply.model_version_status
        }

    def open(self, left: float) -> str:
        request = protos.OpenRequest()
        self._spec(request.model_spec)
        return self._call("seqloom.StreamService/Open", request, protos.OpenResponse, left).session

    def step(self, identity: str, arrays: Arrays, left: float) -> Arrays:
        sent = protos.StepRequest(session=identity)
        return self._run("seqloom.StreamService/Step", sent, sent.request, arrays, left)

    def end(self, identity: str, left: float) -> int:
        request = protos.CloseRequest(session=identity)
        return self._call("seqloom.StreamService/Close", request, protos.CloseResponse, left).steps

    def generate(self, arrays: Arrays, left: float) -> TextStream:
        request = protos.PredictRequest()
        self._spec(request.model_spec)
        for name, array in arrays.items():
            fill_proto(request.inputs[name], array, as_content=array.dtype != object)
        call = self._channel.unary_stream(
            "/seqloom.StreamService/Generate", protos.PredictRequest.SerializeToString,
            protos.GenerateResponse.FromString,
        )(request, metadata=self._metadata)  # fmt: skip

        def messages() -> Iterator[Any]:
            try:
                yield from call
            except self._grpc.RpcError as error:
                raise self._refused(error) from error

        waiting = messages()
        # The first message tells whether the request was taken; only so far it may be repeated.
        begun = [one for _, one in zip(range(1), waiting, strict=False)]
        return TextStream(grpc_events(itertools.chain(begun, waiting)), call.cancel)

    def _spec(self, spec: Any) -> Any:
        spec.name = self._client.model
        if self._client.version is not None:
            spec.version.value = int(self._client.version)
        elif self._client.label:
            spec.version_label = self._client.label
        return spec

    def _call(self, method: str, request: Any, reply: Any, left: float) -> Any:
        call = self._channel.unary_unary(
            f"/{method}", type(request).SerializeToString, reply.FromString
        )
        try:
            return call(request, timeout=left, metadata=self._metadata)
        except self._grpc.RpcError as error:
            raise self._refused(error) from error

    def _refused(self, error: Any) -> RequestError:
        code = error.code().name
        known = code if code in HTTP_STATUS else "UNKNOWN"
        if known == "CANCELLED":  # not by us: by a server that was just ending
            known = "UNAVAILABLE"
        return RequestError(error.details() or known, code=known)

    def close(self) -> None:
        self._channel.close()


def _parsed(status: int, text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"error": f"HTTP {status}: {text[:200].decode('utf-8', 'replace')}"}


def _refusal(status: int, text: bytes) -> RequestError:
    found = _parsed(status, text)
    code = _CODES.get(status, "UNKNOWN")
    return RequestError(str(found.get("error", f"HTTP {status}")), code=code)


def _tls_context(files: tuple[Any, Any, Any]) -> ssl.SSLContext:
    ca, cert, key = files
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    if cert:
        context.load_cert_chain(cert, key)
    return context


def _info(value: Mapping[str, Any], default: Any) -> dict[str, Any]:
    """A TensorInfo in JSON as a dtype and a shape, and the default where there is one."""
    shape = value.get("tensor_shape", {})
    dims = [int(dim["size"]) for dim in shape.get("dim", [])]
    found = {
        "dtype": dtype_name(value["dtype"]),
        "shape": None if shape.get("unknown_rank") else dims,
    }
    if default:
        proto = json_format.ParseDict(default, protos.TensorProto(), ignore_unknown_fields=True)
        found.update(_default(proto))
    return found


def _default(proto: Any) -> dict[str, np.ndarray]:
    """The default of an input; nothing where it is of a type that this client cannot hold."""
    try:
        return {"default": to_array(proto)}
    except RequestError:
        return {}
