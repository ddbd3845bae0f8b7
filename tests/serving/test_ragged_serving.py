"""Answers of unequal length through a running server: each is what the request alone would get."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_server import client_of, runtime_of

from pipelines.ragged import Field, padded
from serving.client import Client
from serving.runtime.batching import Batcher, BatchOptions
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.server import ServerOptions, running

NUMBER = {"dtype": "int64", "shape": [-1, -1]}
SPELLED = {
    "inputs": {"text": {"dtype": "string", "shape": [-1]}},
    "outputs": {"sums": NUMBER, "letters": {"dtype": "int64", "shape": [-1]}},
}


class Spelled(SignatureRunner):
    """The running sum of a text's bytes: as many numbers as it has bytes."""

    joins = True
    fields = {"bytes": Field(255), "sums": Field(-1, "letters")}  # noqa: RUF012

    def __init__(self):
        super().__init__(SPELLED)
        self.rows = []

    def encode(self, inputs):
        texts = [np.frombuffer(text, np.uint8).astype(np.int64) for text in inputs["text"]]
        return {"bytes": padded(texts, 255), "letters": np.array([len(text) for text in texts])}

    def execute(self, core, timeout=None):
        self.rows.append(len(core["letters"]))
        return {"sums": core["bytes"].cumsum(1), "letters": core["letters"]}


class SpelledBackend(Backend):
    name, version = "m", 1

    def __init__(self):
        super().__init__({"serving_default": Spelled()})


def sums(text):
    return np.cumsum(list(text.encode())).tolist()


TEXTS = st.lists(
    st.lists(st.text("abc", max_size=40), min_size=1, max_size=4), min_size=1, max_size=30
)


@settings(max_examples=25, deadline=None)
@given(TEXTS)
def test_any_mixture_of_requests_is_parted_again(requests):
    runner, batcher = Spelled(), Batcher(BatchOptions(workers=2, max_rows=8))
    asked = [
        batcher.submit(runner, runner.encode({"text": [text.encode() for text in texts]}))
        for texts in requests
    ]
    for texts, future in zip(requests, asked, strict=True):
        got, longest = future.result(60), max(map(len, texts))
        assert got["letters"].tolist() == [len(text) for text in texts]
        assert got["sums"].shape == (len(texts), longest)
        for text, row in zip(texts, got["sums"], strict=True):
            assert row[: len(text)].tolist() == sums(text)
    batcher.close()


@pytest.fixture(scope="module")
def server():
    backend = SpelledBackend()
    runtime, models = runtime_of(
        [backend], BatchOptions(workers=2, max_rows=16, delay_seconds=0.002)
    )
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as server:
        yield server, backend.runners["serving_default"]


def ask_rows(client, texts):
    reply = client.post("/v1/models/m:predict", json={"instances": texts}).json()
    for text, row in zip(texts, reply["predictions"], strict=True):
        assert row == {"sums": sums(text), "letters": len(text)}


def ask_columns(client, texts):
    reply = client.post("/v1/models/m:predict", json={"inputs": {"text": texts}}).json()
    longest = max(map(len, texts))
    for text, row in zip(texts, reply["outputs"]["sums"], strict=True):
        assert (row[: len(text)], len(row)) == (sums(text), longest)


def ask_grpc(client, texts):
    reply = client.predict({"text": np.array([text.encode() for text in texts], object)})
    assert reply["sums"].shape == (len(texts), max(map(len, texts)))
    for text, row in zip(texts, reply["sums"], strict=True):
        assert row[: len(text)].tolist() == sums(text)


def test_under_load_each_answer_is_that_of_the_request_alone(server):
    server, runner = server

    def asks(seed):
        draw = random.Random(seed)
        with client_of(server) as rest, Client(f"grpc://127.0.0.1:{server.grpc_port}", "m") as grpc:
            for _ in range(40):
                texts = ["ab" * draw.randrange(20) for _ in range(draw.randint(1, 3))]
                way = draw.choice([ask_rows, ask_columns, ask_grpc])
                way(grpc if way is ask_grpc else rest, texts)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(asks, range(8)))
    assert max(runner.rows) > 3, "no two requests were joined"
