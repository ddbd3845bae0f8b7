"""The programs of speech: whole sounds, pieces of them, and their graphs."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.audio import Sound
from pipelines.audio_examples import SoundExample
from pipelines.program import DEFAULT, LoadedProgram
from pipelines.program_graph import GraphCore
from pipelines.speech import SpeechPreprocessing, SpeechPreprocessor
from pipelines.speech_live import LiveTranscript
from pipelines.speech_text import OUTPUT, normalised, steps_needed, words_of

RATE = 8000


def example(samples, text="abba d", **more):
    return SoundExample(text, memory=Sound(np.asarray(samples, np.float32), RATE), **more)


def noise(n, seed=0):
    return (np.random.default_rng(seed).normal(size=n) * 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def preprocessor():
    config = SpeechPreprocessing(bands=12, stack=3, stride=2)
    return SpeechPreprocessor.adapt(config, [example(noise(9000))], True, 4)


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


class Core:
    """Scores that hang on the frames alone, with a state that counts steps."""

    inputs = ("frames", "inside", "seen")
    states = {"seen": (1,)}

    def __init__(self, width, symbols, seed=0):
        draw = np.random.default_rng(seed)
        self.weight = 0.3 * draw.normal(size=(width, symbols)).astype(np.float32)

    def __call__(self, arrays):
        scores = log_softmax(arrays["frames"] @ self.weight)
        seen = arrays["seen"] + arrays["inside"].sum(1, keepdims=True)
        return {OUTPUT: scores, "seen_next": seen.astype(np.float32)}

    def graph(self):
        def call(tensors):
            scores = tf.nn.log_softmax(tf.tensordot(tensors["frames"], self.weight, 1))
            more = tf.reduce_sum(tensors["inside"], 1, keepdims=True)
            return {OUTPUT: scores, "seen_next": tensors["seen"] + tf.cast(more, tf.float32)}

        return GraphCore(self.inputs, self.states, call)


@pytest.fixture(scope="module")
def core(preprocessor):
    one = preprocessor.features
    return Core(one.config.stack * one.width, 1 + len(preprocessor.symbols))


def whole(preprocessor, core, samples, **settings):
    program = LoadedProgram(preprocessor.programs[DEFAULT], {"model": core})
    request = preprocessor.to_request([{"audio": samples, "rate": RATE}])
    return program.run({**request, **{k: np.array([v], np.int32) for k, v in settings.items()}})


def in_pieces(preprocessor, core, samples, pieces):
    """Text, scores and number of steps of a sound that comes in pieces."""
    program = LoadedProgram(preprocessor.programs["step"], {"model": core})
    states, text, scores, first = program.initial(1), b"", [], 0
    for i, piece in enumerate(pieces):
        part = samples[first : first + piece] if i < len(pieces) - 1 else samples[first:]
        first += len(part)
        request = {
            "audio": part[None], "length": np.array([len(part)], np.int32),
            "final": np.array([i == len(pieces) - 1]),
        }  # fmt: skip
        found = program.run({**request, **states})
        states = {name: found[f"{name}_next"] for name in states}
        text += found["text"][0]
        scores.append(found[OUTPUT][0, : found["steps"][0]])
    return text, np.concatenate(scores)


@settings(max_examples=60)
@given(st.integers(0, 6000), st.lists(st.integers(0, 2500), min_size=1, max_size=8))
def test_pieces_of_any_size_give_what_the_whole_gives(preprocessor, core, size, pieces):
    samples = noise(size, seed=size)
    text, scores = in_pieces(preprocessor, core, samples, pieces)
    assert text == whole(preprocessor, core, samples, beam=1)["text"][0]
    assert len(scores) == preprocessor.features.steps(size)
    want = log_softmax(preprocessor.features(samples) @ core.weight)
    np.testing.assert_allclose(scores, want, atol=1e-4)


def test_a_piece_of_one_sample_and_one_of_a_hundred_thousand(preprocessor, core):
    samples = noise(101_000)
    text, scores = in_pieces(preprocessor, core, samples, [1, 100_000, 1, 997, 1])
    again, others = in_pieces(preprocessor, core, samples, [101_000])
    assert text == again == whole(preprocessor, core, samples, beam=1)["text"][0]
    np.testing.assert_allclose(scores, others, atol=1e-4)


@pytest.mark.parametrize("beam", [1, 4])
def test_the_graph_of_whole_sounds_answers_the_same(preprocessor, core, beam):
    raw = [*preprocessor.edge_inputs(), {"audio": noise(7000, 5), "rate": RATE}]
    request = preprocessor.to_request(raw)
    request["beam"] = np.full(len(raw), beam, np.int32)
    program = LoadedProgram(preprocessor.programs[DEFAULT], {"model": core})
    want = program.run(request)
    graph = preprocessor.programs[DEFAULT].graph()
    tensors = {name: tf.constant(array) for name, array in request.items()}
    got = graph.run({"model": core.graph()}, tensors)
    assert set(got) == set(want)
    for name, array in want.items():
        if array.dtype == object:
            assert got[name].numpy().tolist() == array.tolist()
        else:
            np.testing.assert_allclose(got[name].numpy(), array, atol=1e-3, err_msg=name)


def test_the_graph_of_pieces_answers_the_same(preprocessor, core):
    program = LoadedProgram(preprocessor.programs["step"], {"model": core})
    graph = preprocessor.programs["step"].graph()
    states = program.initial(3)
    draw = np.random.default_rng(1)
    for step in range(7):
        length = draw.integers(0, 900, 3).astype(np.int32)
        audio = draw.normal(size=(3, 900)).astype(np.float32)
        request = {"audio": audio, "length": length, "final": np.full(3, step == 6), **states}
        want = program.run(request)
        tensors = {name: tf.constant(array) for name, array in request.items()}
        encoded = {**graph.encode(tensors), "seen": tensors["seen"]}
        outputs = graph.execute({"model": core.graph()}, encoded)
        got = {**outputs, **graph.decode(outputs)}
        for name, array in want.items():
            if array.dtype == object:
                assert got[name].numpy().tolist() == array.tolist()
            else:
                np.testing.assert_allclose(got[name].numpy(), array, atol=1e-3, err_msg=name)
        states = {name: want[f"{name}_next"] for name in states}


def test_times_are_those_of_the_steps(preprocessor, core):
    found = whole(preprocessor, core, noise(4000, 3), beam=4)
    count = found["count"][0]
    starts, ends = found["starts"][0, :count], found["ends"][0, :count]
    assert count
    assert (starts < ends).all()
    assert (starts[1:] >= ends[:-1] - 1e-6).all()
    assert ends.max() <= 0.5 + preprocessor.features.seconds_a_step


def test_answers_join_characters_to_words():
    spelled = [("a", 0.0, 0.1), ("b", 0.1, 0.3), (" ", 0.3, 0.4), ("c", 0.5, 0.6)]
    each = [{"character": c, "start": a, "end": b} for c, a, b in spelled]
    assert words_of(each) == [
        {"word": "ab", "start": 0.0, "end": 0.3}, {"word": "c", "start": 0.5, "end": 0.6},
    ]  # fmt: skip


def test_texts_as_they_are_learnt():
    assert normalised("  Don\u2019t\tstop! ", True, False) == "don't stop"
    assert normalised("Don't stop!", False, True) == "Don't stop!"
    assert normalised("e\u0301t\u00e9", True, False) == "\u00e9t\u00e9"
    assert steps_needed("hello") == 6


def test_what_cannot_be_learnt_is_refused_with_its_file(preprocessor):
    for text, problem in (
        ("abba dada dada dada", "characters need"),
        ("xyz", "character 'x' is not in the training part"),
        ("?!", "nothing is left"),
    ):
        one = example(noise(900), text, file="clips.csv", line=7)
        with pytest.raises(DataError, match=f"clips.csv:7.*{problem}"):
            preprocessor.encoded([one])


def test_it_is_saved_and_loaded(preprocessor, tmp_path):
    from pipelines.preprocessor import load_preprocessor

    preprocessor.save(tmp_path)
    assert load_preprocessor(tmp_path) == preprocessor
    assert "step" not in replace(preprocessor, streaming=False).programs


def test_a_request_that_cannot_be_is_refused(preprocessor, core):
    program = LoadedProgram(preprocessor.programs[DEFAULT], {"model": core})
    good = {**preprocessor.to_request([{"audio": noise(500), "rate": RATE}]),
            "beam": np.array([2], np.int32)}  # fmt: skip
    for name, value in (
        ("length", np.array([501], np.int32)), ("length", np.array([-1], np.int32)),
        ("rate", np.array([0], np.int32)), ("beam", np.array([0], np.int32)),
        ("audio", np.full((1, 500), np.nan, np.float32)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            program.run({**good, name: value})


@settings(max_examples=20)
@given(st.integers(0, 5000), st.lists(st.integers(1, 1500), max_size=5), st.sampled_from([1, 4]))
def test_a_live_transcript_ends_as_the_whole_sound(preprocessor, core, size, pieces, beam):
    program = LoadedProgram(preprocessor.programs["step"], {"model": core})
    live = LiveTranscript(program.run, program.initial(1), preprocessor, beam)
    samples, first = noise(size, seed=size + 1), 0
    for piece in [*pieces, size]:
        live.push(samples[first : first + piece])
        first += piece
    answer = live.finish()
    want = whole(preprocessor, core, samples, beam=beam)
    (expected,) = preprocessor.answers(want, [None])
    assert answer["text"] == expected["text"]
    assert answer["log_probability"] == pytest.approx(expected["log_probability"], abs=1e-2)
    assert [w["word"] for w in answer["words"]] == [w["word"] for w in expected["words"]]
