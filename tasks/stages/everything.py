"""The whole way, one stage after the other: the stage behind ``seqloom run``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.training import for_model
from pipelines.ragged import instances
from serving.errors import ServingError
from tasks.kinds.contract import DataOptions, Settings, Task
from tasks.stages.estimating import Estimate, exactly
from tasks.stages.exporting import export
from tasks.stages.networks import built
from tasks.stages.run_directory import Run
from tasks.stages.training import prepare, train
from tasks.stages.trials import drawn_settings
from tasks.stages.tuning import SearchOptions, tune, work_of
from tuning.leaderboard import read_search

if TYPE_CHECKING:
    from pipelines.ragged import Arrays
    from pipelines.splits import Splits
    from tasks.stages.live import SearchDisplay
    from tuning.leaderboard import TrialRow


def estimate(
    task: Task, settings: Settings, splits: Splits, options: SearchOptions, epochs: int
) -> Estimate:
    """Times some training steps spread over the lengths of the data.

    Args:
        task: what is learnt.
        settings: of the default model.
        splits: the examples.
        options: of the search.
        epochs: of the training after the search; 0 if it is done.
    """
    began = time.perf_counter()
    ready = prepare(task, settings, splits)
    prepared = time.perf_counter() - began
    model = built(task, settings, ready.preprocessor, ready.counts)
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
    # Validation costs a forward pass over a tenth of the rows.
    epoch = float(np.mean(times)) * count * 1.05
    return Estimate(work_of(options, epochs), epoch, prepared)


def run_everything(
    task: Task,
    data: DataOptions,
    settings: Settings,
    options: SearchOptions,
    directory: Path,
    display: SearchDisplay,
    splits: Splits | None = None,
    started: float | None = None,
    insight: bool = False,
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
        started: ``time.perf_counter()`` when the process started; the time counts from there.
        insight: of the training of the best, see ``tasks.stages.training.train``.
    """
    started, tell = started or time.perf_counter(), display.tell
    splits = splits or task.load(data)
    settings, data = task.resolve(settings, data, splits)
    tell(f"everything goes to {directory}; stopped, the same command with --out goes on there")
    run, bundle = Run(directory / "model"), directory / "bundle"
    epochs = 0 if run.finished else settings.model.epochs
    times = display.estimate = estimate(task, settings, splits, options, epochs)
    before = _search_so_far(directory / "search")
    expected = times.search(before) + times.after_search(before)
    tell(
        f"{expected} from here: {times.search(before)} of search, then {times.after_search(before)}"
        f"; an epoch of the default model takes about {times.epoch_seconds:.1f} s here"
    )
    expected += exactly(time.perf_counter() - started)
    with display:
        result = tune(
            task, data, settings, options, directory / "search",
            splits=splits, watch=display.show, tell=tell,
        )  # fmt: skip
    if run.finished:
        result |= run.read_json("metrics.json")
    else:
        best = drawn_settings(task, settings, result["best"]["config"])
        rows = read_search(directory / "search").rows
        left = times.after_search(rows)
        tell(f"training the best of {result['trials']['completed']} trials; {left} left")
        result |= train(
            task, data, best, run, seed=options.seed, splits=splits, tell=tell, insight=insight
        )
    tell(f"exporting, and comparing each export with Keras; {times.after_training()} left")
    result |= export(run, bundle, splits=splits)
    tell("serving, and asking one question over REST")
    preprocessor = run.preprocessor()
    request = preprocessor.to_request(preprocessor.raw(splits.validation[:1]))
    result["served"] = ask_served(task, bundle, request)
    result["seconds"] = time.perf_counter() - started
    result["estimated_seconds"] = asdict(expected)
    tell(f"took {result['seconds']:.0f} s; the estimate was {expected}")
    return result


def _search_so_far(directory: Path) -> list[TrialRow]:
    """The trials that an earlier start left."""
    return read_search(directory).rows if (directory / "search.json").is_file() else []


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
