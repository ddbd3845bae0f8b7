"""The Keras model of one step: against the whole model, as ONNX, and in a tf.while_loop."""

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers, ops

from models.config import RecurrentConfig
from models.one_step import OneStep
from models.recurrent import recurrent_stack, stack_state_names
from serving import StepModel
from serving.errors import ServingError
from serving.fast_recurrent import fast_copy
from serving.native_onnx import build_onnx, export_step_onnx, step_model
from tests.serving.native_onnx.parity import randomise, session_of

CELLS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
BOUND = {"atol": 1e-5, "rtol": 0}


def states_of(step):
    return [name.removesuffix("_next") for name in step.output if name.endswith("_next")]


def zeros(step, rows):
    return {n: np.zeros((rows, *step.input[n].shape[1:]), np.float32) for n in states_of(step)}


def by_keras(step, feeds, constants=None, states=None):
    """Outputs of every step, stacked on axis 1."""
    states = states or zeros(step, len(next(iter(feeds.values()))))
    return stepped(lambda inputs: step(inputs, training=False), feeds, constants, states)


def by_onnx(step, feeds, constants=None, states=None):
    session = session_of(step)
    names = [output.name for output in session.get_outputs()]
    states = states or zeros(step, len(next(iter(feeds.values()))))
    run = lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))  # noqa: E731
    return stepped(run, feeds, constants, states)


def stepped(run, feeds, constants, states):
    outputs = []
    for t in range(next(iter(feeds.values())).shape[1]):
        row = {name: x[:, t] for name, x in feeds.items()}
        got = {n: np.asarray(y) for n, y in run({**row, **(constants or {}), **states}).items()}
        states = {name: got.pop(f"{name}_next") for name in states}
        outputs.append(got)
    return {key: np.stack([o[key] for o in outputs], 1) for key in outputs[0]}


def by_while_loop(step, feeds, constants=None, states=None):
    """One tf.function over the sequence, as a SavedModel holds it."""
    states = states or zeros(step, len(next(iter(feeds.values()))))
    names = [name for name in step.output if not name.endswith("_next")]

    @tf.function
    def loop(feeds, constants, states):
        time = tf.shape(next(iter(feeds.values())))[1]
        arrays = {name: tf.TensorArray(step.output[name].dtype, time) for name in names}

        def body(t, states, arrays):
            row = {name: x[:, t] for name, x in feeds.items()}
            got = step({**row, **constants, **states}, training=False)
            arrays = {name: arrays[name].write(t, got[name]) for name in names}
            return t + 1, {name: got[f"{name}_next"] for name in states}, arrays

        *_, arrays = tf.while_loop(lambda t, *_: t < time, body, (0, states, arrays))
        turned = {name: array.stack() for name, array in arrays.items()}
        return {n: tf.transpose(x, [1, 0, *range(2, x.shape.rank)]) for n, x in turned.items()}

    tensors = tf.nest.map_structure(tf.convert_to_tensor, (feeds, constants or {}, states))
    return loop(*tensors)


def assert_steps(step, want, feeds, constants=None, states=None):
    """Keras, ONNX and tf.while_loop give what the whole model gives."""
    for run in (by_keras, by_onnx, by_while_loop):
        got = run(step, feeds, constants, states)
        assert got.keys() == want.keys()
        for name, x in want.items():
            np.testing.assert_allclose(got[name], np.asarray(x), err_msg=run.__name__, **BOUND)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def a_stack(cell, depth):
    """Ids with a masked embedding and a second input, through the stack of models.recurrent."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    beside = keras.Input((None, 2), name="beside")
    x = layers.Embedding(9, 5, mask_zero=True)(ids)
    x = layers.Concatenate()([x, beside])
    config = RecurrentConfig(cell=cell, layers=depth, units=6, bidirectional=False)
    x = recurrent_stack(x, config)
    outputs = {"logits": layers.Dense(9)(x), "score": ops.squeeze(layers.Dense(1)(x), -1)}
    model = keras.Model({"ids": ids, "beside": beside}, outputs)
    randomise(model)
    return model


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_steps_are_the_whole(cell, depth):
    model = a_stack(cell, depth)
    step = step_model(model)
    parts = ("h", "c") if cell == "lstm" else ("h",)
    names = {f"{cell}_{i}_{part}" for i in range(depth) for part in parts}
    assert set(step.input) == {"ids", "beside", *names}
    assert set(step.output) == {"logits", "score", *(f"{name}_next" for name in names)}
    assert step.output["logits"].shape == (None, 9)
    assert step.output["score"].shape == (None,)
    ids = np.random.default_rng(0).integers(1, 9, (3, 7)).astype(np.int32)
    feeds = {"ids": ids, "beside": normal(1, 3, 7, 2)}
    assert_steps(step, model(feeds, training=False), feeds)


def test_mixed_cells_in_inner_models_with_the_same_names():
    def inner(cell, units):
        x = keras.Input((None, 3))
        y = cell(units, return_sequences=True, name="reader")(x)
        return keras.Model(x, layers.Dense(3, name="dense")(y))

    x = keras.Input((None, 3), name="x")
    y = inner(layers.GRU, 5)(inner(layers.LSTM, 4)(x))
    model = keras.Model(x, y, name="outer")
    randomise(model)
    step = step_model(model)
    assert set(states_of(step)) == {"reader_h", "reader_c", "reader_1_h"}
    feeds = {"x": normal(2, 2, 5, 3)}
    (name,) = set(step.output) - {f"{state}_next" for state in states_of(step)}
    assert_steps(step, {name: model(feeds["x"])}, feeds)


def test_a_sequential_model_and_the_last_output_of_each_prefix():
    model = keras.Sequential([keras.Input((None, 3)), layers.GRU(4, return_sequences=True),
                              layers.LSTM(4, return_state=False), layers.Dense(2)])  # fmt: skip
    randomise(model)
    step = step_model(model)
    x = normal(3, 2, 4, 3)
    (name,) = set(step.output) - {f"{state}_next" for state in states_of(step)}
    (given,) = set(step.input) - set(states_of(step))
    want = np.stack([model(x[:, : t + 1]) for t in range(4)], 1)
    assert_steps(step, {name: want}, {given: x})


@pytest.mark.parametrize("time", [1, 4])
def test_time_is_told_from_shapes_not_from_rank(time):
    """``score [batch, 1]`` has no time axis; ``rows [batch, 1, n]`` of a fixed length has."""
    x = keras.Input((time, 3), name="x")
    y, last = layers.GRU(4, return_sequences=True, return_state=True, name="gru")(x)
    outputs = {"rows": y, "score": layers.Dense(1)(last), "again": ops.expand_dims(last, 1)}
    step = step_model(keras.Model(x, outputs))
    shapes = {name: tensor.shape for name, tensor in step.output.items()}
    assert shapes == {
        "rows": (None, 4), "score": (None, 1), "again": (None, 1, 4), "gru_h_next": (None, 4),
    }  # fmt: skip
    assert step.input["x"].shape == (None, 3)


# ---- an encoder's memory


def a_decoder(cell, attention):
    """Target ids, memory, its lengths, first states: the decoder of an encoder-decoder."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    memory = keras.Input((None, 6), name="memory")
    mask = keras.Input((None,), dtype="bool", name="memory_mask")
    states = [keras.Input((6,), name=f"state_{i}") for i in range(2 if cell == "lstm" else 1)]
    x = layers.Embedding(9, 5, mask_zero=True, name="embedding")(ids)
    x = CELLS[cell](6, return_sequences=True, name="reader")(x, initial_state=states)
    if attention is layers.MultiHeadAttention:
        context = attention(2, 3, name="look")(x, memory, value_mask=mask)
    else:
        context = attention(name="look")([x, memory], mask=[None, mask])
    x = layers.Concatenate()([x, context])
    x = CELLS[cell](6, return_sequences=True, name="writer")(x)
    given = {"ids": ids, "memory": memory, "memory_mask": mask, **{s.name: s for s in states}}
    model = keras.Model(given, {"logits": layers.Dense(9, name="head")(x)}, name="decoder")
    randomise(model)
    return model


def a_decoder_s_feeds(model, rows=3, time=5, source=4):
    ids = np.random.default_rng(4).integers(1, 9, (rows, time)).astype(np.int32)
    mask = np.arange(source)[None] < np.array([source, 2, 1])[:rows, None]
    constants = {"memory": normal(5, rows, source, 6), "memory_mask": mask}
    given = [name for name in model.input if name.startswith("state_")]
    return {"ids": ids}, constants, {name: normal(i, rows, 6) for i, name in enumerate(given)}


@pytest.mark.parametrize(
    "attention", [layers.Attention, layers.AdditiveAttention, layers.MultiHeadAttention]
)
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_memory_is_constant_and_first_states_are_inputs(cell, attention):
    model = a_decoder(cell, attention)
    step = step_model(model, constant=["memory", "memory_mask"])
    feeds, constants, initial = a_decoder_s_feeds(model)
    assert set(states_of(step)) >= set(initial)
    assert not any(name.startswith("reader_") for name in step.input)
    assert step.input["memory"].shape == (None, None, 6)
    states = {**zeros(step, 3), **initial}
    assert_steps(step, model({**feeds, **constants, **initial}), feeds, constants, states)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_stack_that_begins_with_the_states_of_another(cell):
    config = RecurrentConfig(cell=cell, layers=2, units=4, bidirectional=False)
    x = keras.Input((None, 4), name="x")
    given = {name: keras.Input((4,), name=name) for name in stack_state_names(config)}
    y = recurrent_stack(x, config, states=given, prefix="decoder_")
    model = keras.Model({"x": x, **given}, {"y": y})
    randomise(model)
    step = step_model(model)
    assert set(states_of(step)) == set(given)
    feeds, initial = {"x": normal(9, 2, 5, 4)}, {n: normal(i, 2, 4) for i, n in enumerate(given)}
    assert_steps(step, model({**feeds, **initial}), feeds, states=initial)


def test_a_mask_that_keras_hands_on_within_the_constant_part():
    source = keras.Input((None,), dtype="int32", name="source")
    x = keras.Input((None, 4), name="x")
    memory = layers.Embedding(9, 4, mask_zero=True)(source)
    memory = layers.Bidirectional(layers.GRU(2, return_sequences=True))(memory)
    y = layers.GRU(4, return_sequences=True)(x)
    model = keras.Model([source, x], {"y": layers.Attention()([y, memory])})
    randomise(model)
    step = step_model(model, ["source"])
    ids = np.array([[3, 4, 0], [5, 0, 0]], np.int32)
    feeds = {"x": normal(6, 2, 4, 4)}
    assert_steps(step, model([ids, feeds["x"]]), feeds, {"source": ids})


def test_attention_over_what_is_stepped_is_refused():
    x = keras.Input((None, 4), name="x")
    memory = keras.Input((None, 4), name="memory")
    y = layers.GRU(4, return_sequences=True)(x)
    message = r"cannot hold layer 'look' \(Attention\): it looks at more than one time step"
    looking = layers.Attention(name="look")
    for inputs, options in (([y, y], {}), ([memory, y], {}), ([y, memory, y], {}),
                            ([y, memory], {"use_causal_mask": True})):  # fmt: skip
        model = keras.Model([x, memory], looking(inputs, **options))
        with pytest.raises(ServingError, match=message):
            step_model(model, ["memory"])
    with pytest.raises(ServingError, match=message):
        step_model(keras.Model([x, memory], looking([y, memory])))


def test_a_sequence_made_of_a_last_state_is_refused():
    x = keras.Input((None, 3), name="x")
    y = ops.expand_dims(layers.GRU(3)(x), 1)
    with pytest.raises(ServingError, match="cannot hold layer 'again'"):
        step_model(keras.Model(x, layers.GRU(3, name="again")(y)))


def test_joining_along_time_is_refused():
    x = keras.Input((None, 3), name="x")
    y = layers.GRU(3, return_sequences=True)(x)
    with pytest.raises(ServingError, match="cannot hold layer 'longer'"):
        step_model(keras.Model(x, layers.Concatenate(1, name="longer")([x, y])))


# ---- states


def test_inputs_that_nothing_needs_are_left_out():
    model = a_decoder("gru", layers.Attention)
    without = keras.Model(model.input, {"read": model.get_layer("reader").output})
    step = step_model(without, ["memory", "memory_mask"])
    assert set(step.input) == {"ids", "state_0"}


def test_states_that_cannot_be_taken_are_refused():
    x = keras.Input((None, 3), name="x")
    first = keras.Input((3,), name="first")
    gru = layers.GRU(3, return_sequences=True, name="gru")
    computed = keras.Model([x, first], gru(x, initial_state=layers.Dense(3)(first)))
    with pytest.raises(ServingError, match="'gru': its initial_state is computed"):
        step_model(computed, ["first"])
    twice = keras.Model([x, first], gru(gru(x, initial_state=first)))
    with pytest.raises(ServingError, match="'gru': it is called several times"):
        step_model(twice)
    other = layers.GRU(3, name="other")(gru(x, initial_state=first), initial_state=first)
    with pytest.raises(ServingError, match="'first' is the first state"):
        step_model(keras.Model([x, first], other))
    with pytest.raises(ServingError, match="'first' is the first state"):
        step_model(keras.Model([x, first], [gru(x, initial_state=first), layers.Dense(2)(first)]))


def test_wrong_names_are_refused():
    x = keras.Input((None, 3), name="x")
    lengths = keras.Input((), name="lengths")
    y = layers.GRU(3, name="gru")(x)
    with pytest.raises(ServingError, match="has no input 'memory'"):
        step_model(keras.Model(x, y), ["memory"])
    with pytest.raises(ServingError, match="'lengths' has no time axis"):
        step_model(keras.Model([x, lengths], y + lengths[:, None]))
    with pytest.raises(ServingError, match="two outputs of the step model are called 'gru_h_next'"):
        step_model(keras.Model(x, {"gru_h_next": y}))
    clash = keras.Input((None, 3), name="gru_h")
    with pytest.raises(ServingError, match="two inputs of the step model are called 'gru_h'"):
        step_model(keras.Model([x, clash], layers.GRU(3, name="gru")(x + clash)))


def test_a_stateful_model_with_a_fixed_batch_has_steps():
    x = keras.Input(batch_shape=(1, 1, 3), name="x")
    model = keras.Model(x, {"y": layers.LSTM(4, stateful=True, return_sequences=True)(x)})
    randomise(model)
    step = step_model(model)
    assert step.input["x"].shape == (1, 3)
    model.layers[-1].reset_states()
    rows = normal(7, 1, 5, 3)
    want = {"y": np.stack([np.asarray(model(rows[:, t : t + 1])["y"])[:, 0] for t in range(5)], 1)}
    assert_steps(step, want, {"x": rows})


# ---- the model itself, files


def test_the_model_is_left_as_it_is():
    model = a_stack("lstm", 2)
    before = {op.name: len(op._inbound_nodes) for op in model.operations}
    weights = [np.array(w) for w in model.get_weights()]
    step = step_model(model)
    step.set_weights([w + 1 for w in step.get_weights()])
    assert {op.name: len(op._inbound_nodes) for op in model.operations} == before
    assert model.get_layer("lstm_0").use_cudnn == "auto"
    assert all(x.mask_zero for x in model.layers if isinstance(x, layers.Embedding))
    for was, now in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, was)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_saved_and_loaded(cell, tmp_path):
    model = a_decoder(cell, layers.AdditiveAttention)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    step = step_model(model, ["memory", "memory_mask"])
    step.save(tmp_path / "step.keras")
    loaded = keras.models.load_model(tmp_path / "step.keras")
    feeds, constants, initial = a_decoder_s_feeds(model)
    states = {**zeros(step, 3), **initial}
    want = model({**feeds, **constants, **initial})
    assert_steps(loaded, want, feeds, constants, states)
    assert any(isinstance(layer, OneStep) for layer in loaded.layers)


def test_the_copy_for_a_savedmodel_and_the_half_precision_file_step_too(tmp_path):
    model = a_stack("gru", 2)
    step = step_model(model)
    feeds = {"ids": np.array([[3, 4, 5]], np.int32), "beside": normal(8, 1, 3, 2)}
    want = model(feeds, training=False)
    got = by_while_loop(fast_copy(step), feeds)
    np.testing.assert_allclose(got["logits"], want["logits"], **BOUND)
    half = onnxruntime.InferenceSession(
        build_onnx(step, "fp16").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    types = {x.name: x.type for x in [*half.get_inputs(), *half.get_outputs()]}
    assert {t for name, t in types.items() if name != "ids"} == {"tensor(float)"}
    export_step_onnx(model, tmp_path / "step.onnx", "int8")
    *_, last = StepModel(tmp_path / "step.onnx").run(feeds)
    np.testing.assert_allclose(last["logits"], want["logits"][:, -1], atol=0.3)


def test_one_native_operator_for_each_layer():
    kinds = [node.op_type for node in build_onnx(step_model(a_stack("lstm", 2))).graph.node]
    assert kinds.count("LSTM") == 2
    assert not {"Loop", "Scan", "If"} & set(kinds)
