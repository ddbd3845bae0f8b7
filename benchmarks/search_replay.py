"""How good a search's best is after some trials and after some time: ours and its peers.

    python benchmarks/search_replay.py --optuna ENVIRONMENT/bin/python
    python benchmarks/search_replay.py --landscapes mr --searches "ours, bayesian" --seeds 5

Searches look scores up instead of training: in the tables of `search_table.py`, and in two
functions (`search_landscapes.py`). Ours run through the search's own loop with its files; bare
KerasTuner's through ``tuner.search`` with a ``run_trial`` that looks up; Optuna's through ``ask``
and ``tell`` in another environment (`search_optuna.py`). Time is virtual: the seconds that the
trainings took, plus the processor seconds that the search itself takes here. All have one worker,
and seeds are paired.

Rows hold the regret (distance to the best score there is) of each seed; ``--summary`` prints their
means with 95% intervals (bootstrap over seeds) and the paired differences to ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

from measuring import RESULTS, save  # noqa: E402
from search_landscapes import EPOCHS, Landscape, landscapes  # noqa: E402

TRIALS = (5, 10, 20, 30, 40)
TIMES = (3, 5, 10, 20, 30, 40)  # trials of all epochs that the same seconds would pay for
OURS = ("random", "bayesian", "bayesian, no pruning", "hyperband", "grid")
KERAS_TUNER = ("random", "bayesian", "hyperband")
OPTUNA = ("asha", "median", "none")
MOST = 400  # trials of a search whose trials are short

Point = tuple[float, float]  # seconds so far, and the trial's score


def main() -> None:
    """Replays what is missing, and reports."""
    every = [f"ours, {s}" for s in OURS] + [f"KerasTuner, {s}" for s in KERAS_TUNER]
    every += [f"Optuna TPE, {s}" for s in OPTUNA]
    there = landscapes()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--landscapes", nargs="+", default=list(there), choices=list(there))
    parser.add_argument("--searches", nargs="+", default=every, choices=every)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--optuna", help="Python of an environment with Optuna")
    parser.add_argument("--out", default="search_replay", help="name of the results")
    parser.add_argument("--against", default="ours, hyperband", help="of the paired differences")
    parser.add_argument("--again", action="store_true", help="also what the results have")
    parser.add_argument("--summary", action="store_true", help="only report")
    options = parser.parse_args()
    began = time.perf_counter()
    for name in options.landscapes:
        path = RESULTS / f"{options.out}_{name}.json"
        rows = json.loads(path.read_text())["rows"] if path.is_file() else []
        rows.sort(key=lambda row: every.index(row["search"]))
        for search in () if options.summary else options.searches:
            if ("Optuna" in search and not options.optuna) or (
                time.perf_counter() - began > options.seconds
            ):
                continue
            if options.again:
                rows[:] = [row for row in rows if row["search"] != search]
            row = next((row for row in rows if row["search"] == search), None)
            if row is None:
                row = {"search": search, "seeds": []}
                rows.append(row)
            seeds = range(len(row["seeds"]), options.seeds)
            for points in replays(search, name, there[name], seeds, options.optuna):
                row["seeds"].append(checkpoints(there[name], points))
                if time.perf_counter() - began > options.seconds:
                    break
            save(f"{options.out}_{name}", rows)
            print(name, search, f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
        summary(name, rows, there[name], options.against)


def checkpoints(there: Landscape, points: list[Point]) -> dict[str, list[float | None]]:
    """Regret after so many trials, and after so much time; None before the first trial ends."""
    choose = max if there.mode == "max" else min

    def regret(scores: list[float]) -> float | None:
        return round(there.regret(choose(scores)), 6) if scores else None

    scores = [score for _, score in points]
    return {
        "trials": [regret(scores[:count]) for count in TRIALS],
        "time": [
            regret([score for at, score in points if at <= many * there.typical])
            for many in TIMES
        ],
    }  # fmt: skip


def replays(
    search: str, name: str, there: Landscape, seeds: range, optuna: str | None
) -> Iterator[list[Point]]:
    """Searches to the longest of the times and the most of the trials."""
    who, _, strategy = search.partition(", ")
    limit = TIMES[-1] * there.typical
    if who.startswith("Optuna"):
        script = str(Path(__file__).with_name("search_optuna.py"))
        command = [str(optuna), script, strategy, name, str(MOST), str(limit), *map(str, seeds)]
        # Without what Python of this environment would find first.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        done.check_returncode()
        yield from map(json.loads, done.stdout.splitlines())
        return
    run = ours if who == "ours" else keras_tuner
    for seed in seeds:
        with tempfile.TemporaryDirectory(dir=memory()) as scratch:
            yield run(strategy, there, seed, limit, Path(scratch))


def memory() -> str | None:
    """A directory in memory, so that a slow disk does not count; None if there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class LookupPool:
    """A pool of one worker that looks results up; see ``tuning.pools.Pool``.

    Args:
        there: where.
        limit: seconds after which no trial is given any more.
    """

    def __init__(self, there: Landscape, limit: float) -> None:
        self.there, self.limit = there, limit
        self.points: list[Point] = []
        self.spent, self.began = 0.0, time.process_time()
        self.epochs: dict[str, int] = {}

    def capacity(self) -> int:
        """One."""
        return 1

    def lost(self) -> bool:
        """Never."""
        return False

    def close(self, owner_file: str) -> None:
        """Nothing runs."""

    def submit(self, spec: dict[str, Any], job: dict[str, Any]) -> Future:
        """Looks the trial up."""
        from tuning.pruning import pruned_after

        if self.spent > self.limit:
            raise TimeIsOver
        values, until = job["values"], job["until"]
        first = self.epochs.get(job["parent"], 0) if job["parent"] else 0
        curve = [self.there.epoch_score(values, epoch) for epoch in range(until)]
        end = pruned_after(curve, job["bounds"], self.there.mode)
        until = end or until
        self.epochs[job["directory"]] = until
        score = self.there.score(values, until)
        seconds = self.there.seconds(values, first, until)
        self.spent += seconds + time.process_time() - self.began
        self.began = time.process_time()
        self.points.append((self.spent, score))
        result = {
            "scores": [score], "epochs": until, "best_epoch": until, "parameters": None,
            "latency_ms": None, "stopped": False, "seconds": seconds,
            "curve": curve[:until], "pruned": end is not None,
        }  # fmt: skip
        future: Future = Future()
        future.set_result({"outcome": "completed", "seconds": seconds, "result": result})
        return future


class TimeIsOver(BaseException):
    """The virtual time of a search is spent; KerasTuner takes an Exception for a failed trial."""


def ours(strategy: str, there: Landscape, seed: int, limit: float, place: Path) -> list[Point]:
    """Seqloom's search."""
    from tuning.jobs import TrainerSpec
    from tuning.search import SearchPlan, search
    from tuning.strategies import discover

    pool = LookupPool(there, limit)
    strategy, _, whole = strategy.partition(", ")
    plan = SearchPlan(
        strategy, MOST, EPOCHS, "val_score", there.mode, seed,
        prune=strategy == "bayesian" and not whole,
    )  # fmt: skip
    spec, space = TrainerSpec("nothing:trains"), discover(there.declare)
    with contextlib.suppress(TimeIsOver):
        search(spec, space, plan, place / "search", pool)
    return pool.points


def keras_tuner(
    strategy: str, there: Landscape, seed: int, limit: float, scratch: Path
) -> list[Point]:
    """Bare KerasTuner."""
    import keras_tuner as kt

    kinds = {
        "random": kt.RandomSearch, "bayesian": kt.BayesianOptimization, "hyperband": kt.Hyperband
    }  # fmt: skip
    points: list[Point] = []
    spent = [0.0, time.process_time()]

    class Lookup(kinds[strategy]):
        def run_trial(self, trial, *args, **kwargs):
            values = trial.hyperparameters.values
            first = values.get("tuner/initial_epoch", 0)
            until = values.get("tuner/epochs", EPOCHS)
            score = there.score(values, until)
            now = time.process_time()
            spent[:] = [spent[0] + now - spent[1] + there.seconds(values, first, until), now]
            points.append((spent[0], score))
            if spent[0] > limit:
                raise TimeIsOver
            return {"score": score}

    space = kt.HyperParameters()
    there.declare(space)
    common = {
        "hypermodel": lambda hp: None, "hyperparameters": space, "seed": seed + 1,
        "objective": kt.Objective("score", there.mode), "directory": str(scratch),
        "project_name": "kt",
    }  # fmt: skip
    if strategy == "hyperband":
        tuner = Lookup(max_epochs=EPOCHS, hyperband_iterations=100, **common)
    else:
        # As many as the time lasts for, but a Gaussian process of 400 trials takes hours.
        tuner = Lookup(max_trials=TRIALS[-1] if strategy == "bayesian" else MOST, **common)
    with contextlib.suppress(TimeIsOver):
        tuner.search(verbose=0)
    return points


def summary(name: str, rows: list[dict[str, Any]], there: Landscape, against: str) -> None:
    """Prints means and intervals as Markdown."""
    mine = {row["search"]: row["seeds"] for row in rows if row["seeds"]}
    for kind, marks in (("trials", TRIALS), ("time", TIMES)):
        unit = "trials" if kind == "trials" else f"x {there.typical:.1f} s"
        print(f"\n{name}: mean regret x 1000 (95% interval) after so many {unit}\n")
        print("| search | seeds | " + " | ".join(map(str, marks)) + " |")
        print("|---" * (len(marks) + 2) + "|")
        for search, seeds in mine.items():
            cells = [interval([seed[kind][i] for seed in seeds]) for i in range(len(marks))]
            print(f"| {search} | {len(seeds)} | " + " | ".join(cells) + " |")
    if against not in mine:
        return
    print(f"\n{name}: the same after so much time, minus that of {against} with the same seed\n")
    print("| search | seeds | " + " | ".join(map(str, TIMES)) + " |")
    print("|---" * (len(TIMES) + 2) + "|")
    for search, seeds in mine.items():
        pairs = list(zip(seeds, mine[against], strict=False))
        cells = [
            interval([
                None if None in (one["time"][i], other["time"][i])
                else one["time"][i] - other["time"][i] for one, other in pairs
            ])
            for i in range(len(TIMES))
        ]  # fmt: skip
        print(f"| {search} | {len(pairs)} | " + " | ".join(cells) + " |")


def interval(values: list[float | None]) -> str:
    """Mean and bootstrap interval of it, in thousandths."""
    if not values or any(value is None for value in values):
        return ""
    low, high = bootstrap(values)
    mean = sum(values) / len(values)
    return f"{1000 * mean:.1f} ({1000 * low:.1f} to {1000 * high:.1f})"


def bootstrap(values: list[float], rounds: int = 2000) -> tuple[float, float]:
    """95% interval of the mean: percentiles over samples with replacement."""
    chance = random.Random(0)
    means = sorted(
        sum(chance.choices(values, k=len(values))) / len(values) for _ in range(rounds)
    )  # fmt: skip
    return means[int(0.025 * rounds)], means[int(0.975 * rounds) - 1]


if __name__ == "__main__":
    main()
