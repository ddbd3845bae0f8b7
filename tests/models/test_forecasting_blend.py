"""The network's share beside a baseline, and the layers that set forecast and intervals."""

import keras
import numpy as np
import pytest

from models.conformal import Calibration
from models.forecasting import WindowShape, forecaster
from models.forecasting_baselines import NAIVE, naive_map
from models.forecasting_blend import Blend, finished_forecaster, network_shares
from models.forecasting_config import ForecastConfig
from serving.native_onnx import build_onnx
from tests.serving.native_onnx.parity import assert_same, randomise

LEVELS = (0.1, 0.5, 0.9)
SHAPE = WindowShape(6, 4, 3, 2, 0, LEVELS)
CONFIG = ForecastConfig(units=4, embedding_dim=5, segment=3, channels="joint")
BLOCKS = np.repeat(np.arange(20), 25)


def drawn(noise, seed=0):
    """Truth, a baseline of noughts, and a network that sees the truth through noise."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=(500, 3, 2))
    return truth, truth + draw.normal(size=truth.shape) * noise, np.zeros_like(truth)


def test_a_network_that_knows_gets_its_share():
    shares = network_shares(*drawn([0.01, 1.0]), BLOCKS)
    assert shares[0] > 0.99
    assert shares[1] == pytest.approx(0.5, abs=0.07)  # truth and noise are alike great


@pytest.mark.parametrize("seed", range(5))
def test_a_network_that_knows_nothing_gets_next_to_none(seed):
    draw = np.random.default_rng(seed)
    truth, network = draw.normal(size=(2, 500, 3, 2))
    shares = network_shares(truth, network, np.zeros_like(truth), BLOCKS)
    assert (shares < 0.08).all()
    assert (network_shares(truth, -truth, np.zeros_like(truth), BLOCKS) == 0).all()


def test_the_blend_is_never_worse_than_its_baseline_where_it_was_set():
    for seed, noise in enumerate((0.1, 1, 3, 10)):
        truth, network, baseline = drawn(noise, seed)
        share = network_shares(truth, network, baseline, BLOCKS)
        blend = baseline + share * (network - baseline)
        assert ((truth - blend) ** 2).mean() <= ((truth - baseline) ** 2).mean()


def test_one_stretch_of_time_cannot_tell_what_is_chance():
    truth, network, baseline = drawn([0.5, 5.0])
    shares = network_shares(truth, network, baseline, np.zeros(500, int))
    assert shares.tolist() == [0, 0]


def test_a_network_that_is_the_baseline_divides_by_nothing():
    truth, _, baseline = drawn(1)
    assert np.isfinite(network_shares(truth, baseline, baseline, BLOCKS)).all()


# ---- layers


def finished(median=True, blend=True, name="drift"):
    model = forecaster(CONFIG, SHAPE)
    randomise(model)
    draw = np.random.default_rng(3)
    calibration = Calibration(
        np.array([1.5, 0, 1.5], np.float32) * np.ones((4, 2, 3), np.float32),
        np.array([-0.2, 0, 0.2], np.float32) * np.ones((4, 2, 3), np.float32),
        np.array([0.5, 2], np.float32),
        (9.0,) * 4,
    )
    share = np.array([0.25, 1.0], np.float32)
    made = Blend(naive_map(name, 6, 4, 2), share) if blend else None
    values = draw.normal(size=(5, 6, 3)).astype(np.float32)
    return model, finished_forecaster(model, made, calibration, median), values


@pytest.mark.parametrize("name", NAIVE)
def test_the_blend_by_hand(name):
    model, whole, values = finished(name=name)
    network = np.asarray(model({"values": values})["mean"])
    baseline = NAIVE[name](values[..., :2], 4, 2)
    wanted = baseline + np.array([0.25, 1]) * (network - baseline)
    np.testing.assert_allclose(whole({"values": values})["mean"], wanted, atol=1e-5)


@pytest.mark.parametrize("median", [True, False])
@pytest.mark.parametrize("blend", [True, False])
def test_the_intervals_by_hand(median, blend):
    model, whole, values = finished(median, blend)
    said, found = model({"values": values}), whole({"values": values})
    network, q = np.asarray(said["mean"]), np.asarray(said["quantiles"])
    mean = np.asarray(found["mean"])
    centre = mean if median else mean + q[..., 1] - network
    variance = values[..., :2].var(1)
    spread = np.sqrt((variance + [0.5, 2]) / [1, 4])[:, None, :]
    low = centre - spread * (1.5 * (q[..., 1] - q[..., 0]) + 0.2)
    np.testing.assert_allclose(found["quantiles"][..., 0], low, atol=1e-5)
    np.testing.assert_allclose(found["quantiles"][..., 1], centre, atol=1e-5)
    if median:
        np.testing.assert_array_equal(found["quantiles"][..., 1], mean)
    if not blend:
        np.testing.assert_array_equal(mean, network)


@pytest.mark.parametrize("median", [True, False])
@pytest.mark.parametrize("blend", [True, False])
def test_saved_and_exported_it_says_the_same(median, blend, tmp_path):
    _, whole, values = finished(median, blend)
    whole.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for part, wanted in whole({"values": values}).items():
        np.testing.assert_array_equal(again({"values": values})[part], wanted)
    values[1] = 3.0  # a window that never changes
    values[2] *= 1e6
    assert_same(whole, {"values": values})
    assert {out.name for out in build_onnx(whole).graph.output} == {"mean", "quantiles"}
