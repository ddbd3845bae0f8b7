"""What a forecaster says of itself: blend, skill and the coverage to expect."""

import dataclasses

import numpy as np
import pytest

import tasks
from pipelines.frequency import DAY, Frequency
from pipelines.series import Series
from pipelines.splits import Splits
from pipelines.windows import Table, split_windows
from tasks.kinds.forecasting import INTERVALS
from tasks.kinds.forecasting.baseline import forecast_baselines
from tasks.kinds.forecasting.finishing import finish
from tasks.stages.predicting import keras_responses

TASK = tasks.get("forecast")
ROWS, LOOKBACK, HORIZON = 900, 20, 2


def splits_of(values):
    times = np.arange(len(values)) * DAY + 1_000_000_000 // DAY * DAY
    series = Series("s", times, values.astype(np.float32), ("a", "b"), Frequency(DAY))
    parts, notes = split_windows(Table.of([series], 2, 2), LOOKBACK, HORIZON, "0.6,0.2,0.2")
    return Splits(**parts, name="s", fingerprint="", notes=notes)


def walk(seed=0):
    return np.random.default_rng(seed).normal(size=(ROWS, 2)).cumsum(0)


def wave():
    steps = np.arange(ROWS)[:, None]
    noise = np.random.default_rng(0).normal(size=(ROWS, 2))
    return 5 * np.sin(steps * [0.61, 0.37]) + 0.1 * noise


def judged(values, train=None, **changes):
    """A network that is trained by ``train``, or has random weights; finished and judged."""
    splits = splits_of(values)
    small = {"units": 4, "embedding_dim": 4, "segment": 5, "dropout": 0.0, "average": 0.0}
    settings = TASK.with_settings(TASK.settings, {**small, **changes})
    pre = TASK.adapt(settings, splits.train)
    model = TASK.build(settings, pre, None)
    if train:
        train(model, pre, splits)
    model, pre = finish(model, pre, splits, settings.model)
    metrics, said = {}, {}
    for part in ("validation", "test"):
        examples = getattr(splits, part)
        said[part] = keras_responses(TASK, model, pre, pre.raw(examples))
        metrics[part] = TASK.evaluate(pre, said[part], examples)
    return pre, metrics, forecast_baselines(pre, splits, INTERVALS), said["test"]


@pytest.fixture(scope="module")
def random_walk():
    return judged(walk())


def test_a_network_that_knows_nothing_of_a_random_walk_leaves_it_to_a_baseline(random_walk):
    pre, metrics, baseline, _ = random_walk
    assert max(pre.validated["network_share"]) < 0.2
    assert pre.validated["mse"]["blend"] <= min(
        v for name, v in pre.validated["mse"].items() if name != "network"
    ) * (1 + 1e-6)  # fmt: skip
    assert metrics["test"]["mse"] <= 1.1 * baseline["test"]["last_value_mse"]
    assert metrics["test"]["skill_low"] <= metrics["test"]["skill"] < 0.1
    told = " ".join(TASK.remarks(pre, metrics, baseline))
    assert "Forecasts are blended" in told
    assert "no skill" in told or "worse than it" in told


def test_every_baseline_that_a_sceptic_names_is_told(random_walk):
    _, _, baseline, _ = random_walk
    names = {"last_value", "seasonal_naive", "drift", "window_mean", "ridge"}
    assert {f"{name}_mse" for name in names} <= set(baseline["test"])


def test_the_forecast_is_the_quantile_of_a_half(random_walk):
    *_, said = random_walk
    np.testing.assert_allclose(said["quantiles"][..., 2], said["mean"], rtol=1e-6, atol=1e-6)
    assert (np.diff(said["quantiles"], axis=-1) >= 0).all()


def test_a_forecast_of_the_mean_keeps_a_median_of_its_own():
    *_, said = judged(walk(), loss="mse")
    assert np.abs(said["quantiles"][..., 2] - said["mean"]).max() > 1e-3


def test_coverage_is_within_what_is_said_of_it(random_walk):
    pre, metrics, baseline, _ = random_walk
    for name, share in (("80", 0.8), ("95", 0.95)):
        test = metrics["test"]
        assert test[f"coverage_{name}_low"] < share < test[f"coverage_{name}_high"]
        covered = test[f"coverage_{name}"]
        assert test[f"coverage_{name}_low"] <= covered <= test[f"coverage_{name}_high"]
    told = TASK.remarks(pre, metrics, baseline)[-1]
    assert f"{pre.validated['windows']} windows of validation" in told


def test_what_a_baseline_does_better_is_said(random_walk):
    pre, metrics, baseline, _ = random_walk
    best = {**baseline, "name": "oracle", "validation": {"mse": 0.0}}
    assert any("oracle is better" in line for line in TASK.remarks(pre, metrics, best))
    worse = {**best, "validation": {"mse": 1e9}}
    assert not any("oracle is better" in line for line in TASK.remarks(pre, metrics, worse))


def test_directions_and_errors_in_units_are_said(random_walk):
    pre, metrics, baseline, _ = random_walk
    test = {**metrics["test"], "direction_constant": 0.5, "direction": 0.51}
    ends = {"coin": (0.49, 0.53), "only the way": (0.501, 0.53), "sure": (0.52, 0.6)}
    told = {
        name: " ".join(
            TASK.remarks(
                pre, {"test": {**test, "direction_low": low, "direction_high": high}}, baseline
            )
        )
        for name, (low, high) in ends.items()
    }
    assert "in 51.0 % of the steps (with 95 % between 49.0 and 53.0 %; a coin 50 %" in told["coin"]
    assert "no better than a coin" in told["coin"]
    assert "no better than" not in told["sure"]
    test["direction_constant"] = 0.55
    always = {"test": {**test, "direction_low": 0.501, "direction_high": 0.53}}
    assert "no better than always the same way" in " ".join(TASK.remarks(pre, always, baseline))
    ours, theirs = test["mae_b"], baseline["test"]["mae_b"]
    assert f"b {ours:.4g} ({theirs:.4g})" in told["sure"]


def test_a_validation_that_cannot_tell_is_said_to_be_one(random_walk):
    pre, metrics, baseline, _ = random_walk
    assert pre.validated["stretches"] > 4
    short = dataclasses.replace(
        pre, validated={**pre.validated, "stretches": 1, "network_share": [0.0, 0.0]}
    )
    told = TASK.remarks(short, metrics, baseline)
    assert told[0].startswith("Forecasts are those of ")
    assert "shorter than three horizons" in told[1]
    assert "three horizons" not in " ".join(TASK.remarks(pre, metrics, baseline))


def test_without_blending_the_network_stands_alone():
    pre, metrics, baseline, _ = judged(walk(), blend=False)
    assert pre.validated["network_share"] == [1.0, 1.0]
    told = TASK.remarks(pre, metrics, baseline)
    assert "network's alone" in told[0]
    assert "is better than this model" in told[1]


def test_a_network_that_knows_more_than_any_line_keeps_its_share():
    """Chaos, of which a network can know the next value and a line cannot."""
    values = np.empty((ROWS, 2))
    values[0] = 0.3, 0.4
    for t in range(1, ROWS):
        values[t] = 3.9 * values[t - 1] * (1 - values[t - 1])

    def taught(model, pre, splits):
        batches = pre.encoded(splits.train).training_batches(64, 0)
        model.fit(batches.starting_with(0), steps_per_epoch=batches.steps, epochs=25, verbose=0)

    changes = {"units": 32, "embedding_dim": 32, "segment": 1, "learning_rate": 0.01}
    pre, metrics, baseline, _ = judged(values, taught, **changes, normalise="none")
    assert min(pre.validated["network_share"]) > 0.5
    assert metrics["test"]["mse"] < baseline["test"]["mse"]
    assert metrics["test"]["skill_low"] > 0


def test_a_preprocessor_of_before_says_nothing():
    pre, metrics, baseline, said = judged(wave())
    before = dataclasses.replace(pre, validated={})
    assert TASK.remarks(before, metrics, baseline) == []
    found = TASK.evaluate(before, said, splits_of(wave()).test)
    assert "coverage_80" in found
    assert "coverage_80_low" not in found
