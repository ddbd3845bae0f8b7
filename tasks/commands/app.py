"""The Typer application that the commands belong to."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

# About when the process started; what a command took counts from here.
STARTED = time.perf_counter()
# Put before a word that begins with a dash and is an input, so that Typer takes it for one.
_INPUT = "\0"


class Command(TyperCommand):
    """A command that says of a flag which it does not have which other command has it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer's; the error for an unknown flag says more."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # Typer has a copy of click or imports it, by its version: hence no class to catch.
            if others := commands_with(ctx, getattr(error, "option_name", "")):
                error.message = f"{error.message.rstrip('.')}; it is a flag of {others}."
            raise

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """As Typer's; where a command takes the flags of a task, these too."""
        found = super().shell_complete(ctx, incomplete)
        if not self.context_settings.get("ignore_unknown_options"):
            return found
        from tasks.commands.completion import own_flags

        there = {one.value for one in found}
        own = [pair for pair in own_flags(ctx, incomplete) if pair[0] not in there]
        return [*found, *(completion_item(*pair) for pair in own)]


def completion_item(value: str, meaning: str) -> Any:
    """A word that a shell completes."""
    try:
        from typer._click.shell_completion import CompletionItem
    except ImportError:  # a Typer that imports click and has no copy of it
        from click.shell_completion import CompletionItem
    return CompletionItem(value, help=meaning or None)


class WithInputs(Command):
    """A command some of whose words are inputs, which may begin with a dash.

    Those are the words after ``--``, and before it those that cannot be a flag: ``-5 stars``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes what follows ``--`` out, for ``inputs_after_dashes``, and marks other inputs."""
        if "--" in args:
            place = args.index("--")
            ctx.meta["inputs"] = args[place + 1 :]
            args = args[:place]
        takes_value = {
            name: not (option.is_flag or option.count)
            for option in self.get_params(ctx)
            if option.param_type_name == "option"
            for name in (*option.opts, *option.secondary_opts)
        }
        words, value_next = [], False
        for word in args:
            dashed = word.startswith("-") and not word.startswith("--") and word != "-"
            spaced = word.startswith("--") and any(mark.isspace() for mark in word.split("=")[0])
            is_input = (dashed or spaced) and not value_next and word not in takes_value
            words.append(_INPUT + word if is_input else word)
            value_next = not value_next and takes_value.get(word, False)
        return super().parse_args(ctx, words)


def unmarked(words: Iterable[str]) -> list[str]:
    """Words as they were written, without the mark of ``WithInputs``."""
    return [word.removeprefix(_INPUT) for word in words]


def inputs_after_dashes(ctx: typer.Context) -> list[str]:
    """The words after ``--``."""
    return ctx.meta.get("inputs", [])


def flags_of(command: Any) -> set[str]:
    """Every way to write a flag of a command."""
    return {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}


def commands_with(ctx: Any, flag: str) -> str:
    """The other commands that have a flag: ``"`seqloom tune` and `seqloom run`"``; "" if none."""
    commands = getattr(getattr(ctx.parent, "command", None), "commands", {})
    if flag in flags_of(ctx.command):
        return ""
    found = [f"`seqloom {name}`" for name, one in commands.items() if flag in flags_of(one)]
    return " and ".join(found) if len(found) < 3 else f"{', '.join(found[:-1])} and {found[-1]}"


class Application(typer.Typer):
    """Typer whose commands are of the class above, unless they name another."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        """As Typer's."""
        return super().command(name, **{"cls": Command, **options})


app = Application(
    help="Recurrent sequence models from raw data to a served model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug with any command shows the traceback of an error.",
)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    import platform
    import sys
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    try:
        number = version("seqloom")
    except PackageNotFoundError:
        number = "of a clone that is not installed"
    print(f"seqloom {number} in {Path(__file__).resolve().parents[2]}")
    print(f"Python {platform.python_version()} at {sys.executable}")
    raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="of Seqloom and of Python"
        ),
    ] = False,
) -> None:
    """Recurrent sequence models from raw data to a served model."""
