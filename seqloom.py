"""The front door: ``import seqloom`` for notebooks, and the command line.

    import seqloom

    run = seqloom.train("sentiment", "reviews.csv", units=128)
    bundle = run.export()
    with bundle.serve() as server:
        server.predict(["a warm and funny film"])

TensorFlow is imported where something is trained, never here: both are quick to start.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

_HOMES = {
    "ExportedBundle": "tasks.front.bundles",
    "RunningServer": "tasks.front.bundles",
    "TrainedRun": "tasks.front.runs",
    "TuningSearch": "tasks.front.searches",
    "load": "tasks.front.starting",
    "settings": "tasks.front.starting",
    "splits": "tasks.front.starting",
    "task": "tasks.front.starting",
    "tasks": "tasks.front.starting",
    "train": "tasks.front.training",
    "tune": "tasks.front.starting",
}
_ROOMS = (
    "common", "decoding", "models", "pipelines", "reports", "serving", "tasks", "tuning",
)  # fmt: skip


def shadowed(here: Path | None = None) -> str | None:
    """What is found in place of one of this project's packages, in a sentence; None if nothing is.

    Args:
        here: the directory that holds the packages; that of this file if None.
    """
    here = here or Path(__file__).resolve().parent
    for room in _ROOMS:
        found = importlib.util.find_spec(room)
        places = [] if found is None else [found.origin, *(found.submodule_search_locations or ())]
        at = next((Path(place) for place in places if place), None)
        if at is None or at.resolve().parent not in (here, here / room):
            what = "is missing" if at is None else f"is hidden by {at}"
            return (
                f"Seqloom's package `{room}` {what}; start Python in another directory, "
                "or give that file another name"
            )
    return None


if _hidden := shadowed():
    raise ImportError(_hidden)

from common.lazy import lazy_names  # noqa: E402 only now is it known to be ours

__all__, __getattr__, __dir__ = lazy_names(__name__, _HOMES)


def main() -> None:
    """Entry point of the console script."""
    from contextlib import nullcontext

    from common.telling import reminding
    from tasks.commands.every import app
    from tasks.stages.console import guarded

    # What a cluster or a person ends politely leaves the same state as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of trials' processes too
    # What stands after -- are inputs, whatever they look like.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    flags, rest = sys.argv[1:end], sys.argv[end:]
    debug = "--debug" in flags
    arguments = [*(flag for flag in flags if flag != "--debug"), *rest]

    def command() -> None:
        app(arguments, prog_name="seqloom", standalone_mode=True)

    # A server is silent for as long as nobody asks.
    with nullcontext() if arguments[:1] == ["serve"] else reminding():
        code = guarded(command, debug)
    sys.exit(code)


if __name__ == "__main__":
    main()
