"""Commands around a search: tune, leaderboard, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.files import check_writable
from tasks.commands import options as o
from tasks.commands.app import app
from tasks.commands.arguments import sorted_flags, task_by, task_flags
from tasks.commands.completion import RUNS, SEARCHES, places
from tasks.stages.console import load_noted, load_tensorflow, print_json, show_leaderboard
from tasks.stages.durations import seconds
from tasks.stages.next_steps import command, show_next


@app.command(
    epilog="Example: seqloom tune sentiment --data reviews.csv --trials 20",
    context_settings=o.OWN_FLAGS,
)
def tune(
    task: o.TaskName,
    own: typer.Context,
    data: o.Data = "synthetic",
    trials: o.Trials = 10,
    strategy: o.Strategy = "bayesian",
    max_time: o.MaxTime = None,
    target_score: o.Target = None,
    epochs: o.TrialEpochs = 6,
    executions: o.Executions = 1,
    workers: o.Workers = None,
    threads: o.Threads = None,
    cluster: o.Cluster = None,
    store: o.Store = None,
    max_latency: o.MaxLatency = None,
    max_parameters: o.MaxParameters = None,
    retries: o.Retries = 2,
    stall_after: o.Stall = "10m",
    extend: o.Extend = False,
    prune: o.Prune = True,
    metric: o.MetricName = None,
    network: o.OwnNetwork = None,
    settings: o.Set = None,
    data_seed: o.DataSeed = 0,
    seed: o.Seed = 0,
    out: o.Out = None,
    as_json: o.AsJson = False,
) -> None:
    """Search cell, direction, depth, sizes, dropout and learning rate. Run again to go on."""
    from tasks.stages.beginning import search_place
    from tasks.stages.networks import with_network
    from tasks.stages.trainers import start_fork_server
    from tuning.strategy_names import check_strategy

    chosen = with_network(task_by(task, metric), network)
    check_strategy(strategy)
    reading, changes = sorted_flags(chosen, task_flags(own.args, settings), own)
    start = chosen.with_settings(chosen.settings, changes)
    where = chosen.data_options(data, data_seed, **reading)
    stall, most = seconds(stall_after, "--stall-after"), seconds(max_time, "--max-time")
    chosen.check(start, where)
    directory = search_place(chosen, out)
    splits = load_noted(chosen, where)
    if cluster is None:
        own.call_on_close(start_fork_server(workers, threads))
    load_tensorflow()
    from tasks.stages.estimating import Estimate
    from tasks.stages.live import SearchDisplay
    from tasks.stages.tuning import Budget, SearchOptions, TrialLimits, work_of
    from tasks.stages.tuning import tune as stage
    from tuning.leaderboard import read_search

    options = SearchOptions(
        trials, epochs, strategy, seed, executions, workers, threads, cluster, store, extend,
        Budget(most, target_score, retries, stall, TrialLimits(max_latency, max_parameters)),
        prune,
    )  # fmt: skip
    with SearchDisplay(directory, trials) as display:
        display.estimate = Estimate(work_of(options))
        result = stage(
            chosen, where, start, options, directory,
            splits=splits, watch=display.show, tell=display.tell,
        )  # fmt: skip
    show_leaderboard(read_search(directory), result=result, as_json=as_json)
    best = directory / "best"
    whole = command("train", task, "--like", best, "--epochs", chosen.model.epochs)
    show_next(whole, command("report", directory))


@app.command(epilog="Example: seqloom leaderboard runs/sentiment-search-1 --max-latency 2")
def leaderboard(
    search: Annotated[
        Path,
        typer.Argument(
            metavar="SEARCH", help="directory of a search", autocompletion=places(SEARCHES)
        ),
    ],
    max_latency: o.MaxLatency = None,
    max_parameters: o.MaxParameters = None,
    pareto: o.Pareto = None,
    as_json: o.AsJson = False,
) -> None:
    """All trials of a search, ranked; also while it runs."""
    from tasks.stages.directories import SEARCH, required
    from tasks.stages.tables import leaderboard_rows
    from tuning.leaderboard import TrialLimits, chosen_rows, read_search

    required(search, SEARCH)
    found = read_search(search)
    rows = chosen_rows(found, TrialLimits(max_latency, max_parameters), pareto)
    result = {"search": str(search), "trials": leaderboard_rows(rows)}
    show_leaderboard(found, rows, result, as_json)
    if (search / "best" / "model.keras").is_file():
        show_next(command("evaluate", search / "best"), command("report", search))


@app.command(epilog="Example: seqloom report runs/sentiment-search-1")
def report(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_SEARCH", help="what to show", autocompletion=places(RUNS, SEARCHES)
        ),
    ],
    as_json: o.AsJson = False,
) -> None:
    """Write a page with plots that opens anywhere: report.html in the run or search."""
    from tasks.stages.directories import RUN, SEARCH, required
    from tasks.stages.reporting import report as stage

    check_writable(required(directory, RUN, SEARCH))
    path = stage(directory)
    if as_json:
        print_json({"report": str(path)})
    else:
        print(path)
