"""Integrated gradients against attributions worked by hand, and their completeness."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.attribution import gradients_at, integrated_gradients


class Square(keras.layers.Layer):
    def call(self, x):
        return tf.reduce_sum(x**2, axis=[1, 2])


def test_a_square_and_a_product_by_hand():
    x = keras.Input((2, 1), name="x")
    model = keras.Model({"x": x}, {"y": Square()(x)})
    inputs = {"x": np.array([[[3.0], [1.0]]], np.float32)}
    zeros = np.zeros((2, 1), np.float32)
    found = integrated_gradients(model, inputs, lambda y: y["y"], {"x": zeros})
    # Of x squared from 0: x squared; from 1: x squared less 1.
    np.testing.assert_allclose(found.entries["x"].attributions[:, 0], [9, 1], rtol=1e-5)
    found = integrated_gradients(model, inputs, lambda y: y["y"], {"x": zeros + 1})
    np.testing.assert_allclose(found.entries["x"].attributions[:, 0], [8, 0], atol=1e-5)
    assert (found.score, found.baseline_score) == (10, 2)
    assert found.complete
    # Gradient times input doubles a square, and so is not complete.
    plain = gradients_at(model, inputs, lambda y: y["y"], {"x": zeros})
    assert plain.total == pytest.approx(20)
    assert not plain.complete


def text_model(nested):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    body = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True, name="words")(body)
    x = keras.layers.Bidirectional(keras.layers.LSTM(5))(x)
    inner = keras.Model(body, keras.layers.Dense(3)(x))
    y = inner(tokens) if nested else keras.Model(body, inner.output)(tokens)
    return keras.Model({"tokens": tokens}, {"y": y})


@pytest.mark.parametrize("nested", [False, True])
def test_tokens_enter_by_their_embedding_and_padding_gets_nothing(nested):
    keras.utils.set_random_seed(1)
    model = text_model(nested)
    score = lambda found: found["y"][:, 1]  # noqa: E731
    tokens = np.array([[3, 4, 5, 0, 0]], np.int32)
    found = integrated_gradients(model, {"tokens": tokens}, score)
    each = found.entries["words"].attributions.sum(-1)
    assert found.complete
    assert each.shape == (5,)
    assert np.abs(each[:3]).min() > 0
    assert not each[3:].any()
    assert found.entries["words"].arguments[0].tolist() == tokens[0].tolist()
    alone = integrated_gradients(model, {"tokens": tokens[:, :3]}, score)
    np.testing.assert_allclose(alone.entries["words"].attributions.sum(-1), each[:3], atol=1e-6)
    assert found.score == pytest.approx(float(score(model({"tokens": tokens}))[0]), abs=1e-6)


def test_a_kink_takes_more_points_until_the_sum_is_right():
    x = keras.Input((1, 1), name="x")
    model = keras.Model({"x": x}, {"y": keras.layers.ReLU()(x * 50.0 - 49.0)})
    inputs = {"x": np.ones((1, 1, 1), np.float32)}
    found = integrated_gradients(
        model, inputs, lambda y: y["y"][:, 0, 0], {"x": np.zeros((1, 1), np.float32)}
    )
    assert found.points > 16
    assert abs(found.residual) <= 0.01


def test_a_layer_that_is_called_twice_has_two_entries():
    one, two = (keras.Input((None,), dtype="int32", name=name) for name in ("one", "two"))
    table = keras.layers.Embedding(5, 2, name="table")
    y = keras.layers.Dense(1)(keras.layers.Add()([table(one), 2.0 * table(two)]))
    model = keras.Model({"one": one, "two": two}, {"y": y})
    inputs = {name: np.array([[i + 1]], np.int32) for i, name in enumerate(("one", "two"))}
    found = integrated_gradients(model, inputs, lambda y: y["y"][:, 0, 0])
    assert sorted(found.entries) == ["table", "table/2"]
    assert found.complete
