"""Alarms and expectations beside the truth, stretch by stretch of each series, for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.anomaly_detection import AnomalyPreprocessor, SeriesExample
from pipelines.frequency import iso

if TYPE_CHECKING:
    from reports.judged import Judged

STRETCHES, FEWEST_ROWS = 40, 24  # of a series, of a stretch
_MOST_TIMES = 6


def judged_stretches_of(
    pre: AnomalyPreprocessor,
    expected: Sequence[np.ndarray],
    raised: Sequence[np.ndarray],
    examples: Sequence[SeriesExample],
    others: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> Judged:
    """The judged rows of each series in stretches, with their error and, if labelled, alarms.

    A labelled window belongs to the stretch in which it begins, a false alarm to that in which it
    is raised.

    Args:
        pre: preprocessor of the run.
        expected: rows ``<float>[time, columns]`` of each series.
        raised: alarms ``<bool>[time]`` of each series.
        examples: series of test.
        others: ``expected`` and ``raised`` of the baseline, if known.
    """
    from reports.judged import Judged, JudgedExample

    labelled, rows = any(one.series.windows for one in examples), []
    for i, one in enumerate(examples):
        ours = _stretch_sums(pre, one, expected[i], raised[i], labelled)
        theirs = [{}] * len(ours)
        if others is not None:
            theirs = _stretch_sums(pre, one, others["expected"][i], others["raised"][i], labelled)
        for (first, last), sums, other in zip(_stretches(one), ours, theirs, strict=True):
            mistakes = sums["f1"][1] - sums["f1"][0] if labelled else 0.0
            begun = [a for a, b in one.series.windows if first <= max(a, one.first) < last]
            flags = first + np.flatnonzero(np.asarray(raised[i])[first:last])
            rows.append(JudgedExample(
                f"{one.series.name} {_time(one, first)} to {_time(one, last - 1)}",
                _listed(one, "anomaly from", begun) or "nothing labelled",
                _listed(one, "alarm at", flags) or "no alarm",
                sums, loss=mistakes if labelled else sums["mae"][0] / sums["mae"][1],
                baseline=other,
            ))  # fmt: skip
    return Judged(rows, things="stretches", text=labelled, graded=not labelled)


def _stretches(one: SeriesExample) -> list[tuple[int, int]]:
    """First and last row (exclusive) of each."""
    rows = len(one.series) - one.first
    count = max(1, min(STRETCHES, rows // FEWEST_ROWS))
    edges = one.first + np.linspace(0, rows, count + 1).astype(int)
    return [(int(a), int(b)) for a, b in zip(edges, edges[1:], strict=False)]


def _stretch_sums(
    pre: AnomalyPreprocessor,
    one: SeriesExample,
    expected: np.ndarray,
    raised: np.ndarray,
    labelled: bool,
) -> list[dict[str, tuple[float, float]]]:
    error = np.abs(one.series.values - expected) / pre.scaler.scale
    flags = np.array(raised, bool)
    flags[: one.first] = False
    windows = [(max(a, one.first), b) for a, b in one.series.windows if b >= one.first]
    found = np.array([flags[a : b + 1].any() for a, b in windows], bool)
    begun = np.array([a for a, _ in windows], int)
    false = _false_alarms(flags, windows)
    sums = []
    for first, last in _stretches(one):
        part = error[first:last]
        mine: dict[str, Any] = {"mae": (float(part.sum(dtype=np.float64)), part.size)}
        if labelled:
            inside = (begun >= first) & (begun < last)
            right, wanted = int(found[inside].sum()), int(inside.sum())
            got = right + int(((false >= first) & (false < last)).sum())
            mine |= {"f1": (2 * right, got + wanted), "precision": (right, got)}
            mine["recall"] = (right, wanted)
        sums.append(mine)
    return sums


def _false_alarms(flags: np.ndarray, windows: Sequence[tuple[int, int]]) -> np.ndarray:
    """First rows of the runs of flags that touch no window, as ``window_f1`` counts them."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    firsts, lasts = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    off = [
        not any(a <= last and first <= b for a, b in windows)
        for first, last in zip(firsts, lasts, strict=True)
    ]
    return firsts[np.array(off, bool)]


def _time(one: SeriesExample, row: int) -> str:
    time = one.series.times[row]
    return str(time) if one.series.frequency.counter else iso(np.array([time]))[0]


def _listed(one: SeriesExample, word: str, rows: Sequence[int] | np.ndarray) -> str:
    if not len(rows):
        return ""
    more = f" and {len(rows) - _MOST_TIMES} more" if len(rows) > _MOST_TIMES else ""
    return f"{word} {', '.join(_time(one, int(row)) for row in rows[:_MOST_TIMES])}{more}"
