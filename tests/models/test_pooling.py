"""Pooling by hand."""

import numpy as np
import pytest

from models.pooling import MaskedPooling

X = np.array([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]], [[5.0, 5.0], [7.0, 7.0], [8.0, 8.0]]], "f4")
MASK = np.array([[True, True, False], [False, False, False]])


@pytest.mark.parametrize(("kind", "expected"), [("mean", [2.0, -3.0]), ("max", [3.0, -2.0])])
def test_padding_never_counts_and_an_empty_row_is_zeros(kind, expected):
    got = np.asarray(MaskedPooling(kind)(X, mask=MASK))
    np.testing.assert_allclose(got, [expected, [0.0, 0.0]], rtol=1e-6)


def test_without_a_mask_every_step_counts():
    np.testing.assert_allclose(np.asarray(MaskedPooling("mean")(X))[1], [20 / 3, 20 / 3], rtol=1e-6)


def test_attention_by_hand():
    layer = MaskedPooling("attention")
    layer.build(X.shape)
    layer.projection.assign(np.eye(2))
    layer.query.assign([[1.0], [0.0]])
    scores = np.exp(np.tanh([1.0, 3.0]))
    weights = scores / scores.sum()
    got = np.asarray(layer(X, mask=MASK))
    np.testing.assert_allclose(got[0], weights @ X[0, :2], rtol=1e-5)
    np.testing.assert_array_equal(got[1], [0.0, 0.0])


@pytest.mark.parametrize("kind", ["mean", "max", "attention"])
def test_float16_stays_finite(kind):
    layer = MaskedPooling(kind, dtype="float16")
    assert np.isfinite(np.asarray(layer(X.astype("f2"), mask=MASK))).all()
