"""Programs that write: settings, reasons to end, and the same texts as plain sampling."""

import numpy as np
import pytest

from decoding.sampling import sample
from pipelines.detokenizing import Detokenizer
from pipelines.program import LoadedProgram, as_step
from pipelines.text import END, START, TextEncoder
from pipelines.writing import SEPARATOR, WritingProgram, stop_strings
from serving.errors import RequestError
from serving.programs import CheckedProgram

ENCODER = TextEncoder(level="char", strip_markup=False).adapt(["abc .", "caab"])
SIZE = len(ENCODER.vocabulary)
TABLE = np.random.default_rng(3).normal(scale=2, size=(SIZE, SIZE)).astype(np.float32)
TABLE[:, :END] = -np.inf  # padding, unknown and start are never written
TABLE -= np.log(np.exp(TABLE).sum(-1, keepdims=True))


class Bigrams:
    """A core of one step whose state counts the ids."""

    inputs, states = ("tokens", "count"), {"count": (1,)}

    def __call__(self, arrays):
        return {
            "log_probabilities": TABLE[arrays["tokens"]], "count_next": arrays["count"] + 1,
        }  # fmt: skip


class Bigram(WritingProgram):
    end = END
    settings = {
        "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, "max_tokens": 20,
        "stop": "", "seed": 0,
    }  # fmt: skip

    def prompts(self, request):
        return [np.array(ENCODER.encode(text)[:-1], np.int32) for text in request["text"]]

    def detokenizer(self):
        return Detokenizer.of_encoder(ENCODER)

    @property
    def signature(self):
        known = super().signature
        known["outputs"]["finish_reason"] = {"dtype": "string", "shape": [-1]}
        return known


def run(texts, kind=LoadedProgram, **settings):
    program = kind(Bigram(), {"step": Bigrams()})
    request = {"text": np.array([text.encode() for text in texts], object)}
    for name, value in settings.items():
        dtype = {"float32": np.float32, "int64": np.int64, "string": object}[
            program.signature["inputs"][name]["dtype"]
        ]
        request[name] = np.array(value, dtype)
    return program.run(request)


def test_texts_are_those_of_plain_sampling():
    seeds = np.arange(30)
    found = run(["ab"] * 30, seed=seeds, max_tokens=12)
    step, _ = as_step(Bigrams(), 0)
    first = np.full(30, ENCODER.encode("ab")[-2])
    ids, lengths, scores = sample(
        step, first, {"count": np.zeros((30, 1), np.float32)}, end=END, seed=seeds, max_tokens=12
    )
    expected = [ENCODER.decode(row[:n]) for row, n in zip(ids, lengths, strict=True)]
    assert [text.decode() for text in found["continuation"]] == expected
    np.testing.assert_allclose(found["log_probability"], scores, atol=1e-5)
    reasons = {b"end" if n < 12 else b"length" for n in lengths}
    assert set(found["finish_reason"]) == reasons == {b"end", b"length"}


def test_stop_strings_cut_the_text_and_end_it():
    whole = run(["ab"] * 30, seed=np.arange(30))["continuation"]
    found = run(["ab"] * 30, seed=np.arange(30), stop=f"ca{SEPARATOR}..")
    for text, cut, why in zip(whole, found["continuation"], found["finish_reason"], strict=True):
        places = [place for stop in (b"ca", b"..") if (place := text.find(stop)) >= 0]
        assert cut == (text[: min(places)] if places else text)
        assert (why == b"stop") == bool(places)
    assert {b"stop", b"end"} <= set(found["finish_reason"])


def test_rows_have_settings_of_their_own():
    found = run(["a", "a", ""], temperature=[0.0, 1.0, 0.0], max_tokens=[3, 5, 2], seed=[0, 1, 2])
    for i, (text, settings) in enumerate([
        ("a", {"temperature": 0.0, "max_tokens": 3, "seed": 0}),
        ("a", {"temperature": 1.0, "max_tokens": 5, "seed": 1}),
        ("", {"temperature": 0.0, "max_tokens": 2, "seed": 2}),
    ]):  # fmt: skip
        assert run([text], **settings)["continuation"][0] == found["continuation"][i]


def test_no_rows_and_prompts_of_nothing():
    assert run([])["continuation"].shape == (0,)
    assert ENCODER.encode("")[:-1] == [START]
    assert len(run([""], max_tokens=5)["continuation"]) == 1


@pytest.mark.parametrize(("settings", "message"), [
    ({"temperature": -1.0}, "temperature is -1.0; it must be from 0 to 100"),
    ({"top_p": 2.0}, "top_p is 2.0; it must be from 0 to 1"),
    ({"max_tokens": 0}, "max_tokens is 0; it must be from 1 to 100000"),
    ({"max_tokens": 1_000_000}, "max_tokens is 1000000; it must be from 1 to 100000"),
    ({"stop": SEPARATOR.join("abcdefghijklmnopq")}, "stop has 17 strings"),
    ({"stop": "x" * 1001}, "the longest of 1001 characters"),
])  # fmt: skip
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(RequestError) as refused:
        run(["a"], CheckedProgram, **settings)
    assert message in str(refused.value)


def test_stop_strings_of_a_row():
    assert stop_strings(b"") == ()
    assert stop_strings(f"a{SEPARATOR}{SEPARATOR}\n") == ("a", "\n")
