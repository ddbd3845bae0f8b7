"""Train, validation and test, and the one rule by which missing parts are split off.

Nothing here knows what an example is. Whoever makes splits gives functions of one example:

- `key`: the bytes that identify it. Examples are split off in the order of a hash of these bytes,
  so that the choice does not depend on the order of files or rows, nor on the machine.
- `strata`, where parts must hold the same proportions of something, such as a label.

`content` makes a key of strings and of sequences of strings:

    make_splits({"train": sentences}, key=lambda one: content(one.tokens, one.tags), name="mine")
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from common.errors import DataError

PARTS = ("train", "validation", "test")
E = TypeVar("E")


@dataclass(frozen=True)
class Splits(Generic[E]):
    """Train, validation and test examples of one data set.

    Attributes:
        train: examples to learn from.
        validation: examples to choose by.
        test: examples to report on.
        name: a short name of the data set.
        fingerprint: sha256 (hexadecimal) over all examples in order; the same on every machine and
            wherever the files are.
        notes: plain sentences that the user should see.
    """

    train: Sequence[E]
    validation: Sequence[E]
    test: Sequence[E]
    name: str
    fingerprint: str
    notes: list[str]


def make_splits(
    parts: Mapping[str, Sequence[E]],
    *,
    key: Callable[[E], bytes],
    strata: Callable[[E], Hashable] | None = None,
    copies: Callable[[E], bytes] | None = None,
    fields: Callable[[E], Iterable[bytes]] | None = None,
    name: str,
    notes: Sequence[str] = (),
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    noun: str = "examples",
    stratum: str = "kind",
) -> Splits[E]:
    """Splits the missing parts off train, and describes the result.

    With N examples in train, a missing test part takes `test_fraction` of N, then a missing
    validation part takes `validation_fraction` of N, each in the proportions of the strata (see
    `split_off`). A part that is there is never touched.

    Args:
        parts: examples by part name; "train" is required.
        key: the bytes that identify an example (see `content`).
        strata: what parts must hold in proportion: a string, a number or a tuple of them.
        copies: the bytes by which an example of another part is found again in train, for a note;
            `key` if None.
        fields: the byte strings that the fingerprint is taken over, the same number for every
            example; the key alone if None.
        name: a short name of the data set.
        notes: sentences to carry on.
        seed: which examples are split off.
        validation_fraction: share of train for validation where that part is missing.
        test_fraction: share of train for test where that part is missing.
        noun: what the examples are called in notes, in the plural.
        stratum: what a stratum is called in messages, in the singular.

    Returns:
        The three parts.

    Raises:
        DataError: a part without examples, too few examples to split, or fractions that leave
            nothing to train on.
    """
    _check_fractions(validation_fraction, test_fraction)
    _check_parts(parts, name)
    found, notes = {part: list(examples) for part, examples in parts.items()}, list(notes)
    total, how = len(found["train"]), f"stratified by {stratum}, " if strata else ""
    for part, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if part in found:
            continue
        count = _share(fraction, total)
        rest, taken = split_off(found["train"], count, key=key, strata=strata, seed=seed)
        if count and not taken:
            by = f" by {stratum}" if strata else ""
            few = f"1 {noun.removesuffix('s')} is" if total == 1 else f"{total} {noun} are"
            raise DataError(
                f"{name}: {few} too few to split a {part} part off{by}; "
                f"give more {noun} or a {part} part."
            )
        found["train"], found[part] = rest, taken
        notes.append(
            f"There is no {part} part: {len(taken)} of {total} training examples were split off "
            f"for it ({how}seed {seed})."
        )
    notes += _copy_notes(found, copies or key, noun)
    everything = [found[part] for part in PARTS]
    digest = fingerprint(*everything, fields=fields or (lambda example: (key(example),)))
    return Splits(*everything, name, digest, notes)


def split_off(
    examples: Sequence[E],
    count: int,
    *,
    key: Callable[[E], bytes],
    strata: Callable[[E], Hashable] | None = None,
    seed: int,
) -> tuple[list[E], list[E]]:
    """Takes `count` examples away, each stratum in proportion.

    Within a stratum the examples are ranked by a hash of seed and key and the first ones are
    taken. So the choice does not depend on the order of files or rows, hardly changes when
    examples are added, and copies of an example stay together (except at the border).
    Shares that are not whole go to the strata with the largest remainder. At least one example of
    every stratum stays, so fewer than `count` are taken where strata are that small.

    Args:
        examples: what to divide.
        count: how many to take.
        key: the bytes that identify an example.
        strata: what stays in proportion; None for all examples alike.
        seed: any integer; another seed takes other examples.

    Returns:
        Those that stay and those taken, both in their old order.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        members[strata(example) if strata else ""].append(index)
    quotas = _quotas({stratum: len(indices) for stratum, indices in members.items()}, count)
    start = b"%d\0" % seed
    taken: set[int] = set()
    for stratum, indices in members.items():
        ranks = {index: hashlib.sha256(start + key(examples[index])).digest() for index in indices}
        taken.update(sorted(indices, key=lambda index: (ranks[index], index))[: quotas[stratum]])
    rest = [example for index, example in enumerate(examples) if index not in taken]
    return rest, [examples[index] for index in sorted(taken)]


def fingerprint(*parts: Sequence[E], fields: Callable[[E], Iterable[bytes]]) -> str:
    """Returns sha256 (hexadecimal) over the fields of all examples, in order, part by part.

    Args:
        parts: the examples of each part.
        fields: the byte strings that an example consists of, the same number for every example.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"part %d\n" % len(part))
        for example in part:
            for data in fields(example):
                digest.update(_framed(data))
    return digest.hexdigest()


def content(*values: str | bytes | Sequence) -> bytes:
    """Returns strings and (nested) sequences of strings as bytes that identify them.

    Different values give different bytes: the lengths keep ("ab", "c") and ("a", "bc") apart.

    >>> content("a", ["b", "cd"])
    b'1:a[1:b2:cd]'
    """
    parts = []
    for value in values:
        if isinstance(value, (str, bytes)):
            parts.append(_framed(value.encode("utf-8") if isinstance(value, str) else value))
        else:
            parts.append(b"[" + content(*value) + b"]")
    return b"".join(parts)


def check_not_empty(parts: Mapping[str, Sequence], name: str) -> None:
    """Refuses a part that has no example.

    Raises:
        DataError: names the data set and the part.
    """
    for part, examples in parts.items():
        if not examples:
            way_out = (
                "give some"
                if part == "train"
                else "fill it, or remove it to have that part split off train"
            )
            raise DataError(f"{name}: no example is left in the {part} part; {way_out}.")


def _framed(data: bytes) -> bytes:
    return b"%d:" % len(data) + data


def _share(fraction: float, total: int) -> int:
    """Rounds half up in exact arithmetic; any fraction above 0 asks for at least one."""
    if not fraction:
        return 0
    return max(1, math.floor(Fraction(str(fraction)) * total + Fraction(1, 2)))


def _quotas(sizes: Mapping[Hashable, int], count: int) -> dict[Hashable, int]:
    """Divides `count` among strata by the method of largest remainders, ties by their names."""
    total = sum(sizes.values())
    exact = {stratum: Fraction(count * size, total) for stratum, size in sizes.items()}
    quotas = {stratum: min(math.floor(exact[stratum]), size - 1) for stratum, size in sizes.items()}

    def by_remainder(stratum: Hashable) -> tuple[Fraction, str]:
        remainder = exact[stratum] - math.floor(exact[stratum])
        return -remainder, stratum if isinstance(stratum, str) else repr(stratum)

    ranked = sorted(sizes, key=by_remainder)
    missing = count - sum(quotas.values())
    while missing > 0:
        open_strata = [stratum for stratum in ranked if quotas[stratum] < sizes[stratum] - 1]
        if not open_strata:
            break
        for stratum in open_strata[:missing]:
            quotas[stratum] += 1
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


def _check_parts(parts: Mapping[str, Sequence], name: str) -> None:
    if "train" not in parts or not set(parts) <= set(PARTS):
        raise DataError(
            f"{name}: the parts are {', '.join(parts) or 'none'}; give train, and validation and "
            "test where they exist."
        )
    check_not_empty(parts, name)


def _copy_notes(
    parts: Mapping[str, Sequence[E]], copies: Callable[[E], bytes], noun: str
) -> list[str]:
    known = {copies(example) for example in parts["train"]}
    notes = []
    for part in PARTS[1:]:
        shared = sum(copies(example) in known for example in parts[part])
        if shared:
            notes.append(
                f"{shared} of {len(parts[part])} {part} {noun} occur in train too; they were kept, "
                f"so the {part} score may flatter."
            )
    return notes
