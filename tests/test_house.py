"""The rules of the house: who imports whom, what starts fast, how long a file may be."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "common",
    "pipelines",
    "models",
    "decoding",
    "tuning",
    "serving",
    "reports",
    "tasks",
    "seqloom",
)
MAY_IMPORT = {
    "common": {"common"},
    "decoding": {"decoding", "common"},
    "pipelines": {"pipelines", "decoding", "common"},
    "models": {"models", "decoding", "common"},
    "tuning": {"tuning", "pipelines", "common"},
    "serving": {"serving", "models", "decoding", "pipelines", "common"},
    "reports": set(ROOMS) - {"seqloom", "tasks"},
    "tasks": set(ROOMS) - {"seqloom"},
    "seqloom": set(ROOMS),
}
SOURCES = [ROOT / "seqloom.py", *(p for room in ROOMS[:-1] for p in (ROOT / room).rglob("*.py"))]


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names = [node.module]
        for name in names:
            room = name.partition(".")[0]
            if room in ROOMS:
                yield room, node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_only_what_comes_before_them(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for imported, line in imported_rooms(path):
        assert imported in MAY_IMPORT[room], f"{path}:{line}: {room} may not import {imported}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_short_enough_to_own(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in SOURCES if "templates" not in path.parts}


def imported_files(path):
    """Every file of the project that one names, within functions and TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in FILES else node.module for name in inside]
        yield from (name for name in names if name in FILES)


def test_no_file_imports_by_whatever_way_one_that_imports_it():
    graph = {name: set(imported_files(path)) - {name} for name, path in FILES.items()}
    while free := [name for name, others in graph.items() if not others & set(graph)]:
        for name in free:
            del graph[name]
    assert not graph, f"these import one another, or what does: {graph}"


def test_no_public_class_has_the_name_of_another():
    places = {}
    for module, path in FILES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_contract_of_a_task_is_small():
    from tasks.kinds.contract import Task

    assert len(Task.__abstractmethods__) <= 10, sorted(Task.__abstractmethods__)


def test_no_setting_has_the_name_of_one_in_another_group():
    import tasks

    for name in tasks.names():
        task = tasks.get(name)
        every = [setting for group in task.groups.values() for setting in group.names()]
        assert len(every) == len(set(every)), f"{name}: {sorted(every)}"


def tracked_text_files():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    for name in done.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                yield name, content.decode("utf-8", "replace")


def test_no_tracked_file_names_a_directory_of_one_machine():
    # Put together here, so that this file does not name them itself.
    places = ["/" + place + "/" for place in ("root", "home", "work", "Users", "opt/venv")]
    found = [
        f"{name}:{number}: {place}"
        for name, text in tracked_text_files()
        for number, line in enumerate(text.splitlines(), 1)
        for place in places
        if place in line
    ]
    assert not found, found


LIGHT = (
    "serving.predictor, serving.runtime.server, serving.streaming, pipelines.text, "
    "pipelines.text_classification, pipelines.forecasting, pipelines.anomaly_detection, "
    "pipelines.tagging, pipelines.intent, pipelines.tagged_sources, pipelines.sources, "
    "tuning.leaderboard, tasks.sentiment, tasks.classify, tasks.forecast, tasks.anomaly, "
    "tasks.tagging, tasks.intent, seqloom"
)


def test_what_serves_imports_neither_tensorflow_nor_keras():
    code = f"import sys, {LIGHT}; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# What takes long to import, and so has no place before an answer that needs none of it.
HEAVY = [
    "tensorflow", "keras", "keras_tuner", "tensorboard", "tensorflow_datasets", "numpy", "scipy",
    "sklearn", "pandas", "matplotlib", "onnx", "onnxruntime", "grpc", "google", "httptools",
    "asyncio", "dask", "distributed",
]  # fmt: skip


def test_help_answers_without_importing_what_is_heavy():
    code = (
        "import sys, seqloom\n"
        "sys.argv = ['seqloom', '--help']\n"
        "try: seqloom.main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tune" in done.stdout
    assert done.stderr.strip() == "[]"


def test_every_command_shows_an_example():
    from tasks.commands.every import app

    commands = app.registered_commands
    assert len(commands) == 13
    for command in commands:
        name = command.name or command.callback.__name__
        assert command.epilog, name
        assert command.epilog.startswith(f"Example: seqloom {name}")


def test_version_is_in_the_changelog():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    version = config["metadata"]["version"]
    assert f"[{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
