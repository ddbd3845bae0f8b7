"""NumPy and TensorFlow answer alike, and sentences are read as they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines.skeleton import (
    SkeletonExample,
    SkeletonPreprocessing,
    SkeletonPreprocessor,
    load_sentences,
)

from common.errors import DataError

TRAIN = [SkeletonExample(("the", "saw"), ("DET", "NOUN")), SkeletonExample(("we",), ("PRON",))]
PREPROCESSOR = SkeletonPreprocessor.adapt(SkeletonPreprocessing(), TRAIN)
GRAPH = PREPROCESSOR.graph()
# TensorFlow's strings are bytes: a lone surrogate has none.
words = st.one_of(
    st.sampled_from(["the", "saw", "we"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)


@given(st.lists(st.lists(words, max_size=5), min_size=1, max_size=4))
@settings(max_examples=50)
def test_both_implementations_encode_and_decode_alike(raw):
    request = PREPROCESSOR.to_request(raw)
    encoded = PREPROCESSOR.encode(request)
    mine = GRAPH.encode({name: _tensor(array) for name, array in request.items()})
    for name, array in encoded.items():
        np.testing.assert_array_equal(mine[name], array)
    draw = np.random.default_rng(len(raw))
    scores = draw.random((*encoded["ids"].shape, 3)).astype(np.float32)
    outputs = {"probabilities": scores, "length": encoded["length"]}
    answers = GRAPH.decode({name: _tensor(array) for name, array in outputs.items()})
    for name, array in PREPROCESSOR.decode(outputs).items():
        np.testing.assert_array_equal(answers[name], array)


def _tensor(array):
    import tensorflow as tf

    return tf.constant(array.astype(bytes) if array.dtype == object else array)


def test_sentences_are_read_and_what_is_none_is_named(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"tokens": ["we", "run"], "tags": "PRON VERB"}\n' * 30)
    splits = load_sentences(str(path), "tokens", "tags", 0)
    assert splits.train[0] == SkeletonExample(("we", "run"), ("PRON", "VERB"))
    path.write_text('{"tokens": ["we", "run"], "tags": "PRON"}\n')
    with pytest.raises(DataError, match="train.jsonl:1"):
        load_sentences(str(path), "tokens", "tags", 0)
