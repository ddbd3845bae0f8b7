"""Any size of any tensor: no process ends, and each answer is that of the row asked alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from size_fuzz import KINDS

HERE = Path(__file__).resolve().parent
OLD = HERE / "old_bundles"


def fuzz(kind, count, seed, directory):
    """What a child process counted; it must come to its end."""
    done = subprocess.run(
        [sys.executable, HERE / "size_fuzz.py", kind, str(count), str(seed), directory],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-4000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["answered"] + found["refused"] == count
    assert min(found["answered"], found["refused"]) > count // 20
    return found


@pytest.mark.parametrize("bundle", ["sentiment", "forecast", "anomaly"])
def test_an_old_bundle_takes_any_size(bundle):
    fuzz("-", 100, 0, OLD / bundle)


def test_a_text_classifier_takes_any_size(sentiment_bundle):
    fuzz("-", 100, 0, sentiment_bundle)


@pytest.mark.slow
def test_intents_and_slots_take_any_size(intent_bundle):
    fuzz("-", 100, 0, intent_bundle)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_any_size(kind, tmp_path):
    fuzz(kind, 2900, 1, tmp_path)  # 29,000 in all
