"""Long prompts, read in chunks by a thread of their own while the running texts go on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np

from decoding.running import RunningRow
from pipelines.program import LoadedProgram

# Shorter prompts are read with the steps of the running batch, at hardly any cost.
LONG = 32
# Ids of one chunk; prompts take turns chunk by chunk.
CHUNK = 256

logger = logging.getLogger(__name__)


class PromptReader:
    """Reads prompts up to their last id, with a core that takes many ids at once.

    Args:
        program: a ``WritingProgram`` with its cores, its ``reader`` among them.
        wanted: whether a row's text is still to be written.
        done: called in the thread with each row that has been read and is wanted.
    """

    def __init__(
        self,
        program: LoadedProgram,
        wanted: Callable[[RunningRow], bool],
        done: Callable[[RunningRow], None],
    ) -> None:
        self._writing: Any = program.program
        self._core = program.cores[self._writing.reader]
        self._shapes = dict(program.cores[self._writing.cores[0]].states)
        self._wanted, self._done = wanted, done
        self._queue: SimpleQueue[RunningRow | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, row: RunningRow) -> None:
        """Takes a row that has read nothing so far."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="prompts", daemon=True)
            self._thread.start()
        self._queue.put(row)

    def close(self) -> None:
        """Ends the thread; what is not read stays so."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (row := self._queue.get()) is not None:
            if not self._wanted(row):
                continue
            try:
                self._read(row)
            except Exception:  # the running batch reads it, step by step
                logger.exception("a prompt could not be read in chunks")
                self._done(row)
                continue
            if row.read == len(row.prompt) - 1:
                self._done(row)
            else:
                self._queue.put(row)

    def _read(self, row: RunningRow) -> None:
        """One chunk."""
        ids = row.prompt[row.read : min(row.read + CHUNK, len(row.prompt) - 1)]
        states = row.states or {n: np.zeros(shape, np.float32) for n, shape in self._shapes.items()}
        before = {name: state[None] for name, state in states.items()}
        after = self._writing.read(self._core, ids[None], before)
        row.states = {name: after[name][0] for name in states}
        row.read += len(ids)
