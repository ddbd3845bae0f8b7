"""The process that trials are forked from: ``python -m tuning.fork_server``.

An attempt starts it. It imports what the trainer needs and prepares the data once, without
initialising TensorFlow's runtime or a device. Each trial is then a fork: it starts at once, and all
its memory is freed when it ends. Requests arrive as JSON lines on standard input, events are sent
as JSON lines on standard output. When the input ends, because the process that sent the requests
has died, all trials are killed. When the fork server itself dies, its trials end themselves.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import json
import logging
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from common.errors import DataError, WriteError
from common.files import storage_reason, write_json
from tuning.errors import SearchError
from tuning.jobs import UNWRITABLE, Trainer, TrainerSpec, TrialJob
from tuning.search_lock import OwnerWatch

# Seconds without a trial after which a fork server that nobody closed ends itself.
IDLE_SECONDS = 600.0
# Temporary directories are named after this and the id of the process.
SCRATCH_PREFIX = "seqloom-fork-server"


class ForkServer:
    """Forks trials and reports how they end.

    Args:
        trainer: the trainer that all trials share.
        requests: file descriptor to read requests from.
        events: file descriptor to write events to.
    """

    def __init__(self, trainer: Trainer, requests: int, events: int) -> None:
        self.trainer, self.requests, self.events = trainer, requests, events
        self.trials: dict[int, str] = {}  # trial by process id
        # Files that killed trials leave behind are removed with this directory.
        self.scratch = scratch_directory()
        # A process that reads from this pipe notices when the fork server dies.
        self.life = os.pipe()
        self.wakeup = os.pipe()
        os.set_blocking(self.wakeup[1], False)
        signal.set_wakeup_fd(self.wakeup[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Handles requests until their input ends."""
        rest, last_busy = b"", time.monotonic()
        while True:
            ready, _, _ = select.select([self.requests, self.wakeup[0]], [], [], 5.0)
            if self.wakeup[0] in ready:
                os.read(self.wakeup[0], 4096)
            self._reap()
            if self.trials:
                last_busy = time.monotonic()
            if self.requests in ready:
                read = os.read(self.requests, 65536)
                if not read:
                    break
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    self._handle(json.loads(line))
            if time.monotonic() - last_busy > IDLE_SECONDS:
                break
        for process in self.trials:
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _handle(self, request: dict[str, Any]) -> None:
        if "kill" in request:
            for process, trial in self.trials.items():
                if trial == request["kill"]:
                    os.kill(process, signal.SIGKILL)
            return
        job = TrialJob(**request["job"])
        process = os.fork()
        if process == 0:
            for end in (self.requests, self.events, self.life[1], *self.wakeup):
                os.close(end)
            _run_trial(self.trainer, job, self.life[0], self.scratch / job.trial)
        self.trials[process] = job.trial
        send_event(self.events, {"trial": job.trial, "process": process})

    def _reap(self) -> None:
        """Reports every trial that has ended."""
        while self.trials:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            trial = self.trials.pop(process, None)
            if trial is not None:
                code = os.waitstatus_to_exitcode(status)
                shutil.rmtree(self.scratch / trial, ignore_errors=True)
                send_event(self.events, {"trial": trial, "exit": code})


def scratch_directory() -> Path:
    """A new directory for temporary files; removes those of fork servers that were killed."""
    for old in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}-*"):
        with contextlib.suppress(OSError, ValueError):  # another user's, or already removed
            try:
                os.kill(int(old.name.removeprefix(f"{SCRATCH_PREFIX}-").split("-")[0]), 0)
            except ProcessLookupError:
                shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}-{os.getpid()}-"))


def send_event(events: int, event: dict[str, Any]) -> None:
    """Writes one event as a JSON line; does nothing if the reader has gone."""
    with contextlib.suppress(BrokenPipeError):
        os.write(events, json.dumps(event).encode() + b"\n")


def _run_trial(trainer: Trainer, job: TrialJob, life: int, scratch: Path) -> None:
    """Everything that a trial's process does; never returns.

    Args:
        trainer: the trainer.
        job: the trial.
        life: read end of the pipe that closes when the fork server dies.
        scratch: directory for temporary files of this trial.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        threading.Thread(target=_end_with_parent, args=(life,), daemon=True).start()
        job.path.mkdir(parents=True, exist_ok=True)
        log = os.open(job.path / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        faulthandler.enable()
        scratch.mkdir(exist_ok=True)
        tempfile.tempdir = str(scratch)
        os.environ.update(job.environment)
        with _exclusive(job.path):
            _train(trainer, job)
        code = 0
    except BaseException as error:  # noqa: BLE001 whatever ends the trial is written to its log
        code = UNWRITABLE if isinstance(error, WriteError) or storage_reason(error) else 1
        with contextlib.suppress(OSError):
            traceback.print_exc()
            lines = str(error).strip().splitlines()
            message = lines[-1] if lines else type(error).__name__
            write_json(job.path / "failure.json", {"message": message})
    finally:
        with contextlib.suppress(OSError):  # the log's disk may be full
            sys.stdout.flush()
            sys.stderr.flush()
        # No exit handlers of the fork server may run here, and TensorFlow's threads may not end.
        os._exit(code)


def _train(trainer: Trainer, job: TrialJob) -> None:
    if (job.path / "result.json").exists():
        return  # a process finished it whose owner died before it was notified
    beat, owner = Heartbeat(job.path / "heartbeat"), OwnerWatch(job.owner_file, job.token)

    def heartbeat() -> bool:
        return not beat() or not owner.stopping()

    started = time.perf_counter()
    result = trainer.train(job, heartbeat)
    result["seconds"] = time.perf_counter() - started
    if owner.lost():
        raise SearchError("the search has another owner by now")
    name = "stopped.json" if result.pop("stopped", False) else "result.json"
    write_json(job.path / name, result)
    print(f"trial {job.trial}: {name} written", flush=True)


class Heartbeat:
    """Touches a file at most once a second; a call returns True if it touched the file."""

    def __init__(self, path: Path) -> None:
        self.path, self.last = path, 0.0
        self()

    def __call__(self) -> bool:
        if time.monotonic() - self.last < 1.0:
            return False
        self.last = time.monotonic()
        self.path.touch()
        return True


@contextlib.contextmanager
def _exclusive(directory: Path) -> Any:
    """Waits for a process that still trains this trial although its owner has died."""
    with (directory / "lock").open("w") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_with_parent(life: int) -> None:
    os.read(life, 1)  # returns when no process holds the write end any more
    os._exit(70)


def main() -> None:
    """Creates the trainer, sends a "ready" event, and serves."""
    requests, events = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)  # output of libraries must not be taken for events
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that sends requests handles Ctrl-C
    try:
        with os.fdopen(os.dup(requests), "rb", buffering=0) as first:
            request = json.loads(first.readline())
            sys.path[:] = [*dict.fromkeys([*sys.path, *request["path"]])]
            # Imports take longest; they can start before the trainer spec is known.
            import_module(request["target"].partition(":")[0])
            if not (line := first.readline()):
                return  # the input ended: no spec will follow
        request = json.loads(line)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        trainer = TrainerSpec(**request["spec"]).prepare()
    except (DataError, SearchError, ValueError) as error:
        send_event(events, {"unprepared": str(error)})
        return
    except Exception as error:  # noqa: BLE001 the waiting process must be notified of any error
        reason = storage_reason(error)
        unwritten = f"{getattr(error, 'filename', None) or 'its log'} cannot be written: {reason}"
        send_event(events, {"unprepared": unwritten if reason else traceback.format_exc()})
        return
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    send_event(events, {"ready": True})
    ForkServer(trainer, requests, events).serve()
    os._exit(0)  # TensorFlow needs a second to shut down, and there is nothing left to do


if __name__ == "__main__":
    main()
