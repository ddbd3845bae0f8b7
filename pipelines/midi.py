"""MIDI files as pieces, and pieces as MIDI files.

Only what sounds when is read: not how loud, by which instrument or at which speed. Percussion,
which is channel 10, has no pitch and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import DataError
from common.files import write_aside
from pipelines.piano_roll import HIGHEST, LOWEST, PianoRoll

EXTENSIONS = (".mid", ".midi")
PERCUSSION = 9  # channel 10, counted from 0
TICKS = 480  # of a beat, in files that are written
BEATS_A_MINUTE, LOUDNESS = 90, 80
MAX_STEPS = 200_000  # of a piece: more than a day's music, in quarters


def read_midi(path: Path, per_beat: int) -> PianoRoll:
    """A piece from a file.

    A note sounds in the steps that it covers by more than half, and in one at least.

    Args:
        path: of the file.
        per_beat: steps of a beat.

    Raises:
        DataError: it is no MIDI file, or cut off; it has no note, or one that is not on the piano.
    """
    mido = _mido()
    try:
        file = mido.MidiFile(str(path))
        spans = [span for track in file.tracks for span in _spans(track)]
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there; check the path") from error
    except (OSError, EOFError, ValueError, LookupError, TypeError, mido.KeySignatureError) as error:
        reason = str(error) or "it ends too early"
        raise DataError(f"{path} cannot be read as MIDI ({reason}); is the file whole?") from error
    if not 0 < file.ticks_per_beat < 0x8000:
        raise DataError(f"{path} counts film frames, not beats; save it with beats")
    if not spans:
        raise DataError(f"{path} holds no note; give a MIDI file with music, or leave it away")
    ticks = file.ticks_per_beat / per_beat
    return PianoRoll(_steps(path, spans, ticks), per_beat)


def _spans(track: Any) -> Iterator[tuple[int, int, int]]:
    """Note, begin and end in ticks; a note that is never released ends with the track."""
    now, open_notes = 0, {}
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == PERCUSSION:
            continue
        key = (message.channel, message.note)
        if key in open_notes:  # struck again, or released
            yield message.note, open_notes.pop(key), now
        if message.type == "note_on" and message.velocity:
            open_notes[key] = now
    for (_, note), begin in open_notes.items():
        yield note, begin, now


def _steps(
    path: Path, spans: list[tuple[int, int, int]], ticks: float
) -> tuple[tuple[int, ...], ...]:
    cells = []
    for note, begin, end in spans:
        if not LOWEST <= note <= HIGHEST:
            raise DataError(
                f"{path}: note {note} is not on the piano; transpose the piece into {LOWEST} to "
                f"{HIGHEST}"
            )
        first = int(begin / ticks + 0.5)
        cells.append((note, first, max(first + 1, int(end / ticks + 0.5))))
    count = max(last for _, _, last in cells)
    if count > MAX_STEPS:
        raise DataError(f"{path} lasts {count} steps; cut it into pieces of {MAX_STEPS} at most")
    found: list[set[int]] = [set() for _ in range(count)]
    for note, first, last in cells:
        for step in found[first:last]:
            step.add(note)
    return tuple(tuple(sorted(step)) for step in found)


def write_midi(path: Path, piece: PianoRoll, beats_a_minute: float = BEATS_A_MINUTE) -> None:
    """A piece as a file of one track; a note that sounds on is held.

    Raises:
        WriteError: the file cannot be written; what was there before is unchanged.
    """
    mido = _mido()
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(beats_a_minute)))
    events = []
    for note, first, last in held_notes(piece):
        events += [(first, 1, note), (last, 0, note)]
    before = 0
    for step, on, note in sorted(events):
        now = round(step * TICKS / piece.per_beat)
        kind, loudness = ("note_on", LOUDNESS) if on else ("note_off", 0)
        track.append(mido.Message(kind, note=note, velocity=loudness, time=now - before))
        before = now
    file = mido.MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track])
    with write_aside(path, "wb") as out:
        file.save(file=out)


def held_notes(piece: PianoRoll) -> list[tuple[int, int, int]]:
    """``(note, first step, step behind the last)`` of each note, in the order of their beginnings.

    >>> held_notes(PianoRoll(((60, 64), (60,), (), (60,))))
    [(60, 0, 2), (64, 0, 1), (60, 3, 4)]
    """
    found, open_notes = [], {}
    for t, step in enumerate([*piece.steps, ()]):
        for note in set(open_notes) - set(step):
            found.append((note, open_notes.pop(note), t))
        for note in step:
            open_notes.setdefault(note, t)
    return sorted(found, key=lambda one: (one[1], one[0]))


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise DataError(
            'MIDI files need mido: pip install "seqloom[music]", or give the notes as JSON'
        ) from error
    return mido
