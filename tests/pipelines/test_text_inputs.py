"""Texts of several columns: read, asked for and joined alike wherever they come from."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.preprocessor import load_preprocessor
from pipelines.sources import load_labelled_text
from pipelines.text import TextEncoder
from pipelines.text_classification import TextClassificationPreprocessor
from pipelines.text_inputs import column_requests, input_names
from pipelines.unlabelled import read_texts

TICKETS = [
    {"subject": "no tone", "body": "The line is dead.", "queue": "technical"},
    {"subject": "", "body": "Where is my refund?", "queue": "billing"},
    {"subject": "invoice", "body": None, "queue": "billing"},
    {"subject": " router ", "body": "It blinks red, \"always\".", "queue": "technical"},
] * 5  # fmt: skip
JOINED = ["no tone | The line is dead.", "Where is my refund?", "invoice",
          'router | It blinks red, "always".']  # fmt: skip
BOTH = {"text_column": "subject,body", "label_column": "queue"}


def written(place, form):
    frame = pd.DataFrame(TICKETS)
    if form == "frame":
        return frame
    path = place / f"tickets.{form}"
    if form == "jsonl":
        rows = ({k: v for k, v in row.items() if v is not None} for row in TICKETS)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "json":
        path.write_text(json.dumps(TICKETS))
    else:
        frame.to_csv(path, index=False, sep="\t" if form == "tsv" else ",")
    return str(path)


@pytest.fixture(scope="module")
def preprocessor():
    splits = load_labelled_text(pd.DataFrame(TICKETS), **BOTH)
    return TextClassificationPreprocessor.adapt(TextEncoder(), splits.train)


@pytest.mark.parametrize("form", ["frame", "csv", "tsv", "jsonl", "json"])
def test_any_table_gives_the_same_texts(form, tmp_path):
    splits = load_labelled_text(written(tmp_path, form), **BOTH)
    every = splits.train + splits.validation + splits.test
    assert {one.text for one in every} == set(JOINED)
    parts = {one.text: one.parts for one in every}
    assert parts["invoice"] == {"subject": "invoice", "body": ""}
    assert parts[JOINED[3]] == {"subject": "router", "body": 'It blinks red, "always".'}
    frame = load_labelled_text(pd.DataFrame(TICKETS), **BOTH)
    assert splits.fingerprint == frame.fingerprint


def test_a_file_without_labels_has_the_same_columns(preprocessor, tmp_path):
    for form in ("csv", "jsonl"):
        texts, _ = read_texts(Path(written(tmp_path, form)), "subject,body")
        assert texts[2] == {"subject": "invoice", "body": ""}
        (want,) = preprocessor.encode(preprocessor.to_request([texts[3]]))["tokens"]
        np.testing.assert_array_equal(want, preprocessor.encoder.encode(JOINED[3]))


def test_columns_may_be_numbers_where_there_is_no_header(tmp_path):
    lines = (f"a{i},b{i},{i % 2}\n" for i in range(20))
    (tmp_path / "t.csv").write_text("".join(lines))
    splits = load_labelled_text(tmp_path / "t.csv", text_column="1,2", label_column="3")
    assert {one.text for one in splits.train} <= {f"a{i} | b{i}" for i in range(20)}
    (tmp_path / "new.csv").write_text("x,y\nv,\n")
    texts, _ = read_texts(tmp_path / "new.csv", "1,2")
    assert texts == [{"1": "x", "2": "y"}, {"1": "v", "2": ""}]


def test_one_column_whose_name_has_a_comma(tmp_path):
    frame = pd.DataFrame({"a,b": ["one", "two"] * 10, "label": ["x", "y"] * 10})
    splits = load_labelled_text(frame, text_column="a,b")
    assert {one.text for one in splits.train} == {"one", "two"}
    assert not splits.train[0].parts


@pytest.mark.parametrize(("rows", "words"), [
    ([{**TICKETS[0], "subject": 5}], ["row 20", "the text in 'subject' is 5, not a string"]),
    ([{**TICKETS[0], "queue": ""}], ["row 20", "label", "--drop-unlabelled"]),
])  # fmt: skip
def test_bad_cells_are_named(rows, words):
    with pytest.raises(DataError) as error:
        load_labelled_text([*TICKETS, *rows], **BOTH)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(("columns", "words"), [
    ("subject,text", ["no column 'text'", "--text-column"]),
    ("body,queue", ["both the column 'queue'"]),
])  # fmt: skip
def test_columns_that_are_not_there_are_refused(columns, words):
    with pytest.raises(DataError) as error:
        load_labelled_text(TICKETS, text_column=columns, label_column="queue")
    assert all(word in str(error.value) for word in words)


def test_rows_without_any_text_are_dropped():
    splits = load_labelled_text([*TICKETS, {"subject": "", "body": None, "queue": "x"}], **BOTH)
    assert any("1 example without text was dropped" in note for note in splits.notes)


def test_names_of_inputs_are_plain_and_distinct():
    names = input_names(["subject", "from", "a b", "a-b", "", "2nd", "正文", "class"])
    assert names == ("subject", "text_from", "a_b", "a_b_4", "text_5", "text_2nd", "text_7",
                     "text_class")  # fmt: skip


def test_what_is_asked_may_be_a_dict_or_one_text(preprocessor):
    assert set(preprocessor.signature["inputs"]) == {"subject", "body"}
    asked = [
        {"body": "Dead.", "subject": "no tone"},
        "no tone | Dead.",
        {"body": "no tone | Dead."},
    ]
    tokens = preprocessor.encode(preprocessor.to_request(asked))["tokens"]
    assert (tokens == tokens[0]).all()
    request = column_requests([{"text_from": "a"}, {"from": b"b"}], ["from", "body"])
    assert list(request["text_from"]) == [b"a", b"b"]
    with pytest.raises(
        DataError, match="input 0 has a column 'title'; the model reads subject, bo"
    ):
        preprocessor.to_request([{"title": "x"}])
    with pytest.raises(DataError, match="input 1 is a int; give one text .* or a dict of subject"):
        preprocessor.to_request(["a", 5])


def test_columns_are_saved(preprocessor, tmp_path):
    preprocessor.save(tmp_path)
    assert load_preprocessor(tmp_path) == preprocessor
    state = json.loads((tmp_path / "preprocessor.json").read_text())
    del state["columns"]  # as earlier versions wrote it
    (tmp_path / "preprocessor.json").write_text(json.dumps(state))
    assert load_preprocessor(tmp_path).inputs == ("text",)


graphs = lru_cache(lambda preprocessor: preprocessor.graph())


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(st.binary(max_size=12), st.text(max_size=12)), min_size=1,
                     max_size=4))  # fmt: skip
def test_both_implementations_join_alike(preprocessor, rows):
    request = preprocessor.to_request([{"subject": a, "body": b} for a, b in rows])
    graph = graphs(preprocessor).encode({n: tf.constant(list(x)) for n, x in request.items()})
    np.testing.assert_array_equal(preprocessor.encode(request)["tokens"], graph["tokens"])


def test_examples_are_encoded_as_they_are_asked_for(preprocessor):
    examples = load_labelled_text(TICKETS, **BOTH).train
    encoded = preprocessor.encoded(examples).inputs["tokens"].rows()
    asked = preprocessor.raw(examples)
    assert all(set(one) == {"subject", "body"} for one in asked)
    for row, one in zip(encoded, asked, strict=True):
        (tokens,) = preprocessor.encode(preprocessor.to_request([one]))["tokens"]
        np.testing.assert_array_equal(tokens, row)


@pytest.mark.parametrize("wanted", [",", " , ", ",,"])
def test_a_list_that_names_no_column_is_refused(wanted, tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("subject,queue\n" + "a,x\nb,y\n" * 20)
    with pytest.raises(DataError, match="names no column"):
        load_labelled_text(str(table), text_column=wanted, label_column="queue")


@pytest.mark.parametrize("count", [100, 101])
def test_of_more_than_a_hundred_labels_the_ten_likeliest_are_told(count):
    labels = [f"label {i:03}" for i in range(count)]
    made = TextClassificationPreprocessor(TextEncoder(), labels)
    row = np.arange(count, dtype=np.float32)
    row[:2] = row[-1]  # equal ones in their order, behind the first
    response = {"label": np.array([b"label 000"]), "probabilities": row[None]}
    (found,) = made.answers(response, ["a text"])
    told = found["probabilities"]
    assert (found["label"], found["probability"]) == ("label 000", count - 1)
    if count == 100:
        assert list(told) == labels
    else:
        falling = [0, 1, 100, *range(99, 92, -1)]
        assert list(told) == [labels[i] for i in falling]
        assert list(told.values()) == [100, 100, 100, *range(99, 92, -1)]
