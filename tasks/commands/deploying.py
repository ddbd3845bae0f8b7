"""Commands that bring a model to its users: export, predict, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tasks.commands import options as o
from tasks.commands.app import app
from tasks.commands.arguments import assignments
from tasks.stages.console import load_tensorflow, print_json, show


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
