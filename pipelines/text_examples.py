"""Labelled texts: the example, its label's text form, and how such examples are split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.errors import DataError
from pipelines.messages import name_list, place, shorten
from pipelines.splits import Splits, check_not_empty, make_splits

# Columns and features that are the text or the label where nothing else is said.
TEXT_NAMES = ("text", "sentence", "review", "content", "document", "comment", "body", "message",
              "utterance", "tweet", "phrase")  # fmt: skip
LABEL_NAMES = ("label", "sentiment", "class", "category", "target", "polarity", "intent", "topic")


@dataclass(frozen=True)
class TextExample:
    """One labelled text.

    Attributes:
        text: the text, white space at its ends removed, never empty.
        label: the class, as a string.
        file: where it came from, for messages; not part of the example's identity.
        line: the line it began on, from 1, or its row in memory, from 0; 0 where there is none.
        unit: whether `line` counts lines or rows.
    """

    text: str
    label: str
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)
    unit: str = field(default="line", compare=False, repr=False)

    @property
    def where(self) -> str:
        """File and line, or the name of what is in memory and the row."""
        return place(self.file, self.line, self.unit)


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


def label_text(value: Any, where: str) -> str:
    """Returns a label as a string: 1 and 1.0 are "1", True is "true", white space is stripped.

    Args:
        value: what the data holds.
        where: file and line, for the message.

    Raises:
        DataError: it is empty, null, NaN, a list or an object.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas writes 1 as 1.0 when a column had a gap
    if value is None or (isinstance(value, float) and math.isnan(value)):
        value = ""
    if isinstance(value, (list, dict)):
        raise DataError(
            f"{where}: the label is {shorten(value)}; give one string or number per example."
        )
    label = str(value).strip()
    if not label:
        raise DataError(f"{where}: the label is empty; give one or remove the row.")
    return label


def _check_labels(parts: Mapping[str, Sequence[TextExample]], name: str) -> None:
    train = parts["train"]
    labels = sorted({example.label for example in train})
    if len(labels) < 2:
        raise DataError(
            f"{name}: every one of the {len(train)} training examples has the label "
            f"'{train[0].label}'; a classifier needs at least two labels (is a file missing?)."
        )
    known = set(labels)
    for example in (one for part, found in parts.items() if part != "train" for one in found):
        if example.label not in known:
            raise DataError(
                f"{example.where}: label '{shorten(example.label)}' does not occur in train, whose "
                f"labels are {name_list(labels)}; correct it, or add training examples of it."
            )
