"""Character and word error rates, by jiwer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.kinds.audio import named

if TYPE_CHECKING:
    import keras

    from pipelines.audio_examples import SoundExample
    from pipelines.speech import SpeechPreprocessor
    from reports.judged import Judged


def error_rates(said: Sequence[str], heard: Sequence[str]) -> dict[str, float]:
    """Errors for each character and word of what was said.

    Args:
        said: what was; none is empty.
        heard: what was recognised.

    Returns:
        ``cer`` and ``wer``: insertions, deletions and substitutions over all texts together, as a
        share of what was said; ``exact``, the share of texts without an error.
    """
    import jiwer

    exact = float(np.mean([a == b for a, b in zip(said, heard, strict=True)]))
    rates = {"cer": jiwer.cer, "wer": jiwer.wer}
    found = {name: float(rate(list(said), list(heard))) for name, rate in rates.items()}
    return {**found, "exact": exact}


def error_sums(said: str, heard: str) -> dict[str, tuple[float, float]]:
    """Of one text: its errors and its length in characters (``cer``) and words (``wer``), and
    whether there is none (``exact``)."""
    import jiwer

    sums = {}
    for name, process in (("cer", jiwer.process_characters), ("wer", jiwer.process_words)):
        found = process(said, heard)
        missed = found.substitutions + found.deletions
        sums[name] = (missed + found.insertions, missed + found.hits)
    return {**sums, "exact": (said == heard, 1)}


def judged_sounds(
    preprocessor: SpeechPreprocessor,
    examples: Sequence[SoundExample],
    heard: Sequence[str],
    others: Sequence[str] | None = None,
) -> Judged:
    """What was said beside what was heard, by the model and by the baseline if that is known."""
    from reports.judged import Judged, JudgedExample

    rows = []
    for i, (one, text) in enumerate(zip(examples, heard, strict=True)):
        said = preprocessor.said(one)
        sums = error_sums(said, text)
        rows.append(JudgedExample(
            named(one, i + 1), said, text, sums,
            loss=sums["cer"][0] / max(1, sums["cer"][1]),
            length=len(said),
            baseline={} if others is None else error_sums(said, others[i]),
        ))  # fmt: skip
    return Judged(rows, "characters", text=True)


def greedy_rates(
    model: keras.Model, preprocessor: SpeechPreprocessor, validation: Any
) -> dict[str, float]:
    """The ``error_rates`` of greedy search.

    Args:
        model: frames to log-probabilities.
        preprocessor: knows the symbols.
        validation: batches.
    """
    from decoding.ctc import greedy

    said, heard = [], []
    for inputs, targets in validation:
        scores = model.predict_on_batch(inputs)["log_probabilities"]
        found = greedy(scores, np.asarray(inputs["inside"]).sum(1))
        for truth, row, n in zip(
            np.asarray(targets["log_probabilities"]), found.symbols, found.length, strict=True
        ):
            said.append(preprocessor.text(truth[truth != 0]))
            heard.append(preprocessor.text(row[:n]))
    return error_rates(said, heard)
