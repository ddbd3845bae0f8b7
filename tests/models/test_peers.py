"""Temporal convolutions and Transformers: what they see, their steps, their export."""

import keras
import numpy as np
import onnxruntime
import pytest

from common.errors import ConfigError
from models.peers import (
    PeerConfig,
    blocks_for,
    initial_states,
    peer_stack,
    peer_step,
    receptive_field,
    wave_numbers,
)
from serving.native_onnx import export_onnx

STEPS, FEATURES, PADDING = 12, 3, 100.0
CONFIGS = {
    "tcn": PeerConfig(architecture="tcn", width=8, blocks=2),
    "transformer": PeerConfig(architecture="transformer", width=8, blocks=2, heads=2),
}


def network(config, masked=False):
    keras.utils.set_random_seed(1)
    x = keras.Input((None, FEATURES), name="x")
    given = keras.layers.Masking(PADDING)(x) if masked else x
    return keras.Model(x, keras.layers.Dense(2, name="answer")(peer_stack(given, config)))


@pytest.fixture(scope="module")
def sequences():
    return np.random.default_rng(0).normal(size=(2, STEPS, FEATURES)).astype(np.float32)


def test_receptive_field_is_that_of_the_paper():
    # Kernel 3: 2 steps more for each convolution of dilation 1, 4 for dilation 2.
    assert receptive_field(1) == 1 + 2 + 2
    assert receptive_field(2) == 1 + 2 + 2 + 4 + 4
    assert [blocks_for(receptive_field(n) + more) for n in (1, 4) for more in (0, 1)] == [
        1, 2, 4, 5,
    ]  # fmt: skip


def test_places_are_sines_and_cosines_of_ever_longer_waves():
    np.testing.assert_allclose(wave_numbers(8), [1, 0.1, 0.01, 0.001], rtol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_causal_networks_do_not_look_ahead_and_see_as_far_as_they_say(name, sequences):
    config = CONFIGS[name].updated(blocks=1)
    model = network(config)
    before = model(sequences).numpy()
    changed = sequences.copy()
    changed[:, 4] += 1
    moved = np.abs(model(changed).numpy() - before).max((0, 2)) > 1e-6
    field = receptive_field(1) if name == "tcn" else STEPS
    expected = np.arange(STEPS)
    np.testing.assert_array_equal(moved, (expected >= 4) & (expected < 4 + field))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("causal", [True, False])
def test_padding_changes_no_answer(name, causal, sequences):
    model = network(CONFIGS[name].updated(causal=causal), masked=True)
    whole = model(sequences[:, :8]).numpy()
    padded = sequences.copy()
    padded[:, 8:] = PADDING
    np.testing.assert_allclose(model(padded).numpy()[:, :8], whole, atol=2e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_steps_and_exports_give_what_the_whole_sequence_gives(name, sequences, tmp_path):
    config = CONFIGS[name]
    model = network(config)
    whole = model(sequences).numpy()
    export_onnx(model, tmp_path / "whole.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "whole.onnx")
    np.testing.assert_allclose(session.run(None, {"x": sequences})[0], whole, atol=1e-5)
    step = peer_step(model, config)
    export_onnx(step, tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    names = [output.name for output in session.get_outputs()]
    keras_states = onnx_states = initial_states(config, batch=2)
    for t in range(STEPS):
        x = sequences[:, t]
        for run in ("keras", "onnx"):
            states = keras_states if run == "keras" else onnx_states
            if run == "keras":
                found = {k: v.numpy() for k, v in step({"x": x, **states}).items()}
            else:
                found = dict(zip(names, session.run(None, {"x": x, **states}), strict=True))
            np.testing.assert_allclose(found["y"], whole[:, t], atol=1e-5)
            after = {k: found[f"{k}_next"] for k in states}
            keras_states, onnx_states = (
                (after, onnx_states) if run == "keras" else (keras_states, after)
            )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_saved_network_is_the_same(name, sequences, tmp_path):
    model = network(CONFIGS[name])
    for place, one in (("whole", model), ("step", peer_step(model, CONFIGS[name]))):
        one.save(tmp_path / f"{place}.keras")
        again = keras.models.load_model(tmp_path / f"{place}.keras")
        for mine, other in zip(one.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, other)
    again = keras.models.load_model(tmp_path / "whole.keras")
    np.testing.assert_allclose(again(sequences).numpy(), model(sequences).numpy(), atol=1e-6)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="no multiple of 8"):
        PeerConfig(width=12, heads=4)
    ahead = CONFIGS["tcn"].updated(causal=False)
    with pytest.raises(ConfigError, match="looks ahead"):
        peer_stack(keras.Input((1, FEATURES)), ahead, states={})
