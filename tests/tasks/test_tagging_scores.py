"""Scores of tags, spans and intents by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from models.tagging_baselines import linear_intents, most_frequent_tags
from pipelines.tagged import TaggedExample
from pipelines.tagging import TaggingPreprocessing, TaggingPreprocessor
from reports.tagging import f1_by_kind
from tasks.kinds.calibration import calibration_error, doubted_loss, fitted_temperature
from tasks.kinds.intent.judging import frame_scores
from tasks.kinds.tagging.adjusting import Scored, with_offset, with_temperature
from tasks.kinds.tagging.scoring import span_f1, tag_metrics
from tasks.kinds.tagging.showing import marked_line

GOLD = [["B-P", "I-P", "O", "B-L"], ["O", "B-P"]]
GUESS = [["B-P", "I-P", "O", "B-P"], ["B-P", "I-P"]]
TOKENS = [["Ann", "Lee", "in", "Rome"], ["hi", "Bob"]]


def test_span_scores_by_hand():
    """Right: Ann Lee. Guessed besides: Rome as P, and "hi Bob" in place of "Bob"."""
    precision, recall, f1 = span_f1(GOLD, GUESS)
    assert (precision, recall) == (1 / 3, 1 / 3)
    assert f1 == pytest.approx(1 / 3)
    found = tag_metrics(GOLD, GUESS, TOKENS, True, lambda token: token != "Rome")
    assert found["accuracy"] == 3 / 6
    assert found["unknown_accuracy"] == 0
    assert found["f1"] == pytest.approx(1 / 3)
    by_kind = f1_by_kind(GOLD, GUESS, True)
    assert by_kind["P"] == pytest.approx((2 / 5, 2))
    assert by_kind["L"] == (0, 1)


def test_plain_tags_are_scored_by_token():
    found = tag_metrics([["N", "V"]], [["N", "N"]], [["a", "b"]], False, lambda token: True)
    assert found == dict.fromkeys(("accuracy", "f1", "precision", "recall"), 0.5)


def test_nothing_guessed_and_nothing_there():
    assert span_f1([["O"]], [["O"]]) == (0, 0, 0)
    assert span_f1([], []) == (0, 0, 0)


def test_frames_are_right_as_a_whole_only():
    examples = [
        TaggedExample(("a", "b"), ("O", "B-x"), "go"),
        TaggedExample(("a",), ("O",), "stop"),
        TaggedExample(("c",), ("B-x",), "go"),
    ]
    found = frame_scores(examples, ["go", "go", "go"], [["O", "B-x"], ["O"], ["O"]])
    assert found["intent_accuracy"] == 2 / 3
    assert found["frame_accuracy"] == 1 / 3
    assert found["slot_f1"] == pytest.approx(2 / 3)


def test_calibration_error_by_hand():
    """Two bins: 0.95 promised and all right; 0.55 promised and half right."""
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    error = calibration_error(confidence, [True, True, True, False])
    assert error == pytest.approx(0.5 * 0.05 + 0.5 * 0.05)
    assert calibration_error(np.array([1.0]), [False]) == 1


class Logits:
    """A model of intents that is too sure of itself by a factor."""

    def __init__(self, factor):
        rng = np.random.default_rng(0)
        self.true = rng.normal(size=(4000, 3))
        shares = np.exp(self.true) / np.exp(self.true).sum(1, keepdims=True)
        self.labels = np.array([rng.choice(3, p=row) for row in shares])
        self.factor = factor

    def predict_on_batch(self, _):
        return {"intents": (self.factor * self.true).astype(np.float32)}


@pytest.mark.parametrize("factor", [0.5, 1, 4])
def test_the_temperature_undoes_what_makes_a_model_too_sure(factor):
    model = Logits(factor)
    labels = model.labels.copy()
    labels[:100] = -1  # which training does not have
    assert fitted_temperature(model, [({}, {"intents": labels})], "intents") == pytest.approx(
        factor, rel=0.1
    )
    assert fitted_temperature(model, [({}, {"intents": np.full(4000, -1)})], "intents") == 1


def test_labels_that_are_all_answered_right_leave_a_doubt():
    logits = 3 * np.eye(2, dtype=np.float32)[np.arange(98) % 2]
    model = SimpleNamespace(predict_on_batch=lambda _: {"intents": logits})
    found = fitted_temperature(model, [({}, {"intents": np.arange(98) % 2})], "intents")
    # 99 of 100 is what 98 right answers promise: log 99 between the two, where the model has 3.
    assert found == pytest.approx(3 / np.log(99), rel=1e-3)


def test_answers_are_doubted_as_platt_does():
    """Two right and one wrong: 3 in 4 and 1 in 3 are wanted of them."""
    by_hand = -(2 * (0.75 * np.log(0.9) + 0.25 * np.log(0.1))
                + np.log(0.6) / 3 + np.log(0.4) * 2 / 3) / 3  # fmt: skip
    found = doubted_loss(np.array([0.9, 0.9, 0.6]), np.array([True, True, False]))
    assert found == pytest.approx(by_hand)
    assert np.isfinite(doubted_loss(np.array([1.0, 0.0]), np.array([False, True])))


def adjustable(scheme="bio"):
    rows = [TaggedExample(("a", "b"), ("B-P", "O") if scheme else ("X", "Y"))]
    return TaggingPreprocessor.adapt(TaggingPreprocessing(scheme=scheme or "bio"), rows)


def test_spans_are_answered_where_f1_is_best():
    """Spans lie one below O where they are right, two where they are wrong, but for one."""
    preprocessor = adjustable()
    assert preprocessor.tags.names == ("O", "B-P")
    right = np.array([[1, 1, 1, 0, 0, 0]])
    emissions = np.zeros((1, 6, 2), np.float32)
    emissions[0, :, 1] = [-1.2, -1.2, -1.2, -2.2, -2.2, -1.2]
    batches = [Scored(emissions, np.array([6]), right)]
    found = with_offset(preprocessor, batches)
    assert found.outside_offset == 1.5  # F1 6 / 7 in place of 0
    assert found.best_tags(emissions, np.array([6])).tolist() == [[1, 1, 1, 0, 0, 1]]
    # Probabilities are those of the scores as they are.
    shares = found.tag_shares(emissions, np.array([6]))
    assert shares[0, 0, 1] == pytest.approx(1 / (1 + np.exp(1.2)))
    plain = adjustable("")
    assert with_offset(plain, batches) is plain


def test_probabilities_of_tags_are_right_as_often_as_they_say():
    preprocessor = adjustable()
    emissions = np.zeros((1, 100, 2), np.float32)
    emissions[0, :, 0] = 8
    tags = np.zeros((1, 100), int)
    tags[0, :20] = 1
    tags[0, 99:] = -1  # behind the end
    found = with_temperature(preprocessor, [Scored(emissions, np.array([99]), tags)])
    share = found.tag_shares(emissions, np.array([99]))[0, 0, 0]
    assert share == pytest.approx(0.8, abs=0.02)
    nothing = Scored(np.zeros((0, 0, 2), np.float32), np.zeros(0, int), np.zeros((0, 0), int))
    assert with_temperature(preprocessor, [nothing]) is preprocessor


def test_the_most_frequent_tag_of_each_word():
    train = [["a", "b"], ["a"], ["a"], ["c"]], [["X", "Y"], ["Z"], ["Z"], ["Y"]]
    assert most_frequent_tags(train, [["a", "b", "new"]]) == [["Z", "Y", "Y"]]


def test_linear_intents_know_pairs_of_words():
    train = [["not", "good"], ["good"], ["bad"], ["not", "bad"]] * 3
    labels = ["no", "yes", "no", "yes"] * 3
    assert linear_intents((train, labels), [[["not", "good"], ["good"]]]) == [["no", "yes"]]
    assert linear_intents((train[:1], ["no"]), [[["x"]]]) == [["no"]]


def test_lines_that_people_read():
    answer = {"tokens": ["Ann", "Lee", "met", "Bob", "."], "tags": ["B-P", "I-P", "O", "B-P", "O"],
              "starts": [0, 4, 8, 12, 15], "ends": [3, 7, 11, 15, 16]}  # fmt: skip
    spans = [{"start": 0, "end": 7, "label": "P"}, {"start": 12, "end": 15, "label": "P"}]
    assert marked_line({**answer, "spans": spans}) == "[Ann Lee P] met [Bob P]."
    assert marked_line({**answer, "spans": []}) == "Ann Lee met Bob."
    assert marked_line({"tokens": ["a\nb"], "tags": ["X"]}) == "a b/X"
    assert marked_line({"tokens": [], "tags": [], "spans": []}) == "(no token)"
