"""Answers of unequal length through a server: each is what the request alone would get."""

import json
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_server import client_of, post, runtime_of

from pipelines.ragged import Field, as_lists, padded
from serving.client import Client
from serving.runtime.batching import Batcher, BatchOptions
from serving.runtime.loading import ModelLocation
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.runtime import Runtime
from serving.runtime.savedmodel_backend import SavedModelBackend
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running


def spec(dtype, rank):
    return {"dtype": dtype, "shape": [-1] * rank}


class Spelled(SignatureRunner):
    """What can be said of each byte of a text, and its words as a grid of letters."""

    joins = True
    fields = {  # noqa: RUF012
        "bytes": Field(255),
        "sums": Field(-1, "letters"),
        "eighths": Field(0, "letters"),
        "is_space": Field(True, "letters"),
        "grid": Field(b"-", ("words", "longest")),
    }

    def __init__(self):
        super().__init__(
            {
                "inputs": {"text": spec("string", 1)},
                "outputs": {
                    "sums": spec("int64", 2),
                    "eighths": spec("float32", 2),
                    "is_space": spec("bool", 2),
                    "grid": spec("string", 3),
                    "letters": spec("int64", 1),
                    "words": spec("int64", 1),
                    "longest": spec("int64", 1),
                },
            }
        )
        self.rows = []

    def encode(self, inputs):
        texts = [np.frombuffer(text, np.uint8).astype(np.int64) for text in inputs["text"]]
        letters = np.array([len(text) for text in texts], np.int64)
        bytes_ = padded(texts, 255) if texts else np.zeros((0, 0), np.int64)
        return {"bytes": bytes_, "letters": letters}

    def execute(self, encoded, timeout=None):
        self.rows.append(len(encoded["letters"]))
        ids, letters = encoded["bytes"], encoded["letters"]
        texts = [bytes(row[:n].tolist()) for row, n in zip(ids, letters, strict=True)]
        words = [text.split() for text in texts]
        longest = [max(map(len, row), default=0) for row in words]
        # Wider than anybody needs, as the largest batch of another program might be.
        shape = (len(texts), max(map(len, words), default=0) + 1, max(longest, default=0) + 2)
        grid = np.full(shape, b"-", object)
        for i, row in enumerate(words):
            for j, word in enumerate(row):
                grid[i, j, : longest[i]] = [bytes([one]) for one in word.ljust(longest[i], b".")]
        inside = np.arange(ids.shape[1]) < letters[:, None]
        sums = np.where(inside, ids.cumsum(1), -1)
        return {
            "sums": sums,
            "eighths": np.where(inside, sums / 8, 0).astype(np.float32),
            "is_space": np.where(inside, ids == 32, True),
            "grid": grid,
            "letters": letters,
            "words": np.array([*map(len, words)], np.int64),
            "longest": np.array(longest, np.int64),
        }


class SpelledBackend(Backend):
    name, version = "m", 1

    def __init__(self):
        super().__init__({"serving_default": Spelled()})


def alone(texts):
    """What a batcher that joins nothing says, of rows that are all a request has."""
    runner, batcher = Spelled(), Batcher(BatchOptions(workers=1))
    encoded = runner.encode({"text": np.array([*texts, b""], object)[:-1]})
    found = batcher.submit(runner, encoded).result(60)
    batcher.close()
    return found


def row_alone(text):
    """A row as its own request has it, in JSON."""
    return as_lists({name: array[0] for name, array in alone([text]).items()})


def assert_same(found, want):
    assert found.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(found[name], want[name], err_msg=name)
        assert found[name].dtype == want[name].dtype
        assert found[name].shape == want[name].shape


WORDS = st.text("ab ", max_size=30).map(str.encode)
REQUESTS = st.lists(st.lists(WORDS, max_size=5), min_size=1, max_size=20)


def test_by_hand():
    found = row_alone(b"a bcd")
    assert found["sums"] == [97, 129, 227, 326, 426]
    assert found["grid"] == [["a", ".", "."], ["b", "c", "d"]]
    assert found["is_space"] == [False, True, False, False, False]
    nothing = {"sums": [], "eighths": [], "is_space": [], "grid": []}
    assert row_alone(b"") == {**nothing, "letters": 0, "words": 0, "longest": 0}


@settings(max_examples=60, deadline=None)
@given(REQUESTS, st.integers(1, 9), st.lists(st.integers(1, 12), max_size=3, unique=True))
def test_any_mixture_of_requests_is_parted_again(requests, max_rows, sizes):
    """Joined, split where they are larger than a batch, filled up to the sizes that are allowed."""
    allowed = tuple(sorted(size for size in sizes if size < max_rows)) + (max_rows,)
    options = BatchOptions(workers=2, max_rows=max_rows, allowed_rows=allowed if sizes else ())
    runner, batcher = Spelled(), Batcher(options)
    asked = [
        batcher.submit(runner, runner.encode({"text": np.array([*texts, b""], object)[:-1]}))
        for texts in requests
    ]
    for texts, future in zip(requests, asked, strict=True):
        assert_same(future.result(60), alone(texts))
    batcher.close()
    if sizes:
        assert set(runner.rows) <= {0, *allowed}


@pytest.fixture(scope="module")
def server():
    backend = SpelledBackend()
    options = BatchOptions(workers=2, max_rows=16, delay_seconds=0.002)
    runtime, models = runtime_of([backend], options)
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as server:
        yield server, backend.runners["serving_default"]


def ask_rows(client, texts):
    reply = client.post("/v1/models/m:predict", json={"instances": [t.decode() for t in texts]})
    assert reply.json()["predictions"] == [row_alone(text) for text in texts]


def ask_columns(client, texts):
    body = {"inputs": {"text": [text.decode() for text in texts]}}
    reply = client.post("/v1/models/m:predict", json=body).json()
    assert reply["outputs"] == as_lists(alone(texts))


def ask_grpc(client, texts):
    assert_same(client.predict({"text": np.array(texts, object)}), alone(texts))


def test_under_load_each_answer_is_that_of_the_request_alone(server):
    server, runner = server

    def asks(seed):
        draw = random.Random(seed)
        with client_of(server) as rest, Client(f"grpc://127.0.0.1:{server.grpc_port}", "m") as grpc:
            for _ in range(15):
                texts = [
                    bytes(draw.choices(b"ab  ", k=draw.choice([0, 1, 9, 30])))
                    for _ in range(draw.choice([1, 1, 2, 5, 40]))
                ]
                way = draw.choice([ask_rows, ask_columns, ask_grpc])
                way(grpc if way is ask_grpc else rest, texts)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(asks, range(16)))
    assert max(runner.rows) > 5, "no two requests were joined"


def test_no_rows_are_answered_with_no_rows(server):
    server, _ = server
    for texts in ([], [b""]):
        with client_of(server) as rest, Client(f"grpc://127.0.0.1:{server.grpc_port}", "m") as grpc:
            ask_columns(rest, texts)
            ask_grpc(grpc, texts)


# --- SavedModels --------------------------------------------------------------------------------


class Letters:
    """Of a SavedModel that Seqloom wrote: the program whose fields are declared in a file."""

    signature = {  # noqa: RUF012
        "inputs": {"text": spec("string", 1), "values": spec("float32", 2)},
        "outputs": {"ids": spec("int32", 2), "means": spec("float32", 2), "n": spec("int32", 1)},
    }
    fields = {"ids": Field(-1, "n"), "means": Field(0, "n"), "values": Field(0)}  # noqa: RUF012
    shared = ()
    labels_of = {}  # noqa: RUF012


def save_letters(path, declared):
    """Ids of letters, padded; means of values over time."""
    import tensorflow as tf

    from serving.declared import write_programs

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text"),
                                      tf.TensorSpec([None, None], name="values")])  # fmt: skip
        def serve(self, text, values):
            ids = tf.strings.unicode_decode(text, "UTF-8")
            ragged = tf.cast(ids, tf.float32) + tf.reduce_sum(values, 1)[:, None]
            return {
                "ids": ids.to_tensor(-1),
                "means": ragged.to_tensor(0),
                "n": tf.cast(ids.row_lengths(), tf.int32),
            }

    module = Module()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
    if declared:
        write_programs(path, {"serving_default": Letters()})


def test_a_savedmodel_declares_its_fields_and_the_server_keeps_to_them(tmp_path):
    path = tmp_path / "1"
    save_letters(path, declared=True)
    reference, batches = SavedModelBackend(path), []
    options = BatchOptions(workers=1, max_rows=16, delay_seconds=0.02)
    runtime = Runtime(batching=options)
    models = [ModelSettings("m", ModelLocation(path, {}, (1, path)))]

    def request(draw):
        rows = draw.choice([1, 1, 2, 3])
        texts = np.array([b"x" * draw.choice([0, 1, 5]) for _ in range(rows)], object)
        values = np.ones((rows, draw.choice([1, 4])), np.float32)
        return {"text": texts, "values": values}

    def asks(seed):
        draw = random.Random(seed)
        with client_of(server) as rest, Client(f"grpc://127.0.0.1:{server.grpc_port}", "m") as grpc:
            for _ in range(12):
                inputs = request(draw)
                want = reference.run(inputs)
                assert_same(grpc.predict(inputs), want)
                rows = [as_lists({n: a[i] for n, a in inputs.items()})
                        for i in range(len(inputs["text"]))]  # fmt: skip
                _, reply = post(rest, json.dumps({"instances": rows}))
                for i, row in enumerate(reply["predictions"]):
                    one = reference.run({name: array[i : i + 1] for name, array in inputs.items()})
                    assert row == as_lists({name: array[0] for name, array in one.items()})

    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as server:
        runner = server.runtime.manager.versions("m")[0].backend.runners["serving_default"]
        execute = runner.execute
        runner.execute = lambda encoded, timeout=None: (
            batches.append(len(encoded["text"])) or execute(encoded, timeout)
        )
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(asks, range(16)))
    assert max(batches) > 3, "no two requests were joined"


def test_a_savedmodel_that_declares_nothing_is_left_as_it_is(tmp_path):
    save_letters(tmp_path, declared=False)
    backend = SavedModelBackend(tmp_path)
    assert not backend.runners["serving_default"].fields
    found = backend.run(
        {"text": np.array([b"ab", b"a"], object), "values": np.zeros((2, 1), np.float32)}
    )
    assert found["ids"].tolist() == [[97, 98], [97, -1]]


def test_what_is_declared_wrongly_is_said_by_name(tmp_path):
    from serving.declared import PROGRAMS_FILE, read_programs, write_programs
    from serving.errors import ServingError

    program = Letters()
    program.fields = {"ids": Field(0, "lengths")}
    with pytest.raises(ServingError, match=r"'ids' has its lengths in 'lengths', which is no"):
        write_programs(tmp_path, {"serving_default": program})
    write_programs(tmp_path, {"serving_default": Letters()})
    found = read_programs(tmp_path)["serving_default"]
    assert found.fields == {**Letters.fields, "ids": Field(-1, ("n",)), "means": Field(0, ("n",))}
    for text in ("{", "[]", '{"a": {}}', '{"a": {"fields": {"x": {}}}}'):
        (tmp_path / PROGRAMS_FILE).write_text(text)
        with pytest.raises(ServingError, match=r"seqloom_programs.json cannot be read"):
            read_programs(tmp_path)
