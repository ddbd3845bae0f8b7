"""Files of sound as people have them: every width and layout, and those that lie."""

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from common.errors import DataError
from pipelines import audio
from pipelines.audio import Sound, read_sound, resampled, sound_blocks
from pipelines.audio_program import wav_bytes

RATE = 16_000
TONE = (0.3 * np.sin(np.arange(RATE) * 0.1)).astype(np.float32)


def wav(path, samples=TONE, rate=RATE, subtype="PCM_16", **options):
    soundfile.write(path, samples, rate, subtype=subtype, **options)
    return path


def patched(whole, place, layout, value):
    size = struct.calcsize(layout)
    return whole[:place] + struct.pack(layout, value) + whole[place + size :]


@pytest.mark.parametrize(
    ("subtype", "apart"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-22), ("PCM_32", 2**-22), ("FLOAT", 0),
     ("DOUBLE", 0), ("ULAW", 0.02), ("ALAW", 0.02)],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["WAV", "WAVEX", "RF64", "AIFF"])
def test_every_width_and_layout(tmp_path, subtype, apart, layout):
    if not soundfile.check_format(layout, subtype):
        pytest.skip(f"{layout} has no {subtype}")
    found = read_sound(wav(tmp_path / "a.wav", subtype=subtype, format=layout))
    assert (found.rate, found.samples.dtype) == (RATE, np.float32)
    assert len(found.samples) == len(TONE)
    assert np.abs(found.samples - TONE).max() <= apart
    assert found.seconds == 1.0


@pytest.mark.parametrize("layout", ["FLAC", "OGG", "MP3"])
def test_compressed_files_whatever_they_are_called(tmp_path, layout):
    for name in (f"a.{layout.lower()}", "really.wav"):
        soundfile.write(tmp_path / name, TONE, RATE, format=layout)
        found = read_sound(tmp_path / name)
        assert found.rate == RATE
        assert abs(len(found.samples) - len(TONE)) <= 0.2 * RATE
        close = np.corrcoef(found.samples[2000:12000], TONE[2000:12000])[0, 1]
        assert close > 0.99


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_channels_are_averaged_in_either_order_of_bytes(tmp_path, endian):
    both = np.stack([TONE, np.zeros_like(TONE), -TONE, TONE], 1)
    found = read_sound(wav(tmp_path / "a.wav", both, endian=endian))
    assert np.abs(found.samples - TONE / 4).max() < 2**-14


def test_a_part_of_a_file(tmp_path):
    path = wav(tmp_path / "a.wav", subtype="FLOAT")
    part = read_sound(path, 0.25, 0.5)
    assert np.array_equal(part.samples, TONE[RATE // 4 : RATE // 2])
    assert np.array_equal(read_sound(path, 0.9).samples, TONE[9 * RATE // 10 :])
    # The clocks of those who write manifests are not exact.
    assert len(read_sound(path, 0.5, 1.05).samples) == RATE // 2
    with pytest.raises(DataError, match=r"a\.wav lasts 1\.00 seconds; .* 0\.5 to 2 is not in it"):
        read_sound(path, 0.5, 2.0)
    with pytest.raises(DataError, match="ends before it begins"):
        read_sound(path, 3.0)


def test_resampling_is_that_of_soxr():
    assert np.array_equal(resampled(TONE, RATE, 8000), soxr.resample(TONE, RATE, 8000))
    assert resampled(TONE, RATE, RATE) is TONE
    assert len(Sound(TONE[:0], RATE).at(8000).samples) == 0


def test_sounds_in_memory():
    rows = [np.int16([0, 16384, -32768]), np.uint8([128, 192, 0]), np.float64([0, 0.5, -1]),
            [0, 0.5, -1], np.int32([0, 2**30, -(2**31)])]  # fmt: skip
    for row in rows:
        for raw in (row, {"audio": row}, {"audio": row, "rate": 8000}):
            found = Sound.of(raw, 8000)
            assert found.rate == 8000
            assert found.samples == pytest.approx([0, 0.5, -1])
    found = Sound.of(wav_bytes(TONE, 11_025), 8000)
    assert (found.rate, len(found.samples)) == (11_025, len(TONE))


@pytest.mark.parametrize(
    ("raw", "words"),
    [({"rate": 8000}, "'audio'"), ({"audio": [0.0], "rate": "fast"}, "the rate is 'fast'"),
     ({"audio": [0.0], "rate": 8000.5}, "8000.5"), ({"audio": [0.0], "rate": 5}, "from 1000"),
     ({"audio": [0.0], "rate": float("nan")}, "nan"), ([[0.0, 1.0]], "one channel"),
     ([float("inf")], "infinity"), (["a"], "no row of numbers"), (1e300, "one channel"),
     ([1e300], "infinity"), (b"RIFF", "no sound"), (b"", "no sound")],
)  # fmt: skip
def test_what_is_no_sound_in_memory(raw, words):
    with pytest.raises(DataError, match=words):
        Sound.of(raw, 8000)


# ---- headers that lie, and files that are cut off


@pytest.fixture
def whole(tmp_path):
    return wav(tmp_path / "ok.wav").read_bytes()


DATA = 40  # where a plain header has the length of the samples


def refused(path, content, *words):
    path.write_bytes(content)
    for source in (path, io.BytesIO(content)):
        with pytest.raises(DataError) as caught:
            read_sound(source)
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        for word in words:
            assert word in message, message
    with pytest.raises(DataError, match=path.name):
        list(sound_blocks(path))


@pytest.mark.parametrize("bytes_left", [44, 45, 20_000, 20_001, 32_043])
def test_a_wav_that_is_cut_off(tmp_path, whole, bytes_left):
    words = ("cut off", "promises 32000 bytes", f"{bytes_left - 44} are there")
    refused(tmp_path / "cut.wav", whole[:bytes_left], *words)


@pytest.mark.parametrize("bytes_left", [1, 4, 12, 30, 43])
def test_a_wav_that_is_cut_off_within_its_header(tmp_path, whole, bytes_left):
    refused(tmp_path / "cut.wav", whole[:bytes_left], "no sound")


@pytest.mark.parametrize("layout", ["FLAC", "OGG", "MP3"])
def test_other_files_that_are_cut_off(tmp_path, layout):
    soundfile.write(tmp_path / "a.bin", TONE, RATE, format=layout)
    content = (tmp_path / "a.bin").read_bytes()
    refused(tmp_path / "cut.bin", content[: len(content) // 2])


def test_a_header_that_promises_too_little(tmp_path, whole):
    for length in (0, 1000):
        words = ("goes on where its header says", f"{32_000 - length} more")
        refused(tmp_path / "a.wav", patched(whole, DATA, "<I", length), *words)


def test_a_header_that_was_written_before_the_length_was_known(tmp_path, whole):
    for length in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000):
        content = patched(patched(whole, DATA, "<I", length), 4, "<I", 0xFFFFFFFF)
        (tmp_path / "pipe.wav").write_bytes(content)
        assert len(read_sound(tmp_path / "pipe.wav").samples) == RATE


def test_a_header_that_lies_about_the_rate(tmp_path, whole):
    for rate in (0, 100, 8000, 48_000, 4_000_000_000):
        content = patched(whole, 24, "<I", rate)
        refused(tmp_path / "a.wav", content, "contradicts itself", str(rate), "16000 samples")
        both = patched(content, 28, "<I", min(2 * rate, 2**32 - 1))
        if not 1000 <= rate <= 384_000:
            refused(tmp_path / "a.wav", both)


def test_chunks_around_the_samples_are_no_lie(tmp_path, whole):
    note = b"junk" + struct.pack("<I", 5) + b"seven\0"
    (tmp_path / "a.wav").write_bytes(whole[:36] + note + whole[36:] + note + b"ID3 and so on")
    assert len(read_sound(tmp_path / "a.wav").samples) == RATE


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"<html>404 Not Found</html>", "no sound"), (b"hello" * 9999, "no sound"),
     (b"version https://git-lfs.github.com/spec/v1\nsize 9\n", "no sound"),
     (b"\0" * 5000, "no sound"), (b"RIFF\0\0\0\0WAVE", "no sound"),
     (bytes(range(256)), "no sound")],
)  # fmt: skip
def test_what_is_no_sound_at_all(tmp_path, content, words):
    refused(tmp_path / "page.wav", content, words)


def test_paths_of_nothing(tmp_path):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(DataError, match=r"empty\.wav is empty"):
        read_sound(tmp_path / "empty.wav")
    for path in (tmp_path, tmp_path / "none.wav"):
        with pytest.raises(DataError, match="there is no such file"):
            read_sound(path)


def test_samples_that_are_no_numbers(tmp_path):
    samples = TONE.copy()
    samples[5000] = np.nan
    with pytest.raises(DataError, match=r"nan\.wav holds NaN or infinity"):
        read_sound(wav(tmp_path / "nan.wav", samples, subtype="FLOAT"))


def test_silence_and_clipping_are_sounds(tmp_path):
    assert not read_sound(wav(tmp_path / "a.wav", 0 * TONE)).samples.any()
    loud = read_sound(wav(tmp_path / "b.wav", np.clip(100 * TONE, -1, 1))).samples
    assert np.abs(loud).max() <= 1
    assert len(read_sound(wav(tmp_path / "c.wav", TONE[:0])).samples) == 0


# ---- files that are longer than memory


def test_a_long_file_is_read_in_blocks(tmp_path, monkeypatch):
    path = wav(tmp_path / "long.wav", np.tile(TONE, 7)[:100_001], subtype="FLOAT")
    monkeypatch.setattr(audio, "_BLOCK", 30_000)
    blocks = list(sound_blocks(path, seconds=2.5))
    assert [len(one.samples) for one in blocks] == [40_000, 40_000, 20_001]
    joined = np.concatenate([one.samples for one in blocks])
    assert np.array_equal(joined, read_sound(path).samples)
    monkeypatch.setattr(audio, "MAX_SAMPLES", 50_000)
    with pytest.raises(DataError, match=r"long\.wav: .* --stream"):
        read_sound(path)
    assert len(read_sound(path, 1.0, 3.0).samples) == 2 * RATE


def test_two_hours_are_read_in_bounded_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        for _ in range(120):
            file.writeframes(bytes([128, 130]) * 30 * 8000)
    tracemalloc.start()
    seconds = sum(one.seconds for one in sound_blocks(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds == 7200
    assert most < 10 * 2**20, "two hours as float32 are 230 MB"


def test_wav_files_of_the_standard_library_agree(tmp_path):
    path = tmp_path / "a.wav"
    Path(path).write_bytes(wav_bytes(TONE, RATE))
    with wave.open(str(path)) as file:
        plain = np.frombuffer(file.readframes(RATE), "<i2") / 32768
    assert np.array_equal(read_sound(path).samples, plain.astype(np.float32))
