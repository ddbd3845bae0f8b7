"""Units of language models: text in, the same text out, in NumPy as in TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.units import LEVELS, UNKNOWN, Units
from pipelines.units_graph import UnitsGraph

TEXTS = ["so it is\nsaid the cat", " on the mat  ", "caf\u00e9 \U0001f600\n\n"]
UNITS = {level: Units.adapt(TEXTS, level, 60) for level in LEVELS}
GRAPHS = {level: UnitsGraph(units) for level, units in UNITS.items()}


def test_words_are_what_stands_between_spaces_and_line_breaks():
    units = UNITS["word"]
    names = [units.names[i] for i in units.encode(TEXTS[0])]
    assert names == ["so", "it", "is", "\n", "said", "the", "cat"]
    assert units.decode(units.encode(TEXTS[0])) == TEXTS[0]
    assert units.decode(units.encode(TEXTS[1])) == "on the mat"


def test_subwords_keep_lines_and_what_a_space_parts():
    units = Units.adapt(["the cat sat\non the mat"] * 9, "subword", size=24)
    text = "the mat\n\non the cat"
    assert units.decode(units.encode(text)) == text
    assert units.names[units.encode(text)[-1]] in units.pieces.vocabulary
    assert units.encode("").tolist() == []
    assert units.names[-1] == "\n"


def test_what_training_does_not_have_is_unknown():
    assert UNITS["char"].encode("z").tolist() == [UNKNOWN]
    assert UNITS["word"].encode("<unk> dog").tolist() == [UNKNOWN, UNKNOWN]
    assert UNITS["word"].decode([UNKNOWN]) == "<unk>"
    assert UNKNOWN not in UNITS["byte"].encode("\u16a0z")
    rare = Units.adapt(["a a b"], "word", min_count=2)
    assert rare.encode("a b").tolist() == [4, UNKNOWN]
    assert len(Units.adapt(["a b c"], "word", size=5)) == 5


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_both_implementations_agree_and_lose_nothing(texts):
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    for level, units in UNITS.items():
        graph = GRAPHS[level]
        found = graph.encode(tf.constant([text.encode() for text in texts]))
        rows = [units.encode(text) for text in texts]
        assert [row.tolist() for row in rows] == found.to_list()
        written = graph.decode(found.to_tensor(), found.row_lengths())
        assert [one.decode() for one in written.numpy()] == [units.decode(row) for row in rows]
    for text in texts:
        assert UNITS["byte"].decode(UNITS["byte"].encode(text)) == text
        every = Units.adapt([text], "char")
        assert every.decode(every.encode(text)) == text


def test_units_are_saved_whole(tmp_path):
    for units in UNITS.values():
        units.save(tmp_path)
        again = Units.load(tmp_path)
        assert again == units
        assert np.array_equal(again.written, units.written)
    (tmp_path / "units.json").write_text("{")
    with pytest.raises(DataError, match=r"units\.json"):
        Units.load(tmp_path)
