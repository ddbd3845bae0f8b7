"""The detector: scores and thresholds by hand, and never a look ahead."""

import keras
import numpy as np
import pytest

from common.errors import ConfigError
from models.anomaly_detection import (
    MIN_SCALE,
    AnomalyScore,
    LastOfWindows,
    SlidingWindows,
    calibrate_scores,
    compile_expectation,
    core_model,
    expectations,
    robust_threshold,
    scoring_model,
    threshold_of,
)
from models.anomaly_detection_baselines import (
    NORMAL,
    RECENT,
    moving_mad,
    seasonal_residual,
    z_score,
)
from models.anomaly_detection_config import AnomalyConfig
from tasks.kinds.anomaly_detection.watching import calibrated_watch

SMALL = AnomalyConfig(units=4, embedding_dim=5)
SCORERS = {
    "residual": (SMALL, 3),
    "no calendar": (SMALL.updated(cell="lstm", layers=2), 0),
    "autoencoder": (SMALL.updated(scorer="autoencoder"), 0),
    "both ways": (SMALL.updated(scorer="autoencoder", bidirectional=True, cell="simple_rnn"), 0),
}
WINDOW = 5


def randomised(name, seed=0):
    """A scoring model of two columns, and what it is made of, with weights like trained ones."""
    config, calendar = SCORERS[name]
    core = core_model(config, 2, calendar, WINDOW)
    model = scoring_model(core, config, 2, WINDOW)
    draw = np.random.default_rng(seed)
    for weight in core.trainable_weights:
        weight.assign(draw.normal(0, 0.4, weight.shape))
    return model, core, config


def a_series(model, rows, seed=0, batch=1):
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(batch, rows, 2)).astype(np.float32)
    feeds = {"values": values}
    if "previous" in model.input:
        feeds["previous"] = np.concatenate([values[:, :1], values[:, :-1]], 1)
    if "calendar" in model.input:
        feeds["calendar"] = draw.normal(size=(batch, rows, 3)).astype(np.float32)
    return feeds


def said(model, feeds):
    """The score, the first expectation, and all of them side by side."""
    found = {name: np.asarray(x) for name, x in model(feeds, training=False).items()}
    every = [found[name] for name in expectations(model)]
    return {"score": found["score"], "parts": found["parts"], "expected": every[0],
            "all_expected": np.concatenate(every, -1)}  # fmt: skip


@pytest.mark.parametrize("name", SCORERS)
def test_shapes(name):
    model, core, config = randomised(name)
    wide = 2 if config.scorer == "autoencoder" else 4
    if config.scorer == "autoencoder":
        assert {n: x.shape for n, x in core.input.items()} == {"values": (None, WINDOW, 2)}
        assert {n: x.shape for n, x in core.output.items()} == {"rebuilt": (None, WINDOW, 2)}
    else:
        assert core.input["previous"].shape == (None, None, 2)
        assert ("calendar" in core.input) == (name == "residual")
        assert {n: x.shape for n, x in core.output.items()} == {
            "next": (None, None, 2), "usual": (None, None, 2)
        }  # fmt: skip
    for batch, rows in ((1, 1), (3, 9), (2, WINDOW)):
        found = said(model, a_series(model, rows, batch=batch))
        assert {n: x.shape for n, x in found.items()} == {
            "score": (batch, rows, wide // 2),
            "parts": (batch, rows, wide),
            "expected": (batch, rows, 2),
            "all_expected": (batch, rows, wide),
        }
        np.testing.assert_array_equal(found["expected"], found["all_expected"][..., :2])
        assert (found["score"] >= 0).all()
        squares = found["parts"].reshape(batch, rows, wide // 2, 2).sum(-1)
        np.testing.assert_allclose(np.sqrt(squares), found["score"], rtol=1e-5, atol=1e-6)


def test_a_residual_reads_forward():
    with pytest.raises(ConfigError, match="--unidirectional or --scorer autoencoder"):
        core_model(SMALL.updated(bidirectional=True), 2, 0, WINDOW)


@pytest.mark.parametrize("name", SCORERS)
def test_the_core_learns(name):
    _, core, config = randomised(name)
    rows = np.random.default_rng(1).normal(size=(4, WINDOW, 2)).astype(np.float32)
    if config.scorer == "autoencoder":
        inputs = {"values": rows}
    else:
        inputs = {"previous": rows, "calendar": np.ones((4, WINDOW, 3), np.float32)}
        inputs = {n: x for n, x in inputs.items() if n in core.input}
    compile_expectation(core, config)
    before = [weight.numpy() for weight in core.trainable_weights]
    assert np.isfinite(core.train_on_batch(inputs, dict.fromkeys(core.output, rows + 1))).all()
    still = {
        weight.path for old, weight in zip(before, core.trainable_weights, strict=True)
        if (old == weight.numpy()).all()
    }  # fmt: skip
    # The usual row of no calendar is a bias: the weights that see noughts cannot learn.
    assert still == ({"clock/kernel"} if name == "no calendar" else set())


def test_without_a_calendar_the_usual_row_is_always_the_same():
    model, *_ = randomised("no calendar")
    usual = said(model, a_series(model, 9, batch=2))["all_expected"][..., 2:]
    np.testing.assert_array_equal(usual, np.broadcast_to(usual[:1, :1], usual.shape))


@pytest.mark.parametrize("name", SCORERS)
def test_the_score_of_a_prefix_is_the_prefix_of_the_score(name):
    model, *_ = randomised(name)
    feeds = a_series(model, 12, batch=2)
    whole = said(model, feeds)
    for rows in (1, 4, 11):
        part = said(model, {n: x[:, :rows] for n, x in feeds.items()})
        for key, x in part.items():
            np.testing.assert_allclose(x, whole[key][:, :rows], atol=1e-5, err_msg=key)


def test_a_row_is_expected_without_being_seen():
    model, *_ = randomised("residual")
    feeds = a_series(model, 6)
    one = said(model, feeds)
    feeds["values"] = feeds["values"].copy()
    feeds["values"][0, 3] += 5
    other = said(model, feeds)
    np.testing.assert_array_equal(other["all_expected"], one["all_expected"])
    assert set(np.nonzero(other["score"] != one["score"])[1]) == {3}


# ---- layers by hand


def test_anomaly_score_by_hand():
    layer = AnomalyScore()
    values = np.array([[[1, 2], [0, 0]]], np.float32)
    expected = np.array([[[[4, -2], [0, 0]]], [[[1, 2], [3, -4]]]], np.float32)
    # Errors -3 and 4, then none; root mean square 5 / sqrt 2.
    np.testing.assert_allclose(layer([values, *expected]), [[np.sqrt(12.5)] * 2], rtol=1e-6)
    layer.scale.assign([[3, 2], [1, 1]])
    layer.threshold.assign([2, 5])
    # First row: errors -1 and 2, root of 2.5, over 2. Second: root of 12.5, over 5.
    wanted = [[np.sqrt(2.5) / 2, np.sqrt(12.5) / 5]]
    np.testing.assert_allclose(layer([values, *expected]), wanted, rtol=1e-6)
    assert layer.trainable_weights == []
    each = AnomalyScore(each=True)
    np.testing.assert_allclose(
        each([values, *expected])[0], np.sqrt([[12.5, 0], [0, 12.5]]), rtol=1e-6
    )
    layer = AnomalyScore(each=True, parts=True)
    scores, parts = layer([values, *expected])
    np.testing.assert_array_equal(scores, each([values, *expected]))
    # Squares 9 and 16 over two columns; then none, and the other way round.
    np.testing.assert_allclose(parts[0], [[4.5, 8, 0, 0], [0, 0, 4.5, 8]])
    assert layer.compute_output_shape([(1, 2, 2)] * 3) == ((1, 2, 2), (1, 2, 4))
    layer.threshold.assign([2, 1])
    np.testing.assert_allclose(layer([values, *expected])[1][0, 0], [4.5 / 4, 2, 0, 0])


def test_anomaly_score_of_one_expectation():
    layer = AnomalyScore()
    rows = np.array([[[3.0], [0.0]]], np.float32)
    np.testing.assert_allclose(layer([rows, 0 * rows]), [[3, 0]])
    assert layer.threshold.shape == (1,)


def test_sliding_windows_repeat_the_first_row():
    x = np.arange(8, dtype=np.float32).reshape(2, 4, 1)
    windows = np.asarray(SlidingWindows(3)(x))[..., 0]
    assert windows.tolist() == [
        [0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3],
        [4, 4, 4], [4, 4, 5], [4, 5, 6], [5, 6, 7],
    ]  # fmt: skip
    back = LastOfWindows()([SlidingWindows(3)(x), x])
    np.testing.assert_array_equal(back, x)
    assert np.asarray(SlidingWindows(6)(x))[1, :, 0].tolist() == [0, 0, 0, 0, 0, 1]


def test_an_autoencoder_writes_each_window_and_the_last_row_counts():
    model, core, _ = randomised("autoencoder")
    feeds = a_series(model, 9)
    rows = feeds["values"][0]
    padded = np.concatenate([np.repeat(rows[:1], WINDOW - 1, 0), rows])
    windows = np.stack([padded[i : i + WINDOW] for i in range(9)])
    written = np.asarray(core({"values": windows})["rebuilt"])[:, -1]
    found = said(model, feeds)
    np.testing.assert_allclose(found["expected"][0], written, atol=1e-5)
    wanted = np.sqrt(((rows - written) ** 2).mean(-1))
    np.testing.assert_allclose(found["score"][0, :, 0], wanted, atol=1e-5)


def test_loss_and_metric_by_hand():
    truth, said_ = np.array([[[1, 2]]], np.float32), [[[[3, 2]]], [[[0, 6]]]]
    inputs = [keras.Input((1, 2)), keras.Input((1, 2))]
    outputs = {
        n: keras.layers.Identity(name=n)(x) for n, x in zip(("next", "usual"), inputs, strict=True)
    }
    model = keras.Model(inputs, outputs)
    compile_expectation(model, SMALL)
    targets = {"next": truth, "usual": truth}
    found = model.evaluate(
        [np.array(x, np.float32) for x in said_], targets, return_dict=True, verbose=0
    )
    # Errors 2 and 0 of what comes next, 1 and 4 of what is usual: both count alike.
    assert found["loss"] == pytest.approx((1 + 2.5) / 2)
    assert found["next_mae"] == pytest.approx(1)


def test_saved_and_loaded_scores_are_the_same(tmp_path):
    for name in ("residual", "autoencoder"):
        model, *_ = randomised(name)
        model.get_layer("score").threshold.assign([2, 3][: 1 + (name == "residual")])
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        feeds = a_series(model, 7, batch=2)
        for key, x in said(model, feeds).items():
            np.testing.assert_array_equal(said(again, feeds)[key], x)


# ---- thresholds


def test_quantile_threshold_by_hand():
    scores = np.arange(11.0)[::-1]
    assert threshold_of(scores, "quantile", 0.2) == 8
    assert threshold_of(scores, "quantile", 0.25) == 8  # between 7 and 8, the higher
    assert threshold_of(scores, "quantile", 1e-4) == 10
    assert threshold_of(scores, "quantile", 0.5) == 5


@pytest.mark.parametrize("rate", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("seed", [0, 1])
def test_evt_is_close_to_the_true_quantile(rate, seed):
    draw = np.random.default_rng(seed)
    within = {1e-2: 0.03, 1e-3: 0.08, 1e-4: 0.25}[rate]
    exponential = threshold_of(draw.exponential(3, 40_000), "evt", rate)
    assert abs(exponential / (-3 * np.log(rate)) - 1) < within
    pareto = threshold_of(1 + draw.pareto(4, 40_000), "evt", rate)
    assert abs(pareto / rate**-0.25 - 1) < within


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_evt_keeps_a_rate_that_is_greater_than_its_tail(rate):
    scores = np.random.default_rng(0).exponential(1, 20_000)
    assert abs((scores > threshold_of(scores, "evt", rate)).mean() / rate - 1) < 0.1


def test_evt_goes_beyond_the_greatest_score_and_takes_it_where_there_are_few():
    draw = np.random.default_rng(0)
    scores = draw.exponential(1, 2000)
    assert threshold_of(scores, "evt", 1e-6) > scores.max()
    assert threshold_of(scores[:400], "evt", 1e-6) == scores[:400].max()
    assert threshold_of(np.ones(5000), "evt", 1e-3) == 1
    wild = draw.pareto(0.3, 5000)  # without a mean
    assert np.isfinite(threshold_of(wild, "evt", 1e-9))


def test_evt_rises_as_the_rate_falls():
    scores = np.random.default_rng(2).normal(size=5000) ** 2
    found = [threshold_of(scores, "evt", rate) for rate in (0.02, 1e-2, 1e-3, 1e-4, 1e-6)]
    assert found == sorted(found)
    assert found[0] >= np.quantile(scores, 0.97)


@pytest.mark.parametrize("name", ["residual", "autoencoder"])
def test_calibration_sets_units_and_thresholds(name):
    model, _, config = randomised(name)
    config = config.updated(surprise=1.0)
    train = [a_series(model, 400, seed=1), a_series(model, 400, seed=2)]
    count = 2 if name == "residual" else 1
    layer = model.get_layer("score")
    for kind in ("quantile", "evt"):
        rate = 0.01
        found = calibrate_scores(model, train, config.updated(threshold=kind, alarm_rate=rate))
        np.testing.assert_allclose(layer.threshold, found, rtol=1e-6)
        scores, errors = [], []
        for feeds in train:
            out = said(model, feeds)
            scores.append(out["score"][0])
            errors.append(np.abs(np.tile(feeds["values"], count) - out["all_expected"])[0])
        share = (np.concatenate(scores) > 1).mean()
        assert 0 < share <= 1.5 * rate * count
        error = np.concatenate(errors)
        np.testing.assert_allclose(np.ravel(layer.scale), np.median(error, 0), rtol=1e-4)
        # Of each expectation by itself.
        parts = np.split((error / np.ravel(layer.scale)) ** 2, count, -1)
        above = [np.mean(np.sqrt(p.mean(-1)) > t) for p, t in zip(parts, found, strict=True)]
        assert all(0 < one <= 1.5 * rate for one in above)


def test_the_next_row_must_be_farther_off_by_its_weight():
    for name, factors in (("residual", [4, 1]), ("autoencoder", [1])):
        model, _, config = randomised(name)
        train = [a_series(model, 100)]
        alike = calibrate_scores(model, train, config.updated(surprise=1.0))
        found = calibrate_scores(model, train, config.updated(surprise=0.25))
        np.testing.assert_allclose(found, alike * factors)
        np.testing.assert_allclose(model.get_layer("score").threshold, found, rtol=1e-6)


def test_calibration_does_not_depend_on_what_was_calibrated_before():
    model, _, config = randomised("residual")
    config = config.updated(threshold="quantile", alarm_rate=0.05)
    train = [a_series(model, 300)]
    first = calibrate_scores(model, train, config)
    model.get_layer("score").scale.assign([[9, 9], [9, 9]])
    np.testing.assert_array_equal(calibrate_scores(model, train, config), first)


def test_a_column_that_is_always_foretold_keeps_a_least_unit():
    model, core, config = randomised("residual")
    for weight in core.trainable_weights:
        weight.assign(np.zeros(weight.shape))
    still = {name: np.zeros_like(x) for name, x in a_series(model, 50).items()}
    calibrate_scores(model, [still], config)
    layer = model.get_layer("score")
    np.testing.assert_allclose(layer.scale, [[MIN_SCALE] * 2] * 2)
    assert (np.asarray(layer.threshold) > 0).all()
    assert np.isfinite(said(model, a_series(model, 5))["score"]).all()


# ---- baselines


def test_z_score_by_hand():
    values = np.array([[1, 0], [3, 0], [1, 4], [3, 4], [8, 2]], np.float64)
    # Of the first four rows: means 2 and 2, deviations 1 and 2.
    np.testing.assert_allclose(z_score(values, 4), [1, 1, 1, 1, 6])


def test_moving_mad_by_hand():
    values = np.tile([[0.0], [2.0]], (RECENT, 1))
    values[400] = 11
    found = moving_mad(values, 300)
    # Half of the rows before are 0 and half 2: median 1, median deviation 1.
    np.testing.assert_allclose(found[350:400], 1 / NORMAL)
    np.testing.assert_allclose(found[400], 10 / NORMAL)
    assert found[0] == 0, "nothing came before the first row"
    # Where rows hardly differ a hundredth of train's deviation is the unit.
    still = np.zeros((700, 1))
    still[:10] = [[-1], [1]] * 5
    still[650] = 0.5
    unit = still[:700].std() / 100
    np.testing.assert_allclose(moving_mad(still, 700)[[640, 650]], [0, 0.5 / unit], rtol=1e-6)


def test_moving_mad_takes_the_farthest_column():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(600, 2))
    each = [moving_mad(values[:, [c]], 500) for c in (0, 1)]
    np.testing.assert_allclose(moving_mad(values, 500), np.max(each, 0))


def test_moving_mad_never_looks_ahead():
    values = np.random.default_rng(0).normal(size=(5000, 1))  # more than one chunk
    whole = moving_mad(values, 300)
    for rows in (300, 4095, 4096, 4097, 4999):
        np.testing.assert_array_equal(moving_mad(values[:rows], 300), whole[:rows])
    for row in (1, RECENT + 3, 4096, 4500):
        before = np.concatenate([np.repeat(values[:1], RECENT, 0), values])[row : row + RECENT]
        median = np.median(before)
        unit = NORMAL * np.median(np.abs(before - median))
        wanted = abs(values[row, 0] - median) / max(unit, values[:300].std() / 100)
        np.testing.assert_allclose(whole[row], wanted, rtol=1e-6)


def test_seasonal_residual_by_hand():
    # Train is three seasons of two: medians 1 and 10. It is off by 0 1 0 | 2 0 4 at the phases,
    # so by 0 2 1 0 0 4 row by row: median 0.5.
    values = np.array([1, 12, 2, 10, 1, 6, 4, 10.0])[:, None]
    found = seasonal_residual(values, 6, 2)
    np.testing.assert_allclose(found, np.array([0, 2, 1, 0, 0, 4, 3, 0]) / (0.5 * NORMAL))
    # Train holds no two seasons of four: the median of its rows, 4, is usual.
    off = np.array([3, 8, 2, 6, 3, 2, 0, 6])
    np.testing.assert_allclose(seasonal_residual(values, 6, 4), off / (3 * NORMAL))


def test_baselines_do_not_learn_from_what_follows_train():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(900, 2))
    wild = values.copy()
    wild[700:] = 50
    for score in (z_score, moving_mad, lambda rows, train: seasonal_residual(rows, train, 24)):
        np.testing.assert_array_equal(score(values, 600)[:700], score(wild, 600)[:700])


# ---- anomalies in train


def test_anomalies_in_train_do_not_lift_a_robust_threshold_out_of_reach():
    draw = np.random.default_rng(0)
    scores = draw.exponential(1, 5000)
    clean = robust_threshold(scores, "evt", 1e-4)
    assert 0.6 < clean / -np.log(1e-4) <= 1.05
    scores[100:150] = draw.uniform(50, 200, 50)
    assert threshold_of(scores, "evt", 1e-4) > 5 * clean
    assert robust_threshold(scores, "evt", 1e-4) < 1.3 * clean
    assert robust_threshold(scores, "quantile", 1e-4) == threshold_of(scores, "quantile", 1e-4)


def test_rows_that_are_labelled_do_not_count():
    model, _, config = randomised("residual")
    feeds = a_series(model, 400)
    alone = calibrate_scores(model, [feeds], config)
    spoilt = {name: np.array(x) for name, x in feeds.items()}
    spoilt["values"][0, 50:60] += 100
    normal = np.ones(400, bool)
    normal[50:60] = False
    assert (calibrate_scores(model, [spoilt], config) > 1.5 * alone).any()
    np.testing.assert_allclose(calibrate_scores(model, [spoilt], config, [normal]), alone, rtol=0.5)


def test_a_calibrated_watch_is_silent_on_train_and_calls_once_for_a_shift():
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(3000, 2)).astype(np.float32)
    scores = np.abs(draw.normal(0, 0.1, (3000, 2))).astype(np.float32)
    normal = np.ones(len(rows), bool)
    watch = calibrated_watch([scores], [rows], [normal], SMALL, quiet=72)
    assert watch.witnesses == 5
    parts = np.repeat(np.square(scores), 2, -1)[None] / 2
    assert watch.columns == 2
    assert watch.over(scores[None], rows[None], parts)[1].sum() <= 2
    later = draw.normal(size=(1000, 2)).astype(np.float32)
    level = np.abs(draw.normal(0, 0.1, (1000, 2))).astype(np.float32)
    later[400:] += 9
    level[400:, 1] += 3  # the usual row stays off, as long as the level does
    parts = np.repeat(np.square(level), 2, -1)[None] / 2
    found, alarms, _ = watch.over(level[None], later[None], parts)
    assert (found[0, 400:].max(-1) >= 1).mean() > 0.9, "anomalous as long as it lasts"
    assert np.flatnonzero(alarms[0][390:]).tolist() == [10]
