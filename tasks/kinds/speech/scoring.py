"""Character and word error rates, by jiwer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from pipelines.speech import SpeechPreprocessor


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
