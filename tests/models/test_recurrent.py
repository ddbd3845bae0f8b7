"""The recurrent stack: shapes, padding, and the conditions of the fast kernels."""

import keras
import numpy as np
import pytest

from common.errors import ConfigError
from models.config import RecurrentConfig
from models.pooling import pooled_stack
from models.recurrent import rebuilt_without_cudnn, recurrent_stack, stack_state_names
from models.text_classification_config import TextConfig

CELLS = ("simple_rnn", "lstm", "gru")
PATHS = [(1, "last"), (1, "attention"), (2, "max"), (3, "mean"), (4, "last")]


def classifier(config):
    """Token ids to a pooled vector."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(20, 6, mask_zero=True)(tokens)
    return keras.Model(tokens, pooled_stack(x, config))


def recurrent_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.layers.Bidirectional):
            yield from (layer.forward_layer, layer.backward_layer)
        elif isinstance(layer, keras.layers.RNN):
            yield layer


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("layers", "pooling"), PATHS)
def test_padding_changes_nothing(cell, bidirectional, layers, pooling):
    keras.utils.set_random_seed(1)
    config = TextConfig(
        cell=cell, bidirectional=bidirectional, layers=layers, units=5, pooling=pooling
    )
    model = classifier(config)
    rows = [[2, 3], [2, 7, 8, 9, 3], [2, 5, 6, 7, 8, 9, 10, 3]]
    padded = keras.utils.pad_sequences(rows, padding="post", maxlen=11)
    together = np.asarray(model(padded, training=False))  # untraced, which would take longest
    assert together.shape == (3, 10 if bidirectional else 5)
    for row, expected in zip(rows, together, strict=True):
        alone = np.asarray(model(np.array([row]), training=False))
        np.testing.assert_allclose(alone[0], expected, atol=1e-5)


def test_parameters_by_hand():
    # E inputs, H units: G (E H + H H + H) with G gates; Keras's GRU has two biases.
    counts = {"simple_rnn": 6 * 5 + 25 + 5, "lstm": 4 * (30 + 25 + 5), "gru": 3 * (30 + 25 + 10)}
    for cell, count in counts.items():
        one = TextConfig(cell=cell, bidirectional=False, units=5, pooling="last")
        assert classifier(one).count_params() == 20 * 6 + count
        both = one.updated(bidirectional=True)
        assert classifier(both).count_params() == 20 * 6 + 2 * count


def test_residuals_and_normalisation_begin_with_the_second_layer():
    shallow = classifier(TextConfig(layers=1, units=4))
    deep = classifier(TextConfig(layers=3, units=4))
    kinds = [type(layer).__name__ for layer in shallow.layers]
    assert "Add" not in kinds
    assert "LayerNormalization" not in kinds
    kinds = [type(layer).__name__ for layer in deep.layers]
    assert kinds.count("Add") == kinds.count("LayerNormalization") == 2


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_every_layer_keeps_the_arguments_that_cudnn_demands(cell):
    model = classifier(TextConfig(cell=cell, layers=3, units=4, dropout=0.5))
    found = list(recurrent_layers(model))
    assert len(found) == 6
    for layer in found:
        config = layer.get_config()
        assert config["activation"] == "tanh"
        assert config["recurrent_activation"] == "sigmoid"
        assert config["recurrent_dropout"] == 0
        assert config["use_bias"]
        assert not config["unroll"]
        assert config.get("reset_after", True)
        assert config["kernel_initializer"]["class_name"] == "GlorotUniform"
        assert config["recurrent_initializer"]["class_name"] == "Orthogonal"


def test_the_copy_for_export_never_chooses_cudnn():
    model = classifier(TextConfig(layers=2, units=4))
    copy = rebuilt_without_cudnn(model)
    assert all(layer.use_cudnn is False for layer in recurrent_layers(copy))
    tokens = np.array([[2, 5, 6, 3, 0]])
    np.testing.assert_array_equal(copy.predict_on_batch(tokens), model.predict_on_batch(tokens))


def test_the_copy_of_a_mixed_precision_model_computes_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = classifier(TextConfig(units=4))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float16"
    copy = rebuilt_without_cudnn(model)
    assert copy.output.dtype == "float32"
    assert all(layer.compute_dtype == "float32" for layer in recurrent_layers(copy))
    tokens = np.array([[2, 5, 6, 3]])
    np.testing.assert_allclose(
        copy.predict_on_batch(tokens), model.predict_on_batch(tokens), atol=5e-3
    )


# ---- states


def stack_with_states(config, mask=True):
    """Ids to the output of a stack and its last states."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(20, 6, mask_zero=mask)(tokens)
    y, states = recurrent_stack(x, config, return_states=True)
    return keras.Model(tokens, {"y": y, **states})


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_last_states_are_those_of_the_last_valid_step(cell, bidirectional, layers):
    config = RecurrentConfig(cell=cell, bidirectional=bidirectional, layers=layers, units=5)
    model = stack_with_states(config)
    names = stack_state_names(config)
    assert len(names) == layers * (1 + bidirectional) * (2 if cell == "lstm" else 1)
    rows = [[2, 3], [2, 7, 8, 9, 3], [2, 5, 6, 7, 8, 9, 10, 3]]
    together = model.predict_on_batch(keras.utils.pad_sequences(rows, padding="post", maxlen=11))
    assert together.keys() == {"y", *names}
    for i, row in enumerate(rows):
        alone = model.predict_on_batch(np.array([row]))
        for name in names:
            assert together[name].shape == (3, 5)
            np.testing.assert_allclose(together[name][i], alone[name][0], atol=1e-5)


def test_states_of_both_directions_by_hand():
    """h of a direction is its last output: of the last step forward, of the first backward."""
    got = stack_with_states(RecurrentConfig(units=5)).predict_on_batch(np.array([[2, 5, 7, 0]]))
    assert list(got) == ["y", "gru_0_h", "gru_0_backward_h"]
    np.testing.assert_allclose(got["gru_0_h"], got["y"][:, 2, :5], atol=1e-6)
    np.testing.assert_allclose(got["gru_0_backward_h"], got["y"][:, 0, 5:], atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
def test_a_sequence_in_two_halves_is_the_whole(cell, layers):
    config = RecurrentConfig(cell=cell, bidirectional=False, layers=layers, units=5)
    whole = stack_with_states(config, mask=False)
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    states = {name: keras.Input((5,), name=name) for name in stack_state_names(config)}
    x = keras.layers.Embedding(20, 6)(tokens)
    y, after = recurrent_stack(x, config, states=states, return_states=True)
    second = keras.Model({"tokens": tokens, **states}, {"y": y, **after})
    second.set_weights(whole.get_weights())
    rows = np.random.default_rng(0).integers(1, 20, (2, 7))
    want, first = whole.predict_on_batch(rows), whole.predict_on_batch(rows[:, :4])
    begins = {name: first[name] for name in states}
    got = second.predict_on_batch({"tokens": rows[:, 4:], **begins})
    np.testing.assert_allclose(got["y"], want["y"][:, 4:], atol=1e-6)
    for name in states:
        np.testing.assert_allclose(got[name], want[name], atol=1e-6)


def test_an_encoder_hands_its_states_to_a_decoder_in_one_model():
    config = RecurrentConfig(cell="lstm", bidirectional=False, layers=2, units=4, dropout=0.1)
    x, z = keras.Input((None, 3), name="x"), keras.Input((None, 3), name="z")
    _, states = recurrent_stack(x, config, return_states=True)
    y = recurrent_stack(z, config, states=states, prefix="decoder_")
    model = keras.Model([x, z], y)
    assert {layer.name for layer in model.layers} >= {"lstm_1", "decoder_lstm_1"}
    assert y.shape == (None, None, 4)


def test_states_of_another_configuration_are_refused():
    config = RecurrentConfig(cell="gru", bidirectional=False, layers=2, units=4)
    x = keras.Input((None, 3))
    for states in ({}, {"gru_0_h": keras.Input((4,))}):
        with pytest.raises(ConfigError, match="has the states gru_0_h, gru_1_h; given were"):
            recurrent_stack(x, config, states=states)


def test_layers_and_weights_are_the_same_with_and_without_states():
    config = RecurrentConfig(cell="lstm", layers=2, units=4)
    x = keras.Input((None, 3), name="x")
    plain = keras.Model(x, recurrent_stack(x, config))
    stateful = keras.Model(x, recurrent_stack(x, config, return_states=True)[0])
    assert [layer.name for layer in plain.layers] == [layer.name for layer in stateful.layers]
    stateful.set_weights(plain.get_weights())
    rows = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(plain.predict_on_batch(rows), stateful.predict_on_batch(rows))
