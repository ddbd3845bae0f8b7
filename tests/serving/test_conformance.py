"""REST's predict on both backends, by one table: what TensorFlow Serving accepts, answers and says.

The rows are the conformance list of its http_rest_api_util.cc and json_tensor.cc. Where the two
backends differ, because one has a graph that judges and the other a signature, a row has both.
"""

import json
import subprocess
import venv

import numpy as np
import pytest
from live_server import client_of, post

from serving.runtime.loading import find_model
from serving.runtime.runtime import Runtime
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running

TEXT = "a good film"
BAD_JSON = "JSON Parse error: Invalid value. at offset: 0"
FIRST = "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
# Body, status, and the error's beginning; "" where there is none.
ROWS = [
    (b'{"instances": ["x"]}', 200, ""),
    (b'{"instances": [{"text": "x"}]}', 200, ""),
    (b'{"instances": [{"b64": "eA=="}]}', 200, ""),
    (b'{"inputs": ["x", "y"]}', 200, ""),
    (b'{"inputs": {"text": ["x"], "more": [1]}}', 200, ""),
    (b'{"signature_name": "serving_default", "instances": ["x"], "unknown": 1}', 200, ""),
    (b'{"instances": ["x"]} trailing', 200, ""),
    (b'\xef\xbb\xbf{"instances": ["x"]}', 200, ""),
    (b'{"instances": ["\xff"]}', 200, ""),
    (b"", 400, "JSON Parse error: The document is empty"),
    (b"x", 400, BAD_JSON),
    (b'{"instances": ["x"', 400,
     "JSON Parse error: Missing a comma or ] after an array element."),
    (b'{"instances" ["x"]}', 400,
     "JSON Parse error: Missing a colon after a name of object member."),
    (b"{1: 2}", 400, "JSON Parse error: Missing a name for object member."),
    (b"[1, 2]", 400, "JSON Value: ["),
    (b'{"signature_name": 1, "instances": ["x"]}', 400, "JSON Value: {"),
    (b'{"signature_name": "no", "instances": ["x"]}', 400,
     'Serving signature name: "no" not found in signature def'),
    (b"{}", 400, "Missing 'inputs' or 'instances' key"),
    (b'{"instances": ["x"], "inputs": ["x"]}', 400, "JSON Value: {"),
    (b'{"instances": "x"}', 400, "JSON Value: {"),
    (b'{"instances": []}', 400, "JSON Value: {"),
    (b'{"instances": [1]}', 400,
     FIRST + "JSON Value: 1 Type: Number is not of expected type: string"),
    (b'{"instances": [null]}', 400,
     FIRST + "JSON Value: null Type: Null is not of expected type: string"),
    (b'{"instances": ["x", ["y"]]}', 400,
     "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape "),
    (b'{"instances": [{"word": "x"}]}', 400,
     "Failed to process element: 0 key: word of 'instances' list. Error: INVALID_ARGUMENT: "
     "JSON object: does not have named input: word"),
    (b'{"instances": [{"text": "x", "b": 1}]}', 400, "Failed to process element: 0 key: b of "),
    (b'{"instances": ["x", {"text": "y"}]}', 400,
     "Expecting value/list but got object at item 1 of input list"),
    (b'{"instances": [{"text": "x"}, "y"]}', 400,
     "Expecting object but got list at item 1 of input list"),
    (b'{"instances": [{"b64": "*"}]}', 400, FIRST + "Unable to base64 decode"),
    (b'{"inputs": {"word": ["x"]}}', 400, "Missing named input: text in 'inputs' object."),
]  # fmt: skip


@pytest.fixture(scope="module", params=["onnx", "savedmodel"])
def client(request, sentiment_bundle):
    models = [ModelSettings("m", find_model(sentiment_bundle, request.param))]
    options = ServerOptions(rest_port=0, grpc_port=0)
    with running(models, Runtime(), options) as server, client_of(server) as client:
        yield client


@pytest.mark.parametrize(("body", "status", "error"), ROWS)
def test_predict(client, body, status, error):
    reply = client.post("/v1/models/m:predict", content=body)
    assert reply.headers["content-type"] == "application/json"
    text = reply.content.decode("utf-8", "replace")
    assert reply.status_code == status, text
    if error:
        assert json.loads(text)["error"].startswith(error)
    else:
        assert "error" not in json.loads(text)


def test_both_forms_and_both_backends_give_the_same_answers(client, sentiment_bundle):
    from serving import Predictor

    predictor = Predictor(sentiment_bundle)
    want = predictor.run(predictor.preprocessor.to_request([TEXT, "dull"]))["probabilities"]
    _, rows = post(client, json.dumps({"instances": [TEXT, "dull"]}))
    _, columns = post(client, json.dumps({"inputs": {"text": [TEXT, "dull"]}}))
    for found in (
        [row["probabilities"] for row in rows["predictions"]], columns["outputs"]["probabilities"],
    ):  # fmt: skip
        np.testing.assert_allclose(found, want, atol=1e-5)


OVMS = """
import sys
import numpy as np
from ovmsclient import make_grpc_client, make_http_client
rest, grpc = sys.argv[1:]
for client in (make_grpc_client(f"localhost:{grpc}"), make_http_client(f"localhost:{rest}")):
    status = client.get_model_status("m", model_version=1)
    assert status[1]["state"] == "AVAILABLE", status
client = make_grpc_client(f"localhost:{grpc}")
# It asks for version 0 where it means the newest, which TensorFlow Serving refuses too.
found = client.predict({"text": [b"a good film", b"dull"]}, "m", model_version=1)
assert found["probabilities"].shape == (2, 2), found
metadata = client.get_model_metadata("m", model_version=1)
assert metadata["inputs"]["text"]["dtype"] == "DT_STRING", metadata
print("ok")
"""


@pytest.mark.slow
def test_ovmsclient_in_a_process_of_its_own(client, tmp_path):
    """A client with protobuf messages of its own, which may not meet TensorFlow's."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "ovmsclient==2023.1"]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip("ovmsclient cannot be installed here")
    ports = [str(client.server.rest_port), str(client.server.grpc_port)]
    done = subprocess.run([python, "-c", OVMS, *ports], capture_output=True, text=True)
    assert done.stdout == "ok\n", done.stderr
