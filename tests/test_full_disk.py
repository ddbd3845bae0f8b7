"""Full disks and read-only ones: told first, in one sentence; nothing half-written; and gone on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import seqloom

pytestmark = pytest.mark.slow  # every command in a process of its own
ROOT = Path(seqloom.__file__).resolve().parent
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture(scope="module")
def found(sentiment_bundle, tmp_path_factory):
    """What ``tests/full_disk.py`` prints."""
    place = tmp_path_factory.mktemp("disks")
    try:
        subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "none", place], check=True,
                       capture_output=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.full_disk", place,
         sentiment_bundle.parent, sentiment_bundle],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_told(said, reason):
    """One sentence with path and reason."""
    assert said["code"] == 2, said["err"]
    last = said["err"].strip().splitlines()[-1]
    assert last.startswith("seqloom: ")
    assert f"cannot be written: {reason}" in last
    assert "Traceback" not in said["err"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [("read-only", "Read-only file system"), ("full", "No space left on device")],
)
@pytest.mark.parametrize("command", ["train", "tune", "run", "export", "predict"])
def test_whether_a_place_can_be_written_is_asked_first(found, command, place, reason):
    said = found[place][command]
    assert_told(said, reason)
    assert "new" in said["err"]
    assert said["err"].count("\n") == 1
    assert not said["tensorflow"]
    assert said["left"] == (["filler"] if place == "full" else [])


def test_a_training_whose_disk_is_full_goes_on_from_its_last_epoch(found):
    said = found["train"]
    assert_told(said, "No space left on device")
    assert "--resume --out" in said["err"]
    left = [name for name in said["left"] if name.endswith(".h5")]
    assert left == ["run/backup/epoch-000001.weights.h5", "run/best.weights.h5"]
    assert not [name for name in said["left"] if name.rpartition("/")[2].startswith(".")]
    again = found["resumed"]
    assert again["code"] == 0, again["err"]
    assert "epoch 1/3" not in again["err"]
    assert "epoch 3/3" in again["err"]
    assert "run/model.keras" in again["left"]


@pytest.mark.parametrize("form", ["savedmodel", "onnx"])
def test_an_export_whose_disk_is_full_leaves_nothing(found, form):
    said = found[f"export {form}"]
    assert_told(said, "No space left on device")
    assert not [name for name in said["left"] if name.startswith("run/bundle")]
    assert found["exported"]["code"] == 0, found["exported"]["err"]
    assert "run/bundle/manifest.json" in found["exported"]["left"]
