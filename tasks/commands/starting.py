"""The command that writes new tasks and kinds: new."""

from __future__ import annotations

from typing import Annotated

import typer

from tasks.commands import options as o
from tasks.commands.app import app
from tasks.commands.completion import kind_names
from tasks.stages.console import print_json


@app.command(epilog="Example: seqloom new topic --kind text_classification")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the task")],
    kind: Annotated[
        str,
        typer.Option(
            help="what sort of task it is; of --new-kind, its name", autocompletion=kind_names
        ),
    ],
    new_kind: Annotated[
        bool, typer.Option("--new-kind", help="also write the kind: a labeller of sequences")
    ] = False,
    as_json: o.AsJson = False,
) -> None:
    """Write a task and its test into this clone; with --new-kind a kind to begin from, too."""
    from tasks.stages.scaffolding import new_task

    paths = [str(path) for path in new_task(name, kind, new_kind)]
    if as_json:
        print_json({"files": paths})
        return
    for path in paths:
        print(path)
    task = name.replace("-", "_")
    print(f"try it: seqloom run {task} --quick; python -m pytest -k {task}")
