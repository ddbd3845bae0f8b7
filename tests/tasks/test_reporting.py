"""``seqloom report``: what it writes, what it refuses, and the commands that pages offer."""

import html
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import tasks
from common.errors import DataError
from tasks.commands.arguments import sorted_flags, task_flags
from tasks.commands.every import app
from tasks.stages.reporting import report, run_commands, search_commands
from tasks.stages.run_directory import Run
from tuning.leaderboard import TrialRow

ROOT = Path(__file__).resolve().parents[2]
HISTORY = [(0.6, 0.9, 0.55, 1.0), (0.7, 0.6, 0.80, 0.5), (0.9, 0.3, 0.75, 0.9)]


def page_text(path):
    """The words of a page, without its markup."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def config_of(**changes):
    """What ``config.json`` holds of a run of sentiment with other settings than the defaults."""
    task = tasks.get("sentiment")
    settings = task.with_settings(task.settings, changes)
    return {
        "format": 2,
        "task": "sentiment",
        "data": {"source": "my reviews.csv", "seed": 3, "reading": {"text_column": "a b"}},
        "model": settings.model.to_dict(),
        "preprocessor": settings.preprocessing.to_dict(),
        "decoding": settings.decoding.to_dict(),
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
    return Run(directory)


def test_the_page_of_a_run_is_written_into_its_directory(tmp_path):
    run = write_run(tmp_path / "sentiment-1")
    path = report(run.path)
    assert path == tmp_path / "sentiment-1" / "report.html"
    text = page_text(path)
    words = ("sentiment: sentiment-1", "text classification", "0.7812", "seqloom export")
    assert all(word in text for word in words)
    assert "on test the model's accuracy is better by 0.0312" in text


def test_the_page_of_a_run_under_way_says_how_to_go_on(tmp_path):
    run = write_run(tmp_path / "r", finished=False)
    text = page_text(report(run.path))
    assert "not finished: 3 epochs of at most 9 so far" in text
    assert f"seqloom train sentiment --resume --out {run.path}" in text


def test_a_run_of_a_task_that_is_not_here_is_reported(tmp_path):
    config = config_of() | {"format": 2, "task": "gone", "data": {}}
    run = write_run(tmp_path / "r", config=config)
    text = page_text(report(run.path))
    assert "gone: r" in text
    assert "0.7812" in text


def test_neither_run_nor_search_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match="neither a run nor a search; give a directory that"):
        report(tmp_path / "nothing")
    write(tmp_path / "config.json", {"format": 2, "task": "sentiment"})
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
    command = typer.main.get_command(app).commands[words[1]]
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
    text = page_text(report(tmp_path))
    assert "0.8125" in text
    assert "seqloom tune sentiment" in text
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
