"""Where recorded examples come from: folders, file names, manifests, tables, TFDS.

    splits = load_sounds("speech_commands", classes=True)             # yes/*.wav, no/*.wav
    splits = load_sounds("recordings", classes=True, name_pattern="{label}_{speaker}_{take}")
    splits = load_sounds("clips.csv", classes=False)                  # path, text[, start, end]

docs/sound.md shows every layout that is understood.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipelines.audio import Sound, checked_rate, checked_samples
from pipelines.audio_examples import SoundExample, sound_splits
from pipelines.audio_names import NamePattern, Where
from pipelines.frames import Source
from pipelines.layout import PART_WORDS, part_of
from pipelines.messages import name_list, shorten
from pipelines.problems import Problems
from pipelines.readers import Row, data_extension, formats, read_rows
from pipelines.records import Records, is_table
from pipelines.splits import Splits

EXTENSIONS = ("wav", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc", "au", "w64", "caf")
PATHS = ("path", "file", "audio_filepath", "audio", "filename", "file_name", "wav", "clip")
CLASSES = ("label", "class", "category", "keyword", "word", "target", "command")
WORDS = ("text", "sentence", "transcript", "transcription", "transcripts", "utterance", "words")
STARTS, ENDS, DURATIONS = ("start", "offset", "begin"), ("end", "stop"), ("duration",)
LIBRISPEECH = ".trans.txt"
LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}  # Speech Commands

Parts = dict[str, list[SoundExample]]


@dataclass(frozen=True)
class SoundReading:
    """How sounds are found.

    Attributes:
        classes: whether their targets are classes, rather than words.
        path_column, target_column: of manifests; found by their names if "".
        name_pattern: of file names; see ``NamePattern``.
        test_where, validation_where: which of them are test and validation; see ``Where``.
        longest: seconds above which a training sound is left out.
    """

    classes: bool
    path_column: str = ""
    target_column: str = ""
    name_pattern: str = ""
    test_where: str = ""
    validation_where: str = ""
    longest: float = 60.0

    @property
    def target_names(self) -> tuple[str, ...]:
        """Columns that are the target where none is named."""
        return CLASSES if self.classes else WORDS


def load_sounds(
    source: Source,
    reading: SoundReading,
    synthetic: Callable[[int | None, int], list[SoundExample]],
    seed: int = 0,
) -> Splits[SoundExample]:
    """Loads recorded examples.

    Args:
        source: "synthetic", "synthetic:SIZE", "tfds:NAME", a directory, a manifest; a DataFrame or
            a list of dicts, or a mapping of parts to any of these.
        reading: how they are found.
        synthetic: makes so many examples from a seed; of a size of its own if None.
        seed: which examples are split off, and which synthetic ones are made.

    Raises:
        DataError: one sentence that names file and line, column or flag and the way out.
    """
    split = {"classes": reading.classes, "seed": seed}
    if isinstance(source, (str, os.PathLike)):
        source = os.fspath(source)
        kind, _, rest = source.partition(":")
        if kind == "synthetic":
            if ":" in source and not rest.isdecimal():
                raise DataError(f"'{source}': the size must be a number, as in synthetic:2000.")
            examples = synthetic(int(rest) if rest else None, seed)
            splits = sound_splits({"train": examples}, name=f"synthetic-{len(examples)}", **split)
            return replace(splits, notes=[])
    name, parts, notes = _found(source, reading)
    parts, more = _chosen_parts(parts, reading)
    parts, left = _checked(parts, reading)
    return sound_splits(parts, name=name, notes=[*notes, *more, *left], **split)


def _found(source: Any, reading: SoundReading) -> tuple[str, Parts, list[str]]:
    if is_table(source):
        return "data", {"train": _of_rows(Records.of(source).rows(), Path(), reading)}, []
    if isinstance(source, dict):
        parts: Parts = {}
        for word, value in source.items():
            part = PART_WORDS.get(str(word).lower())
            if part is None or part in parts:
                raise DataError(f"the data has a part '{word}'; name parts train, validation, test")
            if is_table(value):
                parts[part] = _of_rows(Records.of(value, part).rows(), Path(), reading)
            else:
                parts[part] = _of_path(Path(value).expanduser(), reading)
        return "data", parts, []
    source = os.fspath(source)
    kind, _, rest = source.partition(":")
    if kind == "tfds" and rest:
        return _of_tfds(rest, reading)
    path = Path(source).expanduser()
    if not source.strip() or not path.exists():
        raise DataError(f"{source or 'the data source'}: there is no such file or directory.")
    name = path.resolve().name
    if path.is_file():
        return name, {"train": _of_path(path, reading)}, []
    return name, *_of_directory(path, reading)


def _of_directory(path: Path, reading: SoundReading) -> tuple[Parts, list[str]]:
    """Parts that the names of files or folders speak of; all else is train."""
    parts: Parts = {}
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    manifests = [one for one in entries if one.is_file() and _is_manifest(one)]
    named = [(part_of(one.name), one) for one in manifests]
    if any(part for part, _ in named):  # Common Voice has other tables beside
        for part, one in named:
            if part and part[0] not in parts:
                parts[part[0]] = _of_path(one, reading)
        return parts, []
    folders = [one for one in entries if one.is_dir()]
    named = [(part_of(one.name) or _leading_part(one.name), one) for one in folders]
    if any(part and part[0] == "train" for part, _ in named) and not reading.name_pattern:
        for part, one in named:
            if part:
                parts.setdefault(part[0], []).extend(_of_path(one, reading))
        return parts, []
    found = _of_path(path, reading)
    lists = {part: _listed(path / name) for name, part in LISTS.items() if (path / name).is_file()}
    if not lists or not reading.classes:
        return {"train": found}, []
    for one in found:
        inside = Path(one.path).relative_to(path).as_posix()
        part = next((part for part, names in lists.items() if inside in names), "train")
        parts.setdefault(part, []).append(one)
    return parts, [f"{name_list(sorted(LISTS))} say which sounds are validation and test."]


def _leading_part(name: str) -> tuple[str, str] | None:
    """LibriSpeech's: train-clean-100, dev-other."""
    word = name.split("-")[0].lower()
    return (PART_WORDS[word], name) if word in PART_WORDS else None


def _listed(path: Path) -> set[str]:
    return set(path.read_text(encoding="utf-8").split())


def _is_manifest(path: Path) -> bool:
    return formats().get(data_extension(path.name)) in ("delimited", "json", "json_lines")


def _of_path(path: Path, reading: SoundReading) -> list[SoundExample]:
    """Examples of one part: a manifest, or a folder of sounds."""
    if path.is_file():
        if not _is_manifest(path):
            raise DataError(
                f"{path} is no manifest; give a csv, tsv or jsonl file with a column of paths, or "
                "a folder of sounds."
            )
        return _of_rows(read_rows(path), path.parent, reading)
    manifests = sorted(one for one in path.iterdir() if one.is_file() and _is_manifest(one))
    if len(manifests) == 1 and not reading.name_pattern:
        return _of_rows(read_rows(manifests[0]), path, reading)
    files = [one for one in sorted(path.rglob("*")) if is_sound(one)]
    if not files:
        raise DataError(
            f"{path} holds no sounds; give a folder of {', '.join(EXTENSIONS[:5])}... files, or a "
            "manifest of them."
        )
    if reading.name_pattern:
        return list(NamePattern(reading.name_pattern).examples(files, reading.classes))
    if reading.classes:
        return _of_folders(files, path)
    return _with_transcripts(files, path)


def is_sound(path: Path) -> bool:
    """By its name."""
    return path.suffix[1:].lower() in EXTENSIONS and not path.name.startswith(".")


def _of_folders(files: list[Path], root: Path) -> list[SoundExample]:
    loose = [one for one in files if one.parent == root]
    if loose:
        raise DataError(
            f"{loose[0]} lies in no folder of its class; make a folder for each class, say with "
            "--name-pattern '{label}_{speaker}_{take}' what file names say, or write a manifest."
        )
    return [
        SoundExample(one.relative_to(root).parts[0], str(one), file=str(one))
        for one in files
        if not one.relative_to(root).parts[0].startswith("_")  # noise to mix in
    ]


def _with_transcripts(files: list[Path], root: Path) -> list[SoundExample]:
    """Words in ``clip.txt`` beside ``clip.wav``, or in LibriSpeech's ``*.trans.txt``."""
    said: dict[Path, tuple[str, str, int]] = {}
    for path in sorted(root.rglob(f"*{LIBRISPEECH}")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            key, _, words = line.strip().partition(" ")
            said[path.parent / key] = (words, str(path), number)
    examples = []
    for path in files:
        beside = path.with_suffix(".txt")
        if path.with_suffix("") in said:
            words, file, line = said[path.with_suffix("")]
        elif beside.is_file():
            words, file, line = beside.read_text(encoding="utf-8"), str(beside), 0
        else:
            raise DataError(
                f"{path} has no transcript; write its words to {beside.name}, or give a manifest "
                "with the columns path and text."
            )
        examples.append(SoundExample(" ".join(words.split()), str(path), file=file, line=line))
    return examples


def _of_rows(
    rows: Iterable[Row], root: Path, reading: SoundReading, targets: bool = True
) -> list[SoundExample]:
    examples, problems, columns = [], Problems(), None
    for row in rows:
        if columns is None:
            columns = _columns(row, reading, targets)
        try:
            examples.append(_of_row(row, *columns, root))
        except DataError as error:
            problems.add(type(error).__name__, str(error), row.file, row.line, row.unit)
    problems.raise_if_any()
    return examples


def _columns(row: Row, reading: SoundReading, targets: bool) -> tuple[str, str]:
    path = _column(row, "--path-column", reading.path_column, PATHS)
    if not targets:
        return path, path
    target = _column(row, "--target-column", reading.target_column, reading.target_names)
    return path, target


def _column(row: Row, flag: str, wanted: str, known: tuple[str, ...]) -> str:
    lower = {name.lower(): name for name in row.values}
    for name in (wanted,) if wanted else known:
        if name.lower() in lower:
            return lower[name.lower()]
    raise DataError(
        f"{row.file}: no column is called {wanted or ' or '.join(known[:4])} (there are "
        f"{name_list(list(row.values))}); name it with {flag}."
    )


def _of_row(row: Row, path: str, target: str, root: Path) -> SoundExample:
    values = row.values
    lower = {name.lower(): value for name, value in values.items()}

    def seconds(names: tuple[str, ...]) -> float | None:
        value = next((lower[one] for one in names if lower.get(one) not in (None, "")), None)
        try:
            return None if value is None else float(value)
        except (TypeError, ValueError) as error:
            raise DataError(f"{names[0]} is {value!r}; give seconds, such as 1.25.") from error

    start, end, duration = seconds(STARTS), seconds(ENDS), seconds(DURATIONS)
    if end is None and duration is not None and start is not None:
        end = start + duration
    begin = start or 0.0
    if begin < 0 or (end is not None and end <= begin):
        raise DataError(f"the part from {begin:g} to {end} seconds is empty; mend its times.")
    words = " ".join(str(values[target]).split())
    rest = {k: str(v) for k, v in values.items() if k not in (path, target)}
    about = {"fields": rest, "file": row.file, "line": row.line, "unit": row.unit}
    where = values[path]
    if not isinstance(where, str):  # samples, in memory
        rate = checked_rate(lower.get("rate", lower.get("sampling_rate", 0)))
        return SoundExample(words, memory=Sound(checked_samples(where), rate), **about)
    found = next((one for one in (root / where, root / "clips" / where) if one.is_file()), None)
    if found is None:
        raise DataError(f"there is no file {shorten(where)} (beside the manifest).")
    return SoundExample(words, str(found), begin, end, **about)


def _chosen_parts(parts: Parts, reading: SoundReading) -> tuple[Parts, list[str]]:
    """Takes out of train what flags say is validation or test."""
    notes, found = [], dict(parts)
    for part, text in (("validation", reading.validation_where), ("test", reading.test_where)):
        if not text:
            continue
        where = Where.parse(text, f"--{part}-where")
        mine = [one for one in found["train"] if where.holds(one)]
        rest = [one for one in found["train"] if not where.holds(one)]
        if not mine or not rest:
            raise DataError(
                f"--{part}-where {text}: {len(mine)} of {len(mine) + len(rest)} sounds are so; "
                f"{'none is' if not mine else 'all are'} left."
            )
        found["train"], found[part] = rest, mine
        notes.append(f"{len(mine)} sounds with {text} are the {part} part.")
    return found, notes


def _checked(parts: Parts, reading: SoundReading) -> tuple[Parts, list[str]]:
    """Refuses what cannot be read or has no target; leaves out what is too long to train on."""
    problems, long = Problems(), 0
    kept: Parts = {}
    for part, examples in parts.items():
        kept[part] = []
        for one in examples:
            if not one.target:
                what = "class" if reading.classes else "transcript"
                problems.add("target", f"there is no {what}; write one, or leave the sound out.",
                             one.file, one.line or 1, one.unit)  # fmt: skip
                continue
            if one.lasting > reading.longest and part == "train":
                long += 1
                continue
            kept[part].append(one)
    problems.raise_if_any()
    notes = []
    if long:
        notes.append(
            f"{long} training sounds last more than --longest {reading.longest:g} seconds and were "
            "left out."
        )
    return kept, notes


def _of_tfds(name: str, reading: SoundReading) -> tuple[str, Parts, list[str]]:
    from pipelines.tagged_tfds import tfds_rows

    full, rows, notes = tfds_rows(name)
    return full, {part: _of_rows(each, Path(), reading) for part, each in rows.items()}, notes


def untold_sounds(manifest: Path, reading: SoundReading) -> list[SoundExample]:
    """The sounds of a manifest; what they are is not read.

    Raises:
        DataError: it cannot be read, or names files or parts that are not there.
    """
    return _of_rows(read_rows(manifest), manifest.parent, reading, targets=False)
