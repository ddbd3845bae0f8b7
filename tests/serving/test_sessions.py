"""Streams: equal to the whole sequence, apart from each other, bounded, over REST and gRPC."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from live_server import runtime_of

from serving.client import Client
from serving.errors import RequestError
from serving.runtime.batching import BatchOptions
from serving.runtime.loading import ModelLocation
from serving.runtime.metrics import Metrics
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.runtime import Runtime
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running
from serving.runtime.sessions import SessionLimits, Sessions
from serving.runtime.signatures import STEP_SIGNATURE


class Running(SignatureRunner):
    """sum, and the number of rows before: a model of one step."""

    joins, states = True, {"s": ()}

    def __init__(self):
        number = {"dtype": "float32", "shape": [-1]}
        super().__init__(
            {"inputs": {"x": number, "s": number}, "outputs": {"sum": number, "s_next": number}}
        )

    def encode(self, inputs):
        if set(inputs) != {"x", "s"}:
            raise RequestError("x, please")
        return inputs

    def execute(self, core, timeout=None):
        total = core["x"] + core["s"]
        return {"sum": total, "s_next": total}


class StepBackend(Backend):
    name, version = "m", 4

    def __init__(self):
        super().__init__({STEP_SIGNATURE: Running()})


@pytest.fixture
def start():
    from contextlib import ExitStack

    with ExitStack() as stack:

        def make(**limits):
            runtime, models = runtime_of([StepBackend()], BatchOptions(workers=1))
            runtime.sessions.limits = SessionLimits(**limits)
            options = ServerOptions(rest_port=0, grpc_port=0)
            server = stack.enter_context(running(models, runtime, options))
            urls = f"http://127.0.0.1:{server.rest_port}", f"grpc://127.0.0.1:{server.grpc_port}"
            return server, [stack.enter_context(Client(url, "m", retries=0)) for url in urls]

        yield make


def sums(stream, values):
    return [float(stream.step({"x": [value]})["sum"][0]) for value in values]


def test_each_stream_has_its_own_state_on_both_endpoints(start):
    server, clients = start()
    streams = [client.open() for client in clients for _ in range(8)]
    rows = np.random.default_rng(0).integers(0, 9, (len(streams), 20)).astype(np.float32)
    with ThreadPoolExecutor(len(streams)) as pool:
        found = list(pool.map(sums, streams, rows))
    np.testing.assert_array_equal(found, rows.cumsum(1))
    assert [stream.close() for stream in streams] == [20] * len(streams)
    assert server.runtime.sessions._bytes == 0
    assert ":seqloom:sessions 0\n" in server.runtime.metrics.text().decode()


def test_what_goes_wrong_leaves_the_stream_as_it_was(start):
    _, clients = start()
    for client in clients:
        with client.open() as stream:
            assert sums(stream, [1, 2]) == [1, 3]
            for wrong in ({"y": [1.0]}, {"x": [1.0, 2.0]}):
                with pytest.raises(RequestError):
                    stream.step(wrong)
            assert sums(stream, [4]) == [7]
        with pytest.raises(RequestError, match="no such stream") as gone:
            stream.step({"x": [1.0]})
        assert gone.value.code == "NOT_FOUND"


def test_a_state_that_the_client_sends_is_refused(start):
    _, (_, client) = start()
    with client.open() as stream, pytest.raises(RequestError, match="The server keeps s"):
        stream.step({"x": [1.0], "s": [100.0]})


def test_streams_of_several_series(start):
    _, clients = start()
    for client in clients:
        with client.open() as stream:
            assert stream.step({"x": [1.0, 10.0]})["sum"].tolist() == [1, 10]
            assert stream.step({"x": [2.0, 20.0]})["sum"].tolist() == [3, 30]


def test_idle_streams_expire_and_bounds_hold(start):
    server, (rest, grpc) = start(idle_seconds=300.0, max_sessions=2)
    first, second = rest.open(), grpc.open()
    with pytest.raises(RequestError, match="2 streams are open, which is the limit") as full:
        grpc.open()
    assert full.value.code == "RESOURCE_EXHAUSTED"
    assert sums(first, [1]) == [1]
    for session in server.runtime.sessions._open.values():
        session.used -= 301.0
    for stream in (first, second):
        with pytest.raises(RequestError, match="no such stream"):
            stream.step({"x": [1.0]})
    rest.open().close()
    _, (rest, _) = start(max_bytes=40)
    with rest.open() as stream, pytest.raises(RequestError, match="states of all streams"):
        stream.step({"x": [0.0] * 11})


def test_streams_are_forgotten_in_the_order_of_their_last_use():
    runtime = SimpleNamespace(metrics=Metrics(), run=run_sum)
    sessions = Sessions(runtime, SessionLimits(idle_seconds=60))
    servable = SimpleNamespace(name="m", version=1, backend=StepBackend())
    first, second, busy = (sessions.open(servable) for _ in range(3))

    async def use():
        for name in (first, second, busy):
            sessions._open[name].used -= 50
        await sessions.step(sessions.find(first), servable, {"x": np.ones(1, np.float32)}, None)
        for name in (second, busy):
            sessions._open[name].used -= 20
        async with sessions._open[busy].turn:  # in the middle of a step
            sessions.expire()

    asyncio.run(use())
    assert list(sessions._open) == [first, busy]
    for session in sessions._open.values():
        session.used -= 70
    sessions.expire()
    assert not sessions._open
    assert sessions._bytes == 0


async def run_sum(servable, runner, inputs, deadline):
    return runner.execute(inputs)


def test_a_stream_ends_with_its_version(start):
    server, (rest, _) = start()
    stream = rest.open()
    assert sums(stream, [1]) == [1]
    server.runtime.manager.versions("m")[0].unload()
    with pytest.raises(RequestError, match=r"Specific\(m, 4\)"):
        stream.step({"x": [1.0]})


def test_models_without_steps_have_no_streams():
    backend = StepBackend()
    backend.runners[STEP_SIGNATURE].states = {}
    runtime, models = runtime_of([backend])
    with (
        running(models, runtime, ServerOptions(rest_port=0)) as server,
        Client(f"http://127.0.0.1:{server.rest_port}", "m") as client,
        pytest.raises(RequestError, match="cannot be streamed"),
    ):
        client.open()
    assert Runtime().sessions.limits == SessionLimits()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel of one step: the sum so far, and a vector of two that turns."""
    import tensorflow as tf

    class Step(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], name="x"),
                                      tf.TensorSpec([None], name="s"),
                                      tf.TensorSpec([None, 2], name="turn")])  # fmt: skip
        def step(self, x, s, turn):
            total = s + x
            turned = tf.reverse(turn, [1]) + tf.stack([x, tf.zeros_like(x)], 1)
            return {"sum": total, "s_next": total, "turn_next": turned}

    module, path = Step(), tmp_path_factory.mktemp("step") / "3"
    signatures = {"step": module.step, "serving_default": module.step}
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def test_a_savedmodel_with_states_is_streamed(saved):
    models = [ModelSettings("m", ModelLocation(saved, {}, (3, saved)))]
    runtime = Runtime(batching=BatchOptions(workers=1, delay_seconds=0.002))
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as server:
        urls = f"http://127.0.0.1:{server.rest_port}", f"grpc://127.0.0.1:{server.grpc_port}"
        with Client(urls[0], "m") as rest, Client(urls[1], "m") as grpc:
            assert sorted(grpc.signatures()["step"]["inputs"]) == ["s", "turn", "x"]
            streams = [client.open() for client in (rest, grpc) for _ in range(8)]
            rows = np.random.default_rng(0).integers(0, 9, (len(streams), 20)).astype(np.float32)
            with ThreadPoolExecutor(len(streams)) as pool:
                found = list(pool.map(sums, streams, rows))
            np.testing.assert_array_equal(found, rows.cumsum(1))
            with pytest.raises(RequestError, match="The server keeps s"):
                streams[-1].step({"x": [1.0], "s": [0.0]})
            assert [stream.close() for stream in streams] == [20] * len(streams)
            # The same by a client that carries the states itself.
            states = {"s": np.zeros(1, np.float32), "turn": np.zeros((1, 2), np.float32)}
            for value in (1.0, 2.0, 3.0):
                reply = grpc.predict({"x": [value], **states}, "step")
                states = {name: reply[f"{name}_next"] for name in states}
            assert (states["s"].tolist(), states["turn"].tolist()) == ([6.0], [[4.0, 2.0]])


def test_a_model_whose_default_alone_has_states_has_no_streams(tmp_path):
    import tensorflow as tf

    class Step(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], name="s")])
        def step(self, s):
            return {"s_next": s + 1}

    module = Step()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": module.step})
    models = [ModelSettings("m", ModelLocation(tmp_path, {"": tmp_path}))]
    with (
        running(models, Runtime(), ServerOptions(rest_port=0)) as server,
        Client(f"http://127.0.0.1:{server.rest_port}", "m") as client,
        pytest.raises(RequestError, match="cannot be streamed"),
    ):
        client.open()
