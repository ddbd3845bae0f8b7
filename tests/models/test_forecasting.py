"""The forecaster: every shape of it, what its normalisation promises, its loss."""

from itertools import product

import keras
import numpy as np
import pytest

from common.errors import ConfigError
from models.forecasting import (
    HEADS,
    Pinball,
    WindowShape,
    compile_forecaster,
    forecaster,
)
from models.forecasting_config import ForecastConfig

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
    """Mean and quantiles, side by side on the last axis."""
    found = model(inputs, training=False)
    return np.concatenate([np.asarray(found["mean"])[..., None], found["quantiles"]], -1)


def output_shape(model):
    mean, quantiles = model.output["mean"].shape, model.output["quantiles"].shape
    assert mean == quantiles[:-1]
    return (*mean, 1 + quantiles[-1])


COMBINATIONS = list(
    product(HEADS, ("independent", "joint"), ("last", "mean_std", "none"), (True, False))
)


# Each value of each setting is in one of the fast ones.
FAST = {0, 7, 14, 21, 28, 35}


@pytest.mark.parametrize(
    ("head", "channels", "normalise", "linear"),
    [
        values if number in FAST else pytest.param(*values, marks=pytest.mark.slow)
        for number, values in enumerate(COMBINATIONS)
    ],
)
def test_every_shape_of_it_learns(head, channels, normalise, linear):
    number = COMBINATIONS.index((head, channels, normalise, linear))
    config = SMALL.updated(
        head=head, channels=channels, normalise=normalise, linear=linear, segment=2,
        cell=CELLS[number % 3], layers=1 + number % 2,
    )  # fmt: skip
    shape = shaped(4, 3, known=2 * (number // 2 % 2))
    model = forecaster(config, shape)
    assert output_shape(model) == (None, 3, 2, 4)
    inputs, future = feeds(shape), np.ones((3, 3, 2), np.float32)
    before = [weight.numpy() for weight in model.trainable_weights]
    compile_forecaster(model, config, LEVELS)
    targets = {"mean": future, "quantiles": future}
    assert np.isfinite(model.train_on_batch(inputs, targets)).all()
    moved = {
        weight.path for old, weight in zip(before, model.trainable_weights, strict=True)
        if (old != weight.numpy()).any()
    }  # fmt: skip
    assert moved == {weight.path for weight in model.trainable_weights}, "all of it learns"
    assert ("linear" in {layer.name for layer in model.layers}) == linear
    assert not model.get_layer("quantiles").trainable_weights


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
        assert output_shape(model) == (None, 4, 1, 2)


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
    assert output_shape(model) == (None, 4, 2, 4)


@pytest.mark.parametrize("change", [{"head": "tcn"}, {"segment": -1}, {"normalise": "max"}])
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
    np.testing.assert_allclose(other[:, :, [0, 2]], one[:, :, [0, 2]], atol=1e-5)
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
    np.testing.assert_allclose(said(model, inputs)[1:2], alone, atol=1e-5)


def test_without_normalisation_level_and_scale_are_the_models_own():
    names = {layer.name for layer in forecaster(SMALL.updated(normalise="none"), shaped()).layers}
    assert not names & {"level", "normalize", "denormalize"}


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
    np.testing.assert_allclose(got, got[..., :1].repeat(4, -1), atol=1e-5)


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


def losses_of(truth, said_, kind, levels):
    """What Keras reports for a model that says this."""
    mean, quantiles = (keras.Input(x.shape[1:]) for x in (said_[..., 0], said_[..., 1:]))
    layers = {"mean": keras.layers.Identity(name="mean")(mean),
              "quantiles": keras.layers.Identity(name="quantiles")(quantiles)}  # fmt: skip
    model = keras.Model([mean, quantiles], layers)
    compile_forecaster(model, SMALL.updated(loss=kind), levels)
    targets = {"mean": truth, "quantiles": truth}
    inputs = [said_[..., 0], said_[..., 1:]]
    return model.evaluate(inputs, targets, return_dict=True, verbose=0)


def test_loss_by_hand():
    truth = np.array([[[2.0, 0.0]]], np.float32)
    said_ = np.array([[[[1.5, 1.0, 4.0], [3.0, 1.0, -1.0]]]], np.float32)
    # Means are off by 1/2 and -3. Quantile 0.1 by 1 and -1, 0.1 and 0.9; 0.9 by -2 and 1, 0.2
    # and 0.9: 2.1 over four.
    pinball = (0.1 + 0.9 + 0.2 + 0.9) / 4
    for kind, point in (
        ("mse", (0.25 + 9) / 2), ("mae", (0.5 + 3) / 2), ("huber", (0.125 + 2.5) / 2)
    ):  # fmt: skip
        found = losses_of(truth, said_, kind, (0.1, 0.9))
        np.testing.assert_allclose(found["loss"], point + pinball, rtol=1e-6)
        np.testing.assert_allclose(found["mean_mse"], (0.25 + 9) / 2, rtol=1e-6)
    each = Pinball((0.1, 0.9)).call(truth, said_[..., 1:])
    np.testing.assert_allclose(each, [[[(0.1 + 0.2) / 2, (0.9 + 0.9) / 2]]], rtol=1e-6)


def test_loss_is_the_mean_over_windows_steps_and_columns():
    draw = np.random.default_rng(0)
    truth, out = draw.normal(size=(3, 4, 2)), draw.normal(size=(3, 4, 2, 4))
    found = losses_of(truth.astype(np.float32), out.astype(np.float32), "mse", LEVELS)
    error = truth[..., None] - out[..., 1:]
    pinball = np.where(error > 0, np.array(LEVELS) * error, (np.array(LEVELS) - 1) * error)
    assert abs(found["loss"] - ((truth - out[..., 0]) ** 2).mean() - pinball.mean()) < 1e-5


def test_a_loss_comes_back_from_its_configuration():
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(Pinball(LEVELS))
    )
    assert (loss.levels, loss.name) == (LEVELS, "pinball")
