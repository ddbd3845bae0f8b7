"""``GET /`` of a served bundle, and the command that asks its example, run as it is printed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

import seqloom
from serving.example_request import (
    EXAMPLE_FILE,
    MAX_BYTES,
    MAX_WRITTEN,
    curl_command,
    example_body,
)
from serving.runtime.rest_api import METRICS_PATH, RestOptions
from serving.runtime.server import ServerOptions, running
from tests.serving.live_server import client_of

ROOT = Path(seqloom.__file__).resolve().parent
OLD = Path(__file__).parent / "old_bundles" / "sentiment"
TEXT = 'it\'s a "warm" & <fine> film $HOME ünï'
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


def bundle_with(tmp_path, body, source="synthetic:200"):
    """A bundle that keeps this body as its example."""
    bundle = tmp_path / "a bundle"
    shutil.copytree(OLD, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["config"]["data"]["source"] = source
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    if body is not None:
        (bundle / EXAMPLE_FILE).write_text(json.dumps(body, ensure_ascii=False), "utf-8")
    return bundle


def options(**more):
    rest = RestOptions(METRICS_PATH, front_page=True)
    return ServerOptions(rest_port=0, grpc_port=None, rest=rest, **more)


def test_what_is_there_as_json_and_as_a_page(tmp_path):
    bundle = bundle_with(tmp_path, {"instances": [TEXT]})
    with running(bundle, options=options()) as server, client_of(server) as client:
        reply = client.get("/", headers={"Accept": "application/json"})
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
        found = reply.json()
        (model,) = found["models"]
        assert model["name"] == "sentiment"
        assert model["versions"] == [{"version": "1", "state": "AVAILABLE"}]
        assert model["programs"]["serving_default"]["inputs"]["text"]["dtype"] == "string"
        assert found["paths"] == {"health": "/healthz", "metrics": METRICS_PATH}
        # Every path that is named answers, and so does the example.
        for path in (
            model["paths"]["status"],
            model["paths"]["metadata"],
            *found["paths"].values(),
        ):
            assert client.get(path).status_code == 200
        path = model["paths"]["predict"].removeprefix("POST ")
        assert client.post(path, json=model["example"]).status_code == 200
        reply = client.get("/?x=1", headers={"Accept": "text/html,*/*;q=0.8"})
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert "sentiment" in reply.text
        assert "<fine>" not in reply.text
        assert "&lt;fine&gt;" in reply.text
        assert client.post("/", content=b"{}").status_code == 404


@pytest.mark.parametrize(("body", "source"), [
    ({"instances": [TEXT]}, "reviews.csv"), (None, "synthetic"),
    ({"instances": ["x" * (MAX_WRITTEN + 1)]}, "synthetic"),
])  # fmt: skip
def test_what_is_somebodys_own_or_long_is_not_shown_to_all(tmp_path, body, source):
    bundle = bundle_with(tmp_path, body, source)
    with running(bundle, options=options()) as server, client_of(server) as client:
        assert "example" not in client.get("/").json()["models"][0]


def test_a_token_is_wanted_for_the_page_too_and_others_have_none(tmp_path):
    bundle = bundle_with(tmp_path, None)
    with running(bundle, options=options(token="t")) as server, client_of(server) as client:
        assert client.get("/").status_code == 401
        assert client.get("/", headers={"Authorization": "Bearer t"}).status_code == 200
    with running(bundle, options=ServerOptions(rest_port=0)) as server, client_of(server) as client:
        assert client.get("/").status_code == 404, "as TensorFlow Serving answers"


@needs_curl
@pytest.mark.parametrize("text", [TEXT, TEXT * 40])
@pytest.mark.parametrize("token", [None, "a token's own $text"])
def test_the_command_asks_as_it_is_printed(tmp_path, text, token):
    bundle = bundle_with(tmp_path, {"instances": [text]}, "reviews.csv")
    file = tmp_path / "the token"
    file.write_text(token or "")
    with running(bundle, options=options(token=token)) as server:
        command = curl_command(
            bundle, "sentiment", server.rest_port, token_file=file, token=token is not None
        )
        assert (f"@{bundle}" in command) == (len(text) > 1000)
        done = subprocess.run(["sh", "-c", f"{command} -s"], capture_output=True, check=True)
    (answer,) = json.loads(done.stdout)["predictions"]
    assert set(answer) == {"label", "probabilities"}


@needs_curl
def test_serve_prints_a_command_that_works(tmp_path):
    bundle = bundle_with(tmp_path, {"instances": [TEXT]})
    command = [sys.executable, "-m", "seqloom", "serve", str(bundle), "--rest-port", "0",
               "--grpc-port", "0"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            ports = json.loads(server.stdout.readline())
            assert set(ports) == {"rest_port", "grpc_port", "model"}
            lines = iter(server.stderr.readline, "")
            line = next(line for line in lines if line.startswith("ask it: "))
            asked = line.removeprefix("ask it: ").strip()
            done = subprocess.run(["sh", "-c", f"{asked} -s"], capture_output=True, check=True)
            assert len(json.loads(done.stdout)["predictions"]) == 1
            found = httpx.get(f"http://localhost:{ports['rest_port']}/").json()
            assert found["models"][0]["name"] == ports["model"]
        finally:
            server.terminate()


def test_a_bundle_keeps_the_shortest_of_a_few_examples(sentiment_bundle):
    body = json.loads((sentiment_bundle / EXAMPLE_FILE).read_text("utf-8"))
    assert list(body) == ["instances"]
    assert isinstance(body["instances"][0], str)
    requests = [{"x": np.array([word], object)} for word in ("aaa", "b")]
    assert example_body(requests, {}) == '{"instances": ["b"]}'
    assert example_body([{"x": np.zeros((1, MAX_BYTES), np.float32)}], {}) is None
    assert example_body([], {}) is None
