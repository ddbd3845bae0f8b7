"""Commands that bring a model to its users: export, predict, serve."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import DataError
from common.files import check_file
from common.telling import told
from pipelines.answer_files import check_answer_file
from tasks.commands import options as o
from tasks.commands.app import WithInputs, app, commands_with, inputs_after_dashes, unmarked
from tasks.commands.arguments import (
    assignments,
    inputs_and_flags,
    task_flags,
    unknown_flag,
)
from tasks.commands.completion import BUNDLES, RUNS, one_of, places
from tasks.stages.console import load_run, load_tensorflow, print_json, show, tell
from tasks.stages.durations import seconds
from tasks.stages.next_steps import command, predicting, show_next

if TYPE_CHECKING:
    from serving.runtime.server import ServerOptions, Tls


@app.command(epilog="Example: seqloom export runs/sentiment-1 --format onnx --precision int8")
def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_MODEL.keras",
            help="a finished run, or any saved Keras model; or, to --verify, a bundle",
            autocompletion=places(RUNS, BUNDLES),
        ),
    ],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="savedmodel, onnx, tensorrt or triton; repeatable",
            autocompletion=one_of("savedmodel", "onnx", "tensorrt", "triton"),
        ),
    ] = None,
    precisions: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            help="fp32, fp16 or int8; repeatable",
            autocompletion=one_of("fp32", "fp16", "int8"),
        ),
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
    data: Annotated[
        str | None, typer.Option(help="where the run's data is now, if it was moved")
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(help="inputs of a Keras model to compare its exports on: npz, jsonl, csv"),
    ] = None,
    custom_objects: Annotated[
        Path | None, typer.Option(help="Python file with layers of a Keras model, and converters")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="bundle; RUN/bundle if absent")] = None,
    as_json: o.AsJson = False,
) -> None:
    """Write SavedModel, ONNX, TensorRT, each compared with Keras before it is published."""
    from reports.tables import artifact_notes, artifact_rows
    from serving.export import ExportOptions
    from tasks.stages.directories import RUN, bundle_for, required
    from tasks.stages.keras_files import export_keras_file, is_keras_file
    from tasks.stages.run_directory import Run
    from tasks.stages.tables import engine_rows

    if verify and (source / "manifest.json").is_file():
        from serving.verify import verify_bundle

        result = verify_bundle(source)
        show(engine_rows(result), result, as_json)
        return
    options = ExportOptions(
        formats or ("savedmodel", "onnx"), precisions or ("fp32",), max_loss,
        compute_capability or (), timing_cache, workspace * 2**20 if workspace else None,
        must_run=verify, lenient=not formats and is_keras_file(source),
    )  # fmt: skip
    if is_keras_file(source):
        result = export_keras_file(source, examples, custom_objects, out, options)
        show(artifact_rows(result), result, as_json, artifact_notes(result))
        return
    if examples or custom_objects:
        raise DataError("--examples and --custom-objects go with a saved Keras model, not a run")
    found = Run(required(source, RUN, finished=True))
    bundle = bundle_for(out or source / "bundle", found.config()["task"])
    # What the layers of a user's own network cannot be written as was said before it was trained.
    options = replace(options, lenient=not formats and found.network() is not None)
    splits = load_run(found, data)
    load_tensorflow()
    from tasks.stages.exporting import export as stage

    result = stage(found, bundle, options, splits)
    show(artifact_rows(result), result, as_json, artifact_notes(result))
    task, raw = found.task(), found.preprocessor().raw(splits.validation[:20])
    show_next(command("serve", bundle), predicting(bundle, task, found.data(), raw))


@app.command(
    epilog='Example: seqloom predict runs/sentiment-1 "a warm and funny film"',
    context_settings=o.OWN_FLAGS,
    cls=WithInputs,
)
def predict(
    own: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_BUNDLE", help="what answers", autocompletion=places(RUNS, BUNDLES)
        ),
    ],
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...")] = None,
    file: Annotated[
        Path | None, typer.Option(help="more inputs: txt (one a line), csv, tsv or jsonl; .gz too")
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="of --file, where not as trained")] = None,
    settings: o.Set = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="continue a text, or follow a sound, and show it as it comes"
        ),
    ] = False,
    program: Annotated[
        str, typer.Option(help="signature that answers, such as generate")
    ] = "serving_default",
    out: Annotated[
        Path | None, typer.Option(help="file to write; a picture goes next to it")
    ] = None,
    url: o.Url = None,
    token_file: o.TokenFile = None,
    tls_ca: o.TlsCa = None,
    as_json: o.AsJson = False,
) -> None:
    """Answer raw inputs; a bundle does it without TensorFlow, and --url has a server do it.

    Flags of the task's groups data and decoding (`seqloom tasks TASK`) may stand among the inputs.
    """
    from tasks.stages.directories import BUNDLE, RUN, required

    flags = assignments(settings) | ({"text_column": text_column} if text_column else {})
    [source, *given] = unmarked([source, *(inputs or [])])
    place, client = Path(source), None
    if out is not None:
        check_file(out)
    if url is not None:
        from tasks.stages.asking import ask, client_of

        client = client_of(url, place, token_of(token_file), tls_ca)
        if not place.is_dir() and not stream:
            if out is not None:
                check_answer_file(out)
            given, more = inputs_and_flags(given, ())
            given += inputs_after_dashes(own)
            found = ask(client, [source, *given], file, flags | more, out, program)
            print_json({"predictions": found}) if as_json else [print_json(row) for row in found]
            return
    if client is None or place.is_dir():
        required(place, RUN, BUNDLE, finished=True)
    if stream:
        if file is not None or out is not None:
            raise DataError("--stream writes to the terminal: leave --file and --out away")
        given, more = inputs_and_flags(given, ())
        texts = [*([] if place.is_dir() else [source]), *given, *inputs_after_dashes(own)]
        _stream(place, texts, flags | more, client, as_json)
        return
    from tasks.stages.keras_files import is_tensor_bundle, predict_tensors
    from tasks.stages.predicting import predict as stage
    from tasks.stages.predicting import task_of

    if is_tensor_bundle(place):
        found = predict_tensors(place, [*given, *inputs_after_dashes(own)], file, client)
        print_json({"predictions": found}) if as_json else [print_json(row) for row in found]
        return
    task = task_of(place)
    if out is not None:
        check_answer_file(out, task.answer_formats)
    groups = (task.data, task.decoding)
    switches = {
        name for g in groups for name, value in g.to_dict().items() if isinstance(value, bool)
    }
    given, more = inputs_and_flags(given, switches)
    given += inputs_after_dashes(own)
    _check_known(own, flags | more, {name for group in groups for name in group.names()})
    found = stage(place, given, file, flags | more, out, client, program)
    for note in found.notes:
        tell(f"note: {note}")
    if as_json:
        files = {"files": [str(path) for path in found.files]} if found.files else {}
        print_json({"predictions": found.answers, **files})
    else:
        for line in [*found.lines, *(f"wrote {path}" for path in found.files)]:
            print(line)
    if sys.stderr.isatty():  # whoever asks again and again in a script knows
        is_bundle = (place / "manifest.json").is_file()
        show_next(command("serve" if is_bundle else "export", place))


def _stream(
    place: Path, texts: list[str], flags: dict[str, Any], client: Any, as_json: bool
) -> None:
    from tasks.stages.predicting import task_of

    def show(text: str) -> None:
        if not as_json:
            print(text, end="", flush=True)
            told("")

    if place.is_dir() and task_of(place).hears:
        from tasks.stages.listening import listen

        found = listen(place, texts, flags, show, tell, client)
    else:
        from tasks.stages.writing import write

        found = write(place, texts, flags, show, client)
    if as_json:
        print_json({"predictions": found})


def _check_known(ctx: typer.Context, flags: Collection[str], known: Collection[str]) -> None:
    for name in flags:
        if name not in known:
            error = unknown_flag(name, known, ctx)
            raise DataError(f"{error}; put inputs that begin with two dashes after a -- of its own")


@app.command(
    epilog="Example: seqloom serve bundles/sentiment --rest-port 8501",
    context_settings=o.OWN_FLAGS,
)
def serve(
    own: typer.Context,
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE", help="bundle or SavedModel", autocompletion=places(BUNDLES)
        ),
    ],
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one")] = 8501,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one")] = 8500,
    backend: Annotated[
        str | None,
        typer.Option(
            help="onnx, savedmodel or tensorrt",
            autocompletion=one_of("onnx", "savedmodel", "tensorrt"),
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="of the model; the bundle's own if absent")
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    batch_size: o.BatchSize = 32,
    batch_delay: o.BatchDelay = 0.0,
    enable_batching: o.EnableBatching = False,
    queue: o.Queue = 16_384,
    timeout: o.Timeout = "30s",
    max_body: o.MaxBody = 64,
    stream_idle: o.StreamIdle = "5m",
    poll: o.Poll = "1s",
    default: o.Default = None,
    token_file: o.TokenFile = None,
    tls_cert: o.TlsCert = None,
    tls_key: o.TlsKey = None,
    tls_client_ca: o.TlsClientCa = None,
) -> None:
    """Answer TensorFlow Serving's REST and gRPC APIs until Ctrl-C; new versions take over.

    Flags of the task's group decoding (`seqloom tasks TASK`), such as --temperature 0.7, may follow
    BUNDLE: they are used where a request leaves the setting out.
    """
    from serving.runtime.batching import BatchOptions
    from serving.runtime.loading import LoadOptions, find_model
    from serving.runtime.manager import WatchOptions
    from serving.runtime.rest_api import METRICS_PATH, RestOptions
    from serving.runtime.runtime import RequestLimits, Runtime
    from serving.runtime.server import ServerOptions
    from serving.runtime.server import serve as stage
    from serving.runtime.sessions import SessionLimits
    from tasks.stages.directories import (
        BUNDLE,
        RUN,
        SAVEDMODEL,
        SEARCH,
        TRIAL,
        WHOLE,
        required,
        what_is,
    )  # fmt: skip
    from tasks.stages.predicting import serve_settings

    if not bundle.exists() or what_is(bundle) in (RUN, SEARCH, TRIAL, WHOLE):
        required(bundle, BUNDLE, SAVEDMODEL)
    find_model(bundle, backend)
    for flag in task_flags(own.args):
        if commands_with(own, "--" + flag.replace("_", "-")):
            raise unknown_flag(flag, (), own)
    tls = tls_of(tls_cert, tls_key, tls_client_ca)
    options = ServerOptions(
        rest=RestOptions(METRICS_PATH, front_page=True),
        token=token_of(token_file),
        rest_tls=tls,
        grpc_tls=tls,
    )
    decoding = serve_settings(bundle, task_flags(own.args, default, "--default"))
    runtime = Runtime(
        RequestLimits(max_body * 2**20, timeout_seconds=seconds(timeout, "--timeout")),
        BatchOptions(
            batch_size > 1, batch_size, batch_delay / 1000, queue, vouched=enable_batching
        ),
        loading=LoadOptions(decoding=decoding),
        watching=WatchOptions(seconds(poll, "--poll")),
        sessions=SessionLimits(seconds(stream_idle, "--stream-idle")),
    )
    stage(
        bundle, rest_port, backend, host,
        lambda found: _announce(found, bundle, host, options, token_file, tls_cert),
        grpc_port=grpc_port, model_name=name, runtime=runtime, options=options,
    )  # fmt: skip


def _announce(
    found: dict[str, Any],
    bundle: Path,
    host: str,
    options: ServerOptions,
    token_file: Path | None,
    certificate: Path | None,
) -> None:
    """The ports for a script, and for a person the command that asks an example of the bundle."""
    from serving.example_request import curl_command

    print_json(found)
    has_token = options.token is not None
    asking = curl_command(
        bundle, found["model"], found["rest_port"], host, token_file, has_token, certificate
    )
    if asking:
        tell(f"ask it: {asking}")


def token_of(path: Path | None) -> str | None:
    """The token that requests must bear: of a file, or of SEQLOOM_TOKEN."""
    if path is None:
        return os.environ.get("SEQLOOM_TOKEN") or None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--token-file {path} cannot be read: {error}") from error
    if not token:
        raise DataError(f"--token-file {path} is empty; write the token into it")
    return token


def tls_of(cert: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    """Certificates of the flags."""
    from serving.runtime.server import Tls

    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        raise DataError("TLS needs both --tls-cert and --tls-key")
    return Tls.of_files(cert, key, client_ca)
