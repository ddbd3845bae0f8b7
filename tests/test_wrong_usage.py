"""The wrong directory, flag, address or place: what was meant is said, before TensorFlow comes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import seqloom
import tasks
from common.errors import DataError
from serving.bundle import read_manifest
from tasks.stages.directories import (
    BUNDLE,
    RUN,
    SAVEDMODEL,
    SEARCH,
    TRIAL,
    WHOLE,
    place_for,
    required,
    what_is,
)
from tests.test_cli import CSV, answer, assert_refused, call, here  # noqa: F401 a fixture

ROOT = Path(seqloom.__file__).resolve().parent


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"task": "sentiment", "mode": "max"}')


@pytest.fixture
def whole(here):  # noqa: F811
    """What ``seqloom run`` leaves, its files empty: in the directory ``w``."""
    touch(
        *(Path("w", name) for name in (
            "search/search.json", "search/trials/0000/trial.json",
            "search/trials/0000/run-0/config.json", "search/trials/0000/run-0/model.keras",
            "search/best/config.json", "search/best/model.keras",
            "model/config.json", "model/model.keras",
            "bundle/manifest.json", "bundle/savedmodel/1/saved_model.pb",
            "bundle/onnx/1/model.onnx",
        ))
    )  # fmt: skip
    return Path("w")


def test_each_directory_is_known(whole):
    kinds = {".": WHOLE, "search": SEARCH, "search/trials/0000": TRIAL, "search/best": RUN,
             "model": RUN, "bundle": BUNDLE, "bundle/savedmodel": SAVEDMODEL,
             "bundle/savedmodel/1": SAVEDMODEL, "search/trials": None, "nothing": None,
             "model/config.json": None}  # fmt: skip
    assert {name: what_is(whole / name) for name in kinds} == kinds


MEANT = [
    ("w", [RUN], "w/model"),
    ("w", [SEARCH], "w/search"),
    ("w", [BUNDLE, SAVEDMODEL], "w/bundle"),
    ("w", [RUN, BUNDLE], "w/model or w/bundle"),
    ("w/search", [RUN], "w/search/best"),
    ("w/search/trials/0000", [RUN], "w/search/trials/0000/run-0"),
    ("w/bundle/onnx/1", [BUNDLE], "w/bundle"),
    ("w/bundle/manifest.json", [BUNDLE], "w/bundle"),
    ("w/model/model.keras", [RUN], "w/model"),
    ("w/serch", [SEARCH], "did you mean w/search?"),
]


@pytest.mark.parametrize(("given", "wanted", "meant"), MEANT)
def test_what_was_meant_is_said(whole, given, wanted, meant):
    with pytest.raises(DataError, match=f"(give {meant}$|{meant.replace('?', '[?]')} )"):
        required(Path(given), *wanted)


COMMANDS = [
    (["export", "w/search"], ["w/search is a search, not a run", "w/search/best"]),
    (["evaluate", "w/search"], ["w/search/best"]),
    (["evaluate", "w/bundle"], ["is a bundle", "exported from"]),
    (["serve", "w/model"], ["is a run", "seqloom export w/model"]),
    (["serve", "w/search"], ["is a search"]),
    (["serve", "w"], ["w/bundle"]),
    (["serve", "nothere"], ["nothere: there is no such directory"]),
    (["predict", "nothere", "a film"], ["nothere: there is no such directory"]),
    (["predict", "w/search", "a film"], ["w/search/best"]),
    (["leaderboard", "w/model"], ["w/model is a run, not a search"]),
    (["leaderboard", "w"], ["w/search"]),
    (["report", "w/bundle"], ["w/bundle is a bundle"]),
    (["report", "w"], ["w/model or w/search"]),
    (["predict", "a", "--url", "localhost:8501"], ["http://localhost:8501"]),
    (["predict", "a", "--url", "10.0.0.1"], ["http://10.0.0.1", "grpc://"]),
    (["train", "sentiment", "--epoch", "3"], ["'epoch'", "--epochs"]),
    (["tune", "sentiment", "--trial", "3"], ["--trials"]),
    (["run", "sentiment", "--targt-score=3"], ["'targt_score'"]),
    (["train", "sentiment", "--workers", "2"], ["--workers is a flag of", "`seqloom tune`"]),
    (["train", "sentiment", "--out", "w"], ["--out w holds", "new directory"]),
    (["train", "sentiment", "--out", "w/search"], ["holds a search"]),
    (["tune", "sentiment", "--out", "w/model"], ["holds a run"]),
    (["run", "sentiment", "--out", "w/bundle"], ["holds a bundle"]),
    (["train", "sentiment", "--out", "w/model/config.json"], ["is a file"]),
    (["train", "forecast", "--lookback", "12", "--segment", "24"], ["--segment 12", "--lookback"]),
    (["train", "forecast", "--bidirectional"], ["--unidirectional", "--head"]),
    (["tune", "forecast", "--lookback", "12", "--segment", "24"], ["--segment 12"]),
    (["train", "anomaly", "--bidirectional"], ["--unidirectional", "--scorer"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), COMMANDS)
def test_wrong_usage_is_told_in_one_sentence(whole, arguments, parts):
    before = sorted(Path().rglob("*"))
    assert_refused(call(*arguments), parts)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("command", ["export", "leaderboard", "report", "tasks", "doctor"])
def test_commands_without_settings_say_whose_a_flag_is(here, command):  # noqa: F811
    code, _, err = call(command, "x", "--rest-port", "1")
    assert code == 2
    assert "seqloom serve" in err


# What each command is told before TensorFlow is imported; DATA is a directory of files.
EARLY = {
    "missing": ["train", "sentiment", "--data", "gone.csv"],
    "empty": ["train", "sentiment", "--data", "empty.csv"],
    "column": ["train", "sentiment", "--data", "good.csv", "--text-column", "body"],
    "series": ["train", "forecast", "--data", "good.csv", "--target", "x"],
    "tune": ["tune", "sentiment", "--data", "gone.csv"],
    "strategy": ["tune", "sentiment", "--strategy", "genetic"],
    "strategy of run": ["run", "sentiment", "--strategy", "genetic"],
    "run": ["run", "sentiment", "--data", "empty.csv"],
    "out": ["train", "sentiment", "--data", "good.csv", "--out", "good.csv"],
    "evaluate": ["evaluate", "RUN", "--data", "gone.csv"],
    "labels": ["evaluate", "RUN", "--data", "good.csv"],
    "export": ["export", "RUN", "--out", "good.csv"],
    "format": ["export", "RUN", "--format", "pickle"],
    "file": ["predict", "RUN", "--file", "gone.csv"],
    "empty file": ["predict", "RUN", "--file", "empty.csv"],
    "nothing": ["predict", "RUN"],
    "answers": ["predict", "RUN", "a film", "--out", "answers.xlsx"],
    "serve": ["serve", "RUN", "--backend", "torch"],
    "report": ["report", "gone"],
}  # fmt: skip
SCRIPT = """
import contextlib, io, json, sys
import seqloom
found = {}
for name, arguments in json.loads(sys.argv[1]).items():
    sys.argv, err = ["seqloom", *arguments], io.StringIO()
    try:
        with contextlib.redirect_stderr(err):
            seqloom.main()
    except SystemExit as end:
        loaded = [one for one in ("tensorflow", "keras") if one in sys.modules]
        found[name] = [end.code, err.getvalue(), loaded]
print(json.dumps(found))
"""


def test_what_needs_no_tensorflow_is_told_before_it_is_imported(here, sentiment_bundle):  # noqa: F811
    (here / "good.csv").write_text(CSV)
    (here / "empty.csv").write_text("")
    run = str(sentiment_bundle.parent)
    asked = {name: [run if one == "RUN" else one for one in words] for name, words in EARLY.items()}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(asked)],
        cwd=here, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: (code, loaded) for name, (code, _, loaded) in found.items()} == {
        name: (2, []) for name in EARLY
    }
    for _, err, _ in found.values():
        assert err.strip().splitlines()[-1].startswith("seqloom: ")
        assert "Traceback" not in err


def test_an_input_may_begin_with_a_dash(sentiment_bundle):
    for text in ("-5 stars, awful", "-h is no help", "--- bad ---", "-", "--great movie, it was"):
        found = answer("predict", sentiment_bundle, text)["predictions"]
        _, out, _ = call("predict", sentiment_bundle, "--json", "--", text)
        assert found == json.loads(out)["predictions"]
    words = ("-1", "--set", "x=1", "good")
    code, _, err = call("predict", sentiment_bundle, *words)
    assert code == 2
    assert "'x'" in err
    code, _, err = call("predict", sentiment_bundle, "--awful")
    assert code == 2
    assert "'awful'" in err
    assert "after a --" in err
    code, out, _ = call("predict", "--help")
    assert code == 0
    assert "Usage" in out


def test_debug_after_two_dashes_is_an_input(sentiment_bundle):
    code, out, err = call("predict", sentiment_bundle, "--json", "--", "--debug")
    assert code == 0, err
    assert len(json.loads(out)["predictions"]) == 1


def test_a_bundle_of_another_task_is_not_written_to(here, sentiment_bundle):  # noqa: F811
    manifest = {**read_manifest(sentiment_bundle), "task": "topic"}
    (here / "bundle").mkdir()
    (here / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    outcome = call("export", sentiment_bundle.parent, "--out", "bundle")
    assert_refused(outcome, ["--out bundle is a bundle of topic, not of sentiment"])
    assert [path.name for path in (here / "bundle").iterdir()] == ["manifest.json"]


def test_a_place_may_hold_what_a_new_disk_does(tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".gitkeep").touch()
    assert place_for(tmp_path, RUN) == tmp_path
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(DataError, match=r"holds thesis\.docx"):
        place_for(tmp_path, RUN)


def test_answers_are_written_where_a_file_can_be(here, sentiment_bundle):  # noqa: F811
    outcome = call("predict", sentiment_bundle, "a film", "--out", ".csv")
    assert outcome[0] == 2
    (here / "d.csv").mkdir()
    outcome = call("predict", sentiment_bundle, "a film", "--out", "d.csv")
    assert_refused(outcome, ["d.csv", "directory"])


def test_settings_are_refused_before_anything_is_written(here):  # noqa: F811
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    task, run = tasks.get("forecast"), Run(here / "run")
    data = task.data_options("synthetic:400", lookback=12)
    settings = task.with_settings(task.settings, {"segment": 24})
    with pytest.raises(ValueError, match="--segment 12"):
        train(task, data, settings, run)
    assert not list(here.iterdir())
