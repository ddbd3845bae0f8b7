"""A classifier without recurrence: what frames are like on the whole, and a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

STRENGTHS = (0.01, 0.1, 1.0)


def frame_statistics(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Mean, deviation, least and greatest of each value of frames, and of the thirds of a sound its
    means: ``[steps, width]`` each to ``<float32>[sounds, 7 * width]``."""
    found = []
    for row in rows:
        thirds = [part.mean(0) if len(part) else row.mean(0) for part in np.array_split(row, 3)]
        found.append(np.concatenate([row.mean(0), row.std(0), row.min(0), row.max(0), *thirds]))
    return np.array(found, np.float32)


def linear_sound_baseline(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """Logistic regression over ``frame_statistics``; its strength is chosen on validation.

    Args:
        train: statistics and classes of its sounds.
        validation: likewise.
        test: likewise.

    Returns:
        ``{"name", "validation": {"accuracy"}, "test": {"accuracy", "majority_class"}}``.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fitted(strength: float) -> Any:
        linear = LogisticRegression(C=strength, max_iter=2000)
        return make_pipeline(StandardScaler(), linear).fit(*train)

    models = [fitted(strength) for strength in STRENGTHS]
    best = max(models, key=lambda model: model.score(*validation))
    values, counts = np.unique(train[1], return_counts=True)
    majority = float(np.mean(test[1] == values[counts.argmax()]))
    return {
        "name": "logistic regression over the mean, deviation and range of frames",
        "validation": {"accuracy": float(best.score(*validation))},
        "test": {"accuracy": float(best.score(*test)), "majority_class": majority},
    }
