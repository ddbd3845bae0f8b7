"""One attempt at a trial, in a process of its own on this machine.

``run_attempt`` is what a search hands to an executor: a thread here or a Dask worker elsewhere
calls it, it has the trial forked from a nursery, watches over it, and says how it ended. It never
raises for what a trial does.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tuning.jobs import Job, Recipe
from tuning.lease import Lessee

TICK = 0.5


class NurseryClient:
    """A nursery's process, as seen by those who want trials of it; many threads may.

    Args:
        target: of the recipe that it will be given; it imports what that needs.
        threads: of TensorFlow in each trial.
    """

    def __init__(self, target: str, threads: int) -> None:
        count = str(threads)
        # Its own session: Ctrl-C at the terminal is the owner's to handle.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuning.nursery"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "TF_NUM_INTRAOP_THREADS": count, "TF_NUM_INTEROP_THREADS": count,
                "OMP_NUM_THREADS": count, "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            },
        )  # fmt: skip
        self.waiting: dict[str, queue.Queue] = {}
        self.lock = threading.Lock()
        self.unprepared: str | None = None
        self.dead = False
        self._send({"target": target, "path": [p for p in sys.path if p]})
        threading.Thread(target=self._listen, daemon=True).start()

    def prepare(self, recipe: Recipe, log: Path) -> None:
        """Has it make ready for trials; what it prints from now on goes to the file ``log``."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self._send({"recipe": asdict(recipe), "log": str(log.resolve())})

    def run(self, job: Job, reason_to_stop: Callable[[], str | None]) -> tuple[str, int | None]:
        """Has the trial run; how it ended, and its exit code where it had one.

        Args:
            job: the trial.
            reason_to_stop: called now and then; what it gives, if anything, ends the trial.

        Returns:
            "exit" and the code; or what ``reason_to_stop`` gave; or "lost" without a nursery.
        """
        events: queue.Queue = queue.Queue()
        with self.lock:
            if self.dead:
                return "lost", None
            self.waiting[job.trial] = events
        self._send({"job": asdict(job)})
        why = None
        while True:
            try:
                event = events.get(timeout=TICK)
            except queue.Empty:
                if why is None and (why := reason_to_stop()):
                    self._send({"kill": job.trial})
                continue
            if event is None:
                return why or "lost", None
            if "exit" in event:
                return why or "exit", event["exit"]

    def close(self) -> None:
        """Ends the nursery and all its trials."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _send(self, order: dict[str, Any]) -> None:
        with self.lock, contextlib.suppress(OSError):  # its death is heard of elsewhere
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()

    def _listen(self) -> None:
        for line in self.process.stdout:
            event = json.loads(line)
            if "unprepared" in event:
                self.unprepared = event["unprepared"]
            elif event.get("trial") in self.waiting:
                self.waiting[event["trial"]].put(event)
                if "exit" in event:
                    self.waiting.pop(event["trial"], None)
        with self.lock:
            self.dead = True
            for events in self.waiting.values():
                events.put(None)
        self.process.wait()


_nurseries: dict[tuple[str | None, str, int], NurseryClient] = {}
_warmed: dict[tuple[str, int], NurseryClient] = {}
_nurseries_lock = threading.Lock()


def warm(target: str, threads: int) -> None:
    """Starts a nursery for recipes with this target, to be there when the first one comes."""
    with _nurseries_lock:
        _warmed[target, threads] = NurseryClient(target, threads)


def cool() -> None:
    """Ends what ``warm`` started and nothing took up."""
    with _nurseries_lock:
        while _warmed:
            _warmed.popitem()[1].close()


def nursery(recipe: Recipe, threads: int, job: Job, place: Path) -> NurseryClient:
    """The living nursery of a job's search in this process; a new one, which logs to ``place``."""
    with _nurseries_lock:
        key = job.lease, recipe.key, threads
        if key not in _nurseries or _nurseries[key].dead:
            warmed = _warmed.pop((recipe.target, threads), None)
            if warmed is None or warmed.dead:
                warmed = NurseryClient(recipe.target, threads)
            warmed.prepare(recipe, nursery_log(place))
            _nurseries[key] = warmed
        return _nurseries[key]


def nursery_log(trials: Path) -> Path:
    """File that what this machine's nursery prints goes to."""
    return trials / f"nursery-{socket.gethostname()}.log"


def close_nurseries(lease: str | None = None) -> None:
    """Ends the nurseries of the search with this lease, or all of this process."""
    with _nurseries_lock:
        for key in [key for key in _nurseries if lease is None or key[0] == lease]:
            _nurseries.pop(key).close()


atexit.register(close_nurseries)
atexit.register(cool)


def run_attempt(recipe: dict[str, Any], job: dict[str, Any], threads: int) -> dict[str, Any]:
    """Runs a trial, or the rest of one, in a process of its own.

    Args:
        recipe: fields of a ``Recipe``.
        job: fields of a ``Job``.
        threads: of TensorFlow.

    Returns:
        ``outcome`` and, with it:

        * "completed" or "cut": ``result``, what the trainer gave;
        * "raised", "died" (a signal, or no memory), "stalled": ``message``;
        * "orphaned": another process owns the search, or none does;
        * "lost": the nursery died, of which the trial knows nothing;
        * "unprepared": ``message``: no trial of this recipe can ever run.
    """
    order, began = Job(**job), time.monotonic()
    if order.store is None:
        return {**_attempt(Recipe(**recipe), order, order, threads, lambda: None),
                "seconds": time.monotonic() - began}  # fmt: skip
    from tuning.store import Mirror

    mirror = Mirror(order)
    try:
        ending = _attempt(Recipe(**recipe), order, mirror.job, threads, mirror.sync)
    finally:
        mirror.close()
    return {**ending, "seconds": time.monotonic() - began}


def _attempt(
    recipe: Recipe, asked: Job, job: Job, threads: int, sync: Callable[[], None]
) -> dict[str, Any]:
    """``run_attempt`` of a job whose files are ``job``'s, on this machine."""
    for stale in ("cut.json", "failure.json", "heartbeat"):
        (job.path / stale).unlink(missing_ok=True)
    lessee = Lessee(job.lease, job.token)
    client = nursery(recipe, threads, asked, job.path.parent)

    def reason_to_stop() -> str | None:
        sync()
        if lessee.orphaned():
            return "orphaned"
        quiet = _quiet(job.path / "heartbeat")
        return "stalled" if quiet is not None and quiet > job.stall_seconds else None

    how, code = client.run(job, reason_to_stop)
    if client.unprepared is not None:
        return {"outcome": "unprepared", "message": client.unprepared}
    return _ending(job, how, code)


def _ending(job: Job, how: str, code: int | None) -> dict[str, Any]:
    """Tells what the files of a trial and the end of its process say."""
    for name, outcome in (("result.json", "completed"), ("cut.json", "cut")):
        if (result := _json(job.path / name)) is not None:
            return {"outcome": outcome, "result": result}
    if how == "stalled":
        text = f"gave no sign of life for {job.stall_seconds:g} s"
        return {"outcome": "stalled", "message": text}
    if how == "lost":
        text = f"the process that it was to be forked from died; see {nursery_log(job.path.parent)}"
        return {"outcome": "lost", "message": text}
    if how != "exit":
        return {"outcome": how}
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; the system kills what takes too much memory" if code == -signal.SIGKILL else ""
        return {"outcome": "died", "message": f"its process was ended by {name}{hint}"}
    failure = _json(job.path / "failure.json") or {}
    text = failure.get("message", f"its process ended with code {code}; see {job.path}/log.txt")
    return {"outcome": "raised", "message": text}


def _quiet(heartbeat: Path) -> float | None:
    """Seconds since the last sign of life; None before the first."""
    try:
        return time.time() - heartbeat.stat().st_mtime
    except OSError:
        return None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
