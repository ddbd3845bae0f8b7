"""The kind translation: what its flags, files and scores mean; the examples of its page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from common.errors import ConfigError
from pipelines.pair_sources import load_pairs
from pipelines.pairs import TextPair
from pipelines.text import TextEncoder
from serving.bundle import FORMAT
from tasks.kinds.contract import DataOptions
from tasks.kinds.translation.baseline import joined, translation_baseline
from tasks.kinds.translation.scoring import bleu_signature, bleu_tokens, translation_metrics
from tasks.stages.predicting import predict_flags, task_of

TASK = tasks.get("translation")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "translation.md"
BLOCKS = re.findall(
    r"^```(tsv|jsonl|tmx)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M
)


@pytest.mark.parametrize(("form", "text"), BLOCKS, ids=[form for form, _ in BLOCKS])
def test_the_files_of_the_page_are_read_as_it_says(form, text, tmp_path):
    path = tmp_path / f"a.{form}"
    path.write_text(text, encoding="utf-8")
    parts = dict.fromkeys(("train", "validation", "test"), str(path))
    splits = load_pairs(parts, source_language="en", target_language="de")
    assert set(splits.train) == {TextPair("A dog runs.", "Ein Hund rennt.")}


def test_every_setting_that_the_page_names_is_there():
    named = set(re.findall(r"--([a-z][a-z-]+)", PAGE.read_text(encoding="utf-8")))
    known = {name.replace("_", "-") for name in TASK.names()}
    known |= {f"no-{name}" for name in known} | {"data", "file", "out"}
    assert named <= known


def test_one_table_for_two_vocabularies_is_refused_before_anything_is_read():
    settings = TASK.with_settings(TASK.settings, {"shared_vocabulary": False})
    with pytest.raises(ConfigError, match="--no-share-embeddings"):
        TASK.check(settings, DataOptions("nowhere"))
    TASK.check(TASK.with_settings(settings, {"share_embeddings": False}), DataOptions("nowhere"))


@pytest.mark.parametrize(
    ("trained", "flags", "said"),
    [
        ({}, {"beam": 0}, "beam is 0; it must be from 1 to 1000"),
        ({}, {"beam": 1001}, "beam is 1001"),
        ({}, {"n_best": 6}, "n_best is 6; it must be at most beam, 5"),
        ({}, {"max_tokens": 0}, "max_tokens is 0; it must be from 1"),
        ({"beam": 2}, {"n_best": 3}, "at most beam, 2"),
        ({"beam": 9}, {"n_best": 8}, ""),
        ({}, {"beam": 1000}, ""),
    ],
)
def test_settings_of_the_search_are_judged_beside_those_of_the_training(
    trained, flags, said, tmp_path
):
    config = {"task": "translation", "decoding": trained}
    manifest = {"format": FORMAT, "config": config}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    task = task_of(tmp_path)
    if said:
        with pytest.raises(ConfigError, match=said):
            predict_flags(task, flags)
    else:
        assert predict_flags(task, flags) == ({}, flags)


def test_bleu_is_sacrebleus_with_case_and_of_plain_text():
    examples = [
        TextPair("", "Ein Hund rennt über das Gras."),
        TextPair("", "Zwei Hunde, im Schnee."),
    ]
    right = translation_metrics([one.target for one in examples], examples)
    assert right == pytest.approx({"bleu": 100.0, "chrf": 100.0, "exact": 1.0})
    lower = translation_metrics([one.target.lower() for one in examples], examples)
    assert lower["bleu"] < 60
    assert lower["exact"] == 0
    assert translation_metrics(["", ""], examples)["bleu"] == 0
    assert "case:mixed" in bleu_signature("13a")
    assert "tok:13a" in bleu_signature("13a")


@pytest.mark.parametrize(
    ("level", "references", "tokens"),
    [
        ("word", ["Ein Hund."], "13a"),
        ("char", ["1987-05-03"], "char"),
        ("word", ["一只狗在跑"], "zh"),
    ],
)
def test_tokens_of_bleu(level, references, tokens):
    assert bleu_tokens(TextEncoder(level=level), references) == tokens


def test_an_answer_is_one_line():
    answer = {
        "text": "a\nb",
        "hypotheses": [{"text": "a\nb", "score": -1}, {"text": "", "score": -2}],
    }
    assert TASK.format_answer("x", answer) == "a b  |  (nothing) (-2.00)"


def test_word_by_word_on_the_synthetic_task():
    splits = TASK.load(DataOptions("synthetic:400"))
    found = translation_baseline(splits, translation_metrics)
    assert set(found) == {"name", "validation", "test", "answers"}
    assert 0 <= found["test"]["bleu"] < 60
    assert joined(["(", "Two", "dogs", ")", ",", "running", "."]) == "(Two dogs), running."


def test_lines_and_tables_to_translate(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    options = TASK.data_options("synthetic")
    settings = TASK.with_settings(TASK.settings, {"level": "word", "max_length": 5})
    preprocessor = TASK.adapt(settings, [TextPair("one two", "1 2")])
    found = TASK.read_inputs(tmp_path / "a.txt", options, preprocessor)
    assert found == (["one", "two"], [])


@pytest.mark.parametrize(("level", "fits"), [("word", "one " * 5), ("char", "onetw")])
def test_texts_of_which_only_the_beginning_is_read_are_told(tmp_path, level, fits):
    settings = TASK.with_settings(TASK.settings, {"level": level, "max_length": 5})
    preprocessor = TASK.adapt(settings, [TextPair("one two", "1 2")])
    options = TASK.data_options("synthetic")
    path = tmp_path / "a.txt"
    path.write_text(f"{fits}\n")
    assert TASK.read_inputs(path, options, preprocessor)[1] == []
    path.write_text(f"{fits}\n{fits} two\n")
    (note,) = TASK.read_inputs(path, options, preprocessor)[1]
    assert "a text is longer than 5 tokens" in note
    path.write_text("word " * 5000 + f"\n{fits} two\n")
    assert "2 texts are longer" in TASK.read_inputs(path, options, preprocessor)[1][0]


def test_pairs_that_training_cuts_are_told():
    settings = TASK.with_settings(TASK.settings, {"level": "word", "max_length": 5})
    pairs = [TextPair("a b", "c"), TextPair("a b c d", "x y z w v u")]
    preprocessor = TASK.adapt(settings, pairs)
    (note,) = TASK.count(settings, preprocessor, preprocessor.encoded(pairs)).notes
    assert note.startswith("a pair of the training data fills --max-length 5")
    shorter = pairs[:1]
    assert TASK.count(settings, preprocessor, preprocessor.encoded(shorter)).notes == ()


def test_what_answers_imports_neither_tensorflow_nor_keras():
    code = (
        "import sys, tasks.translation, pipelines.pair_sources, pipelines.translation\n"
        "print([name for name in ('tensorflow', 'keras', 'sacrebleu') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PAGE.parents[1], capture_output=True,
                          text=True)  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr
