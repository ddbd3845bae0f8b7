"""Scores of forecasts, and what a person has to be told about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.conformal import coverage_range
from models.forecasting_metrics import (
    direction_scores,
    point_scores,
    quantile_scores,
    skill_scores,
    unit_scores,
)
from pipelines.forecasting import ForecastPreprocessor
from pipelines.windows import Windows
from tasks.kinds.contract import Responses
from tasks.kinds.forecasting.baseline import forecasts, naive_baseline
from tasks.kinds.forecasting.finishing import blocks_of, stride_of

MOST_TOLD = 12  # columns in one sentence
TIE = 1e-4  # of an error: a blend that is all baseline differs from it by rounding
Intervals = Mapping[str, tuple[int, int]]


def scores_of(
    pre: ForecastPreprocessor, responses: Responses, examples: Windows, intervals: Intervals
) -> dict[str, float]:
    """Metrics of a part.

    Beside a ``coverage_80`` there are ``coverage_80_low`` and ``_high``: between them it is to be
    expected with 95 %, so few being the windows that it was calibrated and is measured on.
    """
    truth, found = examples.future(), pre.validated
    scale = pre.target_scale
    naive = forecasts(pre, naive_baseline(found.get("naive", "last_value"), pre), examples)
    mean, blocks = responses["mean"], blocks_of(pre, examples)
    rises = np.array(found.get("rises", [True] * len(pre.targets)))
    scores = {
        **point_scores(truth, mean, scale, pre.seasonal_error),
        **unit_scores(truth, mean, pre.targets),
        **skill_scores(truth, mean, naive, scale, blocks),
        **direction_scores(truth, mean, examples.last(), rises, blocks),
        **quantile_scores(truth, responses["quantiles"], scale, pre.levels, intervals),
    }
    if found:
        judged = len(examples) / _overlap(pre, stride_of(examples))
        for name, share in _shares(pre, intervals).items():
            low, high = coverage_range(share, _independent(pre), judged)
            scores |= {f"coverage_{name}_low": low, f"coverage_{name}_high": high}
    return scores


def remarks_on(
    pre: ForecastPreprocessor,
    metrics: Mapping[str, Mapping[str, float]],
    baseline: Mapping[str, Any] | None,
    intervals: Intervals,
) -> list[str]:
    """The blend, what beats it all the same, skill, and the coverage to expect."""
    if not pre.validated:
        return []
    found, told = pre.validated, [_blend_remark(pre)]
    if found.get("stretches", 2) < 2 and found["baseline"] and max(found["network_share"]) == 0:
        told.append(
            "Validation is shorter than three horizons, so it cannot tell whether the network is "
            "better or lucky: the baseline answers. Give validation more rows with --split, or "
            "have the network answer alone with --no-blend."
        )
    ours = metrics.get("validation", {}).get("mse")
    theirs = (baseline or {}).get("validation", {}).get("mse")
    if ours is not None and theirs is not None and theirs < ours * (1 - TIE):
        told.append(
            f"On validation {baseline['name']} is better than this model: mse {theirs:.4g} "
            f"against {ours:.4g}. Prefer it, or train longer or otherwise."
        )
    if "skill" in metrics.get("test", {}):
        told.append(_skill_remark(pre, metrics["test"]))
    if found["naive"] == "last_value" and "direction_low" in metrics.get("test", {}):
        told.append(_direction_remark(metrics["test"]))
    if baseline and f"mae_{pre.targets[0]}" in metrics.get("test", {}):
        told.append(_units_remark(pre, metrics["test"], baseline))
    return [*told, _coverage_remark(pre, intervals)]


def _blend_remark(pre: ForecastPreprocessor) -> str:
    found = pre.validated
    share, mse = found["network_share"], found["mse"]
    name = _words(found["baseline"])
    if min(share) == 1:
        beside = f", that of {name} {mse[found['baseline']]:.4g}" if name else ""
        return (
            "Forecasts are the network's alone: on validation its mse is "
            f"{mse['network']:.4g}{beside}."
        )
    if max(share) == 0:
        return (
            f"Forecasts are those of {name}: on validation its mse is "
            f"{mse[found['baseline']]:.4g}, the network's {mse['network']:.4g}."
        )
    low, high = (f"{100 * x:.0f} %" for x in (min(share), max(share)))
    whose = f"{low}" if low == high else f"{low} to {high}, by column,"
    return (
        f"Forecasts are blended: {whose} of the network, the rest {name}, as was best on "
        f"validation (mse {mse['blend']:.4g}; the network alone {mse['network']:.4g}, {name} "
        f"{mse[found['baseline']]:.4g})."
    )


def _skill_remark(pre: ForecastPreprocessor, test: Mapping[str, float]) -> str:
    name, skill = _words(pre.validated["naive"]), 100 * test["skill"]
    text = f"On test the squared error is {abs(skill):.1f} % {'below' if skill >= 0 else 'above'} "
    text += f"that of {name}"
    if "skill_low" not in test:
        return f"{text}; the test part is too short to tell that from chance."
    low, high = 100 * test["skill_low"], 100 * test["skill_high"]
    text += f" (skill {skill:.1f} %, with 95 % between {low:.1f} and {high:.1f} %)"
    if low > 0:
        return f"{text}."
    return f"{text}: " + ("worse than it." if high < 0 else "no skill that could not be chance.")


def _direction_remark(test: Mapping[str, float]) -> str:
    share, low, high, constant = (
        100 * test[f"direction{end}"] for end in ("", "_low", "_high", "_constant")
    )
    text = (
        f"The forecast goes the way the series went in {share:.1f} % of the steps (with 95 % "
        f"between {low:.1f} and {high:.1f} %; a coin 50 %, always the way of train "
        f"{constant:.1f} %)"
    )
    if low > max(50, constant):
        return f"{text}."
    return f"{text}: no better than {'a coin' if low <= 50 else 'always the same way'}."


def _units_remark(
    pre: ForecastPreprocessor, test: Mapping[str, float], baseline: Mapping[str, Any]
) -> str:
    parts = [
        f"{column} {test[f'mae_{column}']:.4g} ({baseline['test'][f'mae_{column}']:.4g})"
        for column in pre.targets[:MOST_TOLD]
    ]
    if len(pre.targets) > MOST_TOLD:
        parts.append(f"and {len(pre.targets) - MOST_TOLD} more columns")
    return (
        "In the data's own units, forecasts of test are off on average by this much (in brackets "
        f"{baseline['name']}): {', '.join(parts)}. By series and step: pictures/errors.csv."
    )


def _coverage_remark(pre: ForecastPreprocessor, intervals: Intervals) -> str:
    found, worth = pre.validated, _independent(pre)
    ranges = [
        f"{100 * low:.0f} to {100 * high:.0f} % for the {name} % intervals"
        for name, share in _shares(pre, intervals).items()
        for low, high in [coverage_range(share, worth, np.inf)]
    ]
    return (
        f"Intervals rest on {found['windows']:,} windows of validation, worth "
        f"{worth:.0f} that do not overlap: if what comes is like it, expect them to cover "
        f"{' and '.join(ranges)}."
    )


def _independent(pre: ForecastPreprocessor) -> float:
    """How many independent windows calibration is worth, over all steps."""
    counts = np.array(pre.validated["independent_windows"])
    return len(counts) / float(np.sum(1 / counts))


def _overlap(pre: ForecastPreprocessor, stride: float) -> float:
    """By which windows count as fewer, over all steps."""
    return float(np.maximum(1, np.arange(1, pre.horizon + 1) / stride).mean())


def _shares(pre: ForecastPreprocessor, intervals: Intervals) -> dict[str, float]:
    return {name: pre.levels[high] - pre.levels[low] for name, (low, high) in intervals.items()}


def _words(name: str) -> str:
    return {
        "last_value": "the last value",
        "seasonal_naive": "the season before",
        "drift": "the drift of the window",
        "window_mean": "the mean of the window",
        "ridge": "ridge regression",
        "climatology": "the same days of earlier years",
    }.get(name, name)
