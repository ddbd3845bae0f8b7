"""Scores of an anomaly detector over series with labelled windows: window F1, AUC-PR and NAB's.

A window is a pair (first, last) of row indices, both inclusive, and belongs to one series of T
rows. A detector gives each row a score (higher is more anomalous) or, at a threshold, a flag:
``score >= threshold``. NAB's rules are those of Lavin & Ahmad, "Evaluating Real-time Anomaly
Detection Algorithms - the Numenta Anomaly Benchmark" (2015), in the details of ``nab/sweeper.py``
and ``config/profiles.json`` of github.com/numenta/NAB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score

Windows = Sequence[tuple[int, int]]

# One hour of the five-minute rows most of NAB is made of: an operator woken once for a disturbance
# is not woken anew by its echo within the hour.
ALARM_GAP = 12

# A_tn is in the published profiles, but no term of the score uses it.
PROFILES = {
    "standard": {"tp": 1.0, "fp": 0.11, "tn": 1.0, "fn": 1.0},
    "reward_low_FP": {"tp": 1.0, "fp": 0.22, "tn": 1.0, "fn": 1.0},
    "reward_low_FN": {"tp": 1.0, "fp": 0.11, "tn": 1.0, "fn": 2.0},
}


def window_f1(
    flags: Sequence[bool], windows: Windows, start: int = 0, gap: int = ALARM_GAP
) -> dict[str, float | int]:
    """F1 over events: windows found against false alarms, however long either lasts.

    A window is found when a flag lies in it. A run of consecutive flags that touches no window is a
    false alarm; such runs less than ``gap`` rows apart (first row of the later minus last row of
    the earlier) are one alarm, unless a window lies between them.

    Silence where there is nothing to find is right: precision, recall and F1 are then 1.0. Every
    other 0/0 (no window but alarms, windows but no detection at all) is 0.0.

    Args:
        flags: <bool>[T].
        windows: (first, last) rows of each labelled window.
        start: rows before this one are ignored, and windows that end before it.
        gap: in rows; 1 merges nothing.

    Returns:
        ``{"f1", "precision", "recall", "windows", "found", "false_alarms"}``; the last three are
        counts.
    """
    flags = _flags(flags)
    flags[:start] = False
    spans = _spans(windows, len(flags))
    spans = spans[spans[:, 1] >= start]
    # before[i] is the number of flags in the rows before i.
    before = np.concatenate([[0], np.cumsum(flags)])
    found = int(np.sum(before[spans[:, 1] + 1] > before[spans[:, 0]]))
    alarms = _false_alarms(flags, spans, gap)
    if not len(spans) and not alarms:
        precision = recall = f1 = 1.0
    else:
        precision = _ratio(found, found + alarms)
        recall = _ratio(found, len(spans))
        f1 = _ratio(2 * precision * recall, precision + recall)
    return {
        "f1": f1,
        "precision": precision,
        "recall": recall,
        "windows": len(spans),
        "found": found,
        "false_alarms": alarms,
    }


def auc_pr(scores: Sequence[float], windows: Windows, start: int = 0) -> float | None:
    """Average precision over single rows, the rows in windows being the positives.

    Args:
        scores: <float>[T], finite from ``start`` on.
        windows: (first, last) rows of each labelled window.
        start: rows before this one are ignored.

    Returns:
        In 0 to 1; the share of positives is what chance gets. None where no positive is left, as
        recall has then no meaning.
    """
    scores = np.asarray(scores, dtype=float)
    positive = np.zeros(len(scores), dtype=bool)
    for first, last in _spans(windows, len(scores)):
        positive[first : last + 1] = True
    if not positive[start:].any():
        return None
    return float(average_precision_score(positive[start:], _finite(scores[start:])))


def probation_rows(rows: int) -> int:
    """NAB's probation: the first 15% of a file of so many rows, rounded down, at most 750 rows."""
    return min(rows * 15 // 100, 750)


def nab_raw(flags: Sequence[bool], windows: Windows, profile: str, probation: int) -> float:
    """NAB's raw score of one file.

    A window counts the best of its flagged rows, which is the earliest, or -A_fn where none is
    flagged; every flagged row outside windows costs, A_fp at most (see ``_credits``). Windows that
    end within the probation count nothing; of one that begins in it only the later rows can score.

    Args:
        flags: <bool>[T].
        windows: (first, last) rows of each labelled window, without overlaps.
        profile: a key of ``PROFILES``.
        probation: rows at the start that count nothing.

    Returns:
        At most A_tp for each window.
    """
    flags = _flags(flags)
    flags[:probation] = False
    spans = _disjoint(windows, len(flags))
    weights = PROFILES[profile]
    credit, inside = _credits(len(flags), spans, weights)
    best = np.full(len(spans), -weights["fn"])
    hits = flags & (inside >= 0)
    np.maximum.at(best, inside[hits], credit[hits])
    return float(best[spans[:, 1] >= probation].sum() + credit[flags & (inside < 0)].sum())


def nab_score(files: Sequence[tuple[Sequence[bool], Windows]], profile: str) -> float | None:
    """NAB's normalised score of a corpus: 0 for a detector that never fires, 100 for a perfect one.

    The raw scores are summed over the files, each with its own probation, and then scaled, so that
    a window weighs the same in every file. False alarms can take the score far below 0.

    Args:
        files: (flags <bool>[T], windows) of each file.
        profile: a key of ``PROFILES``.

    Returns:
        At most 100; None where no file has a window past its probation, as perfect and null are
        then the same.
    """
    raw = sum(
        nab_raw(flags, windows, profile, probation_rows(len(flags))) for flags, windows in files
    )
    count = sum(_counted(windows, len(flags)) for flags, windows in files)
    return _normalised(raw, count, profile)


def nab_best(
    files: Sequence[tuple[Sequence[float], Windows]], profile: str
) -> tuple[float | None, float]:
    """The one threshold for all files at which the normalised score of the corpus is highest.

    The threshold is chosen on the labels it is scored with, as NAB does for its leaderboard: take
    it over to other files for an honest score.

    Args:
        files: (scores <float>[T], windows) of each file; scores are finite past the probation.
        profile: a key of ``PROFILES``.

    Returns:
        (score, threshold). Of equally good thresholds the highest; ``math.inf``, which flags no
        row, where no score does better than silence. The score is None as in ``nab_score``.
    """
    files = [(np.asarray(scores, dtype=float), windows) for scores, windows in files]
    swept = [_gains(scores, windows, profile) for scores, windows in files]
    scores = np.concatenate([np.empty(0), *(part[0] for part in swept)])
    gains = np.concatenate([np.empty(0), *(part[1] for part in swept)])
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    # Rows of equal score are flagged together: only the last of them stands for a threshold.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else []
    totals = np.concatenate([[0.0], np.cumsum(gains[order])[ends]])
    thresholds = np.concatenate([[math.inf], scores[ends]])
    threshold = float(thresholds[np.argmax(totals)])
    # Scored anew, so that no rounding of the long sum is in the number that is reported.
    flagged = [(scores >= threshold, windows) for scores, windows in files]
    return nab_score(flagged, profile), threshold


def _gains(scores: np.ndarray, windows: Windows, profile: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the rows past the probation, and by how much each row lifts the file's raw score.

    The lift is over the rows of higher score, flagged before it; so the lifts of all rows at or
    above a threshold, plus the score of silence, are the raw score at that threshold.
    """
    spans = _disjoint(windows, len(scores))
    weights = PROFILES[profile]
    gains, _ = _credits(len(scores), spans, weights)
    probation = probation_rows(len(scores))
    _finite(scores[probation:])
    for first, last in spans[spans[:, 1] >= probation]:
        rows = np.arange(max(first, probation), last + 1)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        gains[rows] = np.diff(np.maximum.accumulate(gains[rows]), prepend=-weights["fn"])
    return scores[probation:], gains[probation:]


def _credits(
    rows: int, spans: np.ndarray, weights: dict[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """What a flag in each row is worth <float>[T], and the window the row is in, or -1, <int>[T].

    In a window of width w the position goes from -1 (first row, worth A_tp) to -1/w (last row): NAB
    counts the rows left including the row itself, so that even the last is worth a little. After a
    window it is the distance from its last row over w - 1, and from 3 on, as before any window, the
    full -A_fp.
    """
    row = np.arange(rows)
    latest = np.searchsorted(spans[:, 0], row, side="right") - 1
    # A last pseudo-window for index -1, far enough back for the rows before any window.
    first, last = np.vstack([spans, [[-rows - 4, -rows - 3]]])[latest].T
    width = last - first + 1
    # NAB divides by zero after a window of a single row; one row is the least unit of distance.
    past = (row - last) / np.maximum(width - 1, 1)
    left = -(last - row + 1) / width
    cost = np.where(past >= 3, -1.0, _sigmoid(np.maximum(past, 0)))
    within = row <= last
    # Without the division the earliest detection would be worth 0.987 A_tp, and 100 out of reach.
    reward = _sigmoid(np.where(within, left, 0)) / _sigmoid(-1.0)
    credit = np.where(within, weights["tp"] * reward, weights["fp"] * cost)
    return credit, np.where(within, latest, -1)


def _sigmoid(position: np.ndarray | float) -> np.ndarray:
    """NAB's scaled sigmoid 2 / (1 + exp(5x)) - 1, as the tanh it is, which cannot overflow."""
    return np.tanh(-2.5 * position)


def _normalised(raw: float, count: int, profile: str) -> float | None:
    if not count:
        return None
    weights = PROFILES[profile]
    null, perfect = -weights["fn"] * count, weights["tp"] * count
    return 100 * (raw - null) / (perfect - null)


def _counted(windows: Windows, rows: int) -> int:
    return int(np.sum(_spans(windows, rows)[:, 1] >= probation_rows(rows)))


def _false_alarms(flags: np.ndarray, spans: np.ndarray, gap: int) -> int:
    """Number of runs of flags off the windows, near ones merged."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    firsts, lasts = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    # A run is off the windows when as many have begun by its last row as ended before its first.
    begun = np.searchsorted(spans[:, 0], lasts, side="right")
    ended = np.searchsorted(np.sort(spans[:, 1]), firsts, side="left")
    off = begun == ended
    firsts, lasts, begun = firsts[off], lasts[off], begun[off]
    apart = (firsts[1:] - lasts[:-1] >= gap) | (begun[1:] != begun[:-1])
    return int(apart.sum()) + 1 if len(firsts) else 0


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _flags(flags: Sequence[bool]) -> np.ndarray:
    """A copy, <bool>[T]; scores are refused, as each but 0 would pass for a flag."""
    flags = np.asarray(flags)
    if flags.size and flags.dtype != bool:
        raise ValueError(f"flags must be boolean, not {flags.dtype}")
    return flags.astype(bool)


def _finite(scores: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite in the rows that count")
    return scores


def _spans(windows: Windows, rows: int) -> np.ndarray:
    """<int>[W, 2], sorted by first row; ValueError where a window is empty or leaves the series."""
    spans = np.array(sorted(windows), dtype=int).reshape(-1, 2)
    if np.any((spans[:, 0] < 0) | (spans[:, 0] > spans[:, 1]) | (spans[:, 1] >= rows)):
        raise ValueError(f"windows must be (first, last) within {rows} rows: {list(windows)}")
    return spans


def _disjoint(windows: Windows, rows: int) -> np.ndarray:
    """The spans; NAB merges windows that overlap when it labels, and leaves such undefined."""
    spans = _spans(windows, rows)
    if np.any(spans[1:, 0] <= spans[:-1, 1]):
        raise ValueError(f"windows must not overlap: {list(windows)}")
    return spans
