"""Kinds over series: steps against whole series, and series of unequal length judged together."""

import dataclasses

import numpy as np
import pytest

import tasks
from models.anomaly_detection import core_model, scoring_model
from pipelines.anomaly_detection import AnomalyPreprocessor, SeriesExample
from pipelines.anomaly_watch import Watch
from pipelines.frequency import HARMONICS, HOUR, Frequency
from pipelines.preprocessor import load_preprocessor
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
    levels = ((0.6, 0.8), (0.9, 1.1), 1.5, 0.2) if residual else ()
    watch = Watch(1 + residual, 2, *levels, columns=2)
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
        for name in ("score", "expected", "anomaly", "alarm", "contribution"):
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
        for name in ("score", "anomaly", "alarm", "expected", "contribution"):
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


# ---- data of a trained model


def german_hours(tmp_path, name, days, cell):
    """Rows of a date, an hour, two ids and a number as a German program writes it."""
    rows = [f"{day:02}/02/2020;{hour};{store};{item};{cell(day, hour)}\n"
            for day in days for hour in range(24) for store in "ab" for item in (1, 2)]  # fmt: skip
    (tmp_path / name).write_text("Date;Hour;store;item;sold\n" + "".join(rows))
    return tmp_path / name


def test_other_files_are_read_as_those_of_training(tmp_path):
    """What training's file proved, a file of few rows need not."""
    task = tasks.get("forecast")
    path = german_hours(tmp_path, "train.csv", range(1, 20), lambda d, h: f"{d * h},5")
    flags = {"target": "sold", "lookback": 24, "horizon": 6, "id_column": "store,item"}
    options = task.data_options(path, **flags)
    splits = task.load(options)
    pre = task.adapt(task.settings, splits.train)
    assert dataclasses.asdict(pre.written) == {"decimal": ",", "date_order": "dmy"}
    pre.save(tmp_path)
    again = load_preprocessor(tmp_path)
    assert (again.written, again.frequency) == (pre.written, pre.frequency)
    # Three days, and numbers such as 1.234: nothing in this file says which is which.
    few = german_hours(tmp_path, "few.csv", range(1, 4), lambda d, h: f"1.{100 + 24 * d + h}")
    raw, notes = task.read_inputs(few, options, again)
    assert [window["series"] for window in raw] == ["a/1", "a/2", "b/1", "b/2"]
    assert raw[0]["values"][-1, 0] == 1100 + 24 * 3 + 23
    assert str(np.int64(raw[0]["time"]).astype("datetime64[s]")) == "2020-02-03T23:00:00"
    # So does what `evaluate --data` reads; the task by itself would take points for decimals.
    where = task.data_options(few, **{**flags, "lookback": 12, "split": "0.5,0.2,0.3"})
    values = task.as_trained(again).load(where).train.table.values
    assert (values[0, 0], values.max()) == (1124, 1195)
    # A series that is too short is left out, not the file.
    short = few.read_text() + "03/02/2020;0;c;9;1.234\n03/02/2020;1;c;9;1.235\n"
    few.write_text(short)
    raw, notes = task.read_inputs(few, options, again)
    assert len(raw) == 4
    assert any("1 of 5 series were left out: 'c/9'" in note for note in notes)


@pytest.mark.parametrize("name", ["forecast", "anomaly"])
@pytest.mark.parametrize("header", ["y", "step,y"])
def test_rows_without_a_calendar(tmp_path, name, header):
    """Steps and counters from file to answer: times are numbers, and no calendar is learnt."""
    task, path = tasks.get(name), tmp_path / "steps.csv"
    rows = [[10 * i, i * i % 7] if "," in header else [i * i % 7] for i in range(200)]
    path.write_text(header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    sizes = {"lookback": 8, "horizon": 3} if name == "forecast" else {"window": 16}
    options = task.data_options(path, **sizes)
    splits = task.load(options)
    pre = task.adapt(task.settings, splits.train)
    assert (pre.calendar, pre.frequency.counter) == ((), True)
    assert "time" not in pre.signature["inputs"]
    pre.save(tmp_path)
    again = load_preprocessor(tmp_path)
    raw, _ = task.read_inputs(path, options, again)
    step = 10 if "," in header else 1
    shape = (1, 3, 1) if name == "forecast" else (1, 200)
    response = {
        "mean": np.zeros(shape), "quantiles": np.zeros((*shape, 5)), "score": np.zeros(shape),
        "anomaly": np.zeros(shape, int), "expected": np.zeros((*shape, 1)),
    }  # fmt: skip
    (answer,) = again.answers(response, raw)
    first = 200 if name == "forecast" else 0
    assert answer["times"][:3] == [step * (first + i) for i in range(3)]
    assert str(answer["times"][0]) in task.format_answer(raw[0], answer)
    files = task.write_answers(again, raw, [answer], tmp_path / "out.csv")
    assert all(file.stat().st_size for file in files)
    assert f",{answer['times'][1]}," in (tmp_path / "out.csv").read_text()


def test_sessions_are_saved_and_have_no_calendar_in_forecasts(tmp_path):
    days = [day for day in np.datetime64("2020-01-01") + np.arange(14) if np.is_busday(day)]
    stamps = [day.astype("datetime64[m]") + 570 + 5 * bar for day in days for bar in range(78)]
    rows = [f"{stamp},{i * i % 7}\n" for i, stamp in enumerate(stamps)]
    (tmp_path / "bars.csv").write_text("time,close\n" + "".join(rows))
    task = tasks.get("forecast")
    options = task.data_options(tmp_path / "bars.csv", lookback=24, horizon=78)
    pre = task.adapt(task.settings, task.load(options).train)
    pre.save(tmp_path)
    again = load_preprocessor(tmp_path)
    assert (again.calendar, again.frequency) == ((), pre.frequency)
    # The next forecast begins at the next opening, and goes over a night and a weekend.
    (raw,), _ = task.read_inputs(tmp_path / "bars.csv", options, again)
    times = again.frequency.label(again.frequency.after(raw["time"], np.arange(1, 101)))
    assert (times[0], times[78]) == ("2020-01-15T09:30:00", "2020-01-16T09:30:00")


def test_business_days_are_saved_and_forecast_on_business_days(tmp_path):
    days = [day for day in np.datetime64("2020-01-01") + np.arange(200) if np.is_busday(day)]
    rows = [f"{day},{i * i % 7}\n" for i, day in enumerate(days) if i != 50]
    (tmp_path / "closes.csv").write_text("date,close\n" + "".join(rows))
    task = tasks.get("forecast")
    options = task.data_options(tmp_path / "closes.csv", lookback=10, horizon=5)
    pre = task.adapt(task.settings, task.load(options).train)
    pre.save(tmp_path)
    again = load_preprocessor(tmp_path)
    assert (again.calendar, again.frequency) == ((), pre.frequency)
    (raw,), _ = task.read_inputs(tmp_path / "closes.csv", options, again)
    times = again.frequency.label(again.frequency.after(raw["time"], np.arange(1, 6)))
    expected = np.busday_offset(days[-1], np.arange(1, 6))
    assert times == [f"{day}T00:00:00" for day in expected]


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
