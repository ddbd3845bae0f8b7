"""The model of one step, run step by step, against the model of whole sequences."""

import keras
import numpy as np
import pytest
from keras import layers

from models.config import RecurrentConfig
from models.recurrent import recurrent_stack, stack_state_names
from serving.errors import RequestError, ServingError
from serving.native_onnx import build_onnx, export_onnx, step_model
from serving.onnx_core import OnnxCore
from tests.serving.native_onnx.parity import randomise, session_of

CELLS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}


def step_by_step(session, name, rows):
    """Outputs of every step, stacked on axis 1, beginning with zero states."""
    states = {
        i.name: np.zeros((len(rows), i.shape[1]), np.float32)
        for i in session.get_inputs() if i.name != name
    }  # fmt: skip
    names = [output.name for output in session.get_outputs()]
    outputs = []
    for t in range(rows.shape[1]):
        got = dict(zip(names, session.run(names, {name: rows[:, t], **states}), strict=True))
        states = {state: got.pop(f"{state}_next") for state in states}
        outputs.append(got)
    return {key: np.stack([o[key] for o in outputs], 1) for key in outputs[0]}


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_language_model_step_by_step(cell):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    for depth in range(2):
        x = CELLS[cell](5, return_sequences=True, name=f"{cell}_{depth}")(x)
    model = keras.Model({"ids": ids}, {"logits": layers.Dense(9)(layers.LayerNormalization()(x))})
    randomise(model)
    rows = np.random.default_rng(0).integers(1, 9, (3, 8)).astype(np.int32)
    got = step_by_step(session_of(step_model(model)), "ids", rows)
    want = model({"ids": rows})["logits"]
    np.testing.assert_allclose(got["logits"], want, atol=1e-5)


def test_last_output_after_each_step_is_that_of_the_prefix():
    x = keras.Input((None, 3), name="x")
    y = layers.GRU(4, return_sequences=True)(x)
    model = keras.Model({"x": x}, {"y": layers.Dense(2)(layers.LSTM(4)(y))})
    randomise(model)
    rows = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    got = step_by_step(session_of(step_model(model)), "x", rows)["y"]
    for t in range(5):
        np.testing.assert_allclose(got[:, t], model({"x": rows[:, : t + 1]})["y"], atol=1e-5)


def test_signature_of_a_step():
    x = keras.Input((None, 3), name="x")
    model = keras.Model({"x": x}, {"y": layers.LSTM(4, return_sequences=True, name="reader")(x)})
    graph = build_onnx(step_model(model)).graph

    def shapes(values):
        return {
            v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in values
        }

    states = {"reader_h": ["batch", 4], "reader_c": ["batch", 4]}
    assert shapes(graph.input) == {"x": ["batch", 3], **states}
    nexts = {f"{name}_next": shape for name, shape in states.items()}
    assert shapes(graph.output) == {"y": ["batch", 4], **nexts}


@pytest.mark.parametrize("layer", [
    layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both_ways"),
    layers.Conv1D(3, 2, name="window"),
    layers.GlobalMaxPooling1D(name="pool"),
    layers.GRU(3, go_backwards=True, name="backwards"),
])  # fmt: skip
def test_what_looks_at_several_steps_is_refused_by_name(layer):
    x = keras.Input((None, 3), name="x")
    y = layer(layers.GRU(3, return_sequences=True)(x))
    with pytest.raises(ServingError, match=f"a step model cannot hold layer '{layer.name}'"):
        step_model(keras.Model(x, y))


def test_a_model_without_states_has_no_steps():
    x = keras.Input((None, 3), name="x")
    with pytest.raises(ServingError, match="no recurrent layer"):
        step_model(keras.Model(x, layers.Dense(2)(x)))


def a_decoder(cell):
    """Ids, a memory to attend to, and the states to begin with: to what is likely to follow."""
    config = RecurrentConfig(cell=cell, layers=2, units=4, bidirectional=False, dropout=0.0)
    ids = keras.Input((None,), dtype="int32", name="ids")
    memory = keras.Input((None, 4), name="memory")
    begin = {name: keras.Input((4,), name=name) for name in stack_state_names(config)}
    x = layers.Embedding(9, 4)(ids)
    x = recurrent_stack(x, config, states=begin)
    x = layers.Concatenate()([x, layers.Attention()([x, memory])])
    return keras.Model({"ids": ids, "memory": memory, **begin}, {"logits": layers.Dense(9)(x)})


@pytest.mark.parametrize("cell", ["simple_rnn", "gru", "lstm"])
def test_a_decoder_keeps_its_memory_and_begins_with_the_states_that_it_is_given(cell, tmp_path):
    model, rng = a_decoder(cell), np.random.default_rng(0)
    ids = rng.integers(0, 9, (2, 5)).astype(np.int32)
    given = {
        name: rng.normal(size=(2, *(size or 3 for size in tensor.shape[1:]))).astype(np.float32)
        for name, tensor in zip(sorted(model.input), model.inputs, strict=True) if name != "ids"
    }  # fmt: skip
    want = model.predict_on_batch({"ids": ids, **given})["logits"]
    step = step_model(model, constant=("memory",))
    step.save(tmp_path / "step.keras")
    loaded = keras.models.load_model(tmp_path / "step.keras")
    states = {name: value for name, value in given.items() if name != "memory"}
    for t in range(5):
        now = {"ids": ids[:, t], "memory": given["memory"], **states}
        found = loaded.predict_on_batch(now)
        np.testing.assert_allclose(found["logits"], want[:, t], atol=1e-5)
        states = {name: found[f"{name}_next"] for name in states}


def test_what_looks_at_the_sequence_that_it_writes_is_refused():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.GRU(4, return_sequences=True)(layers.Embedding(9, 4)(ids))
    model = keras.Model({"ids": ids}, {"y": layers.Attention(name="backwards")([x, x])})
    with pytest.raises(ServingError, match="layer 'backwards'"):
        step_model(model)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_nothing_empty_reaches_a_kernel(cell, tmp_path):
    x = keras.Input((None, 2), name="x")
    model = keras.Model({"x": x}, {"y": CELLS[cell](3, return_sequences=True)(x)})
    export_onnx(model, tmp_path / "model.onnx")
    core = OnnxCore(tmp_path / "model.onnx")
    assert core({"x": np.zeros((0, 4, 2), np.float32)})["y"].shape[0] == 0
    with pytest.raises(RequestError, match=r"input 'x' has shape \[2, 0, 2\]"):
        core({"x": np.zeros((2, 0, 2), np.float32)})
