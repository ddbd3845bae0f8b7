"""Which label each probability is of, as metadata has it beside TensorFlow Serving's own."""

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_service_pb2_grpc

import tasks
from pipelines.keyword import KeywordPreprocessor
from pipelines.text import TextEncoder
from pipelines.text_classification import TextClassificationPreprocessor
from pipelines.text_examples import TextExample
from serving.declared import read_programs, write_programs
from serving.runtime.loading import find_model
from serving.runtime.runtime import Runtime
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running
from tasks.kinds.contract import DataOptions
from tests.serving.live_server import DoublingBackend, client_of, runtime_of

LABELS = {"serving_default": {"y": ["no", "yes"]}}


def preprocessor():
    examples = [TextExample("a fine film", "yes"), TextExample("a dull one", "no")]
    return TextClassificationPreprocessor.adapt(TextEncoder(), examples)


@pytest.fixture(scope="module")
def server():
    named, plain = DoublingBackend("named"), DoublingBackend("plain")
    named.runners["serving_default"].labels = {"y": ("no", "yes")}
    runtime, models = runtime_of([named, plain])
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as live:
        yield live


def asked(port, name, *fields):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.GetModelMetadata(request, timeout=30).metadata


def test_rest_tells_them_beside_the_signatures(server):
    with client_of(server) as rest:
        named, plain = (
            rest.get(f"/v1/models/{name}/metadata").json()["metadata"]
            for name in ("named", "plain")
        )
    assert named["output_labels"] == LABELS
    assert named["signature_def"] == plain["signature_def"]
    assert set(plain) == {"signature_def"}, "of a model without labels the reply is upstream's"


def test_grpc_tells_them_where_they_are_asked_for(server):
    assert set(asked(server.grpc_port, "named", "signature_def")) == {"signature_def"}
    found, names = asked(server.grpc_port, "named", "signature_def", "output_labels"), Struct()
    assert set(found) == {"signature_def", "output_labels"}
    assert found["output_labels"].Unpack(names)
    assert {k: {n: list(x) for n, x in v.items()} for k, v in names.items()} == LABELS
    (plain,) = asked(server.grpc_port, "plain", "output_labels").values()
    assert plain.Unpack(names)
    assert not names.fields


def test_they_stand_beside_a_savedmodel(tmp_path):
    write_programs(tmp_path, preprocessor().programs)
    assert read_programs(tmp_path)["serving_default"].labels == {"probabilities": ("no", "yes")}


def test_programs_of_sounds_and_intents_have_them_too():
    task = tasks.get("intent")
    splits = task.load(DataOptions("synthetic:100"))
    intents = task.adapt(task.settings, splits.train)
    assert intents.labels_of == {"intent_probabilities": intents.intents}
    task = tasks.get("keyword")
    splits = task.load(DataOptions("synthetic:64"))
    sounds = KeywordPreprocessor.adapt(task.preprocessing, splits.train)
    for program in sounds.programs.values():
        assert program.labels_of == {"probabilities": tuple(sounds.labels)}


@pytest.mark.parametrize("backend", ["onnx", "savedmodel"])
def test_a_bundle_is_served_with_them(sentiment_bundle, backend):
    models = [ModelSettings("sentiment", find_model(sentiment_bundle, backend))]
    with running(models, Runtime(), ServerOptions(rest_port=0)) as live, client_of(live) as rest:
        metadata = rest.get("/v1/models/sentiment/metadata").json()["metadata"]
        (names,) = metadata["output_labels"]["serving_default"].values()
        assert names == ["negative", "positive"]
        body = '{"instances": ["a fine film", "an awful film", "it is not good"]}'
        for row in rest.post("/v1/models/sentiment:predict", content=body).json()["predictions"]:
            assert names[row["probabilities"].index(max(row["probabilities"]))] == row["label"]
