"""Chorales by rules of harmony: the offline default data.

Four voices in any key, major or minor, a step a beat. A piece is a few phrases of two bars:

- **harmony**: each chord follows the one before as a table of degrees has it, and a phrase ends
  with a cadence, the last one on the tonic;
- **voice leading**: soprano, alto and tenor go to the notes of the chord that are near, in order
  and in their ranges, every note of the chord sounds, and voices that move together in fifths or
  octaves are avoided; the bass has the root, or the third;
- **passing notes**: where a chord lasts two beats and a voice then moves by a third, it takes the
  note between on the second.

So a step depends on its key, on the chord and its place in the phrase, and on each voice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from common.errors import DataError
from pipelines.draws import Draws
from pipelines.piano_roll import PianoRoll

DEFAULT_SIZE = 600
MAX_SIZE = 20_000
BEATS = 8  # of a phrase
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)
# Degrees from 0 that may follow each degree; one that stands twice is twice as likely.
FOLLOWING = (
    (3, 3, 4, 4, 5, 1), (4, 4, 6), (5, 3), (4, 4, 1, 0), (0, 0, 5), (1, 3, 3, 4), (0,),
)  # fmt: skip
CADENCES = ((4, 0), (4, 0), (3, 0), (1, 4))
RANGES = ((60, 79), (55, 72), (48, 66))  # soprano, alto, tenor
BASS = (40, 58)
FAR = 5  # semitones that a voice moves at most
Voicing = tuple[int, int, int, int]  # soprano, alto, tenor, bass


def synthetic_chorales(size: int = DEFAULT_SIZE, seed: int = 0) -> list[PianoRoll]:
    """Generates distinct chorales of two to four phrases.

    The same arguments give the same pieces on every machine and Python version.

    Args:
        size: how many, 10 to 20000.
        seed: any integer.

    Raises:
        DataError: ``size`` is out of range.
    """
    if not 10 <= size <= MAX_SIZE:
        raise DataError(
            f"synthetic data of {size} pieces cannot be made: ask for 10 to {MAX_SIZE}, as in "
            f"synthetic:{DEFAULT_SIZE}."
        )
    composer = _Composer(seed)
    found: dict[PianoRoll, None] = {}
    while len(found) < size:
        found[composer.piece()] = None
    return list(found)


class _Composer(Draws):
    """Writes one piece after another from a stream of random numbers."""

    def piece(self) -> PianoRoll:
        """Two to four phrases in a key."""
        tonic, mode = self.below(12), self.pick((MAJOR, MAJOR, MINOR))
        scale = [(tonic + degree) % 12 for degree in mode]
        phrases = 2 + self.below(3)
        chords: list[tuple[int, int]] = []  # degree and beats
        for number in range(phrases):
            chords += self.phrase(chords[-1][0] if chords else -1, number == phrases - 1)
        voicings: list[Voicing] = []
        for degree, _ in chords:
            voicings.append(self.voicing(scale, degree, voicings[-1] if voicings else None))
        steps: list[Voicing] = []
        for i, (_, beats) in enumerate(chords):
            steps.append(voicings[i])
            if beats == 2:
                after = voicings[min(i + 1, len(voicings) - 1)]
                steps.append(self.passing(scale, voicings[i], after))
        return PianoRoll(tuple(tuple(sorted(set(step))) for step in steps))

    def phrase(self, before: int, last: bool) -> list[tuple[int, int]]:
        """Chords of a phrase, and the beats of each."""
        cadence = CADENCES[0] if last else self.pick(CADENCES)
        ending = [(cadence[0], 1), (cadence[1], 2)]
        found: list[tuple[int, int]] = []
        degree = 0 if before < 0 else self.pick(FOLLOWING[before])
        left = BEATS - sum(beats for _, beats in ending)
        while left:
            beats = 2 if left > 1 and self.chance(0.3) else 1
            found.append((degree, beats))
            left -= beats
            degree = self.pick(FOLLOWING[degree])
        return found + ending

    def voicing(self, scale: Sequence[int], degree: int, before: Voicing | None) -> Voicing:
        """The notes of a chord that lead on best, among those that come close by chance."""
        chord = [scale[(degree + third) % 7] for third in (0, 2, 4)]
        bass = self.bass(chord, before)
        options = [
            [
                note for note in range(low, high + 1) if note % 12 in chord
                and (before is None or abs(note - before[voice]) <= FAR)
            ]
            for voice, (low, high) in enumerate(RANGES)
        ]  # fmt: skip
        best, least = None, float("inf")
        for upper in itertools.product(*options):
            if not upper[0] > upper[1] > upper[2] > bass or upper[0] - upper[2] > 19:
                continue
            cost = self.cost((*upper, bass), before) + 3 * self.below(2)
            cost += 6 * (3 - len({note % 12 for note in (*upper, bass)}))
            if cost < least:
                best, least = (*upper, bass), cost
        # Nothing is near enough: the voices begin again.
        return best or self.voicing(scale, degree, None)

    def bass(self, chord: Sequence[int], before: Voicing | None) -> int:
        """The root, or the third, as near as it can be."""
        wanted = chord[1] if before and self.chance(0.25) else chord[0]
        notes = [note for note in range(BASS[0], BASS[1] + 1) if note % 12 == wanted]
        return min(notes, key=lambda note: abs(note - (before[3] if before else 48)))

    def cost(self, now: Voicing, before: Voicing | None) -> int:
        """How far the voices move; parallels cost most."""
        if before is None:
            return abs(now[0] - 69) + abs(now[1] - 62) + abs(now[2] - 55)
        found = sum(abs(a - b) for a, b in zip(now[:3], before[:3], strict=True))
        for i, j in itertools.combinations(range(4), 2):
            parallel = (now[i] - now[j]) % 12 == (before[i] - before[j]) % 12
            if parallel and now[i] != before[i] and (now[i] - now[j]) % 12 in (0, 7):
                found += 8
        return found

    def passing(self, scale: Sequence[int], now: Voicing, after: Voicing) -> Voicing:
        """The same chord, with the note between where a voice goes on by a third."""
        found = []
        for a, b in zip(now, after, strict=True):
            between = [n for n in range(min(a, b) + 1, max(a, b)) if n % 12 in scale]
            found.append(between[0] if len(between) == 1 and abs(a - b) in (3, 4) else a)
        return found[0], found[1], found[2], found[3]
