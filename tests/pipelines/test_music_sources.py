"""Where pieces come from, and what is refused."""

import gzip
import json

import numpy as np
import pytest

from common.errors import DataError
from pipelines.midi import write_midi
from pipelines.music_sources import load_music, one_piece, read_pieces
from pipelines.piano_roll import PianoRoll, checked_steps, notes_of, roll_of, steps_of
from pipelines.synthetic_music import BASS, BEATS, RANGES, synthetic_chorales

CHORD = [[60, 64, 67], [60, 65, 69], []]


def pieces(count, first=40):
    return [[[first + i, 70], [first + i]] for i in range(count)]


def test_parts_of_a_json_file(tmp_path):
    document = {"train": pieces(3), "valid": pieces(1, 50), "test": [CHORD]}
    path = tmp_path / "tunes.json"
    path.write_text(json.dumps(document))
    found = load_music(path)
    assert [len(part) for part in (found.train, found.validation, found.test)] == [3, 1, 1]
    assert found.test[0] == PianoRoll(((60, 64, 67), (60, 65, 69), ()))
    assert found.name == "tunes"
    assert load_music(tmp_path).fingerprint == found.fingerprint
    with gzip.open(tmp_path / "again.json.gz", "wt") as file:
        json.dump(document, file)
    assert load_music(tmp_path / "again.json.gz").fingerprint == found.fingerprint


def test_missing_parts_are_split_off_and_said(tmp_path):
    path = tmp_path / "tunes.json"
    path.write_text(json.dumps(pieces(20)))
    found = load_music(path)
    assert [len(part) for part in (found.train, found.validation, found.test)] == [16, 2, 2]
    assert len(found.notes) == 2


def test_folders_of_midi_files(tmp_path):
    for part, count in (("train", 3), ("dev", 1), ("test", 1)):
        (tmp_path / part / "deeper").mkdir(parents=True)
        for i in range(count):
            write_midi(tmp_path / part / "deeper" / f"{i}.mid", PianoRoll(((60 + i,), (64,)), 2))
    found = load_music(tmp_path, steps_per_beat=2)
    assert [len(part) for part in (found.train, found.validation, found.test)] == [3, 1, 1]
    assert found.train[0] == PianoRoll(((60,), (64,)), 2)
    one = tmp_path / "train" / "deeper" / "0.mid"
    assert one_piece(str(one), 2) == found.train[0]
    assert read_pieces(one, 2) == [found.train[0]]


@pytest.mark.parametrize(("document", "words"), [
    ("[[[60, 64]", r"tunes\.json:1"),
    ("{}", "an object"),
    ("7", "a number"),
    ('{"train": 7}', r"train holds a number"),
    ('{"train": [[60, 64]]}', r"nested 2 deep"),
    ('{"train": [[[[60]]]]}', r"nested 4 deep"),
    ('{"first": [[[60]]]}', r"'first' names no part"),
    ('{"valid": [[[60]]]}', r"train is missing"),
    ('{"train": [[[60]], []]}', r"piece 1 has no step"),
    ('{"train": [[[60], [20]]]}', r"piece 0, step 1: note 20 is not on the piano"),
    ('{"train": [[[60], [109]]]}', r"note 109"),
    ('{"train": [[["C"]]]}', r"'C' is no MIDI number"),
    ('{"train": [[[60.5]]]}', r"60.5 is no MIDI number"),
    ('{"train": [[[true]]]}', r"True is no MIDI number"),
    ('{"train": [[[60], 64]]}', r"step 1: 64 is no list of notes"),
    ('{"train": [], "test": [[[60]]]}', r"no example is left in the train part"),
])  # fmt: skip
def test_json_of_another_shape_is_refused(tmp_path, document, words):
    path = tmp_path / "tunes.json"
    path.write_text(document)
    with pytest.raises(DataError, match=words) as error:
        load_music(path)
    assert "tunes" in str(error.value)


def test_what_is_not_there_is_refused(tmp_path):
    for source, words in (
        (tmp_path / "nothing", "no such file"),
        (tmp_path, "holds no music"),
        ("synthetic:many", "must be a number"),
        ("synthetic:3", "ask for 10"),
        ({"train": []}, "give a path"),
    ):
        with pytest.raises(DataError, match=words):
            load_music(source)
    (tmp_path / "song.xyz").write_text("la la la")
    with pytest.raises(DataError, match=r"song\.xyz is no music"):
        load_music(tmp_path / "song.xyz")
    with pytest.raises(DataError, match="no JSON"):
        one_piece("[[60", 1)
    (tmp_path / "two.json").write_text(json.dumps(pieces(2)))
    with pytest.raises(DataError, match="--file"):
        one_piece(str(tmp_path / "two.json"), 1)


def test_notes_and_rolls_are_the_same_music():
    steps = checked_steps([[67, 60, 60], [], np.array([21, 108])], "it")
    assert steps == ((60, 67), (), (21, 108))
    notes = notes_of(steps, 5, 3)
    assert notes.tolist() == [[60, 67, 0], [0, 0, 0], [21, 108, 0], [-1] * 3, [-1] * 3]
    assert steps_of(notes) == [list(step) for step in steps]
    assert np.argwhere(roll_of(steps)).tolist() == [[0, 39], [0, 46], [2, 0], [2, 87]]


def test_synthetic_chorales_keep_the_rules_and_are_the_same_everywhere():
    found = synthetic_chorales(40, 3)
    assert found == synthetic_chorales(40, 3) != synthetic_chorales(40, 4)
    assert len(set(found)) == 40
    for piece in found:
        assert len(piece.steps) % BEATS == 0
        assert all(2 <= len(step) <= 4 for step in piece.steps)
        low, high = BASS[0], RANGES[0][1]
        assert all(low <= note <= high for step in piece.steps for note in step)
        # It ends on its tonic, a triad: the bass is the root, or the third.
        last = {note % 12 for note in piece.steps[-1]}
        assert any(last <= {r, (r + t) % 12, (r + 7) % 12} for r in range(12) for t in (3, 4))


def test_chorales_of_bach(shared_data):
    found = load_music(shared_data / "jsb_chorales")
    parts = (found.train, found.validation, found.test)
    assert [len(part) for part in parts] == [229, 76, 77]
    steps = [sum(len(piece.steps) for piece in part) for part in parts]
    assert steps == [13_807, 4_602, 4_725]
    notes = [n for part in parts for piece in part for step in piece.steps for n in step]
    assert (min(notes), max(notes)) == (43, 96)
