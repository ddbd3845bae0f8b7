"""docs/decoding.md: its examples run and give what they say, its tables are those of the code."""

import ast
import re
from pathlib import Path

import pytest

from decoding.beam import BeamConfig
from decoding.sampling import SamplingConfig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "decoding.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.S | re.M)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs_and_gives_what_it_says(block):
    names, lines = {}, block.splitlines()
    for node in ast.parse(block).body:
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), str(PAGE), "exec"), names)
            continue
        said = lines[node.end_lineno - 1][node.end_col_offset :].partition("# ")[2]
        found = eval(compile(ast.Expression(node.value), str(PAGE), "eval"), names)
        assert repr(found) == said
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("kind", [SamplingConfig, BeamConfig])
def test_the_table_of_settings_is_that_of_the_code(kind):
    table = TEXT.partition(f"| setting of `{kind.__name__}` |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[0].strip("`") for row in rows] == kind.names()
    for (_, default, low, high, meaning), item in zip(rows, kind.settings(), strict=True):
        assert repr(item.default) == default
        assert (float(low), float(high)) == (item.metadata["minimum"], item.metadata["maximum"])
        assert meaning == item.metadata["help"]
