"""Models of Triton's Python backend, run in this process; test_triton_server.py has a real one."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from language_models import ALPHABET, write_language_model

from serving.errors import ServingError
from serving.predictor import OnnxModel
from serving.triton_python import python_config, write_code, write_python_models

pytest.importorskip("tritonclient.grpc.model_config_pb2")
from triton_fake import LocalTriton, TritonError, assert_sent, logged, read_config

TEXTS = ["a fine day", "the cat", "x", "once upon a time, there was a hill."]


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """An untrained language model: texts, settings, and steps."""
    place = tmp_path_factory.mktemp("letters")
    write_language_model(place, units=8, layers=1)
    return OnnxModel(place / "1", threads=1), place / "1"


@pytest.fixture(scope="module")
def repository(letters, tmp_path_factory):
    root = tmp_path_factory.mktemp("triton")
    model, onnx = letters
    names = write_python_models(root, "letters", model.programs, onnx, version=3, max_batch=4)
    assert names == ["letters", "letters_generate", "letters_step"]
    return root


@pytest.fixture
def loaded(repository):
    made = []

    def load(name):
        made.append(LocalTriton(repository / name))
        return made[-1]

    yield load
    for one in made:
        one.close()


def text(*texts):
    return {"text": np.array([[one.encode()] for one in texts], object)}


def token(letter):
    return {"tokens": np.array([[4 + ALPHABET.index(letter)]], np.int32)}


def assert_equal(answer, want):
    assert not isinstance(answer, TritonError), answer.message()
    assert_sent(answer, want)


def test_a_model_holds_what_it_needs_and_no_core_besides(repository):
    for name, cores in (("letters", ["model.onnx"]), ("letters_step", ["step.onnx"])):
        found = sorted(path.name for path in (repository / name / "3").iterdir())
        assert found == sorted([*cores, "model.py", "preprocessor.json", "seqloom.zip",
                                "units.json"])  # fmt: skip


def test_the_tensors_are_those_of_the_signature(repository):
    whole, writes = (read_config(repository / n) for n in ("letters", "letters_generate"))
    assert whole.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert [(t.name, list(t.dims), t.optional) for t in whole.input] == [("text", [1], False)]
    outputs = {t.name: list(t.dims) for t in whole.output}
    assert (outputs["log_probabilities"], outputs["length"]) == ([-1], [1])
    assert {t.name: t.optional for t in writes.input}["temperature"]
    assert dict(whole.parameters)["signature"].string_value == "serving_default"


def test_states_stay_in_a_model_whose_requests_are_sequences(repository, letters):
    steps = read_config(repository / "letters_step")
    assert steps.sequence_batching.WhichOneof("strategy_choice") == "oldest"
    assert [tensor.name for tensor in steps.input] == ["tokens"]
    assert [tensor.name for tensor in steps.output] == ["log_probabilities"]
    assert not steps.sequence_batching.state


def test_requests_of_different_lengths_may_share_a_batch():
    signature = {"inputs": {"values": {"dtype": "float32", "shape": [-1, -1, 2]}},
                 "outputs": {"score": {"dtype": "float32", "shape": [-1]}}}  # fmt: skip
    config = python_config("m", "serving_default", program_of(signature), 8)
    (values,) = config["input"]
    assert (values["allow_ragged_batch"], values["dims"]) == (True, [-1, 2])


def test_a_signature_without_an_open_batch_is_refused():
    signature = {"inputs": {"x": {"dtype": "float32", "shape": [1, 2]}}, "outputs": {}}
    with pytest.raises(ServingError, match=r"'x' in the signature has the shape \[1, 2\]"):
        python_config("m", "serving_default", program_of(signature), 8)


def program_of(signature):
    from types import SimpleNamespace

    return SimpleNamespace(program=SimpleNamespace(signature=signature), states={})


def test_texts_are_answered_as_by_the_predictor(loaded, letters):
    triton, want = loaded("letters"), letters[0]
    several = triton.batch([(text(*TEXTS[:2]), {}), (text(TEXTS[2]), {}), (text(TEXTS[3]), {})])
    for answer, sent in zip(several, (TEXTS[:2], TEXTS[2:3], TEXTS[3:]), strict=True):
        # Each has its own length, whatever it was batched with.
        assert_equal(answer, want.run({"text": np.array([t.encode() for t in sent], object)}))


def test_settings_may_be_left_out_and_differ_within_a_batch(loaded, letters):
    triton, given = loaded("letters_generate"), {"temperature": np.array([[0]], np.float32)}
    long, short = (
        {**text(t), **given, "max_tokens": np.array([[n]], np.int64)}
        for t, n in zip(TEXTS[:2], (9, 3), strict=True)
    )
    plain = {**text("a"), "seed": np.array([[1]], np.int64)}
    for request, answer in zip((long, short, plain),
                               triton.batch([(long, {}), (short, {}), (plain, {})]),
                               strict=True):  # fmt: skip
        want = letters[0].run({name: x[:, 0] for name, x in request.items()}, "generate")
        assert_equal(answer, want)


def test_only_the_outputs_that_are_asked_for_are_sent(loaded):
    answer = loaded("letters").ask(text("a"), outputs=["length"])
    assert list(answer) == ["length"]


def test_a_bad_request_fails_alone_with_one_sentence(loaded):
    triton = loaded("letters_generate")
    hot = {**text("a"), "temperature": np.array([[-1]], np.float32)}
    good, bad, also = triton.batch([(text("a"), {}), (hot, {}), (text("b"), {})])
    assert good.keys() == also.keys()
    assert bad.code() == TritonError.INVALID_ARG
    assert "temperature" in bad.message()
    assert "\n" not in bad.message()


def test_what_nobody_foresaw_is_that_requests_alone_and_in_the_log(loaded, monkeypatch):
    triton = loaded("letters")

    def broken(encoded):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(triton.model.runner, "decode", broken)
    error = triton.ask(text("a"))
    assert (error.message(), error.code()) == ("RuntimeError: out of luck", TritonError.INTERNAL)
    assert "Traceback" in logged[-1]


# ---- sequences


def steps_of(letters, written):
    """What the step signature answers to each letter, its states carried by hand."""
    program, found = letters[0].programs["step"], []
    states = program.initial(1)
    for letter in written:
        outputs = program.run({"tokens": token(letter)["tokens"][:, 0], **states})
        states = {name: outputs[f"{name}_next"] for name in states}
        found.append(outputs["log_probabilities"])
    return found


def test_two_sequences_that_take_turns_equal_each_alone(loaded, letters):
    triton, written = loaded("letters_step"), {7: "hill", 8: "cat"}
    want = {sequence: steps_of(letters, word) for sequence, word in written.items()}
    # (sequence, step): alone, together in either order, and the end of one before the other's.
    for batch in ([(7, 0)], [(8, 0), (7, 1)], [(7, 2), (8, 1)], [(8, 2)], [(7, 3)]):
        answers = triton.batch([
            (token(written[sequence][step]), {"sequence": sequence, "start": step == 0,
                                              "end": step == len(written[sequence]) - 1})
            for sequence, step in batch
        ])  # fmt: skip
        for (sequence, step), answer in zip(batch, answers, strict=True):
            assert_equal(answer, {"log_probabilities": want[sequence][step]})
    assert not triton.model.sequences.open


def test_a_step_that_fails_leaves_its_sequence_where_it_was(loaded, letters):
    triton = loaded("letters_step")
    first, second = steps_of(letters, "at")
    unknown = {"tokens": np.array([[10_000]], np.int32)}
    assert isinstance(triton.ask(unknown, sequence=3, start=True), TritonError)
    assert_equal(triton.ask(token("a"), sequence=3), {"log_probabilities": first})
    assert isinstance(triton.ask(unknown, sequence=3), TritonError)
    assert_equal(triton.ask(token("t"), sequence=3), {"log_probabilities": second})
    assert isinstance(triton.ask(unknown, sequence=3, end=True), TritonError)
    assert not triton.model.sequences.open


def test_a_start_flag_begins_anew(loaded, letters):
    triton = loaded("letters_step")
    first, _ = steps_of(letters, "at")
    for _ in range(2):
        answer = triton.ask(token("a"), sequence=3, start=True)
        assert_equal(answer, {"log_probabilities": first})


def test_idle_sequences_are_forgotten(loaded, monkeypatch):
    from serving.runtime import triton_model

    clock = [100.0]
    monkeypatch.setattr(triton_model.time, "monotonic", lambda: clock[0])
    triton = loaded("letters_step")
    triton.ask(token("a"), sequence=1, start=True)
    clock[0] += 100
    triton.ask(token("a"), sequence=2, start=True)
    clock[0] += 100  # the first has been idle for 200 seconds, twice Triton's minute and more
    error = triton.ask(token("b"), sequence=1)
    assert "sequence 1 is not open" in error.message()
    assert error.code() == TritonError.NOT_FOUND
    assert list(triton.model.sequences.open) == [2]


# ---- the code that a model carries


def test_the_code_is_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        write_code(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {
            "common", "decoding", "pipelines", "serving"
        }  # fmt: skip


CHILD = """
import importlib.util, json, sys, types
from pathlib import Path

model, missing = Path(sys.argv[1]), sys.argv[2:]
sys.modules["triton_python_backend_utils"] = types.ModuleType("triton_python_backend_utils")
sys.modules.update(dict.fromkeys(missing))
spec = importlib.util.spec_from_file_location("model", model / "model.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
triton = module.TritonPythonModel()
config = {"max_batch_size": 2, "parameters": {"signature": {"string_value": "serving_default"},
                                              "threads": {"string_value": "1"}}}
triton.initialize({"model_config": json.dumps(config), "model_repository": str(model.parent),
                   "model_version": model.name})
triton.finalize()
here = [name for name, m in sys.modules.items() if "seqloom.zip" in str(getattr(m, "__file__", ""))]
print(json.dumps({"zip": here, "heavy": [n for n in ("tensorflow", "keras") if n in sys.modules]}))
"""


def child(model, *missing):
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(model), *missing],
        cwd=model, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_model_runs_on_the_code_it_carries_alone(repository):
    done = child(repository / "letters" / "3")
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert {"serving.predictor", "pipelines.language", "common.errors"} <= set(found["zip"])
    assert not found["heavy"]


def test_what_python_lacks_is_named_with_what_to_install(repository):
    done = child(repository / "letters" / "3", "onnxruntime")
    assert "Triton's Python has no onnxruntime: pip install numpy onnxruntime" in done.stderr
