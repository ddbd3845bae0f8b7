"""The command line: bad input in one sentence, messy input taken, and the keys of ``--json``."""

import contextlib
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import seqloom
import tasks
from common.errors import DataError
from tasks.kinds.contract import DataOptions

ROOT = Path(seqloom.__file__).resolve().parent
QUICK = ("--units", "4", "--embedding-dim", "4", "--layers", "1", "--epochs", "1",
         "--batch-size", "64")  # fmt: skip
ROWS = [(f"a {word} film {i}", str(i % 2)) for i in range(20) for word in ("good", "bad")]
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)


def call(*arguments):
    """Exit code, stdout and stderr of ``seqloom ARGUMENTS``, run in this process."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["seqloom", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            seqloom.main()
    except SystemExit as end:
        return end.code, out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("main must end by sys.exit")


def answer(*arguments):
    """The object of a command's ``--json``, which must be the last line and the only one."""
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    assert out.count("\n") == 1, out
    return json.loads(out)


def has_keys(value, *paths):
    """Asserts that each dotted path leads to something in nested objects."""
    for path in paths:
        at = value
        for key in path.split("."):
            assert key in at, f"{path} is not in {sorted(at)}"
            at = at[key]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on tiny data, and what ``train --json`` said."""
    path = tmp_path_factory.mktemp("cli") / "run"
    said = answer("train", "sentiment", "--data", "synthetic:200", *QUICK, "--out", path)
    return path, said


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "bundle"
    return path, answer("export", run[0], "--out", path)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory to be in, where ``runs/`` would be made."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- bad input

BAD_DATA = {
    "missing column": ({"train.csv": "id,label\n1,0\n"}, ["train.csv", "--text-column"]),
    "unknown label in test": (
        {"train.csv": CSV, "test.csv": "text,label\na,1\nb,7\n"}, ["test.csv:3", "'7'"]
    ),
    "one class only": ({"train.csv": "text,label\na,1\nb,1\n"}, ["data", "two labels"]),
    "empty file": ({"train.csv": ""}, ["train.csv", "empty"]),
    "binary file": ({"train.csv": b"\x00\x01\x02\xff" * 50}, ["train.csv", "NUL"]),
    "broken gzip": ({"train.csv.gz": gzip.compress(CSV.encode())[:-9]}, ["train.csv.gz"]),
    "nothing there": ({"README.md": "x"}, ["data", "README.md"]),
}  # fmt: skip

BAD_FLAGS = {
    "unknown task": (["train", "sentimnt"], ["'sentimnt'", "sentiment"]),
    "unknown task of tune": (["tune", "nothing"], ["'nothing'"]),
    "unknown task of run": (["run", "nothing"], ["'nothing'"]),
    "unknown setting": (["train", "sentiment", "--set", "unit=3"], ["'unit'", "units"]),
    "ill-typed setting": (["train", "sentiment", "--set", "units=many"], ["units", "'many'"]),
    "switch for a number": (["train", "sentiment", "--set", "layers=true"], ["layers", "int"]),
    "setting out of range": (["train", "sentiment", "--dropout", "2"], ["dropout", "2"]),
    "setting without a value": (["train", "sentiment", "--set", "units"], ["--set units"]),
    "setting of tune": (["tune", "sentiment", "--set", "unit=3"], ["'unit'"]),
    "bad cell": (["train", "sentiment", "--cell", "rnn"], ["cell", "'rnn'", "gru"]),
    "bad strategy": (
        ["tune", "sentiment", "--data", "synthetic:200", "--strategy", "lucky"],
        ["strategy", "'lucky'", "hyperband"],
    ),
    "bad strategy of run": (
        ["run", "sentiment", "--data", "synthetic:200", "--strategy", "lucky"], ["'lucky'"]
    ),
    "time without a unit": (["tune", "sentiment", "--max-time", "30"], ["--max-time 30"]),
    "time that is no number": (["tune", "sentiment", "--max-time", "soon"], ["--max-time soon"]),
    "no time at all": (["tune", "sentiment", "--max-time", "0s"], ["--max-time 0s"]),
    "empty time": (["tune", "sentiment", "--max-time", ""], ["--max-time"]),
    "missing data": (["train", "sentiment", "--data", "no/such.csv"], ["no/such.csv"]),
    "missing data of tune, which starts it": (
        ["tune", "sentiment", "--data", "no/such.csv"], ["no/such.csv"]
    ),
    "missing data of run": (["run", "sentiment", "--data", "no/such.csv"], ["no/such.csv"]),
    "synthetic of no size": (["train", "sentiment", "--data", "synthetic:x"], ["synthetic:x"]),
    "evaluate of nothing": (["evaluate", "gone"], ["gone", "seqloom train"]),
    "export of nothing": (["export", "gone"], ["gone", "seqloom train"]),
    "predict of nothing": (["predict", "gone", "a film"], ["gone"]),
    "leaderboard of nothing": (["leaderboard", "gone"], ["gone", "seqloom tune"]),
    "report of nothing": (["report", "gone"], ["gone"]),
    "pattern that is no run": (["train", "sentiment", "--like", "gone"], ["gone"]),
    "stall without a unit": (["tune", "sentiment", "--stall-after", "9"], ["--stall-after 9"]),
    "serve of nothing": (["serve", "gone"], ["gone", "seqloom export"]),
    "serve by an unknown backend": (["serve", ".", "--backend", "torch"], ["--backend torch"]),
    "resume without a run": (
        ["train", "sentiment", "--resume", "--out", "gone"], ["--resume", "gone"]
    ),
}  # fmt: skip


def assert_refused(outcome, parts):
    """One sentence that names the place; no traceback, and nothing for a script to read."""
    code, out, err = outcome
    assert code == 2, err
    assert out == ""
    assert err.startswith("seqloom: "), err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert all(part in err for part in parts), err


@pytest.fixture
def cold(request, monkeypatch):
    """What trials are forked from is not begun: it imports TensorFlow before it can end."""
    if "starts it" not in request.node.name:
        monkeypatch.setattr("tuning.pools.LocalPool.start", lambda *_: None)


@pytest.mark.parametrize("command", ["train", "tune"])
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_in_one_line_and_leaves_nothing(here, case, command, cold):
    contents, parts = BAD_DATA[case]
    (here / "data").mkdir()
    for name, content in contents.items():
        content = content if isinstance(content, bytes) else content.encode()
        (here / "data" / name).write_bytes(content)
    assert_refused(call(command, "sentiment", "--data", "data"), parts)
    assert [path.name for path in here.iterdir()] == ["data"]


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_usage_is_refused_in_one_line_and_leaves_nothing(here, case, cold):
    arguments, parts = BAD_FLAGS[case]
    assert_refused(call(*arguments), parts)
    assert not list(here.iterdir())


def test_a_run_that_is_there_is_not_trained_over(run):
    model = (run[0] / "model.keras").read_bytes()
    assert_refused(call("train", "sentiment", "--out", run[0]), [str(run[0]), "--resume"])
    outcome = call("train", "sentiment", "--out", run[0], "--resume")
    assert_refused(outcome, ["--resume", str(run[0]), "finished"])
    assert (run[0] / "model.keras").read_bytes() == model


def test_prediction_needs_something_to_answer(run, bundle):
    for source in (run[0], bundle[0]):
        assert_refused(call("predict", source), ["no input", "--file"])


def test_a_missing_input_file_is_named(run, bundle, here):
    for source in (run[0], bundle[0]):
        assert_refused(call("predict", source, "--file", "gone.txt"), ["--file gone.txt"])
    (here / "a.csv").write_text("x,y\n1,2\n")
    assert_refused(call("predict", bundle[0], "--file", "a.csv"), ["a.csv", "--text-column"])


def test_evaluation_on_data_that_is_not_there_is_refused(run, here):
    assert_refused(call("evaluate", run[0], "--data", "gone.csv"), ["gone.csv"])


def test_evaluation_on_labels_that_the_model_does_not_know_is_refused(run, here):
    (here / "other.csv").write_text("text,label\n" + "a film,x\nno film,y\n" * 20)
    assert_refused(call("evaluate", run[0], "--data", "other.csv"), ["'x'", "negative, positive"])


def test_texts_of_single_letters_have_a_baseline(run, here):
    (here / "letters.csv").write_text("text,label\n" + "a,positive\nb,negative\n" * 20)
    assert answer("evaluate", run[0], "--data", "letters.csv")["baseline"]


def test_an_unknown_export_format_is_refused(run, here):
    outcome = call("export", run[0], "--format", "pickle", "--out", "new")
    assert_refused(outcome, ["'pickle'", "--format", "onnx"])
    assert not list(here.iterdir())


def test_serving_a_broken_bundle_is_refused(here):
    (here / "manifest.json").write_text("{")
    assert_refused(call("serve", "."), ["manifest.json"])


def test_wrong_usage_that_the_parser_finds_exits_2_without_a_traceback(here):
    for arguments in (["train"], ["train", "sentiment", "--units", "x"], ["nonsense"], ["--no"]):
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
        assert err.strip()


def test_debug_shows_the_traceback(here):
    with pytest.raises(DataError, match="gone"):
        call("--debug", "evaluate", "gone")
    done = subprocess.run(
        [sys.executable, "-m", "seqloom", "leaderboard", "gone", "--debug"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "DataError" in done.stderr


def test_an_error_that_nobody_expected_keeps_its_traceback(here, monkeypatch):
    def broken(name):
        raise ZeroDivisionError

    monkeypatch.setattr(tasks, "get", broken)
    with pytest.raises(ZeroDivisionError):
        call("train", "sentiment")


def test_ctrl_c_says_how_to_go_on(here, monkeypatch):
    def stopped(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks, "get", stopped)
    code, out, err = call("train", "sentiment")
    assert (code, out) == (130, "")
    assert "--resume" in err
    assert err.strip().count("\n") == 0


# ---- messy input that must be taken

# The content of a csv, and how many examples it has beside ROWS.
MESSY = {
    "Latin-1": (CSV.replace("film", "caf\xe9").encode("latin-1"), 0),
    "Windows line ends": (CSV.replace("\n", "\r\n").encode(), 0),
    "byte order mark": (b"\xef\xbb\xbf" + CSV.encode(), 0),
    "UTF-16": (CSV.encode("utf-16"), 0),
    "gzip by content": (gzip.compress(CSV.encode()), 0),
    "a line of 1 MB": ((CSV + "long " * 200_000 + ",1\n").encode(), 1),
    "a quoted newline": ((CSV + '"one\ntwo",1\n').encode(), 1),
    "empty lines": (CSV.replace("\n", "\n\n").encode(), 0),
}


@pytest.mark.parametrize("case", MESSY)
def test_messy_files_are_read(tmp_path, case):
    content, more = MESSY[case]
    (tmp_path / "train.csv").write_bytes(content)
    splits = tasks.get("sentiment").load(DataOptions(str(tmp_path / "train.csv")))
    examples = [*splits.train, *splits.validation, *splits.test]
    assert len(examples) == len(ROWS) + more
    assert {example.label for example in examples} == {"0", "1"}
    word = "caf\xe9" if case == "Latin-1" else "film"
    assert sum(word in example.text for example in examples) == len(ROWS)


@pytest.mark.slow
def test_the_messiest_file_can_be_trained_on_and_answered(here):
    rows = CSV.replace("film", "caf\xe9") + "long " * 200_000 + ",1\n"
    (here / "messy.csv").write_bytes(rows.replace("\n", "\r\n").encode("latin-1"))
    said = answer("train", "sentiment", "--data", "messy.csv", *QUICK, "--out", "run")
    assert sum(said["examples"].values()) == len(ROWS) + 1
    answers = answer("predict", "run", "--file", "messy.csv")["predictions"]
    assert len(answers) == len(ROWS) + 1
    assert {row["label"] for row in answers} <= {"0", "1"}


# ---- what scripts rely on


def test_train_json_has_the_promised_keys(run):
    path, said = run
    has_keys(
        said, "run", "task", "metrics.test.accuracy", "metrics.validation.accuracy",
        "baseline.test.accuracy", "baseline.name", "parameters", "seconds",
    )  # fmt: skip
    assert said["run"] == str(path)
    assert said["task"] == "sentiment"
    assert said == json.loads((path / "metrics.json").read_text())


def test_evaluate_json_has_the_promised_keys_and_the_same_scores(run):
    path, trained = run
    said = answer("evaluate", path)
    has_keys(said, "run", "task", "baseline.test.accuracy", "parameters", "seconds")
    assert said["metrics"] == trained["metrics"]
    assert said["baseline"] == trained["baseline"]


def test_evaluate_on_other_data_scores_that_data(run, here):
    said = answer("evaluate", run[0], "--data", "synthetic:100")
    has_keys(said, "metrics.test.accuracy", "baseline.test.accuracy")
    assert said["data"] == "synthetic-100"


def test_a_precision_stands_beside_keras_and_may_be_refused(run, here):
    said = answer("export", run[0], "--format", "onnx", "--precision", "int8", "--max-loss", "1",
                  "--out", "small")  # fmt: skip
    item = said["artifacts"]["onnx"]
    assert (item["precision"], item["status"]) == ("int8", "verified")
    assert 0 <= item["accuracy"] <= 1
    assert 0 <= said["keras"]["accuracy"] <= 1
    code, _, err = call("export", "small", "--verify")
    assert code == 2
    assert "holds no TensorRT engine; export one with --format tensorrt" in err


def test_export_json_has_the_promised_keys(bundle):
    path, said = bundle
    has_keys(said, "bundle", "version")
    assert said["bundle"] == str(path)
    for name in ("savedmodel", "onnx"):
        has_keys(said["artifacts"][name], "parity", "path", "status")
        assert said["artifacts"][name]["status"] == "verified"
        assert (path / said["artifacts"][name]["path"]).is_dir()


def test_predict_json_is_equal_for_run_and_bundle(run, bundle, here):
    (here / "more.txt").write_text("a dull film\n")
    asked = ("not bad at all", "", "--file", "more.txt")
    first, second = (answer("predict", source, *asked) for source in (run[0], bundle[0]))
    assert set(first) == {"predictions"}
    assert len(first["predictions"]) == 3
    for one, other in zip(first["predictions"], second["predictions"], strict=True):
        assert set(one) == {"label", "probability", "probabilities"}
        assert one["label"] == other["label"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_an_input_may_begin_with_a_dash_after_two(bundle):
    code, out, err = call("predict", bundle[0], "--json", "--", "--not-a-flag")
    assert code == 0, err
    assert len(json.loads(out)["predictions"]) == 1


def test_tune_and_leaderboard_json_have_the_promised_keys(here):
    said = answer(
        "tune", "sentiment", "--data", "synthetic:120", "--trials", 2, "--epochs", 1,
        "--set", "units=4", "--set", "embedding_dim=4", "--set", "layers=1",
        "--set", "bidirectional=false",
        "--seed", 182,  # whose second trial is as small
        "--out", "search",
    )  # fmt: skip
    has_keys(said, "search", "trials.completed", "trials.failed", "best.config", "best.score")
    assert said["trials"] == {"completed": 2, "failed": 0, "cut": 0, "skipped": 0, "pruned": 0}
    rows = answer("leaderboard", "search")["trials"]
    assert [row["rank"] for row in rows] == [1, 2]
    assert rows[0]["score"] == said["best"]["score"]
    # The best so far is a run like any other.
    assert answer("predict", "search/best", "good")["predictions"]
    (here / "search" / "report.html").unlink(missing_ok=True)
    assert answer("report", "search") == {"report": "search/report.html"}
    assert (here / "search" / "report.html").is_file()
    again = answer("train", "sentiment", "--like", "search/best", "--out", "again")
    assert again["metrics"]["validation"]["accuracy"] == said["best"]["score"]


def test_tasks_json_lists_every_task(here):
    rows = answer("tasks")["tasks"]
    assert [row["task"] for row in rows] == tasks.names()


def test_tables_are_for_people(run, here):
    code, out, err = call("tasks")
    assert code == 0
    assert "sentiment" in out
    assert err == ""
    code, out, _ = call("predict", run[0], "a good film", "a bad film")
    assert code == 0
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize(
    "command",
    ["", "tasks", "train", "tune", "leaderboard", "evaluate", "export", "predict", "serve", "run",
     "doctor", "report"],
)  # fmt: skip
def test_help_shows_an_example(command):
    code, out, err = call(*filter(None, [command]), "--help")
    assert code == 0
    assert err == ""
    assert ("Example: seqloom" in out) == bool(command)


def test_help_does_not_import_tensorflow():
    code = (
        "import sys, seqloom\nsys.argv = ['seqloom', 'train', '--help']\n"
        "try: seqloom.main()\nexcept SystemExit: pass\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_run_prints_one_object_with_everything(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "seqloom", "run", "sentiment", "--data", "synthetic:300",
         "--quick", "--json", "--out", str(tmp_path / "all")],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    said = json.loads(done.stdout)
    has_keys(
        said, "run", "task", "metrics.test.accuracy", "baseline.test.accuracy", "parameters",
        "seconds", "search", "trials.completed", "trials.failed", "best.config", "best.score",
        "bundle", "version", "artifacts.savedmodel.parity", "artifacts.onnx.parity",
        "artifacts.onnx.status", "artifacts.onnx.path", "served.response.predictions",
    )  # fmt: skip
    assert said["trials"]["completed"] == 2
    assert "about" in done.stderr  # what it will take, before it is spent
