"""Tagging and intent from end to end: what files and clients bring, and what they are answered."""

import base64
import csv

import httpx
import numpy as np
import pytest

import tasks
from serving.runtime.loading import find_model
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running
from tasks.stages.predicting import predict
from tasks.stages.run_directory import Run
from tasks.stages.training import train

OUTSIDE = "the O\ncat O\nsat O\n\n"


@pytest.fixture(scope="module")
def ask(intent_bundle):
    """``ask(backend, body)``: status and answer of a server of both backends."""
    models = [ModelSettings(name, find_model(intent_bundle, name)) for name in FORMATS]
    with running(models, options=ServerOptions(rest_port=0, grpc_port=0)) as server:
        url = f"http://127.0.0.1:{server.rest_port}"
        with httpx.Client(base_url=url, timeout=60) as client:

            def answered(backend, body):
                reply = client.post(f"/v1/models/{backend}:predict", json=body)
                return reply.status_code, reply.json()

            yield answered


FORMATS = ("onnx", "savedmodel")


@pytest.mark.parametrize("backend", FORMATS)
def test_rows_and_columns_of_text_and_of_tokens(ask, backend):
    broken = {"b64": base64.b64encode(b"wake \xff me").decode()}
    status, found = ask(backend, {"instances": [broken, {"b64": ""}]})
    assert status == 200
    first, second = found["predictions"]
    assert (first["tokens"], first["starts"], first["length"]) == (["wake", "me"], [0, 7], 2)
    assert (second["tokens"], second["tags"], second["length"]) == ([], [], 0)

    rows = [["wake", "", "me"], ["a b", "", ""]]
    status, found = ask(backend, {"signature_name": "tokens", "inputs": {"tokens": rows}})
    assert status == 200
    assert found["outputs"]["tokens"] == [["wake", "me"], ["a b", ""]]
    assert found["outputs"]["length"] == [2, 1]
    assert found["outputs"]["ends"] == [[4, 7], [3, 0]]
    joined = ask(backend, {"inputs": ["wake\x1f\x1fme", "a b\x1f"]})[1]
    assert joined["outputs"]["tags"] == found["outputs"]["tags"]


@pytest.mark.parametrize("backend", FORMATS)
def test_an_intent_is_rejected_by_the_threshold_of_its_row(ask, backend):
    status, found = ask(backend, {"inputs": {"text": ["wake me"] * 2, "reject_below": [0.0, 1.0]}})
    assert status == 200
    assert found["outputs"]["intent"][0]
    assert found["outputs"]["intent"][1] == ""
    shares = np.array(found["outputs"]["intent_probabilities"])
    assert shares.sum(-1) == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"instances": [5]}, "string"),
        ({"instances": [["a", "b"]]}, "text takes shape"),
        ({"signature_name": "tokens", "inputs": ["a", "b"]}, "tokens takes shape"),
        ({"signature_name": "tokens", "inputs": [["a"], ["b", "c"]]}, "size"),
        ({"inputs": {"text": ["a", "b"], "reject_below": [0, 0, 0]}}, "reject_below"),
        ({"inputs": {"text": ["a"], "reject_below": "x"}}, "reject_below"),
    ],
)
def test_other_types_and_shapes_are_refused(ask, body, told):
    for backend in FORMATS:
        status, found = ask(backend, body)
        assert status == 400
        assert told in found["error"]


def test_a_file_of_tokens_keeps_its_columns_beside_its_answers(intent_bundle, tmp_path):
    (tmp_path / "a.conll").write_text("wake O\nme O\n\nplay O\n")
    predict(intent_bundle, [], tmp_path / "a.conll", out=tmp_path / "b.csv")
    with (tmp_path / "b.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:3] == ["1", "2", "intent"]
    assert [row[0] for row in rows] == ['["wake", "me"]', '["play"]']


def test_a_training_without_a_span_and_with_one_tag(tmp_path):
    for part in ("train", "valid", "test"):
        last = "Ann B-PER\n" if part == "valid" else OUTSIDE
        (tmp_path / f"{part}.conll").write_text(OUTSIDE * 3 + last)
    task, run = tasks.get("tagging"), Run(tmp_path / "run")
    small = {"units": 2, "embedding_dim": 2, "characters": "none", "form_dim": 0, "epochs": 1}
    train(task, task.data_options(str(tmp_path)), task.with_settings(task.settings, small), run)
    found = run.read_json("metrics.json")["metrics"]
    assert found["test"]["f1"] == 1.0
    assert 0 < found["validation"]["accuracy"] < 1
