"""Generated data of any size for ``growth.py``."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


def words(count: int) -> list[str]:
    """Distinct words of 3 to 9 letters, the same for each count."""
    draw = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < count:
        sizes = draw.integers(3, 10, 10_000)
        letters = "".join(LETTERS[draw.integers(0, 26, int(sizes.sum()))])
        ends = np.cumsum(sizes)
        found |= dict.fromkeys(letters[b - n : b] for b, n in zip(ends, sizes, strict=True))
    return list(found)[:count]


def texts(path: Path, rows: int, length: int, words: int = 2000, classes: int = 2) -> Path:
    """Labelled texts of ``length`` words: each word occurs as often as any other, and one word in
    each text tells its class."""
    draw, known = np.random.default_rng(1), globals()["words"](words)
    order = np.concatenate([
        draw.permutation(words) for _ in range(-(-rows * length // words))
    ])[: rows * length].reshape(rows, length)  # fmt: skip
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for i, row in enumerate(order.tolist()):
            text = " ".join([f"k{i % classes}", *(known[word] for word in row[1:])])
            file.write(f"{text},c{i % classes}\n")
    return path


def series(path: Path, count: int, rows: int, columns: int = 1) -> Path:
    """Hourly series below one another, of which each has its own level."""
    draw, hours = np.random.default_rng(2), np.arange(rows)
    stamps = np.datetime_as_string(np.datetime64("2000-01-01T00", "s") + hours * 3600).tolist()
    wave_ = np.sin(2 * np.pi * hours / 24)
    with path.open("w", encoding="utf-8") as file:
        names = ",".join(f"x{i}" for i in range(columns))
        file.write(f"time,shop,{names}\n" if count > 1 else f"time,{names}\n")
        for number in range(count):
            level = 10 + draw.random() * 5
            head = f",s{number}," if count > 1 else ","
            for start in range(0, rows, 10_000):
                part = wave_[start : start + 10_000, None]
                found = level + part + draw.normal(0, 0.2, (len(part), columns))
                for stamp, row in zip(stamps[start:], found.round(3).tolist(), strict=False):
                    file.write(f"{stamp}{head}{','.join(map(str, row))}\n")
    return path


def folder(path: Path, files: int) -> Path:
    """A file for each text, in two folders of classes in each of three parts."""
    known, draw = words(2000), np.random.default_rng(3)
    for number in range(files):
        part = "train" if number % 10 < 8 else "test" if number % 10 < 9 else "valid"
        name = "good" if number // 10 % 2 else "bad"
        place = path / part / name
        place.mkdir(parents=True, exist_ok=True)
        text = " ".join([name, *(known[i] for i in draw.integers(0, 2000, 10))])
        (place / f"{number}.txt").write_text(text)
    return path


def long_line(path: Path, size: int) -> Path:
    """Texts of which one has ``size`` bytes."""
    texts(path, 100, 20)
    known = words(2000)
    line = " ".join(known)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{(line * (size // len(line) + 1))[:size]},c0\n")
    return path


def tagged(path: Path, sentences: int, tags: int) -> Path:
    """Sentences in columns, of which each word has one tag."""
    known, draw = words(max(2000, 5 * tags)), np.random.default_rng(4)
    with path.open("w", encoding="utf-8") as file:
        for number in range(sentences):
            for i in [number % len(known), *draw.integers(0, len(known), 9).tolist()]:
                file.write(f"{known[i]}\tT{i % tags}\n")
            file.write("\n")
    return path


def recordings(path: Path, count: int) -> Path:
    """A manifest of recordings of a quarter of a second in two classes."""
    path.mkdir()
    time = np.arange(2000) / 8000
    lines = ["path,label"]
    for number in range(count):
        tone = np.sin(2 * np.pi * (400 + 400 * (number % 2) + number % 37) * time)
        with wave.open(str(path / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((8000 * tone).astype("<i2").tobytes())
        lines.append(f"{number}.wav,{'high' if number % 2 else 'low'}")
    (path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return path / "manifest.csv"
