"""Commands on file systems that are full or read-only, run as root of a namespace of its own.

    unshare --user --map-root-user --mount python tests/full_disk.py PLACE

prints one JSON object: what each command said, and what it left.
"""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import seqloom

QUICK = ("--data", "synthetic:200", "--units", "4", "--embedding-dim", "4", "--layers", "1",
         "--batch-size", "64")  # fmt: skip


def mount(place, options):
    """Mounts a file system in memory, or changes its options."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)


def call(place, *arguments):
    """What a command said, and the names of the files below a place that there are after it."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["seqloom", *map(str, arguments)]
    code = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            seqloom.main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    left = sorted(str(path.relative_to(place)) for path in place.rglob("*"))
    return {"code": code, "err": err.getvalue(), "left": left, "tensorflow": "tensorflow" in
            sys.modules}  # fmt: skip


def fill(place, room):
    """Fills a file system until there are ``room`` bytes left, and says with which file."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with filler.open("r+b") as file:
        file.truncate(max(0, filler.stat().st_size - room))
    return filler


def asked_first(place, run, bundle):
    """All commands that write, where nothing can be written: before TensorFlow is imported."""
    commands = {
        "train": ["train", "sentiment", *QUICK, "--out", place / "new"],
        "tune": ["tune", "sentiment", "--data", "synthetic:200", "--out", place / "new"],
        "run": ["run", "sentiment", "--data", "synthetic:200", "--out", place / "new"],
        "export": ["export", run, "--out", place / "new"],
        "predict": ["predict", bundle, "a film", "--out", place / "new" / "answers.csv"],
    }
    return {name: call(place, *command) for name, command in commands.items()}


def main(place, run, bundle):
    """The object that is printed."""
    found = {}
    mount(place / "ro", "size=1m")
    mount(place / "ro", "remount,ro")
    found["read-only"] = asked_first(place / "ro", run, bundle)
    full = place / "full"
    mount(full, "size=1m")
    filler = fill(full, 0)
    found["full"] = asked_first(full, run, bundle)

    # The disk is full once the first epoch has ended; then there is room again.
    filler.unlink()
    from models.callbacks import HistoryFile

    begin = HistoryFile.on_epoch_begin

    def filling(self, epoch, logs=None):
        if epoch == 1:
            fill(full, 0)
        begin(self, epoch, logs)

    mount(full, "remount,size=8m")
    HistoryFile.on_epoch_begin = filling
    train = ["train", "sentiment", *QUICK, "--epochs", 3, "--out", full / "run"]
    found["train"] = call(full, *train)
    HistoryFile.on_epoch_begin = begin
    filler.unlink()
    found["resumed"] = call(full, *train, "--resume")

    for name, form in (("savedmodel", "savedmodel"), ("onnx", "onnx")):
        fill(full, 100_000)
        found[f"export {name}"] = call(full, "export", full / "run", "--format", form)
        filler.unlink()
    found["exported"] = call(full, "export", full / "run", "--format", "onnx")
    return found


if __name__ == "__main__":
    print(json.dumps(main(*(Path(argument) for argument in sys.argv[1:]))))
