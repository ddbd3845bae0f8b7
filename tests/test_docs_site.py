"""The pages of docs/ as a site: it builds without a warning, and no link leads nowhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("mkdocs", reason="mkdocs-material is in the extra docs")


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_links_of_pages_outside_the_site_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert name != "README.md" or links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_notebook_has_a_page_and_every_page_is_listed():
    pages = {path.stem for path in (ROOT / "docs" / "notebooks").glob("*.md")} - {"README"}
    assert pages == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    index = (ROOT / "docs" / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\((\w+)\.md\)", index)) == pages
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    others = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert [p for p in others if p.parts[0] != "notebooks" and str(p) not in config] == []
