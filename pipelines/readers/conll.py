"""CoNLL: a token a line, its columns between tabs or spaces, an empty line behind each sentence.

CoNLL-U (universaldependencies.org/format.html) is one of them: its columns have names, and its
comments say the text. Any number of columns is read in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipelines.messages import shorten
from pipelines.readers import Row
from pipelines.textfile import TextFile

EXTENSIONS = ("conll", "conllu", "conllx", "conllup", "bio", "iob", "iob2", "bioes")
LINES = "lines"  # key of the line numbers of a sentence's tokens
COMMENTS = "comments"
CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_GLOBAL = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
_COMMENT = re.compile(r"#( ?\S.*=|\s|$)")
_SKIPPED_ID = re.compile(r"\d+[-.]\d+")
_DOCUMENT = "-DOCSTART-"


@dataclass
class _Sentence:
    cells: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    problem: str = ""


def rows(source: TextFile) -> Iterator[Row]:
    """Streams the sentences of a file.

    Yields:
        One ``Row`` per sentence: a list of cells for each column, named by ``# global.columns``, by
        CoNLL-U, or "1", "2", ...; ``lines`` has the numbers of its lines and ``comments`` its
        comments. With its problem, a sentence in which a line has another number of columns than
        the lines before. In CoNLL-U, multiword ranges and empty nodes are kept: their ids say so.
    """
    file = str(source.path)
    names: tuple[str, ...] = ()
    sentence, width = _Sentence(), 0
    with source.open() as stream:
        for number, line in enumerate(stream, 1):
            line = line.rstrip("\r\n")
            if not line.strip():
                if sentence.cells:
                    yield _row(sentence, names, file)
                    sentence = _Sentence()
                continue
            found = _GLOBAL.match(line)
            if found:
                names = tuple(name.lower() for name in found[1].split())
                continue
            if _is_comment(line, width):
                sentence.comments.append(line)
                continue
            cells = split_cells(line, width)
            if cells[0] == _DOCUMENT:
                continue
            if not width:
                width = len(cells)
                names = names or (CONLLU if _is_conllu(cells) else ())
            if len(cells) != width and not sentence.problem:
                sentence.problem = (
                    f"this line has {len(cells)} columns, the lines before have {width} "
                    f"({shorten(line, 40)!r}); a token and its tag stand in one line, with a tab "
                    "or spaces between them."
                )
                sentence.lines.insert(0, number)
            sentence.cells.append(cells)
            sentence.lines.append(number)
    if sentence.cells:
        yield _row(sentence, names, file)


def split_cells(line: str, width: int = 0) -> list[str]:
    """The cells of a line: between tabs if it has any, else between spaces.

    Args:
        line: not blank.
        width: number of columns of the lines before; a line that mixes tabs and spaces is split at
            both where that fits better.
    """
    cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
    if cells and not cells[-1] and len(cells) != width:
        cells.pop()  # lines that end in a tab
    if "\t" in line and width and len(cells) != width:
        loose = line.split()
        return loose if len(loose) == width else cells
    return cells


def _is_comment(line: str, width: int) -> bool:
    """Whether a line that begins with a hash is none of a token that is one."""
    if not line.startswith("#"):
        return False
    if width and len(split_cells(line, width)) == width and not re.match(r"# \S+ = ", line):
        return False
    if not width and "\t" in line:
        return False
    return bool(_COMMENT.match(line)) or len(line.split()) == 1


def _is_conllu(cells: Sequence[str]) -> bool:
    return len(cells) == len(CONLLU) and cells[0].split("-")[0].split(".")[0].isdecimal()


def _row(sentence: _Sentence, names: Sequence[str], file: str) -> Row:
    if sentence.problem:
        return Row({}, file, sentence.lines[0], problem=sentence.problem)
    columns = list(zip(*sentence.cells, strict=True))
    if len(names) != len(columns):
        names = [str(i) for i in range(1, len(columns) + 1)]
    values = {name: list(cells) for name, cells in zip(names, columns, strict=True)}
    return Row({**values, LINES: sentence.lines, COMMENTS: sentence.comments}, file,
               sentence.lines[0])  # fmt: skip


def is_word(identity: str) -> bool:
    """Whether an id of CoNLL-U is that of a word, and not of a multiword range or an empty node."""
    return not _SKIPPED_ID.fullmatch(identity)
