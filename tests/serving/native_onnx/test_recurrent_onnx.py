"""Every recurrent configuration as native operators, equal to Keras on ragged batches."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from serving.errors import ServingError
from serving.native_onnx import build_onnx
from tests.serving.native_onnx.parity import (
    BOUND,
    assert_same,
    left_padded,
    ragged_ids,
    randomise,
    session_of,
    with_holes,
)

CELLS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
SHAPES = ((1, 1, False), (4, 7, True), (2, 4, False))


def embedded(masked=True):
    ids = keras.Input((None,), dtype="int32", name="ids")
    return ids, layers.Embedding(9, 4, mask_zero=masked)(ids)


def check(ids, outputs):
    model = keras.Model(ids, outputs)
    randomise(model)
    session, known = session_of(model), session_of(model, right_padded={"ids": 0})
    random = np.random.default_rng(1)
    for batch, time, empty in SHAPES:
        ragged = ragged_ids(random, batch, time, empty=empty)
        # In one batch, for Keras's time is that of its steps.
        tokens = [ragged, left_padded(ragged), with_holes(random, batch + 2, time)]
        tokens = np.concatenate([*tokens, np.zeros((1, time), np.int32)])
        assert_same(model, {"ids": tokens}, session=session)
        for got, want in zip(
            known.run(None, {"ids": ragged}), session.run(None, {"ids": ragged}), strict=True
        ):
            np.testing.assert_allclose(got, want, atol=BOUND)
    return session


@st.composite
def configurations(draw):
    cell = draw(st.sampled_from(sorted(CELLS)))
    options = {
        "return_sequences": draw(st.booleans()),
        "return_state": draw(st.booleans()),
        "use_bias": draw(st.booleans()),
        "activation": draw(st.sampled_from(["tanh", "tanh", "sigmoid", "relu", "softsign", "elu"])),
    }
    if cell != "simple_rnn":
        options["recurrent_activation"] = draw(st.sampled_from(["sigmoid", "hard_sigmoid"]))
    if cell == "gru":
        options["reset_after"] = draw(st.booleans())
    options["zero_output_for_mask"] = draw(st.booleans())
    direction = draw(st.sampled_from(["forward", "backward", "both"]))
    merge = draw(st.sampled_from(["concat", "sum", "mul", "ave", None]))
    return cell, options, direction, merge, draw(st.booleans()), draw(st.booleans())


@settings(max_examples=6, deadline=None)
@given(configurations())
def test_every_configuration_equals_keras(configuration):
    check_configuration(configuration)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=False)
@given(configurations())
def test_many_configurations_equal_keras(configuration):
    check_configuration(configuration)


def check_configuration(configuration):
    cell, options, direction, merge, masked, stated = configuration
    keras.backend.clear_session()
    ids, x = embedded(masked)
    layer = CELLS[cell](3, go_backwards=direction == "backward", **options)
    if direction == "both":
        layer = layers.Bidirectional(layer, merge_mode=merge)
    arguments = {}
    if stated:
        count = (2 if cell == "lstm" else 1) * (2 if direction == "both" else 1)
        first = layers.GlobalMaxPooling1D()(x)
        arguments["initial_state"] = [layers.Dense(3)(first) for _ in range(count)]
        if masked:  # Keras drops a mask that is not given beside states
            arguments["mask"] = x._keras_mask
    check(ids, keras.tree.flatten(layer(x, **arguments)))


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_mask_that_keras_drops_beside_states_is_dropped_here(cell):
    ids, x = embedded()
    states = [layers.Dense(3)(layers.GlobalMaxPooling1D()(x)) for _ in range(1 + (cell == "lstm"))]
    check(ids, CELLS[cell](3)(x, initial_state=states))


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_stacks_with_residuals_and_normalisation(cell):
    ids, x = embedded()
    x = layers.Bidirectional(CELLS[cell](3, return_sequences=True))(x)
    for _ in range(2):
        y = layers.SpatialDropout1D(0.5)(x)
        y = layers.Bidirectional(CELLS[cell](3, return_sequences=True))(y)
        x = layers.LayerNormalization()(layers.Add()([x, y]))
    check(ids, [layers.Dense(2, "softmax")(x), layers.Bidirectional(CELLS[cell](3))(x)])


def test_an_encoder_hands_its_states_to_a_decoder():
    source, x = embedded()
    _, *states = layers.LSTM(3, return_state=True)(x)
    target = keras.Input((None,), dtype="int32", name="target")
    y = layers.Embedding(9, 4, mask_zero=True)(target)
    y = layers.LSTM(3, return_sequences=True)(y, initial_state=states, mask=y._keras_mask)
    model = keras.Model({"ids": source, "target": target}, layers.Dense(9)(y))
    randomise(model)
    random = np.random.default_rng(2)
    feeds = {"ids": ragged_ids(random, 3, 6, empty=True), "target": ragged_ids(random, 3, 4)}
    assert_same(model, feeds)


def test_the_operators_are_native_and_take_no_lengths():
    ids, x = embedded()
    x = layers.GRU(4, return_sequences=True)(x)
    nodes = build_onnx(keras.Model(ids, layers.Bidirectional(layers.LSTM(3))(x))).graph.node
    kinds = [node.op_type for node in nodes]
    assert (kinds.count("LSTM"), kinds.count("GRU"), kinds.count("Loop")) == (2, 1, 0)
    assert not any("".join(n.input[4:5]) for n in nodes if n.op_type in ("LSTM", "GRU"))


def test_names_tell_the_layer():
    ids, x = embedded()
    outputs = layers.Dense(2, name="answer")(layers.Bidirectional(layers.GRU(3), name="reader")(x))
    graph = build_onnx(keras.Model(ids, outputs)).graph
    assert {"reader/forward/GRU", "reader/backward/GRU", "answer/MatMul"} <= {
        node.name for node in graph.node
    }
    weights = {tensor.name for tensor in graph.initializer}
    assert {"reader/forward/kernel", "reader/backward/bias", "answer/kernel"} <= weights


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: layers.GRU(3, activation="gelu"), "'.*' uses activation gelu"),
        (lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(2)])), "StackedRNNCells with"),
        (lambda: layers.Bidirectional(layers.RNN(layers.GRUCell(2))), "wraps RNN"),
    ],
)
def test_what_cannot_be_written_is_named(layer, words):
    ids, x = embedded()
    with pytest.raises(ServingError, match=words):
        build_onnx(keras.Model(ids, layer()(x)))
