"""What a person sees on stderr and stdout, and a script on the last line of stdout."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from common.errors import DataError, SeqloomError
from common.files import storage_reason
from common.notebook import in_notebook
from common.telling import told

if TYPE_CHECKING:
    from pipelines.splits import Splits
    from tasks.kinds.contract import DataOptions, Task
    from tasks.stages.run_directory import Run
    from tuning.leaderboard import Search, TrialRow


def baseline_note(result: dict[str, Any]) -> str:
    """Where the run is, how large the model, what the baseline was; a line a remark, and one for
    each further way in which it was judged."""
    baseline = result["baseline"]
    first = f"{result['run']}: {result['parameters']:,} parameters" + (
        f"; the baseline is {baseline['name']}" if baseline else ""
    )
    ways = [result[way]["note"] for way in result.get("ways", ())]
    return "\n".join([first, *result.get("remarks", ()), *ways])


def tell(message: str) -> None:
    """A line for the person who waits; on stdout in a notebook, which shows stderr as an error."""
    print(message, file=sys.stdout if in_notebook() else sys.stderr, flush=True)
    told(message)


def load_quick(task: Task, where: DataOptions) -> Splits:
    """The examples, read before TensorFlow is imported: what is wrong with them is said at once."""
    if str(where.source).startswith("tfds:"):
        load_tensorflow()  # without its chatter
    return task.load(where)


def load_run(run: Run, source: str | None = None) -> Splits:
    """The examples of a run, read again.

    Args:
        run: a run.
        source: where they are now; None if they are where the run found them.

    Raises:
        DataError: they cannot be read, or are others; the message says how to name their place.
    """
    where = run.data()
    try:
        splits = load_quick(run.task(), replace(where, source=source) if source else where)
    except DataError as error:
        if source:
            raise
        raise DataError(
            f"the data that {run.path} was trained on cannot be read: {error} "
            "If it is elsewhere now, say where with --data"
        ) from error
    run.check_data(splits)
    return splits


def load_noted(task: Task, where: DataOptions, tell: Callable[[str], None] = tell) -> Splits:
    """``load_quick``; what was decided on the way is told, and what a kind has to say of them."""
    splits = load_quick(task, where)
    for line in [*(f"note: {note}" for note in splits.notes), *task.overview(splits)]:
        tell(line)
    return splits


def print_json(value: Any) -> None:
    """The result for a script."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def terminal_width() -> int | None:
    """Characters of a line of stdout; None where it is a file or a pipe."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else None


def show(
    rows: Sequence[dict[str, Any]], result: Any = None, as_json: bool = False, note: str = ""
) -> None:
    """The table for a person, or the object for a script.

    Nothing is cut off: on a narrow terminal a table continues below itself, see
    ``tasks.stages.table_layout``; into a file or a pipe it is printed without lines.
    """
    if as_json:
        print_json(result)
        return
    from rich.console import Console

    from tasks.stages.table_layout import columns_of, table_width, tables

    columns, width = columns_of(rows), terminal_width()
    console = Console(width=table_width(columns) if width is None else width)
    for number, block in enumerate(tables(columns, width)):
        if number:
            console.print()
        console.print(block)
    if note:
        print(note)


def show_leaderboard(
    search: Search,
    rows: Sequence[TrialRow] | None = None,
    result: Any = None,
    as_json: bool = False,
) -> None:
    """The trials of a search, in the columns that there is room for.

    Args:
        search: a search.
        rows: those of its trials that are shown; all if None.
        result: the object for a script.
        as_json: whether a script is to have it.
    """
    if as_json:
        print_json(result)
        return
    from tasks.stages.tables import fitted_leaderboard
    from tuning.noise import compare

    chosen = search.rows if rows is None else rows
    shown, note = fitted_leaderboard(chosen, terminal_width(), search.directory)
    found = compare(search)
    notes = [note, found.sentence if found else ""]
    show(shown, note="\n".join(filter(None, notes)))


def load_tensorflow() -> None:
    """Imports TensorFlow without its start-up chatter, which comes before any log level counts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
