"""How well a detector finds labelled windows, and how well simpler ones do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.anomaly_detection_baselines import moving_mad, seasonal_residual, z_score
from models.anomaly_detection_metrics import auc_pr, nab_score, window_f1
from pipelines.anomaly_detection import AnomalyPreprocessor, SeriesExample, alarms
from pipelines.splits import Splits
from pipelines.windows import Windows, spans_by_series

PROFILES = {"standard": "standard", "reward_low_FP": "low_fp", "reward_low_FN": "low_fn"}
THRESHOLDS = np.geomspace(0.1, 100, 61)  # for nab_best, in units of the detector's own
ALARM_RATE = 1e-4  # of the baselines' thresholds, as AnomalyConfig's


def expectation_error(
    pre: AnomalyPreprocessor,
    expected: Sequence[np.ndarray],
    examples: Windows | Sequence[SeriesExample],
) -> float:
    """Mean absolute error of the expected rows, in units of the scaler; only of rows that count."""
    if isinstance(examples, Windows):
        rows = examples.starts[:, None] + np.arange(examples.lookback)
        error = np.abs(examples.table.values[rows] - np.stack(expected))
    else:
        error = np.concatenate([
            np.abs(one.series.values - found)[one.first :]
            for one, found in zip(examples, expected, strict=True)
        ])  # fmt: skip
    return float(np.mean(error / pre.scaler.scale, dtype=np.float64))


def label_scores(
    scores: Sequence[np.ndarray],
    examples: Sequence[SeriesExample],
    quiet: int,
    alarmed: Sequence[np.ndarray] | None = None,
) -> dict[str, float]:
    """Window F1, AUC-PR and NAB's scores over all series; alarms only where nothing is labelled.

    What counts as detected is an alarm, for NAB too: a row of ``alarmed``, ``<bool>[time]`` each;
    or a row whose score is one or more with no alarm in the ``quiet`` rows before.
    ``nab_standard``, ``nab_low_fp`` and ``nab_low_fn`` are at the detector's own threshold;
    ``nab_best`` is at the one that labels would choose, if that is better, which is how NAB's
    leaderboard is made.
    """
    windows = [one.series.windows for one in examples]

    flags = _raised(scores, examples, 1.0, quiet)
    if alarmed is not None:
        flags = [_judged(mine, one.first) for one, mine in zip(examples, alarmed, strict=True)]
    rows = sum(len(one.series) - one.first for one in examples)
    count = int(sum(map(np.sum, flags)))
    result = {"alarms": count, "alarms_per_1000_rows": 1000 * count / max(1, rows)}
    if not any(windows):
        return result
    events = [
        window_f1(mine, labelled, one.first, gap=1)
        for one, mine, labelled in zip(examples, flags, windows, strict=True)
    ]
    found, labelled, false = (
        sum(event[name] for event in events) for name in ("found", "windows", "false_alarms")
    )
    precision, recall = found / max(1, found + false), found / max(1, labelled)
    result |= {
        "f1": 2 * precision * recall / max(1e-12, precision + recall),
        "precision": precision,
        "recall": recall,
        "auc_pr": _auc_pr(scores, examples),
    }
    for profile, name in PROFILES.items():
        judged = list(zip(flags, windows, strict=True))
        result[f"nab_{name}"] = _number(nab_score(judged, profile))
    result["nab_best"] = max(
        result["nab_standard"],
        *(
            _number(
                nab_score(
                    list(zip(_raised(scores, examples, threshold, quiet), windows, strict=True)),
                    "standard",
                )
            )
            for threshold in THRESHOLDS
        ),
    )
    return {**{name: float(value) for name, value in result.items()}, "alarms": count}


def _raised(
    scores: Sequence[np.ndarray], examples: Sequence[SeriesExample], threshold: float, quiet: int
) -> list[np.ndarray]:
    """Alarms of each series at a threshold: ``<bool>[time]`` each."""
    return [
        alarms(_judged(np.asarray(mine) >= threshold, one.first), quiet)
        for one, mine in zip(examples, scores, strict=True)
    ]


def _auc_pr(scores: Sequence[np.ndarray], examples: Sequence[SeriesExample]) -> float:
    """Over the judged rows of all series together."""
    rows, windows, at = [], [], 0
    for one, mine in zip(examples, scores, strict=True):
        rows.append(np.asarray(mine)[one.first :])
        windows += [
            (at + max(first, one.first) - one.first, at + last - one.first)
            for first, last in one.series.windows
            if last >= one.first
        ]
        at += len(one.series) - one.first
    return _number(auc_pr(np.concatenate(rows), windows))


def _judged(flags: np.ndarray, first: int) -> np.ndarray:
    flags = np.array(flags)
    flags[:first] = False
    return flags


def _number(value: float | None) -> float:
    return 0.0 if value is None else float(value)


def anomaly_baselines(pre: AnomalyPreprocessor, splits: Splits) -> dict[str, Any]:
    """The scores of simple detectors with thresholds from the same rows by the same rule.

    Returns:
        As ``Task.baseline``: the figures of the one with the best AUC-PR on test (of the first one
        where nothing is labelled), and ``<baseline>_f1`` and so on of all. ``mae`` is that of
        expecting the row before.
    """
    from models.anomaly_detection import robust_threshold

    season = pre.frequency.season
    methods = {
        "z_score": z_score,
        "moving_mad": moving_mad,
        "seasonal_residual": lambda values, train: seasonal_residual(values, train, season),
    }
    table, every, raised = splits.train.table, {}, {}
    rows_of_train = _train_rows(splits.train, splits.test)
    for name, method in methods.items():
        scores = []
        for one, train in zip(splits.test, rows_of_train, strict=True):
            found = method(one.series.values.astype(np.float64), train)
            threshold = robust_threshold(found[:train], "evt", ALARM_RATE)
            scores.append(found / max(threshold, 1e-12))
        every[name] = label_scores(scores, splits.test, pre.quiet)
        raised[name] = _raised(scores, splits.test, 1.0, pre.quiet)
    best = max(every, key=lambda name: every[name].get("auc_pr", 0.0))
    kept = ("f1", "auc_pr", "nab_standard", "nab_best")
    others = {
        f"{name}_{key}": found[key] for name, found in every.items() for key in kept if key in found
    }
    last_rows = [_before(one.series.values) for one in splits.test]
    validation = splits.validation
    rows = validation.starts[:, None] + np.arange(validation.lookback)
    before = np.maximum(rows - 1, rows[:, :1])
    return {
        "name": best.replace("_", " "),
        "validation": {"mae": expectation_error(pre, table.values[before], validation)},
        "test": {
            "mae": expectation_error(pre, last_rows, splits.test),
            **every[best],
            **others,
        },
        "answers": {"expected": last_rows, "raised": raised[best]},
    }


def _train_rows(train: Windows, examples: Sequence[SeriesExample]) -> list[int]:
    """How many rows of each series, from its first, are train; all where it has no window."""
    spans, offsets = spans_by_series(train), train.table.offsets
    return [
        spans[i].stop - int(offsets[i]) if i in spans else len(one.series)
        for i, one in enumerate(examples)
    ]


def _before(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:1], values[:-1]])
