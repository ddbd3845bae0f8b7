"""Joins requests that wait into one run of the model, by length, so that no answer changes.

Requests whose inputs may be padded (a runner says which, and with what) are sorted into buckets by
their length; a free worker takes the bucket whose first request has waited longest, pads to its
longest and runs them as one. (To fill up with shorter ones costs a third of the throughput of a
recurrent model on a CPU: benchmarks/serving.py.) Requests that cannot be joined run alone, in the
same queue, with the same bounds.

Nothing in the shapes of a model tells that its rows are independent of each other (a softmax over
the batch has the same ones), so only models that are known to be row-wise are joined and cut; for
others whoever starts the server may vouch (``BatchOptions.vouched``), and they are not cut even so.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

import numpy as np

from common.machine import usable_cores
from pipelines.ragged import Arrays, join, take, trim
from serving.errors import RequestError
from serving.runtime.runners import SignatureRunner

# What a run costs besides its rows is about as much as so many steps of a row.
_WORTH_A_RUN = 96


@dataclass(frozen=True)
class BatchOptions:
    """How requests are joined.

    Attributes:
        joins: whether they are joined at all.
        vouched: whether models that are not known to be row-wise are joined too, as whoever starts
            the server says; see ``SignatureRunner.joinable``.
        max_rows: largest number of rows in a batch; a request may have several.
        delay_seconds: how long a batch that is not full waits for more; 0 takes what is there.
        max_waiting: rows that may wait; a request beyond them is UNAVAILABLE.
        workers: number of batches at once; one per core that this process may use by default.
        allowed_rows: sizes that batches are filled up to, with copies of a row.
        splits: whether a request of more than ``max_rows`` is run in parts (whole, if the model is
            not known to be row-wise) or refused.
    """

    joins: bool = True
    max_rows: int = 32
    delay_seconds: float = 0.0
    max_waiting: int = 16_384
    workers: int = field(default_factory=usable_cores)
    allowed_rows: tuple[int, ...] = ()
    splits: bool = True
    vouched: bool = False


@dataclass(eq=False)
class _Task:
    """One request in the queue; ``joins`` says whether it may be run with others."""

    runner: SignatureRunner
    encoded: Arrays
    rows: int
    deadline: float | None
    joins: bool
    future: Future = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    @property
    def alive(self) -> bool:
        """Whether its answer is still awaited; one past its deadline fails here."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            if self.future.set_running_or_notify_cancel():
                self.future.set_exception(timed_out())
            return False
        return self.future.set_running_or_notify_cancel()


class Batcher:
    """The queue of one loaded model and the threads that empty it.

    Args:
        options: how requests are joined.
        observe: called after each run with its number of rows, and the seconds that each of its
            requests had waited.
    """

    def __init__(
        self,
        options: BatchOptions | None = None,
        observe: Callable[[int, list[float]], None] = lambda rows, waited: None,
    ) -> None:
        self.options, self._observe = options or BatchOptions(), observe
        # By what must be equal for a join, and by length.
        self._queues: dict[tuple[Hashable, int], deque[_Task]] = {}
        # A heap of the queues by the time of their first request; the number settles ties.
        self._order: list[tuple[float, int, tuple[Hashable, int]]] = []
        self._numbers = count()
        self._waiting = 0
        self._ready = threading.Condition()
        self._closed = False
        # Started when there is work for them: of many models only few are asked.
        self._threads: list[threading.Thread] = []
        self._idle = self._running = 0
        self._untold = 0  # requests that no thread was woken for

    def submit(
        self,
        runner: SignatureRunner,
        encoded: Arrays,
        deadline: float | None = None,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> Future:
        """Queues an encoded request.

        Args:
            runner: the one that encoded it.
            encoded: result of ``SignatureRunner.encode``.
            deadline: time by ``time.monotonic`` after which it is DEADLINE_EXCEEDED.
            later: called with what wakes a thread for it, such as ``loop.call_soon`` of who has
                more requests to submit first; at once if None.

        Returns:
            A future of what ``SignatureRunner.execute`` gives for these rows; cancelled while it
            waits, the request is dropped.

        Raises:
            RequestError: UNAVAILABLE when too much waits; INVALID_ARGUMENT for too many rows.
        """
        sizes = {len(array) if array.ndim else None for array in encoded.values()}
        rows = max(filter(None, sizes), default=0 if 0 in sizes else 1)
        joins = sizes == {rows} and rows > 0 and self._joins(runner)
        if joins and rows > self.options.max_rows and not self.options.splits:
            raise RequestError(
                f"Task size {rows} is larger than maximum input batch size {self.options.max_rows}"
            )
        task = _Task(runner, encoded, rows, deadline, joins)
        group, length = _key(runner, encoded) if joins else (id(task), 0)
        with self._ready:
            if self._closed:
                raise RequestError("The model is being unloaded.", code="UNAVAILABLE")
            if self._waiting and self._waiting + rows > self.options.max_waiting:
                raise RequestError(
                    "The batch scheduling queue to which this task was submitted is full",
                    code="UNAVAILABLE",
                )
            self._waiting += max(1, rows)
            if (group, length) not in self._queues:
                self._queues[group, length] = deque()
                heappush(self._order, (task.since, next(self._numbers), (group, length)))
            self._queues[group, length].append(task)
            self._untold += 1
            if later is None:
                self._tell()
            elif self._untold == 1:
                later(self._tell)
        return task.future

    def _tell(self) -> None:
        """Wakes threads for what was submitted."""
        with self._ready:
            for _ in range(min(self._untold, self.options.workers)):
                if self._idle:
                    self._idle -= 1  # the one that is notified
                elif len(self._threads) < self.options.workers:
                    name = f"batch-{len(self._threads)}"
                    thread = threading.Thread(target=self._work, name=name, daemon=True)
                    self._threads.append(thread)
                    thread.start()
                self._ready.notify()  # one that waits for its batch to be filled, too
            self._untold = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """No batch is formed until the requests submitted within are all there."""
        with self._ready:
            yield

    def _joins(self, runner: SignatureRunner) -> bool:
        """Whether requests to a signature may be run together."""
        return self.options.joins and (runner.joins or (self.options.vouched and runner.joinable))

    def close(self) -> None:
        """Runs what waits and ends the threads."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._queues and not self._closed:
                    self._idle += 1
                    self._ready.wait()
                if not self._queues:
                    return
                if (pause := self._pause()) > 0 and not self._closed:
                    self._ready.wait(pause)
                    continue
                taken = self._take()
                self._running += 1
            batch = [task for task in taken if task.alive]
            if batch:
                now = time.monotonic()
                self._run(batch)
                self._observe(
                    sum(task.rows for task in batch), [now - task.since for task in batch]
                )
            with self._ready:
                self._running -= 1

    def _pause(self) -> float:
        """Seconds that the batch which comes next may still wait to be filled."""
        if not self.options.delay_seconds:
            return 0.0
        queue = self._queues[self._order[0][-1]]
        if not queue[0].joins or sum(t.rows for t in queue) >= self.options.max_rows:
            return 0.0
        return queue[0].since + self.options.delay_seconds - time.monotonic()

    def _take(self) -> list[_Task]:
        """The next batch: of the queue whose first request has waited longest.

        It leaves their share to the threads that have nothing to do, unless that is so little that
        a run of its own would take more than it saves, or batches are waited for.
        """
        *_, key = heappop(self._order)
        share = self.options.max_rows
        if not self.options.delay_seconds:
            share = -(-self._waiting // max(1, self.options.workers - self._running))
        least = -(-_WORTH_A_RUN // key[1]) if key[1] else 1
        queue, room = self._queues[key], min(self.options.max_rows, max(share, least))
        taken: list[_Task] = []
        while queue and (queue[0].rows <= room or not taken):
            taken.append(queue.popleft())
            room -= taken[-1].rows
        if queue:
            heappush(self._order, (queue[0].since, next(self._numbers), key))
        else:
            del self._queues[key]
        self._waiting -= sum(max(1, task.rows) for task in taken)
        return taken

    def _run(self, batch: list[_Task]) -> None:
        """Answers every request of a batch."""
        if len(batch) > 1:
            try:
                parts = list(self._joined(batch))
            except Exception:  # noqa: BLE001 one of them is bad: each is tried by itself
                parts = None
            if parts is not None:
                for task, part in zip(batch, parts, strict=True):
                    task.future.set_result(part)
                return
        for task in batch:
            try:
                task.future.set_result(self._alone(task))
            except Exception as error:  # noqa: BLE001 it belongs to the one who waits for it
                task.future.set_exception(error)

    def _joined(self, batch: list[_Task]) -> Iterator[Arrays]:
        """The outputs of each request of a batch, from one run."""
        runner, rows = batch[0].runner, sum(task.rows for task in batch)
        encoded = join([task.encoded for task in batch], runner.fields)
        outputs = runner.execute(self._filled(encoded, rows), _timeout(batch))
        if not _has_rows(outputs, self._size(rows)):
            raise RequestError("an output has no row for each row of the inputs")
        first = 0
        for task in batch:
            yield take(outputs, slice(first, first + task.rows), runner.fields)
            first += task.rows

    def _alone(self, task: _Task) -> Arrays:
        runner, timeout = task.runner, _timeout([task])
        if task.joins:
            limit = self.options.max_rows if runner.joins else task.rows
            found = []
            for first in range(0, task.rows, limit):
                part = {name: x[first : first + limit] for name, x in task.encoded.items()}
                found.append(self._part(runner, part, min(limit, task.rows - first), timeout))
            parts = [part for part in found if part is not None]
            if len(parts) == len(found):
                return join(parts, runner.fields) if len(parts) > 1 else parts[0]
        return runner.execute(task.encoded, timeout)

    def _part(
        self, runner: SignatureRunner, part: Arrays, rows: int, timeout: float | None
    ) -> Arrays | None:
        """Outputs of some rows at their own length, without the rows that only filled the batch.

        None where they have other rows than the inputs, so that nothing may be cut.
        """
        outputs, size = runner.execute(self._filled(part, rows), timeout), self._size(rows)
        if not _has_rows(outputs, size):
            return None
        return (
            take(outputs, slice(rows), runner.fields)
            if size != rows
            else trim(outputs, runner.fields)
        )

    def _size(self, rows: int) -> int:
        """Size of the batch in which so many rows are run."""
        return min((size for size in self.options.allowed_rows if size >= rows), default=rows)

    def _filled(self, encoded: Arrays, rows: int) -> Arrays:
        more = self._size(rows) - rows
        if not more:
            return encoded
        return {
            name: np.concatenate([array, np.repeat(array[:1], more, 0)])
            for name, array in encoded.items()
        }


def _key(runner: SignatureRunner, encoded: Arrays) -> tuple[Hashable, int]:
    """A key that requests which may be joined share, and the bucket of their length; 0 for none."""
    shapes, length = [], 0
    for name, array in sorted(encoded.items()):
        shape = array.shape[1:]
        if shape and (field := runner.fields.get(name)):
            length = max(length, shape[0])
            shape = shape[len(field.axes) :]
        if array.dtype == object:  # texts, of which the model itself makes sequences
            length = max(length, max(map(len, array.reshape(-1)), default=0))
        shapes.append((name, array.dtype.str, shape))
    return (id(runner), tuple(shapes), runner.group(encoded)), bucket(length) if length else 0


def bucket(length: int) -> int:
    """The bound of a length's bucket: 16, 24, 32, 48, 64, 96, ..."""
    bound = 16
    while bound < length:
        if bound * 3 // 2 >= length:
            return bound * 3 // 2
        bound *= 2
    return bound


def _has_rows(outputs: Arrays, size: int) -> bool:
    """Whether every output has as many rows as were run."""
    return all(array.ndim and len(array) == size for array in outputs.values())


def _timeout(batch: list[_Task]) -> float | None:
    deadlines = [task.deadline for task in batch]
    if None in deadlines:
        return None
    return max(0.001, max(deadlines) - time.monotonic())


def timed_out() -> RequestError:
    """DEADLINE_EXCEEDED, as TensorFlow words it."""
    return RequestError("Timed out waiting for notification", code="DEADLINE_EXCEEDED")
