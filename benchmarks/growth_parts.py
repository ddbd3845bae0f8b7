"""What grows in ``growth.py``: data of a size, and the stages that work on it."""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import growth_data as data
import measuring  # noqa: F401  it puts the project before this folder

QUICK = {"units": 16, "embedding_dim": 16, "epochs": 1, "bidirectional": False}


# ---- the clock


def status(pid: int | str, name: str) -> float:
    """A field of a process's status, in megabytes; 0 where it is not told."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 / 1e6 if found else 0.0


def _peak() -> float:
    return status("self", "VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


class Clock:
    """Writes a line for each stage: its processor seconds, and how far memory rose above the
    process as it was once everything was imported. Stages within a stage are taken out of its
    seconds."""

    def __init__(self) -> None:
        self.base, self.inner = 0.0, [0.0]
        self.peaks: list[float] = []

    def start(self) -> None:
        """Memory counts from here."""
        self.base = status("self", "VmRSS")

    @contextmanager
    def stage(self, name: str, note: str = "") -> Iterator[None]:
        """Measures what is done within."""
        self.peaks = [max(peak, _peak()) for peak in self.peaks] + [0.0]
        _forget_peak()
        self.inner.append(0.0)
        started = time.process_time()
        yield
        spent = time.process_time() - started
        own = spent - self.inner.pop()
        self.inner[-1] += spent
        peak = max(self.peaks.pop(), _peak())
        self.peaks = [max(outer, peak) for outer in self.peaks]
        _forget_peak()
        row = {"stage": name, "seconds": round(own, 3), "megabytes": round(peak - self.base, 1)}
        print(json.dumps({**row, **({"note": note} if note else {})}), flush=True)

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """Makes each call of a function a stage."""
        function = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            with self.stage(stage):
                return function(*args, **options)

        setattr(owner, name, timed)


# ---- the stages that users run


def life(
    clock: Clock, task_name: str, source: Path, *, bundle: bool = True,
    flags: dict[str, Any] | None = None, file: Path | None = None, **settings: Any,
) -> None:  # fmt: skip
    """``seqloom train``, ``evaluate``, ``report``, ``export``, and ``predict`` of a bundle."""
    import tensorflow as tf  # noqa: I001

    import tasks
    from models import callbacks  # noqa: F401
    from serving import export as _export  # noqa: F401
    from tasks.stages import exporting, predicting, reporting, training
    from tasks.stages.run_directory import Run

    tf.constant(1.0)
    task = tasks.get(task_name)
    run = Run(Path("run"))
    clock.watch(training, "prepare", "prepare")
    clock.watch(training, "fit_run", "train, an epoch")
    clock.watch(training, "keras_responses", "answer a part")
    clock.watch(type(task), "baseline", "baseline")
    clock.watch(type(task), "judged", "judged")
    clock.watch(type(task), "evaluate", "scores")
    options = task.data_options(str(source), **(flags or {}))
    chosen = task.with_settings(task.settings, {**QUICK, **settings})
    clock.start()
    with clock.stage("read"):
        splits = task.load(options)
    with clock.stage("train, the rest"):
        training.train(task, options, chosen, run, splits=splits)
    with clock.stage("report"):
        page = reporting.report(run.path)
    print(json.dumps({"stage": "page", "note": f"{page.stat().st_size / 1e3:.0f} kB"}))
    if not bundle:
        return
    with clock.stage("export"):
        exporting.export(run, Path("bundle"), splits=splits)
    sizes = {
        name: sum(p.stat().st_size for p in Path("bundle", name).rglob("*") if p.is_file()) / 1e6
        for name in ("savedmodel", "onnx")
    }
    note = ", ".join(f"{name} {size:.1f} MB" for name, size in sizes.items())
    print(json.dumps({"stage": "bundle", "note": note}))
    preprocessor = run.preprocessor()
    raw = preprocessor.raw(splits.test[:1])
    with clock.stage("load a bundle, one answer"):
        answerer = predicting.Answerer(Path("bundle"))
        answerer.predict(raw)
    if file is not None:
        with clock.stage("predict --file --out"):
            answerer.predict([], file, out=Path("answers.jsonl"))


# ---- what grows


@dataclass(frozen=True)
class Part:
    """A curve.

    Attributes:
        what: grows.
        sizes: of it.
        run: takes a clock and a size.
    """

    what: str
    sizes: tuple[int, ...]
    run: Callable[[Clock, int], None]


def _length(clock: Clock, size: int) -> None:
    source = data.texts(Path("data.csv"), 96, size)
    life(clock, "classify", source, max_length=size, units=64, batch_size=16)


def _vocabulary(clock: Clock, size: int) -> None:
    source = data.texts(Path("data.csv"), max(200, size // 25), 50, words=size)
    life(clock, "classify", source, vocabulary_size=size + 4, batch_size=512)


def _classes(clock: Clock, size: int) -> None:
    source = data.texts(Path("data.csv"), max(100, 10 * size), 10, classes=size)
    life(clock, "classify", source, file=source, batch_size=256)


def _rows(clock: Clock, size: int) -> None:
    source = data.series(Path("data.csv"), 1, size)
    flags = {"stride": max(1, size // 5000), "horizon": 12, "lookback": 24}
    life(clock, "forecast", source, flags=flags, file=source if size <= 10**6 else None)


def _series(clock: Clock, size: int) -> None:
    source = data.series(Path("data.csv"), size, 60)
    flags = {"horizon": 4, "lookback": 8, "id_column": "shop", "stride": 8}
    life(clock, "forecast", source, flags=flags, file=source, batch_size=1024)


def _columns(clock: Clock, size: int) -> None:
    source = data.series(Path("data.csv"), 1, 300, columns=size)
    life(clock, "forecast", source, flags={"horizon": 4, "lookback": 8}, file=source)


def _files(clock: Clock, size: int) -> None:
    source = data.folder(Path("data"), size)
    life(clock, "classify", source, bundle=False, batch_size=256)


def _line_length(clock: Clock, size: int) -> None:
    source = data.long_line(Path("data.csv"), size)
    life(clock, "classify", source, file=source)


def _tags(clock: Clock, size: int) -> None:
    source = data.tagged(Path("data.conll"), max(200, 10 * size), size)
    life(clock, "tagging", source, batch_size=64)


def _examples(clock: Clock, size: int) -> None:
    source = data.texts(Path("data.csv"), size, 10)
    life(clock, "classify", source, file=source, batch_size=256)


def _recordings(clock: Clock, size: int) -> None:
    life(clock, "keyword", data.recordings(Path("data"), size), batch_size=64)


PARTS = {
    "length": Part("tokens of a text", (16, 256, 1024, 4096), _length),
    "vocabulary": Part("words", (1000, 10_000, 100_000, 1_000_000), _vocabulary),
    "classes": Part("classes, ten texts each", (10, 100, 1000, 10_000), _classes),
    "rows": Part("rows of one series", (10_000, 100_000, 1_000_000, 10_000_000), _rows),
    "series": Part("series of 60 rows in one file", (100, 1000, 10_000, 100_000), _series),
    "columns": Part("columns of a csv of 300 rows", (10, 100, 1000), _columns),
    "files": Part("files of a folder", (100, 1000, 10_000, 100_000), _files),
    "line": Part("bytes of one text", (10**5, 10**6, 10**7, 10**8), _line_length),
    "tags": Part("tags, ten sentences each", (10, 30, 100, 300), _tags),
    "examples": Part("texts", (1000, 10_000, 100_000), _examples),
    "recordings": Part("recordings", (100, 1000, 10_000), _recordings),
}


def measure(part: str, size: int) -> None:
    """Measures one point in this process, in a folder that is removed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        PARTS[part].run(Clock(), size)
        os.chdir("/")
