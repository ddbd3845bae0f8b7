"""Finds which files are train, validation and test, by their names alone.

Nothing here opens a file. The layouts, tried in this order in a directory:

1. part files: `train.csv`, `dev.csv`, `test.csv`; `stsa.binary.train`; `en-dev.tsv`;
2. part directories `train/`, `test/`, each holding one of 3, 4 or 5;
3. class directories: `pos/*.txt`, `neg/*.txt`, one document a file;
4. class files: names that differ in one place, as `rt-polarity.pos` and `rt-polarity.neg`;
5. a single data file;
6. one file for each part whose name says so, if not between marks, as `wnut17train.conll`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipelines.messages import name_list
from pipelines.readers import (
    LINES,
    data_extension,
    file_format,
    formats,
    is_foreign,
    listed_extensions,
)

PART_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
_UNLABELLED = {"unsup", "unsupervised", "unlabeled", "unlabelled"}
_PART_WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(PART_WORDS)})(?![a-z])")
_HIDDEN = re.compile(r"\..*|__.*")
_EXPLANATORY = re.compile(
    r"(readme|licen[cs]e|copying|notice|citation|manifest)\b.*"
    r"|.*\.(md|rst|pdf|html?|py|ipynb|bib|sha256|md5|ya?ml|toml)",
    re.IGNORECASE,
)
_SUBMISSION = re.compile(r"submission.*\.(csv|tsv|json|jsonl)(\.gz)?$", re.IGNORECASE)
_SHARD = re.compile(r"[._\-]\d{5}[._\-]of[._\-]\d{5}")


@dataclass(frozen=True)
class PartFile:
    """One file of a part.

    Attributes:
        path: where it is.
        form: the name of its reader, such as delimited.
        label: the class of everything in it where its name gives it.
        document: whether the whole file is one example.
    """

    path: Path
    form: str
    label: str | None = None
    document: bool = False


@dataclass(frozen=True)
class Layout:
    """The files of a data set.

    Attributes:
        name: a short name.
        parts: sorted files by part; "train" is always there. Of a source in memory its tables.
        notes: plain sentences that the user should see.
        submission: name of a file beside them that shows what predictions of test should look
            like, as in competitions; "" if there is none.
    """

    name: str
    parts: dict[str, list[Any]]
    notes: list[str] = field(default_factory=list)
    submission: str = ""


def locate_parts(spec: str | Path) -> Layout:
    """Finds the files of each part of the data set at `spec`.

    Args:
        spec: a directory, one file, or the beginning that a group of file names has in common
            (`data/stsa.fine` for `data/stsa.fine.train`, ...).

    Returns:
        The files by part; what has no parts is all "train".

    Raises:
        DataError: nothing is there, or no layout is recognised.
    """
    path = Path(spec).expanduser()
    if path.is_dir():
        return _locate_in_directory(path)
    if path.is_file():
        return _single_file(path)
    if path.parent.is_dir():
        return _locate_by_prefix(path)
    raise DataError(f"{path}: there is no such file or directory; check the path.")


def locate_members(spec: str | Path) -> tuple[list[PartFile], list[str]]:
    """Finds the files of one part: one file, or a directory in a layout without parts.

    Args:
        spec: a file, a directory, or what a group of file names begins with.

    Returns:
        (sorted files, notes).

    Raises:
        DataError: nothing is there, or several parts.
    """
    path = Path(spec).expanduser()
    if path.is_file():
        return [PartFile(path, _form(path))], []
    layout = locate_parts(path)
    if set(layout.parts) != {"train"}:
        raise DataError(
            f"{path} holds the parts {', '.join(layout.parts)}, where the files of one are needed; "
            "give one of its files, or it alone as the data source."
        )
    return layout.parts["train"], layout.notes


def part_of(name: str) -> tuple[str, str] | None:
    """Tells the part that a file name speaks of, and the rest of the name.

    The part word must be between dots, dashes or underscores and be the only one:
    `"stsa.binary.dev"` gives `("validation", "stsa.binary")`, `"Test.csv.gz"` gives
    `("test", "")`, `"attestation.csv"` gives None.

    Returns:
        (train | validation | test, what is left of the name without extension), or None.
    """
    stem = _SHARD.sub("", _without_extension(name))
    found = [
        match for match in re.finditer(r"[^._\-]+", stem) if match.group().lower() in PART_WORDS
    ]
    if len(found) != 1:
        return None
    word = found[0]
    before, after = stem[: word.start()].rstrip("._-"), stem[word.end() :].lstrip("._-")
    return PART_WORDS[word.group().lower()], ".".join(filter(None, (before, after)))


def _locate_in_directory(directory: Path) -> Layout:
    files, folders = _entries(directory)
    name = directory.resolve().name or "data"
    found = _part_files(files, directory, name) or _part_directories(folders, name)
    if found:
        submission = next((file.name for file in files if _SUBMISSION.search(file.name)), "")
        return replace(found, submission=submission)
    members, notes = _members(directory)
    if members:
        return Layout(name, {"train": members}, notes)
    loose = _loose_parts(files, name)
    if loose:
        return loose
    raise DataError(
        f"{directory} holds no data in a known layout ({_listing(directory)}); name the files "
        f"train.csv, valid.csv and test.csv (known are {listed_extensions()}), or give one folder "
        "or one .txt file per label."
    )


def _single_file(path: Path) -> Layout:
    form = _form(path)
    notes = []
    here = part_of(path.name)
    if here and here[0] == "train":
        beside = [
            other.name
            for other in _entries(path.parent)[0]
            if other != path and part_of(other.name) in (("validation", here[1]), ("test", here[1]))
        ]
        if beside:
            notes.append(
                f"Only {path.name} was read, not {name_list(beside)} beside it: give "
                f"{path.parent / here[1] if here[1] else path.parent} to use them."
            )
    return Layout(_without_extension(path.name), {"train": [PartFile(path, form)]}, notes)


def _locate_by_prefix(path: Path) -> Layout:
    files, _ = _entries(path.parent)
    same_group = [file for file in files if (part_of(file.name) or ("", ""))[1] == path.name]
    matching = same_group or [file for file in files if file.name.startswith(path.name)]
    found = _part_files(matching, path.parent, path.name)
    if found:
        return found
    members = _class_files(matching)
    if members:
        return Layout(path.name, {"train": members}, [_label_note(members, "file names")])
    if len(matching) == 1:
        return _single_file(matching[0])
    raise DataError(
        f"{path}: there is no such file or directory, and no group of files begins so; "
        f"{path.parent} holds {_listing(path.parent)}."
    )


def _part_files(files: Sequence[Path], directory: Path, name: str) -> Layout | None:
    """Layout 1. Several data sets side by side: the first by name that has a train part."""
    named = [path for path in files if part_of(path.name)]
    groups = _grouped(path for path in named if _has_form(path))
    if not groups:  # the content tells what they are
        groups = _grouped(path for path in named if not is_foreign(path))
    complete = sorted(groups)
    if not complete:
        for path in named:
            if part_of(path.name)[0] == "train":
                file_format(path)  # its message names the extension and those that are known
        return None
    group, notes = complete[0], []
    if len(complete) > 1:
        others = ", ".join(str(directory / other) for other in complete[1:])
        notes.append(
            f"{directory} holds {len(complete)} data sets; {group or 'train.*'} was taken. For "
            f"another give --data {others}."
        )
    parts = {part: _one_or_shards(paths, part) for part, paths in groups[group].items()}
    return Layout(group or name, parts, notes)


def _grouped(paths: Iterable[Path]) -> dict[str, dict[str, list[Path]]]:
    """Files by data set and part; data sets without a train part are left out."""
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        part, group = part_of(path.name)
        groups[group][part].append(path)
    return {group: parts for group, parts in groups.items() if "train" in parts}


def _one_or_shards(paths: Sequence[Path], part: str) -> list[PartFile]:
    if len(paths) > 1 and not all(_SHARD.search(path.name) for path in paths):
        raise DataError(
            f"{paths[0].parent}: {name_list([path.name for path in paths])} all name the {part} "
            "part; keep one, or give a single file."
        )
    return [PartFile(path, _form(path)) for path in paths]


def _part_directories(folders: Sequence[Path], name: str) -> Layout | None:
    """Layout 2."""
    parts: dict[str, list[PartFile]] = {}
    notes: list[str] = []
    for folder in folders:
        part = PART_WORDS.get(folder.name.lower())
        if part is None:
            continue
        members, more = _members(folder)
        if not members:
            raise DataError(
                f"{folder} holds neither a folder per label nor a file per label nor one data file "
                f"({_listing(folder)})."
            )
        if part in parts:
            raise DataError(f"{folder}: a second folder names the {part} part; keep one.")
        parts[part] = members
        notes += [note for note in more if note not in notes]
    return Layout(name, parts, notes) if "train" in parts else None


def _loose_parts(files: Sequence[Path], name: str) -> Layout | None:
    """Layout 6: one file at most for each part, its word in the name with no letter beside it."""
    found: dict[str, Path] = {}
    for path in files:
        words = {PART_WORDS[word] for word in _PART_WORD.findall(path.name.lower())}
        if len(words) != 1 or is_foreign(path):
            continue
        part = words.pop()
        if part in found:
            return None
        found[part] = path
    if "train" not in found:
        return None
    notes = [f"{part} is {path.name}" for part, path in found.items()]
    parts = {part: [PartFile(path, _form(path))] for part, path in found.items()}
    return Layout(name, parts, [f"By their names, {name_list(notes)}."])


def _members(directory: Path) -> tuple[list[PartFile], list[str]]:
    """Layouts 3, 4 and 5: (files, notes); no files where it is none of them."""
    files, folders = _entries(directory)
    members, notes = _class_directories(folders)
    if members:
        return members, [_label_note(members, "folder names"), *notes]
    members = _class_files(files)
    if members:
        return members, [_label_note(members, "file names")]
    data = [path for path in files if data_extension(path.name) in formats()]
    data = data or [path for path in files if not is_foreign(path)]
    if len(data) == 1 or (data and all(_SHARD.search(path.name) for path in data)):
        return [PartFile(path, _form(path)) for path in data], []
    return [], []


def _class_directories(folders: Sequence[Path]) -> tuple[list[PartFile], list[str]]:
    members: list[PartFile] = []
    notes: list[str] = []
    for folder in folders:
        if folder.name.lower() in _UNLABELLED:
            notes.append(f"The folder {folder.name} holds unlabelled text and was left out.")
            continue
        documents = [
            PartFile(path, LINES, folder.name, document=True)
            for path in _entries(folder)[0]
            if not data_extension(path.name) or _is_lines(path)
        ]
        if not documents:
            notes.append(f"The folder {folder.name} holds no .txt file and was left out.")
        members += documents
    # One folder of texts is no choice between labels: more likely a level too high.
    return (members, notes) if len({member.label for member in members}) > 1 else ([], [])


def _class_files(files: Sequence[Path]) -> list[PartFile]:
    """Layout 4: text files whose names agree but in one place, which is the label."""
    candidates = [
        path
        for path in files
        if formats().get(data_extension(path.name), LINES) == LINES and not part_of(path.name)
    ]
    names = [re.split(r"[._\-]", _without_extension(path.name)) for path in candidates]
    if len(names) < 2 or len({len(name) for name in names}) > 1:
        return []
    varying = [place for place, words in enumerate(zip(*names, strict=True)) if len(set(words)) > 1]
    if len(varying) != 1:
        return []
    labels = [name[varying[0]] for name in names]
    if len(set(labels)) < len(labels):  # pos.txt beside pos.txt.gz
        return []
    return [PartFile(path, LINES, label) for path, label in zip(candidates, labels, strict=True)]


def _entries(directory: Path) -> tuple[list[Path], list[Path]]:
    """Returns sorted (files, folders) without hidden and explanatory ones."""
    try:
        entries = sorted(directory.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{directory} cannot be read: {error.strerror or error}.") from error
    shown = [entry for entry in entries if not _HIDDEN.fullmatch(entry.name)]
    files = [path for path in shown if path.is_file() and not _EXPLANATORY.fullmatch(path.name)]
    return files, [path for path in shown if path.is_dir()]


def _form(path: Path) -> str:
    return LINES if data_extension(path.name) in PART_WORDS else file_format(path)


def _is_lines(path: Path) -> bool:
    return formats().get(data_extension(path.name)) == LINES


def _has_form(path: Path) -> bool:
    extension = data_extension(path.name)
    return not extension or extension in formats() or extension in PART_WORDS


def _without_extension(name: str) -> str:
    if name.lower().endswith(".gz"):
        name = name[:-3]
    stem, dot, extension = name.rpartition(".")
    return stem if dot and extension.lower() in formats() else name


def _label_note(members: Iterable[PartFile], origin: str) -> str:
    labels = sorted({member.label for member in members if member.label})
    return f"The labels are {origin}: {name_list(labels)}."


def _listing(directory: Path) -> str:
    names = sorted(
        entry.name + "/" * entry.is_dir()
        for entry in directory.iterdir()
        if not entry.name.startswith(".")
    )
    return name_list(names) if names else "nothing"
