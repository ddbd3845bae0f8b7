"""Inputs that may be left out: over REST and gRPC, of programs and of SavedModels."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from live_server import client_of, post, runtime_of

from pipelines.program import Program, with_defaults
from pipelines.ragged import Field
from serving.client import Client
from serving.errors import RequestError, ServingError
from serving.programs import CheckedProgram
from serving.runtime.batching import BatchOptions
from serving.runtime.core_backends import ProgramRunner
from serving.runtime.loading import LoadOptions, ModelLocation, find_model, load
from serving.runtime.runners import Backend
from serving.runtime.runtime import Runtime
from serving.runtime.savedmodel_backend import SavedModelBackend
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running
from serving.runtime.signatures import replace_defaults, signature_defs

ROW = {"dtype": "float32", "shape": [-1]}
SIGNATURE = {
    "inputs": {
        "x": {"dtype": "float32", "shape": [-1, -1]},
        "scale": {**ROW, "default": 2.0},
        "times": {"dtype": "int64", "shape": [-1], "default": 1},
        "unit": {"dtype": "string", "shape": [-1], "default": "m"},
    },
    "outputs": {
        "y": {"dtype": "float32", "shape": [-1, -1]},
        "unit": {"dtype": "string", "shape": [-1]},
    },
}
PATH = "/v1/models/m:predict"


class Copy:
    inputs, states = ("x",), {}  # noqa: RUF012

    def __call__(self, arrays):
        return {"y": arrays["x"]}


class Scale(Program):
    """y = x * scale * times; `times` is the same for all rows of a batch."""

    signature, shared = SIGNATURE, ("times",)
    fields = {"x": Field(0)}  # noqa: RUF012

    def __init__(self):
        self.times = []

    def encode(self, request):
        if (request["scale"] < 0).any():
            raise ValueError("scale must not be negative")
        return dict(request)

    def execute(self, cores, encoded):
        self.times.append(set(encoded["times"].tolist()))
        y = cores["model"]({"x": encoded["x"]})["y"] * encoded["scale"][:, None]
        return {"y": y * encoded["times"][:, None].astype(np.float32), "unit": encoded["unit"]}

    def decode(self, outputs):
        return outputs


class ScaleBackend(Backend):
    name, version = "m", 1

    def __init__(self):
        self.program = Scale()
        loaded = CheckedProgram(self.program, {"model": Copy()})
        super().__init__({"serving_default": ProgramRunner(loaded)})


def save_as_savedmodel(path):
    """The same as a SavedModel of Seqloom's, and of somebody else's where there is no file."""
    import tensorflow as tf

    from serving.declared import write_programs

    class Module(tf.Module):
        @tf.function(autograph=False, input_signature=[
            tf.TensorSpec([None, None], name="x"), tf.TensorSpec([None], name="scale"),
            tf.TensorSpec([None], tf.int64, name="times"),
            tf.TensorSpec([None], tf.string, name="unit"),
        ])  # fmt: skip
        def serve(self, x, scale=tf.constant([2.0]), times=tf.constant([1], tf.int64),  # noqa: B008
                  unit=tf.constant(["m"])):  # fmt: skip  # noqa: B008
            rows = tf.shape(x)[:1]
            each = tf.broadcast_to(scale * tf.cast(times, tf.float32), rows)
            return {"y": x * each[:, None], "unit": tf.broadcast_to(unit, rows)}

    module = Module()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
    write_programs(path, {"serving_default": Scale()})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("defaults") / "1"
    save_as_savedmodel(path)
    return path


@pytest.fixture(scope="module", params=["program", "savedmodel"])
def server(request, saved):
    if request.param == "program":
        runtime, models = runtime_of([ScaleBackend()], BatchOptions(workers=2))
    else:
        runtime, models = Runtime(), [ModelSettings("m", ModelLocation(saved, {}, (1, saved)))]
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as server:
        yield server


@pytest.fixture
def rest(server):
    with client_of(server) as client:
        yield client


@pytest.fixture
def clients(server):
    urls = f"http://127.0.0.1:{server.rest_port}", f"grpc://127.0.0.1:{server.grpc_port}"
    with Client(urls[0], "m", retries=0) as first, Client(urls[1], "m", retries=0) as second:
        yield first, second


def outputs(rest, body):
    status, reply = post(rest, json.dumps(body))
    assert status == 200, reply
    return reply


def test_rows_may_leave_them_out(rest):
    for instances, want in (
        ([{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}], [[2.0, 4.0], [6.0, 8.0]]),
        ([[1.0, 2.0]], [[2.0, 4.0]]),
        ([{"x": [1.0], "scale": 5}, {"x": [1.0], "scale": 7}], [[5.0], [7.0]]),
        ([{"x": [1.0], "times": 3, "unit": "km"}], [[6.0]]),
    ):
        rows = outputs(rest, {"instances": instances})["predictions"]
        assert [row["y"] for row in rows] == want
        unit = "km" if len(instances[0]) == 3 else "m"
        assert {row["unit"] for row in rows} == {unit}


def test_columns_take_none_one_scalar_or_one_for_each_row(rest):
    for settings, want in (
        ({}, [[2.0], [2.0]]),
        ({"scale": 3}, [[3.0], [3.0]]),
        ({"scale": [3.0]}, [[3.0], [3.0]]),
        ({"scale": [3.0, 4.0], "times": 2}, [[6.0], [8.0]]),
        ({"unit": "km"}, [[2.0], [2.0]]),
        ({"unit": ["km", "km"]}, [[2.0], [2.0]]),
    ):
        found = outputs(rest, {"inputs": {"x": [[1.0], [1.0]], **settings}})["outputs"]
        assert found["y"] == want
        assert found["unit"] == ["km" if "unit" in settings else "m"] * 2
    assert outputs(rest, {"inputs": [[1.0]]})["outputs"]["y"] == [[2.0]]


def test_clients_leave_them_out_or_give_them(clients):
    x = np.ones((2, 3), np.float32)
    for client, has_shapes in zip(clients, (False, True), strict=True):
        assert client.predict({"x": x})["y"][1, 2] == 2
        found = client.predict({"x": x, "scale": 3.0, "times": np.array([2])})
        np.testing.assert_array_equal(found["y"], 6 * x)
        found = client.predict({"x": x, "scale": [1.0, 5.0], "unit": ["a", "b"]})
        np.testing.assert_array_equal(found["y"], x * [[1], [5]])
        assert found["unit"].tolist() == [b"a", b"b"]
        inputs = client.signatures()["serving_default"]["inputs"]
        assert (inputs["scale"]["default"], inputs["times"]["default"]) == (2.0, 1)
        assert "default" not in inputs["x"]
        if has_shapes:
            nothing = client.predict({"x": x[:0], "scale": 3.0})
            assert (len(nothing["y"]), nothing["unit"].tolist()) == (0, [])
        else:  # JSON has no way to say that there would have been columns
            with pytest.raises(RequestError, match=r"Input x takes shape \[-1,-1\]"):
                client.predict({"x": x[:0]})


@pytest.mark.parametrize(("settings", "words"), [
    ({"scale": "much"}, ["scale", "Type: String is not of expected type: float"]),
    ({"times": 1.5}, ["times", "is not of expected type: int64"]),
    ({"scale": [[1.0], [2.0]]}, ["Input scale takes shape [-1]", "[2,1]"]),
    ({"scale": [1.0, 2.0, 3.0]}, ["scale has 3 values for 2 rows"]),
    ({"scale": []}, ["scale has 0 values for 2 rows"]),
    ({"times": [1, 2]}, ["times must be the same for all rows"]),
])  # fmt: skip
def test_bad_settings_are_refused_with_their_name(rest, settings, words):
    body = json.dumps({"inputs": {"x": [[1.0], [1.0]], **settings}})
    status, reply = post(rest, body)
    assert status == 400
    assert all(word in reply["error"] for word in words), reply
    assert outputs(rest, {"inputs": [[1.0]]})["outputs"]["y"] == [[2.0]]


def test_bad_settings_over_grpc(clients):
    _, client = clients
    for settings, words in (
        ({"scale": np.array([1.0])}, "Input scale is of type float, but the request has double"),
        ({"unit": np.array([1], np.int32)}, "Input unit is of type string"),
        ({"times": np.array([1, 2])}, "times must be the same for all rows of a request"),
        ({"scales": np.ones(1, np.float32)}, "Inputs contains invalid name. Used request inputs: "
         "x, request input: scales,x"),
    ):  # fmt: skip
        with pytest.raises(RequestError) as caught:
            client.predict({"x": np.ones((2, 1), np.float32), **settings})
        assert caught.value.code == "INVALID_ARGUMENT"
        assert words in caught.value.message
    with pytest.raises(RequestError, match=r"default input alias set: scale,times,unit$"):
        client.predict({"scale": 1.0})


def test_what_the_program_itself_refuses_is_named():
    runtime, models = runtime_of([ScaleBackend()])
    options = ServerOptions(rest_port=0)
    with running(models, runtime, options) as server, client_of(server) as client:
        status, reply = post(client, '{"inputs": {"x": [[1.0]], "scale": -1}}')
    assert (status, reply) == (400, {"error": "scale must not be negative"})


def test_metadata_shows_the_defaults(rest):
    found = rest.get("/v1/models/m/metadata").json()["metadata"]["signature_def"]["signature_def"]
    defaults = found["serving_default"]["defaults"]
    assert sorted(defaults) == ["scale", "times", "unit"]
    assert defaults["scale"]["dtype"] == "DT_FLOAT"
    assert defaults["scale"]["float_val"] == [2.0]
    assert defaults["scale"]["tensor_shape"]["dim"] == [{"size": "1", "name": ""}]
    assert defaults["times"]["int64_val"] == ["1"]
    assert defaults["unit"]["string_val"] == ["bQ=="]


def test_requests_that_differ_in_what_is_shared_are_not_joined():
    backend = ScaleBackend()
    options = BatchOptions(workers=1, delay_seconds=0.05)
    runtime, models = runtime_of([backend], options)
    with running(models, runtime, ServerOptions(rest_port=None, grpc_port=0)) as server:
        from concurrent.futures import ThreadPoolExecutor

        def ask(times):
            with Client(f"grpc://127.0.0.1:{server.grpc_port}", "m") as client:
                request = {"x": np.ones((1, 2), np.float32), "times": np.array([times])}
                return client.predict(request)["y"].tolist()

        with ThreadPoolExecutor(12) as pool:
            found = list(pool.map(ask, [1, 2, 3] * 8))
    assert found == [[[2.0 * times] * 2] for times in [1, 2, 3] * 8]
    assert all(len(times) == 1 for times in backend.program.times)
    assert len(backend.program.times) < 24, "none were joined"


# --- defaults of the server ----------------------------------------------------------------------


def test_a_server_has_defaults_of_its_own(saved, monkeypatch):
    from serving.runtime import loading

    monkeypatch.setattr(loading, "_made", lambda directory, kind, how: (
        SavedModelBackend(directory) if kind == "savedmodel" else ScaleBackend()))  # fmt: skip
    for kind in ("savedmodel", "onnx"):
        how = LoadOptions(decoding={"scale": 10, "unit": "km"})
        backend = load(saved, kind, how)
        x = np.ones((2, 1), np.float32)
        found = backend.run({"x": x})
        np.testing.assert_array_equal(found["y"], 10 * x)
        assert found["unit"].tolist() == [b"km"] * 2
        assert signature_defs(backend.signatures)["serving_default"]["defaults"]["scale"][
            "float_val"] == [10.0]  # fmt: skip
        with pytest.raises(ServingError, match=r"no setting 'top_k'; it has scale, times, unit"):
            load(saved, kind, LoadOptions(decoding={"top_k": 1}))
        with pytest.raises(ServingError, match="setting times: 0.5 is no int64"):
            load(saved, kind, LoadOptions(decoding={"times": 0.5}))
    assert SIGNATURE["inputs"]["scale"]["default"] == 2.0
    with pytest.raises(ServingError, match="it has none"):
        replace_defaults({"a": {"inputs": {"x": ROW}}}, {"x": 1})


def test_flags_of_serve(saved, sentiment_bundle):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "seqloom", "serve"]
    ports = ["--rest-port", "0", "--grpc-port", "0"]

    def refused(*arguments):
        done = subprocess.run([*command, *map(str, arguments)], cwd=root, capture_output=True,
                              text=True)  # fmt: skip
        assert done.returncode == 2, done.stderr
        return done.stderr

    error = refused(sentiment_bundle, *ports, "--temperature", "0.7")
    assert "serve has no flag --temperature for sentiment" in error
    assert "belongs to no flag" in refused(sentiment_bundle, *ports, "more")
    started = [*command, saved, *ports, "--scale=7", "--unit", "km"]
    with subprocess.Popen(list(map(str, started)), cwd=root, stdout=subprocess.PIPE) as process:
        try:
            port = json.loads(process.stdout.readline())["rest_port"]
            with Client(f"http://127.0.0.1:{port}", saved.parent.name) as client:
                found = client.predict({"x": np.ones((1, 1), np.float32)})
        finally:
            process.terminate()
    assert (found["y"].tolist(), found["unit"].tolist()) == ([[7.0]], [b"km"])


# --- SavedModels of others -----------------------------------------------------------------------


def test_a_foreign_default_is_fed_as_it_is(tmp_path):
    """As TensorFlow Serving does: what shape it has is the graph's own affair."""
    import tensorflow as tf

    class Foreign(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([2], name="pair")])
        def serve(self, x, pair=tf.constant([3.0, 5.0])):  # noqa: B008
            return {"y": x * pair[0] + pair[1]}

    module = Foreign()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.serve})
    backend = SavedModelBackend(tmp_path)
    assert not backend.runners["serving_default"].joins
    x = np.ones(3, np.float32)
    assert backend.run({"x": x})["y"].tolist() == [8.0] * 3
    assert backend.run({"x": x, "pair": np.zeros(2, np.float32)})["y"].tolist() == [0.0] * 3
    models = [ModelSettings("m", find_model(tmp_path))]
    options = ServerOptions(rest_port=0)
    with running(models, Runtime(), options) as server, client_of(server) as client:
        assert outputs(client, {"instances": [1.0, 2.0]})["predictions"] == [8.0, 11.0]


def test_defaults_alone():
    inputs = {"seed": {"dtype": "int64", "shape": [-1], "default": 3}}
    assert with_defaults(inputs, {})["seed"].tolist() == [3]
    assert with_defaults(inputs, {"seed": np.array([1, 2])})["seed"].tolist() == [1, 2]
