"""Commands that tell what there is: tasks, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from tasks.commands import options as o
from tasks.commands.app import app
from tasks.stages.console import load_tensorflow, show


@app.command("tasks", epilog="Example: seqloom tasks forecast")
def list_tasks(
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="show its flags")] = None,
    as_json: o.AsJson = False,
) -> None:
    """What there is to learn; of one task, all its flags."""
    import tasks
    from tasks.stages.tables import flag_rows, task_rows

    rows = flag_rows(tasks.get(task)) if task else task_rows()
    show(rows, {"flags" if task else "tasks": rows}, as_json)


@app.command(epilog="Example: seqloom doctor")
def doctor(as_json: o.AsJson = False) -> None:
    """What works on this machine: versions, GPU, TensorRT, data caches."""
    load_tensorflow()
    from tasks.stages.doctor import examine

    rows = examine()
    show(rows, {"checks": rows}, as_json)
