"""A classifier without recurrence: what frames are like on the whole, and a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.label_metrics import label_scores

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
    metric: str = "accuracy",
) -> dict[str, Any]:
    """Logistic regression over ``frame_statistics``; its strength is chosen on validation, and
    whether its classes are balanced too, by any metric but the accuracy.

    Args:
        train: statistics and classes of its sounds.
        validation: likewise.
        test: likewise.
        metric: that of ``label_scores`` by which is chosen.

    Returns:
        ``{"name", "validation": {"accuracy", "macro_f1"}, "test": {"accuracy", "macro_f1",
        "majority_class"}}``, and of test its classes as ``"answers"``.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fitted(strength: float, weight: str | None) -> Any:
        linear = LogisticRegression(C=strength, max_iter=2000, class_weight=weight)
        return make_pipeline(StandardScaler(), linear).fit(*train)

    def scores(model: Any, part: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        return label_scores(part[1], model.predict(part[0]))

    weights = (None,) if metric == "accuracy" else (None, "balanced")
    models = [fitted(strength, weight) for weight in weights for strength in STRENGTHS]
    best = max(models, key=lambda model: scores(model, validation)[metric])
    values, counts = np.unique(train[1], return_counts=True)
    majority = float(np.mean(test[1] == values[counts.argmax()]))
    return {
        "name": "logistic regression over the mean, deviation and range of frames",
        "validation": scores(best, validation),
        "test": {**scores(best, test), "majority_class": majority},
        "answers": best.predict(test[0]).tolist(),
    }
