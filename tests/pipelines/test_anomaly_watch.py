"""From scores to alarms: one for each event, equal in both faces, row by row and whole."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pipelines.anomaly_watch import GOES_ON, LEVEL_RATE, UNREST, Watch
from pipelines.anomaly_watch_graph import advanced, watched

PLAIN = Watch(1, 3)  # two states, no witnesses but the model's
FULL = Watch(2, 3, (2.0, 4.0), (0.5, 1.0), 0.8, 0.7)


def alarms_of(scores, watch=PLAIN):
    """Rows that raise an alarm, of scores of one expectation."""
    scores = np.array(scores, np.float32)[None, :, None]
    return np.flatnonzero(watch.over(scores, np.zeros((1, scores.shape[1], 1)))[1]).tolist()


def a_series(rows=200, series=3, seed=0):
    draw = np.random.default_rng(seed)
    scores = draw.gamma(1, 0.4, (series, rows, 2)).astype(np.float32)
    return scores, draw.normal(size=(series, rows, 2)).astype(np.float32)


def test_a_lasting_cause_calls_once():
    assert alarms_of([0.2] * 5 + [3] * 60) == [5]
    # Below the threshold it goes on, as long as it is above half of that.
    assert alarms_of([0.2] * 5 + [3] + [GOES_ON] * 30 + [2] * 9) == [5]
    # As long as the calm is shorter than three rows, it is the same event.
    assert alarms_of([2, 0, 0, 2, 0, 0, 0.6, 0, 0, 2]) == [0]


def test_after_calm_there_is_another_event():
    assert alarms_of([2, 0, 0, 0, 2]) == [0, 4]
    assert alarms_of([0.9, 0.6, 0.9]) == [], "nothing was at its threshold"
    assert alarms_of([0.6, 0.6, 1.0]) == [2]


def test_another_witness_calls_again_but_not_within_the_quiet():
    scores = np.zeros((1, 12, 2), np.float32)
    scores[0, :, 0] = 2
    scores[0, 2, 1] = 2  # within the quiet rows: an event, but no alarm
    scores[0, 9, 1] = 2
    found = Watch(2, 3).over(scores, np.zeros((1, 12, 1), np.float32))[1]
    assert np.flatnonzero(found[0]).tolist() == [0, 9]


def test_a_moving_average_that_tells_late_is_the_same_cause():
    watch = dataclasses.replace(FULL, quiet=1, unit=(1e9, 1e9), still=1e9)
    scores = np.full((1, 120, 2), 0.01, np.float32)
    scores[0, 20:, 0] = 5  # unrest reaches its threshold some rows later
    found, alarms = watch.over(scores, np.zeros((1, 120, 2), np.float32))
    late = int((found[0, :, 3] >= 1).argmax())
    assert 20 + 1 < late <= 20 + UNREST
    assert np.flatnonzero(alarms[0]).tolist() == [20]


def test_witnesses_by_hand():
    rows = np.array([[[2, 0], [4, 0], [4, 8]]], np.float32)
    scores = np.zeros((1, 3, 2), np.float32)
    found, _ = FULL.over(scores, rows)
    level = 2 + LEVEL_RATE * 2
    away = [0, np.sqrt((2 / 2) ** 2 / 2), np.sqrt((((4 - level) / 2) ** 2 + (8 / 4) ** 2) / 2)]
    np.testing.assert_allclose(found[0, :, 2], away, rtol=1e-5)
    np.testing.assert_array_equal(found[0, :, 3], 0)
    still = np.zeros((1, 400, 2), np.float32)
    still[0, :200] = np.random.default_rng(0).normal(0, 1, (200, 2))
    found, _ = FULL.over(np.zeros((1, 400, 2), np.float32), still)
    assert found[0, :200, 4].max() < 1 < found[0, -1, 4], "values that are stuck"


@pytest.mark.parametrize("watch", [FULL, Watch(2, 5)], ids=["full", "without levels"])
def test_whole_series_and_rows_agree_in_numpy_and_tensorflow(watch):
    scores, rows = a_series()
    found, alarms = watch.over(scores, rows)
    assert 3 < alarms.sum() < 100
    graph = tf.function(lambda s, r: watched(watch, s, r))
    theirs, called = graph(tf.constant(scores), tf.constant(rows))
    np.testing.assert_allclose(theirs, found, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(called, alarms)
    states = {name: tf.constant(x) for name, x in watch.initial(len(rows)).items()}
    for t in range(30):
        row = {
            "scores": scores[:, t], "row": rows[:, t], "before": rows[:, max(t - 1, 0)],
            "seen": np.full(len(rows), min(t, 1), np.float32),
        }  # fmt: skip
        row = {name: tf.constant(x) for name, x in row.items()}
        mine, called, states = advanced(watch, states, row)
        np.testing.assert_allclose(mine, found[:, t], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(called, alarms[:, t])


def test_no_rows_and_no_series():
    for shape in ((0, 5), (2, 0)):
        scores, rows = np.zeros((*shape, 2), np.float32), np.zeros((*shape, 2), np.float32)
        assert FULL.over(scores, rows)[1].shape == shape
        assert watched(FULL, tf.constant(scores), tf.constant(rows))[1].shape == shape


def test_later_rows_change_nothing():
    scores, rows = a_series(60)
    whole = FULL.over(scores, rows)
    for cut in (1, 17, 59):
        part = FULL.over(scores[:, :cut], rows[:, :cut])
        for mine, theirs in zip(part, whole, strict=True):
            np.testing.assert_array_equal(mine, theirs[:, :cut])


def test_saved_and_read_back():
    for watch in (PLAIN, FULL):
        assert Watch.from_json(watch.to_json()) == watch
