"""The gRPC API against the official stubs: every method, and every error that the list has."""

import shutil
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest
from live_server import DoublingBackend, refusal_of_the_session, runtime_of
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving import protos
from serving.errors import RequestError, ServingError
from serving.runtime.loading import find_model, load
from serving.runtime.manager import WatchOptions
from serving.runtime.runners import Backend
from serving.runtime.runtime import Runtime
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel that classifies, regresses and predicts."""
    import tensorflow as tf

    class Model(tf.Module):
        @tf.function(input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "a"), tf.TensorSpec([None, 2], tf.float32, "b"),
        ])  # fmt: skip
        def predict(self, a, b):
            return {"sum": a + b, "difference": a - b}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def classify(self, inputs):
            x = self._parsed(inputs)
            labels = tf.constant([["low", "high"]])
            return {
                "classes": tf.tile(labels, [tf.shape(x)[0], 1]),
                "scores": tf.stack([1 - x, x], 1),
            }

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def regress(self, inputs):
            return {"outputs": 2 * self._parsed(inputs)}

        def _parsed(self, inputs):
            spec = {"x": tf.io.FixedLenFeature([], tf.float32)}
            return tf.io.parse_example(inputs, spec)["x"]

    path, model = tmp_path_factory.mktemp("saved") / "s" / "3", Model()
    tf.saved_model.save(model, str(path), signatures={
        "serving_default": model.predict, "classify": model.classify, "regress": model.regress,
    })  # fmt: skip
    return path.parent


@pytest.fixture(scope="module")
def server(saved):
    broken = DoublingBackend("broken", error=RequestError("no", "INTERNAL"))
    runtime, models = runtime_of([DoublingBackend("m", 1), DoublingBackend("m", 12), broken])
    fakes, real = runtime.manager._load, Runtime()
    runtime.manager._load = lambda name, path, kind: (
        real._load(name, path, kind) if name == "s" else fakes(name, path, kind)
    )
    models.append(ModelSettings("s", find_model(saved)))
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as live:
        yield live


@pytest.fixture(scope="module")
def stubs(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield (
            prediction_service_pb2_grpc.PredictionServiceStub(channel),
            model_service_pb2_grpc.ModelServiceStub(channel),
        )


def tensor(values, dtype=np.float32):
    import tensorflow as tf

    return tf.make_tensor_proto(np.asarray(values, dtype))


def spec_of(message, name="m", version=None, label=None, signature=""):
    message.model_spec.name, message.model_spec.signature_name = name, signature
    if version is not None:
        message.model_spec.version.value = version
    if label is not None:
        message.model_spec.version_label = label
    return message


def predict(name="m", inputs=None, outputs=(), **spec):
    request = spec_of(predict_pb2.PredictRequest(output_filter=outputs), name, **spec)
    for key, value in ({"x": tensor([[1, 2]])} if inputs is None else inputs).items():
        request.inputs[key].CopyFrom(value)
    return request


def examples(kind, name="s", values=(0.25, 1.0), **spec):
    request = spec_of(kind(), name, **spec)
    for value in values:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    return request


def test_predict(stubs):
    predictor, _ = stubs
    reply = predictor.Predict(predict())
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("m", 12)
    assert reply.model_spec.signature_name == "serving_default"
    assert list(reply.outputs["y"].float_val) == [2, 4]  # typed fields, as TensorFlow Serving
    assert [dim.size for dim in reply.outputs["y"].tensor_shape.dim] == [1, 2]
    assert predictor.Predict(predict(version=1)).model_spec.version.value == 1
    both = {"a": tensor([[1, 2]]), "b": tensor([[5, 5]])}
    reply = predictor.Predict(predict("s", both, ["difference"]))
    assert {k: list(v.float_val) for k, v in reply.outputs.items()} == {"difference": [-4, -3]}


AB = {"a": tensor([[1, 2]]), "b": tensor([[5, 5]])}
LONG = predict("m" * 3000)
PREDICT_ERRORS = [
    (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    (predict(""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    (predict("n"), "NOT_FOUND", "Servable not found for request: Latest(n)"),
    (predict(version=99), "NOT_FOUND", "Servable not found for request: Specific(m, 99)"),
    (predict(version=0), "NOT_FOUND", "Servable not found for request: Specific(m, 0)"),
    (predict(label="canary"), "INVALID_ARGUMENT", "Unrecognized servable version label: canary"),
    (predict(signature="s"), "FAILED_PRECONDITION", 'Serving signature key "s" not found.'),
    (predict("s", {"a": AB["a"]}), "INVALID_ARGUMENT",
     "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. "
     "Missing but required: {b}."),
    (predict("s", {"a": AB["a"], "c": AB["b"]}), "INVALID_ARGUMENT",
     "Signature input alias: b(feed name: serving_default_b:0) not found in request and no default "
     "value provided. Inputs expected to be in the request {a,c}, or default input alias set: "),
    (predict("s", AB, ["z"]), "INVALID_ARGUMENT",
     "output tensor alias not found in signature: z Outputs expected to be in the set "
     "{difference,sum}."),
    (predict("s", AB, ["sum", "sum"]), "INVALID_ARGUMENT", "duplicate output tensor alias: sum"),
    (predict("broken"), "INTERNAL", "no"),
    (LONG, "NOT_FOUND",
     f"Servable not found for request: Latest({'m' * 3000})"[:1024] + "...TRUNCATED"),
]  # fmt: skip


def error_of(call, request, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, **options)
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize(("request_", "code", "message"), PREDICT_ERRORS)
def test_predict_errors(stubs, request_, code, message):
    assert error_of(stubs[0].Predict, request_) == (code, message)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_the_graph_judges_shapes_and_dtypes(stubs, saved, dtype):
    sent = {"a": np.ones((1, 2), np.float32), "b": np.ones((1, 3), dtype)}
    protos = {name: tensor(array, array.dtype) for name, array in sent.items()}
    code, message = refusal_of_the_session(saved / "3", sent)
    assert code == "INVALID_ARGUMENT"
    # Which of several ops fails first is chance; what a session says first is not.
    found, text = error_of(stubs[0].Predict, predict("s", protos))
    assert (found, text.partition("\n")[0]) == (code, message.partition("\n")[0])


def test_deadlines(stubs, server):
    backend = server.runtime.manager._servables["m"][12].backend
    backend.gate.clear()
    try:
        code, message = error_of(stubs[0].Predict, predict(), timeout=0.3)
        assert code == "DEADLINE_EXCEEDED"
    finally:
        backend.gate.set()


def test_classify_and_regress(stubs):
    predictor, _ = stubs
    reply = predictor.Classify(
        examples(classification_pb2.ClassificationRequest, signature="classify")
    )
    rows = [[(c.label, c.score) for c in r.classes] for r in reply.result.classifications]
    assert rows == [[("low", 0.75), ("high", 0.25)], [("low", 0), ("high", 1)]]
    assert (reply.model_spec.signature_name, reply.model_spec.version.value) == ("classify", 3)
    reply = predictor.Regress(examples(regression_pb2.RegressionRequest, signature="regress"))
    assert [r.value for r in reply.result.regressions] == [0.5, 2.0]
    context = spec_of(regression_pb2.RegressionRequest(), "s", signature="regress")
    both = context.input.example_list_with_context
    both.context.features.feature["x"].float_list.value.append(3)
    both.examples.add()
    assert [r.value for r in predictor.Regress(context).result.regressions] == [6.0]


def inference(*tasks, values=(0.5,)):
    request = inference_pb2.MultiInferenceRequest()
    for name, signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = name, signature
    for value in values:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    return request


CLASSIFY, REGRESS = ("s", "classify", "classify"), ("s", "regress", "regress")


def test_multi_inference(stubs):
    reply = stubs[0].MultiInference(inference(CLASSIFY, REGRESS))
    assert reply.results[0].classification_result.classifications[0].classes[1].score == 0.5
    assert reply.results[1].regression_result.regressions[0].value == 1.0


CLASSIFICATION = classification_pb2.ClassificationRequest
EXAMPLE_ERRORS = [
    ("Classify", examples(CLASSIFICATION, values=(), signature="classify"),
     "INVALID_ARGUMENT", "Input is empty."),
    ("Classify", examples(CLASSIFICATION, signature="no"),
     "INVALID_ARGUMENT", "No signature was found with the name: no"),
    ("Classify", examples(CLASSIFICATION, signature=""),
     "INVALID_ARGUMENT", "Expected one input Tensor."),
    ("Regress", examples(regression_pb2.RegressionRequest, signature="classify"),
     "INVALID_ARGUMENT", "Expected one output Tensor."),
    ("MultiInference", inference(CLASSIFY, ("m", "", "regress")), "INVALID_ARGUMENT",
     "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
    ("MultiInference", inference(CLASSIFY, CLASSIFY), "INVALID_ARGUMENT",
     "Duplicate evaluation of signature: classify"),
    ("MultiInference", inference(("s", "classify", "predict")), "UNIMPLEMENTED",
     "Unsupported signature method_name: tensorflow/serving/predict"),
    ("MultiInference", inference(("s", "no", "classify")), "INVALID_ARGUMENT",
     "Requested signature not found in model graph: no"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "request_", "code", "message"), EXAMPLE_ERRORS)
def test_example_errors(stubs, method, request_, code, message):
    assert error_of(getattr(stubs[0], method), request_) == (code, message)


def metadata(*fields, name="s", **spec):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    return spec_of(request, name, **spec)


def test_metadata(stubs, saved):
    from tensorflow.core.protobuf import saved_model_pb2

    reply = stubs[0].GetModelMetadata(metadata("signature_def"))
    assert (reply.model_spec.version.value, reply.model_spec.signature_name) == (3, "")
    found = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(found)
    proto = saved_model_pb2.SavedModel.FromString((saved / "3" / "saved_model.pb").read_bytes())
    want = proto.meta_graphs[0].signature_def
    assert set(found.signature_def) == set(want)
    for name, definition in found.signature_def.items():
        if definition.inputs:
            assert definition == want[name]
    for request, message in (
        (metadata(), "GetModelMetadataRequest must specify at least one metadata_field"),
        (metadata("x"), "Metadata field x is not supported"),
    ):
        assert error_of(stubs[0].GetModelMetadata, request) == ("INVALID_ARGUMENT", message)


def status(name, **spec):
    return spec_of(get_model_status_pb2.GetModelStatusRequest(), name, **spec)


def test_status(stubs):
    _, models = stubs
    found = models.GetModelStatus(status("m")).model_version_status
    assert [(one.version, one.state, one.status.error_code) for one in found] == [
        (12, 30, 0), (1, 30, 0),
    ]  # fmt: skip
    assert len(models.GetModelStatus(status("m", label="any")).model_version_status) == 2
    assert len(models.GetModelStatus(status("m", version=1)).model_version_status) == 1
    for request, message in (
        (status("n"), "Could not find any versions of model n"),
        (status("m", version=9), "Could not find version 9 of model m"),
    ):
        assert error_of(models.GetModelStatus, request) == ("NOT_FOUND", message)


def reload(*models):
    request = model_management_pb2.ReloadConfigRequest()
    for model in models:
        platform = {"model_platform": "tensorflow", **model}
        request.config.model_config_list.config.add(**platform)
    return request


RELOAD_ERRORS = [
    ([{"name": "s", "base_path": "/x"}] * 2,
     "Illegal to list model s multiple times in config list"),
    ([{"name": "s", "base_path": "x"}],
     "Expected model s to have an absolute path or URI; got base_path()=x"),
    ([{"name": "s", "base_path": "/x", "model_platform": ""}],
     "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
     "ModelServerConfig::model_platform, model name is s"),
    ([{"name": "s", "base_path": "/x", "model_platform": "p"}],
     "Model s requests unsupported platform p"),
    ([{"name": "s", "base_path": "/x", "model_platform": "onnx"}],
     "Illegal to change a model's platform. For model s platform was tensorflow and new platform "
     "requested is onnx"),
]  # fmt: skip


@pytest.mark.parametrize(("models", "message"), RELOAD_ERRORS)
def test_reload_errors(stubs, models, message):
    found = error_of(stubs[1].HandleReloadConfigRequest, reload(*models))
    assert found == ("INVALID_ARGUMENT", message)


def test_reload_replaces_models_and_gives_labels(saved):
    runtime = Runtime()
    first = [ModelSettings("s", find_model(saved))]
    with (
        running(first, runtime, ServerOptions(rest_port=None, grpc_port=0)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        predictor = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        entry = {"name": "t", "base_path": str(saved), "version_labels": {"stable": 3}}
        reply = models.HandleReloadConfigRequest(reload(entry))
        assert reply.status.error_code == 0
        assert predictor.Predict(predict("t", AB, label="stable")).model_spec.version.value == 3
        assert error_of(predictor.Predict, predict("s", AB))[0] == "NOT_FOUND"
        ahead = {**entry, "version_labels": {"stable": 3, "canary": 9}}
        assert error_of(models.HandleReloadConfigRequest, reload(ahead)) == (
            "FAILED_PRECONDITION",
            "Request to assign label to version 9 of model t, which is not currently available "
            "for inference",
        )
        assert predictor.Predict(predict("t", AB)).model_spec.version.value == 3


@pytest.mark.parametrize("poll_seconds", [0.05, 0.0])
def test_a_reload_waits_for_a_base_path_that_is_not_there(saved, tmp_path, poll_seconds):
    runtime = Runtime(watching=WatchOptions(poll_seconds=poll_seconds))
    first = [ModelSettings("s", find_model(saved))]
    with (
        running(first, runtime, ServerOptions(rest_port=None, grpc_port=0)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        predictor = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        late = {"name": "late", "base_path": str(tmp_path / "late")}
        with pytest.raises(grpc.RpcError) as timeout:
            models.HandleReloadConfigRequest(reload(late), timeout=0.5)
        assert timeout.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        # What was taken out is remembered; the change is made though the client has gone.
        version = get_model_status_pb2.ModelVersionStatus
        settle(lambda: [one.state for one in models.GetModelStatus(status("s"))
                        .model_version_status] == [version.END])  # fmt: skip
        waiting = models.HandleReloadConfigRequest.future(reload(late), timeout=60)
        (tmp_path / "late").mkdir()
        shutil.copytree(saved / "3", tmp_path / "copy")
        assert not waiting.done()
        (tmp_path / "copy").rename(tmp_path / "late" / "3")
        assert waiting.result().status.error_code == 0
        assert predictor.Predict(predict("late", AB)).model_spec.version.value == 3


def settle(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


def test_the_whole_reason_of_a_failed_load_is_told(saved, tmp_path):
    import tensorflow as tf

    broken, lines = tmp_path / "broken" / "1", []
    module = tf.Module()
    module.weight = tf.Variable([1.0])
    tf.saved_model.save(module, str(broken))
    (broken / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(ServingError) as alone:
        load(broken)
    # What TensorFlow itself says has several lines here.
    whole = " ".join(str(alone.value.__cause__).split())
    runtime = Runtime(on_change=lines.append)
    first = [ModelSettings("s", find_model(saved))]
    with (
        running(first, runtime, ServerOptions(rest_port=None, grpc_port=0)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        entry = {"name": "b", "base_path": str(broken.parent)}
        code, message = error_of(models.HandleReloadConfigRequest, reload(entry))
        (one,) = models.GetModelStatus(status("b")).model_version_status
    assert code == "UNKNOWN"
    for text in (message, one.status.error_message, lines[-1]):
        assert whole in text
        assert "\n" not in text


def test_health_and_garbage(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            response_deserializer=protos.HealthCheckResponse.FromString,
        )
        for name in ("", "PredictionService", "ModelService"):
            sent = protos.HealthCheckRequest(service=name).SerializeToString()
            assert check(sent).status == 1
        sent = protos.HealthCheckRequest(service="x").SerializeToString()
        assert error_of(check, sent)[0] == "NOT_FOUND"
        raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        assert error_of(raw, b"\xff\xff\xff") == (
            "INVALID_ARGUMENT", "The request is no PredictRequest.",
        )  # fmt: skip


def test_our_messages_are_the_official_ones():
    """Every field of ours has the official number, type and cardinality."""
    official = {
        m.DESCRIPTOR.full_name: m.DESCRIPTOR for m in (
            predict_pb2.PredictRequest, predict_pb2.PredictResponse,
            classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse,
            regression_pb2.RegressionRequest, regression_pb2.RegressionResponse,
            inference_pb2.MultiInferenceRequest, inference_pb2.MultiInferenceResponse,
            get_model_metadata_pb2.GetModelMetadataRequest,
            get_model_metadata_pb2.GetModelMetadataResponse,
            get_model_metadata_pb2.SignatureDefMap,
            get_model_status_pb2.GetModelStatusRequest,
            get_model_status_pb2.GetModelStatusResponse,
            model_management_pb2.ReloadConfigRequest, model_management_pb2.ReloadConfigResponse,
        )
    }  # fmt: skip
    seen = set()

    def compare(mine, theirs):
        if mine.full_name in seen:
            return
        seen.add(mine.full_name)
        assert mine.full_name == theirs.full_name
        for field in mine.fields:
            other = theirs.fields_by_name[field.name]
            kinds = field.type, other.type
            # An enum of which only the numbers matter here is an int32: the same on the wire.
            assert kinds[0] == kinds[1] or kinds == (5, 14), field.full_name
            same = field.number == other.number and field.is_repeated == other.is_repeated
            assert same, field.full_name
            if field.message_type is not None:
                compare(field.message_type, other.message_type)

    for full_name, descriptor in official.items():
        compare(getattr(protos, full_name.rpartition(".")[2]).DESCRIPTOR, descriptor)
    assert {f"tensorflow.{name}" for name in ("TensorProto", "Example", "SignatureDef")} <= seen


def test_the_compiled_messages_are_those_of_the_sources(tmp_path):
    pytest.importorskip("grpc_tools", reason="grpcio-tools compiles the .proto files")
    # In a process of its own: protoc does not bear TensorFlow's protobuf beside it.
    command = [sys.executable, "-m", "serving.protos", str(tmp_path / "made")]
    subprocess.run(command, check=True, cwd=protos.HERE.parents[1])
    assert (tmp_path / "made").read_bytes() == (protos.HERE / "messages.binpb").read_bytes()


def test_a_backend_without_signatures_has_an_empty_default():
    assert dict(Backend({}).signature) == {"inputs": {}, "outputs": {}}
