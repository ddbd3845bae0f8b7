"""`seqloom train keyword` and `predict` with files of sound: streams, and bad files."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tasks
from pipelines import audio
from pipelines.audio_background import BACKGROUND
from pipelines.synthetic_keyword import RATE, tones
from serving.export import ExportOptions
from serving.predictor import Predictor
from serving.runtime.server import ServerOptions, running
from tasks.stages import listening
from tasks.stages.exporting import export
from tasks.stages.run_directory import Run
from tasks.stages.training import train
from tests.test_cli import answer, call

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sound.md").read_text(encoding="utf-8")
SMALL = {
    "layers": 1, "units": 24, "embedding_dim": 24, "epochs": 16, "learning_rate": 0.01,
    "average": 0.0, "dropout": 0.0, "pooling": "max",
}  # fmt: skip


def keys(digits, draw):
    """Keys of a telephone with pauses: ``<float32>[n]`` and where each ends in seconds."""
    parts, ends = [0.003 * draw.normal(size=RATE)], []
    for digit in digits:
        tone = 0.3 * tones(digit, int(0.15 * RATE), draw)
        parts.append(tone + 0.003 * draw.normal(size=len(tone)))
        ends.append(sum(map(len, parts)) / RATE)
        parts.append(0.003 * draw.normal(size=RATE))
    return np.concatenate(parts).astype(np.float32), ends


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run on two keys and background, and its bundle."""
    place = tmp_path_factory.mktemp("keys")
    draw = np.random.default_rng(0)
    for digit, name in ((0, "one"), (10, "nine")):
        (place / "data" / name).mkdir(parents=True)
        for i in range(80):
            tone = 0.3 * tones(digit, int(draw.uniform(0.13, 0.17) * RATE), draw)
            soundfile.write(place / "data" / name / f"{i}.wav", tone, RATE)
    task, run = tasks.get("keyword"), Run(place / "run")
    data = task.data_options(str(place / "data"), background=1.0)
    train(task, data, task.with_settings(task.settings, SMALL), run)
    export(run, place / "bundle", ExportOptions(("onnx",), ("fp32",), 0.01))
    return place


@pytest.fixture(scope="module")
def track(model):
    sound, ends = keys([0, 10, 0, 0], np.random.default_rng(1))
    soundfile.write(model / "track.wav", sound, RATE)
    return model / "track.wav", ends


def heard(*arguments):
    (found,) = answer("predict", *arguments, "--stream")["predictions"]
    return found["heard"]


def test_keywords_of_a_file_are_found_where_they_are(model, track):
    path, ends = track
    found = heard(model / "bundle", path)
    assert [one["label"] for one in found] == ["one", "nine", "one", "one"]
    for one, end in zip(found, ends, strict=True):
        assert end - 0.15 < one["time"] < end + 0.5


def test_a_run_a_bundle_and_a_server_hear_the_same(model, track):
    path, _ = track
    want = heard(model / "bundle", path)
    with running(model / "bundle", options=ServerOptions(rest_port=0, grpc_port=0)) as server:
        url = f"http://localhost:{server.rest_port}"
        others = [heard(model / "run", path), heard(model / "bundle", path, "--url", url)]
    for found in others:
        assert [(one["time"], one["label"]) for one in found] == [
            (one["time"], one["label"]) for one in want
        ]


def test_what_is_heard_is_shown_line_by_line(model, track):
    path, _ = track
    code, out, err = call("predict", model / "bundle", path, path, "--stream", "--threshold", "0.7")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == f"{path}:"
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert lines[1].split()[1:3] == ["s", "one"]


def test_settings_of_a_stream(model, track):
    path, _ = track
    assert heard(model / "bundle", path, "--threshold", "1") == []
    assert len(heard(model / "bundle", path, "--refractory", "60")) == 1
    code, _, err = call("predict", model / "bundle", path, "--threshold", "0.5")
    assert code == 2
    assert "--threshold is a setting of sound that is followed: add --stream" in err
    for flags, words in [(("--threshold", "2"), "from 0 to 1"), (("--longest", "3"), "--longest"),
                         (("--nothing", "3"), "nothing")]:  # fmt: skip
        code, _, err = call("predict", model / "bundle", path, "--stream", *flags)
        assert code == 2
        assert words in err


def test_another_rate_and_other_blocks_change_nothing(model, track, monkeypatch):
    path, _ = track
    want = heard(model / "bundle", path)
    for seconds in (0.013, 1.7, 100.0):
        monkeypatch.setattr(listening, "SECONDS", seconds)
        assert heard(model / "bundle", path) == want
    samples = audio.read_sound(path).at(44_100).samples
    both = np.stack([samples, samples], 1)
    soundfile.write(path.with_name("fast.flac"), both, 44_100)
    found = heard(model / "bundle", path.with_name("fast.flac"))
    assert [one["label"] for one in found] == [one["label"] for one in want]


def test_answers_to_single_files(model):
    found = answer("predict", model / "bundle", "--file", model / "data" / "nine")["predictions"]
    assert len(found) == 80
    assert set(found[0]["probabilities"]) == {"nine", "one", BACKGROUND}
    code, out, _ = call("predict", model / "bundle", model / "data" / "one" / "3.wav")
    assert code == 0
    assert out.startswith(("one ", "nine ", "background "))
    silence = Predictor(model / "bundle").predict([{"audio": np.zeros(n)} for n in (0, 1, 9000)])
    assert all(0 <= one["probability"] <= 1 for one in silence)


def test_the_page_listens_from_python(model, track, monkeypatch, capsys):
    code = re.search(r"^```python\n(.*?)^```", PAGE, re.S | re.M)[1]
    pieces = np.array_split(audio.read_sound(track[0]).samples, 99)
    monkeypatch.chdir(model)
    exec(code, {"microphone": pieces})
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()][:2] == ["one", "nine"]


# ---- what cannot be heard


def whole_wav(path):
    soundfile.write(path, 0.3 * np.sin(np.arange(RATE) * 0.3), RATE)
    return path.read_bytes()


DAMAGED = {
    "cut off": lambda content: content[: len(content) // 2],
    "contradicts itself": lambda content: content[:24] + struct.pack("<I", 96_000) + content[28:],
    "goes on where": lambda content: content[:40] + struct.pack("<I", 100) + content[44:],
    "no sound": lambda content: b"<html>not found</html>",
    "is empty": lambda content: b"",
}


@pytest.mark.parametrize("words", DAMAGED)
def test_bad_files_are_one_sentence_for_train_and_predict(model, tmp_path, words):
    bad = tmp_path / "data" / "one" / "bad.wav"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(DAMAGED[words](whole_wav(tmp_path / "whole.wav")))
    (tmp_path / "data" / "nine").mkdir()
    whole_wav(tmp_path / "data" / "nine" / "a.wav")
    commands = [
        ("train", "keyword", "--data", tmp_path / "data", "--out", tmp_path / "out"),
        ("predict", model / "bundle", bad),
        ("predict", model / "bundle", bad, "--stream"),
        ("predict", model / "bundle", "--file", bad.parent),
    ]
    for command in commands:
        code, out, err = call(*command)
        assert (code, out) == (2, ""), command
        assert len(err.strip().splitlines()) == 1
        assert words in err
        assert "bad.wav" in err
    assert not (tmp_path / "out").exists()


def test_streams_of_nothing(model):
    for command, words in [
        ((model / "bundle",), "no input"), ((model / "run", "none.wav"), "none.wav"),
    ]:  # fmt: skip
        code, _, err = call("predict", *command, "--stream")
        assert code == 2
        assert words in err


@pytest.mark.slow
def test_silence_clipping_and_all_alike_can_be_trained_on(tmp_path):
    for label, loud in (("quiet", 0.0), ("clipped", 100.0)):
        (tmp_path / label).mkdir()
        for i in range(12):
            sound = np.clip(loud * np.sin(np.arange(800 + i) * 0.1), -1, 1)
            soundfile.write(tmp_path / label / f"{i}.wav", sound, RATE)
    found = answer("train", "keyword", "--data", tmp_path, "--epochs", "1", "--units", "4",
                   "--embedding-dim", "4", "--out", tmp_path / "out")  # fmt: skip
    assert json.dumps(found["metrics"], allow_nan=False)
    assert np.isfinite(found["metrics"]["test"]["accuracy"])
