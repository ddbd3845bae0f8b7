"""What all tests share: quiet TensorFlow, and the real data where it is there."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; a test that needs it is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def sentiment_bundle(tmp_path_factory):
    """A small text classifier, exported as SavedModel and ONNX; not to be written to."""
    import tasks
    from tasks.stages.exporting import export
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    task = tasks.get("sentiment")
    small = {"units": 8, "embedding_dim": 8, "layers": 1, "epochs": 1}
    run = Run(tmp_path_factory.mktemp("sentiment") / "run")
    train(task, task.data_options("synthetic:200"), task.with_settings(task.settings, small), run)
    return Path(export(run, run.path / "bundle")["bundle"])
