"""Support tickets by queue: the offline data of a classifier of many labels of unequal size.

A ticket belongs to the queue that it asks for, and mentions others:

- **one request** is open ("there is a problem with the invoice");
- **up to two others are settled** ("there is no problem with the parcel"), in the words of a
  request and about the things of another queue, so that which of them is negated decides;
- **the subject** names one of the things that are mentioned, the open one or not, or none.

The labels are as unequal as tickets are: the largest queue has seventeen times as many as the
smallest. There is no label noise. The text is lower case with spaces around punctuation.
"""

from __future__ import annotations

from itertools import accumulate

from common.errors import DataError
from pipelines.draws import Draws
from pipelines.text_examples import TextExample
from pipelines.text_inputs import joined_texts

DEFAULT_SIZE = 5000
MIN_SIZE, MAX_SIZE = 100, 200_000
# Share of each queue, and what its tickets are about.
SHARES = {"technical": 0.34, "delivery": 0.22, "billing": 0.17, "returns": 0.12, "account": 0.08,
          "sales": 0.05, "privacy": 0.02}  # fmt: skip
_THINGS = {
    "technical": ("the app", "the last update", "the connection", "the screen", "the printer"),
    "delivery": ("the parcel", "the courier", "the tracking page", "the delivery date"),
    "billing": ("the invoice", "the monthly fee", "the direct debit", "a charge on my card"),
    "returns": ("the refund", "the return label", "the exchange", "the wrong size"),
    "account": ("my password", "the login", "my e-mail address", "my profile"),
    "sales": ("a quote", "the price list", "the bulk order", "the discount"),
    "privacy": ("my personal data", "the consent form", "the deletion of my records"),
}
# A request, and the same words when it is settled.
_FRAMES = (
    ("there is a problem with {}", "there is no problem with {}"),
    ("please look into {} again", "please do not look into {} again"),
    ("i am writing about {}", "i am not writing about {}"),
    ("i still need help with {}", "i no longer need help with {}"),
    ("nobody has answered me about {}", "somebody has answered me about {}"),
    ("it is {} that does not work", "it is not {} that does not work"),
)
_LINKS = (".", ".", ", and", ", but", ", by the way ,")
_SUBJECTS = ("hello", "urgent", "second message", "question", "my order", "please help")
_FILLERS = (
    "good morning", "i have been a customer for ten years", "thank you for the quick answer",
    "i am writing from my telephone", "you can call me in the evening", "my wife says hello",
    "this is my second ticket today",
)  # fmt: skip


class _Clerk(Draws):
    """Writes one ticket after another from a stream of random numbers."""

    def ticket(self, queue: str) -> str:
        """Subject and body of a ticket of a queue."""
        others = [name for name in _THINGS if name != queue]
        settled = [others.pop(self.below(len(others))) for _ in range(self.below(3))]
        things = [self.pick(_THINGS[name]) for name in (queue, *settled)]
        clauses = [
            self.pick(_FRAMES)[number > 0].format(thing) for number, thing in enumerate(things)
        ]
        subject = f"about {self.pick(things)}" if self.chance(0.5) else self.pick(_SUBJECTS)
        request, body = clauses[0], clauses[1:]
        body.insert(self.below(len(body) + 1), request)
        text = body[0]
        for clause in body[1:]:
            text = f"{text} {self.pick(_LINKS)} {clause}"
        sentences = [text]
        if self.chance(0.6):
            sentences.insert(self.below(2), self.pick(_FILLERS))
        return joined_texts([subject, " . ".join(sentences) + " ."])


def synthetic_tickets(size: int = DEFAULT_SIZE, seed: int = 0) -> list[TextExample]:
    """Generates distinct support tickets, in random order, from about 120 words.

    The same arguments give the same tickets on every machine and Python version.

    Args:
        size: how many tickets, 100 to 200000.
        seed: any integer.

    Returns:
        ``size`` examples whose labels are the queues, in the proportions of ``SHARES``.

    Raises:
        DataError: ``size`` is out of range.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise DataError(
            f"synthetic tickets of {size} examples cannot be made: ask for {MIN_SIZE} to "
            f"{MAX_SIZE}, as in synthetic:{DEFAULT_SIZE}."
        )
    clerk, left = _Clerk(seed), _counts(size)
    examples: list[TextExample] = []
    seen: set[str] = set()
    while len(examples) < size:
        # Drawing without replacement gives the exact proportions without a shuffle.
        queue = _queue_at(clerk.below(size - len(examples)), left)
        text = clerk.ticket(queue)
        if text in seen:
            continue
        seen.add(text)
        left[queue] -= 1
        examples.append(TextExample(text, queue, "synthetic", len(examples) + 1))
    return examples


def _queue_at(place: int, left: dict[str, int]) -> str:
    """The queue of one of the tickets that are left, in the order of the queues."""
    ends = accumulate(left.values())
    return next(name for name, end in zip(left, ends, strict=True) if place < end)


def _counts(size: int) -> dict[str, int]:
    """Tickets of each queue; what rounding leaves over goes to the largest."""
    counts = {name: int(size * share) for name, share in SHARES.items()}
    counts["technical"] += size - sum(counts.values())
    return counts
