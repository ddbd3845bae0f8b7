"""The part that REST and gRPC share: models, batches, streams and counters."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.ragged import Arrays
from serving.errors import RequestError
from serving.runtime import metrics as m
from serving.runtime.batching import Batcher, BatchOptions, timed_out
from serving.runtime.generation import Generation, GenerationLimits, Load
from serving.runtime.inference import INPUT, check_classification, check_regression
from serving.runtime.loading import LoadOptions, load
from serving.runtime.manager import ModelManager, WatchOptions
from serving.runtime.metrics import Metrics
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.servables import Servable
from serving.runtime.sessions import SessionLimits, Sessions
from serving.runtime.signatures import (
    CLASSIFY_METHOD,
    DEFAULT_SIGNATURE,
    GENERATE_SIGNATURE,
    REGRESS_METHOD,
)
from serving.tensors import DEFAULT_MAX_ELEMENTS

DEFAULT_MAX_BODY_BYTES = 64 * 1024 * 1024
# Larger requests are encoded in a thread, so that the event loop answers others meanwhile.
SMALL_BYTES, SMALL_ROWS = 32_768, 8


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request.

    Attributes:
        max_body_bytes: largest HTTP body, also after decompression, and gRPC message.
        max_elements: largest number of values in one tensor.
        max_rows: largest number of rows of one request; a few bytes of gRPC can ask for any number.
        timeout_seconds: timeout of a REST request; a gRPC request has its own.
        check_method_names: whether classify and regress need a signature of that method.
    """

    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    max_elements: int = DEFAULT_MAX_ELEMENTS
    max_rows: int = 2**20
    timeout_seconds: float = 30.0
    check_method_names: bool = False


class Runtime:
    """Runs requests: models, batches, streams and counters of a server.

    Args:
        limits: limits of one request.
        batching: how requests to one model are joined.
        loading: how models are loaded.
        watching: how their directories are watched.
        sessions: limits of streams.
        generation: limits of what is written token by token.
        on_change: called with one line whenever a version is loaded or unloaded.
    """

    def __init__(
        self,
        limits: RequestLimits | None = None,
        batching: BatchOptions | None = None,
        loading: LoadOptions | None = None,
        watching: WatchOptions | None = None,
        sessions: SessionLimits | None = None,
        on_change: Any = None,
        generation: GenerationLimits | None = None,
    ) -> None:
        self.limits, self.metrics = limits or RequestLimits(), Metrics()
        self._batching, self._loading = batching or BatchOptions(), loading or LoadOptions()
        self.manager = ModelManager(self._load, watching, *([on_change] if on_change else []))
        self.sessions = Sessions(self, sessions)
        self.generation = generation or GenerationLimits()
        self._mail: _Mailbox | None = None

    def _load(self, name: str, path: Path, kind: str | None) -> tuple[Backend, Batcher]:
        def observe(rows: int, waited: list[float]) -> None:
            self.metrics.observe(m.QUEUING, [s * 1e6 for s in waited], model_name=name)
            self.metrics.add(m.RUNS, model_name=name)
            self.metrics.add(m.BATCH_ROWS, rows, model_name=name)

        backend = load(path, kind, self._loading)
        self.schedule(name, backend)
        return backend, Batcher(self._batching, observe)

    def schedule(self, name: str, backend: Backend) -> None:
        """Gives signatures that write token by token their scheduler.

        Args:
            name: of the model, for the counters.
            backend: just loaded.
        """

        def written(load: Load) -> None:
            for state in ("running", "waiting", "paused"):
                self.metrics.set(m.TEXTS, getattr(load, state), model_name=name, state=state)
            self.metrics.add(m.TOKENS, load.tokens, model_name=name)
            self.metrics.add(m.STEPS, load.steps, model_name=name)
            rate = load.tokens / load.seconds if load.running else 0
            self.metrics.set(m.TOKEN_RATE, rate, model_name=name)

        for runner in backend.runners.values():
            runner.schedule(self.generation, written)

    async def run(
        self, servable: Servable, runner: SignatureRunner, inputs: Arrays, deadline: float | None
    ) -> Arrays:
        """Runs one request, joined with others where that is possible.

        Args:
            servable: the version, in use by the caller.
            runner: the signature, one of the version's backend.
            inputs: arrays by name, as the signature has them.
            deadline: time by ``time.monotonic``, or None.

        Raises:
            RequestError: bad inputs, a full queue, a model that fails, or DEADLINE_EXCEEDED.
        """
        rows = max((len(array) for array in inputs.values() if array.ndim), default=0)
        if rows > self.limits.max_rows:
            raise RequestError(
                f"A request of {rows} rows is larger than this server takes "
                f"({self.limits.max_rows}).",
                code="RESOURCE_EXHAUSTED",
            )
        large = _is_large(inputs, rows)
        encoded = await _call(large, runner.encode, inputs)
        began = time.perf_counter()
        left = None if deadline is None else deadline - time.monotonic()
        try:
            if runner.scheduler is not None:
                writing = runner.scheduler.submit(runner.texts(encoded), streamed=False)
                outputs = runner.finished(await asyncio.wait_for(writing.whole(), left))
            else:
                mailbox = self._mailbox()
                # Other requests that have come by now are encoded first, and join this one.
                later = mailbox.loop.call_soon
                future = servable.batcher.submit(runner, encoded, deadline, later)
                outputs = await _answer(future, left, mailbox)
        except asyncio.TimeoutError:
            raise timed_out() from None
        self.metrics.observe(
            m.RUNTIME, [(time.perf_counter() - began) * 1e6],
            model_name=servable.name, API="Predict", runtime="TF1",
        )  # fmt: skip
        return await _call(large, runner.decode, outputs)

    def _mailbox(self) -> _Mailbox:
        """That of the event loop that asks."""
        if self._mail is None or self._mail.loop is not asyncio.get_running_loop():
            self._mail = _Mailbox()
        return self._mail

    async def write(
        self, servable: Servable, runner: SignatureRunner, inputs: Arrays
    ) -> Generation:
        """Starts to write what one request asks for; see ``Generation.events``.

        Args:
            servable: the version, in use by the caller until all is read.
            runner: the signature, one of the version's backend.
            inputs: arrays by name, as the signature has them.

        Raises:
            RequestError: bad inputs, too much is written already, or the signature writes nothing.
        """
        if runner.scheduler is None:
            raise RequestError(
                f"Model {servable.name} does not write token by token here: that takes a signature "
                "of a language model, and the onnx or tensorrt backend.",
                code="FAILED_PRECONDITION",
            )
        rows = max((len(array) for array in inputs.values() if array.ndim), default=0)
        encoded = await _call(_is_large(inputs, rows), runner.encode, inputs)
        return runner.scheduler.submit(runner.texts(encoded), streamed=True)

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
            servable: the version, in use by the caller.
            signature_name: the name as sent; "" is the default signature.
            method: ``CLASSIFY_METHOD`` or ``REGRESS_METHOD``.
            examples: ``<bytes>[n]``.
            deadline: time by ``time.monotonic``, or None.

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


class _Mailbox:
    """Tells an event loop of answers that threads have, once for those that come together.

    Each news by itself would wake the loop through a socket, and the loop's thread would contend
    with the one that has more of them.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._come: deque[asyncio.Future] = deque()
        self._told = False

    def put(self, waiter: asyncio.Future) -> None:
        """Wakes who waits; from any thread."""
        self._come.append(waiter)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                self.loop.call_soon_threadsafe(self._open)

    def _open(self) -> None:
        self._told = False  # first: what comes from here on is found below, or told anew
        while self._come:
            _wake(self._come.popleft())


async def _answer(future: Future, seconds: float | None, mailbox: _Mailbox) -> Arrays:
    """What a thread gives; a request that is cancelled or late leaves the queue.

    ``asyncio.wait_for`` around ``wrap_future`` does that with three futures, in thrice the time.

    Raises:
        TimeoutError: asyncio's.
    """
    waiter = mailbox.loop.create_future()
    future.add_done_callback(lambda _: mailbox.put(waiter))
    timer = None
    if seconds is not None:
        timer = mailbox.loop.call_later(max(0.0, seconds), _wake, waiter)
    try:
        await waiter
    finally:
        late = not future.done()
        if late:
            future.cancel()
        if timer is not None:
            timer.cancel()
    if late:
        raise asyncio.TimeoutError
    return future.result()


def _wake(waiter: asyncio.Future) -> None:
    if not waiter.done():
        waiter.set_result(None)


def generating(servable: Servable, signature_name: str) -> SignatureRunner:
    """The signature that writes text.

    Args:
        servable: in use by the caller.
        signature_name: as sent; "" stands for ``generate``.

    Raises:
        RequestError: FAILED_PRECONDITION: there is none.
    """
    name = signature_name or GENERATE_SIGNATURE
    runner = servable.backend.runners.get(name) if servable.backend else None
    if runner is None:
        raise RequestError(
            f'Model {servable.name} has no signature "{name}": it writes no text.',
            code="FAILED_PRECONDITION",
        )
    return runner


def selected(outputs: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
    """The outputs that a request names, or all of them if it names none.

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


def _is_large(inputs: Arrays, rows: int) -> bool:
    if rows > SMALL_ROWS or any(array.nbytes > SMALL_BYTES for array in inputs.values()):
        return True
    if "form" in inputs:  # it is made into a table, which may take long
        return True
    texts = (array for array in inputs.values() if array.dtype == object)
    return sum(len(one) for array in texts for one in array.flat if one) > SMALL_BYTES


async def _call(in_thread: bool, function: Any, argument: Any) -> Any:
    return await asyncio.to_thread(function, argument) if in_thread else function(argument)
