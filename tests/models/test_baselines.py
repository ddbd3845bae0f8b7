"""The bag-of-words baseline chooses on validation and reads test once."""

from models.baselines import bag_of_words

TRAIN = (["good film", "bad film", "good plot", "bad plot"] * 3, ["pos", "neg", "pos", "neg"] * 3)


def test_the_majority_stands_beside_it():
    test = (["good", "bad", "good good"], ["pos", "neg", "pos"])
    result = bag_of_words(TRAIN, (["good end", "bad end"], ["pos", "neg"]), test)
    assert result["validation"]["accuracy"] == 1.0
    assert result["test"]["accuracy"] == 1.0
    assert result["test"]["majority_class"] in (1 / 3, 2 / 3)


def test_bigrams_are_taken_where_validation_needs_them():
    texts = ["not good", "good not", "not bad", "bad not"] * 4
    labels = ["neg", "pos", "neg", "pos"] * 4
    result = bag_of_words((texts, labels), (texts, labels))
    assert "bigrams" in result["name"]
    assert "test" not in result


def test_the_test_part_has_no_say_in_the_choice():
    # On test single words decide and bigrams mislead; on validation it is the other way round.
    texts = ["not good", "good not", "not bad", "bad not"] * 4
    labels = ["neg", "pos", "neg", "pos"] * 4
    seen = (texts, labels)
    names = {
        bag_of_words(seen, seen, test)["name"]
        for test in (None, seen, (texts, labels[::-1]), (["good"], ["neg"]), (["good"], ["pos"]))
    }
    assert len(names) == 1
