"""Pairs of texts, one to be written for the other: the example, and how such examples are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.messages import Placed
from pipelines.splits import Splits, check_not_empty, content, make_splits


@dataclass(frozen=True)
class TextPair(Placed):
    """A text and what it is to become: its translation, correction, normal form...

    Attributes:
        source: never empty.
        target: never empty.
        file, line, unit: see ``Placed``.
    """

    source: str
    target: str
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)
    unit: str = field(default="line", compare=False, repr=False)


def pair_splits(
    parts: Mapping[str, Sequence[TextPair]],
    *,
    name: str,
    notes: Sequence[str] = (),
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits[TextPair]:
    """Splits pairs; those that are equal stay together.

    Args:
        parts: pairs by part name; "train" is required.
        name: a short name of the data set.
        notes: sentences to carry on.
        seed: which pairs are split off.
        validation_fraction: share of the training pairs for a missing validation part.
        test_fraction: share of the training pairs for a missing test part.

    Raises:
        DataError: no pair, too few to split, or fractions that leave nothing to train on.
    """
    check_not_empty(parts, name)
    return make_splits(
        parts,
        # By the source alone: its several translations stay in one part.
        key=lambda one: content(one.source),
        fields=lambda one: (one.source.encode("utf-8"), one.target.encode("utf-8")),
        name=name,
        notes=notes,
        seed=seed,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        noun="pairs",
    )
