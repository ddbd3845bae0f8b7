"""What a person writes behind a flag, as values."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import typer

from common.errors import DataError
from tasks.commands.app import commands_with, flags_of

_FLAG = re.compile(r"--[a-z][a-z0-9-]*(=.*)?", re.DOTALL)


def task_flags(
    words: Sequence[str], pairs: Sequence[str] | None = None, flag: str = "--set"
) -> dict[str, Any]:
    """Flags of one kind of task, which Typer does not know, and ``--set``, as values by name.

    >>> task_flags(["--target", "OT", "--horizon=24", "--linear", "--no-calendar"])
    {'target': 'OT', 'horizon': 24, 'linear': True, 'calendar': False}

    Raises:
        DataError: a word that belongs to no flag.
    """
    found, words = assignments(pairs, flag), list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise DataError(f"{word!r} belongs to no flag; flags of the task come after its name")
        name, equals, value = word[2:].partition("=")
        if equals:
            found[_name(name)] = _value(value)
        elif words and not words[0].startswith("--"):
            found[_name(name)] = _value(words.pop(0))
        elif name.startswith("no-"):
            found[_name(name[3:])] = False
        else:
            found[_name(name)] = True
    return found


def inputs_and_flags(
    words: Sequence[str], switches: Collection[str]
) -> tuple[list[str], dict[str, Any]]:
    """Inputs of ``predict``, and the flags of the task among them.

    >>> inputs_and_flags(["a film", "--top-k", "5", "--greedy", "another"], {"greedy"})
    (['a film', 'another'], {'top_k': 5, 'greedy': True})

    Args:
        words: as they were written.
        switches: names of settings that are true or false, whose flags have no value.
    """
    inputs, flags, words = [], {}, list(words)
    while words:
        word = words.pop(0)
        if not _FLAG.fullmatch(word):
            inputs.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        switch = _name(name.removeprefix("no-")) in switches
        if not equals and words and not switch and not _FLAG.fullmatch(words[0]):
            flags |= task_flags([word, words.pop(0)])
        else:
            flags |= task_flags([word])
    return inputs, flags


def task_by(name: str, metric: str | None) -> Any:
    """The task of a name; with ``--metric`` the one of its metrics that decides.

    Raises:
        SeqloomError: there is no such task, or it has no such metric.
    """
    import tasks

    return replace(tasks.get(name), chosen_by=_name(metric or ""))


def sorted_flags(
    task: Any, flags: dict[str, Any], ctx: typer.Context | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Flags of how the data is read, and settings of the model.

    Args:
        task: whose flags they are.
        flags: values by name.
        ctx: of the command, whose own flags may have been meant.

    Raises:
        DataError: a flag that this task does not have.
    """
    reading, known = set(task.data.names()), task.names()
    for name in flags:
        if name in task.judging.names():
            raise DataError(f"{_flag(name)} is a flag of `seqloom evaluate`")
        if name not in known:
            raise unknown_flag(name, known, ctx)
    return (
        {name: value for name, value in flags.items() if name in reading},
        {name: value for name, value in flags.items() if name not in reading},
    )


def unknown_flag(name: str, known: Iterable[str], ctx: typer.Context | None = None) -> DataError:
    """The error for a flag that a command does not have.

    Args:
        name: the flag's name, underscores between its words.
        known: names of the settings that may be written as flags.
        ctx: of the command.
    """
    flag, there = _flag(name), [_flag(one) for one in sorted(known)]
    if ctx is not None:
        if others := commands_with(ctx, flag):
            return DataError(f"{flag} is a flag of {others}, not of `seqloom {ctx.info_name}`")
        own = sorted(one for one in flags_of(ctx.command) if one.startswith("--"))
    close = get_close_matches(flag, [*(own if ctx is not None else ()), *there], 1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(there)}"
    return DataError(f"there is no flag or setting {name!r}; {hint}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _name(flag: str) -> str:
    return flag.replace("-", "_")


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def assignments(pairs: Sequence[str] | None, flag: str = "--set") -> dict[str, Any]:
    """``["units=64", "cell=gru"]`` as values; what is no JSON is a string."""
    changes = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise DataError(f"{flag} {pair}: write NAME=VALUE")
        changes[_name(name.strip())] = _value(value)
    return changes
