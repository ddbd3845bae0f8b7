"""The command line: each command reads its flags, calls one stage, and shows the result.

TensorFlow is imported inside the commands that train, never here: ``seqloom --help`` is quick.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.errors import DataError
from tasks.stages import options as o
from tasks.stages.arguments import assignments, seconds, sorted_flags, task_flags
from tasks.stages.console import (
    baseline_note,
    guarded,
    load_noted,
    load_tensorflow,
    print_json,
    show,
    tell,
)

app = typer.Typer(
    help="Recurrent sequence models from raw data to a served model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug with any command shows the traceback of an error.",
)


@app.command("tasks", epilog="Example: seqloom tasks forecast")
def list_tasks(
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="show its flags")] = None,
    as_json: o.AsJson = False,
) -> None:
    """What there is to learn; of one task, all its flags."""
    from tasks.stages.tables import flag_rows, task_rows

    rows = flag_rows(task) if task else task_rows()
    show(rows, {"flags" if task else "tasks": rows}, as_json)


@app.command(
    epilog="Example: seqloom train forecast --data my.csv --target OT --horizon 24 --lookback 336",
    context_settings=o.OWN_FLAGS,
)
def train(
    task: o.TaskName,
    own: typer.Context,
    data: o.Data = "synthetic",
    cell: Annotated[str | None, typer.Option(help="simple_rnn, lstm or gru")] = None,
    layers: Annotated[int | None, typer.Option(help="recurrent layers, 1 to 4")] = None,
    units: Annotated[int | None, typer.Option(help="hidden size of each direction")] = None,
    bidirectional: Annotated[
        bool | None, typer.Option("--bidirectional/--unidirectional", help="directions")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="greatest number of epochs")] = None,
    settings: o.Set = None,
    data_seed: o.DataSeed = 0,
    seed: o.Seed = 0,
    out: o.Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    as_json: o.AsJson = False,
) -> None:
    """Train one configuration and evaluate it beside its baseline."""
    flags = {
        "cell": cell, "layers": layers, "units": units, "bidirectional": bidirectional,
        "epochs": epochs,
    }  # fmt: skip
    import tasks
    from tasks.stages.run_directory import Run, next_free, resumed

    chosen = tasks.get(task)
    reading, changes = sorted_flags(chosen, task_flags(own.args, settings))
    changes |= {name: value for name, value in flags.items() if value is not None}
    run = Run(out or next_free(Path("runs"), task))
    where = chosen.data_options(data, data_seed, **reading)
    if resume:
        final, where, seed = resumed(chosen, run, changes)
    elif run.exists:
        raise DataError(
            f"{run.path} holds a run already; add --resume to go on, or name another --out"
        )
    else:
        final = chosen.with_settings(chosen.settings, changes)
    load_tensorflow()
    from tasks.stages.tables import score_rows
    from tasks.stages.training import train as stage

    splits = load_noted(chosen, where)
    tell(f"run: {run.path}")
    result = stage(chosen, where, final, run, seed=seed, splits=splits)
    show(score_rows(result), result, as_json, baseline_note(result))


@app.command(
    epilog="Example: seqloom tune sentiment --data reviews.csv --trials 20",
    context_settings=o.OWN_FLAGS,
)
def tune(
    task: o.TaskName,
    own: typer.Context,
    data: o.Data = "synthetic",
    trials: o.Trials = 10,
    strategy: o.Strategy = "random",
    max_time: o.MaxTime = None,
    target_score: o.Target = None,
    epochs: o.TrialEpochs = 6,
    executions: o.Executions = 1,
    workers: o.Workers = None,
    threads: o.Threads = None,
    cluster: o.Cluster = None,
    max_latency: o.MaxLatency = None,
    max_parameters: o.MaxParameters = None,
    retries: o.Retries = 2,
    stall_after: o.Stall = "10m",
    extend: o.Extend = False,
    settings: o.Set = None,
    data_seed: o.DataSeed = 0,
    seed: o.Seed = 0,
    out: o.Out = None,
    as_json: o.AsJson = False,
) -> None:
    """Search cell, direction, depth, sizes, dropout and learning rate. Run again to go on."""
    import tasks
    from tasks.stages.run_directory import next_free

    chosen = tasks.get(task)
    reading, changes = sorted_flags(chosen, task_flags(own.args, settings))
    start = chosen.with_settings(chosen.settings, changes)
    where = chosen.data_options(data, data_seed, **reading)
    directory = out or next_free(Path("runs"), f"{task}-search")
    stall, most = seconds(stall_after, "--stall-after"), seconds(max_time, "--max-time")
    load_tensorflow()
    from tasks.stages.live import SearchDisplay
    from tasks.stages.tables import leaderboard_rows
    from tasks.stages.tuning import Budget, Limits, SearchOptions
    from tasks.stages.tuning import tune as stage
    from tuning.leaderboard import read_search

    options = SearchOptions(
        trials, epochs, strategy, seed, executions, workers, threads, cluster, extend,
        Budget(most, target_score, retries, stall, Limits(max_latency, max_parameters)),
    )  # fmt: skip
    splits = load_noted(chosen, where)
    with SearchDisplay(directory, trials) as display:
        result = stage(
            chosen, where, start, options, directory,
            splits=splits, watch=display.show, tell=display.tell,
        )  # fmt: skip
    show(leaderboard_rows(read_search(directory).rows), result, as_json)


@app.command(epilog="Example: seqloom leaderboard runs/sentiment-search-1 --max-latency 2")
def leaderboard(
    search: Annotated[Path, typer.Argument(metavar="SEARCH", help="directory of a search")],
    max_latency: o.MaxLatency = None,
    max_parameters: o.MaxParameters = None,
    pareto: o.Pareto = None,
    as_json: o.AsJson = False,
) -> None:
    """All trials of a search, ranked; also while it runs."""
    from tasks.stages.tables import leaderboard_rows
    from tuning.leaderboard import Limits, chosen_rows, read_search

    rows = chosen_rows(read_search(search), Limits(max_latency, max_parameters), pareto)
    found = leaderboard_rows(rows)
    show(found, {"search": str(search), "trials": found}, as_json)


@app.command(epilog="Example: seqloom report runs/sentiment-search-1")
def report(
    directory: Annotated[Path, typer.Argument(metavar="RUN_OR_SEARCH", help="what to show")],
    as_json: o.AsJson = False,
) -> None:
    """Write a page with plots that opens anywhere: report.html in the run or search."""
    from tasks.stages.reporting import report as stage

    path = stage(directory)
    if as_json:
        print_json({"report": str(path)})
    else:
        print(path)


@app.command(epilog="Example: seqloom evaluate runs/sentiment-1", context_settings=o.OWN_FLAGS)
def evaluate(
    run: o.RunPath,
    own: typer.Context,
    data: Annotated[str | None, typer.Option(help="other data than it was trained on")] = None,
    as_json: o.AsJson = False,
) -> None:
    """Judge a finished run anew, beside its baseline."""
    from tasks.stages.run_directory import Run

    found = Run(run)
    before, chosen = found.data(), found.task()
    reading, others = sorted_flags(chosen, task_flags(own.args))
    if others or (reading and not data):
        raise DataError(
            f"evaluate takes --data and flags of how it is read, not {[*others, *reading][0]!r}"
        )
    where = chosen.data_options(data, **{**before.reading, **reading}) if data else None
    load_tensorflow()
    from tasks.stages.tables import score_rows
    from tasks.stages.training import evaluate as stage

    result = stage(found, where)
    show(score_rows(result), result, as_json, baseline_note(result))


@app.command(epilog="Example: seqloom export runs/sentiment-1 --format onnx --precision int8")
def export(
    source: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="a finished run; or, to --verify, a bundle"),
    ],
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="savedmodel, onnx, tensorrt or triton; repeatable"),
    ] = None,
    precisions: Annotated[
        list[str] | None, typer.Option("--precision", help="fp32, fp16 or int8; repeatable")
    ] = None,
    max_loss: Annotated[
        float, typer.Option(min=0.0, help="share of the metric that fp16 or int8 may lose")
    ] = 0.01,
    compute_capability: o.ComputeCapability = None,
    timing_cache: o.TimingCache = None,
    workspace: o.Workspace = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="run TensorRT engines here and compare, or fail")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="bundle; RUN/bundle if absent")] = None,
    as_json: o.AsJson = False,
) -> None:
    """Write SavedModel, ONNX, TensorRT, each compared with Keras before it is published."""
    from serving.export import ExportOptions
    from tasks.stages.run_directory import Run
    from tasks.stages.tables import artifact_notes, artifact_rows, engine_rows

    if verify and (source / "manifest.json").is_file():
        from serving.verify import verify_bundle

        result = verify_bundle(source)
        show(engine_rows(result), result, as_json)
        return
    options = ExportOptions(
        formats or ("savedmodel", "onnx"), precisions or ("fp32",), max_loss,
        compute_capability or (), timing_cache, workspace * 2**20 if workspace else None,
        must_run=verify,
    )  # fmt: skip
    (found := Run(source)).config()
    load_tensorflow()
    from tasks.stages.exporting import export as stage

    result = stage(found, out or source / "bundle", options)
    show(artifact_rows(result), result, as_json, artifact_notes(result))


@app.command(epilog='Example: seqloom predict runs/sentiment-1 "a warm and funny film"')
def predict(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="what answers")],
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...")] = None,
    file: Annotated[
        Path | None, typer.Option(help="more inputs: txt (one a line), csv, tsv or jsonl; .gz too")
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="of --file, where not as trained")] = None,
    settings: o.Set = None,
    out: Annotated[Path | None, typer.Option(help="csv to write; a picture goes beside it")] = None,
    as_json: o.AsJson = False,
) -> None:
    """Answer raw inputs; a bundle does it without TensorFlow."""
    if not (source / "manifest.json").is_file():
        load_tensorflow()
    from tasks.stages.predicting import predict as stage

    reading = assignments(settings) | ({"text_column": text_column} if text_column else {})
    found = stage(source, inputs or [], file, reading, out)
    if as_json:
        files = {"files": [str(path) for path in found.files]} if found.files else {}
        print_json({"predictions": found.answers, **files})
    else:
        for line in [*found.lines, *(f"wrote {path}" for path in found.files)]:
            print(line)


@app.command(epilog="Example: seqloom serve bundles/sentiment --rest-port 8501")
def serve(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="bundle or SavedModel")],
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one")] = 8501,
    backend: Annotated[str | None, typer.Option(help="onnx or savedmodel")] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
) -> None:
    """Answer TensorFlow Serving's REST API until Ctrl-C."""
    from serving.server import serve as stage

    stage(bundle, rest_port, backend, host, print_json)


@app.command(
    epilog="Example: seqloom run sentiment --data reviews.csv --trials 8",
    context_settings=o.OWN_FLAGS,
)
def run(
    task: o.TaskName,
    own: typer.Context,
    data: o.Data = "synthetic",
    trials: Annotated[int | None, typer.Option(min=1, help="of the search")] = None,
    strategy: o.Strategy = "random",
    max_time: o.MaxTime = "30m",
    workers: o.Workers = None,
    trial_epochs: Annotated[int | None, typer.Option(min=1, help="epochs a trial")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="small models, few epochs")] = False,
    settings: o.Set = None,
    data_seed: o.DataSeed = 0,
    seed: o.Seed = 0,
    out: o.Out = None,
    as_json: o.AsJson = False,
) -> None:
    """Everything: tune, train the best, evaluate, export, check parity, serve, query."""
    import tasks
    from tasks.stages.run_directory import next_free

    chosen = tasks.get(task)
    base = chosen.settings
    if quick:
        base = chosen.with_settings(base, chosen.quick)
    reading, changes = sorted_flags(chosen, task_flags(own.args, settings))
    start = chosen.with_settings(base, changes)
    where = chosen.data_options(data, data_seed, **reading)
    directory = out or next_free(Path("runs"), task)
    load_tensorflow()
    from tasks.stages.everything import run_everything
    from tasks.stages.live import SearchDisplay
    from tasks.stages.tables import artifact_notes, artifact_rows, leaderboard_rows, score_rows
    from tasks.stages.tuning import Budget, SearchOptions
    from tuning.leaderboard import read_search

    options = SearchOptions(
        trials or (2 if quick else 6),
        trial_epochs or (2 if quick else 4),
        strategy,
        seed,
        workers=workers,
        budget=Budget(seconds(max_time, "--max-time")),
    )
    display = SearchDisplay(directory / "search", options.trials)
    try:
        result = run_everything(chosen, where, start, options, directory, display)
    except KeyboardInterrupt:
        if (directory / "search" / "best" / "model.keras").is_file():
            tell(f"the best model so far is {directory / 'search' / 'best'}: predict, export it")
        raise
    if as_json:
        print_json(result)
        return
    show(leaderboard_rows(read_search(directory / "search").rows))
    show(score_rows(result), note=baseline_note(result))
    show(artifact_rows(result), note=artifact_notes(result))
    answer = json.dumps(result["served"]["response"], ensure_ascii=False)
    print(f"POST {result['served']['url']}\n{answer}")


@app.command(epilog="Example: seqloom doctor")
def doctor(as_json: o.AsJson = False) -> None:
    """What works on this machine: versions, GPU, TensorRT, data caches."""
    load_tensorflow()
    from tasks.stages.doctor import examine

    rows = examine()
    show(rows, {"checks": rows}, as_json)


def main() -> None:
    """Entry point of the console script."""
    # What a cluster or a person ends politely leaves the same state as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]

    def command() -> None:
        app(arguments, prog_name="seqloom", standalone_mode=True)

    sys.exit(guarded(command, debug))


if __name__ == "__main__":
    main()
