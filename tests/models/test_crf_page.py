"""docs/crf.md: its examples run and give what they say."""

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "crf.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs_and_gives_what_it_says(block):
    names, lines, said = {}, block.splitlines(), 0
    for node in ast.parse(block).body:
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), str(PAGE), "exec"), names)
            continue
        found = eval(compile(ast.Expression(node.value), str(PAGE), "eval"), names)
        comment = lines[node.end_lineno - 1][node.end_col_offset :].partition("# ")[2]
        if comment:
            assert repr(found) == comment
            said += 1
    assert said == 3
    assert len(BLOCKS) == 2
