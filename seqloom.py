"""The command line: each command reads its flags, calls one stage, and shows the result.

TensorFlow is imported inside the commands that train, never here: ``seqloom --help`` is quick.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Recurrent sequence models from raw data to a served model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug with any command shows the traceback of an error.",
)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="one of `seqloom tasks`")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="directory of a finished run")]
Data = Annotated[str, typer.Option(help="synthetic, tfds:NAME, a directory or a file")]
TextColumn = Annotated[str | None, typer.Option(help="column of the text; found by name if absent")]
LabelColumn = Annotated[str | None, typer.Option(help="column of the label; likewise")]
DataSeed = Annotated[int, typer.Option(min=0, help="of splits that are made, and of synthetic data")]
Seed = Annotated[int, typer.Option(min=0, help="of weights, dropout and the order of examples")]
Out = Annotated[Path | None, typer.Option(help="directory to write; runs/... if absent")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="any other setting; repeatable"),
]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object as the last line")]


@app.command("tasks", epilog="Example: seqloom tasks")
def list_tasks(as_json: AsJson = False) -> None:
    """What there is to learn, and where its data comes from."""
    import tasks

    rows = []
    for name in tasks.names():
        task = tasks.get(name)
        rows.append({"task": name, "kind": task.kind, "metric": task.metric,
                     "summary": task.summary, "data": "synthetic built in"})  # fmt: skip
    _show(rows, {"tasks": rows}, as_json)


@app.command(epilog="Example: seqloom train sentiment --data reviews.csv --cell gru --units 128")
def train(
    task: TaskName,
    data: Data = "synthetic",
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    cell: Annotated[str | None, typer.Option(help="simple_rnn, lstm or gru")] = None,
    layers: Annotated[int | None, typer.Option(help="recurrent layers, 1 to 4")] = None,
    units: Annotated[int | None, typer.Option(help="hidden size of each direction")] = None,
    bidirectional: Annotated[
        bool | None, typer.Option("--bidirectional/--unidirectional", help="directions")
    ] = None,
    embedding_dim: Annotated[int | None, typer.Option(help="size of the embedding")] = None,
    dropout: Annotated[float | None, typer.Option(help="0 to 0.95")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's step size")] = None,
    batch_size: Annotated[int | None, typer.Option(help="examples a step")] = None,
    epochs: Annotated[int | None, typer.Option(help="greatest number of epochs")] = None,
    mixed_precision: Annotated[
        bool | None, typer.Option("--mixed-precision/--float32", help="float16 compute on a GPU")
    ] = None,
    settings: Set = None,
    data_seed: DataSeed = 0,
    seed: Seed = 0,
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    as_json: AsJson = False,
) -> None:
    """Train one configuration and evaluate it beside its baseline."""
    flags = {
        "cell": cell, "layers": layers, "units": units, "bidirectional": bidirectional,
        "embedding_dim": embedding_dim, "dropout": dropout, "learning_rate": learning_rate,
        "batch_size": batch_size, "epochs": epochs, "mixed_precision": mixed_precision,
    }  # fmt: skip
    changes = {name: value for name, value in flags.items() if value is not None}
    changes |= _assignments(settings)
    import tasks
    from tasks.stages.run_directory import Run, next_free

    chosen = tasks.get(task)
    run = Run(out or next_free(Path("runs"), task))
    where = _data_options(data, text_column, label_column, data_seed)
    if run.exists and not resume:
        _fail(f"{run.path} holds a run already; add --resume to go on, or name another --out")
    if resume:
        if not run.exists:
            _fail(f"--resume: {run.path} holds no run; name it with --out, or leave --resume out")
        if run.finished:
            _fail(f"--resume: the run in {run.path} is finished; see `seqloom evaluate {run.path}`")
        config = run.config()
        if config["task"] != task:
            _fail(f"--resume: {run.path} is a run of {config['task']}, not of {task}")
        base, where, seed = run.settings(), run.data(), config["seed"]
        if chosen.with_settings(base, changes) != base:
            _fail(f"--resume: {run.path} was begun with other settings; give none, or the same")
        final = base
    else:
        final = chosen.with_settings(chosen.settings, changes)
    from tasks.stages.training import train as stage

    _tell(f"run: {run.path}")
    result = stage(chosen, where, final, run, seed=seed)
    _show(_scores(result), result, as_json)


@app.command(epilog="Example: seqloom tune sentiment --data reviews.csv --trials 20")
def tune(
    task: TaskName,
    data: Data = "synthetic",
    trials: Annotated[int, typer.Option(min=1, help="greatest number of trials")] = 10,
    strategy: Annotated[str, typer.Option(help="random, bayesian, hyperband or grid")] = "random",
    epochs: Annotated[int, typer.Option(min=1, help="greatest number of epochs a trial")] = 6,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    settings: Set = None,
    data_seed: DataSeed = 0,
    seed: Seed = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Search cell, direction, depth, sizes, dropout and learning rate. Run again to go on."""
    import tasks
    from tasks.stages.run_directory import next_free

    chosen = tasks.get(task)
    start = chosen.with_settings(chosen.settings, _assignments(settings))
    directory = out or next_free(Path("runs"), f"{task}-search")
    from tasks.stages.tuning import SearchOptions
    from tasks.stages.tuning import tune as stage

    _tell(f"search: {directory}")
    where = _data_options(data, text_column, label_column, data_seed)
    options = SearchOptions(trials, epochs, strategy, seed)
    result = stage(chosen, where, start, options, directory, on_trial=_tell_trial)
    leaderboard_rows = _leaderboard_rows(directory)
    _show(leaderboard_rows, result, as_json)


@app.command(epilog="Example: seqloom leaderboard runs/sentiment-search-1")
def leaderboard(
    search: Annotated[Path, typer.Argument(metavar="SEARCH", help="directory of a search")],
    as_json: AsJson = False,
) -> None:
    """All trials of a search, ranked."""
    rows = _leaderboard_rows(search)
    _show(rows, {"search": str(search), "trials": rows}, as_json)


@app.command(epilog="Example: seqloom evaluate runs/sentiment-1")
def evaluate(
    run: RunPath,
    data: Annotated[str | None, typer.Option(help="other data than it was trained on")] = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
) -> None:
    """Judge a finished run anew, beside its baseline."""
    from tasks.stages.run_directory import Run

    found = Run(run)
    found.config()
    from tasks.stages.training import evaluate as stage

    where = _data_options(data, text_column, label_column, 0) if data else None
    result = stage(found, where)
    _show(_scores(result), result, as_json)


@app.command(epilog="Example: seqloom export runs/sentiment-1 --out bundles/sentiment")
def export(
    run: RunPath,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="savedmodel or onnx; repeatable")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="bundle; RUN/bundle if absent")] = None,
    as_json: AsJson = False,
) -> None:
    """Write SavedModel and ONNX, each compared with Keras before it is published."""
    from tasks.stages.run_directory import Run

    found = Run(run)
    found.config()
    from tasks.stages.exporting import export as stage

    result = stage(found, out or run / "bundle", formats or ("savedmodel", "onnx"))
    _show(_artifact_rows(result), result, as_json)


@app.command(epilog='Example: seqloom predict runs/sentiment-1 "a warm and funny film"')
def predict(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="what answers")],
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...")] = None,
    file: Annotated[
        Path | None, typer.Option(help="more inputs: txt (one a line), csv, tsv or jsonl; .gz too")
    ] = None,
    text_column: TextColumn = None,
    as_json: AsJson = False,
) -> None:
    """Answer raw inputs; a bundle does it without TensorFlow."""
    from tasks.stages.predicting import predict as stage
    from tasks.stages.predicting import read_inputs

    raw = [*(inputs or []), *(read_inputs(file, text_column) if file else [])]
    answers, lines = stage(source, raw)
    if as_json:
        _print_json({"predictions": answers})
    else:
        for line in lines:
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

    stage(bundle, rest_port, backend, host, _print_json)


@app.command(epilog="Example: seqloom run sentiment --data reviews.csv --trials 8")
def run(
    task: TaskName,
    data: Data = "synthetic",
    trials: Annotated[int | None, typer.Option(min=1, help="of the search")] = None,
    strategy: Annotated[str, typer.Option(help="random, bayesian, hyperband or grid")] = "random",
    trial_epochs: Annotated[int | None, typer.Option(min=1, help="epochs a trial")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="small models, few epochs")] = False,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    settings: Set = None,
    data_seed: DataSeed = 0,
    seed: Seed = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Everything: tune, train the best, evaluate, export, check parity, serve, query."""
    import tasks
    from tasks.stages.run_directory import next_free

    chosen = tasks.get(task)
    base = chosen.settings
    if quick:
        base = chosen.with_settings(base, chosen.quick)
    start = chosen.with_settings(base, _assignments(settings))
    directory = out or next_free(Path("runs"), task)
    from tasks.stages.everything import run_everything
    from tasks.stages.tuning import SearchOptions

    _tell(f"everything goes to {directory}; stopped, the same command with --out goes on")
    options = SearchOptions(
        trials or (2 if quick else 6), trial_epochs or (2 if quick else 4), strategy, seed
    )
    where = _data_options(data, text_column, label_column, data_seed)
    result = run_everything(
        chosen, where, start, options, directory, tell=_tell, on_trial=_tell_trial
    )
    if not as_json:
        _show(_leaderboard_rows(directory / "search"), {}, False)
        _show(_scores(result), {}, False)
        _show(_artifact_rows(result), {}, False)
        answer = json.dumps(result["served"]["response"], ensure_ascii=False)
        print(f"POST {result['served']['url']}\n{answer}")
    else:
        _print_json(result)


@app.command(epilog="Example: seqloom doctor")
def doctor(as_json: AsJson = False) -> None:
    """What works on this machine: versions, GPU, TensorRT, data caches."""
    from tasks.stages.doctor import examine

    rows = examine()
    _show(rows, {"checks": rows}, as_json)


def _data_options(source: str, text_column: str | None, label_column: str | None, seed: int) -> Any:
    from tasks.kinds.contract import DataOptions

    return DataOptions(source, text_column, label_column, seed)


def _assignments(pairs: Sequence[str] | None) -> dict[str, Any]:
    """``["units=64", "cell=gru"]`` as values; what is no JSON is a string."""
    changes = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            _fail(f"--set {pair}: write NAME=VALUE")
        try:
            changes[name.strip()] = json.loads(value)
        except ValueError:
            changes[name.strip()] = value
    return changes


def _scores(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for who, scores in (("model", result["metrics"]), ("baseline", result["baseline"])):
        for part in ("validation", "test"):
            for metric, value in scores.get(part, {}).items():
                rows.append({"who": who, "part": part, "metric": metric, "value": f"{value:.4f}"})
    rows.append({"who": "baseline is", "part": result["baseline"]["name"]})
    rows.append({"who": "run", "part": result["run"]})
    return rows


def _artifact_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "format": name,
            "status": item["status"],
            "parity": f"{item['parity']:.1e}",
            "same label": f"{item['agreement']:.2%}",
            **{f"ms at {batch}": f"{ms:.1f}" for batch, ms in item["latency_ms"].items()},
            "size": f"{item['bytes'] / 1e6:.1f} MB",
            "path": f"{result['bundle']}/{item['path']}",
        }
        for name, item in result["artifacts"].items()
    ]


def _leaderboard_rows(directory: Path) -> list[dict[str, Any]]:
    from tuning.leaderboard import read_search

    rows = []
    for rank, row in enumerate(read_search(directory), 1):
        rows.append({
            "rank": rank, "trial": row.trial, "state": row.state, "score": row.score,
            "epochs": row.epochs, "seconds": row.seconds, "parameters": row.parameters,
            **row.config,
        })  # fmt: skip
    return rows


def _tell_trial(row: Any, rows: Sequence[Any]) -> None:
    score = f"{row.score:.4f}" if row.score is not None else f"{row.state} ({row.message})"
    config = ", ".join(
        f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.config.items()
    )
    seconds = f"{row.seconds:.0f} s" if row.seconds else "-"
    best = f"best so far {rows[0].score:.4f}" if rows[0].score is not None else "none so far"
    _tell(f"trial {row.trial}: {score} in {seconds}, {best} | {config}")


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def _show(rows: Sequence[dict[str, Any]], result: Any, as_json: bool) -> None:
    """The table for a person, or the object for a script."""
    if as_json:
        _print_json(result)
        return
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*names)
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    wide = None if sys.stdout.isatty() else 200
    Console(width=wide).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _fail(message: str) -> None:
    from pipelines.errors import DataError

    raise DataError(message)


def _expected_errors() -> tuple[type[Exception], ...]:
    """What bad input raises; only modules that are loaded already can have raised theirs."""
    names = (
        ("pipelines.errors", "DataError"),
        ("models.config", "ConfigError"),
        ("models.training", "TrainingError"),
        ("tuning.search", "SearchError"),
        ("serving.errors", "ServingError"),
    )
    return tuple(getattr(sys.modules[m], name) for m, name in names if m in sys.modules)


def _guarded(command: Callable[[], None], debug: bool) -> int:
    try:
        command()
    except KeyboardInterrupt:
        _tell("stopped; the same command with --out (train: and --resume) goes on where it was")
        return 130
    except Exception as error:
        if debug or not isinstance(error, _expected_errors()):
            raise
        print(f"seqloom: {error}", file=sys.stderr)
        return 2
    return 0


def main() -> None:
    """Entry point of the console script."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Also where NumPy's threads or oneDNN would change results from one run to the next.
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]

    def command() -> None:
        app(arguments, prog_name="seqloom", standalone_mode=True)

    sys.exit(_guarded(command, debug))


if __name__ == "__main__":
    main()
