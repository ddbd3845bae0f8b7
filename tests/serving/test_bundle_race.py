"""Two exports to one bundle at the same time: each is whole, or refused in one sentence."""

import contextlib
import subprocess
import sys

from serving.bundle import Publication, read_manifest
from serving.errors import ServingError

# Begins a version, says so, and publishes it when told to go on.
EXPORTER = """
import sys
from pathlib import Path
from serving.bundle import Publication

with Publication(Path(sys.argv[1])) as publication:
    publication.directory("onnx").mkdir()
    (publication.directory("onnx") / "model").write_text("theirs")
    print("begun", flush=True)
    sys.stdin.readline()
    publication.publish({"version": publication.version})
"""


def test_an_export_does_not_disturb_another(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", EXPORTER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout.readline() == "begun\n"
    with contextlib.suppress(ServingError), Publication(tmp_path) as publication:
        publication.directory("onnx").mkdir()
        (publication.directory("onnx") / "model").write_text("ours")
        publication.publish({"version": publication.version})
    _, errors = other.communicate("go on\n", timeout=60)
    assert other.returncode == 0, errors
    contents = [path.read_text() for path in sorted(tmp_path.glob("onnx/*/model"))]
    assert contents in (["theirs"], ["theirs", "ours"], ["ours", "theirs"])
    assert (tmp_path / "onnx" / str(read_manifest(tmp_path)["version"])).is_dir()
