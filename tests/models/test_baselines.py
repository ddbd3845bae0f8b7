"""The text baseline chooses features and classifier on validation and reads test once."""

import pytest
from scipy.sparse import csr_matrix

from models.baselines import LabelMeans, linear_text_baseline
from models.label_metrics import label_scores

TRAIN = (["good film", "bad film", "good plot", "bad plot"] * 3, ["pos", "neg", "pos", "neg"] * 3)
# One clause without spaces each, none of which comes again: for a word pattern all are unknown.
CLAUSES = {
    "Chinese": (["房间很{}好", "服务不好{}", "早餐真{}好吃", "前台不{}好"], "一二三四"),
    "Japanese": (["部屋は{}良いです", "部屋は{}悪い", "朝食も{}良い", "食事は悪い{}"], "あいうえ"),
    "Thai": (["ห้อง{}ดีมาก", "ห้อง{}แย่", "อาหาร{}ดี", "อาหารแย่{}"], "กขคง"),
    "Khmer": (["បន្ទប់{}ល្អ", "បន្ទប់{}អាក្រក់", "ម្ហូប{}ល្អ", "ម្ហូបអាក្រក់{}"], "កខគឃ"),
}  # fmt: skip


def test_the_majority_stands_beside_it():
    test = (["good", "bad", "good good"], ["pos", "neg", "pos"])
    result = linear_text_baseline(TRAIN, (["good end", "bad end"], ["pos", "neg"]), test)
    assert result["validation"]["accuracy"] == 1.0
    assert result["test"]["accuracy"] == 1.0
    assert result["test"]["majority_class"] in (1 / 3, 2 / 3)


def test_without_refit_validation_is_not_learnt_from():
    seen = (["good"] * 6 + ["bad"] * 3, ["pos"] * 6 + ["neg"] * 3)
    other, test = (["fine"] * 4, ["neg"] * 4), (["fine", "good"], ["neg", "pos"])
    assert linear_text_baseline(seen, other, test)["test"]["accuracy"] == 1.0
    # An unknown word has the more frequent label.
    assert linear_text_baseline(seen, other, test, refit=False)["test"]["accuracy"] == 0.5


def test_ties_go_to_the_simplest():
    result = linear_text_baseline(TRAIN, TRAIN)
    assert result["name"] == "TF-IDF of unigrams + logistic regression, C=1"


def test_bigrams_are_taken_where_validation_needs_them():
    texts = ["not good", "good not", "not bad", "bad not"] * 4
    labels = ["neg", "pos", "neg", "pos"] * 4
    result = linear_text_baseline((texts, labels), (texts, labels))
    assert "bigrams" in result["name"]
    assert "test" not in result


@pytest.mark.parametrize("script", CLAUSES)
def test_scripts_without_spaces_are_read_by_characters(script):
    patterns, fillers = CLAUSES[script]
    rows = [(p.format(f), str(i % 2)) for f in fillers for i, p in enumerate(patterns)]
    train, validation, test = rows[:8], rows[8:12], rows[12:]
    result = linear_text_baseline(
        *(tuple(zip(*part, strict=True)) for part in (train, validation, test))
    )
    assert result["test"]["accuracy"] >= 3 / 4, result


@pytest.mark.parametrize("texts", [["。", "!"] * 4, ["", "a"] * 4, ["好", "坏"] * 4])
def test_texts_without_a_word_have_a_baseline(texts):
    labels = ["neg", "pos"] * 4
    accuracy = linear_text_baseline((texts, labels), (texts, labels))["validation"]["accuracy"]
    assert accuracy == 1.0


def test_the_test_part_has_no_say_in_the_choice():
    # On test single words decide and bigrams mislead; on validation it is the other way round.
    texts = ["not good", "good not", "not bad", "bad not"] * 4
    labels = ["neg", "pos", "neg", "pos"] * 4
    seen = (texts, labels)
    names = {
        linear_text_baseline(seen, seen, test)["name"]
        for test in (None, seen, (texts, labels[::-1]), (["good"], ["neg"]), (["good"], ["pos"]))
    }
    assert len(names) == 1


def test_a_metric_that_counts_labels_alike_may_balance_the_classes():
    # "odd" is rare and shares its words; unbalanced, the classifier never answers it.
    texts = ["plain word"] * 40 + ["plain word odd"] * 4
    labels = ["usual"] * 38 + ["rare"] * 2 + ["rare"] * 2 + ["usual"] * 2
    seen = (texts, labels)
    usual = linear_text_baseline(seen, seen, seen)
    counted = linear_text_baseline(seen, seen, seen, metric="macro_f1")
    assert "balanced" not in usual["name"]
    assert counted["name"].endswith(", classes balanced")
    assert counted["test"]["macro_f1"] > usual["test"]["macro_f1"]
    assert set(usual["validation"]) == {"accuracy", "macro_f1"}
    assert set(usual["test"]) == {"accuracy", "macro_f1", "majority_class"}


def test_scores_of_labels_by_hand():
    # F1 of a is 2 * 2 / (2 + 3), of b 2 * 1 / (2 + 1).
    scores = label_scores(["a", "a", "a", "b"], ["a", "a", "b", "b"])
    assert scores == pytest.approx({"accuracy": 0.75, "macro_f1": (0.8 + 2 / 3) / 2})
    # A label that is guessed and never true counts too, with an F1 of 0.
    assert label_scores(["a", "a"], ["a", "c"])["macro_f1"] == pytest.approx((2 / 3) / 2)


def test_of_many_labels_the_nearest_mean_by_hand(monkeypatch):
    rows = csr_matrix([[1.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    means = LabelMeans().fit(rows, ["b", "b", "a"])
    # Means (0, 0, 3) of a, (1, 1, 0) of b: the cosine of (1, 0, 0.5) is greater with b.
    assert means.predict(csr_matrix([[1.0, 0.0, 0.5], [0.0, 0.1, 0.2]])).tolist() == ["b", "a"]
    monkeypatch.setattr("models.baselines.MANY_LABELS", 1)
    part = (["good film", "bad film"] * 4, ["p", "n"] * 4)
    found = linear_text_baseline(part, part, part)
    assert found["name"] == "TF-IDF of unigrams + the nearest mean of a label"
    assert found["test"]["accuracy"] == 1
