"""Text to learn a language from: files, tables, or the source of Python's standard library.

    splits = load_corpus("synthetic")                   # functions of the standard library
    splits = load_corpus("data/ptb")                    # ptb.train.txt.gz, ptb.valid.txt, ...
    splits = load_corpus("poems.txt", documents="lines")

An example is a document: a text that is read from its first unit to its last, whatever stood before
it. A file that is one document has parts cut off at line ends, in its order.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipelines.encodings import check_encoding
from pipelines.frames import Source, located
from pipelines.layout import PartFile
from pipelines.problems import Problems
from pipelines.readers import LINES, Row, read_rows, told_format
from pipelines.records import Records
from pipelines.splits import PARTS, Splits, content, fingerprint, make_splits
from pipelines.text_columns import find_column
from pipelines.text_examples import TEXT_NAMES
from pipelines.textfile import TextFile, encoding_note, inspect_file

AUTO = "auto"
DOCUMENTS = (AUTO, "files", "lines", "paragraphs")
DEFAULT_SIZE = 6000
SHORTEST, LONGEST = 4, 20  # lines of a function of the default corpus
FEWEST = 10  # documents from which some are split off whole


def load_corpus(
    source: Source,
    *,
    documents: str = AUTO,
    text_column: str = "",
    encoding: str = "",
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits[str]:
    """Loads documents.

    Args:
        source: "synthetic" or "synthetic:SIZE", functions of the standard library; a directory, a
            file, or what a group of file names begins with; a table in memory, or a mapping of
            parts (see ``pipelines.frames.located``).
        documents: what one is, in text files: "files", "lines" or "paragraphs", which empty lines
            part; "auto" are files. A row of a table is one.
        text_column: the column of the text in tables; found if "".
        encoding: of files that are not UTF-8, as Python names it; guessed if "".
        seed: which documents are split off.
        validation_fraction: share of train for a missing validation part.
        test_fraction: share of train for a missing test part.

    Raises:
        DataError: one sentence that names file and line, column and way out.
    """
    split = {"seed": seed, "validation_fraction": validation_fraction,
             "test_fraction": test_fraction}  # fmt: skip
    if isinstance(source, (str, os.PathLike)):
        kind, _, size = (source := os.fspath(source)).partition(":")
        if kind == "synthetic":
            if ":" in source and not size.isdecimal():
                raise DataError(
                    f"'{source}': the size after the colon must be a number: synthetic:5000."
                )
            found = functions(int(size) if size else DEFAULT_SIZE)
            splits = _splits({"train": found}, f"python-{len(found)}", [], split)
            return replace(splits, notes=[])
    reader = _Reader(documents, text_column, check_encoding(encoding))
    layout = located(source)
    parts = {
        part: [text for member in layout.parts[part] for text in reader.read(member)]
        for part in PARTS if part in layout.parts
    }  # fmt: skip
    reader.problems.raise_if_any()
    return _splits(parts, layout.name, [*layout.notes, *reader.notes()], split)


def read_prompts(path: Path, encoding: str = "") -> tuple[list[str], list[str]]:
    """Each line of a file, for ``seqloom predict --file``, and notes."""
    if not path.is_file():
        raise DataError(f"--file {path} is not there; name a text file, a text in each line.")
    source = inspect_file(path, check_encoding(encoding))
    with source.open() as stream:
        lines = stream.read().splitlines()
    return lines, [source.note] if source.note else []


class _Reader:
    """Files and tables to documents."""

    def __init__(self, documents: str, text_column: str, encoding: str) -> None:
        self.documents, self.text_column, self.encoding = documents, text_column, encoding
        self.sources: list[TextFile] = []
        self.problems = Problems()

    def notes(self) -> list[str]:
        """What was guessed."""
        note = encoding_note([one for one in self.sources if one.note])
        return [note] if note else []

    def read(self, member: PartFile | Records) -> Iterator[str]:
        """The documents of a file or a table; at least one."""
        name = member.name if isinstance(member, Records) else str(member.path)
        found = None
        for found in self._documents(member):
            yield found
        if found is None and not self.problems.found:
            raise DataError(f"{name} holds no text; fill it or remove it.")

    def _documents(self, member: PartFile | Records) -> Iterator[str]:
        if isinstance(member, Records):
            yield from self._cells(member.rows(), member.name)
            return
        source = inspect_file(member.path, self.encoding)
        self.sources.append(source)
        form = LINES if member.document else member.form
        if form == LINES and self.text_column:
            form = told_format(source, frozenset({self.text_column.lower()}))
        if form != LINES:
            rows = read_rows(source, form=form, with_problems=True)
            yield from self._cells(rows, str(member.path))
            return
        with source.open() as stream:
            text = stream.read().replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
        if self.documents == "lines":
            yield from (line for line in text.split("\n") if line.strip())
        elif self.documents == "paragraphs":
            yield from (part.strip("\n") for part in text.split("\n\n") if part.strip())
        elif text.strip():
            yield text

    def _cells(self, rows: Iterator[Row], name: str) -> Iterator[str]:
        column = ""
        for row in rows:
            if not row.problem and not column:
                column = find_column("text", self.text_column, TEXT_NAMES, list(row.values), name)
            text = None if row.problem else row.values.get(column)
            if row.problem or not isinstance(text, str):
                message = row.problem or f"{column} holds no text but {text!r}"
                self.problems.add("text", message, row.file, row.line, row.unit)
            elif text.strip():
                yield text


def _splits(
    parts: dict[str, list[str]], name: str, notes: list[str], split: dict[str, Any]
) -> Splits[str]:
    missing = [part for part in ("test", "validation") if part not in parts]
    if missing and len(parts["train"]) < FEWEST:
        parts, more = _cut_in_order(parts, missing, name, split)
        everything = [parts[part] for part in PARTS]
        digest = fingerprint(*everything, fields=lambda text: (content(text),))
        return Splits(*everything, name, digest, [*notes, more])
    return make_splits(parts, key=content, name=name, notes=notes, noun="documents", **split)


def _cut_in_order(
    parts: dict[str, list[str]], missing: list[str], name: str, split: dict[str, Any]
) -> tuple[dict[str, list[str]], str]:
    """Missing parts from the end of each training document, test last."""
    shares = {part: split[f"{part}_fraction"] for part in missing}
    found = {"train": [], **{part: [] for part in reversed(missing)}}
    for text in parts["train"]:
        lines = text.splitlines(keepends=True)
        if len(lines) <= len(missing):
            raise DataError(
                f"{name}: a text of {len(lines)} line is too short to cut validation and test off "
                "its end; give more lines, or files for the parts."
            )
        total, end = len(text), len(lines)
        for part in missing:
            first, size = end, 0
            while first > 1 and (size < shares[part] * total or first == end):
                first -= 1
                size += len(lines[first])
            found[part].append("".join(lines[first:end]))
            end = max(1, first)
        found["train"].append("".join(lines[:end]))
    told = " and ".join(f"{part} ({shares[part]:.0%})" for part in reversed(missing))
    return {**parts, **found}, f"The end of each text was cut off for {told}, at a line end."


def functions(count: int) -> list[str]:
    """Functions and classes of Python's standard library, as it is installed.

    Args:
        count: how many, in the order of a hash: those of some lines each, no two alike.

    Raises:
        DataError: the library's source is not there.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "site-packages",
        "dist-packages",
        "__pycache__",
    }
    files = [
        path for path in sorted(root.rglob("*.py"))
        if not left_out & set(path.relative_to(root).parts[:-1])
    ]  # fmt: skip
    found = {text for path in files for text in _definitions(path)}
    if len(found) < FEWEST:
        raise DataError(
            f"the default corpus is the source of Python's standard library, and {root} has none; "
            "give a text file with --data."
        )
    ranked = sorted(found, key=lambda text: hashlib.sha256(text.encode("utf-8")).digest())
    return ranked[:count]


def _definitions(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in strings
            tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError):
        return
    lines = text.splitlines()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if SHORTEST <= node.end_lineno - first + 1 <= LONGEST:
                yield "\n".join(line.rstrip() for line in lines[first - 1 : node.end_lineno]) + "\n"
