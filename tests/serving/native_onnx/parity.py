"""Comparing a Keras model with its native ONNX form."""

import keras
import numpy as np
import onnxruntime

from serving.native_onnx import build_onnx

BOUND = 1e-5


def randomise(model, seed=0, scale=0.3):
    """Weights as a trained model has them: no zero biases, no unit scales."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if not np.issubdtype(np.dtype(weight.dtype), np.floating):
            continue
        values = random.normal(0, scale, weight.shape)
        weight.assign(np.abs(values) + 0.1 if "variance" in weight.path else values)


def session_of(model, **options):
    proto = build_onnx(model, **options)
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def ragged_ids(random, batch, time, vocabulary=9, empty=False):
    """Right-padded ids; with ``empty`` the last row holds nothing."""
    ids = random.integers(1, vocabulary, (batch, time)).astype(np.int32)
    for row, length in enumerate(random.integers(1, time + 1, batch)):
        ids[row, length:] = 0
    if empty:
        ids[-1] = 0
    return ids


def left_padded(ids):
    """The same rows as Keras's ``pad_sequences`` makes them: padding in front."""
    turned = np.zeros_like(ids)
    for row, given in zip(turned, ids, strict=True):
        kept = given[given != 0]
        row[len(row) - len(kept) :] = kept
    return turned


def with_holes(random, batch, time, vocabulary=9):
    """Ids that are nought anywhere, each row as often as chance has it."""
    ids = random.integers(1, vocabulary, (batch, time)).astype(np.int32)
    ids[random.random((batch, time)) < random.random((batch, 1))] = 0
    return ids


def assert_same(model, feeds, bound=BOUND, session=None):
    """Every output of the ONNX form is Keras's."""
    session = session or session_of(model)
    got = session.run(None, feeds)
    bare = isinstance(model, keras.Sequential) or not isinstance(model.input, dict)
    want = model(next(iter(feeds.values())) if bare else feeds, training=False)
    wanted = keras.tree.flatten(want)
    assert len(got) == len(wanted)
    if isinstance(want, dict):
        names = [output.name for output in session.get_outputs()]
        got, wanted = [got[names.index(key)] for key in want], list(want.values())
    for mine, keras_own in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, np.asarray(keras_own), atol=bound, rtol=0)
