"""The GPU benchmark's calls, on a CPU: it must be ready on the day that there is a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_dry_run_compares_every_form_and_writes_nothing():
    results = ROOT / "benchmarks" / "results" / "export_gpu.json"
    before = results.read_bytes() if results.is_file() else None
    done = subprocess.run(
        [sys.executable, "benchmarks/export_gpu.py", "--dry-run", "--cells", "gru"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [row["batch"] for row in rows] == [1, 2]
    for row in rows:
        assert row["onnx cuda, difference"] < 1e-5
        assert row["savedmodel without a GPU, difference"] < 1e-5
        assert row["onnx cuda fp16, difference"] < 1e-2
        assert {"onnx cpu ms", "onnx cuda ms", "keras ms"} <= set(row)
    assert (results.read_bytes() if results.is_file() else None) == before
