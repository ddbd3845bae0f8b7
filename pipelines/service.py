"""Training batches made by the workers of a tf.data service, on this machine or on others.

    python -m pipelines.service dispatcher --port 5050
    python -m pipelines.service worker --dispatcher host:5050

The workers draw the numbers of an epoch's batches from the dispatcher (processing mode
"distributed_epoch"), which promises each number at most once: what a worker had drawn when it died
is lost, and whoever reads to the end waits for it. A batch follows from its number alone, so what
does not come is made here. Every example comes once an epoch, in the order in which it would come
without a service, whichever workers die.
"""

from __future__ import annotations

import argparse
import queue
import socket
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.cancellation import CancellationManager

from common.errors import ConfigError
from pipelines.batching import AS_BUILT, ShuffledEpochs, plain

MOST_AHEAD = 64  # batches that are kept for one that is late, before it is made here
PATIENCE = 2.0  # seconds without any batch, likewise
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class ServedEpochs:
    """``ShuffledEpochs``, the same batches in the same order, made by a service.

    Attributes:
        epochs: what is made; of TensorFlow's operations alone, for Python does not travel.
        service: address of the dispatcher, ``grpc://host:port``.

    Raises:
        ConfigError: the address is none, or nobody answers there.
    """

    epochs: ShuffledEpochs
    service: str

    def __post_init__(self) -> None:
        scheme, _, place = self.service.partition("://")
        host, _, port = place.rpartition(":")
        if scheme != "grpc" or not host or not port.isdigit():
            raise ConfigError(
                f"--data-service {self.service}: write the dispatcher's address, grpc://HOST:PORT"
            )
        if fault := self._unreachable():
            raise ConfigError(
                f"--data-service {self.service}: nobody answers there ({fault}); start one with "
                f"`python -m pipelines.service dispatcher --port {port}`"
            )

    def _unreachable(self) -> str:
        """Why nobody answers; "" if somebody does."""
        host, _, port = self.service.removeprefix("grpc://").rpartition(":")
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            return str(error)
        return ""

    @property
    def steps(self) -> int:
        """Batches in each epoch."""
        return self.epochs.steps

    def one(self, epoch: int) -> tf.data.Dataset:
        """Batches of one epoch."""
        return self.starting_with(epoch).take(self.steps)

    def starting_with(self, epoch: int) -> tf.data.Dataset:
        """One epoch after the other without end; ``fit`` takes ``steps`` of it an epoch."""

        def endless() -> Iterator[Any]:
            number = epoch
            while True:
                yield from self._epoch(number)
                number += 1

        spec = self.epochs.one(epoch).element_spec
        batches = tf.data.Dataset.from_generator(endless, output_signature=spec)
        return batches.prefetch(2).with_options(AS_BUILT)

    def _epoch(self, epoch: int) -> Iterator[Any]:
        """In the order of their numbers; late ones are made here."""
        make = plain(self.epochs.maker(tf.constant(epoch, tf.int64)))
        here = tf.function(make, autograph=False)
        if fault := self._unreachable():
            warnings.warn(f"{self.service}: {fault}; batches are made here", stacklevel=2)
            yield from (here(tf.constant(turn, tf.int64)) for turn in range(self.steps))
            return
        numbers = tf.data.Dataset.range(self.steps)
        distributed = numbers.map(plain(lambda number: (number, make(number)))).apply(
            tf.data.experimental.service.distribute("distributed_epoch", self.service)
        )
        stream = _Stream(distributed.with_options(AS_BUILT))
        waiting: dict[int, Any] = {}
        patience = PATIENCE
        try:
            for turn in range(self.steps):
                while turn not in waiting and len(waiting) <= MOST_AHEAD:
                    found = stream.next(patience)
                    # After a silence nothing is waited for until something comes again.
                    patience = PATIENCE if found else 0.0
                    if found is None:
                        break
                    if found[0] >= turn:  # else it was given up, and made here
                        waiting[int(found[0])] = found[1]
                missing = turn not in waiting
                yield here(tf.constant(turn, tf.int64)) if missing else waiting.pop(turn)
        finally:
            stream.close()


class _Stream:
    """Elements of a data set as they come, read by a thread: who asks never waits for ever.

    Args:
        elements: whose next one may never come.
    """

    def __init__(self, elements: tf.data.Dataset) -> None:
        self._iterator = iter(elements)
        self._found: queue.Queue = queue.Queue(4)
        self._closed, self._cancel = threading.Event(), CancellationManager()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        step = tf.function(lambda iterator: iterator.get_next(), autograph=False)
        step = self._cancel.get_cancelable_function(step.get_concrete_function(self._iterator))
        try:
            while not self._closed.is_set():
                self._put(step(self._iterator))
        except tf.errors.OutOfRangeError:
            return
        except tf.errors.OpError as error:
            if not self._closed.is_set():
                warnings.warn(f"tf.data service: {error.message}", stacklevel=2)

    def _put(self, element: Any) -> None:
        while not self._closed.is_set():
            try:
                self._found.put(element, timeout=0.1)
                return
            except queue.Full:
                continue

    def next(self, seconds: float) -> Any:
        """The next element; None if none comes in time."""
        try:
            return self._found.get(timeout=seconds) if seconds else self._found.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """Stops reading."""
        self._closed.set()
        self._cancel.start_cancel()
        self._thread.join()


def main(arguments: list[str] | None = None) -> None:
    """Runs a dispatcher or a worker until it is killed."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.service")
    roles = parser.add_subparsers(dest="role", required=True)
    dispatcher = roles.add_parser("dispatcher", help="hands out what there is to do; one is enough")
    worker = roles.add_parser("worker", help="makes batches; as many as there are machines")
    worker.add_argument("--dispatcher", required=True, metavar="HOST:PORT")
    worker.add_argument("--host", default="localhost", help="name by which trainings reach it")
    for role in (dispatcher, worker):
        role.add_argument("--port", type=int, default=0, help="0: a free one")
    chosen = parser.parse_args(arguments)
    service = tf.data.experimental.service
    if chosen.role == "dispatcher":
        server = service.DispatchServer(service.DispatcherConfig(port=chosen.port))
        print(server.target, flush=True)
    else:
        config = service.WorkerConfig(
            dispatcher_address=chosen.dispatcher,
            worker_address=f"{chosen.host}:%port%",
            port=chosen.port,
        )
        server = service.WorkerServer(config)
        print(f"worker of {chosen.dispatcher}", flush=True)
    server.join()


if __name__ == "__main__":
    main()
