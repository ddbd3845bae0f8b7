"""Starts searches and clusters as processes of their own, and kills -9 what belongs to them.

Every process of a scene has the scene's mark in its environment, as has whatever it starts, also
after the death of who started it: nothing else on the machine can be hit or counted.
"""

import contextlib
import json
import os
import random
import socket
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
MARK = "SEQLOOM_TEST_SCENE"
POLL_SECONDS = 0.05
# Seconds for any one thing to happen: a busy machine is slow, but nothing takes this long.
WAIT_SECONDS = 300.0


class Scene:
    """Processes that a test starts, and those that they start.

    Args:
        directory: where what they print goes.
    """

    def __init__(self, directory):
        self.directory, self.mark = Path(directory), uuid.uuid4().hex
        self.directory.mkdir(parents=True, exist_ok=True)
        self._since = psutil.Process().create_time()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def start(self, name, *arguments):
        """``python -m ARGUMENTS``; what it prints is added to NAME.out and NAME.err."""
        environment = {**os.environ, MARK: self.mark, "PYTHONPATH": str(ROOT), "COLUMNS": "300"}
        out, err = (self.directory / f"{name}.{end}" for end in ("out", "err"))
        with out.open("ab") as output, err.open("ab") as errors:
            return psutil.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                cwd=ROOT, env=environment, stdout=output, stderr=errors,
            )  # fmt: skip

    def printed(self, name):
        """What the processes of a name have printed on stdout, and on stderr."""
        return tuple(
            (self.directory / f"{name}.{end}").read_text(errors="replace") for end in ("out", "err")
        )

    def members(self):
        """All that live."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.create_time() >= self._since and living(process)
                if mine and process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def fork_servers(self):
        """Of them, those that trials are forked from: each leads a session of its own."""
        return [p for p, session in self._forked() if p.pid == session]

    def trials(self):
        """Of them, the trials' own."""
        return [p for p, session in self._forked() if p.pid != session]

    def _forked(self):
        found = []
        for process in self.members():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if "tuning.fork_server" in process.cmdline():
                    found.append((process, os.getsid(process.pid)))
        return found


def living(process):
    """Whether a process runs: one that nobody has buried yet does not."""
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds=WAIT_SECONDS, every=POLL_SECONDS):
    """What the condition gives once it is true, or at the end of the time."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(every)
    return found


def kill(process):
    """Kills -9; True if it lived until then, which a process shows by stopping when it is told."""
    try:
        process.suspend()
        stopped = wait_until(lambda: _stopped(process))
        process.kill()
    except psutil.NoSuchProcess:
        return False
    assert wait_until(lambda: not living(process)), f"{process} outlives SIGKILL"
    return bool(stopped)


def _stopped(process):
    if not living(process):
        raise psutil.NoSuchProcess(process.pid)
    return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


def free_port():
    """A TCP port that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Cluster:
    """A Dask scheduler and its workers; what ends is begun again, as Kubernetes does.

    Args:
        scene: that they belong to.
        workers: how many.
        port: of the scheduler; a free one unless told.
    """

    def __init__(self, scene, workers=2, port=None):
        self.scene, self.port = scene, port or free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler, self.workers = None, [None] * workers
        self.keep()

    def keep(self):
        """Begins again what has ended."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.scheduler = self.scene.start(
                "scheduler", "distributed.cli.dask_scheduler",
                "--host", "127.0.0.1", "--port", self.port, "--no-dashboard",
            )  # fmt: skip
        for place, worker in enumerate(self.workers):
            if worker is None or worker.poll() is not None:
                self.workers[place] = self.scene.start(
                    "worker", "distributed.cli.dask_worker", self.address,
                    "--nthreads", 1, "--memory-limit", 0, "--no-dashboard",
                    "--local-directory", self.scene.directory / f"worker-{place}",
                )  # fmt: skip

    def processes(self):
        """Those of the scheduler, the workers and their nannies."""
        heads = [self.scheduler, *self.workers]
        return [*heads, *(own for head in heads for own in _own(head))]


def _own(head):
    """A nanny's worker and its helpers; not the fork servers, which must notice by themselves."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process in head.children(recursive=True):
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if living(process) and os.getsid(process.pid) == os.getsid(head.pid):
                    found.append(process)
    return found


def _helps(process):
    """Whether it is multiprocessing's, which buries what workers leave behind."""
    with contextlib.suppress(psutil.Error):
        return "resource_tracker" in " ".join(process.cmdline())
    return False


def processor_seconds(processes):
    """That they have taken so far, all together."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


class Witness:
    """Reads a search's trials over and over, and does not forget what was ever COMPLETED.

    Args:
        search: its directory.
    """

    def __init__(self, search):
        self.search = Path(search)
        self.finished, self.results, self.broken = {}, {}, []

    def look(self):
        """Notes in ``broken`` whatever a finished trial has lost since."""
        present = set()
        for path in sorted(self.search.glob("trials/*/trial.json")):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                self._note(f"{path} is torn: {error}")
                continue
            present.add(trial := record["trial"])
            now = {key: record.get(key) for key in ("state", "score", "scores", "seed", "values")}
            if record["state"] == "COMPLETED":
                self.finished.setdefault(trial, now)
            if now != self.finished.get(trial, now):
                self._note(f"{trial} was {self.finished[trial]}, is {now}")
        for trial in self.finished.keys() - present:
            self._note(f"{trial} was COMPLETED, is gone")
        for path in self.search.glob("trials/*/result.json"):
            status = path.stat()
            file = status.st_ino, status.st_mtime_ns
            if file != self.results.setdefault(path.parent.name, file):
                self._note(f"{path} was written again")

    def _note(self, what):
        if what not in self.broken:
            self.broken.append(what)


class FaultInjection:
    """Kills what belongs to a search until a plan of kills is fulfilled; then lets it end.

    The kills are spread over the whole search; half of those of trials hit one that has come as far
    as the end of an epoch.

    Args:
        scene: that all belongs to.
        command: arguments of the search, started again whenever its process was killed.
        search: its directory.
        trials: planned.
        kills: number by sort: "owner", "fork_server", "trial", "worker", "scheduler".
        seed: of the order of the sorts, of the moments and of the victims.
        pace: seconds that a trial takes here, roughly.
        cluster: that the search runs on, if it does.
    """

    def __init__(self, scene, command, search, *, trials, kills, seed, pace, cluster=None):
        self.scene, self.command, self.cluster = scene, command, cluster
        self.trials, self.plan, self.pace = trials, kills, pace
        self.chance = random.Random(seed)
        self.witness, self.done = Witness(search), Counter()
        self.owner, self.late = None, False

    def run(self):
        """Begins the search, kills, and waits for the end."""
        self.owner = self.scene.start("owner", *self.command)
        sorts = [sort for sort, count in self.plan.items() for _ in range(count)]
        self.chance.shuffle(sorts)
        # How many trials have ended before each kill: the last ones are left to end in peace.
        levels = sorted(self.chance.randrange(self.trials - 2) for _ in sorts)
        for number, (sort, level) in enumerate(zip(sorts, levels, strict=True)):
            self.late = sort == "trial" and self.chance.random() < 0.5
            share = self.chance.random()
            self._until(lambda level=level: len(self.witness.finished) >= level, f"trial {level}")
            self._until(lambda sort=sort: self._victims(sort), f"there is a {sort} to kill")
            # The fewer trials are left the faster: there must be something to kill until the end.
            left = self.trials - 2 - len(self.witness.finished)
            haste = min(0.25 if self.late else 1, max(0, 3 * left / (len(sorts) - number)))
            self._rest(share * haste * self.pace)
            while not self._strike(sort):
                self._until(lambda sort=sort: self._victims(sort), f"there is a {sort} to kill")
            self.done[sort] += 1
        self._until(lambda: self.owner.poll() is not None, "the search ends", 6 * WAIT_SECONDS)
        assert self.owner.returncode == 0, self.scene.printed("owner")[1][-3000:]
        self.witness.look()

    def _victims(self, sort):
        if sort == "fork_server":
            return self.scene.fork_servers()
        if sort == "trial":
            return [p for p in self.scene.trials() if not self.late or epochs_of(p)]
        if sort == "worker":
            return [worker for worker in self.cluster.workers if worker.poll() is None]
        return [self.owner if sort == "owner" else self.cluster.scheduler]

    def _strike(self, sort):
        """Kills one of a sort; False where it ended by itself just before."""
        victims = self._victims(sort)
        if not victims:
            return False
        victim = self.chance.choice(victims)
        if sort == "worker":
            return self._strike_worker(victim)
        hit = kill(victim)
        if sort == "owner" and hit:
            assert victim.wait(WAIT_SECONDS) == -9
            self.owner = self.scene.start("owner", *self.command)
        return hit

    def _strike_worker(self, nanny):
        """With its nanny, as when a machine dies, or alone: then the nanny begins it again."""
        workers = [p for p in _own(nanny) if not _helps(p)]
        alone = bool(workers) and self.chance.random() < 0.3
        hits = [kill(process) for process in (*([] if alone else [nanny]), *workers)]
        return hits[0]

    def _look(self):
        self.witness.look()
        if self.cluster is not None:
            self.cluster.keep()

    def _rest(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look()
            time.sleep(POLL_SECONDS)

    def _until(self, condition, what, seconds=WAIT_SECONDS):
        """Waits, and looks on meanwhile."""
        end = time.monotonic() + seconds
        while not condition():
            self._look()
            ended = self.owner.poll()
            errors = self.scene.printed("owner")[1][-3000:]
            planned = sum(self.plan.values())
            assert ended is None or self.done.total() == planned, (
                f"the search ended (code {ended}) after {dict(self.done)}: {errors}"
            )
            assert time.monotonic() < end, f"not within {seconds:g} s: {what}\n{errors}"
            time.sleep(POLL_SECONDS)


def epochs_of(process):
    """Whether a trial's process has a history, its own or one that it goes on with."""
    with contextlib.suppress(psutil.Error):
        logs = [Path(file.path) for file in process.open_files()]
        return any([*log.parent.glob("run-*/history.csv")] for log in logs if log.name == "log.txt")
    return False
