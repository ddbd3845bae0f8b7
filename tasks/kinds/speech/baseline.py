"""What speech recognition is measured against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from models.metric import Metric
from models.speech_baselines import keyed_text
from tasks.kinds.speech.scoring import error_rates

if TYPE_CHECKING:
    from pipelines.audio_examples import SoundExample
    from pipelines.speech import SpeechPreprocessor
    from pipelines.splits import Splits


def speech_baseline(
    preprocessor: SpeechPreprocessor, splits: Splits[SoundExample], metric: Metric
) -> dict[str, Any]:
    """The commonest text of training, or Morse code by threshold and timing: whichever is better on
    validation by the metric."""
    from pipelines.synthetic_speech import CODE

    commonest = Counter(map(preprocessor.said, splits.train)).most_common(1)[0][0]
    rate = preprocessor.features.rate
    ways: dict[str, Callable[[SoundExample], str]] = {
        "the commonest text of training": lambda _: commonest,
        "Morse code by threshold and timing": lambda one: keyed_text(one.at(rate), rate, CODE),
    }

    def scores(part: Sequence[SoundExample], texts: list[str]) -> dict[str, float]:
        return error_rates(list(map(preprocessor.said, part)), texts)

    validation = splits.validation
    found = {way: scores(validation, list(map(ways[way], validation))) for way in ways}
    wanted = metric.best(each[metric.name] for each in found.values())
    best = next(way for way in found if found[way][metric.name] == wanted)
    texts = list(map(ways[best], splits.test))
    test = scores(splits.test, texts)
    return {"name": best, "validation": found[best], "test": test, "answers": texts}
