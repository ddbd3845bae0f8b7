"""What a person sees on stderr and stdout, and a script on the last line of stdout."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from common.errors import SeqloomError
from common.files import storage_reason

if TYPE_CHECKING:
    from pipelines.splits import Splits
    from tasks.kinds.contract import DataOptions, Task


def baseline_note(result: dict[str, Any]) -> str:
    """One line: where the run is, how large the model, and what the baseline was."""
    baseline = result["baseline"]
    return f"{result['run']}: {result['parameters']:,} parameters" + (
        f"; the baseline is {baseline['name']}" if baseline else ""
    )


def tell(message: str) -> None:
    """A line for the person who waits."""
    print(message, file=sys.stderr, flush=True)


def load_quick(task: Task, where: DataOptions) -> Splits:
    """The examples, read before TensorFlow is imported: what is wrong with them is said at once."""
    if str(where.source).startswith("tfds:"):
        load_tensorflow()  # without its chatter
    return task.load(where)


def load_noted(task: Task, where: DataOptions) -> Splits:
    """``load_quick``; what was decided on the way is told."""
    splits = load_quick(task, where)
    for note in splits.notes:
        tell(f"note: {note}")
    return splits


def print_json(value: Any) -> None:
    """The result for a script."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def show(
    rows: Sequence[dict[str, Any]], result: Any = None, as_json: bool = False, note: str = ""
) -> None:
    """The table for a person, or the object for a script."""
    if as_json:
        print_json(result)
        return
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*names)
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    wide = None if sys.stdout.isatty() else 200
    Console(width=wide).print(table)
    if note:
        print(note)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def load_tensorflow() -> None:
    """Imports TensorFlow without its start-up chatter, which comes before any log level counts."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _unwritten(error: Exception) -> str | None:
    """The sentence for a file that could not be written where nobody foresaw it."""
    if (reason := storage_reason(error)) is None:
        return None
    where = getattr(error, "filename", None)
    return f"{where}: {reason}" if where else f"a file cannot be written: {reason}"


def guarded(command: Callable[[], None], debug: bool) -> int:
    """Runs a command; its exit code. What bad input raises becomes one sentence."""
    try:
        command()
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer turns Ctrl-C into an exit with this code.
        if isinstance(end, SystemExit) and end.code != 130:
            raise
        tell("stopped; the same command with --out (train: and --resume) goes on where it was")
        return 130
    except Exception as error:
        message = str(error) if isinstance(error, SeqloomError) else _unwritten(error)
        if debug or message is None:
            raise
        print(f"seqloom: {message}", file=sys.stderr)
        return 2
    return 0
