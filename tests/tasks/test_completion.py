"""What a shell completes after ``seqloom``, as bash, zsh and fish ask for it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import seqloom
import tasks

ROOT = Path(seqloom.__file__).resolve().parent


def completed(monkeypatch, capsys, line, shell="bash"):
    """Words that the shell would offer at the end of a command line."""
    words = line.split(" ")
    monkeypatch.setattr(sys, "argv", ["seqloom"])
    monkeypatch.setenv("_SEQLOOM_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        seqloom.main()
    assert not end.value.code
    return [word for word in capsys.readouterr().out.split("\n") if word]


@pytest.fixture
def offered(monkeypatch, capsys):
    return lambda line, shell="bash": completed(monkeypatch, capsys, line, shell)


def test_commands_tasks_and_kinds(offered):
    assert offered("seqloom tra") == ["train"]
    assert offered("seqloom train ") == tasks.names()
    assert offered("seqloom tune forec") == ["forecast"]
    assert offered("seqloom tasks lang") == ["language"]
    assert offered("seqloom new x --kind text_") == ["text_classification"]


def test_flags_of_a_command_and_of_its_task(offered):
    assert offered("seqloom train forecast --hori") == ["--horizon"]
    assert offered("seqloom train sentiment --hori") == []
    assert offered("seqloom train --hori") == [], "no task is named yet"
    # What is true by default is switched off.
    assert offered("seqloom run forecast --no-cal") == ["--no-calendar"]
    assert offered("seqloom train forecast --cal") == []
    both = offered("seqloom train anomaly --l")
    assert {"--labels", "--layers", "--learning-rate", "--like"} <= set(both)
    assert len(both) == len(set(both)), "a flag that Typer knows is there once"


def test_words_that_a_flag_takes(offered):
    assert offered("seqloom train anomaly --scorer ") == ["residual", "autoencoder"]
    assert offered("seqloom train anomaly --scorer au") == ["autoencoder"]
    assert offered("seqloom train anomaly --units ") == []
    assert offered("seqloom train anomaly --cell l") == ["lstm"]
    assert offered("seqloom tune anomaly --strategy b") == ["bayesian"]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A run and a search below ``runs``, a bundle in the run, and other directories."""
    about = {
        "runs/a-1/config.json": "anomaly", "runs/a-1/bundle/manifest.json": "anomaly",
        "runs/s-search-1/search.json": "sentiment", "other/notes.json": "",
        ".hidden/config.json": "anomaly", "runs/broken/config.json": "",
    }  # fmt: skip
    for name, task in about.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"task": task}) if task else "{")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_searches_and_bundles_are_found_where_they_are(offered, places):
    assert offered("seqloom evaluate ") == ["runs/a-1", "runs/broken"]
    assert offered("seqloom evaluate runs/a") == ["runs/a-1"]
    assert offered(f"seqloom evaluate {places}/ru") == [
        f"{places}/runs/a-1", f"{places}/runs/broken",
    ]  # fmt: skip
    assert offered("seqloom serve ru") == ["runs/a-1/bundle"]
    assert offered("seqloom leaderboard ") == ["runs/s-search-1"]
    assert offered("seqloom report runs/s") == ["runs/s-search-1"]
    assert offered("seqloom predict r") == ["runs/a-1", "runs/broken", "runs/a-1/bundle"]
    assert offered("seqloom evaluate nowhere/") == []
    assert "anomaly" in offered("seqloom doctor a")


def test_flags_of_the_task_that_a_run_is_of(offered, places):
    assert offered("seqloom predict runs/a-1 --time-c") == ["--time-column"]
    assert offered("seqloom predict runs/a-1 --unit") == [], "the model is trained already"
    assert offered("seqloom evaluate runs/a-1 --lab") == ["--labels"]
    assert offered("seqloom predict runs/broken --time-c") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_words_with_their_meaning(offered, shell):
    lines = "\n".join(offered("seqloom train forecast --hori", shell))
    assert "--horizon" in lines
    assert "steps" in lines or "rows" in lines


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_shown(tmp_path, shell):
    done = asked_for_script(shell)
    assert f"_SEQLOOM_COMPLETE=complete_{shell}" in done
    if shell == "bash" and shutil.which("bash"):
        # As a person has it: the script is read, and the tabulator calls its function.
        program = tmp_path / "seqloom"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m seqloom "$@"\n')
        program.chmod(0o755)
        script = (
            f"{done}\nCOMP_WORDS=(seqloom tune forec); COMP_CWORD=2\n"
            f'_seqloom_completion "{program}"; echo "${{COMPREPLY[@]}}"; complete -p seqloom'
        )
        command = ["bash", "-c", script]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert found.stdout.splitlines()[0] == "forecast"
        assert "-F _seqloom_completion seqloom" in found.stdout


def asked_for_script(shell):
    """What ``seqloom --show-completion`` prints for a shell."""
    code = "import sys, seqloom; sys.argv = ['seqloom', *sys.argv[1:]]; seqloom.main()"
    command = [sys.executable, "-c", code, "--show-completion", shell]
    # Else it would tell the shell by the process that calls it.
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_version_names_the_project_and_python(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seqloom", "--version"])
    with pytest.raises(SystemExit) as end:
        seqloom.main()
    first, second = capsys.readouterr().out.splitlines()
    assert not end.value.code
    assert first.startswith("seqloom ")
    assert first.endswith(f" in {ROOT}")
    assert second == f"Python {sys.version.split()[0]} at {sys.executable}"
