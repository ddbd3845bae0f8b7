"""The whole way, one stage after the other: the stage behind ``seqloom run``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.training import for_model
from pipelines.ragged import instances
from serving.errors import ServingError
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.exporting import export
from tasks.stages.run_directory import Run
from tasks.stages.training import prepare, train
from tasks.stages.trials import drawn_settings
from tasks.stages.tuning import SearchOptions, tune
from tuning.machine import default_workers, visible_gpus

if TYPE_CHECKING:
    from pipelines.ragged import Arrays
    from pipelines.splits import Splits
    from tasks.stages.live import SearchDisplay


@dataclass(frozen=True)
class Estimate:
    """What a run will take at most, from a few measured steps of the default model."""

    seconds_per_epoch: float
    search_seconds: float
    training_seconds: float

    @property
    def sentence(self) -> str:
        """For the person who waits."""
        total = self.search_seconds + self.training_seconds
        return (
            f"about {_minutes(total)} at most: {_minutes(self.search_seconds)} of search, "
            f"{_minutes(self.training_seconds)} for the best model; "
            f"an epoch of the default model takes about {self.seconds_per_epoch:.0f} s here"
        )


def estimate(task: Task, settings: Settings, splits: Splits, options: SearchOptions) -> Estimate:
    """Times some training steps spread over the lengths of the data."""
    ready = prepare(task, settings, splits)
    model = task.build(settings, ready.preprocessor, ready.counts)
    batches = ready.train.training_batches(settings.model.batch_size, 0)
    count = batches.steps
    sample = for_model(batches.one(0), model).shard(max(1, count // 8), 0).take(8)
    sample = list(sample.as_numpy_iterator())
    for batch in (sample[0], sample[-1]):
        model.train_on_batch(*batch)
    times = []
    for batch in sample:
        began = time.perf_counter()
        model.train_on_batch(*batch)
        times.append(time.perf_counter() - began)
    # Validation costs a forward pass over a tenth of the rows; tracing some seconds a model.
    epoch = float(np.mean(times)) * count * 1.05
    at_once = options.workers or default_workers(visible_gpus())
    rounds = -(-options.trials // at_once)
    return Estimate(
        seconds_per_epoch=epoch,
        search_seconds=min(
            rounds * (options.epochs * epoch + 6), options.budget.seconds or float("inf")
        ),
        training_seconds=settings.model.epochs * epoch + 10,
    )


def run_everything(
    task: Task,
    data: DataOptions,
    settings: Settings,
    options: SearchOptions,
    directory: Path,
    display: SearchDisplay,
    splits: Splits | None = None,
) -> dict[str, Any]:
    """Tunes, trains the best, evaluates, exports, checks parity, serves and asks one question.

    Stopped at any moment and started again with the same arguments, it goes on; what is finished
    stays usable: ``search/best`` while searching, then ``model``, then ``bundle``.

    Args:
        task: what to learn.
        data: where from.
        settings: the defaults that the search begins with.
        options: of the search.
        directory: ``search/``, ``model/`` (the run) and ``bundle/`` are made in it.
        display: shows a person what happens now.
        splits: the examples, where the caller has read them already.
    """
    started, tell = time.perf_counter(), display.tell
    splits = splits or task.load(data)
    tell(f"everything goes to {directory}; stopped, the same command with --out goes on there")
    run, bundle = Run(directory / "model"), directory / "bundle"
    if not run.finished:
        tell(estimate(task, settings, splits, options).sentence)
    with display:
        result = tune(
            task, data, settings, options, directory / "search",
            splits=splits, watch=display.show, tell=tell,
        )  # fmt: skip
    if run.finished:
        result |= run.read_json("metrics.json")
    else:
        best = drawn_settings(task, settings, result["best"]["config"])
        tell(f"training the best of {result['trials']['completed']} trials")
        result |= train(task, data, best, run, seed=options.seed, splits=splits, tell=tell)
    tell("exporting, and comparing each export with Keras")
    result |= export(run, bundle, splits=splits)
    tell("serving, and asking one question over REST")
    result["seconds"] = time.perf_counter() - started
    preprocessor = run.preprocessor()
    request = preprocessor.to_request(preprocessor.raw(splits.validation[:1]))
    result["served"] = ask_served(task, bundle, request)
    return result


def ask_served(task: Task, bundle: Path, request: Arrays) -> dict[str, Any]:
    """Starts ``seqloom serve`` on a free port, asks one question as a client, and stops it."""
    command = [sys.executable, "-m", "seqloom", "serve", str(bundle)]
    command += ["--rest-port", "0", "--grpc-port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        # A pipe that nobody reads would stop a server that has much to say.
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = server.stdout.readline()
            if not line:
                log.seek(0)
                raise ServingError(f"the server did not start: {log.read().strip()}")
            port = json.loads(line)["rest_port"]
            url = f"http://127.0.0.1:{port}/v1/models/{task.name}:predict"
            body = json.dumps({"instances": instances(request)}).encode()
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as reply:
                answer = json.load(reply)
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
    return {"url": url, "request": json.loads(body), "response": answer}


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
