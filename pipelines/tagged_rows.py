"""Rows of any file to sentences: tokens with tags, text with spans, a token a row."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from common.errors import DataError
from pipelines.messages import shorten
from pipelines.readers import Row
from pipelines.readers.conll import COMMENTS, LINES, is_word
from pipelines.tag_schemes import spans_to_bio
from pipelines.tagged_reading import (
    INTENT_NAMES,
    SENTENCE_NAMES,
    TAG_NAMES,
    TOKEN_NAMES,
    Columns,
    RawSentence,
    Reading,
    checked,
)
from pipelines.tagged_spans import CharacterSpan, cut_at, disjoint, read_spans
from pipelines.tokens import SEPARATOR, Token, TokenRules


def sentences(rows: Iterable[Row], reading: Reading) -> Iterator[RawSentence]:
    """The sentences of rows; what is wrong with them is noted in ``reading``."""
    group: list[Row] = []
    by = None
    for row in rows:
        if row.problem:
            reading.bad(row, "row", row.problem)
            continue
        if LINES in row.values:
            yield from checked(_from_columns(row, reading), reading)
            continue
        column = _sentence_column(row, reading.columns)
        if column is None:
            yield from checked(_from_record(row, reading), reading)
            continue
        key = str(row.values[column]).strip()
        if group and key and key != by:
            yield from checked(_from_tokens(group, reading), reading)
            group = []
        by = key or by
        group.append(row)
    if group:
        yield from checked(_from_tokens(group, reading), reading)


def _from_columns(row: Row, reading: Reading) -> RawSentence | None:
    """A sentence of CoNLL."""
    columns, values = reading.columns, dict(row.values)
    lines, comments = values.pop(LINES), values.pop(COMMENTS)
    text, kept = "", list(range(len(lines)))
    if "id" in values and "form" in values:
        kept = [i for i in kept if is_word(values["id"][i])]
        text = next((c.split("=", 1)[1].strip() for c in comments if c.startswith("# text =")), "")
    known = ("form", "token", "word", *_first_words(row, values, reading))
    tokens_at = columns.find(row, "tokens", known)
    tokens = [values[tokens_at][i] for i in kept]
    found = RawSentence(tokens, [], _comment_intent(comments), row, lines=[lines[i] for i in kept])
    if columns.labelled:
        if len(values) == 1 and not columns.tags:
            reading.bad(row, "row", "there is one column only; write each token and its tag in one "
                        "line, with a tab between them.")  # fmt: skip
            return None
        last = [name for name in reversed(values) if name != tokens_at]
        tags = values[columns.find(row, "tags", ("upos", *last), [tokens_at])]
        found.tags = [tags[i] for i in kept]
    if text:
        found.starts = _places(text, tokens, values["form"], values["id"])
        found.text = text if found.starts else ""
    return found


def _first_words(row: Row, values: Mapping[str, list[str]], reading: Reading) -> list[str]:
    """Columns that may be the tokens: not one that counts them.

    What a column of a file is, its first sentence of several tokens tells: one that is a number
    alone looks like a count.
    """
    least = 3 if reading.columns.labelled else 2  # a count, a token and its tag
    long = len(next(iter(values.values()))) > 1
    counts = reading.counts.get(row.file)
    if counts is None:
        counts = [name for name, cells in values.items() if len(values) >= least and _counts(cells)]
        if long:
            reading.counts[row.file] = counts
    return [name for name in values if name not in counts] or list(values)


def _counts(cells: Sequence[str]) -> bool:
    """Whether cells are numbers, each one more than that before; of one cell whether it is the
    first of such."""
    if not all(cell.isdecimal() for cell in cells):
        return False
    first = int(cells[0])
    if len(cells) == 1:
        return first < 2
    return [int(cell) for cell in cells] == list(range(first, first + len(cells)))


def _comment_intent(comments: Sequence[str]) -> str:
    for comment in comments:
        name, mark, value = comment.lstrip("# ").partition("=" if "=" in comment else ":")
        if mark and name.strip().lower() == "intent":
            return value.strip()
    return ""


def _places(
    text: str, tokens: Sequence[str], forms: Sequence[str], ids: Sequence[str]
) -> tuple[int, ...]:
    """Where the words of a CoNLL-U sentence begin in its text; () where one is not found there.

    The words of a multiword range (``2-3 del``, ``2 de``, ``3 el``) need not be in the text: they
    begin where the range does.
    """
    found, at, range_at, left = [], 0, 0, 0
    for form, identity in zip(forms, ids, strict=True):
        if "." in identity:
            continue
        first, dash, last = identity.partition("-")
        if dash:
            range_at, left = text.find(form, at), int(last) - int(first) + 1
            if range_at < 0:
                return ()
            at = range_at + len(form)
            continue
        if left:
            place = text.find(form, found[-1] if found else range_at, at)
            found.append(place if place >= range_at else range_at)
            left -= 1
            continue
        place = text.find(form, at)
        if place < 0:
            return ()
        found.append(place)
        at = place + len(form)
    return tuple(found) if len(found) == len(tokens) else ()


def _sentence_column(row: Row, columns: Columns) -> str | None:
    """The column that says which sentence a row's one token is of; None where a row is a sentence.

    It is there where tokens have a column of their own that is called so.
    """
    by_lower = {name.strip().lower(): name for name in row.values}
    tokens = columns.tokens or by_lower.get("word") or by_lower.get("token")
    if tokens is None or not isinstance(row.values.get(tokens), str):
        return None
    names = (by_lower[name] for name in SENTENCE_NAMES if name in by_lower)
    return next((name for name in names if name != tokens), None)


def _from_tokens(rows: Sequence[Row], reading: Reading) -> RawSentence:
    """A sentence of rows with one token each."""
    columns, first = reading.columns, rows[0]
    tokens_at = columns.find(first, "tokens", ("word", "token"))
    tokens = [str(row.values[tokens_at]).strip(" ") for row in rows]
    found = RawSentence(tokens, [], "", first, lines=[row.line for row in rows])
    if columns.labelled:
        at = columns.find(first, "tags", TAG_NAMES, [tokens_at])
        found.tags = [str(row.values[at]).strip() for row in rows]
    if columns.with_intents and columns.labelled:
        at = columns.find(first, "intent", INTENT_NAMES, [tokens_at])
        found.intent = str(first.values[at]).strip()
    return found


def _from_record(row: Row, reading: Reading) -> RawSentence | None:
    """A sentence in one row: lists of tokens and tags, the same as text, or text with spans."""
    columns = reading.columns
    record = _flattened(row)
    values = record.values
    if values.get("answer") in ("reject", "ignore"):  # of Prodigy
        reading.mend(row, f"examples whose answer is '{values['answer']}' were left out")
        return None
    try:
        tokens_at = columns.find(record, "tokens", TOKEN_NAMES)
        raw = _parsed(values[tokens_at])
        intent = ""
        if columns.with_intents and columns.labelled:
            names = [name for name in INTENT_NAMES if name != "label" or not _is_spans(values)]
            intent = str(values[columns.find(record, "intent", names, [tokens_at])]).strip()
        but = [tokens_at, *_intent_names(values, columns, intent)]
        tags = _parsed(values[columns.find(record, "tags", TAG_NAMES, but)]) if (
            columns.labelled) else []  # fmt: skip
    except DataError as error:
        reading.bad(row, "column", str(error).removeprefix(f"{row.where}: "))
        return None
    if isinstance(raw, str) and (not columns.labelled or _are_spans(tags)):
        return _with_spans(record, raw, tags, intent, reading)
    if isinstance(raw, list) and all(isinstance(one, Mapping) for one in raw) and raw:
        return _given_tokens(record, raw, tags, intent, reading)
    tokens = raw.split() if isinstance(raw, str) else raw
    tags = tags.split() if isinstance(tags, str) else tags
    for what, values in (("tokens", tokens), ("tags", tags)):
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            reading.bad(row, what, f"the {what} are {shorten(values)}; give a list of words, or "
                        "text with a space between them (of tags their names).")  # fmt: skip
            return None
    return RawSentence(list(tokens), list(tags), intent, row)


def _intent_names(values: Mapping[str, Any], columns: Columns, intent: str) -> list[str]:
    """Columns that cannot be the tags, as they are the intent."""
    if not columns.with_intents:
        return []
    return [name for name, value in values.items() if value == intent and isinstance(value, str)]


def _flattened(row: Row) -> Row:
    """What annotation tools nest: Label Studio's ``data`` and ``annotations``."""
    values = row.values
    if not isinstance(values.get("data"), Mapping) or "annotations" not in values:
        return row
    found = values["annotations"] or [{}]
    spans = [one.get("value") for one in found[0].get("result", []) if isinstance(one, Mapping)]
    spans = [one for one in spans if isinstance(one, Mapping) and "start" in one]
    return Row({**values["data"], "spans": spans}, row.file, row.line, row.unit)


def _parsed(value: Any) -> Any:
    """A cell that holds a list as JSON or as Python writes it; any other as it is."""
    if not isinstance(value, str) or value.strip()[:1] != "[" or value.strip()[-1:] != "]":
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return found
    return value


def _is_spans(values: Mapping[str, Any]) -> bool:
    return _are_spans(_parsed(values.get("label")))


def _are_spans(tags: Any) -> bool:
    return isinstance(tags, list) and all(isinstance(one, (list, tuple, Mapping)) for one in tags)


def _with_spans(
    row: Row, text: str, tags: Any, intent: str, reading: Reading
) -> RawSentence | None:
    """Text with spans of characters."""
    given = row.values.get("tokens")
    spans = read_spans(tags, text, row, reading)
    if spans is None:
        return None
    if isinstance(given, list) and given and all(isinstance(one, Mapping) for one in given):
        return _given_tokens(row, given, tags, intent, reading)
    tokens = TokenRules().cut(text) if SEPARATOR not in text else [
        Token(piece, -1, -1) for piece in text.split(SEPARATOR)]  # fmt: skip
    return _tagged(row, text, _cut(row, tokens, spans, text, reading), spans, intent, reading)


def _given_tokens(
    row: Row, given: list[Mapping[str, Any]], tags: Any, intent: str, reading: Reading
) -> RawSentence | None:
    """Prodigy's tokens, ``{"text", "start", "end"}``, with spans of characters."""
    text = str(row.values.get("text", ""))
    try:
        tokens = [Token(str(one["text"]), int(one["start"]), int(one["end"])) for one in given]
    except (KeyError, TypeError, ValueError):
        reading.bad(row, "tokens", 'tokens that are objects need "text", "start" and "end".')
        return None
    if reading.columns.labelled and not _are_spans(tags):
        reading.bad(row, "tags", 'with such tokens the tags are spans: {"start", "end", "label"}.')
        return None
    spans = read_spans(tags, text, row, reading)
    if spans is None:
        return None
    return _tagged(row, text, _cut(row, tokens, spans, text, reading), spans, intent, reading)


def _cut(
    row: Row, tokens: list[Token], spans: list[CharacterSpan], text: str, reading: Reading
) -> list[Token]:
    """Tokens cut at the borders of spans; who labels reads what a model will not be shown."""
    cut = cut_at(tokens, spans, text)
    if len(cut) > len(tokens):
        reading.mend(row, "texts have spans that begin or end inside a token: it was cut there, "
                     "where raw text may not be")  # fmt: skip
    return cut


def _tagged(
    row: Row,
    text: str,
    tokens: list[Token],
    spans: list[CharacterSpan],
    intent: str,
    reading: Reading,
) -> RawSentence:
    kept, left = disjoint(spans)
    for _ in range(left):
        reading.mend(row, "spans that lie over longer ones were left out")
    by_token = []
    for span in kept:
        inside = [
            i for i, one in enumerate(tokens) if one.start >= span.start and one.end <= span.end
        ]
        if inside:
            by_token.append((span.label, inside[0], inside[-1] + 1))
    tags = spans_to_bio(by_token, len(tokens)) if reading.columns.labelled else []
    starts = tuple(one.start for one in tokens)
    return RawSentence([one.token for one in tokens], tags, intent, row, text, starts, in_bio=True)
