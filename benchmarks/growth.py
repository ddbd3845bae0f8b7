"""Cost as work grows: processor seconds and peak memory of the stages that users run, as curves.

Every point runs in a process of its own, so that its peak of memory is its own; what was measured
before stays in the results, point by point. What grows and what is measured is in
``growth_parts.py``.

python benchmarks/growth.py [--only PART ...] [--sizes N ...] [--jobs N]
python benchmarks/growth.py --page docs/growth.md
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import growth_parts
import measuring

# A point that takes more is stopped and reported as such.
MOST_SECONDS, MOST_BYTES = 600, 6_000_000_000
# Below these a slope is that of the clock and of what is loaded once.
LEAST_SECONDS, LEAST_MEGABYTES = 0.3, 30.0
DRAWN = 6  # stages of a picture, the dearest

Row = dict[str, Any]


def main() -> None:
    """Measures the points that are asked for, and keeps the others."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=growth_parts.PARTS, metavar="PART",
                        default=list(growth_parts.PARTS))  # fmt: skip
    parser.add_argument("--sizes", nargs="+", type=int, help="instead of a part's own")
    parser.add_argument("--jobs", type=int, default=1, help="points at a time")
    parser.add_argument("--page", type=Path, help="write what was measured into this page")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        growth_parts.measure(options.point[0], int(options.point[1]))
        return
    if options.page:
        fill(options.page, _before())
        return
    wanted = [
        (part, size)
        for part in options.only
        for size in options.sizes or growth_parts.PARTS[part].sizes
    ]
    lock = threading.Lock()

    def one(place: tuple[str, int]) -> None:
        found = point(*place)
        measuring.machine()  # imports TensorFlow: not between reading the results and writing them
        with lock:
            print(*map(_line, found), sep="\n", flush=True)
            rows = [row for row in _before() if (row["part"], row["size"]) != place]
            with contextlib.redirect_stdout(io.StringIO()):
                measuring.report("growth", sorted(rows + found, key=_order))

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, wanted))
    rows = _before()
    for part in options.only:
        print(*table([row for row in rows if row["part"] == part]), sep="\n")


def point(part: str, size: int) -> list[Row]:
    """The stages of one size, measured in a process of its own."""
    command = [sys.executable, __file__, "--point", part, str(size)]
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile("w+") as log:
        # Below the place that is removed here, even if the process is stopped.
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True,
                                 env={**os.environ, "TMPDIR": place})  # fmt: skip
        stopped: list[str] = []
        watch = threading.Thread(target=_stop_beyond, args=(child, stopped), daemon=True)
        watch.start()
        rows = [json.loads(line) for line in child.stdout if line.startswith("{")]
        failed = child.wait() != 0
        log.seek(0)
        error = log.read().strip().splitlines()[-1:] if failed else []
    rows = [{"part": part, "size": size, **row} for row in rows]
    if failed:
        why = (stopped or error or ["stopped"])[0]
        rows.append({"part": part, "size": size, "stage": "then stopped", "note": why[:300]})
    return rows


def _stop_beyond(child: subprocess.Popen, stopped: list[str]) -> None:
    """Ends a process that takes more memory or processor time than a point may."""
    while child.poll() is None:
        time.sleep(0.25)
        if growth_parts.status(child.pid, "VmRSS") > MOST_BYTES / 1e6:
            stopped.append(f"more than {MOST_BYTES / 1e9:.0f} GB")
        elif measuring.processor_seconds(child.pid) > MOST_SECONDS:
            stopped.append(f"more than {MOST_SECONDS} processor seconds")
        if stopped:
            child.kill()
            return


def curve(rows: list[Row], stage: str, key: str) -> list[tuple[int, float]]:
    """(size, figure) of a stage, in rising order; the dearest where a size has several."""
    found: dict[int, float] = {}
    for row in rows:
        if row["stage"] == stage and key in row:
            found[row["size"]] = max(row[key], found.get(row["size"], 0.0))
    return sorted(found.items())


def slope(points: list[tuple[int, float]], least: float) -> float:
    """Slope between the last two points on logarithmic axes, where 1 is linear.

    NaN where the last figure is below ``least``, which is too small to tell; a smaller figure
    before it counts as a quarter of that.

    >>> slope([(10, 1.0), (100, 20.0), (1000, 200.0)], 0.1)
    1.0
    """
    if len(points) < 2 or points[-1][1] < least:
        return math.nan
    (small, first), (large, last) = points[-2:]
    return round(math.log(last / max(first, least / 4)) / math.log(large / small), 2)


def table(rows: list[Row]) -> list[str]:
    """A part as a Markdown table: for each stage seconds and megabytes by size, and both slopes."""
    sizes = sorted({row["size"] for row in rows})
    titles = ["stage", *(f"{size:,}" for size in sizes), "slope of seconds", "of memory"]
    lines = ["", "| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for stage in dict.fromkeys(row["stage"] for row in rows if "seconds" in row):
        seconds, memory = (dict(curve(rows, stage, key)) for key in ("seconds", "megabytes"))
        cells = [
            f"{seconds[size]:.3g} s, {memory[size]:,.0f} MB" if size in seconds else ""
            for size in sizes
        ]
        pair = (
            slope(sorted(seconds.items()), LEAST_SECONDS),
            slope(sorted(memory.items()), LEAST_MEGABYTES),
        )
        cells += ["" if math.isnan(value) else f"{value:.2f}" for value in pair]
        lines.append("| " + " | ".join([stage, *cells]) + " |")
    notes = [f"{row['size']:,}: {row['stage']} {row['note']}" for row in rows if "note" in row]
    return [*lines, "", "; ".join(notes)]


def fill(page: Path, rows: list[Row]) -> None:
    """Writes a heading, the pictures and the table of each part between the markers of a page,
    ``<!-- growth -->`` and ``<!-- end -->``, and the pictures beside it."""
    drawn = draw(rows, page.parent)
    told = []
    for part in dict.fromkeys(row["part"] for row in rows):
        pictures = [
            f"![{name}]({name}.svg)" for name in drawn if name.startswith(f"growth_{part}_")
        ]
        lines = table([row for row in rows if row["part"] == part])
        told += [f"## {growth_parts.PARTS[part].what.capitalize()}", "", *pictures, *lines, ""]
    before, start, after = page.read_text(encoding="utf-8").partition("<!-- growth -->\n")
    _, end, after = after.partition("<!-- end -->")
    page.write_text("\n".join([before + start, *told]) + end + after, encoding="utf-8")


def draw(rows: list[Row], directory: Path) -> list[str]:
    """Draws ``growth_<part>_seconds.svg`` and ``..._megabytes.svg`` of the dearest stages of each
    part that was measured at several sizes; their names."""
    from reports.axes import fitted
    from reports.drawing import SERIES, Style
    from reports.plots import Line, lines

    names = []
    for part in dict.fromkeys(row["part"] for row in rows):
        own = [row for row in rows if row["part"] == part]
        if len({row["size"] for row in own}) < 2:
            continue
        largest = {row["stage"]: row["seconds"] for row in own if "seconds" in row}
        stages = sorted(largest, key=lambda stage: -largest[stage])[:DRAWN]
        for key, title in (("seconds", "processor seconds"), ("megabytes", "peak memory, MB")):
            drawn = []
            for number, stage in enumerate(stages):
                points = [(x, max(y, 0.01)) for x, y in curve(own, stage, key)]
                style = Style(SERIES[number % len(SERIES)], width=2)
                drawn.append(Line(stage, *map(list, zip(*points, strict=True)), style, dots=True))
            x = fitted([v for one in drawn for v in one.x], log=True, room=0.03)
            y = fitted([v for one in drawn for v in one.y], log=True, room=0.06)
            axes = growth_parts.PARTS[part].what, title
            names.append(f"growth_{part}_{key}")
            lines(title, axes, drawn, x=x, y=y).save_svg(directory / f"{names[-1]}.svg")
    return names


def _line(row: Row) -> str:
    head = f"{row['part']} {row['size']:,} {row['stage']}"
    if "seconds" not in row:
        return f"{head}: {row['note']}"
    return f"{head}: {row['seconds']:.2f} s, {row['megabytes']:.0f} MB"


def _order(row: Row) -> tuple[int, int]:
    return list(growth_parts.PARTS).index(row["part"]), row["size"]


def _before() -> list[Row]:
    path = measuring.RESULTS / "growth.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


if __name__ == "__main__":
    main()
