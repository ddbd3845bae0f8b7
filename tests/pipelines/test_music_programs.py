"""Programs of music: chunks, neighbours, draws, steps; in NumPy and as TensorFlow ops."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from decoding.nade import NadeWeights
from models.music import music_cores, music_model
from models.music_config import MusicConfig
from pipelines.music import MusicPreprocessing, MusicPreprocessor
from pipelines.music_notes import MusicDecoding, numbers_of, read_notes
from pipelines.music_programs import ContinuePiece, NextNotes, ScorePiece
from pipelines.piano_roll import GONE, HIGHEST, LOWEST, SILENT, PianoRoll, steps_of
from pipelines.preprocessor import load_preprocessor
from pipelines.program import KerasCore, LoadedProgram
from serving.native_onnx import step_model
from serving.savedmodel import ServingModule

TUNE = [[48, 64], [], [50, 65, 69], [52]] * 3
OUTPUTS = ("independent", "nade")


def made(**more):
    return MusicPreprocessor(MusicPreprocessing(), MusicDecoding().to_dict(), **more)


@pytest.fixture(scope="module", params=OUTPUTS)
def model(request):
    """Keras cores, and the preprocessor that draws for them."""
    keras.utils.set_random_seed(0)
    config = MusicConfig(cell="gru", units=6, output=request.param, nade_units=5)
    model = music_model(config)
    for weight in model.trainable_variables:  # so that notes hang on each other, and many sound
        if weight.path.endswith(("reading", "writing")):
            weight.assign(weight * 100)
        if weight.path.endswith("note_bias/bias"):
            weight.assign(weight + 2)
    found, nade = music_cores(model), None
    if request.param == "nade":
        layer = model.get_layer("log_probabilities")
        nade = NadeWeights(layer.reading.numpy(), layer.writing.numpy())
    return {"model": found["model"], "step": step_model(found["next"])}, made(nade=nade)


MODULES = {}


def served(cores, preprocessor):
    """The graphs of all programs, made once."""
    key = preprocessor.nade is None
    if key not in MODULES:
        MODULES[key] = ServingModule(cores, preprocessor)
    return MODULES[key]


def run(model, name="serving_default", raw=(TUNE,), **settings):
    cores, preprocessor = model
    loaded = {name: KerasCore(core) for name, core in cores.items()}
    request = {**preprocessor.to_request(raw), **{n: np.array(x) for n, x in settings.items()}}
    return LoadedProgram(preprocessor.programs[name], loaded).run(request)


def test_chunks_and_neighbours_change_nothing(model, monkeypatch):
    whole = run(model, raw=[TUNE, [[60]], []])
    assert whole["length"].tolist() == [12, 1, 0]
    monkeypatch.setattr("pipelines.music_programs.CHUNK", 5)
    cut = run(model, raw=[TUNE, [[60]], []])
    np.testing.assert_allclose(cut["log_probabilities"], whole["log_probabilities"], atol=1e-5)
    alone = run(model)
    np.testing.assert_allclose(
        alone["log_probabilities"][0], whole["log_probabilities"][0], atol=1e-5
    )
    assert not whole["log_probabilities"][1, 1:].any()
    np.testing.assert_allclose(
        whole["log_probability"], whole["log_probabilities"].sum(1), rtol=1e-5
    )


def test_what_is_drawn_has_the_probability_that_scoring_gives_it(model):
    """Two ways through the network: steps that draw, and the whole piece at once."""
    written = run(model, "generate", steps=[7], seed=[11])
    found = steps_of(written["continuation"][0])
    assert len(found) == written["written"][0] == 7
    assert max(map(len, found)) == written["voices"][0] == written["continuation"].shape[2]
    scored = run(model, raw=[[*TUNE, *found]])["log_probabilities"][0]
    np.testing.assert_allclose(scored[-7:].sum(), written["log_probability"][0], rtol=1e-4)


def test_a_continuation_hangs_on_its_opening_and_settings_alone(model):
    raw = [TUNE, TUNE[:3], []]
    steps, seeds = [5, 9, 1], [3, 4, 5]
    found = run(model, "generate", raw, steps=steps, seed=seeds)
    assert found["written"].tolist() == steps
    for i, opening in enumerate(raw):
        alone = run(model, "generate", [opening], steps=[steps[i]], seed=[seeds[i]])
        assert steps_of(alone["continuation"][0]) == steps_of(found["continuation"][i])
        assert (found["continuation"][i, steps[i] :] == GONE).all()
        assert (found["continuation"][i, :, found["voices"][i] :] == GONE).all()
    other = run(model, "generate", raw, steps=steps, seed=[6, 7, 8])
    assert other["continuation"].tolist() != found["continuation"].tolist()
    greedy = [run(model, "generate", steps=[4], seed=[s], temperature=[0.0]) for s in (1, 2)]
    assert greedy[0]["continuation"].tolist() == greedy[1]["continuation"].tolist()


def test_steps_one_by_one_go_on_as_a_continuation_does(model):
    cores, preprocessor = model
    loaded = LoadedProgram(preprocessor.programs["step"], {"step": KerasCore(cores["step"])})
    states, notes, written = loaded.initial(1), [[SILENT]], []
    for _ in range(6):
        request = {"notes": np.array(notes, np.int32), "seed": np.array([11]), **states}
        response = loaded.run(request)
        states = {name: response[f"{name}_next"] for name in states}
        notes = response["next"].tolist()
        written.append(notes[0])
        assert response["probabilities"].shape == (1, 88)
        assert response["voices"][0] == max(1, np.count_nonzero(notes))
    whole = run(model, "generate", [[]], steps=[6], seed=[11])
    assert [[n for n in step if n] for step in written] == steps_of(whole["continuation"][0])
    assert states["position"].tolist() == [6.0]


@pytest.mark.parametrize(("name", "settings", "words"), [
    ("generate", {"steps": [0]}, "steps must be"),
    ("generate", {"steps": [10_001]}, "steps must be"),
    ("generate", {"temperature": [-1.0]}, "temperature must be"),
    ("generate", {"temperature": [float("nan")]}, "temperature must be"),
    ("generate", {"notes": [[[20]]]}, "notes must be"),
    ("serving_default", {"notes": [[[109]]]}, "notes must be"),
    ("serving_default", {"notes": [[[-2]]]}, "notes must be"),
])  # fmt: skip
def test_requests_out_of_range_are_refused_by_both(model, name, settings, words):
    with pytest.raises(ValueError, match=words):
        run(model, name, **settings)
    preprocessor, module = model[1], served(*model)
    inputs = preprocessor.programs[name].signature["inputs"]
    request = {**preprocessor.to_request([TUNE]), **settings}
    tensors = {n: tf.constant(x, inputs[n]["dtype"]) for n, x in request.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        module.functions[name](**tensors)


def test_raw_pieces_that_are_none_are_refused():
    for raw, words in ((7, "no list of steps"), ([7], "no list of notes"), ([[7]], "piano")):
        with pytest.raises(DataError, match=f"input 1.*{words}"):
            made().to_request([TUNE, raw])


NOTE = st.one_of(st.integers(LOWEST, HIGHEST), st.sampled_from([SILENT, GONE]))
GRIDS = st.integers(0, 3).flatmap(
    lambda rows: st.tuples(st.just(rows), st.integers(1, 6), st.integers(1, 4))
)


@st.composite
def requests(draw):
    shape = draw(GRIDS)
    flat = draw(st.lists(NOTE, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.array(flat, np.int32).reshape(shape)


@settings(max_examples=12, deadline=None)
@given(requests(), st.integers(0, 2**31 - 1))
def test_both_implementations_encode_and_decode_alike(notes, seed):
    random, rows = np.random.default_rng(seed), len(notes)
    decoding = MusicDecoding().to_dict()
    more = {"temperature": np.ones(rows, np.float32), "seed": np.arange(rows, dtype=np.int64),
            "steps": np.full(rows, 3, np.int32)}  # fmt: skip
    drawn = (random.random((rows, 4, 88)) < 0.05).astype(np.float32)
    written = random.integers(1, 5, rows).astype(np.int32)
    scores = random.normal(size=notes.shape[:2]).astype(np.float32)
    for program, request, outputs in (
        (ScorePiece, {"notes": notes}, {
            "log_probabilities": scores,
            "length": random.integers(0, notes.shape[1] + 1, rows).astype(np.int32)}),
        (ContinuePiece, {"notes": notes, **more}, {
            "drawn": drawn, "written": written, "log_probability": scores[:, 0]}),
        (NextNotes, {"notes": notes[:, 0], "position": np.zeros(rows, np.float32), **more}, {
            "units": drawn[:, 0], "probabilities": drawn[:, 0], "log_probabilities": scores[:, 0]}),
    ):  # fmt: skip
        one = program(decoding, None)
        other = one.graph()
        for mine, theirs in (
            (one.encode(request), other.encode({n: tf.constant(x) for n, x in request.items()})),
            (one.decode(outputs), other.decode({n: tf.constant(x) for n, x in outputs.items()})),
        ):
            assert set(mine) == set(theirs)
            for name, array in mine.items():
                np.testing.assert_allclose(theirs[name], array, atol=1e-6, err_msg=name)
                assert theirs[name].dtype == array.dtype, name


def test_both_implementations_draw_the_same_music(model):
    preprocessor, module = model[1], served(*model)
    raw = [TUNE, TUNE[:3], []]
    request = preprocessor.to_request(raw)
    more = {"steps": np.array([5, 9, 1], np.int32), "seed": np.array([3, 4, 5]),
            "temperature": np.array([1.0, 0.7, 0.0], np.float32)}  # fmt: skip
    tensors = {name: tf.constant(array) for name, array in {**request, **more}.items()}
    found = module.functions["generate"](**tensors)
    expected = run(model, "generate", raw, **more)
    for name in ("continuation", "written", "voices"):
        assert found[name].numpy().tolist() == expected[name].tolist(), name
    np.testing.assert_allclose(found["log_probability"], expected["log_probability"], rtol=1e-5)


def test_numbers_and_rows_by_hand():
    rows, length = read_notes(np.array([[[60, 0, 64], [0, -1, -1], [-1, -1, -1]]], np.int32))
    assert length.tolist() == [2]  # silence is a step, what is not there is none
    assert np.argwhere(rows[0]).tolist() == [[0, 39], [0, 43]]
    assert numbers_of(rows, 2).tolist() == [[[60, 64], [0, 0]]]


def test_targets_are_places_and_long_pieces_are_cut():
    preprocessor = MusicPreprocessor(MusicPreprocessing(window=2), MusicDecoding().to_dict())
    encoded = preprocessor.encoded([PianoRoll(((60,), (62,), (64,)))])
    assert len(encoded) == 2
    assert [row.tolist() for row in encoded.targets["log_probabilities"].rows()] == [[1, 2], [1]]
    before = [np.argwhere(row).tolist() for row in encoded.inputs["rows"].rows()]
    assert before == [[[1, 39]], []]  # each part begins after nothing


def test_answers_count_as_the_papers_do_and_can_be_read_back(tmp_path):
    each = [np.array([-5.0, -1.0, -3.0], np.float32), np.zeros(0)]
    response = {"log_probability": np.array([-9.0, 0.0]), "log_probabilities": each}
    first, empty = made().answers(response, [TUNE[:3], []])
    assert (first["nll"], first["nll_with_first"]) == (2.0, 3.0)
    assert empty["nll"] == 0.0
    json.dumps([first, empty], allow_nan=False)
    nade = NadeWeights(*np.random.default_rng(0).normal(size=(2, 88, 3)).astype(np.float32))
    for preprocessor in (made(per_beat=4), made(nade=nade)):
        preprocessor.save(tmp_path)
        again = load_preprocessor(tmp_path)
        assert (again.settings, again.per_beat) == (preprocessor.settings, preprocessor.per_beat)
        if preprocessor.nade is not None:
            np.testing.assert_array_equal(again.nade.reading, nade.reading)
            np.testing.assert_array_equal(again.nade.writing, nade.writing)
    (tmp_path / "nade.npz").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"nade\.npz cannot be read"):
        load_preprocessor(tmp_path)
