"""Examples, their three parts, and the one rule by which missing parts are split off."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from common.errors import DataError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class TextExample:
    """One labelled text.

    Attributes:
        text: the text, white space at its ends removed, never empty.
        label: the class, as a string.
        file: where it came from, for messages; not part of the example's identity.
        line: the line it began on, from 1; 0 where there is none.
    """

    text: str
    label: str
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Splits:
    """Train, validation and test examples of one data set.

    Attributes:
        train: examples to learn from.
        validation: examples to choose by.
        test: examples to report on.
        name: a short name of the data set.
        fingerprint: sha256 (hexadecimal) over all examples in order; the same on every machine and
            wherever the files lie.
        notes: plain sentences that the user should see.
        labels: sorted labels of `train`.
    """

    train: list[TextExample]
    validation: list[TextExample]
    test: list[TextExample]
    name: str
    fingerprint: str
    notes: list[str]
    labels: list[str]


def make_splits(
    parts: Mapping[str, Sequence[TextExample]],
    *,
    name: str,
    notes: Sequence[str] = (),
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits:
    """Checks the parts there are, splits the missing ones off train, and describes the result.

    The rule: with N examples in train, a missing test part takes `test_fraction` of N, then a
    missing validation part takes `validation_fraction` of N, each stratified by label (see
    `split_off`). A part that is there is never touched.

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
    _check_fractions(validation_fraction, test_fraction)
    train = list(parts["train"])
    _check_train(train, name)
    labels = sorted({example.label for example in train})
    notes = list(notes)
    given = {part: list(parts[part]) for part in PARTS[1:] if part in parts}
    for part, examples in given.items():
        _check_part(examples, part, labels, name)

    total = len(train)
    wanted = {"test": test_fraction, "validation": validation_fraction}
    for part in ("test", "validation"):
        if part in given:
            continue
        train, given[part] = split_off(train, _share(wanted[part], total), seed=seed)
        if wanted[part] and not given[part]:
            raise DataError(
                f"{name}: {total} examples of {len(labels)} labels are too few to split a {part} "
                f"part off; give more examples or a {part} file."
            )
        notes.append(
            f"There is no {part} part: {len(given[part])} of {total} training examples were split "
            f"off for it (stratified by label, seed {seed})."
        )
    notes += _duplicate_notes(train, given)
    everything = (train, given["validation"], given["test"])
    return Splits(*everything, name, fingerprint(*everything), notes, labels)


def split_off(
    examples: Sequence[TextExample], count: int, *, seed: int
) -> tuple[list[TextExample], list[TextExample]]:
    """Takes `count` examples away, each label in proportion.

    Within a label the examples are ranked by a hash of seed and content and the first ones are
    taken. So the choice does not depend on the order of files or rows, hardly changes when
    examples are added, and copies of an example stay together (but for the one at the border).
    Shares that are not whole go to the labels with the largest remainder. At least one example of
    every label stays, hence fewer than `count` are taken where labels are that rare.

    Args:
        examples: what to divide.
        count: how many to take.
        seed: any integer; another seed takes other examples.

    Returns:
        Those that stay and those taken, both in their old order.
    """
    by_label: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_label[example.label].append(index)
    sizes = {label: len(indices) for label, indices in by_label.items()}
    quotas = _stratified_quotas(sizes, count)
    taken: set[int] = set()
    for label, indices in by_label.items():
        ranked = sorted(indices, key=lambda index: (_rank(examples[index], seed), index))
        taken.update(ranked[: quotas[label]])
    rest = [example for index, example in enumerate(examples) if index not in taken]
    return rest, [examples[index] for index in sorted(taken)]


def fingerprint(*parts: Sequence[TextExample]) -> str:
    """Returns sha256 (hexadecimal) over texts and labels, in order, part by part."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"part %d\n" % len(part))
        for example in part:
            for value in (example.text, example.label):
                data = value.encode("utf-8")
                # The length in front keeps ("ab", "c") and ("a", "bc") apart.
                digest.update(b"%d:" % len(data))
                digest.update(data)
    return digest.hexdigest()


def _rank(example: TextExample, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{example.label}\0{example.text}".encode()).digest()


def _share(fraction: float, total: int) -> int:
    """Rounds half up in exact arithmetic; any fraction above 0 asks for at least one."""
    if not fraction:
        return 0
    return max(1, math.floor(Fraction(str(fraction)) * total + Fraction(1, 2)))


def _stratified_quotas(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Divides `count` among labels by the method of largest remainders, ties by label."""
    total = sum(sizes.values())
    exact = {label: Fraction(count * size, total) for label, size in sizes.items()}
    quotas = {label: min(math.floor(exact[label]), size - 1) for label, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda label: (math.floor(exact[label]) - exact[label], label))
    missing = count - sum(quotas.values())
    while missing > 0:
        open_labels = [label for label in by_remainder if quotas[label] < sizes[label] - 1]
        if not open_labels:
            break
        for label in open_labels[:missing]:
            quotas[label] += 1
        missing = count - sum(quotas.values())
    return quotas


def _check_fractions(validation_fraction: float, test_fraction: float) -> None:
    for key, value in (
        ("validation_fraction", validation_fraction),
        ("test_fraction", test_fraction),
    ):
        if not 0 <= value < 1:
            raise DataError(f"{key} is {value}: give a share from 0 up to, not including, 1.")
    if validation_fraction + test_fraction >= 1:
        raise DataError(
            f"validation_fraction {validation_fraction} and test_fraction {test_fraction} leave "
            "nothing to train on: their sum must be less than 1."
        )


def _check_train(train: Sequence[TextExample], name: str) -> None:
    if not train:
        raise DataError(f"{name}: no example is left in the train part; give at least two labels.")
    labels = {example.label for example in train}
    if len(labels) < 2:
        raise DataError(
            f"{name}: every one of the {len(train)} training examples has the label "
            f"'{train[0].label}'; a classifier needs at least two labels (is a file missing?)."
        )


def _check_part(
    examples: Sequence[TextExample], part: str, labels: Sequence[str], name: str
) -> None:
    if not examples:
        raise DataError(
            f"{name}: no example is left in the {part} part; fill it, or remove its file to have "
            "that part split off train."
        )
    known = set(labels)
    for example in examples:
        if example.label not in known:
            raise DataError(
                f"{example.file}:{example.line}: label '{shorten(example.label)}' does not occur "
                f"in train, whose labels are {name_list(labels)}; correct it, or add training "
                "examples of it."
            )


def _duplicate_notes(
    train: Sequence[TextExample], others: Mapping[str, Sequence[TextExample]]
) -> list[str]:
    known = Counter(example.text for example in train)
    notes = []
    for part in PARTS[1:]:
        shared = sum(example.text in known for example in others[part])
        if shared:
            notes.append(
                f"{shared} of {len(others[part])} {part} texts occur in train too; they were kept, "
                f"so the {part} score may flatter."
            )
    return notes


def shorten(value: object, length: int = 60) -> str:
    """Returns the value as one short printable line, for messages."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 3] + "..."


def name_list(names: Sequence[object], limit: int = 12) -> str:
    """Returns "a, b, c" for messages, cut after `limit` names."""
    shown = ", ".join(shorten(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
