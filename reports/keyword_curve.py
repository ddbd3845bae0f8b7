"""False alarms an hour against misses: what a threshold buys and costs in endless sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from models.keyword_metrics import TOLERANCE, Spoken, misses_and_alarms
from pipelines.keyword_watch import EVERY, KeywordDecoding, KeywordDetector

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995)


@dataclass(frozen=True)
class CurvePoint:
    """One threshold.

    Attributes:
        threshold: of ``KeywordDecoding``.
        misses: share of the spoken keywords.
        alarms: an hour.
    """

    threshold: float
    misses: float
    alarms: float


def alarm_curve(
    labels: Sequence[str],
    probabilities: np.ndarray,
    spoken: Sequence[Spoken],
    settings: KeywordDecoding,
    window: float,
    thresholds: Sequence[float] = THRESHOLDS,
    tolerance: float = TOLERANCE,
) -> list[CurvePoint]:
    """What each threshold would have found.

    Args:
        labels: classes.
        probabilities: of every decision, as the model gave them: ``<float>[decisions, classes]``.
        spoken: the truth, in order of time.
        settings: smoothing and refractory time.
        window: seconds of a window.
        thresholds: to try.
        tolerance: see ``misses_and_alarms``.
    """
    seconds, points = len(probabilities) * EVERY, []
    for threshold in thresholds:
        detector = KeywordDetector(labels, settings.updated(threshold=threshold), window)
        found = [one for one in map(detector.decide, probabilities) if one is not None]
        pairs = [(one.time, one.label) for one in found]
        points.append(CurvePoint(threshold, *misses_and_alarms(spoken, pairs, seconds, tolerance)))
    return points


def draw_curve(curves: dict[str, Sequence[CurvePoint]], path: Path) -> None:
    """Writes a picture of some curves by their names; the threshold stands at some points."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        alarms = [one.alarms for one in points]
        misses = [100 * one.misses for one in points]
        axes.plot(alarms, misses, marker="o", markersize=3, label=name)
        for one in points[::3]:
            axes.annotate(f"{one.threshold:g}", (one.alarms, 100 * one.misses), fontsize=7,
                          xytext=(3, 3), textcoords="offset points")  # fmt: skip
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlabel("false alarms an hour")
    axes.set_ylabel("keywords missed, %")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
