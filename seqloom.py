"""The command line, put together; the commands themselves are in ``tasks/commands``.

TensorFlow is imported inside the commands that train, never here: ``seqloom --help`` is quick.
"""

from __future__ import annotations

import os
import signal
import sys

from tasks.commands import about, deploying, searching, starting, training  # noqa: F401 they register
from tasks.commands.app import app
from tasks.stages.console import guarded


def main() -> None:
    """Entry point of the console script."""
    # What a cluster or a person ends politely leaves the same state as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What stands after -- are inputs, whatever they look like.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    flags, rest = sys.argv[1:end], sys.argv[end:]
    debug = "--debug" in flags
    arguments = [*(flag for flag in flags if flag != "--debug"), *rest]

    def command() -> None:
        app(arguments, prog_name="seqloom", standalone_mode=True)

    sys.exit(guarded(command, debug))


if __name__ == "__main__":
    main()
