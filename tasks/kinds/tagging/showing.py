"""Answers as lines that people read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def marked_line(answer: Mapping[str, Any]) -> str:
    """Tokens with their tags, or the text with its spans in brackets.

    >>> marked_line({"tokens": ["It", "rains"], "tags": ["PRON", "VERB"]})
    'It/PRON rains/VERB'
    """
    tokens = [" ".join(token.split()) or token for token in answer["tokens"]]
    if not tokens:
        return "(no token)"
    if "spans" not in answer:
        return " ".join(f"{token}/{tag}" for token, tag in zip(tokens, answer["tags"], strict=True))
    line, closing = "", {span["end"]: span["label"] for span in answer["spans"]}
    opening = {span["start"] for span in answer["spans"]}
    last = answer["starts"][0]
    for token, start, end in zip(tokens, answer["starts"], answer["ends"], strict=True):
        line += " " * (start > last) + "[" * (start in opening) + token
        if end in closing:
            line += f" {closing[end]}]"
        last = end
    return line
