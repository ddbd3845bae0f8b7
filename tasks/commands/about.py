"""Commands that tell what there is: tasks, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.errors import DataError
from tasks.commands import options as o
from tasks.commands.app import app, commands_with
from tasks.commands.arguments import sorted_flags, task_flags, unknown_flag
from tasks.commands.completion import RUNS, places, task_names
from tasks.stages.console import load_noted, load_tensorflow, show


@app.command("tasks", epilog="Example: seqloom tasks forecast")
def list_tasks(
    task: Annotated[
        str | None,
        typer.Argument(metavar="[TASK]", help="show its flags", autocompletion=task_names),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """What there is to learn; of one task, all its flags."""
    import tasks
    from tasks.stages.tables import flag_rows, task_rows

    rows = flag_rows(tasks.get(task)) if task else task_rows()
    show(rows, {"flags" if task else "tasks": rows}, as_json)


@app.command(epilog="Example: seqloom doctor forecast --cell lstm", context_settings=o.OWN_FLAGS)
def doctor(
    own: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|TASK]",
            help="whose recurrent layers to look at; the flags of `train` may follow a task",
            autocompletion=places(RUNS, also=task_names),
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help=f"of a task: {o.SOURCES}")] = None,
    network: o.OwnNetwork = None,
    settings: o.Set = None,
    as_json: o.AsJson = False,
) -> None:
    """What works on this machine: versions, GPU, TensorRT, data caches.

    Of a run or a task, what would use a GPU: which recurrent layers Keras runs with cuDNN's
    kernels, and why not the others.
    """
    flags = task_flags(own.args, settings)
    if target is not None:
        _kernels(own, target, data, network, flags, as_json)
        return
    for flag in flags:
        raise unknown_flag(flag, (), own)
    if data or network:
        flag = "--data" if data else "--network"
        raise DataError(f"{flag} goes with a task: seqloom doctor TASK {flag} ...")
    load_tensorflow()
    from tasks.stages.doctor import examine

    rows = examine()
    show(rows, {"checks": rows}, as_json)


def _kernels(
    own: typer.Context,
    target: str,
    data: str | None,
    network: str | None,
    flags: dict,
    as_json: bool,
) -> None:
    """The recurrent layers of a run, or of the model that a task would train."""
    import tasks
    from tasks.stages.directories import RUN, required
    from tasks.stages.networks import with_network
    from tasks.stages.run_directory import Run

    if target in tasks.names():
        task = with_network(tasks.get(target), network)
        reading, changes = sorted_flags(task, flags, own)
        where = task.data_options(data or "synthetic", **reading)
        chosen = task.with_settings(task.settings, changes)
        task.check(chosen, where)
        splits = load_noted(task, where)
    elif flags or data or network:
        for flag in flags:
            others = commands_with(own, "--" + flag.replace("_", "-"))
            if others and "`seqloom train`" not in others:
                raise unknown_flag(flag, (), own)
        raise DataError(
            f"--data and flags of the model go with a task, and {target} is none; there are: "
            f"{', '.join(tasks.names())}"
        )
    elif not Path(target).exists():
        raise DataError(
            f"{target} is neither a task nor a directory; there are the tasks "
            f"{', '.join(tasks.names())}, and the runs that `seqloom train` wrote"
        )
    else:
        run = Run(required(Path(target), RUN, finished=True))
    load_tensorflow()
    from tasks.stages.doctor import examine_gpu
    from tasks.stages.kernels import kernels_of, new_model

    model = new_model(task, chosen, splits) if target in tasks.names() else run.model()
    rows, note = kernels_of(model)
    checks = examine_gpu()
    found = {"layers": rows, "checks": checks}
    if as_json:
        show(rows, found, as_json)
        return
    yes = {True: "yes", False: "no"}
    show([{**row, "mask": yes[row["mask"]], "cudnn": yes[row["cudnn"]]} for row in rows], note=note)
    show(checks)
