"""The files that docs/tagging.md shows are read as it says."""

import re
from pathlib import Path

import pytest

from pipelines.tagged_sources import load_tagged

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tagging.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(conll|conllu|jsonl|csv)\n(.*?)^```", PAGE, re.S | re.M))
WANT = {
    "conll": [(("Ann", "Lee", "sleeps"), ("B-PER", "I-PER", "O"))],
    "conllu": [(("Vamos", "a", "el", "mar"), ("VERB", "ADP", "DET", "NOUN"))],
    "jsonl": [
        (("Ann", "sleeps"), ("B-PER", "O")),
        *[(("Ann", "Lee", "sleeps"), ("B-PER", "I-PER", "O"))] * 3,
    ],
    "csv": [(("Ann", "sleeps"), ("B-per", "O"))],
}


@pytest.mark.parametrize("form", WANT)
def test_examples_of_files(form, tmp_path):
    (tmp_path / f"a.{form}").write_text(BLOCKS[form], encoding="utf-8")
    part = str(tmp_path / f"a.{form}")
    splits = load_tagged({"train": part, "validation": part, "test": part})
    assert [(one.tokens, one.tags) for one in splits.train] == WANT[form]
