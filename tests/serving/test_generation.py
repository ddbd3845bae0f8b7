"""Texts streamed over both protocols: the same as whole, whoever reads slowly or goes away."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from live_server import DoublingBackend, runtime_of
from writing_models import ENCODER, END, ChainCore, alone, serving, until

from serving.client import Client
from serving.client_generation import Piece, rest_events
from serving.errors import RequestError
from serving.runtime.generation import GenerationLimits
from serving.runtime.server import ServerOptions, running


@pytest.fixture(scope="module")
def server():
    with serving() as live:
        yield live


@pytest.fixture(params=["rest", "grpc"])
def client(server, request):
    with client_of(server, request.param) as found:
        yield found


def client_of(server, protocol, **options):
    port = server.rest_port if protocol == "rest" else server.grpc_port
    scheme = "http" if protocol == "rest" else "grpc"
    return Client(f"{scheme}://127.0.0.1:{port}", "m", **{"retries": 0, **options})


def post(server, body, path="/v1/models/m:generate"):
    with httpx.Client(timeout=60) as http:
        return http.post(f"http://127.0.0.1:{server.rest_port}{path}", content=json.dumps(body))


def test_streamed_and_whole_are_the_same(client):
    texts, settings = ["ab ", "", "é"], {"seed": [3, 4, 5], "temperature": 0.9, "max_tokens": 60}
    whole = client.generate(texts, **settings)
    stream = client.generate(texts, stream=True, **settings)
    pieces = list(stream)
    for i, text in enumerate(texts):
        expected, score = alone(text, temperature=0.9, max_tokens=60, seed=3 + i)
        mine = [piece for piece in pieces if piece.index == i]
        done = stream.texts[i]
        assert whole["continuation"][i].decode() == done.text == expected
        assert "".join(piece.text for piece in mine) == expected
        assert done.log_probability == pytest.approx(score, abs=1e-3)
        assert sum(piece.log_probability for piece in mine) == pytest.approx(score, abs=1e-2)
        assert [piece.token == END for piece in mine[-1:]] == [done.finish_reason == "end"]
        assert done.tokens == sum(piece.token != END for piece in mine)
        assert ENCODER.decode([piece.token for piece in mine]) == expected


@pytest.mark.parametrize("settings", [
    {"temperature": 0.0}, {"top_k": 2, "seed": 1}, {"top_p": 0.5, "seed": 2},
    {"repetition_penalty": 1.5, "seed": 3}, {"max_tokens": 1}, {"stop": [". ", "😀"], "seed": 4},
])  # fmt: skip
def test_settings_are_heeded(client, settings):
    stream = client.generate("ab", stream=True, **settings)
    text = "".join(piece.text for piece in stream)
    joined = "\x1f".join(settings["stop"]) if "stop" in settings else ""
    assert text == alone("ab", **{**settings, "stop": joined})[0] == stream.texts[0].text
    assert text == client.generate("ab", **settings)["continuation"][0].decode()


def test_stop_strings_end_a_text(client):
    stream = client.generate("ab", stream=True, stop="😀", seed=6, max_tokens=1000)
    text = "".join(piece.text for piece in stream)
    assert "😀" not in text
    assert {stream.texts[0].finish_reason} <= {"stop", "end"}


@pytest.mark.parametrize(("settings", "message"), [
    ({"temperature": -0.5}, "temperature is -0.5; it must be from 0 to 100"),
    ({"top_p": 2.0}, "top_p is 2.0; it must be from 0 to 1"),
    ({"top_k": -1}, "top_k is -1"),
    ({"max_tokens": 0}, "max_tokens is 0; it must be from 1 to 100000"),
    ({"max_tokens": 1_000_000}, "max_tokens is 1000000"),
    ({"seed": [1, 2]}, "seed has 2 values for 1 rows"),
    ({"warmth": 1.0}, "warmth"),
    ({"top_k": 0.5}, "no int64"),
])  # fmt: skip
def test_bad_settings_are_one_sentence(client, settings, message):
    for stream in (True, False):
        with pytest.raises(RequestError, match=message) as refused:
            client.generate("a", stream=stream, **settings)
        assert refused.value.code == "INVALID_ARGUMENT"


def test_events_on_the_wire(server):
    reply = post(server, {"inputs": "ab", "stream": True})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["cache-control"] == "no-cache"
    events = [json.loads(part.removeprefix("data: ")) for part in reply.text.split("\n\n")[:-1]]
    assert [list(event) for event in events[:-1]] == [
        ["index", "token", "text", "log_probability"]
    ] * (len(events) - 1)
    text, score = alone("ab")
    assert events[-1]["text"] == text == "".join(event["text"] for event in events[:-1])
    assert events[-1]["log_probability"] == pytest.approx(score, abs=1e-3)
    assert list(events[-1]) == ["index", "finish_reason", "text", "log_probability", "tokens"]


def test_forms_of_a_request(server):
    text = alone("ab", seed=7, stop="a")[0]
    rows = [{"text": "ab", "seed": 7, "stop": ["a"]}]
    columns = {"text": ["ab"], "seed": 7, "stop": [["a"]]}
    found = [
        post(server, {"instances": rows}).json()["predictions"][0],
        {n: value[0] for n, value in post(server, {"inputs": columns}).json()["outputs"].items()},
    ]
    assert [one["continuation"] for one in found] == [text] * 2
    # To predict a list is one value for each row, as of any input.
    body = {"instances": rows, "signature_name": "generate"}
    assert post(server, body, "/v1/models/m:predict").status_code == 400
    for body in ({"instances": rows, "stream": True}, {"inputs": columns, "stream": True}):
        reply = post(server, body, "/v1/models/m/versions/1:generate")
        assert list(rest_events(reply.content.splitlines()))[-1].text == text


@pytest.mark.parametrize(("body", "status", "message"), [
    ({"inputs": {"text": ["a"], "warmth": 1}, "stream": True}, 400, "There is no input warmth"),
    ({"instances": [{"text": "a", "warmth": 1}]}, 400, "warmth"),
    ({"inputs": "a", "stream": "yes"}, 400, "'stream' must be true or false"),
    ({"inputs": {"text": ["a"], "stop": [["a", 1]]}}, 400, "stop"),
    ({"inputs": "a", "signature_name": "serving_default"}, 400, "it writes no text"),
    ({}, 400, "Missing 'inputs' or 'instances' key"),
    ({"inputs": {"text": [1]}, "stream": True}, 400, "string"),
    ({"inputs": {"text": [["a"]]}, "stream": True}, 400, "Input text takes shape [-1]"),
    ({"instances": [{"text": None}], "stream": True}, 400, ""),
    ({"inputs": {"text": ["a"], "seed": []}, "stream": True}, 400, "seed has 0 values"),
    ({"inputs": {"text": ["a"], "max_tokens": 1.5}, "stream": True}, 400, "max_tokens"),
    ({"inputs": {"text": []}, "stream": True}, 200, ""),
    ({"inputs": {"text": {"b64": "//8="}}, "stream": True}, 200, "finish_reason"),
    ({"inputs": "a" * 2000, "stream": True}, 200, ""),
])  # fmt: skip
def test_bad_requests(server, body, status, message):
    reply = post(server, body)
    assert reply.status_code == status
    assert message in reply.text


def test_a_model_that_writes_nothing_says_so():
    runtime, models = runtime_of([DoublingBackend()])
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as server:
        for protocol in ("rest", "grpc"):
            with client_of(server, protocol) as client:
                with pytest.raises(RequestError, match="writes no text") as refused:
                    client.generate("a", stream=True)
                assert refused.value.code in ("FAILED_PRECONDITION", "INVALID_ARGUMENT")
        with httpx.Client() as http:
            url = f"http://127.0.0.1:{server.rest_port}/v1/models/m:generate"
            body = {"inputs": [[1.0]], "signature_name": "serving_default", "stream": True}
            assert "token by token" in http.post(url, json=body).text


def test_connections_are_kept(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    sockets = set()
    for seed in range(3):
        body = {"inputs": {"text": ["ab"], "seed": seed}, "stream": True}
        connection.request("POST", "/v1/models/m:generate", json.dumps(body))
        sockets.add(connection.sock.getsockname())
        events = list(rest_events(connection.getresponse().read().splitlines()))
        assert events[-1].text == alone("ab", seed=seed)[0]
    assert len(sockets) == 1
    connection.close()


def raw_stream(server, buffer=4096, **settings):
    """A socket that has asked for a stream and read nothing."""
    inputs = {"text": ["ab"], **settings}
    body = json.dumps({"inputs": inputs, "stream": True}).encode()
    made = socket.create_connection(("127.0.0.1", server.rest_port))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    head = f"POST /v1/models/m:generate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    made.sendall(head.encode() + body)
    return made


def idle(server):
    scheduler = server.scheduler
    return not scheduler._open and not scheduler._owner and not len(scheduler._running)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_who_hangs_up_leaves_at_once(protocol):
    with serving(ChainCore(0.001, endless=True)) as server, client_of(server, protocol) as client:
        streams = [client.generate("a", stream=True, max_tokens=100_000) for _ in range(5)]
        for stream in streams:
            assert isinstance(next(stream), Piece)
        assert len(server.scheduler._running) == 5
        for stream in streams:
            stream.close()
        until(lambda: idle(server))


def test_a_slow_reader_slows_nobody_and_reads_all_in_the_end():
    # More than the buffers of two sockets and of the server hold.
    rows, count = 32, 1500
    with serving(ChainCore(endless=True), GenerationLimits(max_unread=64)) as server:
        slow = raw_stream(server, 2**16, text=["ab"] * rows, max_tokens=count)
        until(lambda: any(g.parked is not None for g in server.scheduler._open), 60)
        with client_of(server, "grpc") as client:
            fast = client.generate("c", stream=True, max_tokens=300)
            assert len(list(fast)) == 300
        (paused,) = server.scheduler._open
        assert len(paused.unread) < 64 + 3 * rows
        assert paused.left == rows
        slow.settimeout(60)
        received = [b""]
        while not received[-1].endswith(b"0\r\n\r\n"):
            received.append(slow.recv(2**20))
        slow.close()
        assert b"".join(received).count(b'"token"') == rows * count
        until(lambda: idle(server))


def test_what_is_never_read_is_ended():
    limits = GenerationLimits(max_unread=64, idle_seconds=0.2)
    with serving(ChainCore(endless=True), limits) as server:
        left = raw_stream(server, 2**16, text=["ab"] * 32, max_tokens=10_000)
        until(lambda: any(g.parked is not None for g in server.scheduler._open), 60)
        until(lambda: idle(server))
        left.settimeout(20)
        received = read_on(left)  # cut off, not left to be read some day
        assert not received.endswith(b"0\r\n\r\n")
        assert received.count(b'"token"') < 32 * 10_000
        left.close()


@pytest.mark.slow
def test_what_is_never_read_is_ended_over_grpc_too():
    limits = GenerationLimits(max_unread=64, idle_seconds=0.2)
    with serving(ChainCore(endless=True), limits) as server, client_of(server, "grpc") as client:
        stream = client.generate(["ab"] * 32, stream=True, max_tokens=100_000)
        until(lambda: any(g.parked is not None for g in server.scheduler._open), 60)
        until(lambda: idle(server))
        with pytest.raises(RequestError, match=r"Nothing was read for 0.2 s\."):
            list(stream)


def test_no_texts(client):
    assert list(client.generate([], stream=True)) == []


def read_on(connection):
    found = []
    try:
        while part := connection.recv(2**20):
            found.append(part)
    except ConnectionError:
        pass
    return b"".join(found)


@pytest.mark.slow
def test_a_thousand_streams_opened_and_left():
    with serving(ChainCore(0.001, endless=True)) as server:
        streams = [raw_stream(server, max_tokens=10_000, seed=i) for i in range(1000)]
        until(lambda: len(server.scheduler._owner) == 1000, 60)
        assert len(server.scheduler._running) <= 256
        with client_of(server, "rest") as client:  # others are answered meanwhile
            assert len(list(client.generate("a", stream=True, max_tokens=3))) == 3
        for stream in streams:
            stream.close()
        until(lambda: idle(server), 60)
        with client_of(server, "grpc") as client:
            assert len(list(client.generate("a", stream=True, max_tokens=3))) == 3


def test_too_many_texts_are_refused_over_both_protocols():
    core = ChainCore(0.001, endless=True)
    with (
        serving(core, GenerationLimits(max_texts=2)) as server,
        client_of(server, "rest") as rest,
        client_of(server, "grpc") as grpc,
    ):
        held = rest.generate(["a", "b"], stream=True, max_tokens=100_000)
        next(held)
        with pytest.raises(RequestError, match="3 texts would be written at once") as full:
            grpc.generate("c", stream=True)
        assert full.value.code == "RESOURCE_EXHAUSTED"
        assert post(server, {"inputs": "c", "stream": True}).status_code == 503
        assert post(server, {"inputs": "c"}).status_code == 503
        held.close()
        until(lambda: idle(server))
        assert len(list(grpc.generate("c", stream=True, max_tokens=2))) == 2


def test_long_texts_do_not_block_short_ones():
    with (
        serving(ChainCore(0.001, endless=True)) as server,
        client_of(server, "rest") as client,
        ThreadPoolExecutor(8) as pool,
    ):
        long = [pool.submit(client.generate, "a", max_tokens=1000) for _ in range(8)]
        until(lambda: len(server.scheduler._running) == 8)
        client.generate("b", max_tokens=3)
        assert not any(one.done() for one in long)
        assert {len(one.result()["continuation"]) for one in long} == {1}


def test_an_error_in_mid_stream_is_the_last_event():
    core = ChainCore(endless=True)
    core.fail_at = 20
    with serving(core) as server:
        reply = post(server, {"inputs": "ab", "stream": True})
        last = reply.text.rstrip().rpartition("\n\n")[2]
        assert last.startswith("event: error\ndata: ")
        found = json.loads(last.partition("data: ")[2])
        assert found["code"] == "INTERNAL"
        assert "NaN" in found["error"]
        for protocol in ("rest", "grpc"):
            with client_of(server, protocol) as client:
                stream = client.generate("ab", stream=True)
                for _ in range(17):
                    next(stream)
                with pytest.raises(RequestError, match="NaN") as failed:
                    list(stream)
                assert failed.value.code == "INTERNAL"
        until(lambda: idle(server))


def test_a_version_is_unloaded_after_its_streams(server):
    with serving(ChainCore(0.001, endless=True)) as live, client_of(live, "grpc") as client:
        stream = client.generate("a", stream=True, max_tokens=400)
        next(stream)
        (servable,) = live.runtime.manager.versions("m")
        unloading = threading.Thread(target=servable.unload)
        unloading.start()
        with pytest.raises(RequestError):
            client.generate("a", stream=True)
        assert len(list(stream)) == 399
        unloading.join(20)
        assert not unloading.is_alive()


def test_the_server_that_ends_answers_running_streams_first():
    with serving(ChainCore(0.001, endless=True)) as server:
        clients = [client_of(server, protocol) for protocol in ("rest", "grpc")]
        streams = [client.generate("a", stream=True, max_tokens=300) for client in clients]
        for stream in streams:
            next(stream)
        server.stop()
        assert [len(list(stream)) for stream in streams] == [299, 299]
    for client in clients:
        client.close()


def test_a_token_is_asked_for_everywhere():
    with serving(token="secret") as server:
        for protocol in ("rest", "grpc"):
            with client_of(server, protocol) as client, pytest.raises(RequestError) as refused:
                client.generate("a", stream=True)
            assert refused.value.code == "UNAUTHENTICATED"
            with client_of(server, protocol, token="secret") as client:
                assert list(client.generate("a", stream=True, max_tokens=2))


def test_counters():
    with serving(ChainCore(0.002, endless=True)) as server, client_of(server, "rest") as client:
        stream = client.generate(["a"] * 3, stream=True, max_tokens=1000)
        next(stream)
        time.sleep(1.2)
        text = server.runtime.metrics.text().decode()
        assert ':seqloom:generation_texts{model_name="m",state="running"} 3\n' in text
        rate = float(text.partition(":seqloom:generation_tokens_per_second{")[2].split()[1])
        assert rate > 0
        stream.close()
        until(lambda: idle(server))
        until(lambda: b'state="running"} 0\n' in server.runtime.metrics.text())
        text = server.runtime.metrics.text().decode()
        tokens, steps = (
            int(text.partition(f":seqloom:generation_{name}{{")[2].split()[1])
            for name in ("tokens", "steps")
        )
        assert 2 * steps < tokens <= 3 * steps
        assert ':request_count{model_name="m",status="OK"}' in text


def test_arrays_may_be_settings(client):
    found = client.generate(["a", "b"], max_tokens=np.array([1, 2]), temperature=0)
    assert len(found["continuation"]) == 2
