"""The layers of models that hear: what training changes, and what is levelled."""

import keras
import numpy as np
import onnxruntime
import pytest

from models.audio import (
    AUGMENTED,
    DECIBEL,
    BandConvolution,
    Frames,
    Levelled,
    SoundAugment,
    levelled,
)
from models.audio_config import AudioConfig
from models.keyword import keyword_model
from models.keyword_config import KeywordConfig
from serving.native_onnx import export_onnx

BANDS, STACK = 6, 2
QUIET = {"gain_db": 0.0, "noise_db": 200.0, "warp": 0.0, "tempo": 0.0, "shift": 0, "time_masks": 0,
         "time_mask": 4, "band_masks": 0, "band_mask": 3}  # fmt: skip


def augment(mean=None, scale=None, spectral=True, **changes):
    mean, scale = mean or [0.0] * BANDS, scale or [1.0] * BANDS
    return SoundAugment(BANDS, spectral, mean, scale, {**QUIET, **changes}, seed=3)


def frames(rows=3, steps=20, seed=0):
    draw = np.random.default_rng(seed)
    inside = (np.arange(steps) < np.array([steps, 7, 0])[:rows, None]).astype(np.int32)
    x = draw.normal(size=(rows, steps, STACK * BANDS)).astype(np.float32)
    return (x * inside[..., None]).astype(np.float32), inside


def test_every_setting_of_augmentation_is_one_of_the_model():
    assert set(AUGMENTED) == set(QUIET) <= set(AudioConfig.names())


def test_without_training_nothing_changes():
    x, inside = frames()
    layer = augment(gain_db=6.0, noise_db=0.0, warp=0.3, tempo=0.3, shift=3, time_masks=2)
    assert np.array_equal(layer(x, inside), x)
    assert np.allclose(augment()(x, inside, training=True), x, atol=1e-4)


@pytest.mark.parametrize("changes", [
    {"gain_db": 6.0}, {"noise_db": 0.0}, {"warp": 0.3}, {"tempo": 0.3}, {"shift": 3},
    {"time_masks": 2}, {"band_masks": 2},
], ids=str)  # fmt: skip
def test_each_change_is_one_and_stays_inside(changes):
    x, inside = frames()
    layer = augment(**changes)
    found = [np.asarray(layer(x, inside, training=True)) for _ in range(4)]
    for one in found:
        assert one.shape == x.shape
        assert np.isfinite(one).all()
        assert not one[inside == 0].any()
    assert any(np.abs(one - x).max() > 0.05 for one in found)
    assert any(np.abs(one - found[0]).max() > 0.05 for one in found[1:])
    assert len({one[1, :7].tobytes() for one in found}) > 1, "short rows change too"


def test_gain_is_a_number_of_decibels_on_every_band():
    x, inside = frames(1)
    scale = [1.0, 2.0, 0.5, 1.0, 1.0, 4.0]
    added = np.asarray(augment(scale=scale, gain_db=6.0)(x, inside, training=True)) - x
    by = added.reshape(-1, BANDS) / np.array(scale)
    assert by == pytest.approx(by[0, 0], abs=1e-3)
    assert 0 < abs(by[0, 0]) <= 6 * DECIBEL


def test_noise_is_energy_that_is_added():
    """Silence under a loud sound becomes as loud as the noise."""
    x = np.zeros((1, 40, STACK * BANDS), np.float32)
    x[:, ::2] = -13.0  # digital silence between steps of energy 1
    layer = augment(noise_db=0.0)
    found = np.stack([layer(x, np.ones((1, 40), np.int32), training=True) for _ in range(20)])
    quiet = found[:, 0, ::2]
    assert quiet.min() >= -13.9
    # The mean energy is a half; noise is from 0 to 40 dB below that.
    levels = np.log(np.exp(quiet).mean((1, 2)))
    low, high = np.log(0.5) - 40 * DECIBEL - 0.5, np.log(0.5) + 0.5
    assert ((levels > low) & (levels < high)).all()
    assert np.ptp(levels) > 2


def test_cepstral_coefficients_have_no_bands_to_stretch():
    x, inside = frames()
    layer = augment(spectral=False, gain_db=6.0, noise_db=0.0, warp=0.3)
    assert np.allclose(layer(x, inside, training=True), x)


def test_tempo_worked_by_hand():
    """A ramp over time stays a ramp, steeper or flatter around its middle, and never goes on."""
    ramp = np.repeat(np.arange(21.0, dtype=np.float32)[None, :, None], STACK * BANDS, 2)
    layer = augment(tempo=0.4)
    for _ in range(5):
        found = np.asarray(layer(ramp, np.ones((1, 21), np.int32), training=True))[0, :, 0]
        assert found[10] == pytest.approx(10)
        slope = found[11] - found[10]
        assert 0.6 <= slope <= 1.4
        assert found == pytest.approx(np.clip(10 + slope * np.arange(-10, 11), 0, 20), abs=1e-3)


# ---- levels


def test_levels_worked_by_hand():
    layer = Levelled(floor=2.0, centre=False, mean=[1.0, 0.0], scale=[2.0, 1.0])
    # Energies are x / scale + mean: (3, 1), (0, -5); the loudest is 3, so the floor is 1.
    x = np.array([[[4.0, 1.0], [-2.0, -5.0], [99.0, 99.0]]], np.float32)
    inside = np.array([[1, 1, 0]], np.int32)
    assert np.allclose(layer(x, inside), [[[4, 1], [0, 1], [0, 0]]])
    both = Levelled(floor=2.0, centre=True, mean=[1.0, 0.0], scale=[2.0, 1.0])
    assert np.allclose(both(x, inside), [[[2, 0], [-2, 0], [0, 0]]])
    nothing = Levelled(floor=0.0, centre=False, mean=[1.0, 0.0], scale=[2.0, 1.0])
    assert np.allclose(nothing(x, inside), x * inside[..., None])


def test_levels_do_not_depend_on_gain_noise_or_padding():
    x, inside = frames(2)
    layer = Levelled(3.0, True, [0.5] * STACK * BANDS, [2.0] * STACK * BANDS)
    want = np.asarray(layer(x, inside))
    louder = (x + 2.0 * np.log(4.0)) * inside[..., None]  # energies times 4
    assert np.allclose(layer(louder, inside), want, atol=1e-4)
    longer = layer(np.pad(x, [(0, 0), (0, 9), (0, 0)]), np.pad(inside, [(0, 0), (0, 9)]))
    assert np.allclose(longer[:, :20], want, atol=1e-6)
    # What is below the floor may be any quieter: 3 below the loudest, in each row.
    energy = x / 2.0 + 0.5
    loudest = np.where(inside[..., None] == 1, energy, -99).max((1, 2), keepdims=True)
    quieter = np.where(energy < loudest - 3.0, x - 7.0, x) * inside[..., None]
    assert not np.array_equal(quieter, x)
    assert np.allclose(layer(quieter, inside), want, atol=1e-5)
    assert np.isfinite(layer(*frames(3))).all(), "a row without a step too"


def test_a_sounds_own_frames_are_levelled():
    shape = Frames(BANDS, STACK, True, (0.0,) * BANDS, (1.0,) * BANDS)
    layer = levelled(40.0, True, shape)
    assert layer.floor == pytest.approx(40 * np.log(10) / 10, rel=1e-4)
    assert len(layer.mean) == len(layer.scale) == STACK * BANDS
    cepstral = levelled(40.0, True, Frames(BANDS, STACK, False, shape.mean, shape.scale))
    assert cepstral.floor == 0
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()


# ---- the convolution


def test_a_convolution_worked_by_hand():
    """One filter that takes the second frame of a step as it is: its greatest of each three."""
    layer = BandConvolution(1, bands=7, reach=1, pool=3)
    layer.build((None, None, 14))
    layer.kernel.assign(np.array([[[0.0], [1.0]]], np.float32))
    x = np.zeros((1, 2, 14), np.float32)
    x[0, 1, 7:] = [1, 5, 2, -1, -3, -2, 4]
    x[0, 1, :7] = 9
    # Seven bands are filled up to nine by one on the left: (1, 5), (2, -1, -3), (-2, 4).
    assert np.asarray(layer(x)).tolist() == [[[0, 0, 0], [5, 2, 4]]]


def test_each_step_is_convolved_by_itself():
    x, _ = frames(2)
    layer = BandConvolution(5, BANDS, reach=4, pool=2)
    whole = np.asarray(layer(x))
    assert whole.shape == (2, 20, 3 * 5)
    assert np.allclose(layer(x[1:, 3:4]), whole[1:, 3:4], atol=1e-6)
    assert layer.compute_output_shape((2, 20, STACK * BANDS)) == whole.shape


@pytest.mark.parametrize("changes", [
    {"filters": 4}, {"filters": 4, "floor_db": 0.0}, {"centre": False}, {"pooling": "max"},
], ids=str)  # fmt: skip
def test_what_hears_is_exact_in_onnx(changes, tmp_path):
    shape = Frames(BANDS, STACK, True, (0.3,) * BANDS, (1.5,) * BANDS)
    config = KeywordConfig(units=4, embedding_dim=5).updated(**changes)
    model = keyword_model(config, 3, shape)
    core = keras.Model(model.input, model.output)
    export_onnx(core, tmp_path / "model.onnx")
    x, inside = frames()
    want = core.predict_on_batch({"frames": x, "inside": inside})["label"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (got,) = session.run(None, {"frames": x, "inside": inside})
    assert np.abs(got - want).max() < 1e-5
