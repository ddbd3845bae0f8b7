"""Strings of spoken digits and sentences of a synthesiser, as data for ``seqloom train speech``.

    python benchmarks/spoken_strings.py digits ../shared/data/fsdd/recordings OUT
    python benchmarks/spoken_strings.py digits ../shared/data/fsdd/recordings OUT --without theo
    python benchmarks/spoken_strings.py sentences OUT          # needs espeak-ng

``digits`` joins 3 to 7 recordings of one speaker with gaps of 20 to 250 ms, at changing loudness,
in noise 12 to 40 dB below. Takes 0 to 4 make test, 5 and 6 validation, the others train; with
``--without`` all takes of that speaker make test and nothing else. ``sentences`` lets espeak-ng
speak orders of a small grammar in many voices, speeds and pitches; a tenth of the words, each third
test sentence holds one, is never in train.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARTS = {"train": range(7, 50), "validation": range(5, 7), "test": range(5)}
SIZES = {"train": 2400, "validation": 200, "test": 300}
VOICES = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029")
VARIANTS = ("", "+f1", "+f2", "+f3", "+m1", "+m2", "+m3", "+m4", "+m5")
VERBS = ("turn on", "turn off", "open", "close", "start", "stop", "find", "show", "bring", "move")
THINGS = ("the lamp", "the door", "the window", "the radio", "the oven", "the heater", "the music",
          "the garden gate", "my phone", "the blue box", "the red car", "the camera")  # fmt: skip
PLACES = ("in the kitchen", "in the hall", "upstairs", "at the station", "near the river",
          "in my office", "by the table", "outside", "in the garage", "at home")  # fmt: skip
NEW = ("the piano", "the ladder", "in the attic", "lock")  # in test alone


def main() -> None:
    """Writes a folder with a manifest for each part."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    digits = kinds.add_parser("digits")
    digits.add_argument("recordings", type=Path)
    digits.add_argument("out", type=Path)
    digits.add_argument("--without", default="", help="a speaker for test alone")
    spoken = kinds.add_parser("sentences")
    spoken.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.kind == "digits":
        digit_strings(options.recordings, options.out, options.without)
    else:
        sentences(options.out)


def digit_strings(recordings: Path, out: Path, without: str = "") -> Path:
    """Strings of digits; see above."""
    from pipelines.audio import read_sound

    takes: dict[tuple[str, str], list[tuple[int, np.ndarray]]] = defaultdict(list)
    for path in sorted(recordings.glob("*.wav")):
        digit, speaker, take = path.stem.split("_")
        takes[speaker, int(take)].append((int(digit), read_sound(path).samples))
    draw = np.random.default_rng(0)
    for part, numbers in PARTS.items():
        rows = []
        for _ in range(SIZES[part]):
            if without and part == "test":
                keys = [key for key in takes if key[0] == without]
            else:
                keys = [key for key in takes if key[1] in numbers and key[0] != without]
            speaker = sorted({key[0] for key in keys})[draw.integers(len({k[0] for k in keys}))]
            pool = [one for key in keys if key[0] == speaker for one in takes[key]]
            chosen = [pool[draw.integers(len(pool))] for _ in range(draw.integers(3, 8))]
            said = " ".join(NAMES[digit] for digit, _ in chosen)
            sound, ends = joined([sound for _, sound in chosen], draw)
            rows.append((sound, said, speaker, ends))
        write(out, part, rows, 8000)
    return out


def joined(sounds: list[np.ndarray], draw: np.random.Generator) -> tuple[np.ndarray, str]:
    """Recordings with gaps between them, in noise; and the seconds at which each ends."""
    pieces, ends = [np.zeros(draw.integers(400, 2000))], []
    for sound in sounds:
        pieces.append(sound * 10 ** (draw.uniform(-3, 3) / 20))
        ends.append(sum(map(len, pieces)) / 8000)
        pieces.append(np.zeros(draw.integers(160, 2000)))
    whole = np.concatenate(pieces)
    noise = draw.normal(size=len(whole)) * np.sqrt(np.mean(whole**2))
    whole = whole + noise * 10 ** (-draw.uniform(12, 40) / 20)
    loud = (whole * draw.uniform(0.2, 0.9) / np.abs(whole).max()).astype(np.float32)
    return loud, " ".join(f"{end:.3f}" for end in ends)


def sentences(out: Path) -> Path:
    """Sentences by espeak-ng; see above."""
    from pipelines.audio import read_sound

    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is not installed; it is a package of Debian and others")
    draw = np.random.default_rng(0)
    scratch = out / "spoken.wav"
    out.mkdir(parents=True, exist_ok=True)
    for part, size in (("train", 1500), ("validation", 120), ("test", 240)):
        rows = []
        for i in range(size):
            words = [VERBS, THINGS, PLACES]
            text = [choices[draw.integers(len(choices))] for choices in words]
            if part == "test" and i % 3 == 0:
                new = NEW[draw.integers(len(NEW))]
                text[2 if new.startswith("in") else 0 if new == "lock" else 1] = new
            voice = VOICES[draw.integers(len(VOICES))] + VARIANTS[draw.integers(len(VARIANTS))]
            command = ["espeak-ng", "-v", voice, "-s", str(draw.integers(150, 240)), "-p",
                       str(draw.integers(20, 80)), "-w", str(scratch), " ".join(text)]  # fmt: skip
            subprocess.run(command, check=True)
            sound = read_sound(scratch).at(8000).samples
            noisy = sound + draw.normal(size=len(sound)) * 10 ** draw.uniform(-3.5, -1.8)
            rows.append((noisy.astype(np.float32), " ".join(text), voice, ""))
        write(out, part, rows, 8000)
    scratch.unlink()
    return out


def write(out: Path, part: str, rows: list[tuple[np.ndarray, str, str, str]], rate: int) -> None:
    """Wav files, and a manifest of them."""
    from pipelines.audio_program import wav_bytes

    (out / "clips").mkdir(parents=True, exist_ok=True)
    with (out / f"{part}.csv").open("w", newline="") as file:
        manifest = csv.writer(file)
        manifest.writerow(["path", "text", "speaker", "word_ends"])
        for i, (samples, text, speaker, ends) in enumerate(rows):
            name = f"{part}-{i:05}.wav"
            (out / "clips" / name).write_bytes(wav_bytes(np.clip(samples, -1, 1), rate))
            manifest.writerow([name, text, speaker, ends])


if __name__ == "__main__":
    main()
