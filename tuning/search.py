"""The owner of a search: gives trials to workers, records how they end, decides when to stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras_tuner as kt

from tuning.errors import SearchError
from tuning.jobs import TrainerSpec, TrialJob
from tuning.leaderboard import TrialLimits, TrialRow, best_row
from tuning.pools import Pool
from tuning.pruning import reason
from tuning.search_lock import SearchLock
from tuning.store import RemoteStore
from tuning.strategies import make_strategy
from tuning.strategy import NoProposal, Proposal, Strategy
from tuning.strategy_names import check_strategy
from tuning.trial_records import TrialRecords

POLL_SECONDS = 1.0
# The likely cause of each way in which an attempt can fail: the trial; the pool that it ran on; or,
# where the owner died at the same time, perhaps the trial.
CAUSES = {"raised": "trial", "died": "trial", "stalled": "trial", "lost": "pool",
          "abandoned": "owner"}  # fmt: skip
# Failures per cause after which the trial is tried again; for the trial itself: Budget.retries.
TOLERANCE = {"pool": 20, "owner": 5}


@dataclass(frozen=True)
class SearchPlan:
    """The settings that, with the trainer spec and the space, decide which trials there are.

    Attributes:
        strategy: one of ``strategy_names.STRATEGIES``.
        trials: maximum number of trials, including those of earlier starts.
        epochs: maximum number of epochs of a trial.
        metric: Keras's name of the validation metric.
        mode: "max" if higher values of the metric are better, "min" if lower values are.
        seed: seed of the samples and of all trials.
        executions: number of trainings per trial, each from another seed; their mean score counts.
        max_pending: see ``bayesian.BayesianStrategy``; up to ``max_pending + 1`` workers are busy
            at any time.
        prune: whether Bayesian search ends trials early that will not win; see ``tuning.pruning``.
    """

    strategy: str
    trials: int
    epochs: int
    metric: str
    mode: str
    seed: int = 0
    executions: int = 1
    max_pending: int = 3
    prune: bool = False

    def __post_init__(self) -> None:
        check_strategy(self.strategy)


@dataclass(frozen=True)
class Budget:
    """When to stop, and how many failures to tolerate; does not change the result of any trial.

    Attributes:
        seconds: time limit of the whole search, including earlier starts; None for no limit.
        target: the search stops once a trial has reached this score; None for no target.
        retries: number of failed attempts after which a trial is tried again.
        stall_seconds: a trial that has sent no heartbeat for this long is stopped and tried again.
        limits: maximum cost of the best trial.
    """

    seconds: float | None = None
    target: float | None = None
    retries: int = 2
    stall_seconds: float = 600.0
    limits: TrialLimits = field(default_factory=TrialLimits)


@dataclass(frozen=True)
class SearchProgress:
    """The state of a running search, for display.

    Attributes:
        rows: all trials, best first.
        spent: seconds that the search has taken so far.
        running: numbers of the trials that are running.
        ended: the trial that has just ended, if any.
        message: any other news, if any.
    """

    rows: list[TrialRow]
    spent: float
    running: list[str]
    ended: TrialRow | None = None
    message: str | None = None


def search(
    spec: TrainerSpec,
    space: kt.HyperParameters,
    plan: SearchPlan,
    directory: Path,
    pool: Pool,
    budget: Budget | None = None,
    watch: Callable[[SearchProgress], None] = lambda _: None,
    store: str | None = None,
) -> list[TrialRow]:
    """Runs a search, or continues the one in its directory.

    Args:
        spec: how the processes of trials create their trainer.
        space: the search space.
        plan: which trials there are.
        directory: directory of the search.
        pool: where trials run.
        budget: when to stop.
        watch: called at every change, and about once a second.
        store: URL where trials keep their files, for machines that do not see ``directory``.

    Returns:
        The leaderboard, best first.

    Raises:
        SearchError: another process owns the directory, the trainer cannot be created, or no trial
            succeeded.
    """
    files = RemoteStore(store) if store else None
    lock = SearchLock(directory, (lambda path: files.put(path, path.name)) if files else None)
    try:
        records = TrialRecords(directory, plan.mode, files)
        loop = SearchLoop(spec, space, plan, records, pool, budget or Budget(), watch, lock)
        try:
            loop.run()
        finally:
            loop.interrupt()
            records.write_leaderboard()
    finally:
        pool.close(str(lock.path))
        lock.close()
    rows = records.ranking()
    if best_row(rows) is None:
        why = next((row.message for row in rows if row.message), "none was run")
        raise SearchError(f"no trial of {directory} succeeded; the first message: {why}")
    return rows


class SearchLoop:
    """The main loop of a search, while this process owns it."""

    def __init__(
        self,
        spec: TrainerSpec,
        space: kt.HyperParameters,
        plan: SearchPlan,
        records: TrialRecords,
        pool: Pool,
        budget: Budget,
        watch: Callable[[SearchProgress], None],
        lock: SearchLock,
    ) -> None:
        self.spec, self.plan, self.pool, self.budget = spec, plan, pool, budget
        self.records, self.watch, self.lock = records, watch, lock
        self.strategy: Strategy = make_strategy(
            plan.strategy, space, kt.Objective(plan.metric, plan.mode),
            epochs=plan.epochs, seed=plan.seed, max_pending=plan.max_pending, prune=plan.prune,
        )  # fmt: skip
        self.futures: dict[Future, int] = {}
        self.exhausted = False
        self.begun = 0  # trials with a lower number have all begun

    def run(self) -> None:
        """Runs trials until the plan is complete or the budget is spent."""
        self._recover()
        while True:
            self._check_budget()
            if self.pool.lost():
                for future in list(self.futures):
                    self._end(self.futures.pop(future), {"outcome": "lost"})
            room = 0 if self.lock.stopping else self.pool.capacity() - len(self.futures)
            while room > 0 and (number := self._next()) is not None:
                self._submit(number)
                room -= 1
            if not self.futures and (self.lock.stopping or self._next() is None):
                return
            self._wait()
            self.lock.heartbeat()
            self.watch(self._progress())

    def _wait(self) -> None:
        if not self.futures:
            time.sleep(POLL_SECONDS)  # until workers are available
            return
        done, _ = wait(self.futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=self.futures.__getitem__):
            number = self.futures.pop(future)
            try:
                ending = future.result()
            except (Exception, CancelledError) as error:  # noqa: BLE001 an error of the pool
                ending = {"outcome": "lost", "message": f"{type(error).__name__}: {error}"}
            self._end(number, ending)

    def _next(self) -> int | None:
        """The next trial to run, with its record written; None if none can run now."""
        running, rows = set(self.futures.values()), self.records.rows
        for number in self.records.unfinished:
            if number not in running:
                return number
        while self.begun in rows:
            self.begun += 1
        for number in range(self.begun, self.plan.trials):
            if number in rows or self.exhausted:
                continue
            answer = self.strategy.propose(number, rows)
            if answer is NoProposal.END:
                self.exhausted = True
            elif answer is NoProposal.SKIP:
                self.records.skip(number)
            elif isinstance(answer, Proposal):
                self.records.begin(number, answer)
                return number
            elif self.strategy.samples(number):
                return None  # all later trials wait as well
        return None

    def _submit(self, number: int) -> None:
        record = self.records.by_number[number]
        if record["state"] == "STOPPED":
            record["state"] = "RUNNING"
        root, tries = self._lineage(number)
        seeds = [
            trial_seed(self.plan.seed, root, execution, tries)
            for execution in range(self.plan.executions)
        ]
        record["seed"] = seeds[0]
        before = self.records.epochs_done(number)
        record["attempts"].append({"outcome": None, "epochs_before": before})
        self.records.save(number)
        # A trial that raised an error does not continue its parent: it trains from another seed.
        failed = any(attempt["outcome"] == "raised" for attempt in record["attempts"])
        parent = None if failed else record["parent"]
        job = TrialJob(
            trial=record["trial"],
            directory=str(self.records.path(number)),
            values=record["values"],
            seeds=seeds,
            until=record["until"],
            parent=None if parent is None else str(self.records.path(int(parent))),
            owner_file=str(self.lock.path),
            token=self.lock.token,
            stall_seconds=self.budget.stall_seconds,
            store=self.records.store and self.records.store.url,
            bounds=record.get("bounds") or [],
        )
        self.futures[self.pool.submit(asdict(self.spec), asdict(job))] = number

    def _lineage(self, number: int) -> tuple[int, int]:
        """The trial where a trial's training began, and how many errors were raised since then.

        Each error restarts the training from another seed. A trial that was killed keeps its seed,
        and ends with the score that it would have had anyway.
        """
        record = self.records.by_number[number]
        tries = sum(attempt["outcome"] == "raised" for attempt in record["attempts"])
        if record.get("parent") is None:
            return number, tries
        root, before = self._lineage(int(record["parent"]))
        return root, before + tries

    def _end(self, number: int, ending: dict[str, Any]) -> None:
        """Records how an attempt ended."""
        record, outcome = self.records.by_number[number], ending["outcome"]
        if outcome == "unprepared":
            record["attempts"].pop()  # the trial was never started
            self.records.save(number)
            raise SearchError(ending["message"])
        attempt = record["attempts"][-1]
        attempt |= {key: ending[key] for key in ("outcome", "message", "seconds") if key in ending}
        # Training time of the trial, without the time that it waited for the data.
        attempt["seconds"] = ending.get("result", ending).get("seconds")
        self.records.pull(number)
        self._judge(number, ending)
        record["seconds"] = sum(a.get("seconds") or 0.0 for a in record["attempts"])
        self._record(number)

    def _judge(self, number: int, ending: dict[str, Any]) -> None:
        """Sets the state and the score of a trial after an attempt."""
        record, outcome = self.records.by_number[number], ending["outcome"]
        if outcome in ("completed", "stopped"):
            record |= ending["result"]
            scores = record["scores"]
            mean = sum(scores) / len(scores)
            record["score"] = mean
            deviation = (sum((s - mean) ** 2 for s in scores) / max(1, len(scores) - 1)) ** 0.5
            record["spread"] = deviation if len(scores) > 1 else None
            record["state"] = "COMPLETED" if outcome == "completed" else "STOPPED"
            record["message"] = None
            about = self.plan.metric, record.get("curve"), record.get("bounds"), self.plan.mode
            record["pruned"] = reason(*about) if record.get("pruned") else None
            return
        record["message"] = ending.get("message")
        attempt = record["attempts"][-1]
        # Any other process may have killed this one, so a death counts only if the attempt got no
        # further than the attempt before.
        further = self.records.epochs_done(number) > attempt["epochs_before"]
        cause = CAUSES.get(outcome) if outcome == "raised" or not further else None
        attempt["cause"] = cause
        count = sum(earlier.get("cause") == cause for earlier in record["attempts"])
        if cause and count > TOLERANCE.get(cause, self.budget.retries):
            record["state"] = "FAILED"

    def interrupt(self) -> None:
        """Records that the running attempts end through no fault of their own."""
        for number in self.futures.values():
            record = self.records.by_number[number]
            record["attempts"][-1]["outcome"] = "interrupted"
            self.records.save(number)

    def _record(self, number: int) -> None:
        record = self.records.by_number[number]
        over = record["state"] != "RUNNING"
        if over:
            record["ended_at"] = self.lock.spent
        self.records.save(number)
        if over:
            self.records.keep_best(self.budget.limits)
            self.records.prune(self.budget.limits, self.strategy.needed(self.records.rows))
        row = self.records.rows[number]
        if over:
            self.watch(self._progress(ended=row))
        elif row.message:
            message = f"trial {row.trial}: {row.message}; it is started again"
            self.watch(self._progress(message=message))

    def _recover(self) -> None:
        """Updates the records of trials that were running when the previous owner ended."""
        for number, record in sorted(self.records.by_number.items()):
            if record["state"] != "RUNNING" or not record["attempts"]:
                continue
            self.records.pull(number)
            result = self.records.path(number) / "result.json"
            if result.exists():
                ending = {"outcome": "completed", "result": json.loads(result.read_text())}
                self._end(number, ending | {"seconds": ending["result"].get("seconds")})
            elif record["attempts"][-1]["outcome"] is None:
                # The trial may have killed the owner by using up the memory.
                self._end(number, {"outcome": "abandoned", "message": "the search died with it"})
        self.records.keep_best(self.budget.limits)

    def _check_budget(self) -> None:
        best = best_row(self.records.ranking(), self.budget.limits)
        target, seconds = self.budget.target, self.budget.seconds
        reached = False
        if target is not None and best is not None:
            reached = best.score >= target if self.plan.mode == "max" else best.score <= target
        # The first trial always runs, so that there is a result to show.
        over = seconds is not None and self.lock.spent > seconds and bool(self.records.by_number)
        if (reached or over) and not self.lock.stopping:
            self.lock.stop()
            why = f"the score {target:g} is reached" if reached else f"{seconds:g} s are over"
            message = f"{why}: running trials stop after their current epoch"
            self.watch(self._progress(message=message))

    def _progress(self, **news: Any) -> SearchProgress:
        running = [self.records.by_number[number]["trial"] for number in self.futures.values()]
        return SearchProgress(self.records.ranking(), self.lock.spent, sorted(running), **news)


def trial_seed(search_seed: int, number: int, execution: int, tries: int) -> int:
    """Seed of weights, dropout and order of one execution of a trial.

    Args:
        search_seed: seed of the search.
        number: number of the trial.
        execution: number of the execution, from 0.
        tries: number of attempts that have raised an error; each gives another seed.
    """
    text = f"{search_seed}/{number}/{execution}/{tries}"
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") >> 1
