"""The text encoder: rules by hand, and its two faces equal on anything."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, DataError
from pipelines.text import END, PAD, PATTERNS, START, UNKNOWN, TextEncoder, as_text, stems
from pipelines.text_graph import TextEncoderGraph

CORPUS = [
    "It's GOOD, isn’t it?",
    "Привет, МИР! 东京 は good 😀😀",
    "don't 'quote' ÉCOLE 3.14 <br /> a<b and b>c",
    "\tÀ\u00a0b\u3000c\n",
]
ENCODERS = {
    f"{level}-{'lower' if lower else 'cased'}-{truncate}": TextEncoder(
        level=level, lowercase=lower, strip_markup=lower, truncate=truncate, max_length=5
    ).adapt(CORPUS)
    for level in ("word", "char", "byte")
    for lower, truncate in ((True, "head"), (False, "tail"), (True, "ends"))
}


def compiled(encoder):
    graph = TextEncoderGraph(encoder)
    return tf.function(graph, input_signature=[tf.TensorSpec([None], tf.string)])


GRAPHS = {name: compiled(encoder) for name, encoder in ENCODERS.items()}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_tokens_of_a_long_text_are_kept_one_by_one(name, monkeypatch):
    texts = [*CORPUS, "", "a", " ".join(CORPUS), b"b c d e f g"]
    wanted = [ENCODERS[name].kept(text) for text in texts]
    monkeypatch.setattr("pipelines.text.LONG_TEXT", -1)
    assert [ENCODERS[name].kept(text) for text in texts] == wanted
    assert [ENCODERS[name].count(t) for t in texts] == [
        len(ENCODERS[name].tokenise(t)) for t in texts
    ]


def test_words_are_cut_as_by_hand():
    encoder = TextEncoder()
    assert encoder.tokenise("It's GOOD, isn’t it?") == ["it's", "good", ",", "isn't", "it", "?"]
    assert encoder.tokenise("one<br /><br/>two a<b") == ["one", "two", "a", "<", "b"]
    assert encoder.tokenise("'quote' rock'n'roll '") == ["'", "quote", "'", "rock'n'roll", "'"]
    assert encoder.tokenise("东京tower😀😀") == ["东", "京", "tower", "😀", "😀"]
    assert encoder.tokenise("ÉCOLE МИР ΣΊΣΥΦΟΣ") == ["école", "мир", "σίσυφοσ"]
    assert encoder.tokenise(" \t\u00a0\u3000\x00 ") == []


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (
            "ห้องน้ำไม่สะอาด",
            ["ห้", "อ", "ง", "น้ำ", "ไม่", "สะ", "อา", "ด"],
        ),  # Thai: the toilet is not clean
        ("ບໍ່ດີ", ["ບໍ່", "ດີ"]),  # Lao: not good
        ("មិនល្អទេ។", ["មិ", "ន", "ល្អ", "ទេ", "។"]),  # Khmer: not good
        ("မကောင်းဘူး", ["မ", "ကော", "င်း", "ဘူး"]),  # Burmese: not good
        ("ཡག་པོ་མ་རེད།", ["ཡག", "པོ", "མ", "རེད", "།"]),  # Tibetan: is not good
        ("部屋はｶｷ2つ", ["部", "屋", "は", "ｶ", "ｷ", "2", "つ"]),
        ("ดีgood๑๒ ครับ", ["ดี", "good", "๑", "๒", "ค", "รั", "บ"]),
        ("좋지 않다ㅋㅋ", ["좋지", "않다ㅋㅋ"]),  # Korean has spaces
        ("่ ำx", ["่", "ำ", "x"]),  # signs without a letter
    ],
)
def test_scripts_without_spaces_are_cut_by_letters(text, tokens):
    assert TextEncoder().tokenise(text) == tokens
    encoder = TextEncoder().adapt([text])
    graph = TextEncoderGraph(encoder)
    np.testing.assert_array_equal(graph(tf.constant([text.encode()])).numpy(), encoder([text]))


@given(st.text(st.characters(max_codepoint=127)))
@example("a'b 'c' d'' don't.'x_1'\x1c\x00\x7f<b/>~e'")
def test_ascii_is_cut_by_the_same_rules_in_fewer_passes(text):
    for rules, (token, _) in PATTERNS.items():
        encoder = TextEncoder(lowercase=False, strip_markup=False, rules=rules)
        assert encoder.tokenise(text) == re.findall(token, text)


def test_a_vocabulary_saved_before_the_rules_had_a_number_keeps_its_rules(tmp_path):
    settings_ = TextEncoder(rules=1).adapt(["ไม่ดี ดี"]).save(tmp_path)
    del settings_["rules"]
    encoder = TextEncoder.load(tmp_path, settings_)
    assert encoder.tokenise("ไม่ดี ดี") == ["ไม่ดี", "ดี"]
    text = "ไม่ดี ดี ｶｷ་"
    graph = TextEncoderGraph(encoder)
    np.testing.assert_array_equal(graph(tf.constant([text.encode()])).numpy(), encoder([text]))


def test_ids_are_frequency_ranked_with_ties_in_alphabetical_order():
    encoder = TextEncoder().adapt(["b a b", "c"])
    assert encoder.vocabulary == ("[PAD]", "[UNK]", "[START]", "[END]", "b", "a", "c")
    assert encoder.encode("a b z") == [START, 5, 4, UNKNOWN, END]
    np.testing.assert_array_equal(
        encoder(["c", "", "b b"]), [[2, 6, 3, 0], [2, 3, 0, 0], [2, 4, 4, 3]]
    )


@pytest.mark.parametrize(
    ("truncate", "kept"), [("head", [4, 5, 6]), ("tail", [6, 7, 8]), ("ends", [4, 5, 8])]
)
def test_truncation(truncate, kept):
    encoder = TextEncoder(max_length=3, truncate=truncate).adapt(["a b c d e"])
    assert encoder.encode("a b c d e")[1:-1] == kept
    assert encoder.encode("a b c")[1:-1] == [4, 5, 6]


def test_text_cannot_spell_a_special_token():
    encoder = TextEncoder(level="char").adapt(["[PAD]"])
    assert PAD not in encoder.encode("[PAD]")
    assert encoder.encode("[PAD]")[1] != UNKNOWN


def test_vocabulary_is_limited_by_size_and_count():
    assert TextEncoder(vocabulary_size=6).adapt(["a a b b c"]).vocabulary[4:] == ("a", "b")
    assert TextEncoder(min_count=2).adapt(["a a b b c"]).vocabulary[4:] == ("a", "b")
    assert len(TextEncoder(level="byte").adapt([]).vocabulary) == 260


@pytest.mark.parametrize("bad", [{"level": "word2"}, {"truncate": "x"}, {"max_length": 0}])
def test_bad_settings_are_named(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        TextEncoder(**bad)


def test_an_unknown_word_takes_the_id_of_the_word_with_the_longest_common_stem():
    encoder = TextEncoder().adapt(["fine fine finely film"])
    ids = {word: encoder.encode(word)[1] for word in ("fine", "finely", "film")}
    assert encoder.encode("finest")[1] == ids["fine"]
    assert encoder.encode("finelyness")[1] == ids["finely"], "eight letters down to four"
    assert encoder.encode("films")[1] == ids["film"]
    assert encoder.encode("fil fit")[1:-1] == [UNKNOWN, UNKNOWN], "four letters are too few to cut"
    plain = TextEncoder(stem_unknown=False).adapt(["fine"])
    assert plain.encode("finest")[1] == UNKNOWN


def test_saved_and_loaded_encoders_agree(tmp_path):
    for encoder in ENCODERS.values():
        settings_ = json.loads(json.dumps(encoder.save(tmp_path)))
        assert TextEncoder.load(tmp_path, settings_) == encoder
    (tmp_path / "vocabulary.json").write_text("{")
    with pytest.raises(DataError, match="vocabulary.json"):
        TextEncoder.load(tmp_path, {})


ANYTHING = st.one_of(st.text(), st.binary().map(as_text), st.sampled_from(CORPUS))


@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.one_of(ANYTHING, st.binary()), min_size=1, max_size=4))
@example(texts=["goodness isn'tt quoted écoles", "приветик мирный"])
@example(texts=["", "\ufeff", "\x01a\x01", "İıſK", "a" * 3000])
@example(texts=[b"\xe1\x80A", b"\xff\xfe\xc0\x80", b"\xed\xa0\x80x", "\U0010ffff"])
def test_graph_and_numpy_faces_are_equal(name, texts):
    wire = [t if isinstance(t, bytes) else as_text(t).encode("utf-8") for t in texts]
    expected = ENCODERS[name](texts)
    got = GRAPHS[name](tf.constant(wire)).numpy()
    np.testing.assert_array_equal(got, expected)
    assert (got[:, 0] == START).all(), "no row is ever empty"
    assert ((got != PAD).argmin(1) == 0).all() or (np.diff((got == PAD).astype(int)) >= 0).all()


UNSPACED = st.text(st.characters(min_codepoint=0x0E00, max_codepoint=0x17FF), max_size=30)


@settings(max_examples=80, deadline=None)
@given(st.lists(UNSPACED, min_size=1, max_size=4))
def test_any_order_of_letters_and_signs_is_cut_alike(texts):
    texts = [as_text(text) for text in texts]
    encoder = TextEncoder().adapt(texts)
    graph = TextEncoderGraph(encoder)
    wire = tf.constant([text.encode() for text in texts])
    np.testing.assert_array_equal(graph(wire).numpy(), encoder(texts))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 0x10FFFF).map(chr).map(as_text), min_size=1, max_size=50))
def test_every_code_point_is_cut_alike(characters):
    text = "x".join(characters)
    encoder = TextEncoder(max_length=500).adapt([text])
    graph = TextEncoderGraph(encoder)
    np.testing.assert_array_equal(graph(tf.constant([text.encode()])).numpy(), encoder([text]))


def test_further_words_stand_behind_those_of_training():
    encoder = TextEncoder(stem_unknown=False).adapt(["one two"])
    longer = encoder.extended(["Three", "one"])
    assert longer.vocabulary == (*encoder.vocabulary, "three")
    assert longer.encode("one three four") == [START, *longer.encode("one")[1:2], 6, UNKNOWN, END]
    assert encoder.encode("three")[1] == UNKNOWN


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("abé\U0001f600", max_size=11), max_size=30),
    st.lists(st.text("abé\U0001f600", min_size=1, max_size=11), max_size=30),
)
def test_an_unknown_word_is_the_commonest_of_those_that_begin_alike(words, asked):
    encoder = TextEncoder(vocabulary=("[PAD]", "[UNK]", "[START]", "[END]", *dict.fromkeys(words)))
    table = encoder.stem_ids
    for word in set(asked) - set(words):
        known = [table[stem] for stem in stems(word) if stem in table]
        wanted = known[-1] if known else UNKNOWN
        assert (encoder._stem_id(word), encoder._neighbour_id(word)) == (wanted, wanted)
