"""What a search costs as it grows: 10 to 10,000 trials, ours and bare KerasTuner's.

    python benchmarks/search_growth.py
    python benchmarks/search_growth.py --searches "ours, bayesian" --marks 10 100 1000

Trials look their scores up (`search_landscapes.py`, the function of eight hyperparameters), so that
the time is that of the search alone. For each mark one process brings the search close to it, with
random configurations; a new process then continues it, as after a kill, to its last trials. In that
one are measured, in seconds of the processor: until it gives its first trial; per trial, in
milliseconds; of ours also reading the leaderboard, and making the report page, which has no
learning curves here. Besides resident memory beyond that of the process before the search, and
bytes on the disk. Files are in memory (/dev/shm) where there is one. Where a process takes more
than --limit seconds of the processor, the search ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

from measuring import RESULTS, report  # noqa: E402
from search_landscapes import EPOCHS, Mixed  # noqa: E402
from search_replay import LookupPool, TimeIsOver, memory  # noqa: E402

SEARCHES = ("ours, random", "ours, bayesian", "ours, hyperband", "KerasTuner, random",
            "KerasTuner, bayesian", "KerasTuner, hyperband")  # fmt: skip

# Trials that are measured.
LAST = {"ours": 20, "KerasTuner": 4}


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=SEARCHES)
    parser.add_argument("--marks", nargs="+", type=int, default=[10, 100, 1000, 10000])
    parser.add_argument("--limit", type=int, default=120, help="processor seconds for one part")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        search, directory, mark, part = options.measure
        print(json.dumps(measure(search, Path(directory), int(mark), part == "last")))
        return
    path = RESULTS / "search_growth.json"
    for search in options.searches:
        new = grown(search, options.marks, options.limit)
        rows = json.loads(path.read_text())["rows"] if path.is_file() else []
        report("search_growth", [row for row in rows if row["search"] != search] + new)


def grown(search: str, marks: list[int], limit: int) -> list[dict[str, Any]]:
    """A row for each mark."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=memory()) as scratch:
        for mark in marks:
            for part in ("first", "last"):
                command = [sys.executable, __file__, "--measure", search, scratch, str(mark), part]
                # The processor's, so that other work on the machine does not count.
                limited = ["bash", "-c", f'ulimit -t {limit} && exec "$@"', "limited", *command]
                done = subprocess.run(limited, stdout=subprocess.PIPE, text=True)
                if done.returncode == -signal.SIGKILL:
                    over = f"{part} trials take more than {limit} s"
                    return [*rows, {"search": search, "trials": mark, "over": over}]
                done.check_returncode()
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    return rows


def measure(search: str, directory: Path, mark: int, last: bool) -> dict[str, Any]:
    """One process: from the trials that are there nearly to ``mark``, or the last of them."""
    who, _, strategy = search.partition(", ")
    clock: list[float] = []
    run = ours if who == "ours" else keras_tuner
    few = LAST[who] if mark > 2 * LAST[who] else mark // 2
    if not last:
        run(strategy, directory, mark - few, clock, guess=False)
        return {}
    with tempfile.TemporaryDirectory(dir=memory()) as scratch:  # imports, first calls
        run(strategy, Path(scratch), 12, [])
    before, began = resident(), time.process_time()
    run(strategy, directory, mark, clock)
    row: dict[str, Any] = {"search": search, "trials": mark}
    row["s to the first trial"] = round(clock[0] - began, 3)
    row["ms a trial"] = round(1000 * (clock[-1] - clock[0]) / (len(clock) - 1), 2)
    row["MB"] = round((resident() - before) / 1e6, 1)
    files = [path for path in directory.rglob("*") if path.is_file()]
    row["kB on the disk"] = round(sum(path.stat().st_size for path in files) / 1e3)
    return row | (read(directory) if who == "ours" else {})


def resident() -> int:
    """Bytes in memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def ours(strategy: str, directory: Path, mark: int, clock: list[float], guess: bool = True) -> None:
    """Seqloom's search to so many trials."""
    from common.files import write_json
    from tuning import hyperband
    from tuning.jobs import TrainerSpec
    from tuning.search import SearchPlan, search
    from tuning.strategies import discover

    class Clocked(LookupPool):
        def submit(self, spec, job):
            clock.append(time.process_time())
            return super().submit(spec, job)

    if not guess:
        strategy = "random" if strategy == "bayesian" else strategy
        hyperband.RANDOM_EVERY = 1
    there = Mixed()
    prune = guess and strategy == "bayesian"
    plan = SearchPlan(strategy, mark, EPOCHS, "val_score", there.mode, prune=prune)
    space = discover(there.declare)
    about = {"mode": there.mode, "metric": "val_score", "strategy": strategy, "trials": mark,
             "space": space.get_config()["space"]}  # fmt: skip
    write_json(directory / "search.json", about)
    search(TrainerSpec("nothing:trains"), space, plan, directory, Clocked(there, float("inf")))


def read(directory: Path) -> dict[str, float]:
    """Seconds to read the leaderboard, and to make the page."""
    from reports.search_report import search_page
    from tuning.leaderboard import read_search

    began = time.process_time()
    search = read_search(directory)
    listed = time.process_time()
    page = search_page(search)
    return {
        "s leaderboard": round(listed - began, 3),
        "s page": round(time.process_time() - listed, 2), "MB page": round(len(page) / 1e6, 2),
    }  # fmt: skip


def keras_tuner(
    strategy: str, directory: Path, mark: int, clock: list[float], guess: bool = True
) -> None:
    """Bare KerasTuner's search to so many trials."""
    import keras_tuner as kt

    there, space = Mixed(), kt.HyperParameters()
    there.declare(space)
    kinds = {
        "random": kt.RandomSearch, "bayesian": kt.BayesianOptimization, "hyperband": kt.Hyperband
    }  # fmt: skip

    class Lookup(kinds[strategy]):
        def run_trial(self, trial, *args, **kwargs):
            clock.append(time.process_time())
            if len(self.oracle.trials) >= mark:
                raise TimeIsOver
            values = trial.hyperparameters.values
            return {"score": there.score(values, values.get("tuner/epochs", EPOCHS))}

    common = {
        "hypermodel": lambda hp: None, "hyperparameters": space, "seed": 1,
        "objective": kt.Objective("score", there.mode), "directory": str(directory),
        "project_name": "kt",
    }  # fmt: skip
    limits: dict[str, Any] = {"max_trials": 10**6}
    if strategy == "hyperband":
        limits = {"max_epochs": EPOCHS, "hyperband_iterations": 10**6}
    tuner = Lookup(**limits, **common)
    if strategy == "bayesian":  # not an argument: what was saved would win
        tuner.oracle.num_initial_points = None if guess else 10**6
    with contextlib.suppress(TimeIsOver):
        tuner.search(verbose=0)


if __name__ == "__main__":
    main()
