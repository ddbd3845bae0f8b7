"""Words as numbers: by hand, and in NumPy as in TensorFlow."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.word_features import BEGIN, END, UNKNOWN, WordFeatures, shape_of
from pipelines.word_features_graph import WordFeaturesGraph

SENTENCES = [
    ["The", "cat", "sat", "on", "the", "mat", "in", "1999"],
    ["the", "dog", "sat", "on", "THE", "cat", "in", "2024", "."],
    ["The", "Cat", "'s", "dog", "sat"],
]


def adapted(sentences=SENTENCES, **changes):
    given = {"vocabulary_size": 100, "min_count": 1, "slots": 8, "lowercase": True, "digits": True}
    return WordFeatures.adapt(sentences, **{**given, **changes})


@pytest.mark.parametrize(("token", "shape"), [
    ("Washington", "Xxx"), ("U.S.", "X.X."), ("USA-12", "XX.dd"), ("iPhone", "xXxx"),
    ("日本", "oo"), ("日本語", "oo"), ("don't", "xx.x"), ("Élan", "Xxx"), ("", ""), ("_", "."),
])  # fmt: skip
def test_shapes(token, shape):
    assert shape_of(token) == shape


def test_words_are_numbered_by_frequency_without_case_and_digits():
    features = adapted()
    assert features.words[:3] == ("the", "cat", "sat")
    assert "0000" in features.words
    assert features.of("CAT").word == features.of("cat").word == 3
    assert features.of("1875").word == features.of("1999").word
    assert features.of("zebra").word == UNKNOWN
    assert features.knows("DOG")
    assert not features.knows("zebra")
    assert features.rank("CAT") == 1
    longer = features.extended(["the", "Zebra", "1812"])
    assert longer.words == (*features.words, "zebra")
    assert longer.of("ZEBRA").word == len(longer.words) + 1
    # Looked up, and yet unseen by training.
    assert not longer.knows("zebra")
    assert longer.knows("dog")
    assert WordFeatures.from_dict(longer.to_dict()) == longer
    assert adapted(lowercase=False).of("CAT").word == UNKNOWN
    assert adapted(min_count=3).words == ("the", "cat", "sat")
    assert len(adapted(vocabulary_size=5).words) == 3


def test_characters_are_kept_from_both_ends():
    features = adapted()
    assert features.characters[0] == "t"
    ids = {one: i for i, one in enumerate(features.characters, 4)}
    assert features.of("cat").characters == [
        BEGIN, ids.get("c", 1), ids["a"], ids["t"], END, 0, 0, 0,
    ]  # fmt: skip
    long = features.of("tatatatatcat").characters
    assert long == [BEGIN, *(ids[c] for c in "tat"), ids.get("c", 1), ids["a"], ids["t"], END]


def test_forms_are_shape_beginnings_and_ends():
    features = adapted()
    keys = features.form_keys("Sat")
    assert keys[0] == "shape Xxx"
    assert keys[1:] == ["begins1 s", "begins2 sa", "begins3 sat", "ends1 t", "ends2 at",
                        "ends3 sat", "ends4 sat"]  # fmt: skip
    assert len(features.of("zebra").forms) == features.forms_per_word == 8
    assert features.of("zebra").forms[1] == 0


def test_single_characters_have_neither_characters_nor_beginnings():
    features = adapted([list("我在北京"), list("我们")])
    assert features.slots == 0
    assert features.forms_per_word == 1
    assert set(features([["我"]])) == {"words", "forms"}


def test_a_sentence_without_a_token_has_one_valid_step():
    arrays = adapted()([[], ["cat"]])
    assert arrays["words"].tolist() == [[UNKNOWN], [3]]
    assert arrays["characters"].shape == (2, 1, 8)


def test_features_survive_json():
    features = adapted()
    assert WordFeatures.from_dict(json.loads(json.dumps(features.to_dict()))) == features


TOKENS = st.one_of(
    st.sampled_from([w for s in SENTENCES for w in s]),
    st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=14),
)
FEATURES = {"all": adapted(), "as written": adapted(lowercase=False, digits=False),
            "single": adapted([list("我在北京"), list("我们")])}  # fmt: skip
GRAPHS = {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(TOKENS, max_size=5), min_size=1, max_size=4))
def test_the_graph_gives_the_same_numbers(sentences):
    for name, features in FEATURES.items():
        if name not in GRAPHS:
            graph = WordFeaturesGraph(features)
            spec = [tf.RaggedTensorSpec([None, None], tf.string, 1)]
            GRAPHS[name] = tf.function(graph.__call__, input_signature=spec), graph
        rows = [[token.encode() for token in row] for row in sentences]
        found = GRAPHS[name][0](tf.ragged.constant(rows, tf.string, ragged_rank=1))
        want = features(sentences)
        assert found.keys() == want.keys()
        for key, array in want.items():
            assert np.array_equal(found[key], array), (name, key)
