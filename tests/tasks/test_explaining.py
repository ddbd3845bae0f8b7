"""Explanations of untrained models: their sums, where they lie, and what is written of them."""

import csv
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tasks
from common.errors import ConfigError, DataError
from models.attribution import integrated_gradients
from models.stepwise import stepwise
from pipelines.responses import readable
from reports.explanation import coloured_text
from tasks.commands.every import app
from tasks.kinds.contract import Task
from tasks.kinds.question import place_of
from tasks.stages.explaining import (
    Explainer,
    explain,
    placed,
    principal_components,
    write_explanations,
)
from tasks.stages.explanation_text import shown_explanation
from tasks.stages.run_directory import Run

SMALL = {"units": 6, "embedding_dim": 5}


def untrained(name, directory, source="synthetic:400", **changes):
    """A run whose model has random weights, which explain themselves as well as others."""
    import keras

    task = tasks.get(name)
    reading = {key: changes.pop(key) for key in task.data.names() if key in changes}
    settings = task.with_settings(task.settings, {**task.quick, **SMALL, **changes})
    data = task.data_options(source, **reading)
    splits = task.load(data)
    keras.utils.set_random_seed(3)
    preprocessor = task.adapt(settings, splits.train)
    train = preprocessor.encoded(splits.train)
    model = task.build(settings, preprocessor, task.count(settings, preprocessor, train))
    for weight in model.trainable_weights:  # untrained ones are often zeros
        weight.assign_add(np.random.default_rng(len(weight.path)).normal(size=weight.shape) * 0.1)
    model, preprocessor = task.after_training(model, settings, preprocessor, splits)
    run = Run(directory)
    run.create(task, data, settings, 0)
    run.save_preprocessor(preprocessor)
    run.save_model(model)
    return run, preprocessor.raw(splits.validation[:3])


@pytest.fixture(scope="module")
def sentiment(tmp_path_factory):
    run, raw = untrained("sentiment", tmp_path_factory.mktemp("sentiment") / "run")
    return run, raw, Explainer(run)


def test_every_token_has_its_share_and_all_sum_to_the_answer(sentiment):
    _, raw, explainer = sentiment
    found = explainer.explain(raw[0])
    assert found.complete
    assert found.by_step.sum() == pytest.approx(found.score - found.baseline_score, rel=0.02)
    assert set(found.parts) == {"recurrent network", "linear n-gram path"}
    assert sum(found.parts.values()) == pytest.approx(found.by_step.sum(), rel=1e-4)
    assert found.steps[0] == "[START]"
    assert len(found.steps) == len(found.attributions)
    assert {layer.name for layer in found.layers} == {"forward_gru_0", "backward_gru_0"}
    assert set(found.layers[0].saturation) == {"update", "reset", "candidate", "state"}
    label = {"positive": "negative"}.get(found.target.split()[-1], "positive")
    other = explainer.explain(raw[0], label)
    assert other.score == pytest.approx(-found.score, abs=1e-4)


def test_an_ngram_is_shared_by_its_words(sentiment):
    """The linear path of a text of one known word is all that word's."""
    run, *_ = sentiment
    task, preprocessor, model = run.task(), run.preprocessor(), run.model()
    word = next(w for w in preprocessor.encoder.vocabulary[4:] if w.isalpha())
    question = task.question(model, preprocessor, word, {"label": preprocessor.labels[0]}, "")
    found = integrated_gradients(model, question.inputs, question.score)
    linear = [name for name in found.entries if name.endswith("_evidence")]
    alone = replace(found, entries={name: found.entries[name] for name in linear})
    each, parts, notes = placed(question, alone)
    assert each[1] == pytest.approx(alone.total, abs=1e-5)
    assert each[1] != 0
    assert not each[0]
    assert not each[2]
    assert list(parts) == ["linear n-gram path"]
    assert not notes


def test_what_cannot_be_asked_is_said(sentiment, tmp_path):
    run, _, explainer = sentiment
    with pytest.raises(DataError, match="--target great: the labels are negative, positive"):
        explainer.explain("fine", "great")
    assert place_of("2", ["a", "b"], "labels") == 1
    with pytest.raises(DataError, match="a number from 1 to 2"):
        place_of("3", ["a", "b"], "labels")
    with pytest.raises(ConfigError, match="are not explained yet"):
        Task.question(run.task(), None, None, "", {}, "")
    for name, wanted in (("page.pdf", "ends in .html, .png, .csv"), ("two.png", "one picture")):
        done = CliRunner().invoke(app, ["explain", str(run.path), "a", "b", "--out",
                                        str(tmp_path / name)])  # fmt: skip
        assert wanted in str(done.exception)
        assert not list(tmp_path.iterdir())
    done = CliRunner().invoke(app, ["explain", str(run.path)])
    assert "there is no input" in str(done.exception)


def test_the_command_writes_a_page_a_table_and_a_picture(sentiment, tmp_path, capsys):
    run, _, explainer = sentiment
    text = "a <b>& wonderful film"
    command = ["explain", str(run.path), text, "--json", "--out", str(tmp_path / "one.html")]
    done = CliRunner().invoke(app, command)
    assert done.exception is None, done.exception
    found = json.loads(done.stdout.splitlines()[-1])
    (one,) = found["explanations"]
    assert found["files"] == [str(tmp_path / "one.html")]
    assert one["complete"]
    whole = explainer.explain(text)
    for name in ("one.csv", "one.png"):
        write_explanations([whole], tmp_path / name, run.path)
    assert len(one["steps"]) == len(one["attributions"])
    page = (tmp_path / "one.html").read_text()
    assert "wonderful" in page
    assert "<b>&" not in page
    with (tmp_path / "one.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == one["steps"]
    assert sum(float(row["attribution"]) for row in rows) == pytest.approx(
        sum(one["attributions"]), abs=1e-6
    )
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.csv", "one.html", "one.png"]
    shown_explanation(whole)
    assert "Integrated gradients with" in capsys.readouterr().out
    assert whole._repr_html_().startswith("<style>")
    assert explain(explainer, text).to_dict() == whole.to_dict()


@pytest.mark.slow
def test_the_page_says_what_works(sentiment, tmp_path, monkeypatch):
    run, _, explainer = sentiment
    page = (Path(tasks.__file__).parents[1] / "docs" / "insight.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text("text\na fine film\nno\n")
    lines = re.findall("^seqloom (explain .*)", page, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        words = [str(run.path) if word.startswith("runs/") else word for word in shlex.split(line)]
        done = CliRunner().invoke(app, words)
        assert done.exception is None, done.exception
    assert (tmp_path / "page.html").is_file()
    assert len((tmp_path / "all.csv").read_text().splitlines()) > 5
    kinds = {tasks.get(name).kind for name in tasks.names()}
    assert all(f"| {kind} |" in page for kind in kinds), kinds


TARGETS = {
    "anomaly": "40", "forecast": "2", "intent": "1", "keyword": "1", "language": "", "music": "3",
    "speech": "1", "tagging": "2", "translation": "1",
}  # fmt: skip


# The quick one stays: the others go through the same functions with their own models.
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name == "forecast" else pytest.mark.slow) for name in TARGETS
])  # fmt: skip
def test_every_kind_explains_itself(name, tmp_path, capsys):
    changes = {"keyword": {"layers": 1}, "forecast": {"lookback": 96, "horizon": 6}}.get(name, {})
    source = "synthetic:1200" if name in ("anomaly", "forecast") else "synthetic:64"
    run, raw = untrained(name, tmp_path / "run", source, **changes)
    explainer, one = Explainer(run), raw[0]
    if name == "anomaly":
        one = {key: np.asarray(value)[:80] if key != "series" else value for key, value in
               one.items()}  # fmt: skip
    model, preprocessor = explainer.answerer.model, explainer.answerer.preprocessor
    for target in dict.fromkeys(("", TARGETS[name])):
        found = explainer.explain(one, target)
        assert found.complete, found.check()
        assert found.attributions.sum() == pytest.approx(
            found.score - found.baseline_score, rel=0.02, abs=1e-3
        )
        assert np.abs(found.attributions).max() > 0
        assert np.isfinite(found.attributions).all()
        assert "what is not by step" not in found.parts
        assert found.layers
    write_explanations([found], tmp_path / "page.html", run.path)
    write_explanations([found], tmp_path / "page.csv", run.path)
    found.drawing().save_png(tmp_path / "page.png")
    json.dumps(found.to_dict())
    shown_explanation(found)
    answer = readable(explainer._program, preprocessor, [one])[0]
    question = run.task().question(model, preprocessor, one, answer, "")
    wanted = model(dict(question.inputs), training=False)
    with stepwise(model):
        got = model(dict(question.inputs), training=False)
    for key, values in wanted.items():
        np.testing.assert_allclose(values, got[key], atol=2e-4, rtol=1e-4)
    if name != "language":
        with pytest.raises(DataError, match="--target none of these"):
            explainer.explain(one, "none of these")


def test_two_components_of_states_on_a_line():
    states = np.outer(np.array([0.0, 1.0, 2.0]), np.array([3.0, 4.0]))
    path, variance = principal_components(states)
    np.testing.assert_allclose(np.abs(path[:, 0]), [5, 0, 5], atol=1e-9)
    np.testing.assert_allclose(variance, [1, 0], atol=1e-9)
    assert principal_components(states[:1])[1] == (0.0, 0.0)


def test_colours_say_the_sign():
    html = coloured_text(["good", "<bad>"], np.array([1.0, -0.5]))
    assert "31,95,168,0.65" in html
    assert "194,65,12,0.33" in html
    assert "&lt;bad&gt;" in html
