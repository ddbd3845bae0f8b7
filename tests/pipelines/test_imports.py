"""No file of the pipelines imports, by whatever way, one that imports it."""

import ast
from pathlib import Path

import pipelines

ROOT = Path(pipelines.__file__).parent


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in ROOT.rglob("*.py")}


def imported(path):
    """Every module of the pipelines that a file names, within functions and TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in FILES else node.module for name in inside]
        yield from (name for name in names if name in FILES)


def test_there_is_no_circle_of_files():
    graph = {name: set(imported(path)) for name, path in FILES.items()}
    while free := [name for name, others in graph.items() if not others & set(graph)]:
        for name in free:
            del graph[name]
    assert not graph, f"these import one another: {graph}"


def test_splits_know_nothing_of_texts():
    assert set(imported(FILES["pipelines.splits"])) == set()
