"""What moved a model of sound: which bands, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.kinds.question import SOUND, Question, model_inputs

if TYPE_CHECKING:
    import keras

    from models.attribution import Entry
    from pipelines.audio_features import AudioFeatures

SILENT_SAMPLES = 1.0  # seconds of silence whose frames are the baseline


def sound_question(
    model: keras.Model,
    preprocessor: Any,
    raw: Any,
    score: Callable[[Any], Any],
    target: str,
) -> Question:
    """A question about a model of ``frames``, on a spectrogram.

    Args:
        model: of the run.
        preprocessor: with ``features``.
        raw: a sound.
        score: see ``Question``.
        target: see ``Question``.
    """
    features: AudioFeatures = preprocessor.features
    inputs = model_inputs(preprocessor, model, raw)
    steps, stack, stride = inputs["frames"].shape[1], features.config.stack, features.config.stride
    count = (steps - 1) * stride + stack
    places = (np.arange(steps) * stride)[:, None] + np.arange(stack)  # (steps, stack)
    silence = features(np.zeros(int(features.rate * SILENT_SAMPLES), np.float32))[0]

    def on_frames(each: np.ndarray, mean: bool = False) -> np.ndarray:
        found, times = np.zeros((count, features.width)), np.zeros((count, 1))
        np.add.at(found, places, each.reshape(steps, stack, features.width))
        np.add.at(times, places, 1.0)
        return found / np.maximum(times, 1) if mean else found

    def of_frames(entry: Entry) -> np.ndarray:
        return on_frames(entry.attributions)

    seconds = np.arange(count) * features.frame_hop / features.rate
    spectral = features.config.features == "log_mel"
    return Question(
        inputs=inputs,
        score=score,
        target=target,
        steps=[f"{one:.2f} s" for one in seconds],
        view=SOUND,
        columns=[f"{'band' if spectral else 'coefficient'} {i + 1}"
                 for i in range(features.width)],
        baselines={"frames": np.tile(silence, (steps, 1))},
        baseline="silence of the same length",
        spread={"frames": of_frames},
        values=on_frames(inputs["frames"][0], mean=True),
    )  # fmt: skip
