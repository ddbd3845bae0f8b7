"""The CRF layer: its loss against listing every path, its gradient, and what Keras does with it."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from decoding.crf import FORBIDDEN
from models.crf import CRF
from tests.decoding.chains import NAMES, every_path, path_score, random_scores

ROOT = Path(__file__).resolve().parents[2]


def a_layer(scores, names=None, scheme=None):
    """A layer with these scores."""
    layer = CRF(names or len(scores.start), scheme)
    layer.build((None, None, len(scores.start)))
    layer.set_weights([scores.transitions, scores.start, scores.end])
    return layer


def reference(emissions, tags, lengths, scores):
    """Log likelihood of each row, one step after another in float64."""
    found = np.zeros(len(lengths))
    for row, length in enumerate(lengths):
        if not length:
            continue
        x = emissions[row].astype(float)
        state = x[0] + scores.start
        for t in range(1, length):
            state = np.logaddexp.reduce(state[:, None] + scores.transitions, axis=0) + x[t]
        log_z = np.logaddexp.reduce(state + scores.end)
        found[row] = path_score(x, scores, tags[row, :length]) - log_z
    return found


def a_batch(rng, lengths, tags, scale=1.0):
    """Emissions, tags with -1 behind the end, and lengths."""
    lengths = np.asarray(lengths, np.int32)
    time = int(lengths.max(initial=0))
    emissions = (scale * rng.normal(size=(len(lengths), time, tags))).astype(np.float32)
    inside = np.arange(time) < lengths[:, None]
    return emissions, np.where(inside, rng.integers(0, tags, inside.shape), -1), lengths


def loss_and_gradients(layer, emissions, tags, weights=1.0):
    """Loss of each row, and gradients of its weighted sum: emissions, transitions, start, end."""
    x = tf.constant(emissions)
    with tf.GradientTape() as tape:
        tape.watch(x)
        rows = layer.loss(tags, x)
        total = tf.reduce_sum(rows * weights)
    variables = [one.value for one in (layer.transitions, layer.start, layer.end)]
    return rows.numpy(), [g.numpy() for g in tape.gradient(total, [x, *variables])]


@pytest.mark.parametrize("scale", [1, 30, 10_000])
@pytest.mark.parametrize("scheme", ["bio", "bioes", None])
def test_the_loss_is_that_of_listing_every_path(scheme, scale):
    rng = np.random.default_rng(0)
    emissions, _, lengths = a_batch(rng, [3, 1, 0, 4], 5, scale)
    scores = random_scores(rng, 5, scheme)
    tags = np.full((4, 4), -1)
    wanted = []
    for row, length in enumerate(lengths):
        paths, totals = every_path(emissions[row], length, scores)
        path = int(rng.integers(len(paths)))
        tags[row, :length] = paths[path]
        wanted.append(np.logaddexp.reduce(totals) - totals[path])
    layer = a_layer(scores, NAMES[scheme] if scheme else None, scheme)
    found = layer.loss(tags, emissions).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-5)
    assert found[2] == 0


def test_the_numbers_are_those_of_pytorch_crf():
    # Made by torchcrf.CRF(3, batch_first=True) of pytorch-crf 0.7.2 with the same scores, tags and
    # mask: crf(emissions, tags, mask, reduction="none"), the gradients of its sum, and decode.
    layer = CRF(3)
    layer.build((None, None, 3))
    start, end = np.array([0.1, -0.2, 0.3]), np.array([-0.3, 0.2, 0.1])
    layer.set_weights([np.cos(np.arange(9.0)).reshape(3, 3), start, end])
    emissions = np.sin(np.arange(36.0)).reshape(3, 4, 3).astype(np.float32)
    tags = np.array([[0, 2, 1, 1], [2, 0, -1, -1], [1, -1, -1, -1]])
    rows, gradients = loss_and_gradients(layer, emissions, tags, -1.0)
    wanted = [-7.0158562660217285, -0.7139015197753906, -1.615127682685852]
    np.testing.assert_allclose(-rows, wanted, rtol=1e-6)
    transitions = [
        [-0.766552209854126, -0.29959774017333984, 0.6994843482971191],
        [-0.12952595949172974, 0.8972967863082886, -0.3191099166870117],
        [-0.3055911064147949, 0.4232959747314453, -0.1997002363204956],
    ]
    one_step = [-0.676098108291626, -0.1962740570306778, 0.8723721504211426]
    np.testing.assert_allclose(gradients[0][0, 1], one_step, atol=1e-6)
    np.testing.assert_allclose(gradients[1], transitions, atol=1e-6)
    by_start = [0.5754884481430054, 0.6202512979507446, -1.19573974609375]
    by_end = [-0.25951504707336426, 1.1925853490829468, -0.933070182800293]
    np.testing.assert_allclose(gradients[2], by_start, atol=1e-6)
    np.testing.assert_allclose(gradients[3], by_end, atol=1e-6)
    found = layer.decode(emissions, np.array([4, 2, 1], np.int32)).numpy()
    assert found.tolist() == [[2, 0, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0]]


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_gradients_are_those_of_finite_differences(scale):
    """At 1000 the sums go by logarithms: another gradient of the transitions."""
    rng = np.random.default_rng(1)
    emissions, tags, lengths = a_batch(rng, [3, 1, 0, 4], 3, scale)
    scores = random_scores(rng, 3)
    weights = np.array([1.0, 0.5, 3.0, -2.0])
    layer = a_layer(scores)
    _, found = loss_and_gradients(layer, emissions, tags, weights.astype(np.float32))
    arrays = [emissions, scores.transitions, scores.start, scores.end]
    arrays = [one.astype(float) for one in arrays]

    def total():
        parts = type(scores)(*arrays[1:])
        return -(weights * reference(arrays[0], tags, lengths, parts)).sum()

    step = 1e-4
    for array, gradient in zip(arrays, found, strict=True):
        for place in np.ndindex(array.shape):
            kept = array[place]
            array[place] = kept + step
            above = total()
            array[place] = kept - step
            slope = (above - total()) / (2 * step)
            array[place] = kept
            assert gradient[place] == pytest.approx(slope, abs=2e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(st.integers(0, 9), max_size=4),
    st.integers(1, 6),
    st.sampled_from([0.1, 3.0, 200.0, 1e4]),
)
def test_any_shape_costs_what_the_reference_says(seed, lengths, tags, scale):
    rng = np.random.default_rng(seed)
    emissions, given_tags, lengths = a_batch(rng, lengths, tags, scale)
    scores = random_scores(rng, tags)
    rows, gradients = loss_and_gradients(a_layer(scores), emissions, given_tags)
    wanted = -reference(emissions, given_tags, lengths, scores)
    np.testing.assert_allclose(rows, wanted, rtol=1e-6, atol=1e-5)
    # Shares of each step add up to one, in the path as in what is expected.
    np.testing.assert_allclose(gradients[0].sum(-1), 0, atol=1e-5)
    moves = np.maximum(lengths - 1, 0).sum()
    assert gradients[1].sum() == pytest.approx(0, abs=1e-5 * max(1, moves))


@pytest.mark.parametrize("value", [0.0, 1e4, -1e4])
def test_where_all_emissions_are_equal_every_path_is_as_likely(value):
    scores = random_scores(np.random.default_rng(0), 4, scale=0.0)
    emissions, tags = np.full((1, 50, 4), value, np.float32), np.zeros((1, 50), int)
    rows, gradients = loss_and_gradients(a_layer(scores), emissions, tags)
    assert rows[0] == pytest.approx(50 * np.log(4), rel=1e-6)
    np.testing.assert_allclose(gradients[0][0], np.tile([-0.75, 0.25, 0.25, 0.25], (50, 1)), 1e-5)


def test_a_long_chain_keeps_its_digits():
    rng = np.random.default_rng(0)
    emissions, tags, lengths = a_batch(rng, [2000, 1999], 5, 5.0)
    scores = random_scores(rng, 5)
    rows, gradients = loss_and_gradients(a_layer(scores), emissions, tags)
    np.testing.assert_allclose(rows, -reference(emissions, tags, lengths, scores), rtol=1e-6)
    assert gradients[1].sum() == pytest.approx(0, abs=0.02)


def test_an_unknown_tag_leaves_its_row_out():
    rng = np.random.default_rng(0)
    emissions, tags, _ = a_batch(rng, [4, 4], 3)
    tags[0, 1] = -1
    rows, gradients = loss_and_gradients(a_layer(random_scores(rng, 3)), emissions, tags)
    assert rows[0] == 0
    assert rows[1] > 0
    assert not gradients[0][0].any()


def test_second_derivatives_are_refused():
    layer = a_layer(random_scores(np.random.default_rng(0), 3))
    x = tf.zeros((1, 2, 3))
    with tf.GradientTape() as second:
        second.watch(x)
        with tf.GradientTape() as first:
            first.watch(x)
            loss = layer.loss([[0, 1]], x)
        gradient = first.gradient(loss, x)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        second.gradient(gradient, x)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0,), "one tag at least"), (([],), "one tag at least"), ((3, "bio"), "need the names")],
)
def test_what_makes_no_chain_is_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        CRF(*arguments)


def test_emissions_of_another_width_are_refused():
    with pytest.raises(ConfigError, match="has 3 tags, but its input ends with 4"):
        CRF(3)(np.zeros((1, 2, 4), np.float32))


# ---- in Keras


def counting_rows():
    """Rows of tags that count on from the first, which alone can be seen: ids 1 to 3, then 4."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 8, 60)
    inside = np.arange(7) < lengths[:, None]
    first = rng.integers(0, 3, (60, 1))
    tags = np.where(inside, (first + np.arange(7)) % 3, -1)
    words = np.where(inside, 4, 0)
    words[:, 0] = 1 + first[:, 0]
    return words, tags, lengths.astype(np.int32)


def a_model(mask=True, **more):
    words = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(5, 3, mask_zero=mask)(words)
    crf = CRF(3, name="crf")
    model = keras.Model(words, crf(keras.layers.Dense(3)(x)))
    model.compile(keras.optimizers.Adam(0.1), loss=crf.loss, **more)
    return model


@pytest.mark.parametrize("mask", [True, False])
def test_fit_learns_what_transitions_alone_can_say(mask):
    keras.utils.set_random_seed(0)
    words, tags, lengths = counting_rows()
    model = a_model(mask, jit_compile=False)
    model.fit(words, tags, epochs=15, batch_size=20, verbose=0)
    found = model.get_layer("crf").decode(model(words), lengths).numpy()
    assert np.array_equal(found, np.maximum(tags, 0))


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"jit_compile": True}, {"run_eagerly": True}, {}])
def test_sample_weights_and_validation_count_rows(how):
    keras.utils.set_random_seed(0)
    words, tags, _ = counting_rows()
    model = a_model(**{"jit_compile": False, **how})
    rows = model.get_layer("crf").loss(tags, model(words)).numpy()
    weights = np.random.default_rng(1).random(60)
    model.optimizer.learning_rate = 0.0
    history = model.fit(
        words, tags, sample_weight=weights, validation_data=(words, tags), batch_size=60, verbose=0
    ).history
    assert history["loss"][0] == pytest.approx((rows * weights).mean(), rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(rows.mean(), rel=1e-5)


def test_batches_of_several_lengths():
    words, tags, _ = counting_rows()
    model = a_model(jit_compile=False)
    several = [(words[:9, :n], tags[:9, :n]) for n in (7, 1, 3)]
    kind = tf.TensorSpec((None, None), tf.int64)
    rows = tf.data.Dataset.from_generator(lambda: iter(several), output_signature=(kind, kind))
    assert np.isfinite(model.fit(rows, verbose=0).history["loss"][0])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_ends_in_float32(policy):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        words, tags, _ = counting_rows()
        model = a_model(jit_compile=False)
        assert model(words).dtype == tf.float32
        model.fit(words, tags, verbose=0)
        assert all(np.isfinite(one).all() for one in model.get_weights())
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def test_forbidden_transitions_are_neither_learnt_nor_decoded():
    crf = CRF(("O", "B-P", "I-P"), "bio")
    emissions = np.zeros((1, 3, 3), np.float32)
    emissions[..., 2] = 50.0
    crf.build(emissions.shape)
    rows, gradients = loss_and_gradients(crf, emissions, np.array([[1, 2, 0]]))
    assert np.isfinite(rows).all()
    assert gradients[1][0, 2] == 0
    assert gradients[1][2, 2] > 0.5  # the best path takes it, the given one does not
    assert gradients[2][2] == 0
    assert crf.decode(emissions, np.array([3], np.int32)).numpy().tolist() == [[1, 2, 2]]
    best, _ = crf.decode_k(emissions, np.array([3], np.int32), 2)
    assert best[0, 0].numpy().tolist() == [1, 2, 2]
    assert crf.marginals(emissions, np.array([3], np.int32)).numpy()[0, 0, 2] == 0
    potentials = crf.potentials()
    assert potentials.transitions[0, 2] == potentials.start[2] == np.float32(FORBIDDEN)
    assert np.isfinite(potentials.end).all()


LOADS = """
import sys
import keras
import numpy as np
from models.crf import CRF

model = keras.saving.load_model(sys.argv[1], compile=False)
crf = model.get_layer("crf")
model.compile("adam", loss=crf.loss)
words = np.array([[1, 4, 4], [3, 4, 0]])
paths = crf.decode(model(words), np.array([3, 2], np.int32)).numpy().tolist()
print(crf.tags, crf.constraints, paths)
print(float(model.evaluate(words, np.array([[0, 1, 2], [0, 1, -1]]), verbose=0)))
"""


def test_a_saved_model_goes_on_in_another_process(tmp_path):
    keras.utils.set_random_seed(0)
    words = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(5, 3, mask_zero=True)(words)
    crf = CRF(("O", "B-P", "I-P"), "bio", name="crf")
    model = keras.Model(words, crf(x))
    model.compile("adam", loss=crf.loss, jit_compile=False)
    some, tags = np.array([[1, 4, 4], [3, 4, 0]]), np.array([[0, 1, 2], [0, 1, -1]])
    model.fit(some, tags, epochs=3, verbose=0)
    model.save(tmp_path / "m.keras")
    command = [sys.executable, "-c", LOADS, str(tmp_path / "m.keras")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.strip().splitlines()
    paths = crf.decode(model(some), np.array([3, 2], np.int32)).numpy().tolist()
    assert first == f"('O', 'B-P', 'I-P') bio {paths}"
    assert float(second) == pytest.approx(model.evaluate(some, tags, verbose=0), rel=1e-5)
