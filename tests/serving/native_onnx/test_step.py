"""The model of one step, run step by step, against the model of whole sequences."""

import keras
import numpy as np
import pytest
from keras import layers

from serving.errors import ServingError
from serving.native_onnx import build_onnx, step_model
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
