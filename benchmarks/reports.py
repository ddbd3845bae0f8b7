"""What the page of a run costs, and whether its intervals hold what they say.

python benchmarks/reports.py RUN [RUN ...]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import measuring
import numpy as np

from reports.intervals import compared
from reports.judged import Judged, JudgedExample, judged_labels
from tasks.stages.reporting import report

SHARES, EXAMPLES, SAMPLES = (0.6, 0.8, 0.95), 150, 400


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, help="directories of finished runs")
    options = parser.parse_args()
    rows = [coverage(share) for share in SHARES]
    rows += [seconds(*size) for size in ((1000, 2), (10_000, 2), (10_000, 20), (20_000, 50))]
    rows += [weight(run) for run in options.runs]
    measuring.report("reports", rows)


def coverage(share: float) -> dict:
    """How often the interval of an accuracy holds the share of right answers that it estimates."""
    draw, held = np.random.default_rng(0), 0
    for _ in range(SAMPLES):
        right = draw.random(EXAMPLES) < share
        rows = [JudgedExample("", "", "", {"accuracy": (int(one), 1)}) for one in right]
        found = compared(Judged(rows), "accuracy").model
        held += found.low <= share <= found.high
    what = f"95 % intervals of an accuracy of {share:g} over {EXAMPLES} examples that hold it"
    return {"what": what, "value": f"{held / SAMPLES:.3f} of {SAMPLES:,}"}


def seconds(examples: int, labels: int) -> dict:
    """The time of the intervals of accuracy and macro F1, of model, baseline and difference."""
    draw = np.random.default_rng(0)
    truth, ours, theirs = (draw.integers(0, labels, examples).astype(str).tolist() for _ in "abc")
    sure, lengths = np.full(examples, 0.5), [1] * examples
    judged = judged_labels([""] * examples, truth, ours, sure, lengths, "tokens", theirs)
    started = time.perf_counter()
    known = [compared(judged, name).model.is_known for name in ("accuracy", "macro_f1")]
    spent = time.perf_counter() - started
    without = "" if all(known) else ", macro F1 without"
    what = f"seconds of the intervals of {examples:,} examples with {labels} labels{without}"
    return {"what": what, "value": f"{spent:.1f}"}


def weight(run: Path) -> dict:
    """Kilobytes of a page, and the time to write it."""
    started = time.perf_counter()
    size = report(run).stat().st_size
    spent = time.perf_counter() - started
    what = f"kB of the page of {run.parent.name}/{run.name}, and seconds to write it"
    return {"what": what, "value": f"{size / 1e3:.0f}, {spent:.1f}"}


if __name__ == "__main__":
    main()
