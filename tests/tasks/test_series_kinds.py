"""Kinds over series: steps against whole series, and series of unequal length judged together."""

import dataclasses

import numpy as np
import pytest

import tasks
from models.anomaly_detection import core_model, scoring_model
from pipelines.anomaly_detection import AnomalyPreprocessor, SeriesExample
from pipelines.anomaly_watch import Watch
from pipelines.frequency import HARMONICS, HOUR, Frequency
from pipelines.program import DEFAULT, KerasCore, LoadedProgram
from pipelines.scaling import Scaler
from pipelines.series import Series
from pipelines.splits import Splits
from pipelines.windows import Table, covered_spans, split_windows
from serving.savedmodel import ServingModule
from tasks.kinds.anomaly_detection import _normal_rows, _notes_on_labels
from tasks.stages.predicting import keras_responses

TASK = tasks.get("anomaly")
WINDOW, COLUMNS = 4, ("a", "b")
LENGTHS = (7, 3, 12)
DRAW = np.random.default_rng


def detector(calendar=(), **changes):
    """A preprocessor, and a detector whose weights are like trained ones."""
    config = TASK.model.updated(units=4, embedding_dim=3, **changes)
    scaler = Scaler(np.array([1, -2], np.float32), np.array([2, 4], np.float32))
    residual = config.scorer == "residual"
    watch = Watch(2, 2, (0.6, 0.8), (0.9, 1.1), 1.5, 0.2) if residual else Watch(1, 2)
    pre = AnomalyPreprocessor(
        COLUMNS, Frequency(HOUR), calendar, residual, 2, WINDOW, scaler, watch
    )
    core = core_model(config, 2, 2 * HARMONICS * len(calendar), WINDOW)
    draw = DRAW(0)
    for weight in core.trainable_weights:
        weight.assign(draw.normal(0, 0.4, weight.shape))
    return pre, scoring_model(core, config, 2, WINDOW)


def examples(firsts=(0, 0, 0)):
    """Series of unequal length."""
    found = []
    for i, (rows, first) in enumerate(zip(LENGTHS, firsts, strict=True)):
        values = DRAW(i).normal([1, -2], [2, 4], (rows, 2)).astype(np.float32)
        times = 1_500_000_000 + HOUR * np.arange(rows)
        series = Series(f"s{i}", times, values, COLUMNS, Frequency(HOUR))
        found.append(SeriesExample(series, first))
    return found


@pytest.mark.parametrize("calendar", [(), ("day", "week")])
@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru"])
def test_row_by_row_numpy_and_tensorflow_answer_as_the_whole_does(cell, calendar):
    pre, model = detector(calendar, cell=cell, layers=2)
    cores = TASK.cores(model)
    loaded = {name: KerasCore(core) for name, core in cores.items()}
    whole, step = (LoadedProgram(pre.programs[name], loaded) for name in (DEFAULT, "step"))
    signature = ServingModule(cores, pre).functions["step"]

    def in_tensorflow(request):
        return {name: x.numpy() for name, x in signature(**request).items()}

    series = examples()[2].series
    request = pre.to_request([
        {"values": series.values, "time": series.times},
        {"values": series.values[::-1], "time": series.times + 5 * HOUR},
    ])  # fmt: skip
    want = whole.run(request)
    for run in (step.run, in_tensorflow):
        rows = step.replay(run, request)
        assert len(rows) == LENGTHS[2]
        for row in rows:
            assert set(row) == set(step.signature["outputs"])
            for name, spec in step.signature["outputs"].items():
                assert row[name].dtype == spec["dtype"]
                assert row[name].shape == (2, *spec["shape"][1:])
        for name in ("score", "expected", "anomaly", "alarm"):
            found = np.stack([row[name] for row in rows], 1)
            np.testing.assert_allclose(found, want[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert want["alarm"].any()


@pytest.mark.parametrize("scorer", ["residual", "autoencoder"])
def test_series_of_unequal_length_are_answered_as_each_alone(scorer):
    pre, model = detector(scorer=scorer)
    every = examples()
    found = keras_responses(TASK, model, pre, pre.raw(every))
    for i, rows in enumerate(LENGTHS):
        alone = keras_responses(TASK, model, pre, pre.raw(every[i : i + 1]))
        assert found["score"][i].shape == (rows,)
        assert found["expected"][i].shape == (rows, 2)
        for name in ("score", "anomaly", "alarm", "expected"):
            np.testing.assert_allclose(found[name][i], alone[name][0], rtol=1e-5, atol=1e-6)
    answers = pre.answers(found, pre.raw(every))
    assert [len(answer["score"]) for answer in answers] == list(LENGTHS)


def test_series_of_unequal_length_are_judged_over_the_rows_that_count():
    pre, _ = detector()
    every = examples(firsts=(2, 0, 9))
    # Off by one scale in column a, by none in b: half a scale a row, whatever the rows before.
    expected = [one.series.values - np.float32([2, 0]) for one in every]
    for one, mine in zip(every, expected, strict=True):
        mine[: one.first] += 100
    scores = [np.zeros(len(one.series)) for one in every]
    scores[0][[0, 3]] = 2  # the first is a row that does not count
    scores[2][[10, 11]] = 2  # one event, so one alarm
    alarm = [np.zeros(len(one.series), np.int32) for one in every]
    alarm[0][[0, 3]] = alarm[2][10] = 1
    responses = {"expected": expected, "score": scores, "alarm": alarm}
    found = TASK.evaluate(pre, responses, every)
    assert found["mae"] == pytest.approx(0.5, rel=1e-5)
    assert found["alarms_per_1000_rows"] == pytest.approx(1000 * 2 / (5 + 3 + 3))
    assert "f1" not in found  # nothing is labelled
    labelled = dataclasses.replace(every[2].series, windows=((10, 11),))
    every[2] = SeriesExample(labelled, 9)
    found = TASK.evaluate(pre, responses, every)
    # The window is found; the alarm in the first series is false.
    assert (found["recall"], found["precision"]) == (1, 0.5)


def test_whole_series_answer_alike_in_numpy_and_tensorflow():
    for scorer in ("residual", "autoencoder"):
        pre, model = detector(scorer=scorer)
        cores = TASK.cores(model)
        whole = LoadedProgram(
            pre.programs[DEFAULT], {name: KerasCore(core) for name, core in cores.items()}
        )
        request = pre.to_request(pre.raw(examples()[2:]))
        want, found = whole.run(request), ServingModule(cores, pre).functions[DEFAULT](**request)
        assert set(found) == set(want) == set(pre.signature["outputs"])
        for name, array in want.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_labelled_anomalies_in_train_get_a_note_and_leave_thresholds_alone():
    draw, rows = DRAW(0), 400
    values = draw.normal(size=(rows, 1)).astype(np.float32)
    one = Series(
        "s.csv", HOUR * np.arange(rows), values, ("a",), Frequency(HOUR), ((20, 29), (390, 399))
    )
    table = Table.of([one], 1, 1)
    windows, _ = split_windows(table, WINDOW, 0, "200,50,150")
    test = [SeriesExample(one, 250)]
    (note,) = _notes_on_labels(test, windows["train"])
    assert "s.csv: 1 of 2" in note
    assert "1970-01-01T20:00:00" in note
    splits = Splits(windows["train"], windows["validation"], test, "s", "", [])
    (normal,) = _normal_rows(splits, covered_spans(windows["train"]))
    assert np.flatnonzero(~normal).tolist() == list(range(20, 30))
    calm = dataclasses.replace(one, windows=((390, 399),))
    assert _notes_on_labels([SeriesExample(calm, 250)], windows["train"]) == []
