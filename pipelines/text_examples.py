"""Labelled texts: the example, its label's text form, and how such examples are split."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.errors import DataError
from pipelines.messages import Placed, name_list, shorten
from pipelines.missing import is_missing
from pipelines.problems import Problems
from pipelines.splits import Splits, check_not_empty, make_splits

# Columns and features that are the text or the label where nothing else is said.
TEXT_NAMES = ("text", "sentence", "review", "content", "document", "comment", "body", "message",
              "utterance", "tweet", "phrase")  # fmt: skip
LABEL_NAMES = ("label", "sentiment", "class", "category", "target", "polarity", "intent", "topic")
_WHOLE = re.compile(r"([+-]?\d+)(?:\.0*|,0{1,2})")  # 1,000 may be a thousand


@dataclass(frozen=True)
class TextExample(Placed):
    """One labelled text.

    Attributes:
        text: the text, white space at its ends removed, never empty.
        label: the class, as a string.
        file, line, unit: see ``Placed``.
        parts: texts by column, where they were read from several; ``text`` is ``joined_texts``.
    """

    text: str
    label: str
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)
    unit: str = field(default="line", compare=False, repr=False)
    parts: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


def labelled_splits(
    parts: Mapping[str, Sequence[TextExample]],
    *,
    name: str,
    notes: Sequence[str] = (),
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits[TextExample]:
    """Splits labelled texts, stratified by label.

    Args:
        parts: examples by part name; "train" is required.
        name: a short name of the data set.
        notes: sentences to carry on.
        seed: which examples are split off.
        validation_fraction: share of train for validation where that part is missing.
        test_fraction: share of train for test where that part is missing.

    Returns:
        The three parts.

    Raises:
        DataError: no example, one class only, a label that train does not have, too few examples
            to split, or fractions that leave nothing to train on.
    """
    check_not_empty(parts, name)
    _check_labels(parts, name)
    return make_splits(
        parts,
        key=text_key,
        strata=lambda example: example.label,
        copies=lambda example: example.text.encode("utf-8"),
        fields=text_fields,
        name=name,
        notes=notes,
        seed=seed,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        noun="texts",
        stratum="label",
    )


def text_key(example: TextExample) -> bytes:
    """The bytes that decide whether an example is split off; runs rely on them staying so."""
    return f"{example.label}\0{example.text}".encode()


def text_fields(example: TextExample) -> tuple[bytes, bytes]:
    """The bytes that the fingerprint is taken over; runs rely on them staying so."""
    return example.text.encode("utf-8"), example.label.encode("utf-8")


def label_name(value: Any) -> str:
    """Returns a label as a string, "" where it is missing.

    Numbers in any form are the same label, in a DataFrame, in JSON and as text: pandas writes 1 as
    1.0 when a column had a gap, and spreadsheets as 1,0. So are truth values. A word for missing
    is no label.

    >>> [label_name(value) for value in (1, 1.0, "1.0", "1,0", " x ", True, "TRUE", "NaN", None)]
    ['1', '1', '1', '1', 'x', 'true', 'true', '', '']

    Args:
        value: what the data holds: a string, a number, a truth value, or None.
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if value is None:
        return ""
    text = str(value).strip()
    if is_missing(text):
        return ""
    if text.lower() in ("true", "false"):
        return text.lower()
    whole = _WHOLE.fullmatch(text)
    return str(int(whole[1])) if whole else text


def label_text(value: Any, where: str) -> str:
    """Returns a label as `label_name` does.

    Args:
        value: what the data holds.
        where: file and line, for the message.

    Raises:
        DataError: it is missing.
    """
    label = label_name(value)
    if not label:
        raise DataError(f"{where}: the label is {missing_label(value)}")
    return label


def missing_label(value: Any) -> str:
    """Returns what a missing label is, and the way out, for "the label is ..."."""
    text = "" if value is None or value != value else str(value).strip()
    if not text:
        return "empty; give one, remove the row, or leave such rows out with --drop-unlabelled."
    return (
        f"'{shorten(text)}', which means that it is missing; give one, remove the row, or leave "
        "such rows out with --drop-unlabelled (if it is a class, call it otherwise)."
    )


def _check_labels(parts: Mapping[str, Sequence[TextExample]], name: str) -> None:
    train = parts["train"]
    labels = sorted({example.label for example in train})
    if len(labels) < 2:
        raise DataError(
            f"{name}: every one of the {len(train)} training examples has the label "
            f"'{train[0].label}'; a classifier needs at least two labels (is a file missing?)."
        )
    known, problems = set(labels), Problems()
    for example in (one for part, found in parts.items() if part != "train" for one in found):
        if example.label not in known:
            message = (
                f"label '{shorten(example.label)}' does not occur in train, whose labels are "
                f"{name_list(labels)}; correct it, or add training examples of it."
            )
            problems.add("unknown label", message, example.file, example.line, example.unit)
    problems.raise_if_any()
