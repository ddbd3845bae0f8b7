"""A live server in a thread and a fake model, for the tests beside this file."""

import threading
from contextlib import contextmanager

import httpx

from serving.server import RestServer, build_app


class DoublingBackend:
    """y = 2x, tokens; or whatever error it is told to raise."""

    signature = {
        "inputs": {"x": {"dtype": "float32", "shape": [-1, None]}},
        "outputs": {"y": {"dtype": "float32", "shape": None}},
    }
    classify = {**signature, "method_name": "tensorflow/serving/classify"}

    def __init__(self, name="m", version=1, error=None):
        self.name, self.version, self.error = name, version, error
        self.signatures = {"serving_default": self.signature, "other": self.classify}
        self.gate = threading.Event()
        self.gate.set()

    def run(self, inputs, signature_name="serving_default"):
        self.gate.wait(10)
        if self.error:
            raise self.error
        return {"y": inputs["x"] * (2 if signature_name == "serving_default" else 3)}


@contextmanager
def running(backends, **options):
    """A client of a live server in a thread."""
    server, ready = RestServer(port=0), threading.Event()
    app = build_app(backends, **options)
    thread = threading.Thread(target=server.run, args=(app, ready.set))
    thread.start()
    try:
        assert ready.wait(10)
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as client:
            yield client
    finally:
        server.stop()
        thread.join(10)
    assert not thread.is_alive()


def post(client, body, path="/v1/models/m:predict", **options):
    """Status and parsed JSON of one POST."""
    reply = client.post(path, content=body, **options)
    return reply.status_code, reply.json()
