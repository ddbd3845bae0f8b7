"""MIDI written and read back, and files that are none."""

import contextlib

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.midi import held_notes, read_midi, write_midi
from pipelines.piano_roll import PianoRoll

SOUNDING = st.frozensets(st.integers(21, 108), min_size=1, max_size=5)
STEPS = st.lists(st.one_of(SOUNDING, st.just(frozenset())), max_size=30)


@settings(max_examples=60, deadline=None)
@given(STEPS, SOUNDING, st.sampled_from([1, 2, 3, 4, 7, 12, 96]))
def test_what_is_written_is_read_back(tmp_path_factory, steps, last, per_beat):
    path = tmp_path_factory.mktemp("midi") / "piece.mid"
    steps = tuple(tuple(sorted(step)) for step in (*steps, last))  # silence at the end is no event
    piece = PianoRoll(steps, per_beat)
    write_midi(path, piece)
    assert read_midi(path, per_beat) == piece
    assert len(mido.MidiFile(str(path)).tracks) == 1


def made(path, messages, ticks=100, tracks=1):
    file = mido.MidiFile(ticks_per_beat=ticks)
    file.tracks.append(mido.MidiTrack(messages))
    file.save(str(path))
    return path


def on(note, time, channel=0, velocity=64):
    return mido.Message("note_on", note=note, time=time, channel=channel, velocity=velocity)


def off(note, time):
    return mido.Message("note_off", note=note, time=time)


def test_times_are_rounded_to_steps_and_every_note_has_one(tmp_path):
    # In ticks of a hundredth beat: 60 from 10 to 190, 64 for a moment at 110, 67 from 160 to 240.
    messages = [on(60, 10), on(64, 100), off(64, 2), on(67, 48), off(60, 30), off(67, 50)]
    path = made(tmp_path / "a.mid", messages)
    assert read_midi(path, 1).steps == ((60,), (60, 64), (67,))
    # In half beats: 60 in the steps 0 to 3, 64 in step 2, 67 from step 3 to step 4.
    assert read_midi(path, 2).steps == ((60,), (60,), (60, 64), (60, 67), (67,))


def test_notes_are_told_apart_from_what_sounds_like_them(tmp_path):
    """Percussion is left out, loudness 0 releases, and a note that is never released ends."""
    messages = [on(40, 0, channel=9), on(60, 0), on(60, 100, velocity=0), on(62, 0),
                mido.MetaMessage("end_of_track", time=200)]  # fmt: skip
    assert read_midi(made(tmp_path / "a.mid", messages), 1).steps == ((60,), (62,), (62,))


def test_held_notes_are_one():
    piece = PianoRoll(((60, 64), (60, 65), (), (60,)))
    assert held_notes(piece) == [(60, 0, 2), (64, 0, 1), (65, 1, 2), (60, 3, 4)]


def test_what_is_no_music_is_refused_with_the_file(tmp_path):
    good = made(tmp_path / "good.mid", [on(60, 0), off(60, 100)])
    content = good.read_bytes()
    cases = {
        "none.mid": (None, "not there"),
        "empty.mid": (b"", "whole"),
        "text.mid": (b"C E G\n" * 10, "cannot be read as MIDI"),
        "short.mid": (content[:-7], "whole"),
        "head.mid": (content[:10], "whole"),
    }
    for name, (data, words) in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=words) as error:
            read_midi(tmp_path / name, 1)
        assert name in str(error.value)
    silent = made(tmp_path / "silent.mid", [mido.MetaMessage("end_of_track", time=500)])
    with pytest.raises(DataError, match=r"silent\.mid holds no note"):
        read_midi(silent, 1)
    with pytest.raises(DataError, match=r"low\.mid: note 20 is not on the piano"):
        read_midi(made(tmp_path / "low.mid", [on(20, 0), off(20, 100)]), 1)
    long = made(tmp_path / "long.mid", [on(60, 2**27), off(60, 100)], ticks=1)
    with pytest.raises(DataError, match=r"long\.mid lasts"):
        read_midi(long, 1)


def test_every_beginning_of_a_file_is_refused_or_read(tmp_path):
    messages = [on(60, 0), on(64, 50), off(60, 50), off(64, 0)] * 3
    content = made(tmp_path / "whole.mid", messages).read_bytes()
    for size in range(len(content)):
        path = tmp_path / "part.mid"
        path.write_bytes(content[:size])
        with contextlib.suppress(DataError):  # and nothing else
            assert any(read_midi(path, 4).steps)
