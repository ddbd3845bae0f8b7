"""Scalers and the preprocessors of series: by hand, and their two faces equal on anything."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.errors import DataError, SeqloomError
from pipelines.anomaly_detection import AnomalyPreprocessor, SeriesExample, alarms
from pipelines.forecasting import ForecastPreprocessor
from pipelines.frequency import DAY, HARMONICS, HOUR, Frequency
from pipelines.preprocessor import load_preprocessor
from pipelines.scaling import SCALERS, Scaler
from pipelines.series import Series
from pipelines.target_values import TargetValues, parse_minimum
from pipelines.window_batches import window_batches
from pipelines.windows import Table, Windows, split_windows

HOURLY = Frequency(HOUR)
LEVELS = (0.1, 0.5, 0.9)
YEAR_2100 = 4_102_444_800


def scaler(center, scale):
    return Scaler(np.array(center, np.float32), np.array(scale, np.float32))


def forecasting(known=("k",), calendar=("day", "year"), frequency=HOURLY, values=None):
    return ForecastPreprocessor(
        values=values or TargetValues(),
        targets=("a", "b"),
        covariates=("c",),
        known=known,
        lookback=3,
        horizon=2,
        frequency=frequency,
        calendar=calendar,
        levels=LEVELS,
        scaler=scaler([1, 2, 3], [2, 4, 0.5]),
        known_scaler=scaler([10] * len(known), [5] * len(known)),
        seasonal_error=(1.5, 2.5),
    )


def watching(calendar=("day", "week"), previous=True, quiet=2):
    return AnomalyPreprocessor(
        ("a", "b"), HOURLY, calendar, previous, quiet, 4, scaler([1, -2], [2, 4])
    )


FORECASTING = {
    "plain": forecasting((), ()),
    "known": forecasting(("k", "l"), ()),
    "calendar": forecasting((), ("day", "week")),
    "both": forecasting(),
    "bounded": forecasting((), (), values=TargetValues("none", (0.0, -np.inf))),
    "log": forecasting((), (), values=TargetValues("log", (), (0.25, 2.0))),
    "log1p": forecasting((), (), values=TargetValues("log1p", (0.0, 3.0), (0.0, 0.0))),
}
WATCHING = {
    "plain": watching(()),
    "calendar": watching(),
    "autoencoder": watching((), previous=False),
}
ALL = {**{f"forecast-{k}": v for k, v in FORECASTING.items()}, **WATCHING}


def a_table(values, targets, inputs, frequency=HOURLY, first=0):
    values = np.asarray(values, np.float32)
    columns = tuple("abcdef"[: values.shape[1]])
    times = first + np.arange(len(values)) * frequency.seconds
    return Table.of([Series("s", times, values, columns, frequency)], targets, inputs)


# ---- scalers


@pytest.mark.parametrize(("kind", "center", "scale"), [
    ("standard", 5, np.sqrt(20)),  # 25 + 9 + 1 + 1 + 64, over five
    ("minmax", 0, 13),
    ("robust", 4, 4),  # quartiles 2 and 6
])  # fmt: skip
def test_scalers_by_hand(kind, center, scale):
    rows = np.array([[0, 7], [2, 7], [4, 7], [6, 7], [13, 7]], np.float32)
    found = Scaler.adapt(kind, rows)
    np.testing.assert_allclose(found.center, [center, 7], rtol=1e-6)
    np.testing.assert_allclose(found.scale, [scale, 1], rtol=1e-6)
    assert found.center.dtype == found.scale.dtype == np.float32
    np.testing.assert_allclose(found.apply(rows)[:, 0], (rows[:, 0] - center) / scale, rtol=1e-6)
    np.testing.assert_array_equal(found.apply(rows)[:, 1], 0)


@pytest.mark.parametrize("kind", SCALERS)
@pytest.mark.parametrize("level", [0, 1, -3e-20, 1e6, -3e30])
def test_a_constant_column_keeps_its_unit(kind, level):
    found = Scaler.adapt(kind, np.full((300, 1), level, np.float32))
    np.testing.assert_allclose(found.center, [level], rtol=1e-6)
    assert found.scale.tolist() == [1]


def test_small_units_are_no_constants():
    rows = np.array([[0, 1e-20], [1e-12, 2e-20]], np.float32)
    np.testing.assert_allclose(Scaler.adapt("minmax", rows).scale, [1e-12, 1e-20], rtol=1e-6)


def test_moments_are_exact_over_chunks_and_far_from_nought():
    rows = np.tile(np.array([[100_000], [100_002]], np.float32), (200_000, 1))
    found = Scaler.adapt("standard", rows)
    assert (found.center.tolist(), found.scale.tolist()) == ([100_001], [1])


def test_no_columns_and_unknown_kinds():
    assert Scaler.adapt("standard", np.zeros((3, 0), np.float32)).scale.shape == (0,)
    with pytest.raises(DataError, match="'cube' .* standard, minmax, robust"):
        Scaler.adapt("cube", np.zeros((3, 1), np.float32))


FINITE = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (7, 2), elements=FINITE), st.sampled_from(SCALERS))
def test_scaled_and_back_is_the_same_and_json_is_exact(rows, kind):
    found = Scaler.adapt(kind, rows)
    assert (found.scale > 0).all()
    scaled = found.apply(rows)
    assert np.isfinite(scaled).all()
    bound = 1e-5 * np.maximum(np.abs(rows).max(0), 1e-30)
    assert (np.abs(found.invert(scaled) - rows) <= bound).all()
    again = Scaler.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.center, found.center)
    np.testing.assert_array_equal(again.scale, found.scale)
    np.testing.assert_array_equal(again.first(1).scale, found.scale[:1])


# ---- what is learnt from train


@pytest.mark.parametrize("kind", SCALERS)
def test_adapting_ignores_the_rows_after_train(kind):
    values = np.random.default_rng(0).normal(size=(200, 3))
    wild = values.copy()
    wild[100:] = 1e6
    learnt = []
    for rows in (values, wild):
        train = split_windows(a_table(rows, 1, 2), 10, 5, "100,50,50")[0]["train"]
        made = ForecastPreprocessor.adapt(train, scaler=kind, calendar=True, levels=LEVELS)
        watch = AnomalyPreprocessor.adapt(train, scaler=kind, calendar=True, previous=True, quiet=0)
        direct = Scaler.adapt(kind, rows[:100].astype(np.float32))
        np.testing.assert_array_equal(made.scaler.center, direct.center[:2])
        np.testing.assert_array_equal(watch.scaler.scale, direct.scale)
        learnt.append((made.scaler.to_json(), made.known_scaler.to_json(), made.seasonal_error,
                       watch.scaler.to_json(), made.calendar, watch.calendar))  # fmt: skip
    assert learnt[0] == learnt[1]
    assert learnt[0][4] == ("day",)


def test_what_a_forecast_preprocessor_learns():
    table = a_table(np.arange(240).reshape(60, 4), 1, 3)
    train = split_windows(table, 4, 2, "50,5,5")[0]["train"]
    made = ForecastPreprocessor.adapt(train, scaler="minmax", calendar=True, levels=LEVELS)
    assert (made.targets, made.covariates, made.known) == (("a",), ("b", "c"), ("d",))
    assert (made.lookback, made.horizon, made.frequency) == (4, 2, HOURLY)
    assert made.calendar == ("day",)
    assert made.scaler.center.tolist() == [0, 1, 2]
    assert made.scaler.scale.tolist() == [4 * 49] * 3
    np.testing.assert_allclose(made.known_scaler.center, [3 + 4 * 24.5])
    assert made.seasonal_error == (96,), "24 rows before, four less a row"
    assert made.known_width == 3
    assert made.steps.tolist() == [-3, -2, -1, 0, 1, 2]
    silent = ForecastPreprocessor.adapt(train, scaler="minmax", calendar=False, levels=LEVELS)
    assert (silent.calendar, silent.known_width) == ((), 1)


def test_what_an_anomaly_preprocessor_learns():
    train = split_windows(a_table(np.arange(60)[:, None], 1, 1), 4, 0, "50,5,5")[0]["train"]
    options = {"scaler": "minmax", "calendar": True, "previous": True}
    made = AnomalyPreprocessor.adapt(train, **options, quiet=0)
    assert (made.columns, made.calendar, made.quiet, made.window) == (("a",), ("day",), 6, 4)
    assert AnomalyPreprocessor.adapt(train, **options, quiet=7).quiet == 7
    auto = AnomalyPreprocessor.adapt(train, **{**options, "previous": False}, quiet=1)
    assert (auto.calendar, auto.previous) == ((), False)


def many(*blocks, frequency=HOURLY):
    series = [
        Series(f"s{i}", np.arange(len(b)) * frequency.seconds, np.asarray(b, np.float32)[:, None],
               ("a",), frequency)
        for i, b in enumerate(blocks)
    ]  # fmt: skip
    return split_windows(Table.of(series, 1, 1), 4, 2, "0.8,0.1,0.1")[0]["train"]


def test_a_cycle_that_each_of_many_series_holds_once_is_not_told():
    train = many(*[np.arange(45)] * 5)  # 36 rows of train each, over the same day and a half
    options = {"scaler": "standard", "calendar": True}
    assert ForecastPreprocessor.adapt(train, **options, levels=LEVELS).calendar == ()
    made = AnomalyPreprocessor.adapt(train, **options, previous=True, quiet=0)
    assert made.calendar == ()


def test_seasonal_error_never_compares_two_series():
    day = np.arange(24)
    # Each grows by two, or by four, from one day to the next.
    low, high = (np.concatenate([day + size * i for i in range(10)]) for size in (2, 4))
    made = ForecastPreprocessor.adapt(
        many(low, high + 10_000), scaler="standard", calendar=False, levels=LEVELS
    )
    assert made.seasonal_error == (3,)


def test_a_series_that_repeats_itself_has_an_error_of_one():
    made = ForecastPreprocessor.adapt(
        many(np.tile(np.arange(24), 5)), scaler="standard", calendar=False, levels=LEVELS
    )
    assert made.seasonal_error == (1,)


# ---- two faces


def assert_faces_agree(want, got, apart=1e-6):
    assert set(want) == set(got)
    for name, mine in want.items():
        theirs = got[name].numpy()
        assert mine.dtype == theirs.dtype, name
        # Sines differ in their last digit, and TensorFlow flushes the least numbers to nought.
        np.testing.assert_allclose(theirs, mine, rtol=apart, atol=1e-7, err_msg=name)


TIMES = st.one_of(st.sampled_from([0, 1, -1, YEAR_2100, -(10**10)]), st.integers(-(10**11), 10**12))


@st.composite
def wires(draw, pre, rows=None):
    batch = draw(st.integers(1, 3))
    wire = {}
    for name, spec in pre.signature["inputs"].items():
        shape = [batch, *(rows if size == -1 else size for size in spec["shape"][1:])]
        elements = FINITE if spec["dtype"] == "float32" else TIMES
        wire[name] = draw(arrays(spec["dtype"], tuple(shape), elements=elements))
    return wire


def as_tensors(named):
    return {name: tf.constant(array) for name, array in named.items()}


@pytest.mark.parametrize("name", FORECASTING)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_faces_of_forecasting_agree(name, data):
    pre = FORECASTING[name]
    wire = data.draw(wires(pre))
    core = pre.encode(wire)
    # A rounding before a power of e is one of up to 80 times its share after it.
    apart = 1e-6 if pre.values.transform == "none" else 2e-5
    assert_faces_agree(core, pre.graph().encode(as_tensors(wire)), apart)
    assert ("known" in core) == bool(pre.known_width)
    if pre.known_width:
        assert core["known"].shape == (len(wire["values"]), 5, pre.known_width)
    forecast = data.draw(arrays(np.float32, (len(wire["values"]), 2, 2, 4), elements=FINITE))
    outputs = {"mean": forecast[..., 0], "quantiles": forecast[..., 1:]}
    wanted, found = pre.decode(outputs), pre.graph().decode(as_tensors(outputs))
    assert_faces_agree(wanted, found, apart)
    for answer in (wanted, {name: tensor.numpy() for name, tensor in found.items()}):
        low, high = answer["quantiles"][..., 0], answer["quantiles"][..., -1]
        assert (low <= answer["mean"]).all(), "a forecast is never below its own interval"
        assert (answer["mean"] <= high).all(), "nor above"
        for i, bound in enumerate(pre.values.minimum):
            assert answer["mean"][..., i].min() >= bound
            assert low[..., i].min() >= bound
    # A bundle of the version before has both on one axis.
    before = pre.decode({"forecast": forecast})
    assert all(np.array_equal(before[name], wanted[name]) for name in wanted)
    assert (np.diff(wanted["quantiles"], axis=-1) >= 0).all(), "they come out sorted"


@pytest.mark.parametrize("name", WATCHING)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), rows=st.integers(1, 6))
def test_faces_of_anomalies_agree(name, data, rows):
    pre = WATCHING[name]
    wire = data.draw(wires(pre, rows))
    core = pre.encode(wire)
    assert_faces_agree(core, pre.graph().encode(as_tensors(wire)))
    if pre.calendar:
        assert core["calendar"].shape == (len(wire["values"]), rows, 4 * HARMONICS)
    out = {
        "score": data.draw(arrays(np.float32, (2, rows), elements=st.floats(0, 2, width=32))),
        "expected": data.draw(arrays(np.float32, (2, rows, 2), elements=FINITE)),
    }
    wanted = pre.decode(out)
    assert_faces_agree(wanted, pre.graph().decode(as_tensors(out)))
    assert wanted["anomaly"].dtype == np.int32
    np.testing.assert_array_equal(wanted["anomaly"], out["score"] >= 1)


@pytest.mark.parametrize("time", [0, YEAR_2100, -DAY - 1, -(10**10)])
def test_faces_agree_as_graphs_at_the_ends_of_time(time):
    pre = FORECASTING["both"]
    values = np.ones((1, 3, 3), np.float32)
    wire = {"values": values, "known": np.ones((1, 5, 1), np.float32), "time": np.array([time])}
    assert_faces_agree(pre.encode(wire), tf.function(pre.graph().encode)(as_tensors(wire)))
    watch = WATCHING["calendar"]
    wire = {"values": values[..., :2], "time": time + np.arange(3)[None] * HOUR}
    assert_faces_agree(watch.encode(wire), tf.function(watch.graph().encode)(as_tensors(wire)))


def test_encoding_and_decoding_by_hand():
    pre = forecasting(("k",), ("day",))
    wire = pre.to_request([{
        "values": [[1, 2, 3], [3, 6, 3.5], [5, 10, 4]],
        "known": [[10], [15], [20], [5], [0]],
        "time": 6 * HOUR,
    }])  # fmt: skip
    core = pre.encode(wire)
    assert core["values"].tolist() == [[[0, 0, 0], [1, 1, 1], [2, 2, 2]]]
    assert core["known"][0, :, 0].tolist() == [0, 1, 2, -1, -2]
    angles = np.arange(4, 9) * 2 * np.pi / 24  # six o'clock is the third row
    np.testing.assert_allclose(core["known"][0, :, 1], np.sin(angles), atol=1e-6)
    np.testing.assert_allclose(core["known"][0, :, 2], np.cos(angles), atol=1e-6)
    forecast = np.array([[[[1, 3, 2, 1], [0, 0, 1, -1]]] * 2], np.float32)
    decoded = pre.decode({"forecast": forecast})
    assert decoded["mean"].tolist() == [[[3, 2], [3, 2]]]
    assert decoded["quantiles"][0, 0].tolist() == [[3, 5, 7], [-2, 2, 6]]


def test_logarithms_and_bounds_by_hand(tmp_path):
    values = np.array([[1, -5, 7], [np.e, 0, 8], [np.e**2, 5, 9]] * 4, np.float32)
    train = split_windows(a_table(values, 1, 2), 3, 1, "10,1,1")[0]["train"]
    options = {"scaler": "standard", "calendar": False, "levels": LEVELS}
    made = ForecastPreprocessor.adapt(train, **options, transform="log", minimum="0.5")
    made.save(tmp_path)
    for pre in (made, load_preprocessor(tmp_path)):
        assert pre.values == made.values
        np.testing.assert_allclose(pre.target_scale, np.std(values[:10, 0]), rtol=1e-6)
        rows = np.log(values[:10, 0])
        np.testing.assert_allclose(pre.scaler.center, [rows.mean(), values[:10, 1].mean()], 1e-5)
        wire = pre.to_request([{"values": values[:3, :2], "known": values[:4, 2:]}])
        core = pre.encode(wire)["values"][0]
        np.testing.assert_allclose(core[:, 0], ([0, 1, 2] - rows.mean()) / rows.std(), atol=1e-5)
        np.testing.assert_allclose(pre.to_units(core[2:, :1]), [[np.e**2]], rtol=1e-5)
        assert pre.to_units(core[:1, :1] - 2).tolist() == [[0.5]], "the bound"
        assert pre.values.forward(np.float32([[-3.0]])).tolist() == [[np.float32(np.log(1e-3))]]
        for window in pre.edge_inputs():
            assert np.isfinite(pre.encode(pre.to_request([window]))["values"]).all()
    with pytest.raises(DataError, match="input 0: row 1 of values has -1 for 'a'.* above 0"):
        made.to_request([{"values": [[1, 0], [-1, 0], [1, 0]], "known": [[1]] * 4}])


@pytest.mark.parametrize(("changes", "told"), [
    ({"transform": "log"}, "s, line 6, column 'a': 0 has no logarithm.*2 such values"),
    ({"transform": "log1p"}, "s, line 42, column 'a': -2 is below 0, .*log1p.*1 such"),
    ({"minimum": "-1"}, "line 42, column 'a': -2 is below --minimum"),
    ({"minimum": "low"}, "--minimum low: write one number such as 0.*targets are a$"),
    ({"minimum": "0,1"}, "--minimum 0,1: "),
    ({"minimum": "inf"}, "--minimum inf: "),
])  # fmt: skip
def test_values_that_a_transform_does_not_take_are_refused_with_their_line(changes, told):
    values = np.ones((60, 1), np.float32)
    values[[4, 40], 0] = 0, -2
    series = Series("s", np.arange(60) * HOUR, values, ("a",), HOURLY, lines=np.arange(60) + 2)
    train = split_windows(Table.of([series], 1, 1), 3, 1, "30,10,20")[0]["train"]
    options = {"scaler": "standard", "calendar": False, "levels": LEVELS}
    with pytest.raises(SeqloomError, match=told):
        ForecastPreprocessor.adapt(train, **options, **changes)
    clean = ForecastPreprocessor.adapt(train, **options)
    clean.validate(train)
    bounded = dataclasses.replace(clean, values=TargetValues("none", (0.0,)))
    with pytest.raises(DataError, match="line 42, column 'a': -2 is below --minimum"):
        bounded.validate(train)


def test_bounds_by_target():
    assert parse_minimum(" ", "ab").tolist() == [-np.inf] * 2
    assert parse_minimum("none, -2.5", "ab").tolist() == [-np.inf, -2.5]


def test_previous_rows_by_hand():
    wire = watching().to_request([{"values": [[1, -2], [3, 2], [5, -6]], "time": [0, 1, 2]}])
    core = watching().encode(wire)
    assert core["values"].tolist() == [[[0, 0], [1, 1], [2, -1]]]
    assert core["previous"].tolist() == [[[0, 0], [0, 0], [1, 1]]]
    assert set(WATCHING["autoencoder"].encode(wire)) == {"values"}


@pytest.mark.parametrize("name", [name for name, pre in WATCHING.items() if pre.previous])
@settings(max_examples=20, deadline=None)
@given(data=st.data(), rows=st.integers(1, 6))
def test_rows_encoded_one_by_one_are_those_of_the_whole(name, data, rows):
    pre = WATCHING[name]
    wire = data.draw(wires(pre, rows))
    want, step = pre.encode(wire), pre.programs["step"]
    graph = step.graph()
    count = len(wire["values"])
    memory = {n: np.zeros((count, *s), np.float32) for n, s in step.memory.items()}
    for t, row in enumerate(step.examples(wire)):
        core = step.encode({**row, **memory})
        assert_faces_agree(core, graph.encode(as_tensors({**row, **memory})))
        memory = {n: core.pop(f"{n}_next") for n in memory}
        assert core.keys() == want.keys()
        for key, x in core.items():
            np.testing.assert_array_equal(x, want[key][:, t], err_msg=key)
            assert x.dtype == np.float32
    assert t == rows - 1


def test_an_autoencoder_has_no_steps():
    assert set(WATCHING["autoencoder"].programs) == {"serving_default"}


def test_examples_are_encoded_windows_and_scaled_futures():
    table = a_table(np.random.default_rng(0).normal(size=(30, 4)), 2, 3)
    windows = Windows(table, np.array([0, 7, 20]), 3, 2)
    pre = FORECASTING["both"]
    ((inputs, targets),) = window_batches(windows, pre.graph().examples, 8)
    want = pre.encode(pre.to_request([windows[i] for i in range(3)]))
    assert_faces_agree(want, inputs)
    want = pre.scaler.first(2).apply(windows.future())
    assert set(targets) == {"mean", "quantiles"}
    for future in targets.values():
        np.testing.assert_allclose(future, want, rtol=1e-6)

    table = a_table(table.values[:, :2], 2, 2)
    windows = Windows(table, np.array([0, 7]), 4, 0)
    raw = [{"values": table.values[i : i + 4], "time": table.times[i : i + 4]} for i in (0, 7)]
    for name, watch in WATCHING.items():
        ((inputs, targets),) = window_batches(windows, watch.graph().examples, 8)
        want = watch.encode(watch.to_request(raw))
        assert set(targets) == ({"next", "usual"} if watch.previous else {"rebuilt"})
        for rows in targets.values():
            np.testing.assert_allclose(rows, want["values"], rtol=1e-6)
        if watch.previous:
            del want["values"]
        assert_faces_agree(want, inputs)
        assert ("values" in inputs) == (name == "autoencoder")


# ---- raw inputs and answers


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded_are_the_same(name, tmp_path):
    pre = ALL[name]
    pre.save(tmp_path)
    again = load_preprocessor(tmp_path)
    assert type(again) is type(pre)
    assert repr(vars(again)) == repr(vars(pre))
    assert again.signature == pre.signature
    state = json.loads((tmp_path / "preprocessor.json").read_text())
    # Earlier versions did not write the others.
    for key in set(state) - {"type", "written", "values", "unit_scale"}:
        less = {k: v for k, v in state.items() if k != key}
        (tmp_path / "preprocessor.json").write_text(json.dumps(less))
        with pytest.raises(DataError, match=r"preprocessor\.json is incomplete"):
            load_preprocessor(tmp_path)


def test_months_are_saved_too(tmp_path):
    pre = forecasting(frequency=Frequency(3, months=True, month_end=True))
    pre.save(tmp_path)
    assert load_preprocessor(tmp_path).frequency == pre.frequency


GOOD = {"values": [[0, 0, 0]] * 3, "known": [[0]] * 5, "time": 0}


@pytest.mark.parametrize(("change", "match"), [
    ({"values": None}, "values"),
    ({"values": [[0, 0, 0]] * 2}, r"input 0: values has shape \[2, 3\].* takes \[3, 3\]"),
    ({"values": [[0, 0]] * 3}, r"values has shape \[3, 2\]"),
    ({"values": [0, 0, 0]}, r"values has shape \[3\]"),
    ({"values": 1.5}, r"values has shape \[\]"),
    ({"values": []}, r"values has shape \[0\]"),
    ({"values": [[0, 0, 0], [0, 0], [0, 0, 0]]}, "values is no array of numbers"),
    ({"values": [[0, 0, "x"]] * 3}, "values is no array of numbers"),
    ({"values": "text"}, "values is no array of numbers"),
    ({"values": {"a": 1}}, "values is no array of numbers"),
    ({"values": [[0, 0, float("nan")]] * 3}, "values holds NaN or infinity"),
    ({"values": [[0, 0, None]] * 3}, "values holds NaN or infinity"),
    ({"values": [[0, float("-inf"), 0]] * 3}, "values holds NaN or infinity"),
    ({"values": [[0, 1e300, 0]] * 3}, "values holds NaN or infinity"),
    ({"values": [[0, 10**400, 0]] * 3}, "values"),
    ({"known": [[0]] * 3}, r"known has shape \[3, 1\].* takes \[5, 1\]"),
    ({"known": [[0]] * 4 + [["?"]]}, "known is no array"),
    ({"time": None}, "time is no array of numbers"),
    ({"time": [0]}, r"time has shape \[1\].* takes \[\]"),
    ({"time": "2020-01-01"}, "time is no array of numbers"),
    ({"time": float("nan")}, "time is no array of numbers"),
    ({"time": float("inf")}, "time"),
    ({"time": 10**30}, "time"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_bad_windows_are_refused_by_name(change, match):
    pre = FORECASTING["both"]
    assert pre.to_request([GOOD])["values"].shape == (1, 3, 3)
    with pytest.raises(DataError, match=match):
        pre.to_request([{**GOOD, **change}])


@pytest.mark.parametrize("missing", GOOD)
def test_a_missing_input_is_named(missing):
    less = {key: value for key, value in GOOD.items() if key != missing}
    with pytest.raises(DataError, match=f"input 1 has no '{missing}'; give values, known, time"):
        FORECASTING["both"].to_request([GOOD, less])
    for window in ([1, 2], "text", None, 3):
        with pytest.raises(DataError, match="input 0 has no 'values'"):
            FORECASTING["both"].to_request([window])


def test_only_what_is_used_is_asked_for():
    wire = FORECASTING["plain"].to_request([{"values": GOOD["values"], "known": "?", "extra": 1}])
    assert set(wire) == {"values"}


@pytest.mark.parametrize(("raw", "match"), [
    ([{"values": [[0, 0]], "time": [0]}, {"values": [[0, 0]] * 2, "time": [0, 1]}], "equally long"),
    ([{"values": [[0, 0]] * 2, "time": [0]}], "time"),
    ([{"values": [[0, 0]], "time": [0, 1]}], "time"),
    ([{"values": [[0]], "time": [0]}], r"values has shape \[1, 1\]"),
    ([{"values": [[0, 0]], "time": 0}], r"time has shape \[\]"),
    ([{"values": [[0, 0]]}], "input 0 has no 'time'"),
])  # fmt: skip
def test_bad_series_are_refused_by_name(raw, match):
    with pytest.raises(DataError, match=match):
        watching().to_request(raw)


@pytest.mark.parametrize("time", ["2020-01-01", None, [1, 2], 1e300])
def test_a_time_that_is_not_used_is_refused_or_left_out_but_never_breaks_the_answer(time):
    for pre, values in ((FORECASTING["plain"], GOOD["values"]), (WATCHING["plain"], [[0, 0]])):
        raw = [{"values": values, "time": time}]
        try:
            pre.to_request(raw)
        except DataError:
            continue
        outputs = {
            name: np.zeros([1, *(1 if size == -1 else size for size in spec["shape"][1:])])
            for name, spec in pre.signature["outputs"].items()
        }
        try:
            pre.answers(outputs, raw)
        except DataError:
            continue


@pytest.mark.parametrize(("frequency", "time", "times"), [
    (HOURLY, "2016-12-31T22:00", ["2016-12-31T23:00:00", "2017-01-01T00:00:00"]),
    (HOURLY, "1969-12-31T23:00", ["1970-01-01T00:00:00", "1970-01-01T01:00:00"]),
    (Frequency(1, True), "2019-11-01", ["2019-12-01T00:00:00", "2020-01-01T00:00:00"]),
    (Frequency(1, True, True), "2019-12-31", ["2020-01-31T00:00:00", "2020-02-29T00:00:00"]),
    (Frequency(3, True), "2019-10-01", ["2020-01-01T00:00:00", "2020-04-01T00:00:00"]),
])  # fmt: skip
def test_answers_are_stamped(frequency, time, times):
    pre = forecasting(frequency=frequency)
    seconds = int(np.datetime64(time, "s").astype(np.int64))
    wire = {
        "mean": np.array([[[1, 2], [3, 4]]], np.float32),
        "quantiles": np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3),
    }
    assert pre.answers(wire, [{"series": "x", "time": seconds}]) == [{
        "series": "x",
        "times": times,
        "a": {"mean": [1, 3], "0.1": [0, 6], "0.5": [1, 7], "0.9": [2, 8]},
        "b": {"mean": [2, 4], "0.1": [3, 9], "0.5": [4, 10], "0.9": [5, 11]},
    }]  # fmt: skip
    without = pre.answers(wire, [{}])[0]
    assert without["series"] == ""
    assert "times" not in without


def test_answers_of_scores():
    wire = {
        "score": np.array([[0.5, 1, 2, 0.25, 3]], np.float32),
        "anomaly": np.array([[0, 1, 1, 0, 1]], np.int32),
        "expected": np.arange(10, dtype=np.float32).reshape(1, 5, 2),
    }
    times = np.arange(5) * HOUR
    (answer,) = watching(quiet=2).answers(wire, [{"series": "x", "time": times}])
    assert answer == {
        "series": "x",
        "times": [f"1970-01-01T0{hour}:00:00" for hour in range(5)],
        "score": [0.5, 1, 2, 0.25, 3],
        "anomaly": [0, 1, 1, 0, 1],
        "alarms": [1, 4],
        "expected": {"a": [0, 2, 4, 6, 8], "b": [1, 3, 5, 7, 9]},
    }
    json.dumps(answer)
    wire["contribution"] = np.float32([[[0.5, 0], [0, 1], [1, 1], [0.25, 0], [0, 3]]])
    (answer,) = watching(quiet=2).answers(wire, [{}])
    assert answer["contribution"] == {"a": [0.5, 0, 1, 0.25, 0], "b": [0, 1, 1, 0, 3]}
    assert answer["causes"] == [{"b": 1.0}, {"b": 1.0}]
    json.dumps(answer)
    one = SeriesExample(Series("x", times, np.ones((5, 2), np.float32), ("a", "b"), HOURLY), 3)
    assert one.raw()["series"] == "x"
    assert watching().to_request([one.raw()])["time"].tolist() == [times.tolist()]


@given(st.lists(st.booleans(), max_size=80), st.integers(0, 12))
@example([True] * 10, 0)
@example([], 3)
def test_alarms_are_far_apart_and_none_is_forgotten(anomaly, quiet):
    anomaly = np.array(anomaly, bool)
    raised = np.flatnonzero(alarms(anomaly, quiet))
    assert anomaly[raised].all()
    assert (np.diff(raised) > quiet).all()
    if anomaly.any():
        assert raised[0] == anomaly.argmax(), "the first anomalous row always alarms"
    for row in np.flatnonzero(anomaly):
        assert ((raised <= row) & (raised >= row - quiet)).any(), "an alarm is never far back"
    # Later rows change nothing.
    for cut in range(0, len(anomaly), 7):
        assert np.flatnonzero(alarms(anomaly[:cut], quiet)).tolist() == [
            row for row in raised if row < cut
        ]
