"""Every recurrent configuration as native operators, equal to Keras on ragged batches."""

import contextlib
import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from serving.errors import ServingError
from serving.native_onnx import build_onnx, export_onnx
from serving.native_onnx.converters import loops
from serving.onnx_core import LOOPS, OnnxCore
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


@contextlib.contextmanager
def always_loops():
    """Layers that have a loop run it for every batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "LEAST_ROWS", 1)
        patch.setattr(loops, "LEAST", {"RNN": 1, "GRU": 1})
        patch.setattr(loops, "LEAST_INT8", {"RNN": 1, "GRU": 1})
        yield


def check(ids, outputs):
    model = keras.Model(ids, outputs)
    randomise(model)
    session, known = session_of(model), session_of(model, right_padded={"ids": 0})
    with always_loops():
        looped = session_of(model)
    random = np.random.default_rng(1)
    for batch, time, empty in SHAPES:
        ragged = ragged_ids(random, batch, time, empty=empty)
        # In one batch, for Keras's time is that of its steps.
        tokens = [ragged, left_padded(ragged), with_holes(random, batch + 2, time)]
        tokens = np.concatenate([*tokens, np.zeros((1, time), np.int32)])
        assert_same(model, {"ids": tokens}, session=session)
        assert_same(model, {"ids": tokens}, session=looped)
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
    model = keras.Model(ids, layers.Bidirectional(layers.LSTM(3))(x))
    nodes = build_onnx(model, processor="gpu").graph.node
    kinds = [node.op_type for node in nodes]
    assert (kinds.count("LSTM"), kinds.count("GRU")) == (2, 1)
    assert not {"Loop", "Scan", "If"} & set(kinds)
    assert not any("".join(n.input[4:5]) for n in nodes if n.op_type in ("LSTM", "GRU"))


@pytest.mark.parametrize(
    ("cell", "units", "rows", "kind"), [("simple_rnn", 32, 4, "RNN"), ("gru", 256, 16, "GRU")]
)
def test_the_size_of_the_batch_chooses_between_operator_and_loop(cell, units, rows, kind):
    ids, x = embedded()
    proto = build_onnx(keras.Model(ids, CELLS[cell](units)(x)), right_padded={"ids": 0})
    (choice,) = [node for node in proto.graph.node if node.op_type == "If"]
    branches = {item.name: {node.op_type for node in item.g.node} for item in choice.attribute}
    assert "Scan" in branches["then_branch"]
    assert kind not in branches["then_branch"]
    assert kind in branches["else_branch"]
    assert "Scan" not in branches["else_branch"]
    numbers = [onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer]
    assert any(number.shape == () and number.dtype == np.int64 and number == rows
               for number in numbers)  # fmt: skip
    # Both read the same weights: no others are as large.
    assert sum(number.size >= units * units for number in numbers) == 1
    taken = {batch: kinds_run(proto, batch) for batch in (rows - 1, rows)}
    assert kind in taken[rows - 1]
    assert "Scan" not in taken[rows - 1]
    assert "Scan" in taken[rows]
    assert kind not in taken[rows]
    assert kind in kinds_run(proto, rows, {LOOPS: np.array(False)})


def kinds_run(proto, batch, replaced=None):
    """Operators that a session ran for so many rows, with some initialisers replaced."""
    options = onnxruntime.SessionOptions()
    values = {n: onnxruntime.OrtValue.ortvalue_from_numpy(a) for n, a in (replaced or {}).items()}
    for name, value in values.items():
        options.add_initializer(name, value)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as scratch:
        options.profile_file_prefix = f"{scratch}/run"
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        session.run(None, {"ids": np.ones((batch, 2), np.int32)})
        events = json.loads(Path(session.end_profiling()).read_text())
    return {event["args"].get("op_name") for event in events if "args" in event}


def test_a_listed_gpu_whose_libraries_do_not_load_leaves_the_loops_on(monkeypatch, tmp_path):
    ids, x = embedded()
    model = keras.Model(ids, layers.SimpleRNN(128)(x))
    export_onnx(model, tmp_path / "model.onnx")
    real, asked = onnxruntime.InferenceSession, []

    def session(path, options, providers):
        asked.append(providers)
        options.enable_profiling = True
        options.profile_file_prefix = str(tmp_path / "run")
        return real(path, options, providers=["CPUExecutionProvider"])

    listed = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    core = OnnxCore(tmp_path / "model.onnx")
    assert asked == [listed[1:], listed[2:]]
    core({"ids": np.ones((32, 2), np.int32)})
    events = json.loads(Path(core.session.end_profiling()).read_text())
    kinds = {event["args"].get("op_name") for event in events if "args" in event}
    assert "Scan" in kinds


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_for_a_gpu_there_are_operators_only(precision):
    ids, x = embedded()
    model = keras.Model(ids, layers.SimpleRNN(128)(x))
    processor = {"fp16": "cpu", "fp32": "gpu"}[precision]
    kinds = {node.op_type for node in build_onnx(model, precision, processor=processor).graph.node}
    assert "RNN" in kinds
    assert "If" not in kinds


@pytest.mark.parametrize("as_integers", [True, False])
@pytest.mark.parametrize("cell", ["simple_rnn", "gru"])
def test_eight_bit_weights_are_stored_once_and_both_ways_answer_alike(
    cell, as_integers, monkeypatch
):
    monkeypatch.setattr(loops, "INT8_WEIGHTS", 0 if as_integers else 1_000_000)
    ids, x = embedded()
    model = keras.Model(ids, layers.Bidirectional(CELLS[cell](256))(x))
    randomise(model, scale=0.05)
    whole, small = (build_onnx(model, precision) for precision in ("fp32", "int8"))
    assert small.ByteSize() < 0.4 * whole.ByteSize()
    with always_loops():
        looped = build_onnx(model, "int8")
    feeds = {"ids": ragged_ids(np.random.default_rng(3), 5, 9, empty=True)}
    for proto in (small, looped):
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        assert_same(model, feeds, bound=2e-2, session=session)


def test_names_tell_the_layer():
    ids, x = embedded()
    outputs = layers.Dense(2, name="answer")(layers.Bidirectional(layers.GRU(3), name="reader")(x))
    graph = build_onnx(keras.Model(ids, outputs), processor="gpu").graph
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
