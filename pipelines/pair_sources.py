"""Where pairs of texts come from: generated, parallel files, tables, or memory.

    splits = load_pairs("synthetic")                                  # dates and numbers to ISO
    splits = load_pairs("multi30k", source_language="en", target_language="de")
    splits = load_pairs("pairs.tsv", source_column="English", target_column="German")
    splits = load_pairs("memory.tmx", source_language="en", target_language="de")

docs/translation.md shows every layout that is understood.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipelines.encodings import check_encoding
from pipelines.frames import Source, located
from pipelines.layout import PartFile, locate_members
from pipelines.messages import shorten
from pipelines.pair_columns import PairColumns, form_of
from pipelines.pairs import TextPair, pair_splits
from pipelines.parallel_files import ParallelSet, locate_parallel
from pipelines.problems import Problems
from pipelines.readers import DELIMITED, LINES, Row, read_rows
from pipelines.readers.lines import TEXT_COLUMN
from pipelines.records import Records
from pipelines.splits import PARTS, Splits
from pipelines.textfile import TextFile, encoding_note, inspect_file

# Where words are not parted by spaces, so many characters count as one.
CHARACTERS_PER_WORD = 8


def load_pairs(
    source: Source,
    *,
    source_language: str = "",
    target_language: str = "",
    test_set: str = "",
    source_column: str = "",
    target_column: str = "",
    max_words: int = 250,
    encoding: str = "",
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits[TextPair]:
    """Loads pairs of texts.

    Args:
        source: "synthetic", "synthetic:SIZE", a directory, a file, or what a group of file names
            begins with; a DataFrame or a list of dicts; or a mapping of parts to any of these (see
            ``pipelines.frames.located``).
        source_language: extension of parallel files, language of a TMX file or name of a column.
        target_language: the same of the other side.
        test_set: which set of parallel files to test on; the first by name if "".
        source_column: the column of the source; found if "".
        target_column: the column of the target; found if "".
        max_words: pairs of train with more words on a side are left out and counted.
        encoding: of files that are not UTF-8, as Python names it; guessed if "".
        seed: which examples are split off, and which synthetic ones are made.
        validation_fraction: share of the training examples for a missing validation part.
        test_fraction: share of the training examples for a missing test part.

    Raises:
        DataError: one sentence that names file and line, column and way out.
    """
    split = {"seed": seed, "validation_fraction": validation_fraction,
             "test_fraction": test_fraction}  # fmt: skip
    if isinstance(source, (str, os.PathLike)):
        source = os.fspath(source)
        kind, _, size = source.partition(":")
        if kind == "synthetic":
            pairs = _synthetic(source, size, seed)
            splits = pair_splits({"train": pairs}, name=f"synthetic-{len(pairs)}", **split)
            return replace(splits, notes=[])
        if not source.strip():
            raise DataError("the data source is empty: give a path or synthetic.")
    columns = PairColumns(source_column, target_column, source_language, target_language)
    reading = _Reading(columns, check_encoding(encoding))
    layout = None
    if isinstance(source, str) and not (source_column or target_column):
        path = Path(source).expanduser()
        layout = locate_parallel(path, source_language, target_language, test_set)
    if layout is None:
        if test_set:
            raise DataError(f"--test-set {test_set}: {shorten(source)} holds no parallel files.")
        layout = located(source)
    parts = {
        part: [pair for member in layout.parts[part] for pair in reading.pairs(member)]
        for part in PARTS if part in layout.parts
    }  # fmt: skip
    reading.problems.raise_if_any()
    parts["train"] = reading.short_enough(parts["train"], max_words)
    notes = [*layout.notes, *columns.notes, *reading.notes()]
    try:
        return pair_splits(parts, name=layout.name, notes=notes, **split)
    except DataError as error:
        if not (left_out := reading.left_out()):
            raise
        # Nobody is told to give more who has given enough.
        raise DataError(" ".join([str(error), *left_out])) from error


def read_sources(
    path: Path, *, source_column: str = "", source_language: str = "", encoding: str = ""
) -> tuple[list[str], list[str]]:
    """Texts of a file to translate: its lines, or a column of a table.

    Args:
        path: a file.
        source_column: of a table; found if "".
        source_language: of a TMX file, or the name of a column.
        encoding: of a file that is not UTF-8, as Python names it; guessed if "".

    Returns:
        (texts, notes).

    Raises:
        DataError: the file cannot be read, or no column is plainly the source.
    """
    if not path.exists():
        raise DataError(f"--file {path} is not there; name a file of texts.")
    columns = PairColumns(source_column, "", source_language, "", targets=False)
    reading = _Reading(columns, check_encoding(encoding))
    members, notes = locate_members(path)
    texts = [text for member in members for text in reading.texts(member)]
    reading.problems.raise_if_any()
    return texts, [*notes, *columns.notes, *reading.notes()]


def _synthetic(source: str, size: str, seed: int) -> list[TextPair]:
    from pipelines.synthetic_translation import DEFAULT_SIZE, synthetic_pairs

    if ":" in source and not size.isdecimal():
        raise DataError(f"'{source}': the size after the colon must be a number: synthetic:5000.")
    return synthetic_pairs(int(size) if size else DEFAULT_SIZE, seed)


@dataclass
class _Reading:
    """Files and tables to pairs, and what is noted on the way."""

    columns: PairColumns
    encoding: str
    problems: Problems = field(default_factory=Problems)
    dropped: Problems = field(default_factory=Problems)
    files: list[TextFile] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Sentences for the user."""
        note = encoding_note([one for one in self.files if one.note])
        return [*([note] if note else []), *self.left_out()]

    def left_out(self) -> list[str]:
        """A sentence about each kind of pair that was left out."""
        found = []
        for what, count in self.dropped.counts.items():
            subject = f"1 pair {what} was" if count == 1 else f"{count} pairs {what} were"
            found.append(f"{subject} left out: {self.dropped.places(what)}.")
        return found

    def pairs(self, member: PartFile | Records | ParallelSet) -> Iterator[TextPair]:
        """Those of one file, table or set of parallel files."""
        if isinstance(member, ParallelSet):
            yield from self._aligned(member)
            return
        name, found = str(getattr(member, "path", "") or member.name), False
        for row in self._rows(member):
            found = True
            if row.problem:
                self._bad(row, "row", row.problem)
                continue
            texts = self.columns.texts(row)
            wrong = next((one for one in texts if not isinstance(one, str)), None)
            if wrong is not None:
                self._bad(row, "text", f"the text is {shorten(wrong)}, not a string; give one.")
                continue
            yield from self._pair(*texts, row.file, row.line, row.unit)
        if not found:
            raise DataError(f"{name} holds no pair; fill it or remove it.")

    def texts(self, member: PartFile) -> Iterator[str]:
        """The sources of one file."""
        for row in self._rows(member):
            if row.problem:
                self._bad(row, "row", row.problem)
                continue
            text = row.values.get(TEXT_COLUMN)
            text = self.columns.texts(row)[0] if text is None or len(row.values) > 1 else text
            if isinstance(text, str):
                yield text.strip()
            else:
                self._bad(row, "text", f"the text is {shorten(text)}, not a string; give one.")

    def short_enough(self, pairs: list[TextPair], limit: int) -> list[TextPair]:
        """Training pairs without those of very long texts: they take memory and teach little."""
        kept = []
        for pair in pairs:
            if max(map(words_of, (pair.source, pair.target))) <= limit:
                kept.append(pair)
            else:
                what = f"of train with more than {limit} words on a side (--max-words)"
                self.dropped.add(what, what, pair.file, pair.line, pair.unit)
        return kept

    def _bad(self, row: Row, kind: str, message: str) -> None:
        self.problems.add(kind, message, row.file, row.line, row.unit)

    def _inspected(self, path: Path) -> TextFile:
        source = inspect_file(path, self.encoding)
        self.files.append(source)
        return source

    def _rows(self, member: PartFile | Records) -> Iterator[Row]:
        if isinstance(member, Records):
            return member.rows()
        if member.label is not None:
            raise DataError(
                f"{member.path}: files or folders of one label each hold no pairs; give parallel "
                "files such as train.en and train.de, or one of the layouts of docs/translation.md."
            )
        source = self._inspected(member.path)
        form = form_of(member, source, self.columns)
        options = {"header": self.columns.has_header(source)} if form == DELIMITED else {}
        if form == LINES and self.columns.targets:
            raise DataError(
                f"{member.path} holds lines without columns; a pair needs a tab between its "
                "texts, or parallel files such as train.en and train.de."
            )
        return read_rows(source, form=form, with_problems=True, **options)

    def _aligned(self, files: ParallelSet) -> Iterator[TextPair]:
        """Pairs of the lines of two files."""
        sides = [_lines(self._inspected(path)) for path in (files.source, files.target)]
        if len(sides[0]) != len(sides[1]):
            raise DataError(
                f"{files.source} has {len(sides[0])} lines and {files.target.name} has "
                f"{len(sides[1])}: each line of one is the translation of the same line of the "
                "other; find the line that one of them lacks."
            )
        for number, texts in enumerate(zip(*sides, strict=True), 1):
            yield from self._pair(*texts, str(files.source), number, "line")

    def _pair(
        self, source: str, target: str, file: str, line: int, unit: str
    ) -> Iterator[TextPair]:
        # Halves of characters, which JSON can spell, cannot be sent.
        texts = [one.strip().encode("utf-8", "replace").decode("utf-8") for one in (source, target)]
        if all(texts):
            yield TextPair(*texts, file, line, unit)
        elif any(texts):
            what = "with nothing on one side"
            self.dropped.add(what, what, file, line, unit)


def words_of(text: str) -> float:
    """Number of words, or of ``CHARACTERS_PER_WORD`` characters where that is more."""
    return max(len(text.split()), len(text) / CHARACTERS_PER_WORD)


def _lines(source: TextFile) -> list[str]:
    """Lines of a file, empty ones too. Only line feeds end them: other separators of Unicode may
    stand inside a sentence, and a line too many would shift all that follow."""
    with source.open() as stream:
        text = stream.read()
    end = "\n" if "\n" in text else "\r"
    lines = text.split(end)
    if not lines[-1].strip():
        lines.pop()
    return [one.rstrip("\r") for one in lines] if any(map(str.strip, lines)) else _nothing(source)


def _nothing(source: TextFile) -> Any:
    raise DataError(f"{source.path} is empty; fill it or remove it.")
