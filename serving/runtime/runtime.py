"""What both endpoints of the server, REST and gRPC, do with a request once they have read it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.ragged import Arrays
from serving.errors import RequestError
from serving.runtime import metrics as m
from serving.runtime.batching import Batcher, BatchOptions, timed_out
from serving.runtime.inference import INPUT, check_classification, check_regression
from serving.runtime.loading import LoadOptions, load
from serving.runtime.manager import ModelManager, WatchOptions
from serving.runtime.metrics import Metrics
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.servables import Servable
from serving.runtime.sessions import SessionLimits, Sessions
from serving.runtime.signatures import CLASSIFY_METHOD, DEFAULT_SIGNATURE, REGRESS_METHOD
from serving.tensors import DEFAULT_MAX_ELEMENTS

DEFAULT_MAX_BODY_BYTES = 64 * 1024 * 1024
# Requests of more bytes or rows are encoded beside the event loop, which answers others meanwhile.
SMALL_BYTES, SMALL_ROWS = 32_768, 8


@dataclass(frozen=True)
class RequestLimits:
    """What one request may take.

    Attributes:
        max_body_bytes: of an HTTP body, after decompression too, and of a gRPC message.
        max_elements: of one tensor.
        timeout_seconds: of a REST request; a gRPC request brings its own.
        check_method_names: classify and regress only where the signature's method is that.
    """

    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    max_elements: int = DEFAULT_MAX_ELEMENTS
    timeout_seconds: float = 30.0
    check_method_names: bool = False


class Runtime:
    """Models, batches, streams and counters.

    Args:
        limits: of requests.
        batching: of requests to one model.
        loading: of models.
        watching: of their places.
        sessions: of streams.
    """

    def __init__(
        self,
        limits: RequestLimits | None = None,
        batching: BatchOptions | None = None,
        loading: LoadOptions | None = None,
        watching: WatchOptions | None = None,
        sessions: SessionLimits | None = None,
        on_change: Any = None,
    ) -> None:
        self.limits, self.metrics = limits or RequestLimits(), Metrics()
        self._batching, self._loading = batching or BatchOptions(), loading or LoadOptions()
        self.manager = ModelManager(self._load, watching, *([on_change] if on_change else []))
        self.sessions = Sessions(self, sessions)

    def _load(self, name: str, path: Path, kind: str | None) -> tuple[Backend, Batcher]:
        def observe(rows: int, waited: list[float]) -> None:
            self.metrics.observe(m.QUEUING, [s * 1e6 for s in waited], model_name=name)
            self.metrics.add(m.RUNS, model_name=name)
            self.metrics.add(m.BATCH_ROWS, rows, model_name=name)

        backend = load(path, kind, self._loading)
        return backend, Batcher(self._batching, observe)

    async def run(
        self, servable: Servable, runner: SignatureRunner, inputs: Arrays, deadline: float | None
    ) -> Arrays:
        """One request, joined with others where that is possible.

        Args:
            servable: in use by the caller.
            runner: of its backend.
            inputs: of its signature.
            deadline: by ``time.monotonic``.

        Raises:
            RequestError: bad inputs, a full queue, a model that fails, or DEADLINE_EXCEEDED.
        """
        large = any(
            array.nbytes > SMALL_BYTES or (array.ndim and len(array) > SMALL_ROWS)
            for array in inputs.values()
        )
        encoded = await _call(large, runner.encode, inputs)
        began = time.perf_counter()
        future = asyncio.wrap_future(servable.batcher.submit(runner, encoded, deadline))
        left = None if deadline is None else deadline - time.monotonic()
        try:
            outputs = await asyncio.wait_for(future, left)
        except asyncio.TimeoutError:
            raise timed_out() from None
        self.metrics.observe(
            m.RUNTIME, [(time.perf_counter() - began) * 1e6],
            model_name=servable.name, API="Predict", runtime="TF1",
        )  # fmt: skip
        return await _call(large, runner.decode, outputs)

    async def infer(
        self,
        servable: Servable,
        signature_name: str,
        method: str,
        examples: Any,
        deadline: float | None,
    ) -> Arrays:
        """Classifies or regresses serialized examples.

        Args:
            servable: in use by the caller.
            signature_name: as sent.
            method: ``CLASSIFY_METHOD`` or ``REGRESS_METHOD``.
            examples: ``<bytes>[n]``.
            deadline: by ``time.monotonic``.

        Raises:
            RequestError: the signature is not one for that, or as ``run``.
        """
        name = signature_name or DEFAULT_SIGNATURE
        runner = servable.backend.runners.get(name)
        if runner is None:
            raise RequestError(f"No signature was found with the name: {name}")
        kind = "classification" if method == CLASSIFY_METHOD else "regression"
        actual = runner.signature.get("method_name")
        if self.limits.check_method_names and actual != method:
            raise RequestError(
                f"Expected {kind} signature method_name to be {method}. Was: {actual}"
            )
        {CLASSIFY_METHOD: check_classification, REGRESS_METHOD: check_regression}[method](
            runner.signature
        )
        self.metrics.add(m.EXAMPLES_TOTAL, len(examples), model=servable.name)
        self.metrics.observe(m.EXAMPLES, [len(examples)], model=servable.name)
        return await self.run(servable, runner, {INPUT: examples}, deadline)

    def count_request(
        self, name: str, api: str, entrypoint: str, status: str, seconds: float
    ) -> None:
        """Counts one request that has been answered."""
        self.metrics.add(m.REQUESTS, model_name=name, status=status)
        if status == "OK":
            self.metrics.observe(
                m.LATENCY, [seconds * 1e6], model_name=name, API=api, entrypoint=entrypoint
            )


def selected(outputs: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
    """The outputs that a request asks for; all if it names none.

    Raises:
        RequestError: one is unknown, or named twice.
    """
    if not wanted:
        return dict(outputs)
    found: dict[str, Any] = {}
    for name in wanted:
        if name not in outputs:
            raise RequestError(
                f"output tensor alias not found in signature: {name} Outputs expected to be in "
                f"the set {{{','.join(sorted(outputs))}}}."
            )
        if name in found:
            raise RequestError(f"duplicate output tensor alias: {name}")
        found[name] = outputs[name]
    return found


async def _call(beside: bool, function: Any, argument: Any) -> Any:
    return await asyncio.to_thread(function, argument) if beside else function(argument)
