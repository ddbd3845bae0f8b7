"""Spans of characters, as annotation tools write them, and the tokens that they cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pipelines.messages import shorten
from pipelines.readers import Row
from pipelines.tokens import Token

_STARTS = ("start", "start_offset", "startOffset", "from", "begin")
_ENDS = ("end", "end_offset", "endOffset", "to", "stop")
_LABELS = ("label", "labels", "entity", "type", "tag", "entity_group", "class", "name")


class CharacterSpan(NamedTuple):
    """Some characters of a text: ``text[start:end]``, counted in code points."""

    start: int
    end: int
    label: str


class Notes(Protocol):
    """Where problems go: ``pipelines.tagged_rows.Reading``."""

    def bad(self, row: Row, kind: str, message: str, line: int | None = None) -> None: ...
    def mend(self, row: Row, what: str, line: int | None = None) -> None: ...


def read_spans(given: Any, text: str, row: Row, notes: Notes) -> list[CharacterSpan] | None:
    """Spans as Doccano, Label Studio, Prodigy, spaCy and Rasa write them.

    Args:
        given: a list of ``[start, end, label]`` or of objects with a start, an end and a label.
        text: that they count in.
        row: where they are, for messages.
        notes: takes what is wrong with them.

    Returns:
        The spans without white space at their ends; None where one cannot be used.
    """
    found = []
    for one in given or []:
        span = _span(one)
        if span is None:
            notes.bad(row, "span", f"the span {shorten(one)} has no whole numbers as start and end "
                      "and a label; write [start, end, label].")  # fmt: skip
            return None
        start, end, label = span
        if not 0 <= start < end <= len(text):
            notes.bad(row, "span", (
                f"the span {shorten(one)} is not within its text of {len(text)} characters; count "
                "code points from 0, the end behind the last one."
            ))  # fmt: skip
            return None
        inside = text[start:end]
        if not inside.strip():
            notes.mend(row, "spans of white space alone were left out")
            continue
        if inside != inside.strip():
            notes.mend(row, "spans began or ended with white space, which was left out")
            start += len(inside) - len(inside.lstrip())
            end -= len(inside) - len(inside.rstrip())
        found.append(CharacterSpan(start, end, label))
    return found


def _span(one: Any) -> tuple[int, int, str] | None:
    if isinstance(one, Mapping):
        values = [next((one[n] for n in names if n in one), None)
                  for names in (_STARTS, _ENDS, _LABELS)]  # fmt: skip
    else:
        values = list(one)[:3] if isinstance(one, Sequence) and not isinstance(one, str) else []
    if len(values) != 3:
        return None
    start, end, label = values
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    whole = all(isinstance(x, int) and not isinstance(x, bool) for x in (start, end))
    if not whole or not isinstance(label, str) or not label.strip():
        return None
    return start, end, label.strip()


def disjoint(spans: Sequence[CharacterSpan]) -> tuple[list[CharacterSpan], int]:
    """Spans of which none lies over another, and how many were left out: the longest stay."""
    kept: list[CharacterSpan] = []
    for span in sorted(set(spans), key=lambda one: (one.start - one.end, one.start, one.label)):
        if all(span.end <= one.start or span.start >= one.end for one in kept):
            kept.append(span)
    return sorted(kept), len(set(spans)) - len(kept)


def cut_at(tokens: Sequence[Token], spans: Sequence[CharacterSpan], text: str) -> list[Token]:
    """Tokens, cut where a span begins or ends inside one."""
    borders = sorted({at for span in spans for at in (span.start, span.end)})
    found: list[Token] = []
    for token in tokens:
        inside = [at for at in borders if token.start < at < token.end]
        if text[token.start : token.end] != token.token or not inside:
            found.append(token)
            continue
        places = [token.start, *inside, token.end]
        found += [Token(text[a:b], a, b) for a, b in zip(places, places[1:], strict=False)
                  if text[a:b].strip()]  # fmt: skip
    return found
