"""Tokens, certificates and bounds; and the client's side of them."""

import subprocess

import grpc
import httpx
import numpy as np
import pytest
from live_server import DoublingBackend, runtime_of

from serving import protos
from serving.client import Client
from serving.errors import RequestError, ServingError
from serving.runtime.server import Server, ServerOptions, running
from serving.runtime.sockets import Tls


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and a server and a client that it signed."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
        assert not done.returncode, done.stderr

    try:
        openssl("version")
    except FileNotFoundError:
        pytest.skip("openssl is not installed: it makes the certificates")
    pair = "-newkey rsa:2048 -nodes -keyout {0}.key -subj /CN={0} -out {0}.{1}"
    openssl("req", "-x509", "-days", "2", *pair.format("ca", "pem").split())
    (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in ("server", "client"):
        openssl("req", *pair.format(name, "csr").split())
        sign = f"-req -in {name}.csr -out {name}.pem -CA ca.pem -CAkey ca.key -CAcreateserial"
        openssl("x509", *sign.split(), "-days", "2", "-extfile", "san")
    return folder


def serving(**options):
    runtime, models = runtime_of([DoublingBackend()])
    return running(models, runtime, ServerOptions(rest_port=0, grpc_port=0, **options))


def urls(server, secure=False):
    end = "s" if secure else ""
    return f"http{end}://localhost:{server.rest_port}", f"grpc{end}://localhost:{server.grpc_port}"


X = {"x": np.array([[1.0]], np.float32)}


def test_a_token_is_asked_for_on_both_ports():
    with serving(token="secret") as server:
        for url in urls(server):
            with Client(url, "m", token="secret") as client:
                assert client.predict(X)["y"].tolist() == [[2.0]]
            for token in (None, "Secret", "secret2", ""):
                with Client(url, "m", token=token) as client:
                    with pytest.raises(RequestError) as caught:
                        client.status()
                    assert caught.value.code == "UNAUTHENTICATED"
        base = urls(server)[0]
        assert httpx.get(f"{base}/healthz").status_code == 200
        assert (
            httpx.get(f"{base}/v1/models/m", headers={"authorization": b"\xff"}).status_code == 401
        )
    assert "secret" not in repr(server.options)


def test_tls_and_clients_that_must_have_a_certificate(certificates):
    ca, cert, key = (certificates / name for name in ("ca.pem", "server.pem", "server.key"))
    own = {"cert": certificates / "client.pem", "key": certificates / "client.key"}
    plain, mutual = Tls.of_files(cert, key), Tls.of_files(cert, key, ca)
    for tls, needs in ((plain, False), (mutual, True)):
        with serving(rest_tls=tls, grpc_tls=tls) as server:
            for url in urls(server, secure=True):
                with Client(url, "m", ca=ca, **own) as client:
                    assert client.predict(X)["y"].tolist() == [[2.0]]
                with Client(url, "m", ca=ca, retries=0, timeout=30) as client:
                    if needs:
                        with pytest.raises(RequestError):
                            client.predict(X)
                    else:
                        assert client.predict(X)["y"].tolist() == [[2.0]]
            with Client(urls(server)[0], "m", retries=0) as client, pytest.raises(RequestError):
                client.status()


def test_certificates_that_do_not_do(certificates, tmp_path):
    with pytest.raises(ServingError, match=r"none\.pem cannot be read"):
        Tls.of_files(tmp_path / "none.pem", certificates / "server.key")
    swapped = Tls.of_files(certificates / "server.pem", certificates / "client.key")
    runtime, _ = runtime_of([])
    with pytest.raises(ServingError, match="TLS certificate and key cannot be used"):
        Server(runtime, ServerOptions(rest_port=0, rest_tls=swapped))


def test_messages_beyond_the_limit_are_refused():
    runtime, models = runtime_of([DoublingBackend()], max_body_bytes=10_000, max_elements=100)
    options = ServerOptions(rest_port=0, grpc_port=0)
    with running(models, runtime, options) as server, Client(urls(server)[1], "m") as client:
        with pytest.raises(RequestError) as caught:
            client.predict({"x": np.zeros((1, 10_000), np.float32)})
        assert caught.value.code == "RESOURCE_EXHAUSTED"
        with pytest.raises(RequestError, match="101 values is larger"):
            client.predict({"x": np.zeros((1, 101), np.float32)})
        assert client.predict(X)["y"].tolist() == [[2.0]]


def test_a_few_bytes_cannot_ask_for_any_number_of_rows():
    runtime, models = runtime_of([DoublingBackend()], max_rows=50)
    request = protos.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].dtype = protos.DataType.values_by_name["DT_FLOAT"].number
    request.inputs["x"].float_val.append(1)
    for size in (51, 1):
        request.inputs["x"].tensor_shape.dim.add().size = size
    with (
        running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        error = predict.future(request.SerializeToString(), timeout=60).exception()
        assert error.code().name == "RESOURCE_EXHAUSTED"
        assert "51 rows" in error.details()
        request.inputs["x"].tensor_shape.dim[0].size = 50
        predict(request.SerializeToString(), timeout=60)


# --- the client --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["localhost:8501", "ftp://x", "http://x/v2/models/m", "http://h:1", "http://h/v1/models"]
)
def test_urls_that_are_none(url):
    with pytest.raises(ServingError):
        Client(url)


def test_the_path_of_a_url_says_the_rest():
    client = Client("http://h:1/v1/models/m/versions/3")
    assert (client.model, client.version, client._transport._path) == (
        "m", "3", "/v1/models/m/versions/3",
    )  # fmt: skip


def test_the_client_tries_again_and_survives_a_restart():
    runtime, models = runtime_of([DoublingBackend()])
    with running(models, runtime, ServerOptions(rest_port=0, grpc_port=0)) as server:
        ports = server.rest_port, server.grpc_port
        clients = [Client(url, "m", timeout=20, retries=20) for url in urls(server)]
        assert [c.predict(X)["y"].tolist() for c in clients] == [[[2.0]]] * 2
    with pytest.raises(RequestError) as caught:
        Client(f"http://localhost:{ports[0]}", "m", retries=1).predict(X)
    assert caught.value.code == "UNAVAILABLE"
    runtime, models = runtime_of([DoublingBackend()])
    with running(models, runtime, ServerOptions(rest_port=ports[0], grpc_port=ports[1])):
        assert [c.predict(X)["y"].tolist() for c in clients] == [[[2.0]]] * 2
    for client in clients:
        client.close()


def test_dtypes_survive_both_ways():
    with serving() as server:
        for url in urls(server):
            with Client(url, "m") as client:
                for dtype in (np.float32,):
                    out = client.predict({"x": np.array([[0.1, 2]], dtype)})["y"]
                    assert out.dtype == dtype
                    np.testing.assert_array_equal(out, np.array([[0.1, 2]], dtype) * 2)
                assert client.status() == {1: "AVAILABLE"}
                assert client.signatures()["serving_default"]["inputs"]["x"] == {
                    "dtype": "float32", "shape": [-1, -1],
                }  # fmt: skip
                client.wait_until_ready(60)
