"""SavedModels and bundles behind the server: results, errors, and what can be served at all."""

import json

import numpy as np
import pytest
from live_server import SIGNATURE, client_of, post, refusal_of_the_session

from pipelines.program import Program, with_defaults
from serving import Client, Predictor
from serving.errors import RequestError, ServingError
from serving.programs import CheckedProgram
from serving.runtime.core_backends import OnnxBackend
from serving.runtime.loading import find_model, load
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.runtime import RequestLimits, Runtime
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running
from serving.runtime.signatures import check_inputs, check_tensors, replace_defaults, signature_defs

# --- SavedModels -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    """`gru/7`: a Keras export; `text/1`: strings in, strings, bytes and numbers out."""
    import keras
    import tensorflow as tf

    class Text(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def __call__(self, text):
            return {
                "raw_bytes": text,
                "upper": tf.strings.upper(text),
                "n": tf.strings.length(text),
            }

        @tf.function(input_signature=[tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.float64)])
        def power(self, n, x):
            return {"result": x ** tf.cast(n, tf.float64), "flag": n > 2}

        @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
        def spin(self, n):
            return {"n": tf.while_loop(lambda i: i < n, lambda i: [i + 1], [0])[0]}

    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4), keras.layers.Dense(1)])
    model.export(folder / "gru" / "7", verbose=False)
    (folder / "gru" / "tmp-8").mkdir()
    text = Text()
    signatures = {"serving_default": text.__call__, "power": text.power, "spin": text.spin}
    tf.saved_model.save(text, str(folder / "text"), signatures=signatures)
    return folder, model


@pytest.fixture(scope="module")
def tf_client(saved_models):
    folder, _ = saved_models
    models = [ModelSettings(name, find_model(folder / name)) for name in ("gru", "text")]
    options = ServerOptions(rest_port=0)
    with running(models, Runtime(), options) as server, client_of(server) as client:
        yield client


def test_savedmodel_equals_keras(saved_models, tf_client):
    _, model = saved_models
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    status, reply = post(
        tf_client, json.dumps({"instances": x.tolist()}), "/v1/models/gru/versions/7:predict"
    )
    assert status == 200
    np.testing.assert_allclose(reply["predictions"], model.predict(x, verbose=0), atol=1e-5)
    named = json.dumps({"inputs": {model.inputs[0].name: x.tolist()}})
    assert post(tf_client, named, "/v1/models/gru:predict")[1]["outputs"] == reply["predictions"]


def test_savedmodel_errors_are_the_sessions_own(saved_models, tf_client):
    folder, model = saved_models
    wrong = np.zeros((2, 3), np.float32)
    code, message = refusal_of_the_session(folder / "gru" / "7", {model.inputs[0].name: wrong})
    assert code == "INVALID_ARGUMENT"
    reply = post(tf_client, json.dumps({"instances": wrong.tolist()}), "/v1/models/gru:predict")
    assert reply == (400, {"error": message})


def test_savedmodel_strings_and_signatures(tf_client):
    path = "/v1/models/text:predict"
    body = b'{"instances": ["h\xc3\xa9", {"b64": "/w=="}]}'
    reply = tf_client.post(path, content=body)
    assert b'"upper": "\xff"' in reply.content
    assert json.loads(reply.content.decode("utf-8", "replace"))["predictions"][0] == {
        "raw_bytes": {"b64": "aMOp"},
        "upper": "Hé",
        "n": 3,
    }
    power = '{"signature_name": "power", "inputs": {"n": 3, "x": 0.5}}'
    assert post(tf_client, power, path) == (200, {"outputs": {"flag": True, "result": 0.125}})
    scalars = '{"signature_name": "power", "instances": [{"n": 3, "x": 0.5}]}'
    assert post(tf_client, scalars, path)[0] == 200
    init = '{"signature_name": "__saved_model_init_op", "inputs": 1}'
    error = "Failed to get input map for signature: __saved_model_init_op"
    assert post(tf_client, init, path) == (400, {"error": error})


def test_savedmodel_timeout(saved_models):
    path = saved_models[0] / "text"
    body = '{"signature_name": "spin", "inputs": 2000000000}'
    runtime, models = (
        Runtime(RequestLimits(timeout_seconds=0.5)),
        [ModelSettings("text", find_model(path))],
    )
    with (
        running(models, runtime, ServerOptions(rest_port=0)) as server,
        client_of(server) as client,
    ):
        status, reply = post(client, body, "/v1/models/text:predict")
    code, message = refusal_of_the_session(path, {"n": np.int32(2**31 - 1)}, 100, "spin")
    assert (code, status) == ("DEADLINE_EXCEEDED", 504)
    assert reply["error"] == message


def test_savedmodel_metadata_is_the_protos_json(saved_models, tf_client):
    from google.protobuf import json_format
    from tensorflow.core.protobuf import saved_model_pb2

    folder, _ = saved_models
    for name, path in (("gru", "gru/7"), ("text", "text")):
        proto = saved_model_pb2.SavedModel.FromString(
            (folder / path / "saved_model.pb").read_bytes()
        )
        expected = {
            key: json_format.MessageToDict(
                definition,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for key, definition in proto.meta_graphs[0].signature_def.items()
        }
        reply = tf_client.get(f"/v1/models/{name}/metadata").json()
        assert reply["metadata"]["signature_def"]["signature_def"] == expected


def test_the_private_session_call_is_still_there(saved_models):
    backend = load(saved_models[0] / "gru" / "7")
    assert backend.is_direct, "TensorFlow dropped a private call: errors and speed differ now"
    x = np.ones((1, 2, 3), np.float32)
    (name,) = backend.signature["inputs"]
    direct = backend.run({name: x})["output_0"]
    wrong = {name: x.astype(np.int32)}
    with pytest.raises(RequestError) as caught:
        backend.run(wrong)
    said = refusal_of_the_session(saved_models[0] / "gru" / "7", wrong)
    assert (caught.value.code, caught.value.message) == said
    with pytest.raises(RequestError) as caught:
        backend.run({name: x, "z": x})
    assert caught.value.message == (
        f"input size does not match signature: 2!=1 len({{{name},z}}) != len({{{name}}}). "
        "Sent extra: {z}. Missing but required: {}."
    )
    backend.is_direct = False
    np.testing.assert_allclose(backend.run({name: x})["output_0"], direct, atol=1e-5)
    backend.close()


# --- what can be served ------------------------------------------------------------------------


def manifest(folder, **changes):
    content = {"format": 1, "name": "m", "version": 2, "signature": {}, **changes}
    (folder / "manifest.json").write_text(json.dumps(content))


def test_names_and_versions_of_plain_savedmodels(saved_models):
    folder, _ = saved_models
    for path, name, version in (("gru", "gru", 7), ("gru/7", "gru", 7), ("text", "text", 1)):
        place = find_model(folder / path)
        assert (place.name, list(place.versions())) == (name, [version])


def test_a_bundle_without_onnx_is_served_from_its_savedmodel(saved_models, tmp_path):
    manifest(tmp_path)
    (tmp_path / "savedmodel").mkdir()
    (tmp_path / "savedmodel" / "2").symlink_to(saved_models[0] / "text")
    place = find_model(tmp_path)
    assert (place.name, list(place.versions())) == ("m", [2])
    with pytest.raises(ServingError, match=r"onnx does not exist; .*--format onnx"):
        find_model(tmp_path, "onnx")


def test_unservable_directories(tmp_path):
    with pytest.raises(ServingError, match=r"no manifest.json .*`seqloom export"):
        find_model(tmp_path)
    with pytest.raises(ServingError, match="is not a directory"):
        find_model(tmp_path / "none")
    with pytest.raises(ServingError, match="--backend tpu is not known"):
        find_model(tmp_path, "tpu")
    manifest(tmp_path)
    with pytest.raises(ServingError, match=r"holds neither .*seqloom export"):
        find_model(tmp_path)
    manifest(tmp_path, version="x")
    with pytest.raises(ServingError, match=r"manifest.json"):
        find_model(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"not a proto")
    with pytest.raises(ServingError, match="cannot be loaded as a SavedModel"):
        load(broken)
    with pytest.raises(ServingError, match="--backend savedmodel"):
        find_model(broken, "onnx")


class Scaled(SignatureRunner):
    """y = factor * x; the factor may be left out."""

    def __init__(self):
        number = {"dtype": "float32", "shape": [-1]}
        factor = {**number, "default": 2.0}
        super().__init__({"inputs": {"x": number, "factor": factor}, "outputs": {"y": number}})

    def encode(self, inputs):
        check_inputs(self.signature["inputs"], inputs)
        check_tensors(self.signature["inputs"], inputs)
        return with_defaults(self.signature["inputs"], inputs)

    def execute(self, encoded, timeout=None):
        return {"y": encoded["x"] * encoded["factor"]}


def test_a_server_has_defaults_of_its_own():
    backend = Backend({"serving_default": Scaled(), "step": Scaled()})
    x = np.ones(2, np.float32)
    assert backend.run({"x": x})["y"].tolist() == [2, 2]
    replace_defaults(backend.signatures, {"factor": 3.5})
    for name in backend.runners:
        assert backend.run({"x": x}, name)["y"].tolist() == [3.5, 3.5]
    given = {"x": x, "factor": np.array([1, 4], np.float32)}
    assert backend.run(given)["y"].tolist() == [1, 4]
    shown = signature_defs(backend.signatures)["step"]["defaults"]
    assert shown["factor"]["float_val"] == [3.5]
    with pytest.raises(ServingError, match="setting factor: 'much' is no float32"):
        replace_defaults(backend.signatures, {"factor": "much"})
    with pytest.raises(ServingError, match="no setting 'size'; it has factor"):
        replace_defaults(backend.signatures, {"size": 3})


def test_onnx_backend_checks_shapes_and_values(monkeypatch, tmp_path):
    class Same(Program):
        signature = SIGNATURE

        def encode(self, request):
            return request

        def decode(self, outputs):
            return outputs

    class Copy:
        inputs, states = ("x",), {}

        def __call__(self, arrays):
            if FakeModel.failure:
                raise FakeModel.failure
            return {"y": arrays["x"]}

    class FakeModel:
        failure = None

        def __init__(self, directory, threads=None):
            self.programs = {"serving_default": CheckedProgram(Same(), {"model": Copy()})}

    import serving.predictor

    monkeypatch.setattr(serving.predictor, "OnnxModel", FakeModel)
    backend = OnnxBackend(tmp_path)
    x = np.zeros((2, 3), np.float32)
    assert backend.run({"x": x})["y"] is x
    for wrong, text in (
        (x[0], "Input x takes shape [-1,-1], but the request has [3]"),
        (x.astype(np.int32), "Expects arg[0] to be float but int32 is provided"),
    ):
        with pytest.raises(RequestError) as caught:
            backend.run({"x": wrong})
        assert caught.value.message == text
    FakeModel.failure = ValueError("bad")
    with pytest.raises(RequestError, match="bad"):
        backend.run({"x": x})
    assert list(signature_defs(backend.signatures)) == ["serving_default"]


# --- requests without rows ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["onnx", "savedmodel"])
def sentiment_server(request, sentiment_bundle):
    location = find_model(sentiment_bundle, request.param)
    models = [ModelSettings("sentiment", location)]
    with running(models, Runtime(), ServerOptions(rest_port=0, grpc_port=0)) as server:
        yield server


def test_no_rows_have_an_empty_answer_and_the_next_request_is_served(sentiment_server):
    server, path = sentiment_server, "/v1/models/sentiment:predict"
    with (
        client_of(server) as rest,
        Client(f"grpc://127.0.0.1:{server.grpc_port}", "sentiment", retries=0) as grpc,
    ):
        for _ in range(3):
            for body in ('{"inputs": []}', '{"inputs": {"text": []}}'):
                empty = {"outputs": {"label": [], "probabilities": []}}
                assert post(rest, body, path) == (200, empty)
            status, reply = post(rest, '{"instances": []}', path)
            assert status == 400
            assert "No values in 'instances' array" in reply["error"]
            found = grpc.predict({"text": np.empty(0, object)})
            assert found["probabilities"].dtype == np.float32
            assert found["probabilities"].shape == (0, 2)
            assert (found["label"].dtype, found["label"].shape) == (object, (0,))
            for shape in ((0, 0), (0, 3), (3, 0)):
                with pytest.raises(RequestError) as caught:
                    grpc.predict({"text": np.empty(shape, object)})
                assert caught.value.code == "INVALID_ARGUMENT"
                assert "text" in caught.value.message
            assert post(rest, '{"instances": ["a fine film"]}', path)[0] == 200


def test_a_predictor_answers_no_rows(sentiment_bundle):
    predictor = Predictor(sentiment_bundle)
    found = predictor.run({"text": np.empty(0, object)})
    assert (found["probabilities"].dtype, found["probabilities"].shape) == (np.float32, (0, 2))
    assert (found["label"].dtype, found["label"].shape) == (object, (0,))
    assert predictor.predict([]) == []
