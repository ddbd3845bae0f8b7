"""From scores to alarms: one for each event, equal in both faces, row by row and whole."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pipelines.anomaly_watch import GOES_ON, LEVEL_RATE, UNREST, Watch
from pipelines.anomaly_watch_graph import advanced, watched

PLAIN = Watch(1, 3)  # two states, no witnesses but the model's
FULL = Watch(2, 3, (2.0, 4.0), (0.5, 1.0), 0.8, 0.7)
BLAMING = dataclasses.replace(FULL, columns=2)


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
    found, alarms, _ = watch.over(scores, np.zeros((1, 120, 2), np.float32))
    late = int((found[0, :, 3] >= 1).argmax())
    assert 20 + 1 < late <= 20 + UNREST
    assert np.flatnonzero(alarms[0]).tolist() == [20]


def test_witnesses_by_hand():
    rows = np.array([[[2, 0], [4, 0], [4, 8]]], np.float32)
    scores = np.zeros((1, 3, 2), np.float32)
    found, *_ = FULL.over(scores, rows)
    level = 2 + LEVEL_RATE * 2
    away = [0, np.sqrt((2 / 2) ** 2 / 2), np.sqrt((((4 - level) / 2) ** 2 + (8 / 4) ** 2) / 2)]
    np.testing.assert_allclose(found[0, :, 2], away, rtol=1e-5)
    np.testing.assert_array_equal(found[0, :, 3], 0)
    still = np.zeros((1, 400, 2), np.float32)
    still[0, :200] = np.random.default_rng(0).normal(0, 1, (200, 2))
    found, *_ = FULL.over(np.zeros((1, 400, 2), np.float32), still)
    assert found[0, :200, 4].max() < 1 < found[0, -1, 4], "values that are stuck"


def parts_of(scores, seed=5):
    """Parts of two columns, whose sums are the squares of the scores."""
    share = np.random.default_rng(seed).random(scores.shape, np.float32)[..., None]
    parts = np.square(scores)[..., None] * np.concatenate([share, 1 - share], -1)
    return parts.reshape(*scores.shape[:-1], -1).astype(np.float32)


@pytest.mark.parametrize(
    "watch", [FULL, Watch(2, 5), BLAMING, Watch(2, 5, columns=2)],
    ids=["full", "without levels", "full of columns", "without levels of columns"],
)  # fmt: skip
def test_whole_series_and_rows_agree_in_numpy_and_tensorflow(watch):
    scores, rows = a_series()
    parts = parts_of(scores)
    found, alarms, blamed = watch.over(scores, rows, parts)
    assert 3 < alarms.sum() < 100
    graph = tf.function(lambda s, r, p: watched(watch, s, r, p))
    theirs, called, causes = graph(*map(tf.constant, (scores, rows, parts)))
    np.testing.assert_allclose(theirs, found, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(called, alarms)
    np.testing.assert_allclose(causes, blamed, rtol=1e-3, atol=1e-5)
    states = {name: tf.constant(x) for name, x in watch.initial(len(rows)).items()}
    for t in range(30):
        row = {
            "scores": scores[:, t], "row": rows[:, t], "before": rows[:, max(t - 1, 0)],
            "seen": np.full(len(rows), min(t, 1), np.float32), "parts": parts[:, t],
        }  # fmt: skip
        row = {name: tf.constant(x) for name, x in row.items()}
        mine, called, causes, states = advanced(watch, states, row)
        np.testing.assert_allclose(mine, found[:, t], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(called, alarms[:, t])
        np.testing.assert_allclose(causes, blamed[:, t], rtol=1e-3, atol=1e-5)


def test_columns_change_neither_scores_nor_alarms():
    scores, rows = a_series()
    found, alarms, blamed = BLAMING.over(scores, rows, parts_of(scores))
    without, called, nothing = FULL.over(scores, rows)
    np.testing.assert_allclose(found, without, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(alarms, called)
    assert nothing.shape == (*alarms.shape, 0)
    np.testing.assert_allclose(blamed.sum(-1), found.max(-1), rtol=1e-5)
    assert (blamed >= 0).all()


def test_contributions_by_hand():
    watch = Watch(2, 3, columns=2)
    # Squares of the first expectation 9 and 1, of the second 0 and 6: 9 and 7 of 16 in all.
    scores = np.sqrt(np.array([[[10, 6]]], np.float32))
    parts = np.array([[[9, 1, 0, 6]]], np.float32)
    (blamed,) = watch.over(scores, np.zeros((1, 1, 2), np.float32), parts)[2][0]
    np.testing.assert_allclose(blamed, np.sqrt(10) * np.array([9, 7]) / 16, rtol=1e-6)
    (nothing,) = watch.over(0 * scores, np.zeros((1, 1, 2), np.float32), 0 * parts)[2][0]
    assert nothing.tolist() == [0, 0]


def test_what_went_on_before_is_not_the_cause_of_another_alarm():
    scores = np.zeros((1, 20, 2), np.float32)
    parts = np.zeros((1, 20, 2, 2), np.float32)
    scores[0, 5:, 0], parts[0, 5:, 0] = 3, [9, 0]  # the first column goes on and on
    scores[0, 15:, 1], parts[0, 15:, 1] = 1, [0, 1]
    found, alarms, blamed = Watch(2, 3, columns=2).over(
        scores, np.zeros((1, 20, 2), np.float32), parts.reshape(1, 20, 4)
    )
    assert np.flatnonzero(alarms[0]).tolist() == [5, 15]
    assert blamed[0, 5].tolist() == [3, 0]
    assert blamed[0, 15].tolist() == [0, 3], "what began here, in units of the whole score"
    np.testing.assert_allclose(blamed[0, 16], [2.7, 0.3], rtol=1e-6)


@pytest.mark.parametrize("column", [0, 1])
def test_the_column_that_moves_or_stands_still_is_blamed(column):
    """Each of the witnesses that only remember; the model's own see nothing."""
    draw, quiet = np.random.default_rng(column), np.full((1, 400, 2), 1e-3, np.float32)
    rows = draw.normal(0, 0.3, (1, 400, 2)).astype(np.float32)
    rows[0, 200:, column] += 9
    found, _, blamed = BLAMING.over(quiet, rows, parts_of(quiet))
    assert found[0, 210].argmax() == 2, "the recent level"
    assert blamed[0, 210].argmax() == column
    rows[0, 200:, column] = rows[0, 199, column]
    found, _, blamed = BLAMING.over(quiet, rows, parts_of(quiet))
    assert found[0, 399].argmax() == 4, "stillness"
    assert blamed[0, 399, column] > 0.9 * blamed[0, 399].sum()
    restless = np.full((1, 400, 2), 1e-3, np.float32)
    restless[0, 200:, 0] = 0.9
    parts = np.zeros((1, 400, 2, 2), np.float32)
    parts[0, :, 0, column] = np.square(restless[0, :, 0])
    found, _, blamed = BLAMING.over(restless, np.zeros_like(rows), parts.reshape(1, 400, 4))
    at = int((found[0, :, 3] > 1).argmax())
    assert at > 200, "unrest"
    assert blamed[0, at, column] > 0.6 * blamed[0, at].sum()


def test_no_rows_and_no_series():
    for shape in ((0, 5), (2, 0)):
        scores, rows = np.zeros((*shape, 2), np.float32), np.zeros((*shape, 2), np.float32)
        assert FULL.over(scores, rows)[1].shape == shape
        assert watched(FULL, tf.constant(scores), tf.constant(rows))[1].shape == shape
        parts = np.zeros((*shape, 4), np.float32)
        assert BLAMING.over(scores, rows, parts)[2].shape == (*shape, 2)
        assert watched(BLAMING, *map(tf.constant, (scores, rows, parts)))[2].shape == (*shape, 2)


def test_later_rows_change_nothing():
    scores, rows = a_series(60)
    parts = parts_of(scores)
    whole = BLAMING.over(scores, rows, parts)
    for cut in (1, 17, 59):
        part = BLAMING.over(scores[:, :cut], rows[:, :cut], parts[:, :cut])
        for mine, theirs in zip(part, whole, strict=True):
            np.testing.assert_array_equal(mine, theirs[:, :cut])


def test_saved_and_read_back():
    for watch in (PLAIN, FULL, BLAMING):
        assert Watch.from_json(watch.to_json()) == watch
    before = {name: value for name, value in FULL.to_json().items() if name != "columns"}
    assert Watch.from_json(before) == FULL
