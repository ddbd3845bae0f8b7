"""The recurrent stack: shapes, padding, and the conditions of the fast kernels."""

import keras
import numpy as np
import pytest

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


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_in_two_parts_with_the_states_handed_over_is_the_whole(cell, masked):
    config = RecurrentConfig(cell=cell, layers=2, units=3, bidirectional=False, dropout=0.0)
    tokens = keras.Input((None,), dtype="int32")
    embedding = keras.layers.Embedding(9, 4, mask_zero=masked)
    y, states = recurrent_stack(embedding(tokens), config, return_states=True)
    whole = keras.Model(tokens, {"y": y, **states})
    assert list(states) == stack_state_names(config)
    begin = {name: keras.Input((3,), name=name) for name in states}
    rest = keras.Model(
        {"tokens": tokens, **begin},
        recurrent_stack(embedding(tokens), config, states=begin, prefix="rest_"),
    )
    rest.set_weights(whole.get_weights())
    ids = np.random.default_rng(0).integers(1, 9, (3, 7))
    want, first = whole.predict_on_batch(ids), whole.predict_on_batch(ids[:, :4])
    got = rest.predict_on_batch({"tokens": ids[:, 4:], **{name: first[name] for name in states}})
    np.testing.assert_allclose(got, want["y"][:, 4:], atol=1e-6)
    if masked:  # the states are those after the last step that counts
        longer = whole.predict_on_batch(np.pad(ids, ((0, 0), (0, 2))))
        for name in states:
            np.testing.assert_allclose(longer[name], want[name], atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_states_of_both_directions_have_their_names(cell):
    config = RecurrentConfig(cell=cell, layers=2, units=3, bidirectional=True)
    _, states = recurrent_stack(keras.Input((None, 2)), config, return_states=True)
    assert list(states) == stack_state_names(config)
    assert all(tuple(state.shape) == (None, 3) for state in states.values())
    assert f"{cell}_1_backward_h" in states
