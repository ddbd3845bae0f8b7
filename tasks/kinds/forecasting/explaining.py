"""What moved a forecast: which columns, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DataError
from tasks.kinds.question import SERIES, Question, model_inputs

if TYPE_CHECKING:
    import keras

    from models.attribution import Entry
    from pipelines.forecasting import ForecastPreprocessor


def forecast_question(
    model: keras.Model,
    preprocessor: ForecastPreprocessor,
    raw: Mapping[str, Any],
    answer: Mapping[str, Any],
    target: str,
) -> Question:
    """The mean forecast of a column over the horizon, or at one step of it, in the data's units."""
    pre = preprocessor
    column, step = _asked(pre, target)
    scale = float(pre.scaler.scale[column])
    inputs = model_inputs(pre, model, raw)
    past, known = pre.lookback, pre.known_width
    names = (*pre.targets, *pre.covariates, *pre.known,
             *(["calendar"] if pre.calendar else []))  # fmt: skip
    total = past + (pre.horizon if known else 0)
    values = np.full((total, len(names)), np.nan)
    count = len(pre.targets) + len(pre.covariates)
    values[:past, :count] = np.asarray(raw["values"], float)
    if pre.known:
        values[:, count : count + len(pre.known)] = np.asarray(raw["known"], float)

    def of_values(entry: Entry) -> np.ndarray:
        found = np.zeros(values.shape)
        found[:past, :count] = entry.attributions
        return found

    def of_known(entry: Entry) -> np.ndarray:
        found = np.zeros(values.shape)
        each, wide = entry.attributions, len(pre.known)
        found[:, count : count + wide] = each[:, :wide]
        if pre.calendar:
            found[:, -1] = each[:, wide:].sum(1)
        return found

    def score(found: Any) -> Any:
        mean = found["mean"][:, :, column]
        return (_mean(mean) if step is None else mean[:, step]) * scale

    where = f"step {step + 1} of the forecast" if step is not None else "the forecast on average"
    baselines = {"values": np.zeros(inputs["values"].shape[1:], np.float32)}
    if known:
        baselines["known"] = np.zeros(inputs["known"].shape[1:], np.float32)
    unit = "" if pre.values.transform == "none" else f", after --transform {pre.values.transform}"
    return Question(
        inputs=inputs,
        score=score,
        target=f"{pre.targets[column]}: {where}, above train's mean{unit}",
        steps=_times(pre, raw, total),
        view=SERIES,
        columns=names,
        baselines=baselines,
        baseline="each column at its mean of train",
        spread={"values": of_values, "known": of_known},
        values=values,
        rows=len(pre.targets),
        row=column,
    )


def _mean(values: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(values, 1)


def _asked(pre: ForecastPreprocessor, target: str) -> tuple[int, int | None]:
    """Column and step of ``COLUMN``, ``STEP`` or ``COLUMN:STEP``; all steps if there is none."""
    column, _, step = target.rpartition(":")
    if not column and not step.isdecimal():
        column, step = step, ""
    column = column or pre.targets[0]
    if (
        column not in pre.targets
        or (step and not step.isdecimal())
        or (step and not 1 <= int(step) <= pre.horizon)
    ):
        raise DataError(
            f"--target {target}: give a column of {', '.join(pre.targets)}, a step from 1 to "
            f"{pre.horizon}, or both as {pre.targets[0]}:1"
        )
    return pre.targets.index(column), int(step) - 1 if step else None


def _times(pre: ForecastPreprocessor, raw: Mapping[str, Any], total: int) -> tuple[str, ...]:
    steps = np.arange(1 - pre.lookback, total - pre.lookback + 1)
    if raw.get("time") is None:
        return tuple(f"step {step}" for step in steps)
    if not pre.frequency.pauses:
        times = np.int64(raw["time"]) + steps * pre.frequency.seconds
        return tuple(map(str, pre.frequency.label(times)))
    return tuple(f"step {step}" for step in steps)
