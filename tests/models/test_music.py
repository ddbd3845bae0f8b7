"""Models of music: probabilities by hand, what hangs on what, and the simple baseline."""

import itertools
import math

import keras
import numpy as np
import pytest

from models.music import NOTES, music_cores, music_model, step_loss
from models.music_baselines import PSEUDO, ChordMarkov
from models.music_config import MusicConfig
from models.music_layers import (
    BernoulliScore,
    NadeScore,
    NatsPerStep,
    PitchConvolution,
    RandomTransposition,
)
from models.recurrent import rebuilt_without_cudnn
from serving.native_onnx import step_model
from tests.serving.native_onnx.parity import assert_same, randomise, session_of

SMALL = {"units": 5, "nade_units": 4}


def rolls(batch=2, time=6, seed=0):
    """Rows and those that follow."""
    random = np.random.default_rng(seed)
    notes = (random.random((batch, time, NOTES)) < 0.05).astype(np.float32)
    before = np.concatenate([np.zeros((batch, 1, NOTES), np.float32), notes[:, :-1]], 1)
    return {"rows": before, "following": notes}


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_an_estimator_by_hand():
    layer = NadeScore()
    bias, hidden = np.array([[[-0.2, -2.6]]], np.float32), np.array([[[0.5]]], np.float32)
    layer.build([(1, 1, 2), (1, 1, 1), (1, 1, 2)])
    layer.reading.assign([[2.0], [9.0]])
    layer.writing.assign([[1.0], [3.0]])
    first = sigmoid(-0.2 + sigmoid(0.5))
    second = {1.0: sigmoid(-2.6 + 3 * sigmoid(2.5)), 0.0: sigmoid(-2.6 + 3 * sigmoid(0.5))}
    for a, b in itertools.product((0.0, 1.0), repeat=2):
        given = np.array([[[a, b]]], np.float32)
        wanted = (first if a else 1 - first) * (second[a] if b else 1 - second[a])
        found = np.asarray(layer([bias, hidden, given]))
        np.testing.assert_allclose(found, [[math.log(wanted)]], atol=1e-5)


@pytest.mark.parametrize("layer", [NadeScore(), BernoulliScore()], ids=["nade", "independent"])
def test_the_probabilities_of_all_sets_are_one_together(layer):
    random, units = np.random.default_rng(0), 5
    sets = np.array([*itertools.product((0, 1), repeat=units)], np.float32)[:, None]  # (32, 1, 5)
    parts = [random.normal(size=(1, 1, units)), random.normal(size=(1, 1, 3))]
    parts = [np.repeat(part, len(sets), 0).astype(np.float32) for part in parts]
    parts = parts if isinstance(layer, NadeScore) else parts[:1]
    layer([*parts, sets])
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape))
    found = np.exp(np.asarray(layer([*parts, sets]), np.float64))
    assert found.sum() == pytest.approx(1.0, abs=1e-5)


def test_nats_a_step_are_counted_as_the_papers_do():
    places = np.array([[1, 2, 3, 0], [1, 2, 0, 0]], np.float32)
    each = -np.array([[50, 1, 2, 900], [70, 6, 900, 900]], np.float32)
    metric = NatsPerStep()
    metric.update_state(places[:1], each[:1])
    metric.update_state(places[1:], each[1:])
    assert float(metric.result()) == pytest.approx((1 + 2 + 6) / 3)  # not the mean of two means
    loss = float(step_loss(places, each))
    assert loss == pytest.approx((50 + 1 + 2 + 70 + 6) / 5)  # the first steps are learnt too


@pytest.mark.parametrize("output", ["independent", "nade"])
def test_a_step_does_not_see_what_it_foretells(output):
    model = music_model(MusicConfig(output=output, layers=2, **SMALL))
    randomise(model)
    inputs = rolls()
    before = model(inputs)["log_probabilities"].numpy()
    inputs["following"][:, 3], inputs["rows"][:, 4] = 1 - inputs["following"][:, 3], 1
    after = model(inputs)["log_probabilities"].numpy()
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:5] != after[:, 3:5]).all()


def test_transposition_moves_what_is_read_and_what_follows_alike():
    keras.utils.set_random_seed(0)
    layer, inputs = RandomTransposition(4), [*rolls(batch=30).values()]
    inputs = [x * (np.abs(np.arange(NOTES) - 44) < 30) for x in inputs]  # nothing is lost then
    for one, other in zip(layer(inputs, training=False), inputs, strict=True):
        np.testing.assert_array_equal(one, other)
    moved = [np.asarray(x) for x in layer(inputs, training=True)]
    shifts = set()
    for row in range(30):
        fits = [
            by for by in range(-4, 5)
            if all((np.roll(x[row], by, 1) == y[row]).all() for x, y in zip(inputs, moved,
                                                                             strict=True))
        ]  # fmt: skip
        assert len(fits) == 1
        shifts.add(fits[0])
    assert len(shifts) > 5
    edge = np.zeros((200, 1, NOTES), np.float32)
    edge[:, :, -1] = 1  # what would leave the piano does not come in from below
    assert not np.asarray(layer([edge, edge], training=True)[0])[:, :, :40].any()


def test_a_convolution_over_pitch_is_alike_in_all_keys():
    layer = PitchConvolution(3, reach=2)
    rows = np.zeros((2, 4, NOTES), np.float32)
    rows[0, 1, [40, 44]], rows[1, 3, [50, 54]] = 1, 1  # ten semitones higher, elsewhere in time
    layer(rows)
    for weight in layer.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    found = np.asarray(layer(rows))
    assert np.abs(found[0, 1, 30:60]).max() > 0.1
    np.testing.assert_allclose(found[0, 1, 20:70], found[1, 3, 30:80], atol=1e-6)
    # It sees four semitones, two convolutions of two, and no step but its own.
    np.testing.assert_allclose(found[0, 1, 49:60], found[0, 0, 49:60], atol=1e-6)
    np.testing.assert_allclose(found[0, 2], found[0, 0], atol=1e-6)


@pytest.mark.parametrize("output", ["independent", "nade"])
@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru"])
def test_cores_say_what_the_model_says_in_keras_and_onnx(cell, output):
    config = MusicConfig(cell=cell, output=output, layers=2, embedding_dim=3, **SMALL)
    model = music_model(config)
    randomise(model)
    cores, inputs = music_cores(model), rolls()
    whole = model(inputs)["log_probabilities"].numpy()
    states = {
        name: np.zeros((2, 5), np.float32) for name in cores["model"].input if name not in inputs
    }
    assert len(states) == (4 if cell == "lstm" else 2)
    found = []
    for part in (slice(0, 4), slice(4, 6)):  # the states carried
        feeds = {name: array[:, part] for name, array in inputs.items()} | states
        outputs = cores["model"](feeds)
        assert_same(cores["model"], feeds, bound=1e-4)  # of numbers near -80
        found.append(outputs["log_probabilities"].numpy())
        states = {name: outputs[f"{name}_next"].numpy() for name in states}
    np.testing.assert_allclose(np.concatenate(found, 1), whole, atol=1e-4)
    step = step_model(cores["next"])
    feeds = {"rows": inputs["rows"][:, 0], **{name: states[name] for name in states}}
    assert set(step.input) == set(feeds)
    assert_same(step, feeds)


def test_a_score_in_half_precision_is_summed_in_float32():
    model = music_model(MusicConfig(output="nade", **SMALL))
    core, inputs = music_cores(model)["model"], rolls()
    states = {n: np.zeros((2, 5), np.float32) for n in core.input if n not in inputs}
    want = core({**inputs, **states})["log_probabilities"].numpy()
    session = session_of(core, precision="fp16")
    got = dict(zip([o.name for o in session.get_outputs()],
                   session.run(None, {**inputs, **states}), strict=True))  # fmt: skip
    np.testing.assert_allclose(got["log_probabilities"], want, rtol=1e-2)


def test_chords_by_the_last_one_by_hand():
    model = ChordMarkov(2, shares=(0.5, 0.25))
    model.fit([[(0,), (1,), (0,)], [(0,), (0,)]])
    # After silence comes (0,) twice; after (0,) once (1,), once (0,); after (1,) once (0,).
    # Note 0 was silent before: it sounded in 3 of 3; sounding, in 1 of 2; note 1 likewise.
    after_silence = (3 + PSEUDO) / (3 + 2 * PSEUDO)  # note 0 comes
    stays_silent = (3 + PSEUDO) / (4 + 2 * PSEUDO)  # note 1, silent four times, came once
    first = 0.5 * 1.0 + 0.25 * 4 / 5 + 0.25 * after_silence * stays_silent
    goes = (1 + PSEUDO) / (2 + 2 * PSEUDO)
    second = 0.5 * 0.5 + 0.25 * 1 / 5 + 0.25 * goes * (1 + PSEUDO) / (4 + 2 * PSEUDO)
    found = model.log_probabilities([(0,), (1,)])
    np.testing.assert_allclose(found, np.log([first, second]))
    unseen = model.log_probabilities([(0, 1)])  # by its notes alone
    both = after_silence * (1 + PSEUDO) / (4 + 2 * PSEUDO)
    np.testing.assert_allclose(unseen, np.log([0.25 * both]))


def test_shares_are_those_that_foretell_validation_best():
    chorale = [(0,), (1,), (2,)] * 20
    model = ChordMarkov(3).fit([chorale]).choose([chorale])
    assert model.shares == (0.9, 0.0)
    assert len(model.log_probabilities([])) == 0


@pytest.mark.parametrize("output", ["independent", "nade"])
def test_a_model_of_music_learns_in_mixed_precision_and_answers_in_float32(output):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = music_model(MusicConfig(output=output, transpose=2, **SMALL))
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    inputs, places = rolls(), np.tile(np.arange(1, 7, dtype=np.float32), (2, 1))
    targets = {"log_probabilities": places}
    history = model.fit(inputs, targets, epochs=12, batch_size=2, verbose=0).history["loss"]
    assert history[-1] < history[0]
    core = rebuilt_without_cudnn(music_cores(model)["model"])
    states = {n: np.zeros((2, 5), np.float32) for n in core.input if n not in inputs}
    outputs = core({**inputs, **states})
    assert {tensor.dtype.name for tensor in outputs.values()} == {"float32"}
    whole = model(inputs)["log_probabilities"].numpy()
    np.testing.assert_allclose(outputs["log_probabilities"], whole, rtol=0.05)
