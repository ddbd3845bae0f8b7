"""Programs of language models: chunks, ends, directions and forms, around a small Keras model."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from decoding.sampling import WritingConfig
from models.language import language_cores, language_model
from models.language_config import LanguageConfig
from pipelines.language import LanguagePreprocessor, Score
from pipelines.preprocessor import load_preprocessor
from pipelines.program import KerasCore, LoadedProgram
from pipelines.text import text_request
from pipelines.units import END, START, Units
from serving.native_onnx import step_model
from serving.savedmodel import ServingModule

TEXTS = ["one two", "a longer line\nand another", "x"]
CONFIG = LanguageConfig(units=8, embedding_dim=6)


def made(**more):
    units = Units.adapt(TEXTS, more.pop("level", "char"))
    settings = WritingConfig(max_tokens=40, **more.pop("decoding", {})).to_dict()
    return LanguagePreprocessor(units, more.pop("ends", True), 10, settings, **more)


@pytest.fixture(scope="module")
def cores():
    keras.utils.set_random_seed(0)
    found = language_cores(language_model(CONFIG, len(made().units)))
    return {"model": KerasCore(found["model"]), "step": KerasCore(step_model(found["next"]))}


def run(preprocessor, cores, name="serving_default", **request):
    request = {"text": text_request(request.pop("text", TEXTS)), **request}
    return LoadedProgram(preprocessor.programs[name], cores).run(request)


def test_chunks_give_what_one_long_pass_gives(cores, monkeypatch):
    preprocessor = made()
    whole = run(preprocessor, cores)
    monkeypatch.setattr("pipelines.language.CHUNK", 5)
    cut = run(preprocessor, cores)
    np.testing.assert_allclose(cut["log_probabilities"], whole["log_probabilities"], atol=1e-5)
    # Nor does a row depend on its neighbours.
    alone = run(preprocessor, cores, text=TEXTS[:1])
    np.testing.assert_allclose(
        alone["log_probabilities"][0], whole["log_probabilities"][0, :8], atol=1e-5
    )
    assert whole["length"].tolist() == [8, 26, 2]
    total = whole["log_probabilities"].sum(1)
    np.testing.assert_allclose(whole["log_probability"], total, rtol=1e-5)


def test_every_unit_is_scored_once_and_the_end_where_there_is_one(cores):
    encoded = Score(made()).encode({"text": text_request(["ox", ""])})
    names = made().units.names
    assert encoded["tokens"][0].tolist() == [START, names.index("o"), names.index("x")]
    assert encoded["following"][0].tolist() == [names.index("o"), names.index("x"), END]
    assert encoded["length"].tolist() == [3, 1]
    endless = Score(made(ends=False)).encode({"text": text_request(["ox", ""])})
    assert endless["length"].tolist() == [2, 0]
    answers = made(ends=False).answers(run(made(ends=False), cores, text=["ox", ""]), ["ox", ""])
    assert [one["tokens"] for one in answers] == [["o", "x"], []]
    assert answers[1]["perplexity"] == 1


def test_a_model_that_reads_backwards_writes_nothing(cores):
    backward = made(backward=True)
    assert set(backward.programs) == {"serving_default", "step"}
    found = run(backward, cores, text=["ox"])
    assert found["tokens"][0].tolist() == [b"x", b"o", b"<end>"]


def test_a_form_holds_whatever_the_model_would_write(cores):
    preprocessor, pattern = made(), "[a-z]{3}(\n[a-z ]{4}){2}"
    found = run(
        preprocessor, cores, "generate", text=["", "one", "a"],
        form=np.array([pattern] * 3, object), seed=np.arange(3), temperature=np.full(3, 2.0),
    )  # fmt: skip
    for prompt, rest in zip(["", "one", "a"], found["continuation"], strict=True):
        assert re.fullmatch(pattern, prompt + rest.decode())
    # A letter that the model does not know is one letter, and is not written.
    loose = ".{3}(\n[a-z ]{4}){2}"
    (rest,) = run(
        preprocessor, cores, "generate", text=["\xe9"], form=np.array([loose], object)
    )["continuation"]  # fmt: skip
    assert re.fullmatch(loose, f"\xe9{rest.decode()}")
    with pytest.raises(ValueError, match="does not begin"):
        run(preprocessor, cores, "generate", text=["\n"], form=np.array([pattern], object))
    with pytest.raises(ValueError, match="no regular expression"):
        run(preprocessor, cores, "generate", text=["a"], form=np.array(["("], object))


def test_a_graph_holds_a_form_whatever_the_lengths_and_characters_of_prompts(cores):
    form, prompts = ".{3}(\n[a-z ]{4}){2}", ["\xe9", "one", ""]
    preprocessor = made(decoding={"form": form})
    keras.utils.set_random_seed(0)
    found = language_cores(language_model(CONFIG, len(preprocessor.units)))
    module = ServingModule(
        {"model": found["model"], "step": step_model(found["next"])}, preprocessor
    )
    generate, request = module.functions["generate"], {"text": tf.constant(prompts)}
    defaults = preprocessor.programs["generate"].signature["inputs"]
    for name, spec in defaults.items():
        if name != "text":
            request[name] = tf.constant([spec["default"]] * 3, spec["dtype"])
    written = generate(**request)["continuation"].numpy()
    plain = run(preprocessor, cores, "generate", text=prompts)["continuation"]
    assert written.tolist() == plain.tolist()
    for prompt, rest in zip(prompts, written, strict=True):
        assert re.fullmatch(form, prompt + rest.decode())
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not begin as form says"):
        generate(**{**request, "text": tf.constant(["one", "\n", ""])})


def test_stop_strings_and_penalties_are_settings_of_a_request(cores):
    preprocessor = made(ends=False)
    plain = run(preprocessor, cores, "generate", text=["one"], temperature=np.zeros(1))
    repeated = plain["continuation"][0].decode()
    stopped = run(
        preprocessor, cores, "generate", text=["one"], temperature=np.zeros(1),
        stop=np.array([repeated[3:5]], object),
    )  # fmt: skip
    assert stopped["continuation"][0].decode() == repeated[: repeated.index(repeated[3:5])]
    punished = run(
        preprocessor, cores, "generate", text=["one"], temperature=np.zeros(1),
        repetition_penalty=np.full(1, 50.0),
    )["continuation"][0].decode()  # fmt: skip
    assert len(set(punished)) > len(set(repeated))


def test_a_saved_preprocessor_is_the_same(tmp_path):
    for level in ("char", "word", "subword"):
        preprocessor = made(level=level, decoding={"form": "a*"}) if level == "char" else made()
        preprocessor.save(tmp_path)
        again = load_preprocessor(tmp_path)
        assert again.units == preprocessor.units
        assert again.decoding == preprocessor.decoding
        assert (again.ends, again.window, again.backward) == (True, 10, False)
