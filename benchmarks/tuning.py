"""Seqloom's search beside bare KerasTuner: trials an hour, memory, best score after equal time.

    python benchmarks/tuning.py --data ../shared/data
    python benchmarks/tuning.py --only throughput memory

Every measurement is a process of its own, bare and ours by turns. Both search the same space of the
same task on the same examples and train with the same loss, metrics and calibration. Bare
KerasTuner loads the data once, trains trial after trial in its process with all cores, and saves
the best epoch of each; ours has a process a trial, and besides keeps each trial's optimizer state
for a resume, measures its latency as ONNX, and writes TensorBoard's files.

* throughput: the same configurations for all, those of Seqloom's random search; the time is that
  of the whole process, imports and the start of the one that trials are forked from counted in.
* loops: ours with the quick loops of training and without, the same configurations of texts that
  ``--sources`` name, one worker.
* memory: resident memory of the searching process, and of the one that trials are forked from,
  after each of 40 small trials; growth is counted from the second trial on.
* learning: best validation score after the same seconds since the process began.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import report

BEGAN = time.perf_counter()
SMALL = {"units": 16, "embedding_dim": 16}
# Of the part "learning": where the data is below --data, how it is read, and what is set.
LEARNING = {
    "sentiment": ("mr", {}, {}),
    "forecast": (
        "ett/ETTh1.csv",
        {"split": "8640,2880,2880", "lookback": 336, "horizon": 24, "stride": 4}, {},
    ),
}  # fmt: skip


def main() -> None:
    """Measures and reports."""
    options = arguments()
    if options.measure:
        measure(json.loads(options.measure))
        return
    for part in options.only:
        parts = {"throughput": throughput, "loops": loops, "memory": memory, "learning": learning}
        rows = parts[part](options)
        report(f"tuning_{part}", rows)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts = ["throughput", "loops", "memory", "learning"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--trials", type=int, default=10, help="of throughput and loops")
    parser.add_argument("--rounds", type=int, default=3, help="of throughput and loops")
    parser.add_argument("--sources", nargs="+", default=["synthetic:4000"], help="of loops")
    parser.add_argument("--seconds", type=float, default=180, help="of learning")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def throughput(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds a trial of bare KerasTuner, and of ours with one and two workers."""
    seconds: dict[str, list[float]] = {"bare": [], "ours, 1 worker": [], "ours, 2 workers": []}
    common = {"task": "sentiment", "source": "synthetic:4000", "epochs": 2,
              "trials": options.trials, "strategy": "given"}  # fmt: skip
    for number in range(options.rounds):
        for name in seconds:
            order = {**common, "who": name.partition(",")[0], "seed": number}
            order["workers"] = 2 if "2" in name else 1
            found = measured(order)
            assert len(found["scores"]) == options.trials, found
            seconds[name].append(found["seconds"] / options.trials)
            print(f"{name}: {seconds[name][-1]:.2f} s a trial", flush=True)
    return [
        {
            "measured": "trials an hour",
            "search": name,
            "value": 3600 / statistics.median(values),
            "of bare": statistics.median(
                bare / own for bare, own in zip(seconds["bare"], values, strict=True)
            ),
        }
        for name, values in seconds.items()
    ]


def loops(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Trials an hour with the quick loops of training and with Keras's."""
    rows = []
    for source in options.sources:
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for number in range(options.rounds):
            for fast, values in seconds.items():
                order = {"task": "sentiment", "source": source, "epochs": 2, "who": "ours",
                         "trials": options.trials, "strategy": "random", "workers": 1,
                         "seed": number, "settings": {"fast_loops": fast}}  # fmt: skip
                found = measured(order)
                assert len(found["scores"]) == options.trials, found
                values.append(found["seconds"] / options.trials)
                print(f"{source}, fast_loops={fast}: {values[-1]:.2f} s a trial", flush=True)
        keras, ours = (3600 / statistics.median(seconds[fast]) for fast in (False, True))
        rows.append({"measured": "trials an hour", "data": source, "Keras's loops": keras,
                     "quick loops": ours, "times Keras's": ours / keras})  # fmt: skip
    return rows


def memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Growth of resident memory over 40 trials."""
    rows = []
    for who in ("bare", "ours"):
        order = {
            "task": "sentiment",
            "source": "synthetic:200",
            "epochs": 1,
            "trials": 40,
            "strategy": "random",
            "settings": SMALL,
            "who": who,
            "workers": 2,
            "seed": 0,
        }
        found = measured(order)  # fmt: skip
        grown = (found["resident"][-1] - found["resident"][1]) / 1e6
        rows.append({"measured": "MB grown over 40 trials", "search": who, "value": grown,
                     "MB at the end": found["resident"][-1] / 1e6})  # fmt: skip
    return rows


def learning(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Best validation score after equal time."""
    rows = []
    for task, (place, reading, settings) in LEARNING.items():
        source = options.data / place
        if not source.exists():
            print(f"skipped: {source} is not there; name the folder of the data with --data")
            continue
        for strategy in ("random", "hyperband"):
            for who in ("bare", "ours"):
                order = {"task": task, "source": str(source), "reading": reading, "epochs": 3,
                         "trials": 1000, "strategy": strategy, "settings": settings, "who": who,
                         "workers": 2, "seed": 0, "until": options.seconds}  # fmt: skip
                found = measured(order)
                choose = max if found["mode"] == "max" else min
                rows.append({
                    "measured": f"{task}: {found['metric']} after {options.seconds:g} s",
                    "search": f"{who}, {strategy}",
                    "value": choose(found["scores"]) if found["scores"] else None,
                    "trials": len(found["scores"]),
                })  # fmt: skip
                print(rows[-1], flush=True)
    return rows


def measured(order: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own measures; one that takes too long is killed, as bare ones must."""
    with tempfile.TemporaryDirectory() as scratch:
        told = Path(scratch) / "told.jsonl"
        order = {**order, "directory": f"{scratch}/search", "told": str(told)}
        command = [sys.executable, __file__, "--measure", json.dumps(order)]
        log = Path(scratch) / "log.txt"
        with log.open("w") as errors:
            process = subprocess.Popen(command, stdout=errors, stderr=errors)
            try:
                process.wait(order.get("until", 3600) + (0 if order["who"] == "bare" else 60))
            except subprocess.TimeoutExpired:
                process.kill()
        lines = told.read_text().splitlines() if told.exists() else []
        if process.returncode not in (0, -9, None) or not lines:
            raise RuntimeError(log.read_text()[-2000:])
    found: dict[str, Any] = {"scores": [], "resident": []}
    for line in map(json.loads, lines):
        if "score" in line:
            found["scores"].append(line["score"])
            found["resident"].append(line["resident"])
        else:
            found |= line
    return found


def measure(order: dict[str, Any]) -> None:
    """One search, which tells of each trial in a file."""
    import tasks

    if order["who"] == "ours":
        from tasks.stages.trainers import start_fork_server

        start_fork_server(order["workers"])  # as the command does
    task = tasks.get(order["task"])
    data = task.data_options(order["source"], **order.get("reading", {}))
    changes = {**order.get("settings", {}), "epochs": order["epochs"]}
    settings = task.with_settings(task.settings, changes)
    tell(order, {"mode": task.metric.mode, "metric": task.metric.key})
    (bare if order["who"] == "bare" else ours)(order, task, data, settings)


def tell(order: dict[str, Any], line: dict[str, Any]) -> None:
    """One line for the process that measures."""
    with Path(order["told"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


def resident() -> int:
    """Bytes in memory of this process and of the one that trials are forked from."""
    import psutil

    own = psutil.Process()
    return sum(process.memory_info().rss for process in (own, *own.children()))


def ours(order: dict[str, Any], task: Any, data: Any, settings: Any) -> None:
    """Seqloom's search."""
    from tasks.stages.tuning import Budget, SearchOptions, tune

    def watch(progress: Any) -> None:
        if progress.ended is not None:
            tell(order, {"score": progress.ended.score, "resident": resident()})

    left = order["until"] - (time.perf_counter() - BEGAN) if "until" in order else None
    options = SearchOptions(
        order["trials"], order["epochs"],
        "random" if order["strategy"] == "given" else order["strategy"],
        order["seed"], workers=order["workers"], budget=Budget(left),
    )  # fmt: skip
    tune(task, data, settings, options, Path(order["directory"]), watch=watch)
    tell(order, {"seconds": time.perf_counter() - BEGAN})


def bare(order: dict[str, Any], task: Any, data: Any, settings: Any) -> None:
    """KerasTuner as its documentation has it, around the same model and batches."""
    import keras_tuner as kt

    def told(kind: type) -> Any:
        class Telling(kind):
            def on_trial_end(self, trial):
                super().on_trial_end(trial)
                score = self.oracle.get_trial(trial.trial_id).score
                tell(order, {"score": score, "resident": resident()})

        return Telling

    model = hypermodel(task, data, settings)
    objective = kt.Objective(task.metric.key, task.metric.mode)
    common = {"directory": order["directory"], "project_name": "bare", "seed": order["seed"] + 1}
    if order["strategy"] == "hyperband":
        tuner = told(kt.Hyperband)(
            model, objective, max_epochs=order["epochs"], hyperband_iterations=1000, **common
        )
    else:
        tuner = told(kt.RandomSearch)(model, objective, max_trials=order["trials"], **common)
    if order["strategy"] == "given":
        give(tuner.oracle, drawn_values(task, settings, order))
    tuner.search(epochs=order["epochs"], verbose=0)
    tell(order, {"seconds": time.perf_counter() - BEGAN})


def hypermodel(task: Any, data: Any, settings: Any) -> Any:
    """A ``kt.HyperModel`` of a task, trained with the callbacks and batches of Seqloom's trials."""
    import keras
    import keras_tuner as kt

    from models.callbacks import AfterEpoch, AveragedValidation, NamedMetrics
    from models.training import for_model
    from tasks.stages.training import prepare

    ready = prepare(task, settings, task.load(data))
    size = settings.model.batch_size
    train = ready.train.training_batches(size, 0)
    validation = ready.validation.batches(2 * size)

    class HyperModel(kt.HyperModel):
        def build(self, hp):
            return task.build(task.search_space(hp, settings), ready.preprocessor, ready.counts)

        def fit(self, hp, model, callbacks=(), **kwargs):
            stop = keras.callbacks.EarlyStopping(
                task.metric.key, mode=task.metric.mode, patience=settings.model.patience
            )
            own = [
                NamedMetrics({task.metric.logged: task.metric.name}),
                AveragedValidation(),
                AfterEpoch(
                    lambda model, batches: task.after_epoch(model, ready.preprocessor, batches),
                    validation,
                ),
                stop,
            ]
            return model.fit(
                for_model(train.starting_with(kwargs.pop("initial_epoch", 0)), model),
                steps_per_epoch=train.steps,
                validation_data=for_model(validation, model),
                shuffle=False,
                callbacks=[*own, *callbacks],
                **kwargs,
            )

    return HyperModel()


def drawn_values(task: Any, settings: Any, order: dict[str, Any]) -> list[dict[str, Any]]:
    """The configurations that Seqloom's random search tries."""
    import keras_tuner as kt

    from tuning.leaderboard import TrialRow
    from tuning.strategies import discover, make_strategy

    space = discover(lambda hp: task.search_space(hp, settings))
    objective = kt.Objective(task.metric.key, task.metric.mode)
    strategy = make_strategy("random", space, objective, epochs=1, seed=order["seed"])
    rows: dict[int, TrialRow] = {}
    for number in range(order["trials"]):
        proposal = strategy.propose(number, rows)
        rows[number] = TrialRow(f"{number:04d}", "COMPLETED", proposal.values)
    return [rows[number].values for number in range(order["trials"])]


def give(oracle: Any, values: list[dict[str, Any]]) -> None:
    """Has an oracle hand out these values in order."""
    left = list(values)
    oracle.populate_space = lambda trial_id: (
        {"status": "RUNNING", "values": left.pop(0)} if left else {"status": "STOPPED"}
    )


if __name__ == "__main__":
    main()
