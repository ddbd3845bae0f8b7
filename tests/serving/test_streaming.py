"""Row by row equals the whole series, in the process and over REST."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from live_server import client_of, post

import tasks
from common.errors import SeqloomError
from serving import OnnxModel, Predictor, Stream
from serving.client import Client
from serving.errors import RequestError, ServingError
from serving.export import ExportOptions
from serving.runtime.server import ServerOptions, running
from tasks.stages.exporting import export
from tasks.stages.run_directory import Run
from tasks.stages.training import train

ROWS = 300
OLD_BUNDLES = Path(__file__).parent / "old_bundles"


def bundle_of(name, tmp, source, **changes):
    task = tasks.get(name)
    settings = task.with_settings(task.settings, {**task.quick, "epochs": 1, **changes})
    data = task.data_options(source)
    keras.utils.set_random_seed(0)
    run = Run(tmp / f"{name}{len(changes)}")
    train(task, data, settings, run)
    export(run, run.path / "bundle", ExportOptions(("onnx",)))
    return run.path / "bundle", task.load(data)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return bundle_of("anomaly", tmp_path_factory.mktemp("stream"), "synthetic:1500", cell="lstm")


def whole(bundle, series):
    predictor = Predictor(bundle)
    raw = {"values": series.values[:ROWS], "time": series.times[:ROWS]}
    return predictor.run(predictor.preprocessor.to_request([raw]))


def test_a_stream_scores_as_the_whole_series_does(detector):
    bundle, splits = detector
    series = splits.test[0].series
    want, stream = whole(bundle, series), Stream(bundle)
    got = [stream.push(series.values[t], series.times[t]) for t in range(ROWS)]
    np.testing.assert_allclose([g["score"] for g in got], want["score"][0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([g["expected"] for g in got], want["expected"][0], rtol=1e-4)
    parts = np.array([g["contribution"] for g in got])
    np.testing.assert_allclose(parts, want["contribution"][0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(parts.sum(-1), [g["score"] for g in got], rtol=1e-4)
    alarms = Predictor(bundle).predict(
        [{"values": series.values[:ROWS], "time": series.times[:ROWS]}]
    )
    assert [t for t, g in enumerate(got) if g["alarm"]] == alarms[0]["alarms"]
    named = [list(g["causes"]) for g in got if g["alarm"]]
    assert named == [list(found) for found in alarms[0]["causes"]]
    assert all(bool(g["causes"]) == g["alarm"] for g in got)


def test_several_series_go_side_by_side(detector):
    bundle, splits = detector
    series = splits.test[0].series
    step = OnnxModel(bundle / "onnx" / "1").programs["step"]
    states, scores = step.initial(2), []
    starts = np.array([0, 400])
    for t in range(50):
        at = starts + t
        response = step.run({"values": series.values[at], **states})
        states = {name: response[f"{name}_next"] for name in states}
        scores.append(response["score"])
    np.testing.assert_allclose(
        np.array(scores)[:, 0], whole(bundle, series)["score"][0, :50], rtol=1e-4, atol=1e-5
    )


def test_steps_are_served_and_the_client_carries_the_states(detector):
    bundle, splits = detector
    series = splits.test[0].series
    want = whole(bundle, series)["score"][0]
    step = OnnxModel(bundle / "onnx" / "1").programs["step"]
    states = {name: value.tolist() for name, value in step.initial(1).items()}
    with running(bundle) as server, client_of(server) as client:
        for t in range(5):
            inputs = {
                "values": [series.values[t].tolist()], "time": [int(series.times[t])], **states
            }  # fmt: skip
            body = json.dumps({"signature_name": "step", "inputs": inputs}).encode()
            status, reply = post(client, body, "/v1/models/anomaly:predict")
            assert status == 200, reply
            outputs = reply["outputs"]
            assert outputs["score"][0] == pytest.approx(float(want[t]), rel=1e-3, abs=1e-5)
            states = {name: outputs[f"{name}_next"] for name in states}


def test_a_stream_in_the_server_gives_the_answers_of_the_whole_sequence(detector):
    bundle, splits = detector
    series = splits.test[0].series
    want = whole(bundle, series)["score"][0]
    options = ServerOptions(rest_port=0, grpc_port=0)
    with running(bundle, options=options) as server:
        for url in (f"http://localhost:{server.rest_port}", f"grpc://localhost:{server.grpc_port}"):
            with Client(url, "anomaly") as client, client.open() as stream:
                names = client.signatures()["step"]["inputs"]
                columns = {"values": series.values, "time": series.times}
                rows = [
                    {name: column[t : t + 1] for name, column in columns.items() if name in names}
                    for t in range(50)
                ]
                got = [float(stream.step(row)["score"][0]) for row in rows]
            np.testing.assert_allclose(got, want[:50], rtol=1e-3, atol=1e-5)


def test_an_autoencoder_is_asked_about_the_rows_it_remembers(tmp_path):
    bundle, splits = bundle_of("anomaly", tmp_path, "synthetic:1500", scorer="autoencoder")
    series = splits.test[0].series
    want, stream = whole(bundle, series)["score"][0], Stream(bundle)
    rows = [stream.push(series.values[t], series.times[t]) for t in range(100)]
    got = [row["score"] for row in rows]
    np.testing.assert_allclose(got[64:], want[64:100], rtol=1e-3, atol=1e-5)
    parts = [sum(row["contribution"]) for row in rows]
    np.testing.assert_allclose(parts, got, rtol=1e-4)


def test_a_forecaster_answers_once_it_has_seen_enough(tmp_path):
    bundle, splits = bundle_of("forecast", tmp_path, "synthetic:1200")
    table, stream = splits.test.table, Stream(bundle)
    start, lookback = int(splits.test.starts[0]), Predictor(bundle).preprocessor.lookback
    for t in range(lookback):
        known = table.values[start : start + lookback + 24, 2:]
        answer = stream.push(table.values[start + t, :2], int(table.times[start + t]), known)
        assert (answer is None) == (t < lookback - 1)
    want = Predictor(bundle).predict([splits.test[0]])[0]
    assert answer["demand"]["mean"] == pytest.approx(want["demand"]["mean"], rel=1e-4)
    assert answer["times"] == want["times"]


NO_ROWS = [
    [float("nan"), 1.0], [[1.0, 2.0]], [6.1], 6.1, [], [1.0, 2.0, 3.0], [1.0, "a"], [1.0, [2.0]],
    None, "ab", [1.0, None], [1.0, 1e39], [1 + 2j, 1.0],
]  # fmt: skip
NO_TIMES = [None, 1.5, "noon", float("nan"), 10**12, -(2**63), [0], np.datetime64("NaT")]


@pytest.mark.parametrize("task", ["anomaly", "forecast"])
def test_a_row_that_is_none_is_refused_and_the_stream_goes_on_as_before(task):
    """Bundles of two columns that use the time."""
    bundle = OLD_BUNDLES / task
    stream, disturbed = Stream(bundle), Stream(bundle)
    known = np.zeros((27, 2), np.float32)
    for t in range(26):
        for row in NO_ROWS:
            with pytest.raises(ServingError, match="a row is 2 finite numbers"):
                disturbed.push(row, t * 3600, known)
        for time in NO_TIMES:
            with pytest.raises(ServingError, match="time"):
                disturbed.push([1.0, 2.0], time, known)
        row = np.array([np.sin(t), t / 10])
        if task == "forecast" and t >= 23:
            for wrong in (None, known[:, :1], known[:1], known[0]):
                with pytest.raises(SeqloomError, match="known"):
                    disturbed.push(row, t * 3600, wrong)
        answers = [one.push(row, t * 3600, known) for one in (stream, disturbed)]
        assert answers[0] == answers[1]
    assert answers[0]


@pytest.mark.parametrize(("name", "wrong"), [
    ("values", np.ones((3, 1), np.float32)), ("values", np.ones((1, 2), np.float32)),
    ("values", np.ones(2, np.float32)), ("values", np.float32(1)), ("values", np.ones((3, 2))),
    ("time", np.zeros(1, np.int64)), ("time", np.int64(0)), ("previous", np.ones((1, 2), "f4")),
    ("seen", np.ones(1, np.float32)), ("gru_0_h", np.zeros((3, 1), np.float32)),
    ("gru_0_h", np.zeros((1, 4), np.float32)),
])  # fmt: skip
def test_no_tensor_of_a_step_is_spread_over_rows_or_columns(name, wrong):
    step = OnnxModel(OLD_BUNDLES / "anomaly" / "onnx" / "1").programs["step"]
    rows = {"values": np.ones((3, 2), np.float32), "time": np.zeros(3, np.int64)}
    request = {**rows, **step.initial(3)}
    assert step.run(request)["score"].shape == (3,)
    with pytest.raises(RequestError, match=f"{name}|arg"):
        step.run({**request, name: wrong})
    empty = {name: array[:0] for name, array in request.items()}
    assert {n: a.shape for n, a in step.run(empty).items()} == {
        n: (0, *a.shape[1:]) for n, a in step.run(request).items()
    }
