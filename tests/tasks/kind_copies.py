"""A copy of the repository, for kinds that are laid over it with nothing else changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import tasks

ROOT = Path(tasks.__file__).resolve().parents[1]
PACKAGES = ("common", "decoding", "models", "pipelines", "reports", "serving", "tasks", "tuning")


def copy_of_the_repository(place: Path) -> Path:
    """The packages, the command and the contract test; only one task, to be quick."""
    skip = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, place / package, ignore=skip)
    tests = ("conftest.py", "triton_fake.py", "tasks/test_contract.py")
    for name in ("seqloom.py", "setup.cfg", *(f"tests/{name}" for name in tests)):
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
