"""Continuous batching: one thread writes all texts of a model, a step of all of them at a time.

A text joins the running batch at the step after it was asked for, and leaves it with its last id;
short prompts are read in the same steps, one id each, and long ones by a thread of their own (see
``serving.runtime.prompts``), so that they hold up nobody. When more texts want to run than there is
room for, those that have run longest make way. A reader who does not keep up pauses its own request
alone: the states of its rows are put aside until it has caught up. No TensorFlow.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from decoding.running import Drawn, RunningRow
from pipelines.program import LoadedProgram
from pipelines.writing import Text
from serving.errors import RequestError
from serving.runtime.generation import Generation, GenerationLimits, Load, TokenEvent
from serving.runtime.prompts import LONG, PromptReader

# Readers of so many texts are told at every step.
FEW = 8

logger = logging.getLogger(__name__)


class Scheduler:
    """Writes the texts of one program; its methods may be called from any thread.

    Args:
        program: a ``WritingProgram`` with its cores.
        limits: of all texts together.
        observe: called about once a second while it writes, and when it has nothing to do.
        guard: held around each step, for cores that other threads run too.
    """

    def __init__(
        self,
        program: LoadedProgram,
        limits: GenerationLimits | None = None,
        observe: Callable[[Load], None] = lambda load: None,
        guard: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.limits, self._observe = limits or GenerationLimits(), observe
        self._guard = guard or nullcontext()
        writing: Any = program.program
        core = program.cores[writing.cores[0]]
        self._running = writing.running(core)
        self._state_bytes = 4 * sum(_size(shape) for shape in core.states.values())
        self._vocabulary = 4 * max(map(_size, core.states.values()), default=1)
        self._owner: dict[RunningRow, tuple[Generation, int]] = {}
        self._waiting: deque[RunningRow] = deque()
        self._turns: dict[RunningRow, int] = {}  # in order of joining: at which step
        self._open: set[Generation] = set()
        self._bytes = self._texts = 0
        self._dropped: list[Generation] = []
        self._touched: set[Generation] = set()
        self._flushed = self._reported = time.monotonic()
        self._steps = self._tokens = self._total_steps = 0
        self._changed = threading.Condition()
        # A core that only one thread may run has none to spare for prompts.
        reads = guard is None and writing.reader in program.cores
        self._reader = (
            PromptReader(program, self._owner.__contains__, self._was_read) if reads else None
        )
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, texts: Sequence[Text], streamed: bool) -> Generation:
        """Starts to write; to be called in the event loop that reads.

        Args:
            texts: of ``WritingProgram.texts``.
            streamed: whether they are read with ``Generation.events``, or ``whole``.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, or UNAVAILABLE when the model is being unloaded.
        """
        generation = Generation(self, texts, streamed)
        # Rows of one form share its table.
        forms = {id(form): form.table.nbytes for text in texts if (form := text.row.form)}
        generation.bytes = sum(map(self._bytes_of, texts)) + sum(forms.values())
        with self._changed:
            if self._closed:
                raise _unloaded()
            self._check_room(generation)
            if not texts:
                return generation
            self._open.add(generation)
            self._texts += len(texts)
            self._bytes += generation.bytes
            for index, text in enumerate(texts):
                self._owner[text.row] = generation, index
                if self._reader is not None and len(text.row.prompt) > LONG:
                    self._reader.put(text.row)
                else:
                    self._waiting.append(text.row)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="generation", daemon=True)
                self._thread.start()
            self._changed.notify()
        return generation

    def cancel(self, generation: Generation) -> None:
        """Drops the texts of a request that have not ended; before the next step they are gone."""
        with self._changed:
            if not generation.closed:
                generation.closed = True
                self._dropped.append(generation)
                self._changed.notify()

    def resume(self, generation: Generation) -> None:
        """Lets a request whose reader has caught up go on."""
        with self._changed:
            if generation.parked is not None and not generation.closed:
                self._waiting.extend(generation.parked)
                generation.parked = None
                self._changed.notify()

    def _was_read(self, row: RunningRow) -> None:
        """A long prompt is read; its text is written from here on."""
        with self._changed:
            if row in self._owner:
                self._waiting.append(row)
                self._changed.notify()

    def close(self) -> None:
        """Ends all texts with UNAVAILABLE, and the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._reader is not None:
            self._reader.close()
        if self._thread is not None:
            self._thread.join()

    # --- the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while self._wait():
                self._step()
        except Exception as error:  # a mistake of this file: nobody shall wait for ever
            logger.exception("the scheduler failed")
            self._end(_failed(error))

    def _wait(self) -> bool:
        """Waits until there is something to write; False where the model is unloaded."""
        with self._changed:
            self._drop()
            while not self._closed and not self._waiting and not len(self._running):
                self._flush()
                self._report()
                # With paused requests it looks again: their readers may never come back.
                self._changed.wait(1.0 if self._open else None)
                self._drop()
                self._end_idle()
            if self._closed:
                self._end(_unloaded())
                return False
            self._join()
            return True

    def _end(self, error: RequestError) -> None:
        with self._changed:
            self._closed = True
            self._fail(list(self._open), error)
            self._drop()
            self._flush()
            self._report()

    def _step(self) -> None:
        """One step of all texts that run."""
        try:
            with self._guard:
                drawn = self._running.advance()
        except Exception as error:  # noqa: BLE001 it belongs to those who wait for the texts
            logger.exception("a step failed")
            self._fail({self._owner[row][0] for row in self._running.rows}, _failed(error))
        else:
            self._deliver(drawn)
        self._total_steps += 1
        now = time.monotonic()
        if len(self._running) <= FEW or now - self._flushed >= self.limits.flush_seconds:
            self._flush()
        if now - self._reported >= 1.0:
            self._report()
            with self._changed:
                self._end_idle()

    def _join(self) -> None:
        """Takes in what waits, as far as there is room; those that ran longest make some."""
        running, limits = self._running, self.limits
        over = len(running) + len(self._waiting) - limits.max_rows
        while over > 0 and self._turns:
            row, since = next(iter(self._turns.items()))
            if self._total_steps - since < limits.turn_steps:
                break
            self._leave(row, keep=True)
            self._waiting.append(row)
            over -= 1
        while self._waiting and len(running) < limits.max_rows:
            row = self._waiting.popleft()
            generation, _ = self._owner[row]
            if generation.parked is not None:
                generation.parked.append(row)
                continue
            running.join(row)
            self._turns[row] = self._total_steps

    def _leave(self, row: RunningRow, keep: bool = False) -> None:
        self._running.leave(row, keep)
        del self._turns[row]

    def _deliver(self, drawn: Sequence[Drawn]) -> None:
        """Gives ids to those who asked for them."""
        ended: list[Generation] = []
        for one in drawn:
            generation, index = self._owner[one.row]
            if one.error is not None:
                self._fail([generation], _failed(one.error))
                continue
            text = generation.texts[index]
            piece = text.push(one.id)
            self._tokens += 1
            if generation.unread is not None:
                done = text if text.finish_reason else None
                event = TokenEvent(index, one.id, piece, one.log_probability, done)
                generation.unread.append(event)
                self._touched.add(generation)
            if text.finish_reason:
                self._leave(one.row)
                del self._owner[one.row]
                generation.left -= 1
                if not generation.left:
                    ended.append(generation)
        self._steps += 1
        slow = [g for g in self._touched if len(g.unread or ()) >= self._most_unread(g)]
        if slow or ended:
            with self._changed:
                for generation in slow:
                    self._pause(generation)
                for generation in ended:
                    self._touched.add(generation)
                    self._forget(generation)

    def _most_unread(self, generation: Generation) -> int:
        return self.limits.max_unread + len(generation.texts)

    def _pause(self, generation: Generation) -> None:
        """Puts the running rows of a request aside; its waiting ones follow when they come up."""
        if generation.parked is not None or not generation.left:
            return
        rows = [text.row for text in generation.texts if text.row in self._running]
        for row in rows:
            self._leave(row, keep=True)
        generation.parked, generation.parked_since = rows, time.monotonic()

    def _end_idle(self) -> None:
        """Ends requests that have been paused for too long."""
        until = time.monotonic() - self.limits.idle_seconds
        idle = [g for g in self._open if g.parked is not None and g.parked_since < until]
        if idle:
            message = f"Nothing was read for {self.limits.idle_seconds:g} s."
            self._fail(idle, RequestError(message, code="DEADLINE_EXCEEDED"))
            self._drop()

    def _fail(self, generations: Iterable[Generation], error: RequestError) -> None:
        """Ends requests with an error; their rows leave with ``_drop``."""
        with self._changed:
            for generation in generations:
                if not generation.closed:
                    generation.error, generation.closed = error, True
                    self._dropped.append(generation)
                    self._touched.add(generation)

    def _drop(self) -> None:
        """Lets the rows of requests go that were cancelled or have failed."""
        for generation in self._dropped:
            for text in generation.texts:
                self._owner.pop(text.row, None)
                if text.row in self._running:
                    self._leave(text.row)
            self._forget(generation)
        if self._dropped and self._waiting:
            self._waiting = deque(row for row in self._waiting if row in self._owner)
        self._dropped.clear()

    def _forget(self, generation: Generation) -> None:
        """Gives back what a request takes of the limits."""
        if generation in self._open:
            self._open.remove(generation)
            self._texts -= len(generation.texts)
            self._bytes -= generation.bytes
        generation.parked = None

    def _flush(self) -> None:
        """Wakes the readers of what was written, once for each event loop."""
        self._flushed = time.monotonic()
        by_loop: dict[asyncio.AbstractEventLoop, list[Generation]] = {}
        for generation in self._touched:
            by_loop.setdefault(generation.loop, []).append(generation)
        self._touched.clear()
        for loop, generations in by_loop.items():
            try:
                loop.call_soon_threadsafe(_wake, generations)
            except RuntimeError:  # the loop is closed, and its readers are gone
                for generation in generations:
                    self.cancel(generation)

    def _report(self) -> None:
        now = time.monotonic()
        with self._changed:  # others open some meanwhile
            paused = sum(g.parked is not None for g in self._open)
        self._observe(
            Load(
                len(self._running), len(self._waiting), paused, self._tokens, self._steps,
                now - self._reported,
            )
        )  # fmt: skip
        self._tokens = self._steps = 0
        self._reported = now

    def _bytes_of(self, text: Text) -> int:
        seen = self._vocabulary if text.row.settings.get("repetition_penalty", 1) != 1 else 0
        return self._state_bytes + text.row.prompt.nbytes + seen

    def _check_room(self, generation: Generation) -> None:
        limits = self.limits
        texts, size = self._texts + len(generation.texts), self._bytes + generation.bytes
        if texts > limits.max_texts:
            raise _too_much(f"{texts} texts would be written at once", f"{limits.max_texts}")
        if size > limits.max_bytes:
            raise _too_much(
                f"the states of all texts would take {size} bytes", f"{limits.max_bytes}"
            )


def _wake(generations: Sequence[Generation]) -> None:
    for generation in generations:
        generation.ready.set()


def _size(shape: Sequence[int]) -> int:
    size = 1
    for number in shape:
        size *= number
    return size


def _too_much(what: str, limit: str) -> RequestError:
    return RequestError(
        f"{what[0].upper()}{what[1:]}, and the limit is {limit}; try again later.",
        code="RESOURCE_EXHAUSTED",
        http_status=503,
    )


def _unloaded() -> RequestError:
    return RequestError("The model is being unloaded.", code="UNAVAILABLE")


def _failed(error: Exception) -> RequestError:
    if isinstance(error, RequestError):
        return error
    return RequestError(f"Writing failed: {type(error).__name__}: {error}", code="INTERNAL")
