"""New tasks and kinds from working templates: the stage behind ``seqloom new``."""

from __future__ import annotations

import keyword
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import tasks
from common.errors import DataError
from common.files import write_text

TEMPLATES = Path(tasks.__file__).parent / "templates"
ROOT = TEMPLATES.parents[1]
# Where each template goes; {kind} and {task} are their names.
KIND_FILES = {
    "kind.py": "tasks/kinds/{kind}/__init__.py",
    "preprocessor.py": "pipelines/{kind}.py",
    "graph.py": "pipelines/{kind}_graph.py",
    "model.py": "models/{kind}.py",
    "test_preprocessor.py": "tests/pipelines/test_{kind}.py",
}
TASK_FILES = {"task.py": "tasks/{task}.py", "test_task.py": "tests/tasks/test_{task}.py"}


def new_task(name: str, kind: str, new_kind: bool = False, root: Path = ROOT) -> list[Path]:
    """Writes a task of a kind and its test; and the kind too, where it is new.

    Args:
        name: of the task.
        kind: folder below ``tasks/kinds``, spaces or underscores between its words.
        new_kind: write a kind that works, a labeller of sequences to begin from, and its tests.
        root: of the clone.

    Returns:
        The files that were written.

    Raises:
        DataError: a name that cannot be one, something of that name is there, there is no such
            kind, or this is no clone to write to.
    """
    name, kind = name.replace("-", "_"), re.sub(r"[\s-]+", "_", kind.strip().lower())
    for word, flag in ((name, "the task's name"), (kind, "--kind")):
        if not word.isidentifier() or keyword.iskeyword(word) or not word.islower():
            raise DataError(
                f"{flag} {word!r} cannot be the name of a module; use small letters, digits and "
                "underscores, such as topic_of_news"
            )
    if not (root / "tests" / "tasks").is_dir():
        raise DataError(f"{root} is no clone of Seqloom: it has no tests/tasks; run this in one")
    files = {**(KIND_FILES if new_kind else {}), **TASK_FILES}
    targets = {
        template: root / place.format(kind=kind, task=name) for template, place in files.items()
    }
    for target in targets.values():
        if target.exists():
            raise DataError(f"{target} is there already; choose another name, or remove it first")
    class_name, title = _class_of(kind, new_kind), kind.replace("_", " ")
    for template, target in targets.items():
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        text = text.replace("Skeleton", class_name).replace("skeleton", kind)
        text = text.replace("template", name)
        text = text.replace("TITLE", name.replace("_", " ") if template == "task.py" else title)
        write_text(target, text)
    return list(targets.values())


def kinds() -> dict[str, str]:
    """The class of each kind, by the name of its folder below ``tasks/kinds``."""
    from tasks import kinds as package
    from tasks.kinds.contract import Task

    found = {}
    for entry in iter_modules(package.__path__):
        if entry.ispkg:
            module = import_module(f"tasks.kinds.{entry.name}")
            for name, value in vars(module).items():
                own = isinstance(value, type) and value.__module__ == module.__name__
                if own and issubclass(value, Task):
                    found[entry.name] = name
    return found


def _class_of(kind: str, new_kind: bool) -> str:
    known = kinds()
    if new_kind:
        if kind in known:
            raise DataError(f"--kind {kind} is there already; leave --new-kind away, or rename")
        return "".join(word.capitalize() for word in kind.split("_"))
    if kind not in known:
        raise DataError(
            f"--kind {kind}: there is no such kind; there are: {', '.join(sorted(known))}; "
            "or add --new-kind to begin one"
        )
    return known[kind]
