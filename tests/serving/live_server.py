"""A live server in a thread and a fake model, for the tests beside this file."""

import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from serving.errors import HTTP_STATUS
from serving.runtime.batching import Batcher, BatchOptions
from serving.runtime.loading import ModelLocation
from serving.runtime.runners import Backend, SignatureRunner
from serving.runtime.runtime import RequestLimits, Runtime
from serving.runtime.servables import ModelSettings, Policy
from serving.runtime.server import ServerOptions
from serving.runtime.server import running as running_server
from serving.runtime.signatures import check_inputs, check_tensors

SIGNATURE = {
    "inputs": {"x": {"dtype": "float32", "shape": [-1, None]}},
    "outputs": {"y": {"dtype": "float32", "shape": None}},
}


class Times(SignatureRunner):
    """y = factor * x, once the gate is open; or whatever error it is told to raise."""

    def __init__(self, factor, backend, **more):
        super().__init__({**SIGNATURE, **more})
        self.factor, self.backend = factor, backend

    def encode(self, inputs):
        if self.backend.checked:
            check_inputs(self.signature["inputs"], inputs)
            check_tensors(self.signature["inputs"], inputs)
        return inputs

    def execute(self, core, timeout=None):
        self.backend.gate.wait(60)
        if self.backend.error:
            raise self.backend.error
        return {"y": core["x"] * self.factor}


class DoublingBackend(Backend):
    """y = 2x as `serving_default`, 3x as `other`."""

    def __init__(self, name="m", version=1, error=None, checked=False):
        self.name, self.version, self.error, self.checked = name, version, error, checked
        self.gate = threading.Event()
        self.gate.set()
        classify = "tensorflow/serving/classify"
        super().__init__(
            {"serving_default": Times(2, self), "other": Times(3, self, method_name=classify)}
        )


def settings_of(name, versions):
    """A model whose versions are paths that nobody reads."""
    roots = {str(number): Path(f"/{number}") for number in versions}

    class Fixed(ModelLocation):
        def versions(self):
            return {int(number): path for number, path in self.roots.items()}

    return ModelSettings(name, Fixed(Path("/"), roots, name=name), Policy("all"))


def runtime_of(backends, batching=None, **limits):
    """A runtime of backends that are loaded already, and the settings of its models."""
    runtime = Runtime(RequestLimits(**limits), batching)
    known = {(backend.name, backend.version): backend for backend in backends}

    def load(name, path, kind):
        return known[name, int(path.name)], Batcher(batching or BatchOptions())

    runtime.manager._load = load
    names = {}
    for name, version in known:
        names.setdefault(name, []).append(version)
    return runtime, [settings_of(name, versions) for name, versions in names.items()]


@contextmanager
def running(backends, batching=None, options=None, **limits):
    """A client of a live server in a thread, which knows it as `server`."""
    runtime, models = runtime_of(backends, batching, **limits)
    with (
        running_server(models, runtime, options or ServerOptions(rest_port=0)) as server,
        client_of(server) as client,
    ):
        yield client


@contextmanager
def client_of(server):
    """Of its REST port."""
    url = f"http://127.0.0.1:{server.rest_port}"
    with httpx.Client(base_url=url, timeout=60) as client:
        client.server = server
        yield client


def refusal_of_the_session(path, inputs, timeout=0, signature="serving_default"):
    """Code and message of what a session of TensorFlow's itself says, asked without the server.

    Both differ with TensorFlow's version and the machine, so that no test can have them written
    down; but the server must pass them on as they are.
    """
    import tensorflow as tf
    from tensorflow.python.client import pywrap_tf_session

    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
        definition = graph.signature_def[signature]
        session._extend_graph()

        def output(info):
            return session.graph.get_tensor_by_name(info.name)._as_tf_output()

        feeds = {output(definition.inputs[name]): array for name, array in inputs.items()}
        fetches = [output(info) for _, info in sorted(definition.outputs.items())]
        options = tf.compat.v1.RunOptions(timeout_in_ms=timeout).SerializeToString()
        options = pywrap_tf_session.TF_NewBufferFromString(options)
        with pytest.raises(tf.errors.OpError) as caught:
            session._call_tf_sessionrun(options, feeds, fetches, [], None)
    return list(HTTP_STATUS)[caught.value.error_code], caught.value.message


def post(client, body, path="/v1/models/m:predict", **options):
    """Status and parsed JSON of one POST."""
    reply = client.post(path, content=body, **options)
    return reply.status_code, reply.json()
