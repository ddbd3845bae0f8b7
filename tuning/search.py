"""The owner of a search: gives slots to workers, records how they end, and knows when to stop."""

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
from tuning.jobs import Job, Recipe
from tuning.leaderboard import Limits, TrialRow, best_row
from tuning.lease import Ownership
from tuning.ledger import Ledger
from tuning.pools import Pool
from tuning.store import Store
from tuning.strategies import Answer, Draw, SlotOracle, check_strategy, make_strategy

TICK = 1.0
# Whom the end of an attempt may speak against: the trial, what it ran on, or, where the owner died
# at the same time, perhaps the trial. Each is borne so often before the trial has failed; how often
# the trial itself is borne, the budget says.
BLAME = {"raised": "trial", "died": "trial", "stalled": "trial", "lost": "pool",
         "abandoned": "owner"}  # fmt: skip
PATIENCE = {"pool": 20, "owner": 5}


@dataclass(frozen=True)
class SearchPlan:
    """What is searched and how: with the recipe, all that decides which trials there are.

    Attributes:
        strategy: one of ``strategies.STRATEGIES``.
        trials: greatest number of trials, those of an earlier start counted in.
        epochs: greatest number of epochs of a trial.
        metric: Keras's name of the validation metric.
        mode: "max" or "min" of it.
        seed: of the draws and of each trial.
        executions: trainings of each trial from other seeds, whose mean score counts.
        lag: see ``strategies.BayesianSlots``; as many workers and one have work at any time.
    """

    strategy: str
    trials: int
    epochs: int
    metric: str
    mode: str
    seed: int = 0
    executions: int = 1
    lag: int = 3

    def __post_init__(self) -> None:
        check_strategy(self.strategy)


@dataclass(frozen=True)
class Budget:
    """When to stop, and what to bear: none of it changes what a trial gives.

    Attributes:
        seconds: of the whole search, earlier starts counted in; None without end.
        target: a score that is good enough.
        retries: attempts beyond the first that a trial may fail.
        stall_seconds: without a sign of life for so long, a trial is stopped and tried again.
        limits: what the best may cost.
    """

    seconds: float | None = None
    target: float | None = None
    retries: int = 2
    stall_seconds: float = 600.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Moment:
    """What there is to show while a search runs.

    Attributes:
        rows: best first.
        ended: the trial that has just ended, if any.
        message: what has just happened otherwise, if anything.
        spent: seconds of the search so far.
        running: trials under way.
    """

    rows: list[TrialRow]
    spent: float
    running: list[str]
    ended: TrialRow | None = None
    message: str | None = None


def search(
    recipe: Recipe,
    space: kt.HyperParameters,
    plan: SearchPlan,
    directory: Path,
    pool: Pool,
    budget: Budget | None = None,
    watch: Callable[[Moment], None] = lambda _: None,
    store: str | None = None,
) -> list[TrialRow]:
    """Runs a search, or goes on with what is in its directory.

    Args:
        recipe: what makes the trials' processes ready.
        space: what is searched.
        plan: which trials there are.
        directory: of the search.
        pool: where trials run.
        budget: when to stop.
        watch: shown every change, and about once a second.
        store: URL where trials keep their files, for machines that do not see ``directory``.

    Returns:
        The leaderboard, best first.

    Raises:
        SearchError: another process owns the directory, the recipe cannot be prepared, or no trial
            succeeded.
    """
    files = Store(store) if store else None
    owner = Ownership(directory, (lambda path: files.put(path, path.name)) if files else None)
    try:
        ledger = Ledger(directory, plan.mode, files)
        owned = OwnedSearch(recipe, space, plan, ledger, pool, budget or Budget(), watch, owner)
        try:
            owned.run()
        finally:
            owned.interrupt()
    finally:
        pool.close(str(owner.path))
        owner.close()
    rows = ledger.ranking()
    if best_row(rows) is None:
        why = next((row.message for row in rows if row.message), "none was run")
        raise SearchError(f"no trial of {directory} succeeded; the first said: {why}")
    return rows


class OwnedSearch:
    """A search while this process owns it."""

    def __init__(
        self,
        recipe: Recipe,
        space: kt.HyperParameters,
        plan: SearchPlan,
        ledger: Ledger,
        pool: Pool,
        budget: Budget,
        watch: Callable[[Moment], None],
        owner: Ownership,
    ) -> None:
        self.recipe, self.plan, self.pool, self.budget = recipe, plan, pool, budget
        self.ledger, self.watch, self.owner = ledger, watch, owner
        self.strategy: SlotOracle = make_strategy(
            plan.strategy, space, kt.Objective(plan.metric, plan.mode),
            epochs=plan.epochs, seed=plan.seed, lag=plan.lag,
        )  # fmt: skip
        self.futures: dict[Future, int] = {}
        self.exhausted = False

    def run(self) -> None:
        """Until the plan is fulfilled or the budget spent."""
        self._settle()
        while True:
            self._look_at_budget()
            if self.pool.lost():
                for future in list(self.futures):
                    self._end(self.futures.pop(future), {"outcome": "lost"})
            room = 0 if self.owner.stopping else self.pool.capacity() - len(self.futures)
            while room > 0 and (slot := self._next()) is not None:
                self._submit(slot)
                room -= 1
            if not self.futures and (self.owner.stopping or self._next() is None):
                return
            self._wait()
            self.owner.beat()
            self.watch(self._moment())

    def _wait(self) -> None:
        if not self.futures:
            time.sleep(TICK)  # for workers to come
            return
        done, _ = wait(self.futures, timeout=TICK, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=self.futures.__getitem__):
            slot = self.futures.pop(future)
            try:
                ending = future.result()
            except (Exception, CancelledError) as error:  # noqa: BLE001 the pool's, not the trial's
                ending = {"outcome": "lost", "message": f"{type(error).__name__}: {error}"}
            self._end(slot, ending)

    def _next(self) -> int | None:
        """The next slot to run, recorded; None where there is none now."""
        running = set(self.futures.values())
        for slot, record in sorted(self.ledger.records.items()):
            if record["state"] in ("RUNNING", "CUT") and slot not in running:
                return slot
        rows = self.ledger.rows
        for slot in range(self.plan.trials):
            if slot in rows or self.exhausted:
                continue
            answer = self.strategy.propose(slot, rows)
            if answer is Answer.END:
                self.exhausted = True
            elif answer is Answer.SKIP:
                self.ledger.skip(slot)
                rows = self.ledger.rows
            elif isinstance(answer, Draw):
                self.ledger.begin(slot, answer)
                return slot
            elif self.plan.strategy != "hyperband":
                return None  # what follows waits as well
        return None

    def _submit(self, slot: int) -> None:
        record = self.ledger.records[slot]
        if record["state"] == "CUT":
            record["state"] = "RUNNING"
        root, tries = self._lineage(slot)
        seeds = [
            trial_seed(self.plan.seed, root, execution, tries)
            for execution in range(self.plan.executions)
        ]
        record["seed"] = seeds[0]
        record["attempts"].append({"outcome": None, "epochs_before": self.ledger.epochs_done(slot)})
        self.ledger.save(slot)
        # One that failed by itself goes on from nobody: its new seed is another training's.
        failed = any(attempt["outcome"] == "raised" for attempt in record["attempts"])
        parent = None if failed else record["parent"]
        job = Job(
            trial=record["trial"],
            directory=str(self.ledger.path(slot)),
            values=record["values"],
            seeds=seeds,
            until=record["until"],
            parent=None if parent is None else str(self.ledger.path(int(parent))),
            lease=str(self.owner.path),
            token=self.owner.token,
            stall_seconds=self.budget.stall_seconds,
            store=self.ledger.store and self.ledger.store.url,
        )
        self.futures[self.pool.submit(asdict(self.recipe), asdict(job))] = slot

    def _lineage(self, slot: int) -> tuple[int, int]:
        """Where a trial's training began, and how often it failed by itself on the way.

        That begins it anew from another seed; what was killed gives the score it would have.
        """
        record = self.ledger.records[slot]
        tries = sum(attempt["outcome"] == "raised" for attempt in record["attempts"])
        if record.get("parent") is None:
            return slot, tries
        root, before = self._lineage(int(record["parent"]))
        return root, before + tries

    def _end(self, slot: int, ending: dict[str, Any]) -> None:
        """Records how an attempt ended."""
        record, outcome = self.ledger.records[slot], ending["outcome"]
        if outcome == "unprepared":
            record["attempts"].pop()  # it was none
            self.ledger.save(slot)
            raise SearchError(ending["message"])
        attempt = record["attempts"][-1]
        attempt |= {key: ending[key] for key in ("outcome", "message", "seconds") if key in ending}
        # The trial's own time, without what it waited for the data to be made ready.
        attempt["seconds"] = ending.get("result", ending).get("seconds")
        self.ledger.take(slot)
        self._judge(slot, ending)
        record["seconds"] = sum(a.get("seconds") or 0.0 for a in record["attempts"])
        self._record(slot)

    def _judge(self, slot: int, ending: dict[str, Any]) -> None:
        """The state that a trial is in after an attempt."""
        record, outcome = self.ledger.records[slot], ending["outcome"]
        if outcome in ("completed", "cut"):
            record |= ending["result"]
            scores = record["scores"]
            mean = sum(scores) / len(scores)
            record["score"] = mean
            deviation = (sum((s - mean) ** 2 for s in scores) / max(1, len(scores) - 1)) ** 0.5
            record["spread"] = deviation if len(scores) > 1 else None
            record["state"] = "COMPLETED" if outcome == "completed" else "CUT"
            record["message"] = None
            return
        record["message"] = ending.get("message")
        attempt = record["attempts"][-1]
        # A process that was killed may have been killed by anyone; one that comes no further than
        # the attempt before is at fault itself.
        further = self.ledger.epochs_done(slot) > attempt["epochs_before"]
        blame = BLAME.get(outcome) if outcome == "raised" or not further else None
        attempt["blame"] = blame
        count = sum(earlier.get("blame") == blame for earlier in record["attempts"])
        if blame and count > PATIENCE.get(blame, self.budget.retries):
            record["state"] = "FAILED"

    def interrupt(self) -> None:
        """Notes that the attempts under way end for no fault of their own."""
        for slot in self.futures.values():
            record = self.ledger.records[slot]
            record["attempts"][-1]["outcome"] = "interrupted"
            self.ledger.save(slot)

    def _record(self, slot: int) -> None:
        record = self.ledger.records[slot]
        over = record["state"] != "RUNNING"
        if over:
            record["ended_at"] = self.owner.spent
        self.ledger.save(slot)
        if over:
            self.ledger.keep_best(self.budget.limits)
            self.ledger.prune(self.budget.limits, self.strategy.needed(self.ledger.rows))
        row = self.ledger.rows[slot]
        if over:
            self.watch(self._moment(ended=row))
        elif row.message:
            told = f"trial {row.trial}: {row.message}; it is begun again"
            self.watch(self._moment(message=told))

    def _settle(self) -> None:
        """Takes up what the owner before left: trials that ended unheard, and those cut short."""
        for slot, record in sorted(self.ledger.records.items()):
            if record["state"] != "RUNNING" or not record["attempts"]:
                continue
            self.ledger.take(slot)
            result = self.ledger.path(slot) / "result.json"
            if result.exists():
                ending = {"outcome": "completed", "result": json.loads(result.read_text())}
                self._end(slot, ending | {"seconds": ending["result"].get("seconds")})
            elif record["attempts"][-1]["outcome"] is None:
                # The trial may be what killed the owner, by all the memory it took.
                self._end(slot, {"outcome": "abandoned", "message": "the search died with it"})
        self.ledger.keep_best(self.budget.limits)

    def _look_at_budget(self) -> None:
        best = best_row(self.ledger.ranking(), self.budget.limits)
        target, seconds = self.budget.target, self.budget.seconds
        reached = False
        if target is not None and best is not None:
            reached = best.score >= target if self.plan.mode == "max" else best.score <= target
        # The first trial always runs, so that there is something to show.
        over = seconds is not None and self.owner.spent > seconds and bool(self.ledger.records)
        if (reached or over) and not self.owner.stopping:
            self.owner.stop()
            why = f"the score {target:g} is reached" if reached else f"{seconds:g} s are over"
            self.watch(self._moment(message=f"{why}: trials under way end after their epoch"))

    def _moment(self, **news: Any) -> Moment:
        running = [self.ledger.records[slot]["trial"] for slot in self.futures.values()]
        return Moment(self.ledger.ranking(), self.owner.spent, sorted(running), **news)


def trial_seed(search_seed: int, slot: int, execution: int, tries: int) -> int:
    """Of weights, dropout and order: after an attempt that failed by itself, another one."""
    text = f"{search_seed}/{slot}/{execution}/{tries}"
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") >> 1
