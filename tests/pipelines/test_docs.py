"""The Python examples of docs/data.md run, and give what their comments say."""

import ast
import re
import sys
from pathlib import Path

import pytest

import pipelines.readers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
REVIEWS = "body,stars\n" + "".join(f"film {n},{n % 5 + 1}\n" for n in range(50))


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "reviews").mkdir()
    text = "body,stars\nA fine film.,5\n" + REVIEWS.partition("\n")[2]
    (tmp_path / "reviews" / "train.csv").write_text(text)
    (tmp_path / "reviews" / "test.csv").write_text(REVIEWS.replace(",2", ",1").replace(",3", ",4"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def statements(block):
    """(node, what the comment at its end says) of each statement at the top."""
    lines = block.splitlines()
    for node in ast.parse(block).body:
        yield node, lines[node.end_lineno - 1][node.end_col_offset :].partition("# ")[2]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][:40])
def test_an_example_runs_and_gives_what_it_says(block, place):
    names, checked = {}, 0
    for node, said in statements(block):
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), str(PAGE), "exec"), names)
            continue
        found = eval(compile(ast.Expression(node.value), str(PAGE), "eval"), names)
        if re.match(r"['(\[\d]|True|False|\w+\(", said):
            assert repr(found) == said
            checked += 1
    assert checked or "EXTENSIONS" in block


def test_the_example_of_a_reader_reads(place, monkeypatch):
    (block,) = [block for block in BLOCKS if "EXTENSIONS" in block]
    monkeypatch.setattr(pipelines.readers, "__path__", [*pipelines.readers.__path__, str(place)])
    (place / "blank_lines.py").write_text(block)
    (place / "en-train.tok").write_text("The DET\ncat NOUN\n\nSleeps VERB\n")
    try:
        rows = list(pipelines.readers.read_rows("en-train.tok"))
    finally:
        sys.modules.pop("pipelines.readers.blank_lines", None)
        vars(pipelines.readers).pop("blank_lines", None)
    assert [(row.values["tokens"], row.line) for row in rows] == [
        (["The", "cat"], 1), (["Sleeps"], 4)
    ]  # fmt: skip
