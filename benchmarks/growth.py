"""Cost as work grows: processor seconds and peak memory of the stages that users run, as curves.

Every point runs in a process of its own, so that its peak of memory is its own. What grows and what
is measured is in ``growth_parts.py``.

python benchmarks/growth.py [--only PART ...] [--sizes N ...] [--pictures DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import growth_parts
import measuring

# A point that takes more is stopped and reported as such.
MOST_SECONDS, MOST_BYTES = 600, 6_000_000_000
# Below these a slope is that of the clock and of what is loaded once.
LEAST_SECONDS, LEAST_MEGABYTES = 0.2, 20.0


def main() -> None:
    """Measures the curves that are asked for, and keeps those that are not."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=growth_parts.PARTS, metavar="PART",
                        default=list(growth_parts.PARTS))  # fmt: skip
    parser.add_argument("--sizes", nargs="+", type=int, help="instead of a part's own")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="growth", help="of the file of results")
    options = parser.parse_args()
    if options.point:
        growth_parts.measure(options.point[0], int(options.point[1]))
        return
    kept = [row for row in _before(options.name) if row["part"] not in options.only]
    rows = []
    for part in options.only:
        found = []
        for size in options.sizes or growth_parts.PARTS[part].sizes:
            found += point(part, size)
            print(*(_line(row) for row in found if row["size"] == size), sep="\n", flush=True)
        rows += found
        print(f"{part}: slopes between the last two sizes")
        for stage, seconds, memory in slopes(found):
            print(f"  {stage}: seconds {seconds:.2f}, memory {memory:.2f}", flush=True)
    order = {part: i for i, part in enumerate(growth_parts.PARTS)}
    measuring.report(options.name, sorted(kept + rows, key=lambda row: order[row["part"]]))


def point(part: str, size: int) -> list[dict[str, Any]]:
    """The stages of one size, measured in a process of its own."""
    command = [sys.executable, __file__, "--point", part, str(size)]
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
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
        rows.append({"part": part, "size": size, "stage": "does not fit", "note": why[:300]})
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


def slopes(rows: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    """(stage, slope of seconds, slope of memory) between the last two sizes, on logarithmic axes.

    1 is linear. NaN where a figure is too small to tell.
    """
    found = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        points = sorted((row["size"], row) for row in rows if row["stage"] == stage)[-2:]
        if len(points) < 2 or "seconds" not in points[0][1]:
            continue
        (small, first), (large, last) = points
        steps = math.log(large / small)
        pair = []
        for key, least in (("seconds", LEAST_SECONDS), ("megabytes", LEAST_MEGABYTES)):
            enough = last[key] >= least and first[key] > 0
            # What is too small to measure counts as the least that can be.
            ratio = last[key] / max(first[key], least / 4) if enough else 1
            pair.append(math.log(ratio) / steps if enough else math.nan)
        found.append((stage, *pair))
    return found


def _line(row: dict[str, Any]) -> str:
    head = f"{row['part']} {row['size']:,} {row['stage']}"
    if "seconds" not in row:
        return f"{head}: {row['note']}"
    note = f" ({row['note']})" if row.get("note") else ""
    return f"{head}: {row['seconds']:.2f} s, {row['megabytes']:.0f} MB{note}"


def _before(name: str) -> list[dict[str, Any]]:
    path = measuring.RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


if __name__ == "__main__":
    main()
