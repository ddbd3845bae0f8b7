"""Labels before a training: their counts, those that may be one, and what validation can tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasks
from tasks.kinds.contract import DataOptions
from tasks.kinds.label_overview import label_overview, near_twins
from tasks.stages.console import load_noted

CASE, LETTER = "in case alone", "by a letter"
FORM = "in case, spaces, marks or the width of letters alone"


def test_few_labels_by_hand():
    lines = label_overview(["b"] * 3 + ["a"] * 1200, ["a"] * 90 + ["b"] * 10)
    # 1.96 * sqrt(2 * 0.9 * 0.1 / 100) = 0.0832
    assert lines == [
        "2 labels in train (validation): a 1,200 (90), b 3 (10)",
        "100 validation examples: accuracies near 90% that differ by less than 8.3 points cannot "
        "be told apart (95 %); b has 10 of them: each is 10 points of its recall",
    ]


def test_of_many_labels_the_first_are_shown():
    train = [f"label {i}" for i in range(40) for _ in range(100 - i)]
    lines = label_overview(train, ["label 0"] * 5)
    assert lines[0].startswith("40 labels in train (validation): label 0 100 (5), label 1 99 (0), ")
    assert lines[0].endswith(", label 9 91 (0), and 30 more of 90 to 61")
    assert lines[-1].endswith("; label 1 has none of them")
    assert label_overview(["a"], ["a"])[-1].endswith(
        "; a has 1 of them: each is 100 points of its recall"
    )


@pytest.mark.parametrize(("one", "other", "how"), [
    ("Billing", "billing", CASE),
    ("e-mail", "E Mail", FORM),
    ("\uff21\uff22", "AB", FORM),
    ("up  date", "up date", FORM),
    ("refund", "refunds", LETTER),
    ("delivery", "delivrey", LETTER),
    ("Delivery", "delivary", LETTER),
    ("tech", "teck", None),  # too short to be sure
    ("class10", "class11", None),
    ("level2b", "level12b", None),
    ("+", "-", None),
    ("positive", "negative", None),
    ("abcdefg", "bcdefgx", None),
])  # fmt: skip
def test_near_twins(one, other, how):
    wanted = [] if how is None else [(*sorted((one, other)), how)]
    assert near_twins([one, other, "nothing alike"]) == wanted


@given(st.lists(st.text(max_size=10), max_size=12))
def test_any_labels_have_an_overview(labels):
    lines = label_overview(labels, labels[::2])
    assert f"{len(set(labels))} labels in train" in lines[0]
    for one, other, _ in near_twins(labels):
        assert one != other


def test_twins_are_noted_with_their_counts_and_many_are_counted():
    train = ["Billing"] * 7 + ["billing"] * 2
    (note,) = [line for line in label_overview(train, train) if line.startswith("note: ")]
    assert "the labels 'Billing' (7) and 'billing' (2) differ in case alone" in note
    train = [case(word) for word in ("one", "two", "three", "four", "five") for case in
             (str.lower, str.upper)]  # fmt: skip
    notes = [line for line in label_overview(train, train) if line.startswith("note: ")]
    assert len(notes) == 4
    assert notes[-1] == "note: 2 more pairs of labels are as much alike"


@pytest.mark.parametrize("name", ["classify", "intent", "keyword", "forecast"])
def test_they_are_told_when_a_training_starts(name):
    told = []
    size = {"keyword": 64, "forecast": 1200}.get(name, 200)
    load_noted(tasks.get(name), DataOptions(f"synthetic:{size}"), told.append)
    assert any("labels in train" in line for line in told) == (name != "forecast")
