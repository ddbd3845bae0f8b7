"""Losses that count rare labels as much as common ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pipelines.encoded import EncodedRows


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """Weights by which each label has the same share of the loss, 1 on average.

    The weight of a label is n / (labels * n_label), which is King and Zeng's (2001) for a
    population in which all labels are alike, and scikit-learn's "balanced".

    Args:
        labels: ``<int>[examples]``, from 0; one below 0 is no label, and weighs 0.

    Returns:
        ``<float32>[examples]``.
    """
    known = labels >= 0
    counts = np.bincount(labels[known])
    weights = known.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(known, weights[np.maximum(labels, 0)], 0).astype(np.float32)


def with_class_weights(train: EncodedRows, config: Any, outputs: Sequence[str]) -> EncodedRows:
    """The encoded training examples with the weights that ``config.class_weight`` asks for.

    Args:
        train: with the labels among its targets.
        config: hyperparameters.
        outputs: names of the targets that are the labels; the losses of others stay as they are.
    """
    if config.class_weight == "none":
        return train
    weights = balanced_weights(np.asarray(train.targets[outputs[0]]))
    alike = np.ones_like(weights)  # Keras wants weights of every loss, or of none
    return replace(train, weights={n: weights if n in outputs else alike for n in train.targets})
