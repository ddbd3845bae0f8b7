"""The process that trials are forked from: ``python -m tuning.nursery``, started by an attempt.

It imports what the recipe needs and prepares the data once, without waking TensorFlow's runtime or
a device; each trial is then a fork, ready at once, whose memory goes with it. Orders come as JSON
lines on standard input, events leave as JSON lines on standard output. When the input ends, because
whoever gave the orders has died, all trials are killed; when this process dies, they end
themselves.
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

from common.errors import DataError
from common.files import write_json
from tuning.errors import SearchError
from tuning.jobs import Job, Recipe, Trainer
from tuning.lease import Lessee

# Seconds without a trial after which a nursery that nobody closed ends.
IDLE = 600.0


class Nursery:
    """Forks trials and tells of their ends.

    Args:
        trainer: what the recipe gave.
        orders: file descriptor to read from.
        events: file descriptor to write to.
    """

    def __init__(self, trainer: Trainer, orders: int, events: int) -> None:
        self.trainer, self.orders, self.events = trainer, orders, events
        self.trials: dict[int, str] = {}  # trial by process
        # What trials leave behind when they are killed goes with them.
        self.scratch = scratch_directory()
        # Whoever holds the other end of this pipe learns of this process's death.
        self.life = os.pipe()
        self.wake = os.pipe()
        os.set_blocking(self.wake[1], False)
        signal.set_wakeup_fd(self.wake[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Until the orders end."""
        rest, quiet = b"", time.monotonic()
        while True:
            ready, _, _ = select.select([self.orders, self.wake[0]], [], [], 5.0)
            if self.wake[0] in ready:
                os.read(self.wake[0], 4096)
            self._bury()
            if self.trials:
                quiet = time.monotonic()
            if self.orders in ready:
                read = os.read(self.orders, 65536)
                if not read:
                    break
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
            if time.monotonic() - quiet > IDLE:
                break
        for process in self.trials:
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _obey(self, order: dict[str, Any]) -> None:
        if "kill" in order:
            for process, trial in self.trials.items():
                if trial == order["kill"]:
                    os.kill(process, signal.SIGKILL)
            return
        job = Job(**order["job"])
        process = os.fork()
        if process == 0:
            for end in (self.orders, self.events, self.life[1], *self.wake):
                os.close(end)
            _live(self.trainer, job, self.life[0], self.scratch / job.trial)
        self.trials[process] = job.trial
        tell(self.events, {"trial": job.trial, "process": process})

    def _bury(self) -> None:
        """Tells of every trial that has ended."""
        while self.trials:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            trial = self.trials.pop(process, None)
            if trial is not None:
                code = os.waitstatus_to_exitcode(status)
                shutil.rmtree(self.scratch / trial, ignore_errors=True)
                tell(self.events, {"trial": trial, "exit": code})


def scratch_directory() -> Path:
    """A directory for temporary files; those of nurseries that were killed are removed."""
    for old in Path(tempfile.gettempdir()).glob("seqloom-nursery-*"):
        with contextlib.suppress(OSError, ValueError):  # another's, or already gone
            try:
                os.kill(int(old.name.split("-")[2]), 0)
            except ProcessLookupError:
                shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"seqloom-nursery-{os.getpid()}-"))


def tell(events: int, event: dict[str, Any]) -> None:
    """Writes one event; nobody may be listening any more."""
    with contextlib.suppress(BrokenPipeError):
        os.write(events, json.dumps(event).encode() + b"\n")


def _live(trainer: Trainer, job: Job, life: int, scratch: Path) -> None:
    """The whole life of a trial's process; never returns."""
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
        with _alone(job.path):
            _train(trainer, job)
        code = 0
    except BaseException as error:  # noqa: BLE001 a trial may die of anything; its log says of what
        traceback.print_exc()
        with contextlib.suppress(OSError):
            lines = str(error).strip().splitlines()
            message = lines[-1] if lines else type(error).__name__
            write_json(job.path / "failure.json", {"message": message})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Nothing of the nursery's is to be tidied up here, and TensorFlow's threads may not end.
        os._exit(code)


def _train(trainer: Trainer, job: Job) -> None:
    if (job.path / "result.json").exists():
        return  # finished by a process whose owner died before it heard
    beat, lessee = Heartbeat(job.path / "heartbeat"), Lessee(job.lease, job.token)

    def alive() -> bool:
        return not beat() or not lessee.stopping()

    started = time.perf_counter()
    result = trainer.train(job, alive)
    result["seconds"] = time.perf_counter() - started
    if lessee.orphaned():
        raise SearchError("the search has another owner by now")
    name = "cut.json" if result.pop("cut", False) else "result.json"
    write_json(job.path / name, result)
    print(f"trial {job.trial}: {name} written", flush=True)


class Heartbeat:
    """Touches a file, at most once a second; True where it did."""

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
def _alone(directory: Path) -> Any:
    """Waits for a process that still trains this trial for an owner that has died."""
    with (directory / "lock").open("w") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_with_parent(life: int) -> None:
    os.read(life, 1)  # returns when no process holds the other end any more
    os._exit(70)


def main() -> None:
    """Prepares, says so, and serves."""
    orders, events = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)  # what a library prints is no event
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever gives the orders decides
    try:
        with os.fdopen(os.dup(orders), "rb", buffering=0) as first:
            order = json.loads(first.readline())
            sys.path[:] = [*dict.fromkeys([*sys.path, *order["path"]])]
            # The imports take longest; whoever starts this may not have the recipe yet.
            import_module(order["target"].partition(":")[0])
            if not (line := first.readline()):
                return  # it never will
        order = json.loads(line)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        trainer = Recipe(**order["recipe"]).prepare()
    except (DataError, SearchError, ValueError) as error:
        tell(events, {"unprepared": str(error)})
        return
    except Exception:  # noqa: BLE001 the one who waits must hear of it, whatever it is
        tell(events, {"unprepared": traceback.format_exc()})
        return
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    tell(events, {"ready": True})
    Nursery(trainer, orders, events).serve()
    os._exit(0)  # TensorFlow takes a second to take its leave, and there is nothing left to do


if __name__ == "__main__":
    main()
