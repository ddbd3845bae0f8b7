"""Windows a second and memory of Seqloom's window batches, beside Keras's own utility.

    python benchmarks/windows.py
    python benchmarks/windows.py --rows 3000 --batch-sizes 32 --turns 2 --seconds 0.05 --processes 0

All make the same batches, ``(<float32>[batch, lookback, columns], <float32>[batch, horizon,
columns])``, of every window of one series; this is checked first. "Keras" is one
`timeseries_dataset_from_array` of longer windows, each batch cut in two; "Keras zipped" is two of
them, one for the past and one for the future. In random order, Seqloom draws a new order of all
windows each epoch; Keras draws one when the data set is made, and later epochs differ from it only
within a buffer of eight batches.

Speed is measured in one process, each contender for a moment in turn, with a consumer that does
nothing. Only the one whose turn it is has an iterator, which has run for a while before: others
would go on fetching ahead. Memory, above that of before, is of a fresh process for each contender,
which has run the same on a few rows and has the values before the measurement begins; stamps and
positions of the windows count. It runs one epoch and a little of the next, or as far as `--longest`
goes. Then it makes data sets anew for the time to the first batch, a median of five. "mapped" reads
the values from a .npy file mapped into memory, whose pages count as resident but not as anonymous.
Reading is measured likewise. Memory needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

WAYS = ("Seqloom", "Keras", "Keras zipped")
ORDERS = ("in order", "random")
PLACES = ("in memory", "mapped")
FRESH = ("Seqloom", "Keras")  # have processes of their own
READERS = ("read_series", "pandas.read_csv")
START, STEP, MB = 1_577_836_800, 300, 2**20


def main() -> None:
    """Measures and reports; ``--only`` is how it calls itself in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--lookback", type=int, default=168)
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--turns", type=int, default=9, help="of each contender")
    parser.add_argument("--seconds", type=float, default=0.6, help="of a turn")
    parser.add_argument("--processes", type=int, default=1, help="fresh ones of each; 0: none")
    parser.add_argument("--longest", type=float, default=10, help="seconds of a fresh process")
    parser.add_argument("--read-rows", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(alone(options, **json.loads(options.only))))
        return
    from measuring import report

    with tempfile.TemporaryDirectory() as scratch:
        np.save(Path(scratch) / "series.npy", made_up(options.rows, options.columns))
        rows = []
        for batch in options.batch_sizes:
            rows += compare(options, scratch, batch)
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        rows += reading(options, scratch) if options.processes else []
    report("windows", rows)


def made_up(rows: int, columns: int) -> np.ndarray:
    """Random walks ``<float32>[rows, columns]``; the first column is the number of the row."""
    values = np.random.default_rng(0).standard_normal((rows, columns), np.float32)
    np.cumsum(values, 0, out=values)
    values[:, 0] = np.arange(rows)
    return values


def loaded(scratch: str, place: str) -> np.ndarray:
    """The series."""
    return np.load(Path(scratch) / "series.npy", mmap_mode="r+" if place == "mapped" else None)


def made(options, values: np.ndarray, way: str, order: str, batch: int):
    """Batches of an epoch, or without end."""
    if way == "Seqloom":
        return seqloom(options, values, order, batch)
    import keras
    import tensorflow as tf

    past, future = options.lookback, options.horizon

    def dataset(values: np.ndarray, length: int) -> tf.data.Dataset:
        return keras.utils.timeseries_dataset_from_array(
            values, None, length, batch_size=batch, shuffle=order == "random", seed=0
        )

    if way == "Keras zipped":
        both = tf.data.Dataset.zip(dataset(values[:-future], past), dataset(values[past:], future))
    else:
        both = dataset(values, past + future).map(
            lambda rows: (rows[:, :past], rows[:, past:]), tf.data.AUTOTUNE
        )
    return both.prefetch(2)


def seqloom(options, values: np.ndarray, order: str, batch: int):
    """Ours, as the tasks use it, but for the scaling."""
    from pipelines.frequency import Frequency
    from pipelines.series import Series
    from pipelines.window_batches import shuffled_windows, window_batches
    from pipelines.windows import Table, Windows

    count, names = values.shape[1], tuple(f"c{i}" for i in range(values.shape[1]))
    times = START + STEP * np.arange(len(values), dtype=np.int64)
    table = Table.of([Series("", times, values, names, Frequency(STEP))], count, count)
    starts = np.arange(len(values) - options.lookback - options.horizon + 1)
    windows = Windows(table, starts, options.lookback, options.horizon)

    def prepare(rows):
        return rows["values"], rows["future"]

    if order == "random":
        return shuffled_windows(windows, prepare, batch, seed=0).starting_with(0)
    return window_batches(windows, prepare, batch)


def endless(batches) -> Iterator:
    """Epochs one after another; ``repeat`` would make TensorFlow fetch ahead without bounds."""
    while True:
        yield from batches


# ---- one process for all


def compare(options, scratch: str, batch: int) -> list[dict]:
    """One row for each contender and order."""
    chosen = [
        (way, order, place)
        for order in ORDERS for way in WAYS for place in PLACES
        if way in FRESH or place == "in memory"
    ]  # fmt: skip
    values = {place: loaded(scratch, place) for place in PLACES}
    batches = {one: made(options, values[one[2]], one[0], one[1], batch) for one in chosen}
    check(options, values["in memory"], batches)
    speeds: dict[tuple, list[float]] = {one: [] for one in chosen}
    for _ in range(options.turns):
        for one, dataset in batches.items():
            iterator = endless(dataset)
            speed_of(iterator, options.seconds / 2)
            speeds[one].append(speed_of(iterator, options.seconds))
            iterator.close()
    rows = []
    for one in chosen:
        way, order, place = one
        ours = speeds["Seqloom", order, place]
        ratios = [mine / other for mine, other in zip(ours, speeds[one], strict=True)]
        rows.append(
            {"what": way, "order": order, "values": place, "batch": batch,
             "windows/s": round(statistics.median(speeds[one])),
             "Seqloom is faster by": round(statistics.median(ratios), 2)}
        )  # fmt: skip
        if way in FRESH and options.processes:
            rows[-1] |= fresh(options, scratch, way=way, order=order, place=place, batch=batch)
    return rows


def check(options, values: np.ndarray, batches: dict) -> None:
    """The first batches are windows of the series: in order the same for all, or else distinct."""
    size = len(values) - options.lookback - options.horizon + 1
    for (way, order, _), dataset in batches.items():
        iterator, seen = endless(dataset), 0
        for _ in range(2):
            past, future = (part.numpy() for part in next(iterator))
            starts = past[:, 0, 0].astype(int)
            if order == "in order":
                np.testing.assert_array_equal(starts, np.arange(seen, seen + len(starts)) % size)
            elif len(set(starts)) < len(starts):
                raise AssertionError(f"{way} repeats a window")
            seen += len(starts)
            rows = starts[:, None] + np.arange(options.lookback + options.horizon)
            np.testing.assert_array_equal(np.concatenate([past, future], 1), values[rows])


def speed_of(iterator: Iterator, seconds: float, most: float = float("inf")) -> float:
    """Windows a second, over at least two batches, so many seconds or so many windows."""
    began, windows, batches = time.perf_counter(), 0, 0
    while batches < 2 or time.perf_counter() - began < seconds and windows < most:
        windows += next(iterator)[1].shape[0]
        batches += 1
    return windows / (time.perf_counter() - began)


# ---- fresh processes


def fresh(options, scratch: str, **what: Any) -> dict:
    """Medians of what `alone` finds in processes of its own."""
    command = [sys.executable, __file__, "--only", json.dumps({"scratch": scratch, **what})]
    for name in ("rows", "columns", "lookback", "horizon", "longest"):
        command += [f"--{name}", str(getattr(options, name))]
    found = []
    for _ in range(options.processes):
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: round(statistics.median(one[key] for one in found), 3) for key in found[0]}


def alone(options, scratch: str, reader: str = "", **what: Any) -> dict:
    """Time and memory of one contender, or of one way to read, in this process."""
    if reader:
        import pandas as pd

        from pipelines.series_columns import SeriesColumns
        from pipelines.series_reader import read_series

        def read(path: Path) -> Any:
            if reader == "read_series":
                return read_series(path, SeriesColumns())
            frame = pd.read_csv(path, parse_dates=["time"])
            return frame["time"].to_numpy(), frame.drop(columns="time").to_numpy(np.float32)

        small = Path(scratch) / "small.csv"  # so that what is imported late does not count
        write_csv(small, made_up(500, options.columns))
        read(small)
        return measured(lambda: read(Path(scratch) / "series.csv"))

    def first(values: np.ndarray) -> tuple[float, Iterator]:
        began = time.perf_counter()
        iterator = endless(made(options, values, what["way"], what["order"], what["batch"]))
        next(iterator)
        return time.perf_counter() - began, iterator

    small = made_up(2 * (options.lookback + options.horizon), options.columns)
    speed_of(first(small)[1], 0.5)  # starts the runtime
    values = loaded(scratch, what["place"])

    def run() -> None:
        speed_of(first(values)[1], options.longest, options.rows + 10 * what["batch"])

    memory = measured(run)
    del memory["seconds"]
    firsts = [first(values)[0] for _ in range(5)]
    return {"s to the first batch": statistics.median(firsts), **memory}


def measured(action: Callable[[], object]) -> dict:
    """Seconds, and the greatest memory above that of before; anonymous memory every 5 ms."""
    Path("/proc/self/clear_refs").write_text("5")  # the greatest so far is the present one
    before, anonymous = kilobytes("VmRSS"), kilobytes("RssAnon")
    peak, done = [anonymous], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], kilobytes("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    kept = action()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    del kept
    return {
        "seconds": seconds,
        "peak MB": round((kilobytes("VmHWM") - before) * 1024 / MB, 1),
        "peak anonymous MB": round((peak[0] - anonymous) * 1024 / MB, 1),
    }


def kilobytes(name: str) -> int:
    """One line of what Linux knows of this process."""
    return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


# ---- reading


def reading(options, scratch: str) -> list[dict]:
    """Seconds and memory of reading csv files."""
    rows = []
    for count in options.read_rows:
        path = Path(scratch) / "series.csv"
        write_csv(path, made_up(count, options.columns))
        for reader in READERS:
            found = fresh(options, scratch, reader=reader)
            rows.append(
                {"what": reader, "csv rows": count,
                 "csv MB": round(path.stat().st_size / MB, 1), **found}
            )  # fmt: skip
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def write_csv(path: Path, values: np.ndarray) -> None:
    """Stamps and columns, a piece at a time."""
    import pandas as pd

    names = [f"c{i}" for i in range(values.shape[1])]
    for start in range(0, len(values), 100_000):
        frame = pd.DataFrame(values[start : start + 100_000], columns=names)
        seconds = START + STEP * np.arange(start, start + len(frame), dtype=np.int64)
        frame.insert(0, "time", seconds.astype("datetime64[s]"))
        frame.to_csv(path, mode="a" if start else "w", header=not start, index=False)


if __name__ == "__main__":
    main()
