"""Tagged sentences: the example, and how such examples are split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.messages import Placed, name_list
from pipelines.splits import Splits, check_not_empty, content, make_splits


@dataclass(frozen=True)
class TaggedExample(Placed):
    """One sentence with a tag for each token, and perhaps an intent.

    Attributes:
        tokens: none is empty.
        tags: as many; classes, or spans in BIO.
        intent: what the sentence asks for; "" where examples have none.
        text: the text that the tokens were cut from, where the source has it, else "".
        starts: where each token begins in it, in code points; () without a text.
        file, line, unit: see ``Placed``.
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    intent: str = ""
    text: str = ""
    starts: tuple[int, ...] = ()
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)
    unit: str = field(default="line", compare=False, repr=False)


def tagged_splits(
    parts: Mapping[str, Sequence[TaggedExample]],
    *,
    name: str,
    notes: Sequence[str] = (),
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits[TaggedExample]:
    """Splits tagged sentences; by intent where they have one.

    Args:
        parts: examples by part name; "train" is required.
        name: a short name of the data set.
        notes: sentences to carry on.
        seed: which examples are split off.
        validation_fraction: share of train for validation where that part is missing.
        test_fraction: share of train for test where that part is missing.

    Raises:
        DataError: no example, too few to split, or fractions that leave nothing to train on.
    """
    check_not_empty(parts, name)
    with_intents = any(example.intent for example in parts["train"])
    splits = make_splits(
        parts,
        key=lambda one: content(one.intent, one.tokens, one.tags),
        strata=(lambda one: one.intent) if with_intents else None,
        copies=lambda one: content(one.tokens),
        name=name,
        notes=notes,
        seed=seed,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        noun="sentences",
        stratum="intent",
    )
    splits.notes.extend(_unseen_notes(splits))
    return splits


def _unseen_notes(splits: Splits[TaggedExample]) -> list[str]:
    """What a model can never answer, since training does not have it."""
    notes = []
    for what, of in (("tag", lambda one: one.tags), ("intent", lambda one: (one.intent,))):
        known = {label for one in splits.train for label in of(one)}
        for part in ("validation", "test"):
            notes += _unseen_note(getattr(splits, part), part, what, of, known)
    return notes


def _unseen_note(
    examples: Sequence[TaggedExample], part: str, what: str, of: Callable, known: set[str]
) -> list[str]:
    unseen = Counter(label for one in examples for label in of(one) if label not in known)
    if not unseen:
        return []
    first = next(one for one in examples if unseen.keys() & set(of(one)))
    one = len(unseen) == 1
    count, names = sum(unseen.values()), name_list(sorted(unseen), 5)
    subject = f"The {what} {names} of {part} is" if one else (
        f"{len(unseen)} {what}s of {part} ({names}) are")  # fmt: skip
    times = "once" if count == 1 else f"{count} times"
    return [
        f"{subject} not in train; {'it occurs' if one else 'they occur'} {times}, first at "
        f"{first.where}, and {'is' if one else 'are'} counted as wrong."
    ]
