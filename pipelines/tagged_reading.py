"""Sentences as their sources have them, and what is noted about them on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from common.errors import DataError
from pipelines.messages import name_list, shorten
from pipelines.problems import Problems
from pipelines.readers import Row
from pipelines.readers.conll import COMMENTS, LINES
from pipelines.tokens import CLOSE, OPEN, SEPARATOR

_MARKS = (SEPARATOR, OPEN, CLOSE, "\n", "\r")
TOKEN_NAMES = ("tokens", "words", "token", "word", "form", "sentence", "text", "utterance",
               "query", "content")  # fmt: skip
TAG_NAMES = ("tags", "ner_tags", "tag", "ner", "slots", "slot", "slot_labels", "entities", "spans",
             "labels", "bio", "iob", "upos", "pos", "pos_tags", "xpos", "label")  # fmt: skip
INTENT_NAMES = ("intent", "intents", "intent_label", "label", "class", "category")
SENTENCE_NAMES = ("sentence #", "sentence_id", "sent_id", "sentence_idx", "sentence id",
                  "sentence_number", "sentence", "sent", "id")  # fmt: skip


@dataclass
class Columns:
    """The columns that are asked for; "" where they are to be found."""

    tokens: str = ""
    tags: str = ""
    intent: str = ""
    with_intents: bool = False
    labelled: bool = True

    def __post_init__(self) -> None:
        self.asked = {"tokens": self.tokens, "tags": self.tags, "intent": self.intent}

    @property
    def names(self) -> frozenset[str]:
        """Names of columns, in lower case, by which a table is known."""
        flags = (name.lower() for name in self.asked.values() if name)
        return frozenset((*TOKEN_NAMES, *TAG_NAMES, *INTENT_NAMES, *SENTENCE_NAMES, *flags))

    def find(self, row: Row, role: str, known: Sequence[str], but: Sequence[str] = ()) -> str:
        """The column of a role: as asked for, or the first of those known.

        Raises:
            DataError: it is not there.
        """
        wanted = self.asked[role]
        there = [name for name in row.values if name not in (LINES, COMMENTS)]
        if wanted in there:
            return wanted
        by_lower = {name.strip().lower(): name for name in there if name not in but}
        found = [by_lower[name] for name in ([wanted.lower()] if wanted else known)
                 if name in by_lower]  # fmt: skip
        if found:
            return found[0]
        what = f"no column '{wanted}'" if wanted else f"no column that is known as the {role}"
        raise DataError(
            f"{row.where}: there is {what}; there are: {name_list(there)}; name it with "
            f"--{role}-column."
        )


@dataclass
class RawSentence:
    """A sentence as its source has it: tags in any scheme.

    Attributes:
        tokens: none is empty.
        tags: as many; none where the source has none.
        intent: "" where there is none.
        text: the original one, or "".
        starts: places of the tokens in it, or ().
        row: where it is.
        lines: of each token where it has one of its own.
        in_bio: whether the tags were made from spans.
    """

    tokens: list[str]
    tags: list[str]
    intent: str
    row: Row
    text: str = ""
    starts: tuple[int, ...] = ()
    lines: Sequence[int] = ()
    in_bio: bool = False

    def place(self, token: int) -> tuple[str, int, str]:
        """File, line and unit of a token."""
        line = self.lines[token] if self.lines else self.row.line
        return self.row.file, line, self.row.unit


@dataclass
class Reading:
    """What is found out and counted while the rows of all parts are read.

    Attributes:
        columns: where tokens, tags and intents are.
        problems: what cannot be used.
        mended: what was put right or left out, by what it is.
        counts: of each file of tokens in lines the columns that count them.
    """

    columns: Columns
    problems: Problems = field(default_factory=Problems)
    mended: Problems = field(default_factory=Problems)
    counts: dict[str, list[str]] = field(default_factory=dict)

    def bad(self, row: Row, kind: str, message: str, line: int | None = None) -> None:
        """Notes a row that cannot be used."""
        self.problems.add(kind, message, row.file, row.line if line is None else line, row.unit)

    def mend(self, row: Row, what: str, line: int | None = None) -> None:
        """Notes something that was put right."""
        self.mended.add(what, what, row.file, row.line if line is None else line, row.unit)

    def notes(self) -> list[str]:
        """Sentences for the user."""
        return [
            f"{what[0].upper()}{what[1:]}: {count} ({self.mended.places(what)})."
            for what, count in self.mended.counts.items()
        ]


def checked(sentence: RawSentence | None, reading: Reading) -> Iterator[RawSentence]:
    """A sentence without empty tokens, if any token is left and each has a tag."""
    if sentence is None:
        return
    if reading.columns.labelled and len(sentence.tags) != len(sentence.tokens):
        told = f"there are {len(sentence.tokens)} tokens but {len(sentence.tags)} tags"
        reading.bad(sentence.row, "number", f"{told}; give a tag for each token.")
        return
    _leave_empty(sentence, reading)
    _mend(sentence, reading)
    if not sentence.tokens:
        reading.mend(sentence.row, "sentences without a token were left out")
        return
    bare = next((i for i, tag in enumerate(sentence.tags) if not tag), None)
    if bare is not None:
        what = f"the token {shorten(sentence.tokens[bare])!r} has no tag; give it one, such as O."
        reading.bad(sentence.row, "no tag", what, sentence.place(bare)[1])
        return
    wanted = reading.columns.with_intents and reading.columns.labelled
    if wanted and not sentence.intent:
        what = "the sentence has no intent; give it one, such as 'none'."
        reading.bad(sentence.row, "intent", what)
        return
    yield sentence


def _leave_empty(sentence: RawSentence, reading: Reading) -> None:
    """Leaves empty tokens out."""
    kept = [i for i, token in enumerate(sentence.tokens) if token.strip()]
    for i in sorted(set(range(len(sentence.tokens))) - set(kept)):
        reading.mend(sentence.row, "empty tokens were left out", sentence.place(i)[1])
    for name in ("tokens", "tags", "starts", "lines"):
        values = getattr(sentence, name)
        if values:
            setattr(sentence, name, type(values)(values[i] for i in kept))


def _mend(sentence: RawSentence, reading: Reading) -> None:
    """Replaces characters that cannot be sent, or that mark the borders of tokens."""
    for i, token in enumerate(sentence.tokens):
        line = sentence.place(i)[1]
        if any(mark in token for mark in _MARKS):
            for mark in _MARKS:
                token = token.replace(mark, " ")
            reading.mend(sentence.row, "tokens held control characters, now spaces", line)
        whole = token if token.isascii() else token.encode("utf-8", "replace").decode("utf-8")
        if whole != token:
            reading.mend(sentence.row, "tokens held halves of characters, now '?'", line)
        sentence.tokens[i] = whole
