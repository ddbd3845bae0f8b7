"""Commands that train one model: train, evaluate, run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from common.errors import DataError
from tasks.commands import options as o
from tasks.commands.app import STARTED, app
from tasks.commands.arguments import sorted_flags, task_by, task_flags
from tasks.commands.completion import RUNS, one_of, places
from tasks.stages.console import (
    baseline_note,
    load_noted,
    load_quick,
    load_run,
    load_tensorflow,
    print_json,
    show,
    show_leaderboard,
    tell,
)
from tasks.stages.durations import seconds
from tasks.stages.next_steps import command, predicting, show_next

MOST_SHOWN = 2000  # characters of the answer that `run` ends with


@app.command(
    epilog="Example: seqloom train forecast --data my.csv --target OT --horizon 24 --lookback 336",
    context_settings=o.OWN_FLAGS,
)
def train(
    task: o.TaskName,
    own: typer.Context,
    data: Annotated[str | None, typer.Option(help=f"{o.SOURCES}; synthetic if absent")] = None,
    cell: Annotated[
        str | None,
        typer.Option(
            help="simple_rnn, lstm or gru", autocompletion=one_of("simple_rnn", "lstm", "gru")
        ),
    ] = None,
    layers: Annotated[int | None, typer.Option(help="recurrent layers, 1 to 4")] = None,
    units: Annotated[int | None, typer.Option(help="hidden size of each direction")] = None,
    bidirectional: Annotated[
        bool | None, typer.Option("--bidirectional/--unidirectional", help="directions")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="greatest number of epochs")] = None,
    metric: o.MetricName = None,
    network: o.OwnNetwork = None,
    settings: o.Set = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="run or trial whose settings, data and seed to take", autocompletion=places(RUNS)
        ),
    ] = None,
    data_seed: Annotated[int | None, typer.Option(min=0, help=f"{o.OF_DATA_SEED}; 0")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help=f"{o.OF_SEED}; 0")] = None,
    out: o.Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    insight: o.Insight = False,
    data_service: o.DataService = None,
    as_json: o.AsJson = False,
) -> None:
    """Train one configuration and evaluate it beside its baseline."""
    flags = {
        "cell": cell, "layers": layers, "units": units, "bidirectional": bidirectional,
        "epochs": epochs,
    }  # fmt: skip
    from tasks.stages.beginning import Choices, begin, way_to_go_on
    from tasks.stages.networks import with_network

    chosen = with_network(task_by(task, metric), network)
    reading, changes = sorted_flags(chosen, task_flags(own.args, settings), own)
    changes |= {name: value for name, value in flags.items() if value is not None}
    choices = Choices(data, reading, changes, like, seed, data_seed)
    start = begin(chosen, choices, out, resume)
    spent = time.perf_counter() - STARTED
    load_tensorflow()
    from reports.tables import score_rows
    from tasks.stages.training import train as stage

    tell(f"run: {start.run.path}")
    with way_to_go_on(start.run):
        result = stage(
            start.task, start.data, start.settings, start.run,
            seed=start.seed, splits=start.splits, tell=tell, spent=spent, insight=insight,
            data_service=data_service or "",
        )  # fmt: skip
    show(score_rows(result), result, as_json, baseline_note(result))
    path, raw = start.run.path, start.run.preprocessor().raw(start.splits.validation[:20])
    asking = predicting(path, chosen, start.data, raw)
    show_next(asking or command("report", path), command("export", path))


@app.command(epilog="Example: seqloom evaluate runs/sentiment-1", context_settings=o.OWN_FLAGS)
def evaluate(
    run: o.RunPath,
    own: typer.Context,
    data: Annotated[
        str | None, typer.Option(help="other data than it was trained on, or its new place")
    ] = None,
    settings: o.Set = None,
    as_json: o.AsJson = False,
) -> None:
    """Judge a finished run anew, beside its baseline.

    Flags of the task's group judging (`seqloom tasks TASK`), such as --cache 500, judge it in
    further ways too.
    """
    from tasks.stages.directories import RUN, required
    from tasks.stages.run_directory import Run

    found = Run(required(run, RUN, finished=True))
    before, chosen = found.data(), found.task()
    flags = task_flags(own.args, settings)
    judging = {name: flags.pop(name) for name in chosen.judging.names() if name in flags}
    ways = chosen.judging.updated(**judging)
    reading, others = sorted_flags(chosen, flags, own)
    if others or (reading and not data):
        further = "".join(f", --{name.replace('_', '-')}" for name in chosen.judging.names())
        raise DataError(
            f"evaluate takes --data and flags of how it is read{further}, "
            f"not {[*others, *reading][0]!r}"
        )
    # With the seed of the run, the same data in another place is split as it was for training.
    mixed = {**before.reading, **reading}
    where = chosen.data_options(data, before.seed, **mixed) if data else None
    preprocessor = found.preprocessor()
    splits = load_quick(chosen.as_trained(preprocessor), where) if where else load_run(found)
    # Refuses what the model could never answer, such as a label that training did not have.
    for part in (splits.validation, splits.test):
        preprocessor.validate(part)
    spent = time.perf_counter() - STARTED
    load_tensorflow()
    from reports.tables import score_rows
    from tasks.stages.training import evaluate as stage

    result = stage(found, where, splits=splits, judging=ways, tell=tell, spent=spent)
    show(score_rows(result), result, as_json, baseline_note(result))
    show_next(command("report", run), command("export", run))


@app.command(
    epilog="Example: seqloom run sentiment --data reviews.csv --trials 8",
    context_settings=o.OWN_FLAGS,
)
def run(
    task: o.TaskName,
    own: typer.Context,
    data: o.Data = "synthetic",
    trials: Annotated[int | None, typer.Option(min=1, help="of the search")] = None,
    strategy: o.Strategy = "bayesian",
    max_time: o.MaxTime = "30m",
    workers: o.Workers = None,
    trial_epochs: Annotated[int | None, typer.Option(min=1, help="epochs a trial")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="small models, few epochs")] = False,
    metric: o.MetricName = None,
    network: o.OwnNetwork = None,
    settings: o.Set = None,
    data_seed: o.DataSeed = 0,
    seed: o.Seed = 0,
    out: o.Out = None,
    insight: o.Insight = False,
    as_json: o.AsJson = False,
) -> None:
    """Everything: tune, train the best, evaluate, export, check parity, serve, query."""
    from tasks.stages.directories import WHOLE, place_for
    from tasks.stages.networks import with_network
    from tasks.stages.run_directory import next_free
    from tasks.stages.trainers import start_fork_server
    from tuning.strategy_names import check_strategy

    chosen = with_network(task_by(task, metric), network)
    check_strategy(strategy)
    most = seconds(max_time, "--max-time")
    base = chosen.settings
    if quick:
        base = chosen.with_settings(base, chosen.quick)
    reading, changes = sorted_flags(chosen, task_flags(own.args, settings), own)
    start = chosen.with_settings(base, changes)
    where = chosen.data_options(data, data_seed, **reading)
    chosen.check(start, where)
    parts = ("search", "model", "bundle")
    directory = place_for(out or next_free(Path("runs"), task), WHOLE, parts)
    splits = load_noted(chosen, where)
    own.call_on_close(start_fork_server(workers))
    load_tensorflow()
    from reports.tables import artifact_notes, artifact_rows, score_rows
    from tasks.stages.everything import run_everything
    from tasks.stages.live import SearchDisplay
    from tasks.stages.tuning import Budget, SearchOptions
    from tuning.leaderboard import read_search

    options = SearchOptions(
        trials or (2 if quick else 6),
        trial_epochs or (2 if quick else 4),
        strategy,
        seed,
        workers=workers,
        budget=Budget(most),
    )
    display = SearchDisplay(directory / "search", options.trials)
    try:
        result = run_everything(
            chosen, where, start, options, directory, display, splits, STARTED, insight
        )
    except KeyboardInterrupt:
        if (directory / "search" / "best" / "model.keras").is_file():
            tell(f"the best model so far is {directory / 'search' / 'best'}: predict, export it")
        raise
    if as_json:
        print_json(result)
        return
    show_leaderboard(read_search(directory / "search"))
    show(score_rows(result), note=baseline_note(result))
    show(artifact_rows(result), note=artifact_notes(result))
    answer = json.dumps(result["served"]["response"], ensure_ascii=False)
    shown = answer if len(answer) <= MOST_SHOWN else f"{answer[:MOST_SHOWN]}..."
    print(f"POST {result['served']['url']}\n{shown}")
    show_next(command("serve", directory / "bundle"), command("report", directory / "model"))
