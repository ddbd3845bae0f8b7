"""A real language model in a real server process, asked by real clients over both protocols."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from language_models import keras_texts, write_language_model

import serving
from common.errors import DataError, SeqloomError
from serving.bundle import FORMAT
from serving.client import Client
from serving.errors import RequestError
from serving.predictor import OnnxModel, Predictor
from tasks.stages.writing import write

ROOT = Path(serving.__file__).resolve().parents[1]


@pytest.fixture(scope="module", params=["char", "word", "byte"])
def model(request, tmp_path_factory):
    """Directory of a model, the texts that Keras writes, and a server's ports."""
    place = tmp_path_factory.mktemp(request.param) / "language"
    settings = {"repetition_penalty": 1.0, "stop": "", "form": ""}
    cores = write_language_model(place, request.param, decoding=settings)
    prompts = ["a cat", "", "the end of the"] * 4
    expected = keras_texts(cores, place / "1", prompts, seed=np.arange(12), max_tokens=np.array(40))
    command = [sys.executable, "-m", "seqloom", "serve", str(place), "--rest-port", "0",
               "--grpc-port", "0"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        ports = json.loads(process.stdout.readline())
        yield place, prompts, expected, ports
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def clients(ports):
    rest, grpc = f"http://localhost:{ports['rest_port']}", f"grpc://localhost:{ports['grpc_port']}"
    return [Client(url, "language", retries=0) for url in (rest, grpc)]


def test_keras_and_both_protocols_write_the_same(model):
    _, prompts, expected, ports = model
    for client in clients(ports):
        with client:
            settings = {"seed": list(range(12)), "max_tokens": 40}
            whole = client.generate(prompts, **settings)["continuation"]
            stream = client.generate(prompts, stream=True, **settings)
            pieces = list(stream)
        assert [text.decode() for text in whole] == expected
        for i, text in enumerate(expected):
            assert "".join(piece.text for piece in pieces if piece.index == i) == text
            assert stream.texts[i].text == text


def test_streams_of_many_clients(model):
    place, _, _, ports = model
    program = OnnxModel(place / "1", threads=1).programs["generate"]

    def ask(i):
        client = both[i % 2]
        settings = {
            "seed": i,
            "temperature": [0.0, 0.7, 1.2][i % 3],
            "stop": ["", "th"][i % 5 == 0],
        }
        stream = client.generate("a" * (i % 7), stream=True, **settings)
        return "".join(piece.text for piece in stream), settings

    both = clients(ports)
    with both[0], both[1], ThreadPoolExecutor(24) as pool:
        found = list(pool.map(ask, range(48)))
    for i, (text, settings) in enumerate(found):
        request = {
            "text": np.array([b"a" * (i % 7)], object), "seed": np.array([i]),
            "temperature": np.array([settings["temperature"]], np.float32),
            "stop": np.array([settings["stop"]], object),
        }  # fmt: skip
        assert text == program.run(request)["continuation"][0].decode()


def test_streams_keep_a_form(model):
    for client in clients(model[3]):
        with client:
            asked = {"form": "[a-z]{3,9}[.,]", "seed": [1, 2]}
            if model[0].parent.name.startswith("word"):
                with pytest.raises(RequestError, match="form is for texts of characters"):
                    client.generate(["", "ab"], stream=True, **asked)
                continue
            stream = client.generate(["", "ab"], stream=True, **asked)
            pieces = list(stream)
            texts = [stream.texts[i] for i in range(2)]
        assert {text.finish_reason for text in texts} == {"end"}
        assert re.fullmatch("[a-z]{3,9}[.,]", texts[0].text)
        assert re.fullmatch("[a-z]{3,9}[.,]", "ab" + texts[1].text)
        assert "".join(piece.text for piece in pieces if piece.index == 1) == texts[1].text


def bundle_of(model):
    """The directory as a bundle."""
    place = model[0].parent / "bundle"
    if not place.exists():
        place.mkdir()
        (place / "onnx").symlink_to(model[0])
        config = {"task": "language", "data": {}}
        manifest = {"format": FORMAT, "name": "language", "version": 1, "config": config}
        (place / "manifest.json").write_text(json.dumps(manifest))
    return place


def test_a_bundle_writes_to_the_terminal(model):
    shown = []
    texts = model[1][:3]
    found = write(bundle_of(model), texts, {"seed": 0, "max_tokens": 40}, shown.append)
    assert [one["text"] for one in found] == texts
    assert found[0]["continuation"] == model[2][0]
    assert "".join(shown) == "".join(one["continuation"] + "\n" for one in found)
    assert len(shown) > 40
    with Client(f"http://localhost:{model[3]['rest_port']}", "language") as client:
        asked = write(bundle_of(model), texts, {"seed": 0, "max_tokens": 40}, shown.append, client)
    assert [one["continuation"] for one in asked] == [one["continuation"] for one in found]


def test_a_predictor_writes(model):
    predictor = Predictor(bundle_of(model))
    pieces = list(predictor.generate(model[1][:1], seed=0, max_tokens=40, stop=["@", "#"]))
    assert "".join(piece.text for piece in pieces) == model[2][0]
    with pytest.raises(RequestError, match="max_tokens is 0"):
        predictor.generate("a", max_tokens=0)
    with pytest.raises(DataError, match="no decoding setting 'warmth'"):
        predictor.generate("a", warmth=1)


@pytest.mark.parametrize(("texts", "flags", "message"), [
    ([], {}, "there is no input"),
    (["a"], {"warmth": "1"}, "warmth"),
    (["a"], {"temperature": -1.0}, "temperature"),
    (["a"], {"max_tokens": 0}, "max_tokens"),
    (["a"], {"documents": "lines"}, "leave --documents away"),
])  # fmt: skip
def test_bad_flags(model, texts, flags, message):
    with pytest.raises((DataError, SeqloomError), match=message):
        write(bundle_of(model), texts, flags, print)


def test_the_command(model):
    url = f"http://localhost:{model[3]['rest_port']}/v1/models/language"
    command = [sys.executable, "-m", "seqloom", "predict", "--url", url, "--stream", "a cat",
               "--max-tokens", "40"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, model[2][0] + "\n")
    refused = {"--temperature=-1": "temperature is -1.0", "--file=x": "--stream"}
    for more, message in refused.items():
        done = subprocess.run([*command, more], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
