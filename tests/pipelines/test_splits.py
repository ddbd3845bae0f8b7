"""The splitting rule by hand, fixed for good, and its properties for examples of any kind."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.splits import content, fingerprint, make_splits, split_off
from pipelines.text_examples import TextExample, labelled_splits, text_fields, text_key


@dataclass(frozen=True)
class Sentence:
    tokens: tuple[str, ...]
    tags: tuple[str, ...]


def sentence_key(one):
    return content(one.tokens, one.tags)


def sentences(count):
    return [
        Sentence((f"word{number}", "runs"), ("NOUN", "VERB" if number % 3 else "AUX"))
        for number in range(count)
    ]


def texts(**sizes):
    return [TextExample(f"{label}{n}", label) for label, size in sizes.items() for n in range(size)]


def split_texts(examples, count, seed=0):
    return split_off(examples, count, key=text_key, strata=lambda one: one.label, seed=seed)


def counts(splits):
    return len(splits.train), len(splits.validation), len(splits.test)


# ---- labelled texts: what earlier versions have written must stay


def sixty():
    return [
        TextExample(f"text {n} é🙂", "abc"[n % 3] if n % 7 else "a", "a.csv", n) for n in range(60)
    ]


def numbers(examples):
    return [int(example.text.split()[1]) for example in examples]


def test_fingerprint_and_choice_are_those_of_version_0_1_0():
    # Computed by the version before splits were of any example; runs compare the fingerprint.
    splits = labelled_splits({"train": sixty()}, name="fixed", seed=5)
    assert splits.fingerprint == "30a972a57b07a30f331bea8c7a82c9b398445beaeeed060930cd3c4d40e41103"
    assert numbers(splits.validation) == [0, 1, 3, 25, 50, 56]
    assert numbers(splits.test) == [10, 11, 20, 39, 51, 55]
    assert splits.notes == [
        f"There is no {part} part: 6 of 60 training examples were split off for it (stratified by "
        "label, seed 5)."
        for part in ("test", "validation")
    ]
    splits = labelled_splits({"train": sixty()[:30], "test": sixty()[28:40]}, name="fixed")
    assert splits.fingerprint == "91681f0b6138a61d8954b6dac517e0582314b79c2e019a6143838afe88817f7e"
    assert numbers(splits.validation) == [8, 13, 24]
    assert splits.notes[1] == (
        "2 of 12 test texts occur in train too; they were kept, so the test score may flatter."
    )


def test_fingerprint_of_a_few_texts_is_fixed():
    few = [("A fine film.", "good"), ("tief & schön", "gut"), ("Привет 🙂", "good")]
    few = [TextExample(*pair) for pair in few]
    found = fingerprint(few, [], [TextExample("x", "")], fields=text_fields)
    assert found == "404865f76b73ee5199550e59c7f31ccb0441ae26934ec38bb3248bcc32a619af"


def test_shares_worked_by_hand():
    # 105 examples: test takes round(10.5) = 11, validation 11 of all. By label 10.476 a:100 and
    # 0.524 b:5: the floors 10 and 0, the eleventh to b, whose remainder is larger. Then of the
    # 94 left (90 a, 4 b): 10.53 and 0.47, so 10 + 0 and the eleventh to a.
    splits = labelled_splits({"train": texts(a=100, b=5)}, name="hand")
    assert Counter(e.label for e in splits.test) == {"a": 10, "b": 1}
    assert Counter(e.label for e in splits.validation) == {"a": 11}
    assert Counter(e.label for e in splits.train) == {"a": 79, "b": 4}


def test_only_missing_parts_are_split_off():
    test = texts(a=3, b=3)
    splits = labelled_splits({"train": texts(a=50, b=50), "test": test}, name="given test")
    assert counts(splits) == (90, 10, 6)
    assert splits.test == test
    splits = labelled_splits({"train": texts(a=50, b=50), "validation": test}, name="given")
    assert counts(splits) == (90, 6, 10)


def test_every_label_stays_in_train():
    rest, taken = split_texts(texts(a=2, b=1, c=1), 3)
    assert Counter(e.label for e in rest) == {"a": 1, "b": 1, "c": 1}
    assert len(taken) == 1


def test_choice_depends_on_content_and_seed_not_on_order():
    ordered = texts(a=60, b=40)
    shuffled = random.Random(1).sample(ordered, len(ordered))
    chosen = set(split_texts(ordered, 10, seed=3)[1])
    assert set(split_texts(shuffled, 10, seed=3)[1]) == chosen
    assert set(split_texts(ordered, 10, seed=4)[1]) != chosen
    # Fixed for good: another Python or machine must split the same way.
    assert sorted(e.text for e in split_texts(texts(a=20), 3)[1]) == ["a2", "a6", "a7"]


# ---- examples of another kind


def test_sentences_are_split_without_strata():
    splits = make_splits({"train": sentences(50)}, key=sentence_key, name="sentences", seed=2)
    assert counts(splits) == (40, 5, 5)
    assert splits.notes[0] == (
        "There is no test part: 5 of 50 training examples were split off for it (seed 2)."
    )
    again = make_splits({"train": sentences(50)}, key=sentence_key, name="other", seed=2)
    assert again.fingerprint == splits.fingerprint
    other = make_splits({"train": sentences(50)}, key=sentence_key, name="sentences", seed=3)
    assert other.fingerprint != splits.fingerprint


def test_sentences_that_occur_again_are_counted():
    parts = {"train": sentences(30), "test": [*sentences(2), Sentence(("no",), ("DET",))]}
    splits = make_splits(parts, key=sentence_key, name="sentences", noun="sentences")
    assert splits.notes[1].startswith("2 of 3 test sentences occur in train too")
    by_tokens = make_splits(
        {"train": sentences(30), "test": [Sentence(("word1", "runs"), ("X", "X"))]},
        key=sentence_key,
        copies=lambda one: content(one.tokens),
        name="sentences",
    )
    assert any(note.startswith("1 of 1 test examples") for note in by_tokens.notes)


def test_pairs_of_texts_keep_the_proportions_of_their_strata():
    pairs = [(f"source {n}", f"target {n}", "de" if n % 4 else "fr") for n in range(200)]
    splits = make_splits(
        {"train": pairs}, key=lambda pair: content(*pair), strata=lambda pair: pair[2], name="pairs"
    )
    for part in (splits.validation, splits.test):
        assert Counter(pair[2] for pair in part) == {"de": 15, "fr": 5}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("ab", "c"), ("a", "bc")),
        ((["a"], ["b"]), (["a", "b"], [])),
        ((["a", "b"],), (["a"], "b")),
        (("[", "]"), ([],)),
        (("1:a",), ("a",)),
    ],
)
def test_content_keeps_values_apart(one, two):
    assert content(*one) != content(*two)


def test_fingerprint_keeps_examples_and_parts_apart():
    def of(*parts):
        return fingerprint(*parts, fields=lambda one: (one,))

    assert of([b"ab", b"c"]) != of([b"a", b"bc"])
    assert of([b"a"], []) != of([], [b"a"])


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ({"train": []}, {}, "no example is left in the train part"),
        ({"train": sentences(9), "test": []}, {}, "no example is left in the test part"),
        ({"test": sentences(9)}, {}, "the parts are test; give train"),
        ({"train": sentences(9), "dev": sentences(2)}, {}, "the parts are train, dev"),
        ({"train": sentences(1)}, {}, "1 example is too few to split a test part off"),
        ({"train": sentences(9)}, {"test_fraction": 1.5}, "test_fraction is 1.5"),
    ],
)
def test_bad_parts(parts, options, message):
    with pytest.raises(DataError, match=message):
        make_splits(parts, key=sentence_key, name="sentences", **options)


# ---- properties

numbered = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from("abc")), min_size=30, max_size=120
)


def pair_key(pair):
    return content(str(pair[0]), pair[1])


def of_pairs(pairs, seed, strata=None):
    return make_splits({"train": pairs}, key=pair_key, strata=strata, name="pairs", seed=seed)


@settings(deadline=None)
@given(pairs=numbered, seed=st.integers(-5, 5), stratified=st.booleans())
def test_parts_are_disjoint_and_complete(pairs, seed, stratified):
    tagged = [(*pair, place) for place, pair in enumerate(pairs)]
    splits = of_pairs(tagged, seed, (lambda pair: pair[1]) if stratified else None)
    everything = [*splits.train, *splits.validation, *splits.test]
    assert sorted(pair[2] for pair in everything) == list(range(len(pairs)))
    for part in (splits.train, splits.validation, splits.test):
        assert [pair[2] for pair in part] == sorted(pair[2] for pair in part)


@settings(deadline=None)
@given(pairs=numbered, seed=st.integers(0, 5), stratified=st.booleans(), data=st.data())
def test_the_order_of_rows_does_not_matter(pairs, seed, stratified, data):
    strata = (lambda pair: pair[1]) if stratified else None
    shuffled = data.draw(st.permutations(pairs))
    one, two = of_pairs(pairs, seed, strata), of_pairs(shuffled, seed, strata)
    for part in ("train", "validation", "test"):
        assert Counter(getattr(one, part)) == Counter(getattr(two, part))


@settings(deadline=None)
@given(pairs=numbered, count=st.integers(0, 40), copies=st.integers(2, 3), seed=st.integers(0, 5))
def test_copies_stay_together_but_for_one_at_the_border_of_each_stratum(pairs, count, copies, seed):
    pairs = sorted(set(pairs)) * copies
    rest, taken = split_off(pairs, count, key=pair_key, strata=lambda pair: pair[1], seed=seed)
    torn = Counter(pair[1] for pair in set(rest) & set(taken))
    assert all(number <= 1 for number in torn.values())


@settings(deadline=None)
@given(pairs=numbered, share=st.integers(1, 50), seed=st.integers(0, 5))
def test_strata_are_proportional(pairs, share, seed):
    count = len(pairs) * share // 100
    rest, taken = split_off(pairs, count, key=pair_key, strata=lambda pair: pair[1], seed=seed)
    sizes, found = Counter(pair[1] for pair in pairs), Counter(pair[1] for pair in taken)
    left = Counter(pair[1] for pair in rest)
    for stratum, size in sizes.items():
        assert left[stratum] >= 1
        # Largest remainders give the share rounded up or down; one stays where a stratum is tiny,
        # and what it does not give others give.
        assert abs(found[stratum] - count * size / len(pairs)) < 1 + len(sizes)
        if min(sizes.values()) > 2:
            assert abs(found[stratum] - count * size / len(pairs)) < 1
    assert len(taken) <= count
