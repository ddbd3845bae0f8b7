"""The forecaster: every shape of it, what its normalisation promises, its loss and intervals."""

from itertools import product

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.errors import ConfigError
from models.conformal import calibrate_intervals, conformal_offsets, recency_weights
from models.forecasting import (
    HEADS,
    ErrorOfMean,
    MeanAndQuantiles,
    WindowShape,
    forecaster,
)
from models.forecasting_config import ForecastConfig
from models.window_layers import Calibrated

LEVELS = (0.1, 0.5, 0.9)
SMALL = ForecastConfig(units=4, embedding_dim=5, segment=3, dropout=0.1)
CELLS = ("gru", "lstm", "simple_rnn")


def shaped(lookback=8, horizon=4, inputs=2, targets=2, known=0, levels=LEVELS):
    return WindowShape(lookback, horizon, inputs, targets, known, levels)


def feeds(shape, batch=3, seed=0):
    draw = np.random.default_rng(seed)
    wire = {"values": draw.normal(size=(batch, shape.lookback, shape.inputs))}
    if shape.known:
        wire["known"] = draw.normal(size=(batch, shape.lookback + shape.horizon, shape.known))
    return {name: array.astype(np.float32) for name, array in wire.items()}


def randomised(config, shape, seed=0):
    """Weights as training leaves them: nothing is nought."""
    model = forecaster(config, shape)
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        if np.issubdtype(np.dtype(weight.dtype), np.floating):
            weight.assign(draw.normal(0, 0.3, weight.shape))
    return model


def said(model, inputs):
    return np.asarray(model(inputs, training=False))


COMBINATIONS = list(
    product(HEADS, ("independent", "joint"), ("last", "mean_std", "none"), (True, False))
)


@pytest.mark.parametrize(("head", "channels", "normalise", "linear"), COMBINATIONS)
def test_every_shape_of_it_learns(head, channels, normalise, linear):
    number = COMBINATIONS.index((head, channels, normalise, linear))
    config = SMALL.updated(
        head=head, channels=channels, normalise=normalise, linear=linear, segment=2,
        cell=CELLS[number % 3], layers=1 + number % 2,
    )  # fmt: skip
    shape = shaped(4, 3, known=2 * (number // 2 % 2))
    model = forecaster(config, shape)
    assert model.output_shape == (None, 3, 2, 4)
    inputs, future = feeds(shape), np.ones((3, 3, 2), np.float32)
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile("sgd", MeanAndQuantiles(LEVELS), run_eagerly=True)
    assert np.isfinite(model.train_on_batch(inputs, future)).all()
    moved = {
        weight.path for old, weight in zip(before, model.trainable_weights, strict=True)
        if (old != weight.numpy()).any()
    }  # fmt: skip
    assert moved == {weight.path for weight in model.trainable_weights}, "all of it learns"
    assert ("linear" in {layer.name for layer in model.layers}) == linear
    assert not model.get_layer("calibrated").trainable_weights


@pytest.mark.parametrize(("lookback", "horizon", "segment", "known", "channels"), [
    (8, 5, 3, 2, "joint"), (8, 5, 3, 2, "independent"), (9, 1, 3, 0, "independent"),
    (3, 7, 3, 1, "joint"), (4, 4, 4, 1, "independent"), (5, 3, 1, 0, "joint"),
    (7, 2, 7, 2, "independent"),
])  # fmt: skip
def test_horizon_and_lookback_need_be_no_multiples_of_the_segment(
    lookback, horizon, segment, known, channels
):
    shape = shaped(lookback, horizon, known=known)
    model = randomised(SMALL.updated(channels=channels, segment=segment), shape)
    assert said(model, feeds(shape)).shape == (3, horizon, 2, 4)


@pytest.mark.parametrize("head", HEADS)
def test_it_may_be_the_first_model_of_a_process(head):
    """Keras numbers the names it gives to layers; the first has none, and must not be taken."""
    keras.utils.clear_session()
    forecaster(SMALL.updated(head=head), shaped(known=2))


@pytest.mark.parametrize("head", HEADS)
def test_one_column_and_one_quantile(head):
    shape = shaped(inputs=1, targets=1, levels=(0.5,))
    for channels in ("independent", "joint"):
        model = forecaster(SMALL.updated(head=head, channels=channels), shape)
        assert model.output_shape == (None, 4, 1, 2)


@pytest.mark.parametrize("head", HEADS)
def test_covariates_of_the_past_count_where_channels_are_joint(head):
    shape = shaped(inputs=4, targets=2, known=1)
    model = randomised(SMALL.updated(head=head, channels="joint", normalise="mean_std"), shape)
    inputs = feeds(shape)
    one = said(model, inputs)
    assert one.shape == (3, 4, 2, 4)
    inputs["values"][:, -5, 3] += 1
    assert np.abs(said(model, inputs) - one).max() > 1e-4


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("channels", ["independent", "joint"])
def test_what_is_known_of_past_and_of_every_step_of_the_future_counts(head, channels):
    shape = shaped(lookback=6, horizon=4, known=2)
    model = randomised(SMALL.updated(head=head, channels=channels), shape)
    # The first window as it is, then each number of ``known`` changed by itself.
    inputs = {name: np.repeat(x, 21, 0) for name, x in feeds(shape, 1).items()}
    inputs["known"][1:] += np.eye(20, dtype=np.float32).reshape(20, 10, 2)
    found = said(model, inputs)
    moved = np.abs(found[1:] - found[0]).max((1, 2, 3))
    assert (moved > 1e-6).all(), np.flatnonzero(moved <= 1e-6)


@pytest.mark.parametrize(("change", "match"), [
    ({"segment": 9}, "segment is 9, longer than the lookback of 8; .* --lookback"),
    ({"bidirectional": True}, "--unidirectional"),
    ({"channels": "independent"}, "--channels joint"),
])  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(change, match):
    joint = SMALL.updated(channels="joint")
    forecaster(joint, shaped(inputs=3))
    with pytest.raises(ConfigError, match=match):
        forecaster(joint.updated(**change), shaped(inputs=3))


@pytest.mark.parametrize("head", ["direct", "encoder_decoder"])
def test_other_heads_may_read_both_ways_and_have_no_segment(head):
    model = forecaster(SMALL.updated(head=head, bidirectional=True, segment=99), shaped())
    assert model.output_shape == (None, 4, 2, 4)


@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_decoder_is_as_deep_as_the_encoder(cell, bidirectional):
    """It begins with the encoder's states, unless the encoder reads both ways."""
    config = SMALL.updated(
        head="encoder_decoder", cell=cell, layers=2, bidirectional=bidirectional, dropout=0.1
    )
    model = forecaster(config, shaped())
    decoder = [model.get_layer(f"decoder_{cell}_{depth}") for depth in range(2)]
    assert [layer.units for layer in decoder] == [config.units * (1 + bidirectional)] * 2
    for layer in decoder:
        (node,) = layer._inbound_nodes
        assert len(node.input_tensors) == (1 if bidirectional else 2 + (cell == "lstm"))


@pytest.mark.parametrize("change", [{"head": "tcn"}, {"segment": 0}, {"normalise": "max"}])
def test_unknown_settings_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        SMALL.updated(**change)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("channels", ["independent", "joint"])
def test_a_window_that_lies_higher_is_forecast_higher(head, channels):
    shape = shaped(inputs=2 + (channels == "joint"), known=1)
    model = randomised(SMALL.updated(head=head, channels=channels, normalise="last"), shape)
    inputs = feeds(shape)
    one = said(model, inputs)
    inputs["values"] += np.array([7, -3, 2][: shape.inputs], np.float32)
    shift = np.array([7, -3], np.float32)[:, None]
    np.testing.assert_allclose(said(model, inputs), one + shift, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("channels", ["independent", "joint"])
def test_a_window_of_larger_units_is_forecast_in_them(head, channels):
    shape = shaped(inputs=2 + (channels == "joint"), known=1)
    model = randomised(SMALL.updated(head=head, channels=channels, normalise="mean_std"), shape)
    model.get_layer("calibrated").offset.assign(np.zeros((4, 2, 4)))
    inputs = feeds(shape)
    one = said(model, inputs)
    inputs["values"] = inputs["values"] * np.array([5, 3, 2][: shape.inputs], np.float32) - 4
    wanted = one * np.array([5, 3], np.float32)[:, None] - 4
    # But for the little that keeps a constant window's scale from nought.
    np.testing.assert_allclose(said(model, inputs), wanted, atol=2e-3)
    assert np.isfinite(said(model, {**inputs, "values": np.ones_like(inputs["values"])})).all()


@pytest.mark.parametrize(("head", "normalise"), [
    ("segment", "last"), ("segment", "mean_std"), ("direct", "mean_std"), ("direct", "none"),
    ("encoder_decoder", "last"),
])  # fmt: skip
def test_independent_columns_do_not_see_each_other(head, normalise):
    shape = shaped(inputs=3, targets=3, known=1)
    model = randomised(SMALL.updated(head=head, normalise=normalise), shape)
    inputs = feeds(shape)
    one = said(model, inputs)
    inputs["values"][:, :, 1] = 9 - 2 * inputs["values"][:, :, 1]
    other = said(model, inputs)
    np.testing.assert_allclose(other[:, :, [0, 2]], one[:, :, [0, 2]], atol=1e-6)
    assert (np.abs(other[:, :, 1] - one[:, :, 1]) > 1e-4).any()


@pytest.mark.parametrize("head", HEADS)
def test_joint_columns_see_each_other(head):
    model = randomised(SMALL.updated(head=head, channels="joint"), shaped())
    inputs = feeds(shaped())
    one = said(model, inputs)
    inputs["values"][:, 2, 1] += 1
    assert (np.abs(said(model, inputs)[:, :, 0] - one[:, :, 0]) > 1e-6).any()


@pytest.mark.parametrize("head", HEADS)
def test_windows_of_a_batch_do_not_see_each_other(head):
    shape = shaped(known=1)
    model = randomised(SMALL.updated(head=head), shape)
    inputs = feeds(shape)
    alone = said(model, {name: x[1:2] for name, x in inputs.items()})
    np.testing.assert_allclose(said(model, inputs)[1:2], alone, atol=1e-6)


def test_without_normalisation_level_and_scale_are_the_models_own():
    names = {layer.name for layer in forecaster(SMALL.updated(normalise="none"), shaped()).layers}
    assert not names & {"level", "normalised", "restored"}


def test_the_linear_path_by_hand():
    """With a head of noughts, the mean and every quantile are weights times the window."""
    model = forecaster(SMALL.updated(normalise="last"), shaped(lookback=3, horizon=2))
    for name in ("head", "linear"):
        layer = model.get_layer(name)
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    values = np.array([[[1, 10], [2, 20], [4, 40]]], np.float32)
    np.testing.assert_array_equal(said(model, {"values": values})[0, :, :, 0], [[4, 40]] * 2)
    kernel = np.array([[1, 0], [0, 2], [5, 5]], np.float32)  # of each row to each step
    model.get_layer("linear").set_weights([kernel, np.zeros(2)])
    # Less the last value: -3, -2 and 0; so 4 - 3 and 4 - 2 * 2.
    got = said(model, {"values": values})[0]
    np.testing.assert_allclose(got[..., 0], [[1, 10], [0, 0]], atol=1e-5)
    np.testing.assert_allclose(got, got[..., :1].repeat(4, -1), atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("channels", ["independent", "joint"])
def test_saved_and_loaded_it_says_the_same(head, channels, tmp_path):
    joint = channels == "joint"
    shape = shaped(inputs=2 + joint, known=0 if joint else 2)
    normalise = "mean_std" if joint else "last"
    model = randomised(SMALL.updated(head=head, channels=channels, normalise=normalise), shape)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(said(again, feeds(shape)), said(model, feeds(shape)))


# ---- loss


def test_loss_by_hand():
    truth = np.array([[[2.0, 0.0]]], np.float32)
    said_ = np.array([[[[1.5, 1.0, 4.0], [3.0, 1.0, -1.0]]]], np.float32)
    # Means are off by 1/2 and -3. Quantile 0.1 by 1 and -1, 0.1 and 0.9; 0.9 by -2 and 1, 0.2
    # and 0.9: 2.1 over four.
    pinball = (0.1 + 0.9 + 0.2 + 0.9) / 4
    for kind, point in (
        ("mse", (0.25 + 9) / 2), ("mae", (0.5 + 3) / 2), ("huber", (0.125 + 2.5) / 2)
    ):  # fmt: skip
        loss = MeanAndQuantiles((0.1, 0.9), kind)
        np.testing.assert_allclose(loss.call(truth, said_), [[point + pinball]], rtol=1e-6)
        np.testing.assert_allclose(loss(truth, said_), point + pinball, rtol=1e-6)


def test_loss_is_the_mean_over_windows_steps_and_columns():
    draw = np.random.default_rng(0)
    truth, out = draw.normal(size=(3, 4, 2)), draw.normal(size=(3, 4, 2, 4))
    got = float(MeanAndQuantiles(LEVELS)(truth.astype(np.float32), out.astype(np.float32)))
    error = truth[..., None] - out[..., 1:]
    pinball = np.where(error > 0, np.array(LEVELS) * error, (np.array(LEVELS) - 1) * error)
    assert abs(got - ((truth - out[..., 0]) ** 2).mean() - pinball.mean()) < 1e-5


def test_error_of_the_mean_by_hand():
    metric = ErrorOfMean()
    metric.update_state(np.array([[[2.0], [0.0]]]), np.array([[[[1.0, 9.0]], [[3.0, 9.0]]]]))
    assert float(metric.result()) == 5
    assert ErrorOfMean.from_config(metric.get_config()).name == "mse"


def test_loss_and_metric_come_back_from_their_configuration():
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(MeanAndQuantiles(LEVELS, "huber"))
    )
    assert (loss.levels, loss.kind, loss.name) == (LEVELS, "huber", "mean_and_quantiles")
    metric = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(ErrorOfMean("squares"))
    )
    assert metric.name == "squares"


# ---- intervals


def test_offsets_by_hand():
    # One step, one column, an interval from 0 to 10 each time; how far the truth is outside of it:
    truth = np.array([-3, 12, 5, 11, 4, 9, 1, 14, 15], np.float64)[:, None, None]
    # 3, 2, -5, 1, -4, -1, -1, 4, 5; in order -5 -4 -1 -1 1 2 3 4 5. For a promise of a half,
    # 0.5 * 10 / 9 of the nine: the fifth.
    quantiles = np.broadcast_to([0.0, 5.0, 10.0], (9, 1, 1, 3))
    offsets = conformal_offsets(truth, quantiles, (0.25, 0.5, 0.75))
    assert offsets.tolist() == [[[-1, 0, 1]]]
    assert offsets.dtype == np.float32
    # Of a promise that so few cannot keep, the greatest.
    assert conformal_offsets(truth, quantiles, (0.01, 0.5, 0.99)).tolist() == [[[-5, 0, 5]]]
    # An interval that is too wide is narrowed.
    inside = np.full((9, 1, 1), 2.0)
    assert conformal_offsets(inside, quantiles, (0.25, 0.5, 0.75)).tolist() == [[[2, 0, -2]]]


@pytest.mark.parametrize(("weights", "width"), [
    ((1, 1, 1, 1), 3),  # 0.5 * 5 / 4 of the weight: 0.625
    # Worth 64 / 28 examples, so 0.5 * 23 / 16 of the weight, 0.71875, is asked for.
    ((1, 1, 1, 5), 4),
    ((5, 1, 1, 1), 2),
    ((8, 1, 1, 5), 4),
    ((0, 0, 0, 1), 4),
])  # fmt: skip
def test_weighted_offsets_by_hand(weights, width):
    truth = np.array([1.0, 2, 3, 4])[:, None, None]
    quantiles = np.zeros((4, 1, 1, 3))
    for scale in (1.0, 0.01):  # only their proportions count
        offsets = conformal_offsets(truth, quantiles, (0.25, 0.5, 0.75), scale * np.array(weights))
        assert offsets.tolist() == [[[-width, 0, width]]]


def test_an_example_counts_half_after_an_eighth_of_the_time():
    weights = recency_weights(np.array([800, 0, 700, 400]))
    np.testing.assert_allclose(weights, [1, 2**-8, 0.5, 2**-4])
    assert recency_weights(np.array([5])).tolist() == [1]
    assert recency_weights(np.array([5, 5])).tolist() == [1, 1]


def test_offsets_are_of_each_step_column_and_pair_by_itself():
    truth = np.zeros((5, 2, 2))
    quantiles = np.broadcast_to(np.array([-2.0, -1, 0, 1, 2]), (5, 2, 2, 5)).copy()
    quantiles[:, 0, 0] += 4
    quantiles[:, 1, 1] *= 3
    offsets = conformal_offsets(truth, quantiles, (0.1, 0.25, 0.5, 0.75, 0.9))
    assert offsets[0, 0].tolist() == [-2, -3, 0, 3, 2]
    assert offsets[0, 1].tolist() == [2, 1, 0, -1, -2]
    assert offsets[1, 1].tolist() == [6, 3, 0, -3, -6]


# Whole numbers, so that no bound is missed by rounding.
WHOLE = st.integers(-50, 50).map(float)


@st.composite
def calibrations(draw):
    count = draw(st.integers(1, 25))
    truth = draw(arrays(np.float32, (count, 2, 1), elements=WHOLE))
    return truth, draw(arrays(np.float32, (count, 2, 1, 3), elements=WHOLE))


@settings(max_examples=60, deadline=None)
@given(calibrations(), st.sampled_from([(0.1, 0.5, 0.9), (0.25, 0.5, 0.75), (0.025, 0.5, 0.975)]))
def test_intervals_cover_what_they_promise_where_they_were_calibrated(pair, levels):
    truth, quantiles = pair
    quantiles = np.sort(quantiles, -1)
    moved = quantiles + conformal_offsets(truth, quantiles, levels)
    inside = (truth >= moved[..., 0]) & (truth <= moved[..., -1])
    assert (inside.mean(0) >= levels[-1] - levels[0] - 1e-9).all()


def test_intervals_cover_what_they_promise_even_where_quantiles_cross():
    # The model says 1, 0 and -1 where -1, 0 and 1 is meant: once sorted they are an interval of
    # the truth's own, which only has to become wider.
    truth = np.linspace(-3, 3, 41, dtype=np.float32)[:, None, None]
    outputs = np.broadcast_to(np.array([0, 1, 0, -1], np.float32), (41, 1, 1, 4))
    inputs = keras.Input(outputs.shape[1:])
    model = keras.Model(inputs, Calibrated(name="calibrated")(inputs))
    calibrate_intervals(model, [(outputs, truth)], LEVELS)
    moved = np.sort(said(model, outputs)[..., 1:], -1)  # as the preprocessor gives them
    inside = (truth >= moved[..., 0]) & (truth <= moved[..., -1])
    assert inside.mean() >= 0.8


def test_calibrating_again_changes_nothing_and_leaves_the_mean_alone():
    shape = shaped(known=1)
    model = randomised(SMALL, shape)
    layer = model.get_layer("calibrated")
    layer.offset.assign(np.zeros(layer.offset.shape))
    before = said(model, feeds(shape, 24))
    truth = np.random.default_rng(1).normal(size=(24, 4, 2)).astype(np.float32)
    inputs = feeds(shape, 24)
    batches = [
        ({name: x[i : i + 9] for name, x in inputs.items()}, truth[i : i + 9])
        for i in range(0, 24, 9)
    ]
    first = calibrate_intervals(model, batches, LEVELS)
    once = said(model, inputs)
    np.testing.assert_allclose(first, conformal_offsets(truth, before[..., 1:], LEVELS), atol=1e-5)
    np.testing.assert_allclose(once[..., 1:], before[..., 1:] + first, atol=1e-5)
    second = calibrate_intervals(model, batches, LEVELS)
    np.testing.assert_allclose(second, first, atol=1e-5)
    np.testing.assert_allclose(said(model, inputs), once, atol=1e-5)
    for after in (once, said(model, inputs)):
        np.testing.assert_array_equal(after[..., 0], before[..., 0])
    assert np.abs(first).max() > 0.1
