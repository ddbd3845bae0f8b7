"""Frames of sound: NumPy and TensorFlow alike, and both as librosa has them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from pipelines.audio import interpolated, length_at, resampled
from pipelines.audio_features import FLOOR, AudioFeatures, AudioPreprocessing
from pipelines.audio_graph import AudioFeaturesGraph
from pipelines.audio_graph import interpolated as interpolated_graph
from pipelines.audio_program import SoundProgram, audio_inputs
from pipelines.audio_program_graph import SoundGraph

APART = 1e-4


def noise(samples, seed=0, loudness=0.1):
    draw = np.random.default_rng(seed)
    return (loudness * draw.normal(size=samples)).astype(np.float32)


def chirp(samples, rate):
    time = np.arange(samples) / rate
    return np.sin(2 * np.pi * (50 + 0.2 * rate * time) * time).astype(np.float32)


@pytest.fixture(scope="module")
def librosa():
    """Compiled once: each process that imports it takes seconds for that."""
    return pytest.importorskip("librosa")


@pytest.mark.parametrize("features", ["log_mel", "mfcc"])
@pytest.mark.parametrize(
    ("rate", "window", "bands", "lowest", "highest"),
    [(16_000, 25.0, 40, 20.0, 0.0), (8_000, 25.0, 40, 20.0, 0.0), (22_050, 32.0, 64, 0.0, 8000.0),
     (11_025, 20.0, 13, 100.0, 4000.0)],
)  # fmt: skip
def test_frames_are_those_of_librosa(librosa, features, rate, window, bands, lowest, highest):
    ours = AudioFeatures(AudioPreprocessing(
        sample_rate=rate, features=features, window_ms=window, bands=bands, lowest_hz=lowest,
        highest_hz=highest, coefficients=12,
    ))  # fmt: skip
    for samples in (noise(rate), chirp(rate, rate), np.zeros(rate, np.float32)):
        # librosa has the window in the middle of what it transforms; here it is at its beginning.
        before = (ours.transform - ours.window) // 2
        energy = librosa.feature.melspectrogram(
            y=np.pad(samples, (before, ours.transform)).astype(np.float64), sr=rate,
            n_fft=ours.transform, win_length=ours.window, hop_length=ours.frame_hop, center=False,
            n_mels=bands, fmin=lowest, fmax=highest or rate / 2, dtype=np.float64,
        )  # fmt: skip
        want = np.log(energy + FLOOR)
        if features == "mfcc":
            want = librosa.feature.mfcc(S=want, n_mfcc=12)
        got = ours.frames(samples)
        assert len(got) <= want.shape[1]
        assert np.abs(got - want.T[: len(got)]).max() < APART


def test_frames_worked_by_hand():
    """A tone on a line of the spectrum: its energy is (window / 4) squared, by Hann's half."""
    ours = AudioFeatures(AudioPreprocessing(
        sample_rate=8000, window_ms=32.0, hop_ms=16.0, bands=20, stack=1, stride=1
    ))  # fmt: skip
    assert (ours.window, ours.transform, ours.frame_hop) == (256, 256, 128)
    line = 32  # of 129: 1000 Hz
    tone = np.cos(2 * np.pi * line * np.arange(256) / 256).astype(np.float32)
    peak, beside = (256 / 4) ** 2, (256 / 8) ** 2  # Hann spreads a line to its neighbours
    energy = np.zeros(129)
    energy[line - 1 : line + 2] = beside, peak, beside
    assert ours.frames(tone)[0] == pytest.approx(np.log(energy @ ours.filters + FLOOR), abs=1e-3)


def test_steps_and_what_they_are_made_of():
    ours = AudioFeatures(AudioPreprocessing(sample_rate=8000))  # frames of 200, every 80
    assert (ours.span, ours.hop) == (200 + 2 * 80, 160)
    assert [int(ours.steps(n)) for n in (0, 1, 360, 361, 520, 521)] == [0, 1, 1, 2, 2, 3]
    assert [int(ours.filled(n)) for n in (0, 1, 360, 361)] == [0, 360, 360, 520]
    samples = noise(2000)
    whole = ours(samples)
    assert whole.shape == (int(ours.steps(2000)), 3 * 40)
    for j in (0, 4, len(whole) - 2):
        alone = ours(samples[j * ours.hop : j * ours.hop + ours.span])
        assert np.array_equal(alone[0], whole[j]), "a step needs its own samples alone"


def test_training_sounds_are_standardised():
    ours = AudioFeatures(AudioPreprocessing(sample_rate=8000, stack=1, stride=1))
    sounds = [noise(4000, i, 0.02 + 0.1 * i) for i in range(5)]
    adapted = ours.adapted(sounds)
    frames = np.concatenate([adapted(samples) for samples in sounds])
    assert np.abs(frames.mean(0)).max() < 1e-3
    assert np.abs(frames.std(0) - 1).max() < 1e-3
    assert AudioFeatures.of(adapted.state()) == adapted


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"highest_hz": 9000.0}, "--highest-hz"), ({"lowest_hz": 5000.0}, "--lowest-hz"),
     ({"stride": 4}, "--stride 4"), ({"hop_ms": 50.0}, "--hop-ms 50"),
     ({"features": "mfcc", "coefficients": 50}, "--coefficients 50"), ({"bands": 300}, "--bands")],
)  # fmt: skip
def test_settings_that_do_not_go_together(wrong, words):
    with pytest.raises(ConfigError, match=words):
        AudioFeatures(AudioPreprocessing(sample_rate=8000).updated(**wrong))


# ---- two implementations

SETTINGS = st.builds(
    lambda rate, kind, window, hop, stack, stride, bands: AudioPreprocessing(
        sample_rate=rate, features=kind, window_ms=window, hop_ms=min(hop, window), stack=stack,
        stride=min(stride, stack), bands=bands, coefficients=min(8, bands), lowest_hz=0.0,
    ),
    st.sampled_from([4000, 8000, 11_025, 16_000]),
    st.sampled_from(["log_mel", "mfcc"]),
    st.sampled_from([20.0, 25.0, 31.5]),
    st.sampled_from([5.0, 10.0, 12.7]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(2, 16),
)  # fmt: skip
SAMPLES = st.one_of(
    st.lists(st.floats(-1, 1, width=32), max_size=50),
    st.builds(
        lambda n, seed, loud: noise(n, seed, loud).tolist(),
        st.integers(0, 3000), st.integers(0, 9), st.sampled_from([0.0, 1e-5, 0.1, 1e3]),
    ),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(SETTINGS, st.lists(SAMPLES, min_size=1, max_size=3), st.integers(0, 40))
def test_numpy_and_the_graph_give_the_same_steps(config, sounds, behind):
    ours = AudioFeatures(config)
    ours = ours.adapted([noise(2000), *(np.array(one, np.float32) for one in sounds)])
    lengths = np.array([len(one) for one in sounds], np.int32)
    audio = np.zeros((len(sounds), lengths.max() + behind), np.float32)
    for row, one in zip(audio, sounds, strict=True):
        row[: len(one)] = one
    steps, counts = AudioFeaturesGraph(ours)(tf.constant(audio), tf.constant(lengths))
    for found, count, one in zip(steps.numpy(), counts.numpy(), sounds, strict=True):
        want = ours(np.array(one, np.float32))
        assert count == len(want) == ours.steps(len(one))
        assert np.abs(found[:count] - want).max(initial=0) < APART
        assert not found[count:].any()


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(SAMPLES, st.integers(1000, 48_000)), min_size=1, max_size=3),
    st.sampled_from([8000, 16_000]),
)
def test_a_request_of_any_rates_is_resampled_alike(sounds, wanted):
    class Program(SoundProgram):
        features = AudioFeatures(AudioPreprocessing(sample_rate=wanted, bands=8))
        signature = {"inputs": audio_inputs(wanted)}  # noqa: RUF012

    lengths = np.array([len(one) for one, _ in sounds], np.int32)
    audio = np.zeros((len(sounds), max(1, lengths.max())), np.float32)
    for row, (one, _) in zip(audio, sounds, strict=True):
        row[: len(one)] = one
    request = {"audio": audio, "length": lengths,
               "rate": np.array([rate for _, rate in sounds], np.int32)}  # fmt: skip
    want = Program().encode(request)
    got = SoundGraph(Program.features).encode({k: tf.constant(v) for k, v in request.items()})
    assert np.array_equal(got["steps"], want["steps"])
    assert np.array_equal(got["inside"], want["inside"])
    loud = max(1.0, np.abs(want["frames"]).max(initial=0))
    assert np.abs(got["frames"].numpy() - want["frames"]).max(initial=0) < APART * loud


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 16_000), (8000, 16_000), (48_000, 8000)])
def test_resampling_for_requests_is_close_to_that_for_training(rate, wanted):
    """Tones below what both rates can carry come through, those above vanish."""
    lower = min(rate, wanted)
    time, after = np.arange(rate) / rate, np.arange(wanted) / wanted
    middle = slice(wanted // 10, -wanted // 10)
    for hertz in (100, 0.2 * lower, 0.4 * lower):
        tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        want = np.sin(2 * np.pi * hertz * after)
        for found in (interpolated(tone, rate, wanted), resampled(tone, rate, wanted)):
            assert len(found) == length_at(len(tone), rate, wanted) == wanted
            assert np.abs(found - want)[middle].max() < 3e-3
    if rate > wanted:
        tone = np.sin(2 * np.pi * 0.6 * wanted * time).astype(np.float32)
        assert np.abs(interpolated(tone, rate, wanted))[middle].max() < 3e-3


def test_resampling_in_a_graph():
    for rate in (1000, 11_025, 384_000):
        for count in (0, 1, 2000):
            samples = noise(count, count)
            want = interpolated(samples, rate, 8000)
            got = interpolated_graph(tf.constant(samples), tf.constant(rate), 8000).numpy()
            assert got.shape == want.shape == (length_at(count, rate, 8000),)
            assert np.abs(got - want).max(initial=0) < 1e-6


def test_a_long_sound_has_the_frames_of_its_parts():
    """Frames are made some thousands at a time."""
    ours = AudioFeatures(AudioPreprocessing(sample_rate=4000, bands=4, stack=1, stride=1))
    samples = noise(4000 * 60)
    whole = ours.frames(samples)
    assert len(whole) > 4096
    at = 4095
    part = ours.frames(samples[at * ours.frame_hop :][: 3 * ours.window])
    assert np.array_equal(whole[at : at + len(part)], part)
