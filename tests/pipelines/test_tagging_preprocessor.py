"""The preprocessors of tagging and intent: spans and offsets by hand, in NumPy as in TensorFlow."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from decoding.crf import FORBIDDEN, CrfScores, allowed_transitions
from pipelines.intent import IntentDecoding, IntentPreprocessor
from pipelines.preprocessor import load_preprocessor
from pipelines.program import DEFAULT, LoadedProgram
from pipelines.tag_table import TagTable
from pipelines.tagged import TaggedExample
from pipelines.tagging import TaggingPreprocessing, TaggingPreprocessor

NAMES = [
    TaggedExample(("Ann", "Lee", "met", "Bob", "."), ("B-P", "I-P", "O", "B-P", "O"), "meet"),
    TaggedExample(("Bob", "sleeps", "in", "Rome"), ("B-P", "O", "O", "B-L"), "sleep"),
    TaggedExample(("New", "York", "City", "Hall"), ("B-L", "I-L", "I-L", "I-L"), "place"),
]
WORDS = [TaggedExample(("It", "rains"), ("PRON", "VERB")), TaggedExample(("He",), ("PRON",))]


def scores_of(preprocessor):
    tags, rng = preprocessor.tags, np.random.default_rng(0)
    size = len(tags.names)
    parts = [rng.normal(size=s) for s in ((size,), (size, size), (size,))]
    if tags.scheme:
        allowed = allowed_transitions(tags.names, tags.scheme)
        parts = [np.where(y, x, FORBIDDEN) for y, x in zip(allowed, parts, strict=True)]
    start, pairs, end = (x.astype(np.float32) for x in parts)
    return CrfScores(pairs, start, end)


def made(kind="spans", scheme="bioes", crf=True, **more):
    settings = TaggingPreprocessing(scheme=scheme, **more)
    found = {
        "spans": lambda: TaggingPreprocessor.adapt(settings, NAMES),
        "plain": lambda: TaggingPreprocessor.adapt(settings, WORDS),
        "intent": lambda: IntentPreprocessor.adapt(settings, NAMES, IntentDecoding(0.4)),
    }[kind]()
    found = replace(found, outside_offset=0.5, tag_temperature=1.5)
    return replace(found, scores=scores_of(found)) if crf else found


class FakeCore:
    """Emissions that prefer chosen tags; logits that prefer an intent by the first word."""

    inputs, states = ("words",), {}

    def __init__(self, preprocessor, seed=0):
        self.preprocessor, self.seed = preprocessor, seed

    def __call__(self, arrays):
        words = np.asarray(arrays["words"])
        size = len(self.preprocessor.tags.names)
        table = np.random.default_rng(self.seed).normal(size=(1000, size)).astype(np.float32)
        found = {"emissions": 3 * table[words]}
        if isinstance(self.preprocessor, IntentPreprocessor):
            found["intent_logits"] = 2 * table[words[:, 0], : len(self.preprocessor.intents)]
        return found


def run(preprocessor, raw, name=DEFAULT, request=None):
    program = LoadedProgram(preprocessor.programs[name], {"model": FakeCore(preprocessor)})
    return program.run(request or preprocessor.to_request(raw))


GRAPHS = {}


def traced(function, given):
    """The function for batches and lengths of any size, like those of ``given``."""
    fixed = ("emissions", "characters", "forms", "intent_logits")
    specs = {
        name: tf.TensorSpec(
            [None] * (x.ndim - 1) + [x.shape[-1] if name in fixed else None],
            tf.string if x.dtype == object else x.dtype,
        )
        for name, x in given.items()
    }
    return tf.function(function, input_signature=[specs], autograph=False)


def graph_of(preprocessor, name, part, given):
    """Encoding or decoding, traced once for all batches; both programs decode alike."""
    key = id(preprocessor), part, name if part == "encode" else DEFAULT
    if key not in GRAPHS:
        graph = preprocessor.programs[key[2]].graph()
        GRAPHS[key] = traced(getattr(graph, part), given), graph, preprocessor
    return GRAPHS[key][0]


def tensors(arrays):
    return {
        name: tf.constant(array.tolist(), tf.string, array.shape) if array.dtype == object
        else tf.constant(array)
        for name, array in arrays.items()
    }  # fmt: skip


def run_graph(preprocessor, raw, name=DEFAULT, request=None):
    request = dict(request or preprocessor.to_request(raw))
    if isinstance(preprocessor, IntentPreprocessor) and "reject_below" not in request:
        rows = len(next(iter(request.values())))
        request["reject_below"] = np.full(rows, preprocessor.reject_below, np.float32)
    encode = graph_of(preprocessor, name, "encode", request)
    encoded = {n: np.asarray(x) for n, x in encode(tensors(request)).items()}
    outputs = {**encoded, **FakeCore(preprocessor)(encoded)}
    decode = graph_of(preprocessor, name, "decode", outputs)
    return {n: np.asarray(x) for n, x in decode(tensors(outputs)).items()}


def assert_same(got, want):
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].shape == array.shape, name
        if array.dtype.kind == "f":
            np.testing.assert_allclose(got[name], array, atol=1e-6, err_msg=name)
        else:
            assert np.array_equal(got[name], array), name


KINDS = [("spans", "bioes", True), ("spans", "bio", False),
         ("plain", "bioes", True), ("intent", "bioes", True)]  # fmt: skip
MADE = {kind: made(*kind) for kind in KINDS}
RAW = st.one_of(
    st.lists(st.sampled_from(["Ann", "Bob", "New", "x", "\U0001f600", "it's"]), max_size=6),
    st.sampled_from(["", " ", "Ann Lee met Bob.", "\U0001f600 Rome!", "a\nb"]),
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=12),
)


@pytest.mark.slow
@settings(max_examples=4, deadline=None)
@given(st.lists(RAW, min_size=1, max_size=4))
def test_both_programs_answer_in_numpy_as_in_tensorflow(raw):
    for kind in KINDS:
        preprocessor = MADE[kind]
        want = run(preprocessor, raw)
        assert_same(run_graph(preprocessor, raw), want)
        request = next(preprocessor.programs["tokens"].examples(preprocessor.to_request(raw)))
        assert_same(run_graph(preprocessor, raw, "tokens", request),
                    run(preprocessor, raw, "tokens", request))  # fmt: skip
        for row in range(len(raw)):
            alone = run(preprocessor, raw[row : row + 1])
            for name in ("tags", "span_labels"):
                if name in want:
                    length = alone[name].shape[1]
                    assert np.array_equal(want[name][row, :length], alone[name][0])
                    assert not any(want[name][row, length:])


class Chosen(FakeCore):
    """Emissions of tags that are given for each token."""

    def __init__(self, preprocessor, rows):
        super().__init__(preprocessor)
        self.rows = rows

    def __call__(self, arrays):
        shape = (*arrays["words"].shape, len(self.preprocessor.tags.names))
        emissions = np.zeros(shape, np.float32)
        for i, row in enumerate(self.rows):
            for t, tag in enumerate(self.preprocessor.tags.ids(row)):
                emissions[i, t, tag] = 20
        return {**super().__call__(arrays), "emissions": emissions}


def answered(preprocessor, raw, rows):
    program = LoadedProgram(preprocessor, {"model": Chosen(preprocessor, rows)})
    return preprocessor.answers(program.run(preprocessor.to_request(raw)), raw)


def test_spans_and_their_offsets_by_hand():
    text = "\U0001f600 Ann Lee met  Bob."
    tags = ["O", "B-P", "I-P", "O", "B-P", "O"]
    for scheme in ("bio", "bioes"):
        (answer,) = answered(made(scheme=scheme), [text], [tags])
        assert answer["tokens"] == ["\U0001f600", "Ann", "Lee", "met", "Bob", "."]
        assert answer["tags"] == tags
        assert answer["starts"] == [0, 2, 6, 10, 15, 18]
        spans = [(s["label"], s["text"], s["start"], s["end"]) for s in answer["spans"]]
        assert spans == [("P", "Ann Lee", 2, 9), ("P", "Bob", 15, 18)]
        assert all(0.99 < s["probability"] <= 1 for s in answer["spans"])


def test_given_tokens_count_in_themselves_joined_by_a_space():
    tokens = ["Ann Lee", "met", "Bob"]
    (answer,) = answered(made(), [tokens], [["B-P", "O", "B-P"]])
    assert answer["tokens"] == tokens
    assert [(s["text"], s["start"], s["end"]) for s in answer["spans"]] == [
        ("Ann Lee", 0, 7), ("Bob", 12, 15),
    ]  # fmt: skip


def test_nothing_has_no_tags():
    for raw in ("", " \n", []):
        (answer,) = answered(made(), [raw], [[]])
        assert answer == {"tokens": [], "tags": [], "probabilities": [], "starts": [], "ends": [],
                          "spans": []}  # fmt: skip


def test_spans_of_tags_that_go_on_with_nothing():
    table = TagTable(("O", "B-P", "I-P", "I-L"), "bio")
    ids = np.array([[2, 2, 3, 1, 1, 2, 0, 2]])
    first, last = table.borders(ids, np.array([[True] * 7 + [False]]))
    assert np.flatnonzero(first[0]).tolist() == [0, 2, 3, 4]
    assert np.flatnonzero(last[0]).tolist() == [1, 2, 3, 5]


@pytest.mark.parametrize(("raw", "words"), [
    (7, "input 0 is a int"), ([["a", 3]], "input 0"), (["a", ""], "an empty token"),
    (["a\x1fb"], "U+001F"), (None, "input 0"), ({"text": "a"}, "a dict"),
])  # fmt: skip
def test_what_is_no_sentence_is_refused(raw, words):
    with pytest.raises(DataError) as error:
        made().to_request([raw])
    assert words in str(error.value)


def test_long_sentences_are_cut_for_training_and_nothing_is_lost():
    tokens = [f"w{i}" for i in range(95)]
    tokens[29] = tokens[65] = "."
    tags = ["O"] * 95
    tags[38:42] = ["B-P", "I-P", "I-P", "I-P"]
    example = TaggedExample(tuple(tokens), tuple(tags))
    preprocessor = made(max_length=40)
    pieces = list(preprocessor.pieces(example))
    assert sum((piece.tokens for piece in pieces), ()) == example.tokens
    assert sum((piece.tags for piece in pieces), ()) == example.tags
    assert all(len(piece.tokens) <= 40 for piece in pieces)
    assert len(pieces[0].tokens) == 30  # behind the end of a sentence
    assert not any(piece.tags[0].startswith("I-") for piece in pieces)
    assert len(preprocessor.encoded([example, NAMES[0]])) == len(pieces) + 1
    endless = TaggedExample(("x",) * 90, ("B-P", *["I-P"] * 89))
    assert [len(p.tokens) for p in preprocessor.pieces(endless)] == [40, 40, 10]


def test_tags_that_training_does_not_have():
    encoded = made().encoded([TaggedExample(("Ann", "x"), ("B-Q", "O"))])
    assert encoded.targets["tags"].values.tolist() == [-1, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same(kind, tmp_path):
    preprocessor = MADE[kind]
    preprocessor.save(tmp_path)
    again = load_preprocessor(tmp_path)
    assert type(again) is type(preprocessor)
    raw = ["Ann Lee met Bob.", ["New", "York"], ""]
    assert_same(run(again, raw), run(preprocessor, raw))
    assert again.state().keys() == preprocessor.state().keys()


def test_an_intent_is_answered_only_if_it_is_likely_enough():
    from dataclasses import replace

    preprocessor = made("intent")
    raw = ["Ann met", "Bob", "Rome"]
    shares = run(preprocessor, raw)["intent_probabilities"]
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    for threshold in (0.0, 0.4, 0.5, 1.0):
        request = {**preprocessor.to_request(raw), "reject_below": np.float32([threshold])}
        found = run(preprocessor, raw, request=request)["intent"]
        want = [preprocessor.intents[i].encode() for i in shares.argmax(1)]
        want = [
            name if s >= threshold else b"" for name, s in zip(want, shares.max(1), strict=True)
        ]
        assert found.tolist() == want
    answers = preprocessor.answers(run(preprocessor, raw), raw)
    assert [one["intent"] for one in answers] == [
        one if s >= 0.4 else None
        for one, s in zip(
            (preprocessor.intents[i] for i in shares.argmax(1)), shares.max(1), strict=True
        )
    ]  # fmt: skip
    flat = run(replace(preprocessor, temperature=100.0), raw)["intent_probabilities"]
    np.testing.assert_allclose(flat, 1 / 3, atol=0.03)
    assert np.array_equal(flat.argmax(1), shares.argmax(1))


def test_kinds_of_several_tokens_have_every_tag_that_longer_spans_need():
    """Training has spans of one and of two tokens; an answer may have one of three."""
    rows = [["B-P", "I-P", "O", "B-L"]]
    assert set(TagTable.of(rows, "bioes").names) == {"O", "B-P", "I-P", "E-P", "S-P", "S-L"}
    assert TagTable.of(rows, "bio").names == ("O", "B-L", "B-P", "I-P")
    assert TagTable.of([["N", "V"]], "bioes").names == ("N", "V")
