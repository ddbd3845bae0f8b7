"""Movie reviews from a small grammar in which word order decides: the offline default data.

A review says one thing about one aspect of a film ("the acting is far from really good"). What
makes it need a sequence model:

- **negation**: a negator flips the opinion word after it, at a distance of up to seven words, and
  the same words stand in the gap of sentences without a negator;
- **contrast**: of two opposite clauses the grammar picks one ("A but B" is B, "although A , B" is
  B, "B although A" is B), so both orders hold the same words;
- **distractors**: the plot and other people's opinions use the same opinion words and count for
  nothing.

There is no label noise: the words in their order determine the label, punctuation is not needed.
The text is lower case with spaces around punctuation, as in the MR and SST corpora.
"""

from __future__ import annotations

from common.errors import DataError
from pipelines.draws import Draws
from pipelines.text_examples import TextExample

LABELS = ("negative", "positive")
DEFAULT_SIZE = 5000
MIN_WORDS, MAX_WORDS = 6, 40
NEGATED = 0.3  # share of clauses with a negation: the opinion word alone is right in the rest
# Above this the supply of distinct short reviews runs low and generation crawls.
MAX_SIZE = 200_000

_ASPECTS = (
    "the acting", "the story", "the dialogue", "the music", "the camera work", "the ending",
    "the script", "the whole film", "the second half", "the direction", "this movie",
)  # fmt: skip
_GOOD = ("good", "brilliant", "charming", "moving", "funny", "gripping", "clever", "superb")
_BAD = ("bad", "boring", "clumsy", "dull", "awful", "tedious", "lazy", "dreadful")
# How a clause begins; the second column flips the opinion word that ends it.
_FRAMES = (
    ("{} is", "{} is not"),
    ("{} is", "{} is hardly"),
    ("{} is", "{} is never"),
    ("{} is", "{} is by no means"),
    ("{} is", "{} is far from being"),
    ("i would call {}", "i would not call {}"),
    ("anyone would call {}", "nobody would call {}"),
)
# They stand between the beginning and the opinion word, with and without a negation alike, so
# that neighbouring words give little away.
_GAPS = (
    "", "", "really", "very", "truly", ", in the end ,", ", as far as i can tell ,",
    ", from start to finish ,", ", for most of its two long hours ,",
)  # fmt: skip
_TAILS = ("", "", "to me", "in every scene", "for a film of this kind")
_SETTINGS = (
    "we saw it on a rainy evening", "i watched it twice last week", "it runs for two long hours",
    "my sister came with me to see it", "the hall was full of people",
    "it opened in every city last week",
)  # fmt: skip
_PEOPLE = ("my brother", "the critic of the evening paper", "the poster", "our neighbour")
_HEROES = ("a teacher", "a young soldier", "an old thief", "a singer", "a detective")
_OTHERS = ("a lost friend", "a rich widow", "a stranger", "the last king", "another woman")
_DEEDS = ("meets", "follows", "marries", "betrays")


class _Writer(Draws):
    """Writes one review after another from a stream of random numbers."""

    def clause(self, aspect: str, positive: bool) -> str:
        """One opinion about one aspect: a negation makes the opposite word say the same."""
        negated = self.chance(NEGATED)
        begin = _FRAMES[self.below(len(_FRAMES))][negated].format(aspect)
        opinion = self.pick(_GOOD if positive != negated else _BAD)
        return f"{begin} {self.pick(_GAPS)} {opinion} {self.pick(_TAILS)}"

    def core(self, positive: bool) -> str:
        """The part of a review that decides its label: one clause, or two in contrast."""
        first = self.below(len(_ASPECTS))
        second = (first + 1 + self.below(len(_ASPECTS) - 1)) % len(_ASPECTS)
        verdict = self.clause(_ASPECTS[first], positive)
        if self.chance(0.6):
            return verdict
        other = self.clause(_ASPECTS[second], not positive)
        return (
            f"{other} , but {verdict}",
            f"although {other} , {verdict}",
            f"{verdict} , although {other}",
            f"{verdict} despite the fact that {other}",
        )[self.below(4)]

    def distractor(self) -> str:
        """A sentence that leaves the label alone, opinion words or not."""
        kind = self.below(3)
        if kind == 0:
            return self.pick(_SETTINGS)
        opinion = self.pick(_GOOD + _BAD)
        if kind == 1:
            return f"{self.pick(_PEOPLE)} calls it {opinion}"
        hero, other = self.pick(_HEROES), self.pick(_OTHERS)
        return f"in it {hero} {self.pick(_DEEDS)} {other} on a {opinion} day"

    def review(self, positive: bool) -> str:
        """The deciding part among up to three distractors."""
        sentences = [self.distractor() for _ in range(self.below(4))]
        sentences.insert(self.below(len(sentences) + 1), self.core(positive))
        return " ".join(f"{' '.join(sentence.split())} ." for sentence in sentences)


def synthetic_reviews(size: int = DEFAULT_SIZE, seed: int = 0) -> list[TextExample]:
    """Generates distinct movie reviews whose label hangs on word order.

    Half of the reviews are positive (one more than half is negative where `size` is odd), in
    random order, each 6 to 40 words long, from about 130 words. The same arguments give the same
    reviews on every machine and Python version.

    Args:
        size: how many reviews, 10 to 200000.
        seed: any integer.

    Returns:
        `size` examples with the labels "negative" and "positive".

    Raises:
        DataError: `size` is out of range.
    """
    if not 10 <= size <= MAX_SIZE:
        raise DataError(
            f"synthetic data of {size} examples cannot be made: ask for 10 to {MAX_SIZE}, "
            f"as in synthetic:{DEFAULT_SIZE}."
        )
    writer = _Writer(seed)
    positives = size // 2
    examples: list[TextExample] = []
    seen: set[str] = set()
    while len(examples) < size:
        # Drawing without replacement gives the exact balance without a shuffle.
        positive = writer.below(size - len(examples)) < positives
        text = writer.review(positive)
        words = sum(word.isalpha() for word in text.split())
        if text in seen or not MIN_WORDS <= words <= MAX_WORDS:
            continue
        seen.add(text)
        positives -= positive
        examples.append(TextExample(text, LABELS[positive], "synthetic", len(examples) + 1))
    return examples
