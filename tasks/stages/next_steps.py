"""What to do with a result: two commands under each, ready to copy."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.stages.console import tell

if TYPE_CHECKING:
    from tasks.kinds.contract import DataOptions, Task

# Characters of an example that is worth typing.
SHORT = 120


def show_next(*commands: str | None) -> None:
    """The commands, on stderr: results alone go to stdout."""
    if found := [one for one in commands if one]:
        tell("\n".join(["next:", *(f"  {one}" for one in found)]))


def command(*words: Any) -> str:
    """A command as a shell takes it.

    >>> command("predict", "runs/a b", "it's fine")
    'seqloom predict \\'runs/a b\\' \\'it\\'"\\'"\\'s fine\\''
    """
    return shlex.join(["seqloom", *map(str, words)])


def predicting(place: Path, task: Task, data: DataOptions, raw: Sequence[Any]) -> str | None:
    """A question to a run or a bundle; None where there is nothing that can be typed.

    Args:
        place: what answers.
        task: whose inputs they are.
        data: of the examples; a file is asked about where inputs are no text, unless something has
            to be known of the future besides.
        raw: raw inputs, of which a short one is shown.
    """
    texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in raw]
    short = [one for one in texts if isinstance(one, str) and 0 < len(one) <= SHORT]
    typed = [one for one in short if one.isprintable() and not one.startswith("-")]
    if typed and not task.hears:
        return command("predict", place, typed[0])
    source = data.source
    if isinstance(source, str) and Path(source).is_file() and not data.reading.get("known"):
        return command("predict", place, "--file", source, "--out", "answers.csv")
    return None
