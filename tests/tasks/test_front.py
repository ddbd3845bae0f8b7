"""``import seqloom``: the way of a notebook, from a DataFrame to a served answer."""

import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import seqloom
from common.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"units": 8, "embedding_dim": 8, "epochs": 1, "bidirectional": False, "layers": 1}


@pytest.fixture(scope="module")
def table():
    words = np.random.default_rng(0).choice(["film", "plot", "actor", "scene"], (120, 4))
    good = np.arange(120) % 2 == 0
    body = [f"a {'fine' if g else 'dull'} {' '.join(w)}" for g, w in zip(good, words, strict=True)]
    return pd.DataFrame({"id": range(1000, 1120), "body": body, "label": np.where(good, "p", "n")})


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("front") / "run"
    return seqloom.train("sentiment", table, text_column="body", out=out, **SMALL)


@pytest.fixture(scope="module")
def bundle(run):
    return run.export(formats=["onnx"])


def test_a_run_is_read_back_by_its_directory(run):
    again = seqloom.load(run.path)
    assert again.metrics == run.metrics
    assert again.settings.model.units == 8
    assert list(run.scores.columns) == ["model", "baseline"]
    assert run.scores.loc[("test", "accuracy"), "model"] == run.metrics["test"]["accuracy"]
    assert list(run.history.index) == [0]
    assert run.task.name == "sentiment"
    assert run.model.count_params() > 0
    assert "sentiment" in run._repr_html_()
    assert str(run.path) in repr(run)


def test_lists_are_answered_with_lists_and_tables_with_tables(run, table, tmp_path):
    answers = run.predict(["a fine film", "a dull plot"])
    assert [sorted(a) for a in answers] == [["label", "probabilities", "probability"]] * 2
    assert run.predict("a fine film") == run.predict(["a fine film"])
    asked = table.drop(columns="label").iloc[5:9]
    found = run.predict(asked)
    assert list(found.index) == [5, 6, 7, 8]
    assert list(found["id"]) == list(asked["id"])
    expected = [a["label"] for a in run.predict(list(asked["body"]))]
    assert list(found["label"]) == expected
    asked.to_csv(tmp_path / "asked.csv", index=False)
    assert list(run.predict(tmp_path / "asked.csv")["label"]) == expected


def test_an_answer_explains_itself(run):
    found = run.explain("a fine film")
    assert len(found.attributions) == len(found.steps)
    assert "fine" in found._repr_html_()


def test_a_run_is_judged_on_other_data(run, table):
    found = run.evaluate({"train": table, "validation": table[:40], "test": table[:10]})
    assert set(found.index.get_level_values("part")) == {"validation", "test"}
    assert 0 <= found.loc[("test", "accuracy"), "model"] <= 1


def test_a_bundle_answers_and_is_served(run, bundle):
    assert bundle.parity.loc["onnx", "status"] == "verified"
    answers = bundle.predict(["a fine film"])
    assert answers[0]["label"] == run.predict(["a fine film"])[0]["label"]
    assert "onnx" in bundle._repr_html_()
    with bundle.serve() as server:
        served = server.predict(["a fine film"])[0]
        assert served["label"] == answers[0]["label"]
        assert served["probability"] == pytest.approx(answers[0]["probability"], abs=1e-6)
        assert server.client.predict({"text": ["a fine film"]})["label"][0].decode() in "pn"
    assert seqloom.load(bundle.path).manifest["task"] == "sentiment"


def test_a_report_shows_itself(run):
    page = run.report()
    assert page.path == run.path / "report.html"
    assert page._repr_html_().startswith("<iframe srcdoc=")
    assert run.pictures()._repr_html_() == ""


def test_settings_are_known_by_name_and_wrong_ones_are_named(table, tmp_path):
    assert "text_column" in seqloom.settings("sentiment").index
    assert "sentiment" in seqloom.tasks().index
    with pytest.raises(ConfigError, match="unitz"):
        seqloom.train("sentiment", table, unitz=3, out=tmp_path / "x")
    with pytest.raises(DataError, match="nothing"):
        seqloom.train("sentiment", table, text_column="nothing", out=tmp_path / "x")
    with pytest.raises(DataError, match="there is no task 'sentimant'"):
        seqloom.train("sentimant", table)
    with pytest.raises(DataError, match="int"):
        seqloom.train(3)
    with pytest.raises(DataError, match="there is no such directory"):
        seqloom.load(tmp_path / "nowhere")
    assert not (tmp_path / "x").exists()


def test_a_task_of_ones_own_making_has_other_defaults(table, tmp_path):
    task = seqloom.task("sentiment")
    own = replace(task, model=task.model.updated(**SMALL, cell="simple_rnn"))
    run = seqloom.train(own, table, text_column="body", out=tmp_path / "own")
    assert run.settings.model.cell == "simple_rnn"


@pytest.mark.slow
def test_a_search_is_a_table_and_its_best_a_run(table, tmp_path):
    search = seqloom.tune(
        "sentiment", table, text_column="body", trials=2, epochs=1, workers=1,
        out=tmp_path / "search", embedding_dim=8,
    )  # fmt: skip
    board = search.leaderboard()
    assert list(board.index) == [1, 2]
    assert search.best.metrics["validation"]["accuracy"] == board["score"].iloc[0]
    assert "trial" in search._repr_html_()
    run = search.train(tmp_path / "best", epochs=1)
    assert "test" in run.metrics
    assert isinstance(seqloom.load(search.path), seqloom.TuningSearch)


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(seqloom, "train", partial(seqloom.train, **SMALL), raising=False)
    names = {}
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)
    assert names["server"].url.endswith("/v1/models/classify")


def test_importing_costs_nothing_and_says_what_hides_a_package(tmp_path):
    code = "import sys, seqloom; print([m for m in ('tensorflow', 'numpy') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import seqloom"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"`models` is hidden by {tmp_path / 'models' / '__init__.py'}" in done.stderr
