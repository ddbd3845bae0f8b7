"""StepModel on unusual sizes: what would end the process natively is answered or refused."""

import keras
import numpy as np
import pytest
from keras import layers
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from serving.errors import RequestError
from serving.native_onnx import export_onnx, step_model
from serving.steps import StepModel


@pytest.fixture(scope="module", params=[layers.SimpleRNN, layers.LSTM, layers.GRU])
def steps(request, tmp_path_factory):
    """Ids and an encoder's memory; gives logits and where attention looked."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    memory = keras.Input((None, 4), name="memory")
    x = layers.Embedding(9, 3)(ids)
    y = request.param(4, return_sequences=True, name="reader")(x)
    context, scores = layers.Attention()([y, memory], return_attention_scores=True)
    best = keras.ops.cast(scores > 0.5, "int32")
    model = keras.Model([ids, memory], {"y": context, "scores": scores, "best": best})
    path = tmp_path_factory.mktemp("steps") / "step.onnx"
    export_onnx(step_model(model, ["memory"]), path)
    return StepModel(path, threads=1)


def feeds(rows, source=5):
    return {"ids": np.ones(rows, np.int32), "memory": np.ones((rows, source, 4), np.float32)}


def test_no_rows_have_an_empty_answer(steps):
    outputs, states = steps.step(feeds(0), steps.initial(0))
    some, _ = steps.step(feeds(2), steps.initial(2))
    assert outputs.keys() == some.keys()
    for name, array in outputs.items():
        assert array.shape == (0, *some[name].shape[1:])
        assert array.dtype == some[name].dtype
    assert {name: array.shape for name, array in states.items()} == dict.fromkeys(
        steps.states, (0, 4)
    )
    sequences = {**feeds(0), "ids": np.ones((0, 3), np.int32)}
    assert [step["y"].shape for step in steps.run(sequences)] == [(0, 4)] * 3
    assert list(steps.run({**feeds(2), "ids": np.ones((2, 0), np.int32)})) == []


def test_memory_is_given_whole_and_unknown_inputs_are_ignored(steps):
    sequences = {**feeds(2), "ids": np.ones((2, 3), np.int32), "lengths": np.ones(2)}
    assert [step["scores"].shape for step in steps.run(sequences)] == [(2, 5)] * 3


@pytest.mark.parametrize(("change", "message"), [
    ({"ids": np.ones((2, 1), np.int32)}, "input 'ids' has shape [2, 1]; the model takes "),
    ({"memory": np.ones((3, 5, 4), np.float32)}, "input 'memory' has shape [3, 5, 4]"),
    ({"memory": np.ones((2, 5, 3), np.float32)}, "input 'memory' has shape [2, 5, 3]"),
    ({"memory": np.ones((2, 0, 4), np.float32)}, "input 'memory' has shape [2, 0, 4]"),
    ({"memory": np.float32(1)}, "input 'memory' has shape []"),
    ({"reader_h": np.ones((2, 0), np.float32)}, "input 'reader_h' has shape [2, 0]"),
    ({"reader_h": np.ones((2, 1), np.float32)}, "input 'reader_h' has shape [2, 1]"),
    ({"ids": np.ones(2)}, "input 'ids' is of type float64; the model takes int32"),
    ({"ids": np.array(["1", "2"], object)}, "input 'ids' is of type object"),
])  # fmt: skip
def test_impossible_shapes_are_refused_by_name(steps, change, message):
    given = {**feeds(2), **steps.initial(2)}
    with pytest.raises(RequestError) as error:
        steps.step({**given, **change}, {})
    assert message in str(error.value)


def test_what_is_missing_is_named(steps):
    with pytest.raises(RequestError, match="needs input 'memory'"):
        steps.step({"ids": np.ones(2, np.int32)}, steps.initial(2))
    with pytest.raises(RequestError, match="has a time axis"):
        list(steps.run(feeds(2)))


def test_an_id_that_the_embedding_does_not_have_is_refused(steps):
    with pytest.raises(RequestError):
        steps.step({**feeds(2), "ids": np.array([1, 9], np.int32)}, steps.initial(2))


@pytest.mark.parametrize(("kind", "code"), [
    (errors.InvalidArgument, "INVALID_ARGUMENT"), (errors.Fail, "INTERNAL"),
    (errors.RuntimeException, "INTERNAL"),
])  # fmt: skip
def test_what_the_runtime_says_is_passed_on(steps, monkeypatch, kind, code):
    class Broken:
        def run(self, names, arrays):
            raise kind("bad")

    monkeypatch.setattr(steps, "session", Broken())
    with pytest.raises(RequestError, match="bad") as error:
        steps.step(feeds(2), steps.initial(2))
    assert error.value.code == code


def test_sequences_of_different_lengths_are_refused(tmp_path):
    given = {name: keras.Input((None, 2), name=name) for name in ("a", "b")}
    both = layers.Concatenate()(list(given.values()))
    y = layers.GRU(3, return_sequences=True, name="reader")(both)
    export_onnx(step_model(keras.Model(given, {"y": y})), tmp_path / "step.onnx")
    model = StepModel(tmp_path / "step.onnx", threads=1)
    rows = {"a": np.ones((2, 5, 2), np.float32), "b": np.ones((2, 4, 2), np.float32)}
    with pytest.raises(RequestError, match="b has 4"):
        list(model.run(rows))
