"""kill -9 at any moment: the training that goes on gives what an undisturbed one gives."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from models.callbacks import read_history, read_samples

pytestmark = pytest.mark.slow
COMMON = ["--units", "16", "--embedding-dim", "16", "--epochs", "6", "--set", "patience=6"]
# Forecasts keep a running average of the weights, which must survive as well.
# Language models write a text after each epoch, of which none may be lost or there twice.
DATA = {"sentiment": "synthetic:600", "forecast": "synthetic:3000", "language": "synthetic:60"}


def command(task, out, resume):
    resuming = ["--resume"] if resume else []
    train = [sys.executable, "-m", "seqloom", "train", task, "--data", DATA[task]]
    return [*train, *COMMON, "--out", str(out), *resuming]


@pytest.mark.parametrize("task", DATA)
def test_a_killed_training_ends_like_an_undisturbed_one(tmp_path, task):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(task, whole, False), check=True, capture_output=True)
    chance = random.Random(0)
    kills = 0
    while not (cut / "model.keras").is_file():
        before = len(read_history(cut / "history.csv"))
        process = subprocess.Popen(
            command(task, cut, (cut / "config.json").is_file()),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        # The last start is left alone, so that the test ends.
        while process.poll() is None and kills < 4:
            if len(read_history(cut / "history.csv")) > before:
                time.sleep(chance.uniform(0, 0.4))
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    assert kills >= 2

    def outcome(run):
        rows = read_history(run / "history.csv")
        epochs = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        written = read_samples(run / "samples.jsonl")
        return epochs, json.loads((run / "metrics.json").read_text())["metrics"], written

    assert outcome(cut) == outcome(whole)
    assert not (cut / "backup").exists(), "a finished run keeps no state of its resume"
