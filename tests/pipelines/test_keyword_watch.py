"""Keywords in endless sound: equal answers whatever the pieces, and what counts as heard."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.audio import Sound, resampled
from pipelines.audio_background import (
    BACKGROUND,
    MAKERS,
    WHOLE,
    MadeSound,
    coloured_noise,
    usual_seconds,
    with_background,
)
from pipelines.audio_examples import SoundExample, sound_splits
from pipelines.audio_features import AudioPreprocessing
from pipelines.keyword import KeywordPreprocessor
from pipelines.keyword_watch import (
    NO_BACKGROUND,
    Detection,
    KeywordDecoding,
    KeywordDetector,
    KeywordWatch,
)
from pipelines.live import StreamResampler

RATE = 8000
LABELS = ("a", BACKGROUND, "b")


def tone(hertz, seconds, seed=0):
    time = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(size=len(time))
    return (0.3 * np.sin(2 * np.pi * hertz * time) + 1e-3 * noise).astype(np.float32)


def words(count=20):
    return [
        SoundExample("ab"[i % 2], memory=Sound(tone(500 + 700 * (i % 2), 0.4, i), RATE), line=i + 1)
        for i in range(count)
    ]


def splits_of(examples):
    return sound_splits({"train": examples}, name="tones", classes=True)


# ---- decisions


def detected(rows, **settings):
    detector = KeywordDetector(LABELS, KeywordDecoding(**settings), window=0.5)
    found = [detector.decide(np.array(row)) for row in rows]
    return [one for one in found if one is not None]


A, B, NONE = (0.9, 0.05, 0.05), (0.05, 0.05, 0.9), (0.05, 0.9, 0.05)


def test_decisions_worked_by_hand():
    rows = [NONE, NONE, A, A, A, NONE]
    # Averages of a over three: 0.05, 0.05, 0.333, 0.617, 0.9, 0.617.
    assert detected(rows, threshold=0.6) == [Detection(0.4, "a", pytest.approx(1.85 / 3))]
    assert detected(rows, threshold=0.9) == [Detection(0.5, "a", pytest.approx(0.9))]
    assert detected(rows, threshold=0.95) == []
    # Without smoothing each decision stands by itself; the window of 0.5 s is the wait.
    rows = [A, NONE] * 6
    assert [one.time for one in detected(rows, smoothing=0.0)] == [0.1, 0.7]
    assert [one.time for one in detected(rows, smoothing=0.0, refractory=0.9)] == [0.1, 1.1]
    assert [one.time for one in detected([A] * 12, smoothing=0.0)] == [0.1], "it was never below"


def test_after_a_keyword_another_waits_too():
    rows = [A, A, A, B, B, B, B, B, B]
    found = detected(rows, smoothing=0.1)
    assert [(one.time, one.label) for one in found] == [(0.1, "a"), (0.6, "b")]
    soon = detected(rows, smoothing=0.1, refractory=0.1)
    assert [(one.time, one.label) for one in soon] == [(0.1, "a"), (0.4, "b")]


def test_background_is_never_heard():
    assert detected([(0.0, 1.0, 0.0)] * 20, threshold=0.0, refractory=50.0)[0].label != BACKGROUND
    assert detected([(0.1, 0.9, 0.0)] * 20, threshold=0.5) == []


# ---- sound in pieces


@pytest.fixture(scope="module")
def preprocessor():
    config = AudioPreprocessing(bands=8, hop_ms=20.0, window_ms=32.0)
    return KeywordPreprocessor.adapt(config, with_background(splits_of(words()), 0.5, 0).train)


def loud_tones(request):
    """A model by hand: which of two frequencies a window has more of."""
    rows = []
    for audio in request["audio"].astype(np.float64):
        spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
        hertz = np.fft.rfftfreq(len(audio), 1 / RATE)
        a, b = (spectrum[np.abs(hertz - f) < 20].sum() for f in (500, 1200))
        rows.append(np.array([a, b, 0.02 * len(audio)]) / (a + b + 0.02 * len(audio)))
    return {"probabilities": np.array(rows, np.float32)}


def track():
    """a at 1.0 to 1.4 s, b at 2.5 to 2.9 s, a at 4.6 s to the end."""
    sound = 1e-3 * np.random.default_rng(5).normal(size=5 * RATE)
    for start, hertz in ((1.0, 500), (2.5, 1200), (4.6, 500)):
        sound[int(start * RATE) :][: int(0.4 * RATE)] += tone(hertz, 0.4)
    return sound.astype(np.float32)


def watched(preprocessor, pieces, batch=1, **settings):
    watch = KeywordWatch(preprocessor, loud_tones, KeywordDecoding(**settings), batch)
    found = [one for piece in pieces for one in watch.push(piece)]
    return found + list(watch.end())


def test_what_is_said_is_found_where_it_is_said(preprocessor):
    found = watched(preprocessor, [track()])
    assert [one.label for one in found] == ["a", "b", "a"]
    for one, (start, end) in zip(found, [(1.0, 1.4), (2.5, 2.9), (4.6, 5.0)], strict=True):
        assert start < one.time < end + preprocessor.window
        assert one.answer == {"time": one.time, "label": one.label, "probability": one.probability}
        assert one.text.endswith("%\n")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 300), st.integers(0, 100_000)), max_size=300),
    st.sampled_from([1, 3, 16]),
)
def test_answers_do_not_depend_on_the_pieces(preprocessor, sizes, batch):
    sound = track()
    cuts = np.minimum(np.cumsum(sizes), len(sound)) if sizes else []
    assert watched(preprocessor, np.split(sound, cuts), batch) == watched(preprocessor, [sound])


def test_samples_one_by_one(preprocessor):
    sound = track()[: 2 * RATE]
    assert watched(preprocessor, sound[:, None]) == watched(preprocessor, [sound])


def test_a_detection_comes_as_soon_as_it_is_known(preprocessor):
    watch = KeywordWatch(preprocessor, loud_tones, KeywordDecoding())
    for count, piece in enumerate(np.split(track(), 500), 1):
        if found := watch.push(piece):
            assert found[0].time == pytest.approx(count * 0.01)
            break
    else:
        pytest.fail("nothing was found")


def test_sound_shorter_than_a_window_is_heard_too(preprocessor):
    assert [one.label for one in watched(preprocessor, [tone(1200, 0.4)])] == ["b"]
    assert watched(preprocessor, []) == []


def test_a_model_without_background_says_so(preprocessor):
    assert KeywordWatch(preprocessor, loud_tones, KeywordDecoding()).notes == ()
    plain = KeywordPreprocessor.adapt(AudioPreprocessing(bands=8, window_ms=32.0), words())
    assert KeywordWatch(plain, loud_tones, KeywordDecoding()).notes == (NO_BACKGROUND,)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 20_000), max_size=30), st.sampled_from([8000, 11_025, 44_100]))
def test_resampling_does_not_depend_on_the_pieces(sizes, rate):
    sound = np.random.default_rng(0).normal(size=30_000).astype(np.float32)

    def streamed(pieces):
        stream = StreamResampler(rate, 16_000)
        return np.concatenate([*(stream.push(piece) for piece in pieces), stream.end()])

    whole = streamed([sound])
    cuts = np.minimum(np.cumsum(sizes), len(sound)) if sizes else []
    assert np.array_equal(streamed(np.split(sound, cuts)), whole)
    want = resampled(sound, rate, 16_000)
    assert abs(len(whole) - len(want)) <= 1
    size = min(len(whole), len(want))
    assert np.abs(whole[:size] - want[:size]).max() < 1e-3


# ---- what is added to training


def test_made_sounds_are_added_to_train_and_validation():
    before = splits_of(words(100))
    splits = with_background(before, 0.2, seed=3)
    made = [one for one in splits.train if isinstance(one, MadeSound)]
    share = round(0.2 * len(before.train))
    assert sum(one.target == BACKGROUND for one in made) == share
    assert sum(one.how == WHOLE for one in made) == share
    assert {one.how for one in made} == set(MAKERS)
    assert len(splits.validation) > len(before.validation)
    assert splits.test == before.test
    assert splits.fingerprint != before.fingerprint
    assert BACKGROUND in splits.notes[-1]
    again = with_background(before, 0.2, seed=3)
    other = with_background(before, 0.2, seed=4)
    for one, same, different in zip(splits.train, again.train, other.train, strict=True):
        assert np.array_equal(one.at(RATE), same.at(RATE))
        assert one.digest == same.digest
        assert not isinstance(one, MadeSound) or one.digest != different.digest


@pytest.mark.parametrize("how", MAKERS)
@pytest.mark.parametrize("lengths", [(3200,), (1, 0), (9000, 20)])
def test_whatever_words_are_like_made_sounds_are_sounds(how, lengths):
    parts = tuple(SoundExample("a", memory=Sound(tone(500, 2)[:n], RATE)) for n in lengths)
    for seed in range(10):
        one = MadeSound("a", how=how, parts=parts, rate=RATE, seconds=0.5, seed=(seed,))
        samples = one.at(RATE)
        assert samples.dtype == np.float32
        assert len(samples) == (lengths[0] if how == WHOLE and lengths[0] > 4000 else 4000)
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() < 4


def test_noise_has_the_loudness_that_is_asked_for():
    draw = np.random.default_rng(0)
    for length in (1, 2, 5000):
        noise = coloured_noise(length, draw)
        assert len(noise) == length
        assert np.mean(noise**2) == pytest.approx(1, rel=1e-3)


def test_a_window_holds_most_training_sounds():
    examples = [
        replace(one, memory=Sound(np.zeros(RATE * n // 10, np.float32), RATE))
        for n, one in enumerate(words(21), 1)
    ]
    assert usual_seconds(examples) == pytest.approx(1.9)
    assert usual_seconds(words()) == pytest.approx(0.4)
    assert usual_seconds(examples[:1]) == pytest.approx(0.3), "at least"
