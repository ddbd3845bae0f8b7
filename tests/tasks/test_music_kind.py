"""The kind music: what its flags and files mean, what it refuses; the examples of its page."""

import json
import re
import wave
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest

import tasks
from common.errors import ConfigError, DataError
from pipelines.answer_files import check_answer_file
from pipelines.midi import read_midi, write_midi
from pipelines.piano_roll import PianoRoll
from pipelines.splits import Splits
from reports.synthesiser import RATE, frequency, rendered
from serving import Predictor
from serving.runtime.server import ServerOptions, running
from tasks.kinds.contract import DataOptions
from tasks.kinds.music.baseline import markov_scores, nll_scores
from tasks.stages.asking import ask, client_of
from tasks.stages.exporting import export
from tasks.stages.predicting import predict
from tasks.stages.run_directory import Run
from tasks.stages.training import train

TASK = tasks.get("music")
OPENING = ((60, 64, 67), (60, 65, 69), (59, 62, 67))
PAGE = Path(__file__).resolve().parents[2] / "docs" / "music.md"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with the output nade, two steps a beat, and its bundle."""
    folder = tmp_path_factory.mktemp("music")
    for i in range(12):
        write_midi(folder / "tunes" / f"{i}.mid", PianoRoll(((50 + i,), (60,), (62, 66)) * 4, 2))
    settings = TASK.with_settings(
        TASK.settings, {"units": 8, "epochs": 1, "output": "nade", "nade_units": 4, "steps": 5}
    )
    run, data = Run(folder / "run"), TASK.data_options(str(folder / "tunes"), steps_per_beat=2)
    train(TASK, data, settings, run)
    export(run, folder / "bundle")
    return folder


@pytest.fixture
def opening(tmp_path):
    path = tmp_path / "opening.mid"
    write_midi(path, PianoRoll(OPENING, 2))
    return str(path)


@pytest.mark.slow
def test_an_opening_is_continued_into_a_file_of_music(trained, opening, tmp_path):
    written = {}
    for source in ("run", "bundle"):
        out = tmp_path / f"{source}.mid"
        found = predict(trained / source, [opening], out=out, name="generate")
        assert found.files == [out]
        piece = read_midi(out, 2)
        assert piece.steps[: len(OPENING)] == OPENING
        rest = [list(step) for step in piece.steps[len(OPENING) :]]
        notes = found.answers[0]["notes"]
        assert len(notes) == 5  # as trained
        assert rest == notes[: len(rest)]
        assert not any(notes[len(rest) :])  # silence at the end is no event of MIDI
        written[source] = found.answers[0]["notes"]
        assert found.lines[0].startswith("log-probability -")
    assert written["run"] == written["bundle"]
    more = predict(trained / "bundle", [opening], flags={"steps": 9, "seed": 3}, name="generate")
    assert len(more.answers[0]["notes"]) == 9


def test_a_server_continues_as_its_bundle_does(trained, opening):
    flags = {"steps": 4, "seed": 7}
    (want,) = predict(trained / "bundle", [opening], flags=flags, name="generate").answers
    with running(trained / "bundle", options=ServerOptions(rest_port=0, grpc_port=0)) as server:
        for url in (f"http://localhost:{server.rest_port}", f"grpc://localhost:{server.grpc_port}"):
            client = client_of(url, trained / "bundle")
            found = predict(trained / "bundle", [opening], None, flags, None, client, "generate")
            assert found.answers[0]["notes"] == want["notes"]


def test_a_server_is_asked_without_a_bundle_too(trained):
    with running(trained / "bundle", options=ServerOptions(rest_port=0, grpc_port=0)) as server:
        client = client_of(f"http://localhost:{server.rest_port}/v1/models/music", Path("nowhere"))
        row = json.dumps({"notes": [[60, 64], [62, 0]]})
        (scored,) = ask(client, [row])
        assert scored["length"] == 2
        (found,) = ask(client, [row], settings={"steps": 3}, signature="generate")
        assert len(found["continuation"]) == 3
        with pytest.raises(DataError, match="no signature sing"):
            ask(client, [row], signature="sing")


def test_scores_sound_and_pictures(trained, opening, tmp_path):
    found = predict(trained / "bundle", [opening, "[[60], []]"], out=tmp_path / "scores.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [row["input"] for row in rows] == [[list(step) for step in OPENING], [[60], []]]
    assert rows[0]["nll"] == found.answers[0]["nll"]
    assert re.fullmatch(r"nll [\d.]+ a step: C4 \| -", found.lines[1])
    for name in ("song.wav", "song.png"):
        (path,) = predict(trained / "bundle", [opening], out=tmp_path / name).files
        assert path.stat().st_size > 1000
    with wave.open(str(tmp_path / "song.wav")) as file:
        seconds = file.getnframes() / file.getframerate()
    assert 1.0 < seconds < 1.3  # three half beats, ninety a minute, and the last note's end
    assert (tmp_path / "song.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_of_pieces_is_read_as_one_of_inputs(trained, tmp_path):
    path = tmp_path / "tunes.json"
    path.write_text(json.dumps([[[60], [62]], [[64]]]))
    found = predict(trained / "bundle", [], path, out=tmp_path / "out.csv")
    assert found.raw == [[[60], [62]], [[64]]]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(("inputs", "more", "words"), [
    (["nowhere.mid"], {}, "not there"),
    (["[[20]]"], {}, "note 20"),
    (["[[60"], {}, "no JSON"),
    (["[[60]]"], {"flags": {"steps": 5}}, "add --program generate"),
    (["[[60]]"], {"flags": {"steps": 0}, "name": "generate"}, "steps is 0"),
    (["[[60]]"], {"name": "step"}, "there is serving_default, generate"),
    (["[[60]]"], {"name": "sing"}, "no program 'sing'"),
    (["[[]]"], {"out": "silent.mid"}, "would hold no note"),
    (["[[60]]", "[[62]]"], {"out": "two.mid"}, "one piece; 2 were given"),
])  # fmt: skip
def test_what_cannot_be_answered_is_said(trained, tmp_path, inputs, more, words):
    if "out" in more:
        more = {**more, "out": tmp_path / more["out"]}
    with pytest.raises((DataError, ConfigError), match=words):
        predict(trained / "bundle", inputs, **more)
    assert not list(tmp_path.iterdir())


def test_formats_of_answers_are_the_kinds():
    check_answer_file(Path("song.mid"), TASK.answer_formats)
    with pytest.raises(DataError, match=r"\.csv, \.tsv or \.jsonl"):
        check_answer_file(Path("song.mid"))
    with pytest.raises(DataError, match=r"\.mid, \.wav, \.png or \.jsonl"):
        check_answer_file(Path("song.ogg"), TASK.answer_formats)


def test_music_is_read_in_one_direction():
    settings = TASK.with_settings(TASK.settings, {"bidirectional": True})
    with pytest.raises(ConfigError, match="--bidirectional"):
        TASK.check(settings, DataOptions("nowhere"))


def test_without_its_library_midi_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "mido", None)
    with pytest.raises(DataError, match=r"seqloom\[music\]"):
        write_midi(tmp_path / "a.mid", PianoRoll(OPENING))
    assert not list(tmp_path.iterdir())


def test_scores_are_of_all_steps_together():
    rows = [np.array([-9.0, -1.0, -2.0]), np.array([-7.0]), np.array([])]
    assert nll_scores(rows) == {"nll": 1.5, "nll_with_first": 19 / 4}
    assert nll_scores([]) == {"nll": 0.0, "nll_with_first": 0.0}


def test_the_baseline_knows_a_tune_by_its_last_chord():
    tune = PianoRoll(((60,), (64,), (67,)) * 8)
    splits = Splits([tune], [tune], [replace(tune, steps=((60,), (67,)) * 6)], "it", "", [])
    found = markov_scores(splits)
    assert found["validation"]["nll"] < 0.2 < 3 < found["test"]["nll"]


def test_sound_has_the_pitch_of_its_notes():
    sound = rendered(PianoRoll(((69,), (69,)), 1), beats_a_minute=60)
    assert np.abs(sound).max() == pytest.approx(0.9, abs=1e-3)
    spectrum = np.abs(np.fft.rfft(sound))
    loudest = np.argmax(spectrum) * RATE / len(sound)
    assert loudest == pytest.approx(frequency(69), abs=1.0)
    assert not rendered(PianoRoll(((), ()))).any()


def test_written_midi_opens_as_others_read_it(tmp_path):
    write_midi(tmp_path / "a.mid", PianoRoll(((60,), (60,), (62,)), 2))
    seconds = mido.MidiFile(str(tmp_path / "a.mid")).length
    assert seconds == pytest.approx(3 / 2 * 60 / 90)


def test_every_setting_that_the_page_names_is_there():
    named = set(re.findall(r"--([a-z][a-z-]+)", PAGE.read_text(encoding="utf-8")))
    known = {name.replace("_", "-") for name in TASK.names()}
    known |= {f"no-{name}" for name in known} | {"data", "file", "out", "program", "table"}
    assert named <= known


def test_the_examples_of_the_page_run(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M):
        exec(code, {"folder": tmp_path})
    (document,) = re.findall(r"^```json\n(.*?)^```", text, re.S | re.M)
    (tmp_path / "tunes.json").write_text(document)
    splits = TASK.load(DataOptions(str(tmp_path / "tunes.json")))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [2, 1, 1]


def test_the_request_of_the_page_is_answered(trained):
    (body,) = re.findall(r"-d '(\{.*?\})'", PAGE.read_text(encoding="utf-8"), re.S)
    asked = json.loads(body)
    (row,) = asked["instances"]
    predictor = Predictor(trained / "bundle")
    inputs = predictor.model.programs[asked["signature_name"]].signature["inputs"]
    request = {name: np.array([value], inputs[name]["dtype"]) for name, value in row.items()}
    response = predictor.run(request, asked["signature_name"])
    assert response["continuation"].shape[:2] == (1, 8)
