"""Rare labels weigh as much as common ones, in the losses of training and nowhere else."""

import numpy as np
import pytest

import tasks
from pipelines.encoded import EncodedRows
from tasks.kinds.class_weights import balanced_weights, with_class_weights
from tasks.kinds.contract import DataOptions
from tasks.stages.training import prepare


def test_weights_by_hand():
    # Four examples and two labels: 4 / (2 * 3) for each of the three, 4 / (2 * 1) for the other.
    weights = balanced_weights(np.array([0, 0, 0, 1]))
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2])
    # A number that no example has is no label of the four; no label at all weighs nothing.
    np.testing.assert_allclose(balanced_weights(np.array([0, 2, 2, 2, -1])), [2, *[2 / 3] * 3, 0])
    assert balanced_weights(np.array([-1, 0, 0])).mean() == pytest.approx(2 / 3)


def test_other_losses_stay_as_they_are():
    rows = EncodedRows({"x": np.zeros(3)}, {"tags": np.zeros(3), "intents": np.array([0, 0, 1])})
    config = tasks.get("intent").model
    assert with_class_weights(rows, config, ("intents",)) is rows
    found = with_class_weights(rows, config.updated(class_weight="balanced"), ("intents",)).weights
    np.testing.assert_allclose(found["intents"], [0.75, 0.75, 1.5])
    np.testing.assert_array_equal(found["tags"], 1)


@pytest.mark.parametrize(("name", "label"), [("classify", "answer"), ("intent", "intents")])
def test_labels_have_equal_shares_in_training_and_validation_is_as_it_is(name, label):
    task = tasks.get(name)
    splits = task.load(DataOptions("synthetic:200"))
    settings = task.with_settings(task.settings, {"class_weight": "balanced", "epochs": 1})
    ready = prepare(task, settings, splits)
    labels, weights = ready.train.targets[label], ready.train.weights[label]
    shares = np.bincount(labels, weights)
    np.testing.assert_allclose(shares, len(labels) / len(shares), rtol=1e-5)
    assert ready.validation.weights is None
    assert set(ready.train.weights) == set(ready.train.targets)
    usual = prepare(task, task.settings, splits)
    assert usual.train.weights is None
