"""What there is to know about labels before a training starts."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from pipelines.messages import shorten

SHOWN = 10
SHOWN_TWINS = 3
MAX_NAME = 40  # letters
MIN_TYPO = 6  # letters of a label in which one more or less may be a mistake
# Of a normal distribution, for an interval of 95 %; and the accuracy at which it is stated.
QUANTILE, ACCURACY = 1.96, 0.9


def label_overview(train: Sequence[str], validation: Sequence[str]) -> list[str]:
    """Lines for a person: how many examples each label has, labels that may be one and the same,
    and how much so many validation examples can tell.

    Args:
        train: labels of its examples.
        validation: likewise.
    """
    counts, judged = Counter(train), Counter(validation)
    order = [label for label, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    shown = [f"{_name(label)} {counts[label]:,} ({judged[label]:,})" for label in order[:SHOWN]]
    rest = order[SHOWN:]
    if rest:
        shown.append(f"and {len(rest)} more of {counts[rest[0]]:,} to {counts[rest[-1]]:,}")
    lines = [f"{len(order)} labels in train (validation): {', '.join(shown)}"]
    twins = near_twins(counts)
    for one, other, how in twins[:SHOWN_TWINS]:
        lines.append(
            f"note: the labels {_name(one)!r} ({counts[one]:,}) and {_name(other)!r} "
            f"({counts[other]:,}) differ {how}; if they mean the same, spell them alike"
        )
    if len(twins) > SHOWN_TWINS:
        lines.append(f"note: {len(twins) - SHOWN_TWINS} more pairs of labels are as much alike")
    if judged:
        lines.append(_telling(judged, order))
    return lines


def near_twins(labels: Iterable[str]) -> list[tuple[str, str, str]]:
    """Pairs of labels that may be one, and how they differ: in case, spaces, marks or the width of
    letters alone; or, in longer ones, by one letter or two that changed places.

    >>> near_twins(["Billing", "billing", "refunds", "refund", "class10", "class11"])
    [('Billing', 'billing', 'in case alone'), ('refund', 'refunds', 'by a letter')]
    """
    names = sorted(set(labels))
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(_plain(name), []).append(name)
    found = [
        (group[0], other, "in case alone" if group[0].casefold() == other.casefold()
         else "in case, spaces, marks or the width of letters alone")
        for group in spelled.values() for other in group[1:]
    ]  # fmt: skip
    without: dict[str, list[str]] = {}
    for plain in spelled:
        if len(plain) >= MIN_TYPO:
            for short in {plain, *(plain[:i] + plain[i + 1 :] for i in range(len(plain)))}:
                without.setdefault(short, []).append(plain)
    pairs = {
        (one, other)
        for group in without.values() for i, one in enumerate(group) for other in group[i + 1 :]
        if _is_typo(one, other)
    }  # fmt: skip
    typos = (sorted((spelled[one][0], spelled[other][0])) for one, other in sorted(pairs))
    return found + [(one, other, "by a letter") for one, other in typos]


def _plain(label: str) -> str:
    """A label without case, width, spaces and marks; as it is where nothing else is in it."""
    folded = unicodedata.normalize("NFKC", label).casefold()
    return "".join(letter for letter in folded if letter.isalnum()) or label


def _is_typo(one: str, other: str) -> bool:
    """Whether two texts differ by one letter, or by two neighbours that changed places; digits
    number things, and differ on purpose."""
    if len(one) > len(other):
        one, other = other, one
    first = next((i for i, letter in enumerate(one) if letter != other[i]), len(one))
    changed = other[first : first + 1]
    if len(one) < len(other):
        same = one[first:] == other[first + 1 :]
    else:
        changed += one[first : first + 1]
        swapped = one[first : first + 2][::-1] == other[first : first + 2]
        same = one[first + 1 :] == other[first + 1 :] or (
            swapped and one[first + 2 :] == other[first + 2 :]
        )
    return same and not any(letter.isdigit() for letter in changed)


def _telling(judged: Counter[str], labels: Sequence[str]) -> str:
    """How far scores on so many examples are from chance: the error of a proportion, and of the
    difference of two, as if each were measured on examples of its own."""
    count = judged.total()
    margin = 100 * QUANTILE * math.sqrt(2 * ACCURACY * (1 - ACCURACY) / count)
    line = (
        f"{count:,} validation examples: accuracies near {ACCURACY:.0%} that differ by less than "
        f"{margin:.1f} points cannot be told apart (95 %)"
    )
    rarest = min(labels, key=lambda label: judged[label])
    if not judged[rarest]:
        return f"{line}; {_name(rarest)} has none of them"
    return (
        f"{line}; {_name(rarest)} has {judged[rarest]} of them: each is "
        f"{100 / judged[rarest]:.3g} points of its recall"
    )


def _name(label: str) -> str:
    return label if len(label) <= MAX_NAME else shorten(label, MAX_NAME)
