"""The linear n-gram path: counts by hand, and its two faces equal."""

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models import wide, wide_tables
from models.wide import Evidence, Pairs, WordNGrams, wide_logits, word_ngrams
from models.wide_tables import (
    character_grams,
    count_wide_tables,
    feature_values,
    log_count_ratio,
    ngram_keys,
)

VOCABULARY = ["[PAD]", "[UNK]", "[START]", "[END]", "good", "bad", "film", "not"]
ROWS = [np.array(row) for row in ([2, 4, 6, 3], [2, 7, 4, 6, 3], [2, 5, 6, 3], [2, 7, 5, 6, 3])]
LABELS = np.array([1, 0, 0, 1])


def test_character_grams_by_hand():
    assert character_grams("so") == ["<so", "<so>", "so>"]
    assert character_grams("") == []


def test_log_count_ratio_by_hand():
    # Feature 1 in both texts of class 0 and in none of class 1; feature 2 once in each.
    ratio = log_count_ratio([[1, 2], [1], [2]], np.array([0, 0, 1]), 3, 2)
    inside, outside = np.array([3, 2]) / 5, np.array([1, 2]) / 3
    np.testing.assert_allclose(ratio[1:, 0], np.log(inside / outside), rtol=1e-6)
    np.testing.assert_allclose(ratio[:, 1], -ratio[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(ratio[0], [0, 0])


def test_feature_values_by_hand():
    rows, labels = [[1, 2], [1], [2]], np.array([0, 0, 1])
    values = feature_values(rows, labels, 3, 2)
    # Both features occur in two of three texts; log(4/3) + 1 each.
    first = np.log((3 / 5) / (1 / 3))
    np.testing.assert_allclose(values[1, 0], np.sqrt(first) * (np.log(4 / 3) + 1), rtol=1e-6)
    np.testing.assert_allclose(values[2, 1], np.sqrt(np.log(5 / 3)) * (np.log(4 / 3) + 1), 1e-6)
    np.testing.assert_allclose(values[:, 1], -values[:, 0], rtol=1e-6)
    assert not values[0].any()


def test_tables_hold_what_occurs_in_two_texts():
    tables = count_wide_tables(ROWS, LABELS, VOCABULARY, 2)
    # good, bad, film, not, "good film", "bad film"; "not good" and "not bad" occur once.
    assert len(tables.word_ratio) == 1 + 6
    assert (tables.grams[:4] == 0).all(), "special tokens have no letters"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1, max_size=4))
def test_the_layer_finds_the_ngrams_that_counting_found(rows):
    vocabulary = [*VOCABULARY, "a", "b"]
    arrays = [np.array(row) for row in rows]
    tables = count_wide_tables(arrays, np.zeros(len(rows), int), vocabulary, 2, min_documents=1)
    padded = keras.utils.pad_sequences(rows, padding="post").astype("int32")
    found = np.asarray(WordNGrams(tables.check, tables.slot)(padded))
    size = len(tables.check)
    for row, got in zip(arrays, found, strict=True):
        # A contested slot loses its rarer n-gram, so the tables say what there is to be found.
        slots = [((key >> 20) % size, key % 2**20) for key in ngram_keys(row).tolist()]
        wanted = [tables.slot[slot] for slot, check in slots if tables.check[slot] == check]
        assert sorted(got[got > 0]) == sorted(wanted)
        # With so few n-grams that is rare, never most.
        assert len(set(wanted)) >= 0.5 * len(set(ngram_keys(row).tolist()))


def test_letters_have_no_ngrams_of_their_own_and_their_pairs_are_embedded():
    vocabulary = [*VOCABULARY[:4], "很", "好", "不", "ok"]
    rows = [np.array(row) for row in ([2, 4, 5, 3], [2, 4, 5, 7, 3], [2, 6, 5, 3], [2, 6, 5, 7])]
    tables = count_wide_tables(rows, LABELS, vocabulary, 2, letters=lambda word: len(word) == 1)
    assert not tables.grams[4:7].any()
    assert tables.grams[7].any(), "a word among them has"
    # 好, 很, 不, ok, 很好, 不好, 好ok: all that occur in two texts.
    assert tables.pairs == 7
    found = WordNGrams(tables.check, tables.slot)(np.array([[2, 4, 5, 3, 0], [2, 5, 4, 6, 5]]))
    got = np.asarray(Pairs(tables.pairs)(found))
    assert (got > 0).tolist() == [[False, True, False, False, False], [False] * 3 + [True, False]]
    assert got[0, 1] != got[1, 3], "very good is not not good"
    assert not np.asarray(Pairs(int(min(got[0, 1], got[1, 3])) - 1)(found)).any()
    assert count_wide_tables(rows, LABELS, vocabulary, 2).pairs == 0
    spaced = count_wide_tables(rows, LABELS, vocabulary, 2, letters=lambda word: word == "很")
    assert spaced.pairs == 0, "three letters of eleven words"


def test_evidence_by_hand_counts_a_feature_once():
    ratio = np.array([[0, 0], [3, -3], [4, -4]], "f4")
    layer = Evidence(ratio, gain=10.0, start=5.0)
    got = np.asarray(layer(np.array([[1, 2, 2, 0, 1], [0, 0, 0, 0, 2]], "int32")))
    # gain * w = 5 everywhere: 5 * (3 + 4) / sqrt(9 + 16) and 5 * 4 / 4.
    np.testing.assert_allclose(got, [[7.0, -7.0], [5.0, -5.0]], rtol=1e-5)


def test_tables_survive_saving(tmp_path):
    tables = count_wide_tables(ROWS, np.array([1, 1, 0, 0]), VOCABULARY, 2)
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    model = keras.Model(
        tokens, wide_logits(tokens, word_ngrams(tokens, tables), tables, characters=True, l2=1e-4)
    )
    batch = keras.utils.pad_sequences(ROWS, padding="post")
    before = model.predict_on_batch(batch)
    assert np.abs(before).max() > 0.1
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(batch), before)


def test_of_more_classes_fewer_ngrams_count(monkeypatch):
    every = count_wide_tables(ROWS, LABELS, VOCABULARY, 2)
    monkeypatch.setattr(wide_tables, "MOST_RATIOS", 6)
    tables = count_wide_tables(ROWS, LABELS, VOCABULARY, 2)
    assert tables.word_ratio.shape == (1 + 3, 2)
    assert tables.gram_ratio.shape == (1 + 3, 2)
    assert every.word_ratio.shape == (1 + 6, 2)
    # film is in four texts; those that are in two are in the order of their hashes.
    np.testing.assert_allclose(tables.word_ratio[1:2], every.word_ratio[1:2])
    assert tables.grams.max() == 3


def test_evidence_of_many_classes_is_that_of_few(monkeypatch):
    random = np.random.default_rng(0)
    ratio = random.normal(size=(9, 5)).astype("f4")
    ratio[0] = 0
    layer, features = Evidence(ratio), random.integers(0, 9, (4, 30)).astype("int32")
    few = np.asarray(layer(features))
    monkeypatch.setattr(wide, "MANY_CLASSES", 4)
    np.testing.assert_allclose(np.asarray(layer(features)), few, rtol=1e-5, atol=1e-5)


def test_the_evidence_of_a_long_text_keeps_its_digits(monkeypatch):
    random, count = np.random.default_rng(0), 60_000
    ratio = random.uniform(0.5, 1.5, (count + 1, 2)).astype("f4")
    ratio[0] = 0
    layer, features = Evidence(ratio, start=5.0), np.arange(1, count + 1, dtype="int32")[None]
    exact = 5 * ratio[1:].sum(0, np.float64) / np.sqrt((ratio[1:].astype("f8") ** 2).sum(0))

    def error():
        return np.abs(np.asarray(layer(features))[0] / exact - 1).max()

    assert error() < 5e-7
    monkeypatch.setattr(wide, "BLOCK", count)
    assert error() > 1e-6, "one sum would do as well"
