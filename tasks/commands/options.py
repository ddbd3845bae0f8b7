"""Flags that several commands share, and those of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tasks.commands.completion import RUNS, one_of, places, task_names

TaskName = Annotated[
    str,
    typer.Argument(metavar="TASK", help="one of `seqloom tasks`", autocompletion=task_names),
]
RunPath = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="directory of a finished run", autocompletion=places(RUNS)),
]
SOURCES = "synthetic, tfds:NAME, a directory or a file"
OF_DATA_SEED = "of splits that are made, and of synthetic data"
OF_SEED = "of weights, dropout and the order of examples"
Data = Annotated[str, typer.Option(help=SOURCES)]
DataSeed = Annotated[int, typer.Option(min=0, help=OF_DATA_SEED)]
Seed = Annotated[int, typer.Option(min=0, help=OF_SEED)]
Out = Annotated[Path | None, typer.Option(help="directory to write; runs/... if absent")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="any other setting; repeatable"),
]
MetricName = Annotated[
    str | None,
    typer.Option("--metric", help="what decides, where not the task's usual; see `tasks TASK`"),
]
Strategy = Annotated[
    str,
    typer.Option(
        help="random, bayesian, hyperband or grid",
        autocompletion=one_of("random", "bayesian", "hyperband", "grid"),
    ),
]
MaxTime = Annotated[
    str | None, typer.Option(help="of the search: 90s, 30m or 2h; a trial under way ends early")
]
# Each kind of task has flags of its own; `seqloom tasks TASK` lists them, the task checks them.
OWN_FLAGS = {"allow_extra_args": True, "ignore_unknown_options": True}
Insight = Annotated[
    bool,
    typer.Option(
        "--insight", help="states, gates and gradients for TensorBoard; an epoch takes longer"
    ),
]
DataService = Annotated[
    str | None,
    typer.Option(
        help="tf.data service that makes the batches: grpc://HOST:PORT; see `python -m "
        "pipelines.service`"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object as the last line")]

OwnNetwork = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.py:FUNCTION",
        help="your function (x, config) -> tensor in place of the recurrent layers",
    ),
]

# Of searching.
Trials = Annotated[int, typer.Option(min=1, help="greatest number of trials")]
Target = Annotated[float | None, typer.Option(help="stop at a validation score as good as this")]
Executions = Annotated[int, typer.Option(min=1, help="trainings a trial, from other seeds")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="trials at once; what the machine or cluster holds")
]
Threads = Annotated[int | None, typer.Option(min=1, help="of TensorFlow in each trial")]
Cluster = Annotated[
    str | None, typer.Option(help="Dask scheduler: tcp://host:8786, tls://... or scheduler file")
]
Store = Annotated[
    str | None,
    typer.Option(help="URL for trials' files where machines share no path: s3://bucket/search"),
]
Retries = Annotated[int, typer.Option(min=0, help="attempts more for a trial that failed")]
Stall = Annotated[str, typer.Option(help="a trial without a sign of life for so long has failed")]
Extend = Annotated[
    bool, typer.Option("--extend", help="go on in a larger search space than before")
]
Prune = Annotated[bool, typer.Option(help="Bayesian search ends trials early that will not win")]
MaxLatency = Annotated[
    float | None, typer.Option(min=0, help="milliseconds at batch 1 that the best may take")
]
MaxParameters = Annotated[
    int | None, typer.Option(min=1, help="trained numbers that the best may have")
]
Pareto = Annotated[
    str | None, typer.Option(help="latency or parameters: only trials that none beats at less")
]
TrialEpochs = Annotated[
    int, typer.Option("--epochs", min=1, help="greatest number of epochs a trial")
]

# Of building TensorRT engines.
ComputeCapability = Annotated[
    list[str] | None, typer.Option(help="GPU that a TensorRT plan is for: 8.6; repeatable")
]
TimingCache = Annotated[
    Path | None, typer.Option(help="file that keeps TensorRT's timings between builds")
]
Workspace = Annotated[
    int | None, typer.Option(min=1, help="MiB of scratch memory for a TensorRT engine")
]

# Of serving and asking.
BatchSize = Annotated[
    int, typer.Option(min=1, help="rows of different requests that are run as one; 1 joins none")
]
EnableBatching = Annotated[
    bool,
    typer.Option(
        "--enable-batching",
        help="join requests also to a SavedModel of others, whose rows you know to be independent",
    ),
]
BatchDelay = Annotated[
    float, typer.Option(min=0, help="milliseconds that a batch waits to be filled")
]
Queue = Annotated[int, typer.Option(min=1, help="rows that may wait; beyond them 503")]
Timeout = Annotated[str, typer.Option(help="of a REST request; beyond it 504")]
MaxBody = Annotated[int, typer.Option(min=1, max=2047, help="MiB of one request; beyond them 413")]
StreamIdle = Annotated[str, typer.Option(help="a stream without a step for so long is closed")]
Poll = Annotated[str, typer.Option(help="between two looks for new versions")]
Default = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE", help="value of an input that a request leaves out; repeatable"
    ),
]
TokenFile = Annotated[
    Path | None, typer.Option(help="file with the token of requests; else SEQLOOM_TOKEN, if set")
]
TlsCert = Annotated[Path | None, typer.Option(help="PEM certificate; REST and gRPC are then TLS")]
TlsKey = Annotated[Path | None, typer.Option(help="PEM key to it")]
TlsClientCa = Annotated[
    Path | None, typer.Option(help="PEM authority that clients' certificates must be signed by")
]
TlsCa = Annotated[Path | None, typer.Option(help="PEM authority of the server at --url")]
Url = Annotated[
    str | None,
    typer.Option(help="server: http://host:8501 or grpc://host:8500, /v1/models/NAME after it"),
]
