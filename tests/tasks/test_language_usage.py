"""Language models that cannot be: what is refused, before hours of training and not behind them."""

import json

import pytest

import tasks
from common.errors import DataError, SeqloomError
from decoding.sampling import WritingConfig
from pipelines.language import LanguagePreprocessor
from pipelines.units import Units
from serving.bundle import FORMAT
from tasks.kinds.contract import DataOptions
from tasks.stages.predicting import _check_written
from tests.test_cli import assert_refused, call, here  # noqa: F401 a fixture

TASK = tasks.get("language")
LINES = [f"{who} went {where}" for who in ("ann", "bob") for where in ("home", "out", "up")]


def settings(**changes):
    return TASK.with_settings(TASK.settings, changes)


@pytest.mark.parametrize("command", ["train", "tune"])
@pytest.mark.parametrize(("flags", "parts"), [
    (["--temperature", "-1"], ["temperature is -1.0; it must be from 0 to 100"]),
    (["--top-p", "1.5"], ["top_p is 1.5; it must be from 0 to 1"]),
    (["--top-k", "-3"], ["top_k is -3; it must be from 0 to 2147483647"]),
    (["--max-tokens", "0"], ["max_tokens is 0; it must be from 1 to 100000"]),
    (["--level", "letter"], ["level is 'letter'", "subword"]),
    (["--documents", "pages"], ["documents is 'pages'", "lines"]),
    (["--bidirectional"], ["leave --bidirectional away"]),
    (["--form", "("], ["form '(' is no regular expression", "leave it away"]),
    (["--form", "[ab]*a[ab]{30}"], ["simplify it"]),
])  # fmt: skip
def test_impossible_settings_are_refused_before_anything_is_written(
    here, monkeypatch, command, flags, parts  # noqa: F811
):  # fmt: skip
    monkeypatch.setattr("tuning.pools.LocalPool.start", lambda *_: None)
    (here / "a.txt").write_text("\n".join(LINES * 5))
    assert_refused(call(command, "language", "--data", "a.txt", *flags), parts)
    assert [path.name for path in here.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(("changes", "texts", "message"), [
    ({"form": "[0-9]+"}, LINES, "matches no text that this model can write; ask for characters"),
    ({"form": "[a-z ]+"}, ["\n".join(LINES)], "texts without an end: leave it away"),
    ({"form": "[a-z ]+", "level": "word"}, LINES, "this model writes words: leave it away"),
    ({"stop": "x" * 1001}, LINES, "the longest of 1001 characters"),
])  # fmt: skip
def test_what_the_text_does_not_allow_is_refused_before_the_training(changes, texts, message):
    wanted = settings(**changes)
    TASK.check(wanted, DataOptions())
    with pytest.raises(SeqloomError, match=message):
        TASK.adapt(wanted, texts)


def test_a_form_of_the_text_is_taken_and_of_a_model_that_reads_backwards_nothing_is_asked():
    assert TASK.adapt(settings(form="(ann|bob) went [a-z]+"), LINES).decoding["form"]
    assert TASK.adapt(settings(form="[0-9]+", backward=True), LINES).backward


def test_settings_of_written_texts_are_not_for_scores():
    decoding = WritingConfig().to_dict()
    programs = LanguagePreprocessor(Units.adapt(LINES, "char"), True, 10, decoding).programs
    with pytest.raises(DataError, match="--top-k is for texts that are written: add --stream"):
        _check_written(programs, {"top_k": 3})
    _check_written(programs, {})


@pytest.mark.parametrize(("flags", "parts"), [
    (["--seed", "-1"], ["seed is -1; it must be from 0 to 2147483647"]),  # of `train`, too
    (["--top-p", "2"], ["top_p is 2.0"]),
    (["--trials", "3"], ["--trials is a flag of"]),
])  # fmt: skip
def test_a_server_knows_every_setting_of_written_texts(here, flags, parts):  # noqa: F811
    config = {"task": "language", "data": {}}
    manifest = {"format": FORMAT, "name": "language", "version": 1, "config": config}
    (here / "manifest.json").write_text(json.dumps(manifest))
    (here / "onnx" / "1").mkdir(parents=True)
    (here / "onnx" / "1" / "model.onnx").touch()
    assert_refused(call("serve", ".", *flags), parts)
