"""Executes notebooks, and writes them with their outputs as pages of the site.

    python docs/render_notebooks.py                  # all, as they stand
    python docs/render_notebooks.py tuning serving   # these

``docs/notebooks/NAME.md`` and the pictures beside it; a notebook that fails is not written.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "notebooks"
# A page within the page, such as a report: too large to be kept.
_FRAME = re.compile(r"<iframe .*?</iframe>", re.S)
_PLACES = re.compile(re.escape(tempfile.gettempdir()) + r"/seqloom-[\w-]*?-[\w]{8}")


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=resources).execute()
    return notebook


def page(notebook: nbformat.NotebookNode, name: str) -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown, and its pictures by file name.

    Args:
        notebook: with its outputs.
        name: its stem.
    """
    text, resources = MarkdownExporter().from_notebook_node(
        notebook, {"unique_key": name, "output_files_dir": name}
    )
    text = _FRAME.sub("<p><em>(a page of its own; run the notebook to see it)</em></p>", text)
    text = _PLACES.sub("work", text)
    text = re.sub(r"<style scoped>.*?</style>\n?", "", text, flags=re.S)
    text = text.replace("](../docs/", "](../")
    text = re.sub(r"\]\((?:\.\./notebooks/)?([\w-]+)\.ipynb\)", r"](\1.md)", text)
    where = f"This page is the notebook `notebooks/{name}.ipynb`, executed as it stands.\n"
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "\n".join([*lines, "", where]), resources["outputs"]


def write(name: str, text: str, pictures: dict[str, bytes]) -> None:
    """Writes a page and its pictures in place of those that were there."""
    PAGES.mkdir(exist_ok=True)
    shutil.rmtree(PAGES / name, ignore_errors=True)
    for file, content in pictures.items():
        (PAGES / file).parent.mkdir(exist_ok=True)
        (PAGES / file).write_bytes(content)
    (PAGES / f"{name}.md").write_text(text, encoding="utf-8")


def main(names: list[str]) -> None:
    """Renders the named notebooks, or all."""
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    unknown = set(names) - {path.stem for path in paths}
    if unknown:
        sys.exit(f"there is no notebook {', '.join(sorted(unknown))}")
    for path in paths:
        if names and path.stem not in names:
            continue
        started = time.perf_counter()
        text, pictures = page(executed(path), path.stem)
        write(path.stem, text, pictures)
        print(f"{path.stem}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
