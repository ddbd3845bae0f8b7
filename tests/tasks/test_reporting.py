"""``seqloom report``: the page of a run, and the commands that pages offer."""

import base64
import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer.main

import seqloom
import tasks
from common.errors import DataError
from tasks.commands.arguments import sorted_flags, task_flags
from tasks.stages.reporting import report, run_commands, search_commands
from tasks.stages.run_directory import Run
from tasks.stages.run_report import learning_curves, read_history, run_page
from tuning.leaderboard import TrialRow

ROOT = Path(__file__).resolve().parents[2]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HISTORY = [(0.6, 0.9, 0.55, 1.0), (0.7, 0.6, 0.80, 0.5), (0.9, 0.3, 0.75, 0.9)]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.rows, self.texts, self.images, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def config_of(**changes):
    """What ``config.json`` holds of a run of sentiment with other settings than the defaults."""
    task = tasks.get("sentiment")
    settings = task.with_settings(task.settings, changes)
    return {
        "task": "sentiment",
        "data": {"source": "my reviews.csv", "seed": 3, "reading": {"text_column": "a b"}},
        "model": settings.model.to_dict(),
        "preprocessor": dict(settings.preprocessor),
        "seed": 5,
    }


def write_run(directory, finished=True, config=None):
    """A run's directory as a training leaves it, without a network."""
    config = config or config_of(epochs=9)
    write(directory / "config.json", config)
    about = {"python": "3.11.7", "packages": {"keras": "3.15"}, "data_fingerprint": "f" * 64}
    write(directory / "environment.json", about)
    lines = [f"{i}.0,{a},{b},{c},{d},2.0" for i, (a, b, c, d) in enumerate(HISTORY)]
    text = "epoch,accuracy,loss,val_accuracy,val_loss,seconds\n" + "\n".join(lines) + "\n"
    (directory / "history.csv").write_text(text, encoding="utf-8")
    if finished:
        metrics = {"validation": {"accuracy": 0.8, "macro_f1": 0.79},
                   "test": {"accuracy": 0.7812, "macro_f1": 0.77}}  # fmt: skip
        baseline = {"name": "bag of <words>", "validation": {"accuracy": 0.76},
                    "test": {"accuracy": 0.75, "majority_class": 0.5}}  # fmt: skip
        write(directory / "metrics.json", {
            "run": str(directory), "task": "sentiment", "metrics": metrics, "baseline": baseline,
            "parameters": 123456, "epochs": 3, "best_epoch": 2, "seconds": 75.0,
            "examples": {"train": 8000, "validation": 1000, "test": 1000},
        })  # fmt: skip
        (directory / "model.keras").write_bytes(b"weights")
        (directory / "pictures").mkdir()
        (directory / "pictures" / "error_by_length.png").write_bytes(PNG)
    return Run(directory)


def bundle_of(config):
    item = {"status": "verified", "parity": 2.4e-7, "agreement": 1.0, "accuracy": 0.78,
            "latency_ms": {"1": 0.31, "32": 3.0}, "bytes": 700_000, "path": "onnx/2"}  # fmt: skip
    return {
        "format": 1, "version": 2, "config": config,
        "keras": {"accuracy": 0.78, "latency_ms": {"1": 4.8, "32": 15.2}},
        "artifacts": {
            "onnx": item,
            "tensorrt": {"status": "built", "reason": "no GPU here", "bytes": 10, "path": "t/2"},
        },
    }  # fmt: skip


def test_a_run_is_told_on_one_page(tmp_path):
    run = write_run(tmp_path / "sentiment-1")
    path = report(run.path)
    assert path == tmp_path / "sentiment-1" / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    for words in ("sentiment: sentiment-1", "my reviews.csv", "text classification", "8,000 train",
                  "seed 5", "0.7812", "123,456", "1 min 15 s", "3 epochs", "bag of <words>",
                  "on test the model's accuracy is better by 0.0312", "keras 3.15",
                  "data_fingerprint ffffffffffff ", "error by length"):  # fmt: skip
        assert words in page.text, words
    assert page.rows[:3] == [
        ["metric", "test: model", "test: baseline", "validation: model", "validation: baseline"],
        ["accuracy", "0.7812", "0.7500", "0.8000", "0.7600"],
        ["macro f1", "0.7700", "", "0.7900", ""],
    ]
    assert ["majority class", "", "0.5000", "", ""] in page.rows
    assert page.images[0]["src"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert "not finished" not in page.text
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_learning_curves_mark_the_epoch_that_was_kept(tmp_path):
    history = read_history(write_run(tmp_path / "r").path / "history.csv")
    canvas = learning_curves(history, "accuracy", "max", 2, baseline=0.76)
    ElementTree.fromstring(canvas.svg())
    big = [mark.tip for mark in canvas.marks if mark.kind == "circle" and mark.size == (5,)]
    assert big[:2] == ["epoch 2: val_accuracy 0.8000", "epoch 2: val_loss 0.5000"]
    words = [mark.words for mark in canvas.marks]
    assert "baseline 0.7600" in words
    assert "kept: epoch 2" in words
    # A baseline far away would flatten the curves.
    far = learning_curves(history, "accuracy", "max", 2, baseline=70.0)
    assert "baseline 70.0000" not in [mark.words for mark in far.marks]
    page = Page(run_page(Run(tmp_path / "r")))
    assert "The weights of epoch 2 of 3 were kept" in page.text
    # The training loss falls from 0.6 to 0.3, the validation loss rises from 0.5 to 0.9.
    assert "learns its training examples by heart" in page.text


def test_a_run_under_way_is_said_to_be_so(tmp_path):
    run = write_run(tmp_path / "r", finished=False)
    with (run.path / "history.csv").open("a", encoding="utf-8") as file:
        file.write("3.0,0.9")
    page = Page(report(run.path).read_text(encoding="utf-8"))
    assert "not finished: 3 epochs of at most 9 so far" in page.text
    assert f"seqloom train sentiment --resume --out {run.path}" in page.text
    assert "Scores" not in page.text
    assert "kept: epoch 2" in page.text


def test_a_run_just_begun_has_a_page(tmp_path):
    write(tmp_path / "config.json", config_of())
    page = Page(report(tmp_path).read_text(encoding="utf-8"))
    assert "0 epochs of at most" in page.text


def test_a_run_of_a_search_has_no_baseline(tmp_path):
    run = write_run(tmp_path / "best")
    result = run.read_json("metrics.json") | {"baseline": None}
    result["metrics"] = {"validation": {"accuracy": 0.8}}
    write(run.path / "metrics.json", result)
    page = Page(report(run.path).read_text(encoding="utf-8"))
    assert "No baseline was measured here" in page.text
    assert page.rows[:2] == [["metric", "validation: model"], ["accuracy", "0.8000"]]


@pytest.mark.parametrize("beside", [False, True])
def test_exports_are_listed_with_parity_latency_and_size(tmp_path, beside):
    run = write_run(tmp_path / "model")
    place = tmp_path if beside else run.path
    write(place / "bundle" / "manifest.json", bundle_of(run.config()))
    page = Page(report(run.path).read_text(encoding="utf-8"))
    head = next(row for row in page.rows if "max |difference|" in row)
    rows = page.rows[page.rows.index(head) + 1 :]
    assert [row[0] for row in rows[:3]] == ["keras", "onnx", "tensorrt"]
    onnx = dict(zip(head, rows[1], strict=True))
    assert onnx["max |difference|"] == "2.4e-07"
    assert (onnx["ms at 1"], onnx["size"], onnx["same label"]) == ("0.3", "0.7 MB", "100.00%")
    assert "tensorrt: built, not run: no GPU here" in page.text


def test_a_bundle_beside_it_may_be_of_another_run(tmp_path):
    run = write_run(tmp_path / "sentiment-1")
    write(tmp_path / "bundle" / "manifest.json", bundle_of(config_of(units=7)))
    assert "Exports" not in Page(run_page(run)).text


def test_a_run_of_a_task_that_is_not_here_has_a_page(tmp_path):
    config = config_of() | {"task": "<b>gone</b>", "data": {}}
    run = write_run(tmp_path / "r", config=config)
    text = report(run.path).read_text(encoding="utf-8")
    assert "<b>gone" not in text
    assert "<b>gone</b>: r" in Page(text).text
    assert "0.7812" in Page(text).text


def test_neither_run_nor_search_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match="neither a run nor a search; give a directory that"):
        report(tmp_path / "nothing")
    write(tmp_path / "config.json", {"task": "sentiment"})
    with pytest.raises(DataError, match="is no run: config.json is incomplete"):
        report(tmp_path)
    (tmp_path / "search.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="is no search"):
        report(tmp_path)


def test_what_one_command_made_is_pointed_to(tmp_path):
    write_run(tmp_path / "model")
    write(tmp_path / "search" / "search.json", {"mode": "max"})
    with pytest.raises(DataError, match=r"model and .*search can be reported"):
        report(tmp_path)


def parsed(line):
    """A command as the command line takes it: what Typer knows, and the flags of the task."""
    words = shlex.split(line)
    assert words[0] == "seqloom"
    command = typer.main.get_command(seqloom.app).commands[words[1]]
    context = command.make_context(words[1], words[2:])
    known = {k: v for k, v in context.params.items() if v is not None}
    return known, task_flags(context.args)


def test_the_command_of_a_run_gives_the_same_settings(tmp_path):
    changes = {
        "cell": "gru", "bidirectional": False, "units": 48, "learning_rate": 0.00123456789,
        "epochs": 9, "wide": "none", "lowercase": False, "vocabulary_size": 1234,
    }  # fmt: skip
    run = write_run(tmp_path / "a run", config=config_of(**changes))
    lines = dict(run_commands(run))
    known, others = parsed(lines["Train the same again"])
    task, config = tasks.get("sentiment"), run.config()
    assert (known["data"], known["data_seed"], known["seed"]) == ("my reviews.csv", 3, 5)
    names = ("cell", "layers", "units", "bidirectional", "epochs")
    reading, own = sorted_flags(task, others)
    again = task.with_settings(
        task.settings, own | {name: known[name] for name in names if name in known}
    )
    assert reading == {"text_column": "a b"}
    assert again == run.settings()
    assert config["model"]["units"] == 48
    # The defaults are not repeated.
    assert "--patience" not in lines["Train the same again"]
    assert parsed(lines["Export it"])[0]["source"] == run.path


def test_the_commands_of_a_search_train_and_go_on(tmp_path):
    config = config_of(units=48, epochs=6)
    plan = {"trials": 20, "strategy": "bayesian", "epochs": 6, "seed": 2, "executions": 3}
    kept = {key: config[key] for key in ("task", "data", "model", "preprocessor")}
    about = {"mode": "max", **plan, **kept}
    best = TrialRow("0004", "COMPLETED", {"cell": "gru", "dropout": 0.35, "tuner/epochs": 3},
                    score=0.9, seed=77)  # fmt: skip
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "model.keras").write_bytes(b"")
    lines = dict(search_commands(tmp_path, about, best))
    assert lines["Export the best"] == f"seqloom export {tmp_path / 'best'}"
    known, others = parsed(lines["Train its configuration anew"])
    shown = {name: known[name] for name in ("units", "epochs", "seed")}
    assert shown == {"units": 48, "epochs": 6, "seed": 77}
    assert known.get("cell", tasks.get("sentiment").model.cell) == "gru"
    assert others == {"text_column": "a b", "dropout": 0.35}
    known, others = parsed(next(line for line in lines.values() if " tune " in line))
    assert {name: known[name] for name in plan} == plan
    assert known["out"] == tmp_path
    assert others == {"text_column": "a b", "units": 48}


def test_a_search_is_reported_where_it_lies(tmp_path):
    write(tmp_path / "search.json", {"mode": "max", "task": "sentiment", "metric": "val_accuracy"})
    record = {"trial": "0000", "state": "COMPLETED", "values": {"units": 64}, "score": 0.8125}
    write(tmp_path / "trials" / "0000" / "trial.json", record)
    page = Page(report(tmp_path).read_text(encoding="utf-8"))
    assert "0.8125" in page.text
    assert "seqloom tune sentiment" in page.text
    assert not list(tmp_path.glob(".*"))  # nothing half written is left


def test_reporting_imports_no_tensorflow(tmp_path):
    write_run(tmp_path / "r")
    write(tmp_path / "s" / "search.json", {"mode": "max", "task": "sentiment"})
    code = (
        "import sys; from tasks.stages.reporting import report\n"
        f"report({str(tmp_path / 'r')!r}); report({str(tmp_path / 's')!r})\n"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
