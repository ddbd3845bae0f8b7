"""What all tests share: quiet TensorFlow, the cores of the machine, what is trained once."""

import fcntl
import os
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# What a terminal or a CI service asks for has no place in texts that are compared.
for name in (
    "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "LINES", "NO_COLOR", "PY_COLORS",
    "TERMINAL_WIDTH", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
):  # fmt: skip
    os.environ.pop(name, None)
os.environ["TERM"] = "xterm-256color"
# Servers of this machine are not asked through a proxy, which others may well be.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1"]))

WORKER = "PYTEST_XDIST_WORKER"  # by which pytest-xdist tells its workers who they are
if WORKER in os.environ:
    # A worker has a core of its own; pools of threads would only take the others' from them.
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")

# The same examples everywhere, for as long as they take; slow tests draw others each time.
settings.register_profile(
    "everywhere",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("everywhere")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """``-n auto``: a worker a core that there really is in a container, as far as memory goes."""
    from tuning.machine import default_workers

    asked = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", "")
    return int(asked) if asked.isdigit() else default_workers([])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """``--dist loadscope``: what a module makes once is made by one worker.

    Tests of a file with such a fixture stay together, for each parameter where it has some; all
    others go to whichever worker is free. (Groups of ``--dist loadgroup`` would say the same, but
    pytest 9.2 takes no notice of them.)
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            text = _text_of(config.rootpath / file)
            if 'scope="module"' not in text:
                return nodeid
            parameter = re.search(r"\[(\w+)", test) if 'scope="module", params=' in text else None
            return f"{file} {parameter[1] if parameter else ''}"

    return Together(config, log)


@cache
def _text_of(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; a test that needs it is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """``made_once(name, make)``: a directory that ``make(directory)`` fills, once for all workers.

    The first worker that asks makes it, and the others wait; nobody may write to it afterwards.
    """
    place = tmp_path_factory.getbasetemp()
    if WORKER in os.environ:
        place = place.parent  # of this run, and of all its workers
    place = place / "made-once"
    place.mkdir(exist_ok=True)

    def directory_of(name, make):
        directory, done = place / name, place / f"{name}.done"
        with (place / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(directory, ignore_errors=True)  # of a worker that failed at it
                make(directory)
                done.touch()
        return directory

    return directory_of


def trained_and_exported(directory, name, source, settings):
    """A small model of a task in ``directory/run``, and its bundle in ``bundle`` there."""
    import tasks
    from tasks.stages.exporting import export
    from tasks.stages.run_directory import Run
    from tasks.stages.training import train

    task = tasks.get(name)
    data, run = task.data_options(source), Run(directory / "run")
    train(task, data, task.with_settings(task.settings, settings), run)
    export(run, run.path / "bundle")


@pytest.fixture(scope="session")
def sentiment_bundle(made_once):
    """A small text classifier, exported as SavedModel and ONNX; not to be written to."""
    small = {"units": 8, "embedding_dim": 8, "layers": 1, "epochs": 1}

    def make(directory):
        trained_and_exported(directory, "sentiment", "synthetic:200", small)

    return made_once("sentiment", make) / "run" / "bundle"


@pytest.fixture(scope="session")
def intent_bundle(made_once):
    """A small model of intents and slots, which has all that a tagger has; likewise."""
    small = {"units": 4, "embedding_dim": 4, "character_dim": 4, "character_units": 4,
             "form_dim": 4, "epochs": 1}  # fmt: skip

    def make(directory):
        trained_and_exported(directory, "intent", "synthetic:80", small)

    return made_once("intent", make) / "run" / "bundle"
