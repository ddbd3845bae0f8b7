"""The Typer application that the commands belong to."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Recurrent sequence models from raw data to a served model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug with any command shows the traceback of an error.",
)
