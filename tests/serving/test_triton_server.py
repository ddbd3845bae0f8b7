"""A real Triton with an exported repository, asked over HTTP and gRPC.

It is skipped where the wheel ``nvidia-pytriton`` is absent; see triton_process.py.
"""

import importlib.util
import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import layers
from language_models import ALPHABET, write_language_model

from pipelines.tensors import TensorPreprocessor
from serving.native_onnx import export_onnx
from serving.predictor import OnnxModel
from serving.triton_python import write_python_models

pytest.importorskip("tritonclient.grpc")
import tritonclient.grpc as grpc
from triton_fake import assert_sent
from triton_process import NoTriton, found, triton

pytestmark = pytest.mark.slow

TEXTS = ["a fine day", "the cat", "x", "once upon a time, there was a hill."]
SIGNATURE = {
    "inputs": {"values": {"dtype": "float32", "shape": [-1, -1, 2]}},
    "outputs": {"score": {"dtype": "float32", "shape": [-1]},
                "rows": {"dtype": "float32", "shape": [-1, -1, 3]}},
}  # fmt: skip
TYPES = {"O": "BYTES", "f": "FP32", "i": "INT64"}


def write_windows_model(directory):
    """Windows of any length: a number for each row, and one for the whole."""
    values = keras.Input((None, 2), name="values")
    rows = layers.LSTM(3, return_sequences=True)(values)
    score = layers.Reshape(())(layers.Dense(1)(layers.GRU(2)(rows)))
    directory.mkdir()
    export_onnx(keras.Model({"values": values}, {"score": score, "rows": rows}),
                directory / "model.onnx")  # fmt: skip
    TensorPreprocessor(SIGNATURE).save(directory)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The repository, and predictors by name."""
    try:
        found()
    except NoTriton as reason:
        pytest.skip(str(reason))
    root, place = tmp_path_factory.mktemp("triton"), tmp_path_factory.mktemp("onnx")
    write_language_model(place, units=8, layers=1)
    write_windows_model(place / "windows")
    predictors = {"letters": OnnxModel(place / "1", 1), "windows": OnnxModel(place / "windows", 1)}
    for name, directory in (("letters", place / "1"), ("windows", place / "windows")):
        write_python_models(root, name, predictors[name].programs, directory, max_batch=8)
    return root, predictors


@pytest.fixture(scope="module")
def ports(models, tmp_path_factory):
    names = sorted(path.name for path in models[0].iterdir())
    assert names == ["letters", "letters_generate", "letters_step", "windows"]
    with triton(models[0], names, tmp_path_factory.mktemp("server")) as opened:
        yield opened


class JsonClient:
    """Triton's HTTP API without its client, as `curl` has it."""

    def __init__(self, url):
        self.url = f"http://{url}/v2/models"

    def infer(self, model, inputs):
        tensors = [
            {"name": n, "shape": x.shape, "datatype": TYPES[x.dtype.kind],
             "data": [i.decode() if isinstance(i, bytes) else i for i in x.ravel().tolist()]}
            for n, x in inputs.items()
        ]  # fmt: skip
        body = json.dumps({"inputs": tensors}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/{model}/infer", body, timeout=60) as reply:
                outputs = json.load(reply)["outputs"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from error
        return {
            one["name"]: np.array(
                [x.encode() if isinstance(x, str) else x for x in one["data"]],
                object if one["datatype"] == "BYTES" else None,
            ).reshape(one["shape"])
            for one in outputs
        }


class TritonClient:
    """One of ``tritonclient``'s two modules."""

    def __init__(self, module, url):
        self.module, self.client = module, module.InferenceServerClient(url)

    def infer(self, model, inputs, **options):
        sent = []
        for name, array in inputs.items():
            sent.append(self.module.InferInput(name, array.shape, TYPES[array.dtype.kind]))
            if array.dtype == np.int32:
                sent[-1] = self.module.InferInput(name, array.shape, "INT32")
            sent[-1].set_data_from_numpy(array)
        result = self.client.infer(model, sent, **options)
        answer = result.get_response()
        answer = answer["outputs"] if isinstance(answer, dict) else answer.outputs
        names = [one["name"] if isinstance(one, dict) else one.name for one in answer]
        return {name: result.as_numpy(name) for name in names}


@pytest.fixture(params=["grpc", "http", "json"])
def client(request, ports):
    if request.param == "json":
        return JsonClient(f"127.0.0.1:{ports[0]}")
    if request.param == "grpc":
        return TritonClient(grpc, f"127.0.0.1:{ports[1]}")
    if importlib.util.find_spec("geventhttpclient") is None:
        pytest.skip("tritonclient[http] is not installed")
    import tritonclient.http

    return TritonClient(tritonclient.http, f"127.0.0.1:{ports[0]}")


def text(*texts):
    return {"text": np.array([[one.encode()] for one in texts], object)}


def flat(request):
    return {name: array[:, 0] for name, array in request.items()}


def test_texts_are_answered_as_by_the_predictor(client, models):
    for sent in (text(*TEXTS), text(TEXTS[1]), text("Zwölf größere Füße, 猫")):
        assert_sent(client.infer("letters", sent), models[1]["letters"].run(flat(sent)))


def test_settings_may_be_left_out(client, models):
    short = {**text("a"), "max_tokens": np.array([[3]], np.int64),
             "temperature": np.array([[0]], np.float32)}  # fmt: skip
    for sent in (short, {**text(*TEXTS[:2]), "seed": np.array([[1], [2]], np.int64)}):
        want = models[1]["letters"].run(flat(sent), "generate")
        assert_sent(client.infer("letters_generate", sent), want)


def test_a_bad_request_is_answered_with_one_sentence(client):
    hot = {**text("a"), "temperature": np.array([[-1]], np.float32)}
    with pytest.raises(Exception, match=r"^\S*\s?temperature .*$"):
        client.infer("letters_generate", hot)
    with pytest.raises(Exception, match="values"):
        client.infer("windows", {"values": np.zeros((1, 0, 2), np.float32)})
    assert client.infer("letters_generate", text("a"))  # and nothing is the worse for it


def test_requests_of_different_lengths_at_once_are_answered_as_each_alone(ports, models):
    client = TritonClient(grpc, f"127.0.0.1:{ports[1]}")
    rng = np.random.default_rng(0)
    windows = [rng.normal(size=(1 + n % 3, 1 + n % 7, 2)).astype(np.float32) for n in range(64)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda x: client.infer("windows", {"values": x}), windows))
    for window, answer in zip(windows, answers, strict=True):
        assert_sent(answer, models[1]["windows"].run({"values": window}))


def test_a_request_of_more_rows_than_a_batch_is_refused_by_triton(client):
    with pytest.raises(Exception, match="batch-size"):
        client.infer("letters", text(*["a"] * 9))


# ---- sequences


def token(letter):
    return {"tokens": np.array([[4 + ALPHABET.index(letter)]], np.int32)}


def alone(models, word):
    """What the step signature answers to each letter, its states carried by hand."""
    program, answers = models[1]["letters"].programs["step"], []
    states = program.initial(1)
    for letter in word:
        outputs = program.run({**flat(token(letter)), **states})
        states = {name: outputs[f"{name}_next"] for name in states}
        answers.append(outputs["log_probabilities"])
    return answers


def test_sequences_that_take_turns_equal_each_alone(ports, models):
    client = TritonClient(grpc, f"127.0.0.1:{ports[1]}")
    words = {11: "hill", 12: "cat", 13: "once upon a time"}
    want = {sequence: alone(models, word) for sequence, word in words.items()}

    def step(sequence, t):
        answer = client.infer(
            "letters_step", token(words[sequence][t]), sequence_id=sequence,
            sequence_start=not t, sequence_end=t == len(words[sequence]) - 1,
        )  # fmt: skip
        assert_sent(answer, {"log_probabilities": want[sequence][t]})

    with ThreadPoolExecutor(3) as pool:
        for t in range(max(map(len, words.values()))):
            list(pool.map(lambda s, t=t: step(s, t), [s for s, w in words.items() if t < len(w)]))


def test_a_step_that_fails_leaves_its_sequence_where_it_was(ports, models):
    client = TritonClient(grpc, f"127.0.0.1:{ports[1]}")
    first, second = alone(models, "at")
    unknown = {"tokens": np.array([[10_000]], np.int32)}
    answer = client.infer("letters_step", token("a"), sequence_id=3, sequence_start=True)
    assert_sent(answer, {"log_probabilities": first})
    with pytest.raises(Exception, match="tokens must be from 0 to 33"):
        client.infer("letters_step", unknown, sequence_id=3)
    answer = client.infer("letters_step", token("t"), sequence_id=3, sequence_end=True)
    assert_sent(answer, {"log_probabilities": second})


def test_a_sequence_that_was_not_begun_or_is_over_is_refused(ports):
    client = TritonClient(grpc, f"127.0.0.1:{ports[1]}")
    with pytest.raises(Exception, match="START"):
        client.infer("letters_step", token("a"), sequence_id=99)
    client.infer("letters_step", token("a"), sequence_id=98, sequence_start=True, sequence_end=True)
    with pytest.raises(Exception, match="START"):
        client.infer("letters_step", token("a"), sequence_id=98)
