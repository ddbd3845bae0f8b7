"""Pictures of taggers: they are there, and what is shown is escaped."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np

from decoding.crf import FORBIDDEN, CrfScores
from pipelines.tagged import TaggedExample
from pipelines.tagging import TaggingPreprocessing, TaggingPreprocessor
from reports.tagging import compared_spans, draw_tags, spans_html, transitions

EXAMPLES = [
    TaggedExample(("Ann", "<b>", "met", "Bob"), ("B-P", "I-P", "O", "B-Q")),
    TaggedExample(("It", "rains"), ("O", "O")),
]


def test_a_text_and_its_spans_as_html():
    text = "<i>Ann</i> & Bob"
    spans = [{"label": "P<", "start": 3, "end": 6}, {"label": "Q", "start": 13, "end": 16}]
    page = spans_html(text, spans)
    assert "&lt;i&gt;<mark" in page
    assert ">Ann <small" in page
    assert "P&lt;</small></mark>&lt;/i&gt; &amp; <mark" in page
    assert page.count("<mark") == 2
    assert spans_html("", []).count("<mark") == 0


def test_wrong_sentences_come_first_with_both_answers():
    tokens = [list(one.tokens) for one in EXAMPLES] + [["Bob"]]
    gold = [list(one.tags) for one in EXAMPLES] + [["B-Q"]]
    guesses = [["B-P", "O", "O", "B-Q"], ["O", "O"], ["B-Q"]]
    page = compared_spans(tokens, gold, guesses)
    assert "1 of 3 sentences" in page
    assert page.index(">true<") < page.index(">answered<") < page.index(">both<")
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_pictures_of_spans_and_of_plain_tags(tmp_path):
    preprocessor = TaggingPreprocessor.adapt(TaggingPreprocessing(), EXAMPLES)
    size = len(preprocessor.tags.names)
    pairs = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    pairs[0, 1] = FORBIDDEN
    scores = CrfScores(pairs, pairs[0], pairs[1])
    tokens, gold = [one.tokens for one in EXAMPLES], [one.tags for one in EXAMPLES]
    from dataclasses import replace

    names = draw_tags(replace(preprocessor, scores=scores), tokens, gold, gold, tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(names)
    assert {"transitions.svg", "spans.html"} <= set(names)
    plain = [TaggedExample(("It", "rains"), ("PRON", "VERB"))]
    preprocessor = TaggingPreprocessor.adapt(TaggingPreprocessing(), plain)
    names = draw_tags(preprocessor, [("It", "x")], [("PRON", "X")], [("PRON", "VERB")],
                      tmp_path / "b")  # fmt: skip
    assert "transitions.svg" not in names
    assert "spans.html" not in names
    for path in (*(tmp_path / "a").glob("*.svg"), *(tmp_path / "b").glob("*.svg")):
        ElementTree.parse(path)


def test_names_with_dollars_are_no_formulas(tmp_path):
    tags = ("$\\x$", "PRP$", "$<")  # the first is none that Matplotlib could set
    examples = [TaggedExample(("Ann", "met", "Bob"), tags)]
    preprocessor = TaggingPreprocessor.adapt(TaggingPreprocessing(), examples)
    preprocessor = replace(preprocessor, scores=CrfScores.zeros(3))
    names = draw_tags(preprocessor, [examples[0].tokens], [tags], [tags], tmp_path)
    assert "transitions.svg" in names
    ElementTree.parse(tmp_path / "transitions.svg")
    transitions(preprocessor, {}).save_png(tmp_path / "a.png")
