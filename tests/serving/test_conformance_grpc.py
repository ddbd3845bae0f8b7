"""Predict over gRPC and REST on one SavedModel with a signature of each kind that others have.

Types that JSON does not carry, defaults of inputs, outputs that are not asked for, outputs that are
inputs, sparse inputs, and types that no array has: what TensorFlow Serving answers to each.
"""

import json
import logging
import shutil

import grpc
import numpy as np
import pytest
from live_server import client_of, post
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from serving.client import Client
from serving.errors import RequestError, ServingError
from serving.runtime.batching import BatchOptions
from serving.runtime.loading import find_model, load
from serving.runtime.runtime import Runtime
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running

X = np.array([1, 2], np.float32)
# Signature, its type's name in TensorFlow Serving's messages.
TYPES = [
    ("bfloat16", "bfloat16"), ("complex64", "complex64"), ("complex128", "complex128"),
    ("float16", "half"), ("float8_e5m2", "float8_e5m2"), ("int4", "int4"),
]  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel of TensorFlow 2 with defaults and one of TensorFlow 1 with odd signatures."""
    import tensorflow as tf

    base, model = tmp_path_factory.mktemp("saved"), tf.Module()

    def with_default(spec, default):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x"), spec])
        def scaled(x, k=default):
            return {"y": x * tf.cast(k, tf.float32)}

        return scaled

    @tf.function(input_signature=[
        tf.TensorSpec([None], tf.string, "inputs"), tf.TensorSpec([], tf.float32, "k"),
    ])  # fmt: skip
    def regress(inputs, k=tf.constant(2.0)):  # noqa: B008 what is tested
        return {"outputs": k * tf.cast(tf.strings.length(inputs), tf.float32)}

    signatures = {
        "serving_default": with_default(tf.TensorSpec([], tf.float32, "k"), tf.constant(3.0)),
        "vector": with_default(tf.TensorSpec([None], tf.float32, "k"), tf.constant([3.0, 4.0])),
        "half": with_default(tf.TensorSpec([], tf.bfloat16, "k"), tf.constant(3, tf.bfloat16)),
        "regress": regress,
    }
    for name, _ in TYPES:
        # TensorFlow adds no int4 and no float8; it hands them on.
        factor = 1 if name in ("int4", "float8_e5m2") else 2
        signatures[name] = _times(tf, tf.dtypes.as_dtype(name), factor)
    model.functions = list(signatures.values())
    tf.saved_model.save(model, str(base / "two" / "1"), signatures=signatures)
    _save_old(tf, base / "one" / "1")
    return base


def _times(tf, dtype, factor):
    @tf.function(input_signature=[tf.TensorSpec([None], dtype, "x")])
    def times(x):
        return {"y": x * factor if factor > 1 else tf.identity(x)}

    return times


def _save_old(tf, path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        sparse = v1.sparse_placeholder(tf.float32, [None, 4], name="sparse")
        broken = tf.debugging.assert_less(x, 0.0)
        with tf.control_dependencies([broken]):
            never = tf.identity(x)

        def signature(inputs, outputs):
            info = v1.saved_model.utils.build_tensor_info
            return v1.saved_model.build_signature_def(
                {name: info(tensor) for name, tensor in inputs.items()},
                {name: info(tensor) for name, tensor in outputs.items()},
                "tensorflow/serving/predict",
            )

        builder = v1.saved_model.Builder(str(path))
        double = 2 * x
        builder.add_meta_graph_and_variables(session, ["serve"], {
            "serving_default": signature({"x": x}, {"x": x, "y": double, "never": never}),
            "only": signature({"x": x}, {"x": x}),
            "twice": signature({"x": x}, {"a": double, "b": double}),
            "sparse": signature({"s": sparse}, {"y": tf.sparse.to_dense(sparse)}),
        })  # fmt: skip
        builder.save()


@pytest.fixture(scope="module", params=[True, False], ids=["joins", "alone"])
def server(request, saved):
    models = [ModelSettings(name, find_model(saved / name)) for name in ("one", "two")]
    runtime = Runtime(batching=BatchOptions(joins=request.param))
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as live:
        yield live


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def rest(server):
    with client_of(server) as client:
        yield client


def asked(stub, name, signature, outputs=(), **inputs):
    import tensorflow as tf

    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    try:
        reply = stub.Predict(request)
    except grpc.RpcError as error:
        return error.code().name
    return {key: tf.make_ndarray(proto) for key, proto in reply.outputs.items()}


@pytest.mark.parametrize(("signature", "word"), TYPES)
def test_types_that_json_does_not_carry(server, stub, rest, signature, word):
    from serving.tensors import numpy_dtype

    x = np.array([1, 2, -1]).astype(numpy_dtype(signature))
    y = x if signature in ("int4", "float8_e5m2") else x * 2
    if signature.startswith("complex"):
        x, y = x * (1 + 2j), y * (1 + 2j)
    found = asked(stub, "two", signature, x=x)["y"]
    assert (found.dtype, found.tolist()) == (y.dtype, y.tolist())
    with Client(f"grpc://127.0.0.1:{server.grpc_port}", "two") as client:
        found = client.predict({"x": x}, signature)["y"]
        assert (found.dtype, found.tolist()) == (y.dtype, y.tolist())
        assert client.signatures()[signature]["inputs"]["x"]["dtype"] == signature
    body = {"signature_name": signature, "inputs": [1]}
    status, reply = post(rest, json.dumps(body), "/v1/models/two:predict")
    assert (status, reply["error"]) == (501, f"Conversion of JSON Value: 1 to type: {word}")
    # An empty list has nothing to convert.
    body = {"signature_name": signature, "inputs": []}
    status, reply = post(rest, json.dumps(body), "/v1/models/two:predict")
    assert (status, reply) == (200, {"outputs": []})


def test_a_client_of_rest_says_what_json_does_not_carry(server):
    with (
        Client(f"http://127.0.0.1:{server.rest_port}", "two") as client,
        pytest.raises(RequestError, match="complex64.*grpc://"),
    ):
        client.predict({"x": np.ones(1, np.complex64)}, "complex64")


@pytest.mark.parametrize(("signature", "k", "want"), [
    ("serving_default", None, [3, 6]), ("serving_default", np.float32(5), [5, 10]),
    ("vector", None, [3, 8]), ("vector", np.float32([1, 1]), [1, 2]), ("half", None, [3, 6]),
])  # fmt: skip
def test_an_input_with_a_default_may_be_left_out(stub, rest, signature, k, want):
    inputs = {"x": X} if k is None else {"x": X, "k": k}
    assert asked(stub, "two", signature, **inputs)["y"].tolist() == want
    plain = {name: array.tolist() for name, array in inputs.items()}
    body = {"signature_name": signature, "inputs": plain}
    assert post(rest, json.dumps(body), "/v1/models/two:predict") == (200, {"outputs": want})
    if k is None:
        for form, key in ({"instances": [1, 2]}, "predictions"), ({"inputs": [1, 2]}, "outputs"):
            body = json.dumps({"signature_name": signature, **form})
            assert post(rest, body, "/v1/models/two:predict") == (200, {key: want})


def test_classify_and_regress_leave_defaults_out_too(rest):
    body = {"signature_name": "regress", "examples": [{"a": 1}]}
    status, reply = post(rest, json.dumps(body), "/v1/models/two:regress")
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example()
    example.features.feature["a"].int64_list.value.append(1)
    assert (status, reply) == (200, {"results": [2 * len(example.SerializeToString())]})


def test_only_the_outputs_that_are_asked_for_are_run(stub):
    assert asked(stub, "one", "", ["y"], x=X)["y"].tolist() == [2, 4]
    assert asked(stub, "one", "", x=X) == "INVALID_ARGUMENT"  # of the assertion in ``never``
    assert asked(stub, "one", "", ["y", "never"], x=-X)["y"].tolist() == [-2, -4]


def test_an_output_that_is_an_input_too(stub, rest):
    found = asked(stub, "one", "", ["x", "y"], x=X)
    assert {name: array.tolist() for name, array in found.items()} == {"x": [1, 2], "y": [2, 4]}
    assert asked(stub, "one", "only", x=X)["x"].tolist() == [1, 2]
    body = json.dumps({"signature_name": "only", "instances": [1, 2]})
    assert post(rest, body, "/v1/models/one:predict") == (200, {"predictions": [1, 2]})
    found = asked(stub, "one", "twice", x=X)
    assert found["a"].tolist() == found["b"].tolist() == [2, 4]


def test_metadata_tells_every_signature_as_it_was_saved(stub, rest, saved):
    from google.protobuf import json_format
    from tensorflow.core.protobuf import saved_model_pb2

    for name in ("one", "two"):
        graph = saved_model_pb2.SavedModel.FromString(
            (saved / name / "1" / "saved_model.pb").read_bytes()
        )
        want = dict(graph.meta_graphs[0].signature_def)
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = name
        reply, found = stub.GetModelMetadata(request), get_model_metadata_pb2.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(found)
        for told in found.signature_def.values():
            told.defaults.clear()  # their encoding is free
        for definition in want.values():
            definition.defaults.clear()
        assert {n: json_format.MessageToDict(d) for n, d in found.signature_def.items()} == {
            n: json_format.MessageToDict(d) for n, d in want.items()
        }
        reply = rest.get(f"/v1/models/{name}/metadata").json()
        told = reply["metadata"]["signature_def"]["signature_def"]
        for key, definition in want.items():
            for alias, info in definition.inputs.items():
                assert (
                    told[key]["inputs"][alias]["dtype"] == json_format.MessageToDict(info)["dtype"]
                )


def warm_up(path, records):
    """Writes recorded requests into the directory of a SavedModel."""
    import tensorflow as tf

    file = path / "assets.extra" / "tf_serving_warmup_requests"
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record.SerializeToString())


def recorded(name, outputs=(), **inputs):
    import tensorflow as tf

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name, request.output_filter[:] = name, outputs
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return log


def test_warm_up_runs_as_requests_do_and_logs_nothing(saved, tmp_path):
    import tensorflow as tf

    told = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = told.append
    path = shutil.copytree(saved / "one" / "1", tmp_path / "1")
    # What is not asked for would fail; a default is filled in as for a client.
    warm_up(path, [recorded("", ["y"], x=X), recorded("only", x=X)])
    defaults = shutil.copytree(saved / "two" / "1", tmp_path / "2")
    warm_up(defaults, [recorded("", x=X)])
    tf.get_logger().addHandler(handler)
    try:
        load(path).close()
        load(defaults).close()
    finally:
        tf.get_logger().removeHandler(handler)
    assert told == []


@pytest.mark.parametrize(("records", "message"), [
    ([recorded("", x=X)], "record 0"), ([recorded("no", x=X)], "record 0"),
    ([recorded("only", x=X)] * 1001, "Number of warmup records exceeds the maximum"),
])  # fmt: skip
def test_warm_up_that_fails_or_is_too_long_is_an_error(saved, tmp_path, records, message):
    path = shutil.copytree(saved / "one" / "1", tmp_path / "1")
    warm_up(path, records)
    with pytest.raises(ServingError, match=message):
        load(path)
