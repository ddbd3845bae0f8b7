"""Kinds that are laid over a copy of the repository keep the contract there, nothing else changed.

The toys of ``tests/toy_kinds`` loop over a step model, carry states, answer sequences of unequal
length and take decoding settings with a request.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tasks

ROOT = Path(tasks.__file__).resolve().parents[1]
PACKAGES = ("common", "decoding", "models", "pipelines", "reports", "serving", "tasks", "tuning")
TOYS = ROOT / "tests" / "toy_kinds"


def copy_of_the_repository(place: Path) -> Path:
    """The packages, the command and the contract test; only one task, to be quick."""
    skip = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, place / package, ignore=skip)
    for name in ("seqloom.py", "setup.cfg", "tests/conftest.py", "tests/tasks/test_contract.py"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    return place


def run_there(place: Path, *arguments: str) -> str:
    """Standard output of a Python process in the copy, which sees no other Seqloom."""
    environment = {**os.environ, "PYTHONPATH": str(place)}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=place, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("toy", ["toy_language", "toy_reversal"])
def test_a_toy_kind_keeps_the_whole_contract(toy, tmp_path):
    place = copy_of_the_repository(tmp_path)
    shutil.copytree(TOYS, place, dirs_exist_ok=True)
    shown = run_there(
        place, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0",
        "tests/tasks/test_contract.py", "-k", toy,
    )  # fmt: skip
    assert "100%" in shown
    assert "failed" not in shown


NEW = "import sys; sys.argv[0] = 'seqloom'; from seqloom import main; main()"


def changed_files(before, place):
    return [str(path) for path, text in before.items() if (place / path).read_bytes() != text]


def test_a_new_kind_and_its_task_keep_the_contract_at_once(tmp_path):
    place = copy_of_the_repository(tmp_path)
    (place / "tests" / "pipelines").mkdir()
    before = {p.relative_to(place): p.read_bytes() for p in place.rglob("*.py")}
    shown = run_there(place, "-c", NEW, "new", "my-parts", "--kind", "my labels", "--new-kind")
    run_there(place, "-c", NEW, "new", "topic", "--kind", "text_classification")
    assert "tasks/kinds/my_labels/__init__.py" in shown
    assert not changed_files(before, place), "a new kind edits no file that exists"
    tests = [
        "tests/tasks/test_contract.py", "tests/tasks/test_my_parts.py",
        "tests/tasks/test_topic.py", "tests/pipelines/test_my_labels.py",
    ]  # fmt: skip
    done = run_there(
        place, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *tests,
        "-k", "my_parts or test_topic or my_labels or topic",
    )  # fmt: skip
    assert "100%" in done
    assert "failed" not in done


@pytest.mark.parametrize(("arguments", "words"), [
    (["my task", "--kind", "text_classification"], ["my task", "underscores"]),
    (["class", "--kind", "text_classification"], ["class"]),
    (["sentiment", "--kind", "text_classification"], ["sentiment.py", "already"]),
    (["topic", "--kind", "nothing"], ["nothing", "text_classification", "--new-kind"]),
    (["topic", "--kind", "forecasting", "--new-kind"], ["forecasting", "already"]),
])  # fmt: skip
def test_what_cannot_be_made_is_said_and_nothing_is_written(arguments, words, tmp_path):
    from common.errors import DataError
    from tasks.stages.scaffolding import new_task

    name, _, kind, *more = arguments
    (tmp_path / "tests" / "tasks").mkdir(parents=True)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "sentiment.py").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as error:
        new_task(name, kind, bool(more), tmp_path)
    assert all(word in str(error.value) for word in words)
    assert sorted(tmp_path.rglob("*")) == before
