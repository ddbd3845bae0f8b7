"""The Typer application that the commands belong to."""

from __future__ import annotations

import time
from typing import Any

import typer
from typer.core import TyperCommand

# About when the process started; what a command took counts from here.
STARTED = time.perf_counter()
app = typer.Typer(
    help="Recurrent sequence models from raw data to a served model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug with any command shows the traceback of an error.",
)


class WithInputs(TyperCommand):
    """A command whose words after ``--`` are inputs, even those that begin with a dash."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes what follows ``--`` out, for ``inputs_after_dashes``."""
        if "--" in args:
            place = args.index("--")
            ctx.meta["inputs"] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)


def inputs_after_dashes(ctx: typer.Context) -> list[str]:
    """The words after ``--``."""
    return ctx.meta.get("inputs", [])
