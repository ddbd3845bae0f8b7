"""The gRPC port's HTTP/2: frames as no library sends them, and bounds that none should reach."""

import socket
import struct
import threading
import time

import grpc
import numpy as np
import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from live_server import DoublingBackend, runtime_of

from serving import protos
from serving.errors import ServingError
from serving.runtime import http2
from serving.runtime import http2_frames as h2
from serving.runtime.grpc_status import trailers
from serving.runtime.server import ServerOptions, running
from serving.tensors import fill_proto, to_array

PATH = "/tensorflow.serving.PredictionService/Predict"
LIMIT = 300_000


def serving(**options):
    backend = DoublingBackend()
    runtime, models = runtime_of([backend], max_body_bytes=LIMIT)
    options = ServerOptions(rest_port=None, grpc_port=0, **options)
    context = running(models, runtime, options)
    context.gate = backend.gate
    return context


@pytest.fixture(scope="module")
def live():
    context = serving()
    with context as server:
        server.gate = context.gate
        yield server


def message(values=((1.0,),)):
    request = protos.PredictRequest()
    request.model_spec.name = "m"
    fill_proto(request.inputs["x"], np.array(values, np.float32))
    return request.SerializeToString()


class Raw:
    """A connection by hand."""

    def __init__(self, server, window=2**20, settings=b""):
        self.socket = socket.create_connection(("127.0.0.1", server.grpc_port), timeout=20)
        self.file = self.socket.makefile("rb")
        self.encoder, self.decoder, self.number = Encoder(), Decoder(), -1
        window = struct.pack(">HI", h2.INITIAL_WINDOW, window)
        self.send(h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0, window + settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))

    def head(self, end=False, flags=h2.END_HEADERS, block=None, **more):
        """The first frame of the next call."""
        self.number += 2
        return h2.frame(h2.HEADERS, flags | end, self.number, block or self.block(**more))

    def block(self, path=PATH, kind="application/grpc", **more):
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
                  ("te", "trailers"), ("content-type", kind)]  # fmt: skip
        fields += [(name.replace("_", "-"), value) for name, value in more.items()]
        return self.encoder.encode(fields)

    def data(self, body, flags=h2.END_STREAM, compressed=0):
        return h2.frame(
            h2.DATA, flags, self.number, struct.pack(">BI", compressed, len(body)) + body
        )

    def frame(self, *kinds):
        """The next frame of these kinds: kind, flags, stream, payload."""
        while True:
            first = self.file.read(9)
            if not first:
                return None
            high, low, kind, flags, number = h2.FRAME_HEAD.unpack(first)
            payload = self.file.read(high << 8 | low)
            if not kinds or kind in kinds:
                return kind, flags, number, payload

    def answer(self):
        """Headers and trailers, and the messages, of the call that is answered next."""
        headers, body = {}, b""
        while (found := self.frame(h2.HEADERS, h2.DATA, h2.RESET)) is not None:
            kind, flags, _, payload = found
            if kind == h2.RESET:
                return {"reset": payload[-1]}, body
            if kind == h2.HEADERS:
                headers.update(self.decoder.decode(payload))
            else:
                body += payload
            if flags & h2.END_STREAM:
                return headers, body
        raise AssertionError("the connection was closed")

    def ask(self, body=None):
        self.send(self.head(), self.data(message() if body is None else body))
        return self.answer()

    def error(self):
        """The code that the connection ended with."""
        _, _, _, payload = self.frame(h2.GOAWAY)
        assert self.frame() is None
        return struct.unpack(">II", payload)[1]


def doubled(answer):
    headers, body = answer
    assert (headers[":status"], headers["grpc-status"]) == ("200", "0"), headers
    return to_array(protos.PredictResponse.FromString(body[5:]).outputs["y"]).tolist()


def test_a_call_byte_by_byte(live):
    with Raw(live) as raw:
        for one in raw.head() + raw.data(message()):
            raw.send(bytes([one]))
        assert doubled(raw.answer()) == [[2.0]]


def test_calls_side_by_side_whose_headers_are_known(live):
    with Raw(live) as raw:
        for round_ in range(3):  # in full, then by their places in the table
            for n in range(20):
                raw.send(raw.head(), raw.data(message([[n + round_]])))
            found = sorted(doubled(raw.answer())[0][0] for _ in range(20))
            assert found == [2.0 * (n + round_) for n in range(20)]
            raw.send(raw.head(user_agent=f"another{round_}"), raw.data(message()))
            assert doubled(raw.answer()) == [[2.0]]


def test_headers_and_data_in_parts_and_padded(live):
    with Raw(live) as raw:
        block, body = raw.block(), struct.pack(">BI", 0, len(message())) + message()
        padded = bytes([3, 0, 0, 0, 0, 16]) + block[:5] + b"\0\0\0"
        raw.send(
            raw.head(flags=h2.PADDED | h2.WITH_PRIORITY, block=padded),
            h2.frame(h2.CONTINUATION, 0, 1, block[5:9]),
            h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1, block[9:]),
            h2.frame(h2.DATA, h2.PADDED, 1, b"\x02" + body[:7] + b"\0\0"),
            h2.frame(h2.PRIORITY, 0, 1, b"\0\0\0\0\1"),
            h2.frame(99, 255, 7, b"of a kind that is not known"),
            h2.frame(h2.DATA, 0, 1, body[7:]),
            h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, raw.encoder.encode([])),
        )
        assert doubled(raw.answer()) == [[2.0]]


def test_an_answer_waits_for_room(live):
    with Raw(live, window=7) as raw:
        raw.send(raw.head(), raw.data(message([[1.0, 2.0, 3.0]])))
        got = raw.frame(h2.DATA)[-1]
        assert len(got) == 7
        raw.send(h2.frame(h2.PING, 0, 0, b"12345678"))
        assert raw.frame(h2.PING)[1::2] == (h2.ACK, b"12345678")  # and nothing before it
        raw.send(h2.frame(h2.WINDOW, 0, 1, struct.pack(">I", 5)))
        got += raw.frame(h2.DATA)[-1]
        assert len(got) == 12
        more = struct.pack(">HI", h2.INITIAL_WINDOW, 1000)  # of the streams that are open, too
        raw.send(h2.frame(h2.SETTINGS, 0, 0, more))
        headers, rest = raw.answer()
        response = protos.PredictResponse.FromString((got + rest)[5:])
        assert to_array(response.outputs["y"]).tolist() == [[2.0, 4.0, 6.0]]


def test_room_of_the_connection_comes_back(live):
    body = message(np.ones((1, 60_000), np.float32))  # of six times the window of a connection
    with grpc.insecure_channel(f"127.0.0.1:{live.grpc_port}") as channel:
        predict = channel.unary_unary(PATH)
        for _ in range(80):
            got = protos.PredictResponse.FromString(predict(body, timeout=60))
    assert to_array(got.outputs["y"]).sum() == 120_000


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"path": "/a/b"}, "12", "Method not found!"),
        ({"grpc_timeout": "5x"}, "13", "The timeout of the call is none."),
        ({"grpc_timeout": "123456789m"}, "13", "The timeout of the call is none."),
    ],
)
def test_calls_that_are_none(live, fields, status, text):
    with Raw(live) as raw:
        raw.send(raw.head(**fields), raw.data(message()))
        headers, body = raw.answer()
        assert (headers["grpc-status"], headers["grpc-message"], body) == (status, text, b"")
        assert doubled(raw.ask()) == [[2.0]]


def test_a_browser_is_told_by_http(live):
    with Raw(live) as raw:
        raw.send(raw.head(kind="text/html"), raw.data(message()))
        assert raw.answer()[0] == {":status": "415"}


@pytest.mark.parametrize("unit", ["1H", "2M", "90S", "90000m", "9000000u", "99999999n"])
def test_timeouts(live, unit):
    with Raw(live) as raw:
        raw.send(raw.head(grpc_timeout=unit), raw.data(message()))
        assert doubled(raw.answer()) == [[2.0]]
        raw.send(raw.head(grpc_timeout="0n"), raw.data(message()))
        assert raw.answer()[0]["grpc-status"] == "4"


@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [
        (b"", "identity", "13"),
        (b"\0\0\0\0\x05abc", "identity", "13"),
        (b"\0\0\0\0\1a\0\0\0\0\1b", "identity", "13"),
        (b"\0" + struct.pack(">I", LIMIT + 1), "identity", "8"),
        (b"\0" * (LIMIT + 6), "identity", "13"),
        (b"\1\0\0\0\1a", "gzip", "13"),
        (b"\1\0\0\0\1a", "snappy", "12"),
        (b"\1\0\0\0\1a", "identity", "12"),
    ],
)
def test_messages_that_are_none(live, data, encoding, status):
    with Raw(live) as raw:
        raw.send(raw.head(grpc_encoding=encoding))
        parts = [data[i : i + 16_000] for i in range(0, len(data), 16_000)] or [b""]
        for part in parts:
            raw.send(h2.frame(h2.DATA, part is parts[-1], raw.number, part))
        assert raw.answer()[0]["grpc-status"] == status
        assert doubled(raw.ask()) == [[2.0]]


@pytest.mark.parametrize("kind", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages(live, kind):
    body = message(np.ones((1, 5_000), np.float32))
    with grpc.insecure_channel(f"127.0.0.1:{live.grpc_port}", compression=kind) as channel:
        got = protos.PredictResponse.FromString(channel.unary_unary(PATH)(body, timeout=60))
        assert to_array(got.outputs["y"]).sum() == 10_000
        bomb = message(np.ones((1, 200_000), np.float32))
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(PATH)(bomb, timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


WINDOW_OF_ALL = struct.pack(">I", h2.LARGEST_WINDOW)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", h2.PROTOCOL_ERROR),
        (h2.frame(h2.PING, 0, 0, b"1"), h2.FRAME_SIZE_ERROR),
        (h2.frame(h2.SETTINGS, 0, 0, b"1"), h2.FRAME_SIZE_ERROR),
        (h2.frame(h2.SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"), h2.FLOW_CONTROL_ERROR),
        (h2.frame(h2.WINDOW, 0, 0, WINDOW_OF_ALL), h2.FLOW_CONTROL_ERROR),
        (h2.frame(h2.DATA, 0, 0, b""), h2.PROTOCOL_ERROR),
        (h2.frame(h2.DATA, 0, 1, b""), h2.PROTOCOL_ERROR),
        (h2.frame(h2.RESET, 0, 1, b"\0\0\0\0"), h2.PROTOCOL_ERROR),
        (h2.frame(h2.PUSH, 0, 1, b""), h2.PROTOCOL_ERROR),
        (h2.frame(h2.CONTINUATION, 0, 1, b""), h2.PROTOCOL_ERROR),
        (h2.frame(h2.HEADERS, 4, 2, b"\x82"), h2.PROTOCOL_ERROR),
        (h2.frame(h2.HEADERS, 4, 1, b"\xff\xff\xff"), h2.COMPRESSION_ERROR),
        (h2.frame(h2.HEADERS, 12, 1, b"\x09\x82"), h2.PROTOCOL_ERROR),
        (h2.frame(h2.HEADERS, 0, 1, b"\x82") + h2.frame(h2.PING, 0, 0, b"8" * 8),
         h2.PROTOCOL_ERROR),
        (h2.frame(h2.HEADERS, 0, 1, b"\x82") + h2.frame(h2.CONTINUATION, 0, 1, b"\x82" * 9_000) * 9,
         h2.CALM),
        (h2.frame(h2.HEADERS, 4, 3, b"\x83") + h2.frame(h2.HEADERS, 4, 1, b"\x83"),
         h2.PROTOCOL_ERROR),
        (h2.frame(h2.PING, 0, 0, b"8" * (h2.LARGEST_FRAME + 1)), h2.FRAME_SIZE_ERROR),
    ],
)  # fmt: skip
def test_who_breaks_the_protocol_is_cut_off(live, sent, code):
    with Raw(live) as raw:
        if sent.startswith(b"GET"):
            with socket.create_connection(("127.0.0.1", live.grpc_port), timeout=20) as plain:
                plain.sendall(sent)
                raw.file = plain.makefile("rb")
                assert raw.error() == code
            return
        raw.send(sent)
        assert raw.error() == code


def test_headers_beyond_the_limit(live):
    with Raw(live) as raw:
        fields = {f"name{n}": "v" * 1000 for n in range(70)}
        block = raw.block(**fields)
        raw.send(raw.head(flags=0, block=block[:9_000]))
        for start in range(9_000, len(block), 9_000):
            last = start + 9_000 >= len(block)
            flags = h2.END_HEADERS if last else 0
            raw.send(h2.frame(h2.CONTINUATION, flags, 1, block[start : start + 9_000]))
        assert raw.error() in (h2.CALM, h2.COMPRESSION_ERROR)


def test_a_call_that_is_reset_leaves_the_queue(live):
    live.gate.clear()
    try:
        with Raw(live) as raw:
            for _ in range(30):
                raw.send(raw.head(), raw.data(message()))
                raw.send(h2.frame(h2.RESET, 0, raw.number, struct.pack(">I", 8)))
            raw.send(h2.frame(h2.DATA, 0, 1, b"late"))
            raw.send(raw.head(), raw.data(message()))
            live.gate.set()
            assert doubled(raw.answer()) == [[2.0]]
    finally:
        live.gate.set()


def test_more_streams_than_there_may_be_are_refused():
    context = serving(grpc_arguments=(("grpc.max_concurrent_streams", 3),))
    with context as server, Raw(server) as raw:
        context.gate.clear()
        for _ in range(5):
            raw.send(raw.head(), raw.data(message()))
        assert [raw.answer()[0] for _ in range(2)] == [{"reset": h2.REFUSED_STREAM}] * 2
        context.gate.set()
        assert [doubled(raw.answer()) for _ in range(3)] == [[[2.0]]] * 3


def test_the_end_lets_calls_finish():
    context = serving(drain_seconds=20)
    with context as server, Raw(server) as raw, Raw(server) as idle:
        assert doubled(raw.ask()) == [[2.0]]
        context.gate.clear()
        raw.send(raw.head(), raw.data(message()))
        time.sleep(0.2)
        server.stop()
        assert idle.error() == h2.NO_ERROR
        _, _, _, payload = raw.frame(h2.GOAWAY)
        assert struct.unpack(">II", payload) == (3, h2.NO_ERROR)
        raw.send(raw.head(), raw.data(message()))  # which nobody looks at
        context.gate.set()
        assert doubled(raw.answer()) == [[2.0]]
        assert raw.frame() is None


@pytest.mark.parametrize("name", ["grpc.max_connection_age_ms", "grpc.max_connection_idle_ms"])
def test_connections_end_after_a_while(name):
    with serving(grpc_arguments=((name, 300),)) as server, Raw(server) as raw:
        assert doubled(raw.ask()) == [[2.0]]
        assert raw.error() == h2.NO_ERROR


def test_a_unix_socket(tmp_path):
    path = tmp_path / "socket"
    with serving(grpc_socket=str(path)), grpc.insecure_channel(f"unix:{path}") as channel:
        got = protos.PredictResponse.FromString(channel.unary_unary(PATH)(message()))
        assert to_array(got.outputs["y"]).tolist() == [[2.0]]
    absent = tmp_path / "absent" / "socket"
    with pytest.raises(ServingError, match="grpc_socket_path"), serving(grpc_socket=str(absent)):
        pass


def test_a_connection_on_which_nobody_speaks_is_closed(monkeypatch):
    monkeypatch.setattr(http2, "GREETING_SECONDS", 0.2)
    with serving() as server, Raw(server) as raw:
        with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=20) as silent:
            assert silent.makefile("rb").read()[3] == h2.SETTINGS
        assert doubled(raw.ask()) == [[2.0]]


def test_a_port_that_is_not_read_holds_up_nobody(live):
    body = message(np.ones((1, 60_000), np.float32))
    with Raw(live, window=2**30) as greedy:
        greedy.send(h2.frame(h2.WINDOW, 0, 0, struct.pack(">I", 2**30)))

        def ask():
            for _ in range(60):
                greedy.send(greedy.head(), *parts(greedy, body))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        with Raw(live) as raw:
            for _ in range(5):
                assert doubled(raw.ask()) == [[2.0]]
        for _ in range(60):
            assert greedy.answer()[0]["grpc-status"] == "0"
        thread.join()


def parts(raw, body):
    whole = struct.pack(">BI", 0, len(body)) + body
    cuts = range(0, len(whole), h2.LARGEST_FRAME)
    return [
        h2.frame(h2.DATA, i == cuts[-1], raw.number, whole[i : i + h2.LARGEST_FRAME]) for i in cuts
    ]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300))
def test_texts_of_errors_survive(text):
    block = dict(Decoder().decode(trailers("INTERNAL", text)))
    assert block["grpc-status"] == "13"
    if text:
        from urllib.parse import unquote

        wanted = text.encode("utf-8", "replace").decode()
        assert unquote(block["grpc-message"]) == wanted
