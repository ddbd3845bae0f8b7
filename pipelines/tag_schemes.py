"""How tags spell spans: BIO and its relatives told apart, and all read as BIO.

| scheme | a span of three | a span of one | sources |
|---|---|---|---|
| bio (IOB2) | B I I | B | Ratnaparkhi 1998; CoNLL 2002 |
| iob1 | I I I, B only right behind a span of its kind | I | Ramshaw and Marcus 1995; CoNLL 2003 |
| bioes | B I E | S | Uchimoto et al. 2000 |
| bilou | B I L | U | Ratinov and Roth 2009 |
| bmes | B M E | S | common for Chinese |
| plain | tags are classes, such as parts of speech | | |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PLAIN = "plain"
SCHEMES = ("bio", "iob1", "bioes", "bilou", "bmes", PLAIN)
OUTSIDE = "O"
_PREFIXED = re.compile(r"([BIEOSLUM])[-_](.+)", re.DOTALL)
# What other schemes call B, I, the last and the only tag of a span.
_ROLES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and kind of a tag; ("O", "") outside, ("", tag) where there is no prefix.

    >>> split_tag("B-PER"), split_tag("O"), split_tag("NOUN")
    (('B', 'PER'), ('O', ''), ('', 'NOUN'))
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    found = _PREFIXED.fullmatch(tag)
    return (found[1], found[2]) if found and found[1] != OUTSIDE else ("", tag)


def detect_scheme(rows: Iterable[Sequence[str]]) -> str:
    """Which scheme the tags of sentences follow.

    Tags have a scheme where all of them but ``O`` have a prefix. BIO and IOB1 differ in what begins
    a span: most of them decide.
    """
    prefixes: set[str] = set()
    begun = {"B": 0, "I": 0}
    others = spans = 0
    for row in rows:
        before = (OUTSIDE, "")
        for tag in row:
            prefix, kind = split_tag(tag)
            if prefix in ("B", "I") and (before[1] != kind or prefix == "B"):
                begins_span = before[1] != kind or before[0] == OUTSIDE
                begun[prefix] += begins_span  # B right behind a span of its kind says nothing
            prefixes.add(prefix)
            spans += prefix not in ("", OUTSIDE)
            others += prefix == ""
            before = prefix, kind
    if not spans or others:
        return PLAIN
    if "M" in prefixes:
        return "bmes"
    if prefixes & {"L", "U"}:
        return "bilou"
    if prefixes & {"E", "S"}:
        return "bioes"
    return "iob1" if begun["I"] > begun["B"] else "bio"


def to_bio(tags: Sequence[str], scheme: str) -> tuple[list[str], list[int]]:
    """Tags of a sentence in BIO.

    Args:
        tags: in a scheme.
        scheme: one of ``SCHEMES``.

    Returns:
        The tags, and where a span goes on that was not begun: it is read as beginning there. IOB1
        has no such places.
    """
    if scheme == PLAIN:
        return list(tags), []
    found, mended = [], []
    before, is_open = "", False
    for i, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        role = _ROLES.get(prefix, OUTSIDE)
        if role == OUTSIDE:
            found.append(OUTSIDE)
            before, is_open = "", False
            continue
        goes_on = role in ("I", "E") and kind == before and is_open
        if role in ("I", "E") and not goes_on and scheme != "iob1":
            mended.append(i)
        found.append(f"{'I' if goes_on else 'B'}-{kind}")
        before, is_open = kind, role in ("B", "I")
    return found, mended


def to_bioes(tags: Sequence[str]) -> list[str]:
    """BIO tags of a sentence in BIOES.

    >>> to_bioes(["B-PER", "I-PER", "O", "B-LOC"])
    ['B-PER', 'E-PER', 'O', 'S-LOC']
    """
    found = []
    for i, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        goes_on = i + 1 < len(tags) and tags[i + 1] == f"I-{kind}"
        if prefix == "B":
            tag = f"{'B' if goes_on else 'S'}-{kind}"
        elif prefix == "I":
            tag = f"{'I' if goes_on else 'E'}-{kind}"
        found.append(tag)
    return found


def spans_of(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Spans of BIO tags: (kind, first token, behind the last one).

    A tag that goes on with what was not begun begins a span itself, as in the scoring script of
    CoNLL 2000.

    >>> spans_of(["B-PER", "I-PER", "O", "I-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4)]
    """
    found: list[tuple[str, int, int]] = []
    kind, first = "", 0
    for i, tag in enumerate([*tags, OUTSIDE]):
        prefix, mine = split_tag(tag)
        if prefix not in ("B", "I"):
            mine = ""
        if kind and (mine != kind or prefix == "B"):
            found.append((kind, first, i))
            kind = ""
        if mine and not kind:
            kind, first = mine, i
    return found


def spans_to_bio(spans: Iterable[tuple[str, int, int]], length: int) -> list[str]:
    """The inverse of ``spans_of``; spans do not overlap."""
    tags = [OUTSIDE] * length
    for kind, first, last in spans:
        tags[first:last] = [f"B-{kind}"] + [f"I-{kind}"] * (last - first - 1)
    return tags
