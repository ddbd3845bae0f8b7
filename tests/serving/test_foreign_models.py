"""SavedModels that Seqloom did not write: nothing says that their rows are independent."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from live_server import client_of, post

from serving.bundle import checksums, read_manifest
from serving.client import Client
from serving.declared import PROGRAMS_FILE
from serving.runtime.batching import Batcher, BatchOptions
from serving.runtime.runtime import Runtime
from serving.runtime.savedmodel_backend import SavedModelBackend
from serving.runtime.server import running


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Signatures whose tensors all begin with an open dimension, though rows depend on others."""
    import tensorflow as tf

    def spec(*shape):
        return tf.TensorSpec(shape, tf.float32)

    class Module(tf.Module):
        @tf.function(input_signature=[spec(None)])
        def softmax(self, x):
            return {"p": tf.nn.softmax(x)}

        @tf.function(input_signature=[spec(None, 2), spec(None, 2)])
        def nearest(self, query, documents):
            return {"scores": tf.linalg.matvec(documents, tf.squeeze(query, 0))}

        @tf.function(input_signature=[spec(None)])
        def half_plus_two(self, x):
            return {"y": 0.5 * x + 2.0}

        @tf.function(input_signature=[spec(None)])
        def mean(self, x):
            return {"m": tf.reduce_mean(x)}

        @tf.function(input_signature=[])
        def constant(self):
            return {"c": tf.constant([1.0, 2.0])}

    module = Module()
    names = ("softmax", "nearest", "half_plus_two", "mean", "constant")
    signatures = {name: getattr(module, name) for name in names}
    folder = tmp_path_factory.mktemp("foreign")
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def ask(client, model, signature, inputs):
    body = json.dumps({"signature_name": signature, "inputs": inputs})
    return post(client, body, f"/v1/models/{model}:predict")


@pytest.fixture(scope="module", params=["by itself", "vouched for", "vouched for and filled"])
def server(request, foreign):
    more = {"vouched": request.param != "by itself", "delay_seconds": 0.002}
    if request.param.endswith("filled"):
        more |= {"max_rows": 32, "allowed_rows": (4, 32)}
    with running(foreign, Runtime(batching=BatchOptions(workers=1, **more))) as server:
        yield server, request.param, foreign.name


def test_what_cannot_be_joined_is_answered_as_alone(server):
    server, _, model = server
    with client_of(server) as client:
        assert ask(client, model, "half_plus_two", 2.0) == (200, {"outputs": 3.0})
        assert ask(client, model, "half_plus_two", [2.0]) == (200, {"outputs": [3.0]})
        assert ask(client, model, "half_plus_two", []) == (200, {"outputs": []})
        assert ask(client, model, "mean", [1.0, 2.0, 6.0]) == (200, {"outputs": 3.0})
        many = {"query": [[1.0, 2.0]], "documents": [[1.0, 1.0]] * 40}
        assert ask(client, model, "nearest", many) == (200, {"outputs": [3.0] * 40})
        status, reply = ask(client, model, "half_plus_two", [[[1.0]], [[2.0]]])
        assert (status, reply) == (200, {"outputs": [[[2.5]], [[3.0]]]})
    with Client(f"grpc://127.0.0.1:{server.grpc_port}", model) as client:
        assert client.predict({}, "constant")["c"].tolist() == [1.0, 2.0]


def test_a_request_is_never_cut(server):
    server, said, model = server
    if said.endswith("filled"):
        pytest.skip("whoever fills up the batch says that rows are independent")
    with client_of(server) as client:
        status, reply = ask(client, model, "softmax", [0.0] * 40)
        assert (status, reply["outputs"]) == (200, pytest.approx([0.025] * 40))
    with Client(f"grpc://127.0.0.1:{server.grpc_port}", model) as client:
        found = client.predict({"x": np.zeros(100, np.float32)}, "softmax")
        np.testing.assert_allclose(found["p"], 0.01, rtol=1e-5)


def test_requests_of_clients_are_joined_only_where_somebody_vouches(server):
    server, said, model = server

    def asks(_):
        with client_of(server) as client:
            return [ask(client, model, "softmax", [0.0] * 4) for _ in range(12)]

    with ThreadPoolExecutor(8) as pool:
        replies = [reply for each in pool.map(asks, range(8)) for reply in each]
    right = [status == 200 and reply["outputs"] == [0.25] * 4 for status, reply in replies]
    # Whoever vouches for a softmax over the batch gets what he asked for.
    assert all(right) == (said == "by itself")


def test_a_seqloom_model_says_that_it_is_row_wise(sentiment_bundle, tmp_path):
    runner = SavedModelBackend(sentiment_bundle / "savedmodel" / "1").runners["serving_default"]
    assert runner.joins
    copy = tmp_path / "1"
    shutil.copytree(sentiment_bundle / "savedmodel" / "1", copy)
    assert SavedModelBackend(copy).runners["serving_default"].joins
    os.remove(copy / PROGRAMS_FILE)
    alone = SavedModelBackend(copy).runners["serving_default"]
    assert (alone.joins, alone.joinable) == (False, True)


def test_the_manifest_proves_it_for_a_bundle_from_before_that_file(sentiment_bundle, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(sentiment_bundle, bundle)
    path = bundle / "savedmodel" / "1"
    os.remove(path / PROGRAMS_FILE)
    noted = read_manifest(bundle)["artifacts"]["savedmodel"]["sha256"]
    assert noted["saved_model.pb"] == checksums(path)["saved_model.pb"]
    assert SavedModelBackend(path).runners["serving_default"].joins
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["artifacts"]["savedmodel"]["sha256"]["saved_model.pb"] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert not SavedModelBackend(path).runners["serving_default"].joins


def test_a_large_request_to_a_row_wise_model_is_cut_and_to_another_is_not(foreign):
    sizes = []

    class Watched(SavedModelBackend):
        def execute(self, feeds, fetches, timeout):
            sizes.append(len(next(iter(feeds.values()))))
            return super().execute(feeds, fetches, timeout)

    runner = Watched(foreign).runners["half_plus_two"]
    batcher = Batcher(BatchOptions(workers=1, max_rows=8, vouched=True))
    encoded = runner.encode({"x": np.arange(20, dtype=np.float32)})
    whole = batcher.submit(runner, encoded).result(60)
    runner.joins = True  # as if Seqloom had written it
    parts = batcher.submit(runner, encoded).result(60)
    batcher.close()
    assert sizes == [20, 8, 8, 4]
    np.testing.assert_array_equal(whole["y"], parts["y"])
