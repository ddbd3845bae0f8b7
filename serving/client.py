"""A client of TensorFlow Serving's API, REST or gRPC: for this server and for the real one.

    client = Client("http://localhost:8501", model="sentiment")
    client.predict({"text": ["a fine film"]})["label"]

NumPy in and out. Neither TensorFlow nor its protobuf messages are needed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, overload
from urllib.parse import urlsplit

import numpy as np

from pipelines.program import setting_array
from pipelines.writing import SEPARATOR
from serving.client_generation import TextStream
from serving.errors import RequestError, ServingError
from serving.runtime.signatures import DEFAULT_SIGNATURE, GENERATE_SIGNATURE
from serving.transports import GrpcTransport, RestTransport

Arrays = dict[str, np.ndarray]

_RETRIED = ("UNAVAILABLE",)


class Client:
    """Asks one model at one server; may be used by many threads at once.

    Args:
        url: ``http://host:8501``, ``https://...``, ``grpc://host:8500`` or ``grpcs://...``; a path
            ``/v1/models/NAME[/versions/N|/labels/L]`` may follow and say the rest.
        model: the model's name.
        version: the version's number; the newest if None.
        label: a version's label, instead of its number.
        token: sent as ``Authorization: Bearer``.
        timeout: seconds for one request with its retries.
        retries: how often a request is tried again after UNAVAILABLE or a refused connection.
        ca: PEM file of the authority that signed the server's certificate.
        cert: PEM file of this client's own certificate, where the server asks for one.
        key: private key of that certificate.

    Raises:
        ServingError: the URL is not one of these.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        *,
        token: str | None = None,
        timeout: float = 60.0,
        retries: int = 4,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
    ) -> None:
        parts = urlsplit(url)
        if "://" not in url:
            raise ServingError(f"{url} is no URL; write http://{url}, or grpc://{url} for gRPC")
        named = _named(parts.path)
        self.model = model or named.get("models") or ""
        self.version = version if version is not None else named.get("versions")
        self.label = label or named.get("labels")
        if not self.model:
            raise ServingError(f"{url} names no model; give one, or .../v1/models/NAME")
        self.timeout, self.retries = timeout, retries
        self._settings: dict[str, str] = {}  # dtype of each input of `generate`
        secure = parts.scheme in ("https", "grpcs")
        if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
            raise ServingError(f"{url} is no URL such as http://host:8501 or grpc://host:8500")
        files = (ca, cert, key)
        if parts.scheme.startswith("http"):
            port = parts.port or (443 if secure else 8501)
            self._transport: Any = RestTransport(self, parts.hostname, port, secure, token, files)
        else:
            self._transport = GrpcTransport(
                self, parts.hostname, parts.port or 8500, secure, token, files
            )

    def predict(self, inputs: Mapping[str, Any], signature_name: str = DEFAULT_SIGNATURE) -> Arrays:
        """Outputs of one request.

        Args:
            inputs: arrays, or nested lists, by name; texts as str or bytes.
            signature_name: name of the signature.

        Returns:
            Arrays by name; texts as object arrays of bytes.

        Raises:
            RequestError: what the server answered, or UNAVAILABLE, or DEADLINE_EXCEEDED.
        """
        arrays = {name: _array(value) for name, value in inputs.items()}
        return self._retried(lambda left: self._transport.predict(arrays, signature_name, left))

    @overload
    def generate(
        self, text: str | Sequence[str], *, stream: Literal[True], **settings: Any
    ) -> TextStream: ...

    @overload
    def generate(
        self, text: str | Sequence[str], *, stream: Literal[False] = False, **settings: Any
    ) -> Arrays: ...

    def generate(
        self, text: str | Sequence[str], *, stream: bool = False, **settings: Any
    ) -> Arrays | TextStream:
        """Continues one text or several; a model with a signature ``generate``.

        Args:
            text: what is continued.
            stream: whether pieces are given as they are written; only this project's server does.
            settings: inputs of the signature that have a default, such as ``temperature=0.7``, one
                value or one for each text; ``stop`` is a string, or a list of them for all texts.

        Returns:
            Outputs as ``predict`` has them; or an iterator of ``Piece``s, which ends a stream that
            is closed before its end.

        Raises:
            RequestError: as ``predict``.
        """
        if not isinstance(settings.get("stop", ""), str):
            settings["stop"] = SEPARATOR.join(settings["stop"])
        texts = [text] if isinstance(text, str) else list(text)
        arrays = {"text": np.array(texts, object)}
        if settings and not self._settings:
            known = self.signatures().get(GENERATE_SIGNATURE, {"inputs": {}})["inputs"]
            self._settings = {n: info["dtype"] for n, info in known.items() if "default" in info}
        for name, value in settings.items():
            values = [value] if isinstance(value, str) or not np.ndim(value) else value
            arrays[name] = _setting(name, values, self._settings)
        if not stream:
            return self.predict(arrays, GENERATE_SIGNATURE)
        return self._retried(lambda left: self._transport.generate(arrays, left))

    def signatures(self) -> dict[str, dict[str, Any]]:
        """Dtypes and shapes of inputs and outputs: ``{name: {"inputs": {...}, "outputs": ...}}``.

        An input that may be left out has its ``default``, an array, too.

        Raises:
            RequestError: as ``predict``.
        """
        return self._retried(self._transport.signatures)

    def status(self) -> dict[int, str]:
        """State of each version, such as "AVAILABLE".

        Raises:
            RequestError: as ``predict``.
        """
        return self._retried(self._transport.status)

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Returns once a version answers.

        Raises:
            ServingError: none does in time.
        """
        until, last = time.monotonic() + seconds, "no answer"
        while time.monotonic() < until:
            try:
                states = self._transport.status(min(5.0, seconds))
            except RequestError as error:
                last = error.message
            else:
                if "AVAILABLE" in states.values():
                    return
                last = f"versions are {states}"
            time.sleep(0.1)
        raise ServingError(f"{self.model} was not ready within {seconds:g} s: {last}")

    def open(self) -> ClientStream:
        """A stream of rows to a model with steps; only this project's server has them.

        Raises:
            RequestError: as ``predict``.
        """
        return ClientStream(self._transport, self._retried(self._transport.open), self.timeout)

    def close(self) -> None:
        """Ends the connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _retried(self, call: Callable[[float], Any]) -> Any:
        until = time.monotonic() + self.timeout
        for attempt in range(self.retries + 1):
            left = until - time.monotonic()
            try:
                return call(max(0.001, left))
            except RequestError as error:
                # Full jitter: clients that failed together do not come back together.
                pause = random.uniform(0, min(5.0, 0.1 * 2**attempt))
                over = attempt == self.retries or pause > until - time.monotonic()
                if error.code not in _RETRIED or over:
                    raise
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


class ClientStream:
    """One stream; steps are never repeated, since the server may have done them.

    Args:
        transport: the client's.
        identity: name that the server gave the stream.
        timeout: seconds for one step.
    """

    def __init__(self, transport: Any, identity: str, timeout: float) -> None:
        self._transport, self._identity, self._timeout = transport, identity, timeout

    def step(self, inputs: Mapping[str, Any]) -> Arrays:
        """The next row of each series.

        Args:
            inputs: arrays by name, one row for each series.

        Raises:
            RequestError: what the server answered; the stream is as it was before.
        """
        arrays = {name: _array(value) for name, value in inputs.items()}
        return self._transport.step(self._identity, arrays, self._timeout)

    def close(self) -> int:
        """Ends the stream; the number of its steps."""
        return self._transport.end(self._identity, self._timeout)

    def __enter__(self) -> ClientStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except RequestError:
            if kind is None:
                raise


def _named(path: str) -> dict[str, str]:
    """Parts of a URL's path: ``{"models": name, "versions": ..., "labels": ...}``."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["v1"]:
        parts = parts[1:]
    if len(parts) % 2 or any(key not in ("models", "versions", "labels") for key in parts[::2]):
        raise ServingError(
            f"{path} in the URL is no /v1/models/NAME[/versions/N|/labels/L]; leave it out"
        )
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _setting(name: str, values: Any, known: Mapping[str, str]) -> np.ndarray:
    """A setting as an array of the dtype that the model takes."""
    if name not in known:
        there = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise RequestError(f"the model has no setting {name!r}; {there}")
    try:
        return setting_array(values, known[name])
    except ValueError as error:
        raise RequestError(f"{name}: {error}") from error


def _array(value: Any) -> np.ndarray:
    """Texts as objects, decimals as float32 where Python gave them, the rest as it is."""
    if isinstance(value, np.ndarray):
        array = value
    else:
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
    if array.dtype.kind in "SU":
        array = np.asarray(value, object)
    return array
