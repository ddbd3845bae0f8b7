"""Subwords: the graph gives sentencepiece's ids for any text; training is deterministic."""

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.subwords import SubwordEncoder
from pipelines.text import END, PAD, START, UNKNOWN
from pipelines.vocabulary import (
    SubwordPreprocessing,
    adapt_vocabulary,
    load_vocabulary,
    vocabulary_graph,
)

TEXTS = [
    f"{who} {does} a {what} in the {where}."
    for who in ("A man", "Two dogs", "The woman", "Children", "Ein Mädchen", "犬が")
    for does in ("sees", "holds", "is watching", "überquert", "throws")
    for what in ("red ball", "guitar", "Straßenbahn", "aaaa", "aaab", "camera-man")
    for where in ("park", "street", "Küche", "snow")
]
ENCODER = SubwordEncoder(max_length=1000).adapt(TEXTS, 150)
GRAPH = vocabulary_graph(ENCODER)
LETTERS = sorted({letter for text in TEXTS for letter in text})

texts = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from([*LETTERS, "\u2581", " ", "\t", "€", "\U0001f600"]), max_size=60),
    st.text(st.sampled_from("ab "), max_size=80),
)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.lists(texts, min_size=1, max_size=4))
@example([""])
@example([" ", "\u2581", "\u2581 \u2581"])
@example(["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])
@example(["\U0001f600\U0001f600 \U0001f600a\U0001f600", "x" * 500])
@example(["  A   man  ", "A man"])
@example(["<s> </s> <unk> <pad> [PAD]", "\x00a\x00"])
def test_both_implementations_give_the_same_ids(rows):
    want = ENCODER([row.encode("utf-8", "replace") for row in rows])
    got = GRAPH(tf.constant([row.encode("utf-8", "replace") for row in rows])).numpy()
    np.testing.assert_array_equal(got, want)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, len(ENCODER.vocabulary) - 1), max_size=20))
def test_both_implementations_give_the_same_text(ids):
    got = GRAPH.decode(tf.constant([ids], tf.int32)).numpy()[0]
    assert got.decode() == ENCODER.decode(ids)


@settings(deadline=None)
@given(st.text(st.sampled_from(LETTERS), max_size=60))
def test_text_of_known_characters_comes_back(text):
    assert ENCODER.decode(ENCODER.encode(text)) == " ".join(filter(None, text.split(" ")))


def test_ids_are_those_of_the_library_between_start_and_end():
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(ENCODER.model)
    text = "Two dogs überquert a Küche."
    assert ENCODER.encode(text) == [START, *processor.encode(text), END]
    assert ENCODER.vocabulary[: END + 1] == ("[PAD]", "[UNK]", "[START]", "[END]")
    assert [processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id()] == [
        PAD, UNKNOWN, START, END
    ]  # fmt: skip


def test_unknown_characters_side_by_side_are_one_id():
    ids = ENCODER.encode("\U0001f600\U0001f601 \U0001f602")
    assert ids.count(UNKNOWN) == 2


def test_training_is_deterministic_and_a_small_text_has_a_small_vocabulary():
    assert SubwordEncoder().adapt(TEXTS, 150).model == ENCODER.model
    assert len(ENCODER.vocabulary) <= 150
    assert len(SubwordEncoder().adapt(TEXTS, 100_000).vocabulary) < 2000


def test_ties_and_near_ties_of_random_scores_fall_as_in_sentencepiece():
    """Scores that are equal, or differ in the last bit: every order of sums would show."""
    from sentencepiece import sentencepiece_model_pb2 as proto

    draw = np.random.default_rng(0)
    model = proto.ModelProto()
    model.ParseFromString(ENCODER.model)
    for piece in model.pieces:
        if piece.type == 1:
            piece.score = -float(np.float32(0.1) * draw.integers(1, 40))
    encoder = SubwordEncoder(model.SerializeToString(), max_length=1000)
    graph = vocabulary_graph(encoder)
    rows = ["".join(draw.choice(list("aab AmnTwo dgs"), 200)) for _ in range(64)]
    np.testing.assert_array_equal(graph(tf.constant(rows)).numpy(), encoder(rows))


def test_a_text_is_cut_at_its_greatest_length():
    encoder = SubwordEncoder(ENCODER.model, max_length=3)
    assert len(encoder.encode(TEXTS[0])) == 5
    np.testing.assert_array_equal(vocabulary_graph(encoder)(tf.constant(TEXTS)), encoder(TEXTS))


def test_no_text_and_a_size_that_is_too_small_are_one_sentence():
    with pytest.raises(DataError, match="no text"):
        SubwordEncoder().adapt(["", "  "], 100)
    with pytest.raises(DataError, match="--vocabulary-size"):
        SubwordEncoder().adapt(TEXTS, 8)


@pytest.mark.parametrize("level", ["subword", "word", "char", "byte"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_every_level_is_used_alike(tmp_path, level, lowercase):
    settings = SubwordPreprocessing(level=level, vocabulary_size=260, lowercase=lowercase)
    encoder = adapt_vocabulary(settings, TEXTS)
    again = load_vocabulary(tmp_path, encoder.save(tmp_path))
    rows = [*TEXTS[::9], "", "  ", "Ünknown \U0001f600", "A MAN"]
    ids = encoder(rows)
    np.testing.assert_array_equal(again(rows), ids)
    graph = vocabulary_graph(encoder)
    np.testing.assert_array_equal(graph(tf.constant(rows)).numpy(), ids)
    want = [encoder.decode(row) for row in ids]
    assert [text.decode() for text in graph.decode(tf.constant(ids)).numpy()] == want
    names = [[encoder.vocabulary[i].encode() for i in row] for row in ids]
    assert graph.tokens(tf.constant(ids)).numpy().tolist() == names


def test_no_rows_have_no_ids():
    assert GRAPH(tf.constant([], tf.string)).shape[0] == 0


@pytest.mark.parametrize("rows", [[""], ["  ", ""]])
def test_texts_without_any_piece_are_start_and_end(rows):
    np.testing.assert_array_equal(GRAPH(tf.constant(rows)).numpy(), [[START, END]] * len(rows))


def test_a_damaged_file_is_one_sentence(tmp_path):
    state = ENCODER.save(tmp_path)
    (tmp_path / "subwords.model").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"subwords\.model"):
        load_vocabulary(tmp_path, state)
