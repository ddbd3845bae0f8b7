"""Where tagged sentences come from: generated, TensorFlow Datasets, files, or memory.

    splits = load_tagged("synthetic")
    splits = load_tagged("data/wnut17")                 # a directory
    splits = load_tagged("data/train.conll.gz")         # a file
    splits = load_tagged("data/atis", intents=True)

docs/data.md shows every layout that is understood.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import ConfigError, DataError
from pipelines.encodings import check_encoding
from pipelines.frames import Source, located
from pipelines.layout import PART_WORDS, PartFile, locate_members
from pipelines.messages import name_list
from pipelines.readers import DELIMITED, LINES, Row, read_rows, told_format
from pipelines.readers.conll import split_cells
from pipelines.readers.delimited import first_cells
from pipelines.records import Records
from pipelines.splits import PARTS, Splits
from pipelines.tag_schemes import PLAIN, SCHEMES, detect_scheme, split_tag, to_bio
from pipelines.tagged import TaggedExample, tagged_splits
from pipelines.tagged_reading import Columns, RawSentence, Reading
from pipelines.tagged_rows import sentences
from pipelines.textfile import encoding_note, inspect_file

CONLL = "conll"
# How tags are written that stand behind a space: spans, and classes such as NOUN, NN$ or ``.
_TAG = re.compile(r"[BIOESLUM](?:[-_].*)?|[A-Z0-9_$#.,:;'`\"()|=+*-]+")
# Files of a directory whose lines belong together.
PARALLEL = (
    ("tokens", ("seq.in", "words.txt", "tokens.txt", "sentences.txt", "sents.txt")),
    ("tags", ("seq.out", "tags.txt", "labels.txt", "slots.txt")),
    ("intent", ("label", "intent.txt", "intents.txt", "label.txt")),
)


@dataclass(frozen=True)
class ParallelFiles:
    """A directory with a file of tokens, one of tags and perhaps one of intents."""

    directory: Path
    files: dict[str, Path]


def load_tagged(
    source: Source,
    *,
    tokens_column: str = "",
    tags_column: str = "",
    intent_column: str = "",
    scheme: str = "",
    encoding: str = "",
    intents: bool = False,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits[TaggedExample]:
    """Loads tagged sentences.

    Args:
        source: "synthetic", "synthetic:SIZE", "tfds:NAME[/CONFIG]", a directory, a file, or what a
            group of file names begins with; a DataFrame or a list of dicts; or a mapping of parts
            to any of these (see ``pipelines.frames.located``).
        tokens_column: the column of the tokens or the text; found if "".
        tags_column: the column of the tags or spans; found if "".
        intent_column: the column of the intent; found if "".
        scheme: how tags spell spans, one of ``tag_schemes.SCHEMES``; found out if "".
        encoding: of files that are not UTF-8, as Python names it; guessed if "".
        intents: whether each sentence has an intent.
        seed: which examples are split off, and which synthetic ones are made.
        validation_fraction: share of the training examples for a missing validation part.
        test_fraction: share of the training examples for a missing test part.

    Raises:
        DataError: one sentence that names file and line, column and way out.
    """
    split = {"seed": seed, "validation_fraction": validation_fraction,
             "test_fraction": test_fraction}  # fmt: skip
    if scheme and scheme not in SCHEMES:
        raise ConfigError(f"scheme is {scheme!r}; use one of {', '.join(SCHEMES)}")
    columns = Columns(tokens_column, tags_column, intent_column, intents)
    reading = Reading(columns)
    if isinstance(source, (str, os.PathLike)):
        kind, _, rest = (source := os.fspath(source)).partition(":")
        if kind == "synthetic":
            examples = _synthetic(source, rest, intents, seed)
            splits = tagged_splits({"train": examples}, name=f"synthetic-{len(examples)}", **split)
            return replace(splits, notes=[])
        if kind == "tfds" and ":" in source:
            from pipelines.tagged_tfds import tfds_rows

            name, parts, notes = tfds_rows(rest)
            found = {part: list(sentences(rows, reading)) for part, rows in parts.items()}
            return _finished(found, name, notes, reading, scheme, split)
        if not source.strip():
            raise DataError("the data source is empty: give a path, tfds:NAME or synthetic.")
    name, parts, notes = _located(source)
    reader = _Files(reading, check_encoding(encoding))
    found = {
        part: [one for member in parts[part] for one in reader.sentences(member)]
        for part in PARTS if part in parts
    }  # fmt: skip
    return _finished(found, name, [*notes, *reader.notes()], reading, scheme, split)


def read_sentences(
    path: Path, *, tokens_column: str = "", encoding: str = ""
) -> tuple[list[str | list[str]], list[str]]:
    """Raw inputs of a file: lines of text, or the tokens of whatever training reads.

    Args:
        path: a file.
        tokens_column: found if "".
        encoding: of a file that is not UTF-8, as Python names it; guessed if "".

    Returns:
        (texts and lists of tokens, notes).

    Raises:
        DataError: the file cannot be read.
    """
    if not path.exists():
        raise DataError(f"--file {path} is not there; name a file of sentences.")
    reading = Reading(Columns(tokens_column, labelled=False))
    files = _Files(reading, check_encoding(encoding))
    member = _parallel(path) if path.is_dir() else None
    members = [member] if member else locate_members(path)[0]
    raw: list[str | list[str]] = []
    for one in members:
        raw += files.raw(one)
    reading.problems.raise_if_any()
    return raw, [*files.notes(), *reading.notes()]


def _synthetic(source: str, size: str, intents: bool, seed: int) -> list[TaggedExample]:
    from pipelines.synthetic_tagging import DEFAULT_SIZE, synthetic_commands, synthetic_entities

    if ":" in source and not size.isdecimal():
        raise DataError(f"'{source}': the size after the colon must be a number: synthetic:5000.")
    make = synthetic_commands if intents else synthetic_entities
    return make(int(size) if size else DEFAULT_SIZE, seed)


def _located(source: Source) -> tuple[str, dict[str, list[Any]], list[str]]:
    """Name, members by part, and notes."""
    if isinstance(source, str) and Path(source).is_dir():
        parts: dict[str, list[Any]] = {}
        for folder in sorted(Path(source).iterdir()):
            part = PART_WORDS.get(folder.name.lower())
            member = _parallel(folder) if part and folder.is_dir() else None
            if member:
                parts[part] = [member]
        if "train" in parts:
            return Path(source).resolve().name, parts, []
        member = _parallel(Path(source))
        if member:
            return Path(source).resolve().name, {"train": [member]}, []
    layout = located(source)
    return layout.name, layout.parts, layout.notes


def _parallel(folder: Path) -> ParallelFiles | None:
    files = {}
    for role, names in PARALLEL:
        there = [folder / name for name in names if (folder / name).is_file()]
        if there:
            files[role] = there[0]
    # tokens.txt alone is a text; with tags beside it, the lines of both belong together.
    return ParallelFiles(folder, files) if {"tokens", "tags"} <= files.keys() else None


class _Files:
    """Files and tables to sentences."""

    def __init__(self, reading: Reading, encoding: str) -> None:
        self.reading, self.encoding = reading, encoding
        self.sources: list[Any] = []

    def notes(self) -> list[str]:
        """What was guessed."""
        note = encoding_note([one for one in self.sources if one.note])
        return [note] if note else []

    def sentences(self, member: PartFile | Records | ParallelFiles) -> Iterator[RawSentence]:
        """Those of a file, a table in memory, or files whose lines belong together."""
        if isinstance(member, PartFile) and member.label is not None:
            raise DataError(
                f"{member.path}: files or folders of one label each hold no tags; give a file with "
                "a token and its tag in each line, or one of the layouts of docs/data.md."
            )
        name = str(getattr(member, "path", "") or getattr(member, "directory", "") or member.name)
        found = None
        for found in sentences(self._rows(member), self.reading):
            yield found
        if found is None and not self.reading.problems.found:
            raise DataError(f"{name} holds no sentence; fill it or remove it.")

    def _rows(self, member: PartFile | Records | ParallelFiles) -> Iterator[Row]:
        if isinstance(member, Records):
            return member.rows()
        if isinstance(member, ParallelFiles):
            return self._side_by_side(member)
        source = self._inspected(member.path)
        form = self._form(member, source)
        return read_rows(source, form=form, with_problems=True)

    def _inspected(self, path: Path) -> Any:
        source = inspect_file(path, self.encoding)
        self.sources.append(source)
        return source

    def _form(self, member: PartFile, source: Any) -> str:
        """The reader's name: tables have a header that is known, all else is CoNLL."""
        form = member.form if member.form != LINES else told_format(source, self._names)
        if form not in (LINES, DELIMITED):
            return form
        cells = [cell.strip().lower() for cell in first_cells(source)]
        named = sum(cell in self._names for cell in cells)
        if form == DELIMITED and (named > 1 or (named and len(cells) == 1)):
            return DELIMITED
        return CONLL

    @property
    def _names(self) -> frozenset[str]:
        return self.reading.columns.names

    def _side_by_side(self, member: ParallelFiles) -> Iterator[Row]:
        """Rows of files whose lines belong together; a blank line is an empty sentence."""
        roles = [role for role in member.files if role != "intent" or self._wants_intents]
        lines = {}
        for role in roles:
            with self._inspected(member.files[role]).open() as stream:
                lines[role] = stream.read().splitlines()
        counts = {role: len(found) for role, found in lines.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{member.files[r].name} has {n}" for r, n in counts.items())
            raise DataError(
                f"{member.directory}: the lines of its files belong together, but {told}; find the "
                "line that one of them lacks."
            )
        file = str(member.files["tokens"])
        for number, values in enumerate(zip(*lines.values(), strict=True), 1):
            row = dict(zip(lines, values, strict=True))
            if any(value.strip() for value in row.values()):
                yield Row({**row, "tokens": row["tokens"].split(), "tags": row["tags"].split()},
                          file, number)  # fmt: skip

    @property
    def _wants_intents(self) -> bool:
        return self.reading.columns.with_intents

    def raw(self, member: PartFile | ParallelFiles) -> list[str | list[str]]:
        """Raw inputs: texts of lines and of text columns, else tokens."""
        if isinstance(member, ParallelFiles):
            return [one.tokens for one in sentences(self._side_by_side(member), self.reading)]
        source = self._inspected(member.path)
        form = self._form(member, source)
        if form == CONLL and member.form == LINES and not _is_conll(source):
            rows = read_rows(source, form=LINES)
            return [row.values["line"] for row in rows]
        rows = read_rows(source, form=form, with_problems=True)
        return [
            one.text if one.text and one.in_bio else one.tokens
            for one in sentences(rows, self.reading)
        ]


def _is_conll(source: Any) -> bool:
    """Whether lines are a token and its tag each, and not sentences of equally many words."""
    widths, tabs, last = set(), True, set()
    with source.open() as stream:
        for number, line in enumerate(stream):
            if number == 1000:
                break
            if line.strip() and not line.startswith("#"):
                cells = split_cells(line.rstrip("\r\n"))
                widths.add(len(cells))
                last.add(cells[-1])
                tabs &= "\t" in line
    return len(widths) == 1 and widths != {1} and (tabs or all(map(_TAG.fullmatch, last)))


def _finished(
    parts: dict[str, list[RawSentence]],
    name: str,
    notes: Sequence[str],
    reading: Reading,
    scheme: str,
    split: dict[str, Any],
) -> Splits[TaggedExample]:
    """Raw sentences of all parts as examples, their tags in BIO."""
    reading.problems.raise_if_any()
    notes = list(notes)
    written = [one for found in parts.values() for one in found if not one.in_bio]
    found_out, scheme = not scheme, scheme or detect_scheme(one.tags for one in written)
    if scheme == PLAIN and found_out:
        _check_no_mixture(written)
    elif scheme != "bio" and written:
        notes.append(f"The tags spell spans as {scheme.upper()}; they were read as BIO.")
    examples = {
        part: [_example(one, PLAIN if one.in_bio else scheme, reading) for one in found]
        for part, found in parts.items()
    }
    reading.problems.raise_if_any()
    return tagged_splits(examples, name=name, notes=[*notes, *reading.notes()], **split)


def _check_no_mixture(written: Sequence[RawSentence]) -> None:
    """Refuses tags of which most spell spans and a few do not: one of them is a slip."""
    prefixed: list[tuple[RawSentence, int]] = []
    others: list[tuple[RawSentence, int]] = []
    outside = False
    for one in written:
        for i, tag in enumerate(one.tags):
            prefix = split_tag(tag)[0]
            outside |= tag == "O"
            if prefix != "O":
                (prefixed if prefix else others).append((one, i))
    if not prefixed or not others or not outside or len(others) > len(prefixed):
        return
    sentence, i = others[0]
    file, line, unit = sentence.place(i)
    where = f"{file}:{line}" if unit == "line" else f"{file}, {unit} {line}"
    names = name_list(sorted({one.tags[i] for one, i in others}), 5)
    raise DataError(
        f"{where}: the tag {sentence.tags[i]!r} spells no span, though {len(prefixed)} others do "
        f"(B-..., I-...); {len(others)} are so ({names}): write them as B-, I- or O, or read all "
        "as classes with --tag-scheme plain."
    )


def _example(sentence: RawSentence, scheme: str, reading: Reading) -> TaggedExample:
    tags, mended = to_bio(sentence.tags, scheme)
    for i in mended:
        line = sentence.place(i)[1]
        reading.mend(sentence.row, "spans began without a B and were read as beginning there", line)
    row = sentence.row
    return TaggedExample(
        tuple(sentence.tokens), tuple(tags), sentence.intent, sentence.text, sentence.starts,
        row.file, row.line, row.unit,
    )  # fmt: skip
