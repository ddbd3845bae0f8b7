"""A trainer that 'trains' by arithmetic, in milliseconds, and fails in every way on request.

A fork server imports it by its name through ``sys.path``; it needs neither Keras nor TensorFlow.
The score of an epoch depends on every epoch before it, so that only a training that really went on
from its state reaches the score of an undisturbed one.
"""

import csv
import ctypes
import json
import math
import os
import shutil
import time
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from common.errors import DataError
from common.files import write_json, write_text
from tuning.jobs import TrainerSpec
from tuning.pruning import pruned_after

DEFAULTS = {"units": 4, "rate": 0.01, "deep": False}
BATCHES = 8  # an epoch: signs of life


def declare(hp):
    """A search space of 7 x (a continuum) x 2; no default is the first of its values."""
    hp.Choice("units", [2, 3, 4, 5, 6, 7, 8], default=4)
    hp.Float("rate", 1e-3, 1e-1, sampling="log", default=0.01)
    hp.Boolean("deep", default=False)


def quality(values):
    """What a configuration would reach in endless epochs without noise."""
    rate = math.log10(values.get("rate", 0.01))
    deep = 0.1 if values.get("deep") else 0.0
    return 0.6 - 0.05 * (rate + 2.2) ** 2 + 0.02 * values["units"] + deep


def epoch_of(weights, values, seed, epoch):
    """Weights and score after one more epoch (from 0 on)."""
    text = f"{weights}/{seed}/{epoch}/{json.dumps(values, sort_keys=True)}"
    weights = sha256(text.encode()).hexdigest()
    noise = int(weights[:8], 16) / 16**8
    return weights, quality(values) * (1 - 0.6 ** (epoch + 1)) + 0.05 * noise


def scores_of(values, seed, epochs):
    """The score of each epoch of an undisturbed training."""
    weights, scores = str(seed), []
    for epoch in range(epochs):
        weights, score = epoch_of(weights, values, seed, epoch)
        scores.append(score)
    return scores


def trainer_spec(events, **arguments):
    """The trainer spec of a ``TinyTrainer`` that logs to ``events/events.txt``."""
    return TrainerSpec("tiny_trainer:TinyTrainer", {"events": str(events), **arguments})


def events_of(directory, kind=None):
    """Lines of ``events.txt`` as dictionaries, all or those of one kind."""
    path = Path(directory) / "events.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return [event for event in found if kind in (None, event["kind"])]


def alive_process(pid):
    """Whether a process runs: one that nobody has buried yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def processes_of(directory):
    """Processes of trials, and of the fork servers they came from, that still run."""
    begun = events_of(directory, "begin")
    found = {event[name] for event in begun for name in ("pid", "fork_server")}
    return {pid for pid in found if alive_process(pid)}


def fork_servers_of(owner):
    """Nurseries that a process has."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = path.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            command = path.joinpath("cmdline").read_text()
        except OSError:
            continue
        if int(parent) == owner and "tuning.fork_server" in command:
            found.add(int(path.name))
    return found


def wait_until(condition, seconds=60.0, every=0.01):
    """Waits for what must come to pass; True once it has, False when time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(every)
    return False


class Searching:
    """A search of the tiny trainer: its directory, its events and its last ranking."""

    def __init__(self, place, strategy="random", trials=6, epochs=3, declared=declare, **plan):
        from tuning.search import SearchPlan

        self.directory, self.events = place / "search", place / "events"
        self.declared = declared
        plan = {"metric": "val_score", "mode": "max", "max_pending": 2} | plan
        self.plan = SearchPlan(strategy, trials, epochs, **plan)

    def run(
        self, workers=1, watch=lambda progress: None, trials=None, budget=None, pool=None, **trainer
    ):
        """Rows in the order of trials; nothing that ran is left, however it ends."""
        from tuning.pools import LocalPool
        from tuning.search import search
        from tuning.search_lock import is_locked
        from tuning.strategies import discover

        plan = replace(self.plan, trials=trials or self.plan.trials)
        made, space = trainer_spec(self.events, **trainer), discover(self.declared)
        pool = pool or LocalPool(workers, 1)
        try:
            found = search(made, space, plan, self.directory, pool, budget, watch)
        finally:
            assert wait_until(lambda: not processes_of(self.events))
            assert not fork_servers_of(os.getpid())
            assert not is_locked(self.directory)
        self.ranking = found
        return sorted(found, key=lambda row: row.trial)

    def count(self, kind):
        """Events of a kind by trial."""
        return Counter(event["trial"] for event in events_of(self.events, kind))

    def seeds(self, number, tries=0):
        """Of the executions of a trial that failed by itself so often."""
        from tuning.search import trial_seed

        executions = range(self.plan.executions)
        return [trial_seed(self.plan.seed, number, execution, tries) for execution in executions]

    def run_of(self, row, execution=0):
        """Directory of an execution."""
        return self.directory / "trials" / row.trial / f"run-{execution}"

    def best_is(self, row, execution=0):
        """Whether ``best`` is that execution as it is now."""
        one, other = self.directory / "best", self.run_of(row, execution)
        names = ("config.json", "history.csv", "model.keras")
        return all((one / name).read_text() == (other / name).read_text() for name in names)


def look_often(monkeypatch):
    """Makes an owner look around often, so that tests need not wait for it."""
    for module in ("tuning.search", "tuning.attempts"):
        monkeypatch.setattr(f"{module}.POLL_SECONDS", 0.05)


class TinyTrainer:
    """See ``tuning.jobs.Trainer``.

    Args:
        events: directory of ``events.txt``.
        faults: for "raise", "nan", "abort", "segfault", "hang", "exit": the values for which it
            strikes, a list for each hyperparameter named; {} is every configuration.
        at_epoch: in which a fault strikes; what goes on from a parent is spared.
        times: how often it strikes a trial; None for always.
        epoch_seconds: that an epoch takes.
        mode: "max", or "min" for a score that is the better the smaller it is.
        refuses: an error of the preparation, of which its message is said.
        dies: the preparation ends the process.
        prepare_seconds: that the preparation takes.
    """

    def __init__(
        self,
        events,
        faults=None,
        at_epoch=0,
        times=None,
        epoch_seconds=0.0,
        mode="max",
        refuses=None,
        dies=False,
        prepare_seconds=0.0,
    ):
        time.sleep(prepare_seconds)
        if refuses:
            raise DataError(refuses)
        if dies:
            os._exit(3)
        self.events, self.faults, self.at_epoch = Path(events), faults or {}, at_epoch
        self.times, self.epoch_seconds = times, epoch_seconds
        self.sign = 1 if mode == "max" else -1

    def train(self, job, heartbeat):
        """Every execution, epoch by epoch."""
        self._log("begin", job, fork_server=os.getppid(), told=dict(os.environ).get("TOLD"))
        results, ended = [], False
        for execution, seed in enumerate(job.seeds):
            run = job.path / f"run-{execution}"
            _take_up(run, seed, job.parent and Path(job.parent) / run.name)
            write_json(run / "config.json", {"seed": seed, "values": job.values})
            rows, ended = self._fit(job, run, execution, seed, heartbeat)
            results.append(rows)
            if ended:
                break
        curve = [score * self.sign for score in results[0]]
        mode = "max" if self.sign > 0 else "min"
        pruned = pruned_after(curve, job.bounds, mode) is not None
        done = pruned or len(results[-1]) >= job.until
        whole = len(results) == len(job.seeds) and done
        if whole:
            self._log("finished", job, seeds=job.seeds)
        return {
            "scores": [max(rows) * self.sign for rows in results],
            "epochs": max(map(len, results)),
            "best_epoch": results[0].index(max(results[0])) + 1,
            "parameters": 10 * job.values["units"],
            "latency_ms": job.values["units"] / 4,
            "stopped": ended and not whole,
            "curve": curve if len(job.seeds) == 1 else None,
            "pruned": pruned,
        }

    def _fit(self, job, run, execution, seed, heartbeat):
        """Scores of a run's epochs, and whether it was told to end."""
        state = _json(run / "backup" / "state.json") or {"weights": str(seed), "scores": []}
        weights, scores, ended = state["weights"], state["scores"], False
        mode = "max" if self.sign > 0 else "min"
        for epoch in range(len(scores), job.until):
            if pruned_after([score * self.sign for score in scores], job.bounds, mode):
                break
            if epoch == self.at_epoch and not job.parent:
                self._strike(job)
            for _ in range(BATCHES):
                time.sleep(self.epoch_seconds / BATCHES)
                ended = not heartbeat() or ended
            weights, score = epoch_of(weights, job.values, seed, epoch)
            scores.append(score)
            self._log("epoch", job, execution=execution, epoch=epoch, seed=seed)
            self._save(run, weights, scores)
            if ended:
                break
        write_text(run / "model.keras", (run / "best.weights.h5").read_text())
        return scores, ended

    def _save(self, run, weights, scores):
        if scores[-1] == max(scores):
            write_text(run / "best.weights.h5", f"{weights}\n")
        rows = [
            {"epoch": epoch, "val_score": self.sign * score, "seconds": self.epoch_seconds}
            for epoch, score in enumerate(scores)
        ]
        aside = run / "history.csv.new"
        with aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        os.replace(aside, run / "history.csv")
        write_json(run / "backup" / "state.json", {"weights": weights, "scores": scores})

    def _strike(self, job):
        for fault, wanted in self.faults.items():
            if not all(job.values[name] in values for name, values in wanted.items()):
                continue
            before = [e for e in events_of(self.events, "fault") if e["trial"] == job.trial]
            if self.times is not None and len(before) >= self.times:
                continue
            self._log("fault", job, fault=fault, seeds=job.seeds)
            if fault == "raise":
                raise RuntimeError(f"no layer\nhas {job.values['units']} units")
            if fault == "nan":
                raise ValueError(f"the loss became NaN in epoch {self.at_epoch + 1}")
            if fault == "abort":
                os.abort()
            if fault == "segfault":
                ctypes.string_at(0)
            if fault == "exit":
                os._exit(7)
            while True:  # hang
                time.sleep(0.1)

    def _log(self, kind, job, **more):
        """One line, which no other process's line runs into."""
        event = {"kind": kind, "trial": job.trial, "pid": os.getpid(), **more}
        self.events.mkdir(parents=True, exist_ok=True)
        file = os.open(self.events / "events.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, (json.dumps(event) + "\n").encode())
        finally:
            os.close(file)


def _take_up(run, seed, parent):
    """As ``tasks.stages.trials`` does it."""
    config = _json(run / "config.json")
    if config is not None and config["seed"] != seed:
        shutil.rmtree(run)
        config = None
    if config is None and parent is not None:
        aside = run.with_name(f".{run.name}")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(parent, aside, ignore=shutil.ignore_patterns("model.keras"))
        aside.rename(run)


def _json(path):
    try:
        return json.loads(path.read_text())
    except OSError:
        return None
