"""One attempt at a trial, in its own process on this machine.

A search hands ``run_attempt`` to an executor, so it is called by a local thread or by a Dask worker
on another machine. It has the trial forked from a fork server, watches it, and reports how it
ended. It never raises an error because of what a trial does.
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

from tuning.jobs import UNWRITABLE, TrainerSpec, TrialJob
from tuning.search_lock import OwnerWatch

POLL_SECONDS = 0.5


class ForkServerClient:
    """Starts a fork server process and requests trials from it; many threads may use one client.

    Args:
        target: target of the trainer spec that will follow; the server imports its module first.
        threads: number of TensorFlow threads in each trial.
    """

    def __init__(self, target: str, threads: int) -> None:
        count = str(threads)
        # A new session: the owner of the search handles Ctrl-C at the terminal.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuning.fork_server"],
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

    def prepare(self, spec: TrainerSpec, log: Path) -> None:
        """Has the server create the trainer; its output goes to the file ``log`` from now on."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self._send({"spec": asdict(spec), "log": str(log.resolve())})

    def run(
        self, job: TrialJob, reason_to_stop: Callable[[], str | None]
    ) -> tuple[str, int | None]:
        """Has the trial run, and waits for its end.

        Args:
            job: the trial.
            reason_to_stop: called repeatedly; if it returns a reason, the trial is killed.

        Returns:
            How the trial ended, and the exit code of its process if there is one: "exit" and the
            code; or the reason that ``reason_to_stop`` returned; or "lost" if the server died.
        """
        events: queue.Queue = queue.Queue()
        with self.lock:
            if self.dead:
                return "lost", None
            self.waiting[job.trial] = events
        self._send({"job": asdict(job)})
        reason = None
        while True:
            try:
                event = events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if reason is None and (reason := reason_to_stop()):
                    self._send({"kill": job.trial})
                continue
            if event is None:
                return reason or "lost", None
            if "exit" in event:
                return reason or "exit", event["exit"]

    def close(self) -> None:
        """Ends the fork server and all its trials."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _send(self, request: dict[str, Any]) -> None:
        with self.lock, contextlib.suppress(OSError):  # `_listen` notices that the server has died
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
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


# In use, by owner file, key of the trainer spec and threads; and started, but not yet used.
_servers: dict[tuple[str | None, str, int], ForkServerClient] = {}
_unused: dict[tuple[str, int], ForkServerClient] = {}
_servers_lock = threading.Lock()


def start_fork_server(target: str, threads: int) -> None:
    """Starts a fork server ahead of time, for the first trainer spec with this target."""
    with _servers_lock:
        _unused[target, threads] = ForkServerClient(target, threads)


def stop_unused_fork_servers() -> None:
    """Ends the fork servers that ``start_fork_server`` started and no trial has used."""
    with _servers_lock:
        while _unused:
            _unused.popitem()[1].close()


def fork_server(spec: TrainerSpec, threads: int, job: TrialJob, trials: Path) -> ForkServerClient:
    """The fork server for a job's search in this process; started if there is none alive.

    Args:
        spec: the trainer that trials need.
        threads: number of TensorFlow threads in each trial.
        job: a job of the search.
        trials: directory of the trials, where a new server writes its log.
    """
    with _servers_lock:
        key = job.owner_file, spec.key, threads
        if key not in _servers or _servers[key].dead:
            server = _unused.pop((spec.target, threads), None)
            if server is None or server.dead:
                server = ForkServerClient(spec.target, threads)
            server.prepare(spec, fork_server_log(trials))
            _servers[key] = server
        return _servers[key]


def fork_server_log(trials: Path) -> Path:
    """The log file of this machine's fork server, in the directory of the trials."""
    return trials / f"fork-server-{socket.gethostname()}.log"


def close_fork_servers(owner_file: str | None = None) -> None:
    """Ends the fork servers of the search with this owner file, or all of this process."""
    with _servers_lock:
        for key in [key for key in _servers if owner_file is None or key[0] == owner_file]:
            _servers.pop(key).close()


atexit.register(close_fork_servers)
atexit.register(stop_unused_fork_servers)


def run_attempt(spec: dict[str, Any], job: dict[str, Any], threads: int) -> dict[str, Any]:
    """Runs a trial, or the rest of one, in its own process.

    Args:
        spec: fields of a ``TrainerSpec``.
        job: fields of a ``TrialJob``.
        threads: number of TensorFlow threads.

    Returns:
        ``seconds``, ``outcome`` and, depending on the outcome:

        * "completed" or "stopped": ``result``, the dict that the trainer returned;
        * "raised", "died" (a signal, or out of memory), "stalled": ``message``;
        * "owner_lost": another process owns the search, or no process does;
        * "lost": the fork server died, which says nothing about the trial;
        * "unprepared": ``message``; no trial with this trainer spec can run, or be written, now.
    """
    asked, started = TrialJob(**job), time.monotonic()
    if asked.store is None:
        return {**_attempt(TrainerSpec(**spec), asked, asked, threads, lambda: None),
                "seconds": time.monotonic() - started}  # fmt: skip
    from tuning.store import TrialMirror

    mirror = TrialMirror(asked)
    try:
        ending = _attempt(TrainerSpec(**spec), asked, mirror.job, threads, mirror.sync)
    finally:
        mirror.close()
    return {**ending, "seconds": time.monotonic() - started}


def _attempt(
    spec: TrainerSpec, asked: TrialJob, job: TrialJob, threads: int, sync: Callable[[], None]
) -> dict[str, Any]:
    """Runs ``job``: the job that was asked for, its paths replaced by paths on this machine."""
    for stale in ("stopped.json", "cut.json", "failure.json", "heartbeat"):
        (job.path / stale).unlink(missing_ok=True)
    owner = OwnerWatch(job.owner_file, job.token)
    server = fork_server(spec, threads, asked, job.path.parent)

    def reason_to_stop() -> str | None:
        sync()
        if owner.lost():
            return "owner_lost"
        silent = _heartbeat_age(job.path / "heartbeat")
        return "stalled" if silent is not None and silent > job.stall_seconds else None

    how, code = server.run(job, reason_to_stop)
    if server.unprepared is not None:
        return {"outcome": "unprepared", "message": server.unprepared}
    return _ending(job, how, code)


def _ending(job: TrialJob, how: str, code: int | None) -> dict[str, Any]:
    """The outcome of an attempt, from the files of the trial and from how its process ended."""
    for name, outcome in (("result.json", "completed"), ("stopped.json", "stopped")):
        if (result := _json(job.path / name)) is not None:
            return {"outcome": outcome, "result": result}
    if how == "stalled":
        text = f"sent no heartbeat for {job.stall_seconds:g} s"
        return {"outcome": "stalled", "message": text}
    if how == "lost":
        text = f"its fork server died; see {fork_server_log(job.path.parent)}"
        return {"outcome": "lost", "message": text}
    if how != "exit":
        return {"outcome": how}
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; the system kills what takes too much memory" if code == -signal.SIGKILL else ""
        return {"outcome": "died", "message": f"its process was ended by {name}{hint}"}
    failure = _json(job.path / "failure.json") or {}
    if code == UNWRITABLE:
        text = f"{job.path} cannot be written; there may be no room left on its disk"
        again = "the same command with --out goes on when there is"
        return {"outcome": "unprepared", "message": f"{failure.get('message', text)}; {again}"}
    text = failure.get("message", f"its process ended with code {code}; see {job.path}/log.txt")
    return {"outcome": "raised", "message": text}


def _heartbeat_age(heartbeat: Path) -> float | None:
    """Seconds since the last heartbeat; None before the first."""
    try:
        return time.time() - heartbeat.stat().st_mtime
    except OSError:
        return None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
