"""Text to tokens: by hand, in NumPy as in TensorFlow, and on real corpora."""

import time
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.tokens import SEPARATOR, TokenRules
from pipelines.tokens_graph import TokenRulesGraph

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ENGLISH = [
    ["I", "do", "n't", "know", "Ann", "'s", "dog", "."],
    ["They", "'re", "here", "...", "Mr.", "Lee", "paid", "3.14", "or", "1,000", "dollars", "."],
    [
        "We",
        "'ll",
        "see",
        "Mr.",
        "Lee",
        "'s",
        "third",
        "-",
        "party",
        "shop",
        ",",
        "wo",
        "n't",
        "we",
        "?",
    ],
    ["It", "'s", "a", "well", "-", "known", "case", "."],
]
WHOLE = [["don't", "touch", "Ann's", "e-mail"], ["a", "well-known", "co-op", "isn't", "here"]]
FRENCH = [["l'", "eau", "d'", "Evian"], ["qu'", "elle", "n'", "a", "pas"]]
CHINESE = [list("我在北京。"), list("他说")]
RULES = {
    "english": TokenRules.adapt(ENGLISH),
    "whole": TokenRules.adapt(WHOLE),
    "french": TokenRules.adapt(FRENCH),
    "chinese": TokenRules.adapt(CHINESE),
    "default": TokenRules(),
}
GRAPHS = {}


def cut(name, text):
    return [one.token for one in RULES[name].cut(text)]


def test_rules_are_learnt_from_what_tokens_look_like():
    english = RULES["english"]
    assert english.apostrophes == "suffix"
    assert not english.hyphens
    assert english.exceptions == ("Mr.",)
    assert set(",.") <= set(english.numbers)
    assert RULES["whole"].apostrophes == "whole"
    assert RULES["whole"].hyphens
    assert RULES["french"].apostrophes == "prefix"
    assert RULES["chinese"].characters


@pytest.mark.parametrize(("name", "text", "tokens"), [
    ("english", "I don't know Ann's dog.", "I|do|n't|know|Ann|'s|dog|."),
    ("english", "Mr. Lee paid 3.14, or 1,000!", "Mr.|Lee|paid|3.14|,|or|1,000|!"),
    ("english", "well-known... e-mail", "well|-|known|...|e|-|mail"),
    ("english", "DON\u2019T", "DO|N\u2019T"),
    ("whole", "don't e-mail Ann's", "don't|e-mail|Ann's"),
    ("french", "l'eau d'Evian", "l'|eau|d'|Evian"),
    ("chinese", "我在 Rome。", "我|在|R|o|m|e|。"),
    ("default", "see http://a.org/b?c=1, or mail a.b@c.org.", "see|http://a.org/b?c=1|,|or|mail|"
     "a.b@c.org|."),
    ("default", "@ann #tag (ok) \u00a35", "@ann|#tag|(|ok|)|\u00a3|5"),
    ("default", "東京へ go", "東|京|へ|go"),
    ("default", "", ""),
    ("default", " \t\n", ""),
])  # fmt: skip
def test_texts_are_cut_by_the_rules(name, text, tokens):
    assert cut(name, text) == (tokens.split("|") if tokens else [])


def test_given_tokens_are_cut_where_they_are_given_and_nowhere_else():
    text = SEPARATOR.join(["do", "n't stop", "", "!!"]) + SEPARATOR
    found = RULES["english"].cut(text)
    assert [(one.token, one.start, one.end) for one in found] == [
        ("do", 0, 2), ("n't stop", 3, 11), ("!!", 13, 15),
    ]  # fmt: skip


def test_offsets_count_code_points():
    text = "\U0001f600\U0001f600 Zoe\u0308 met Ann."
    found = RULES["default"].cut(text)
    assert [text[one.start : one.end] for one in found] == [one.token for one in found]
    assert found[-2][:2] == ("Ann", 12)
    broken = RULES["default"].cut(b"a \xff b")
    assert [one.start for one in broken if one.token == "b"] == [4]


PIECES = ["don't", "Ann's", "e-mail", "3.14", "1,000", "...", "http://a.b/c", "x@y.org", "@u",
          "#t", "l'eau", "Mr.", SEPARATOR, "\x02", "\x03", "\u2019", " ", "\n", "日本", "ไทย",
          "\U0001f600", "a", "-", "'", "/", "\ufffd", "\u200b"]  # fmt: skip
PARTS = st.one_of(st.sampled_from(PIECES), st.text(max_size=4))
TEXTS = st.lists(PARTS, max_size=12).map("".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(TEXTS, st.binary(max_size=12)), min_size=1, max_size=8))
def test_the_graph_cuts_as_numpy_does(texts):
    raw = [t.encode("utf-8", "replace") if isinstance(t, str) else t for t in texts]
    for name, rules in RULES.items():
        if name not in GRAPHS:
            graph = TokenRulesGraph(rules)
            spec = [tf.TensorSpec([None], tf.string)]
            GRAPHS[name] = tf.function(graph.__call__, input_signature=spec), graph
        tokens, starts, ends = (x.to_list() for x in GRAPHS[name][0](tf.constant(raw)))
        for text, *columns in zip(raw, tokens, starts, ends, strict=True):
            found = list(zip(*columns, strict=True))
            want = [(one.token.encode(), one.start, one.end) for one in rules.cut(text)]
            assert found == want, (name, text)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_every_token_is_where_it_says_and_nothing_but_space_is_between(text):
    text = text.encode("utf-8", "replace").decode("utf-8")
    for rules in RULES.values():
        last = 0
        for token, start, end in rules.cut(text):
            assert start >= last
            assert text[start:end] == token != ""
            between = text[last:start]
            assert SEPARATOR in text or not any(c.isalnum() for c in between)
            last = end


def test_rules_survive_json():
    import json

    for rules in RULES.values():
        assert TokenRules.from_dict(json.loads(json.dumps(rules.to_dict()))) == rules


@pytest.mark.parametrize(
    ("piece", "times", "tokens"),
    [
        ("The quick brown fox don't jump... 3.14 http://a.org ", 10_000, 10),
        ("a.", 100_000, 2),  # what may be the name before an @ goes on to the end
        ("b%", 100_000, 2),
    ],
)
def test_a_long_text_takes_time_in_proportion(piece, times, tokens):
    started = time.process_time()
    assert len(RULES["english"].cut(piece * times)) == tokens * times
    assert time.process_time() - started < 20


def test_a_mail_address_is_one_token_up_to_the_64_characters_of_its_name():
    assert cut("english", f"{'ab.' * 21}a@b.org")[0] == f"{'ab.' * 21}a@b.org"
    assert cut("english", f"{'ab.' * 40}a@b.org")[0] == "ab"


def rebuilt(source, between):
    """Share of the tokens of dev sentences that are found again in their joined text."""
    from pipelines.tagged_sources import load_tagged

    if not (DATA / source).is_dir():
        pytest.skip(f"{source} is not beside this repository")
    splits = load_tagged(str(DATA / source), intents=source == "atis")
    rules = TokenRules.adapt([one.tokens for one in splits.train])
    right = total = 0
    for one in splits.validation:
        found = {(a, b) for _, a, b in rules.cut(between.join(one.tokens))}
        at = 0
        for token in one.tokens:
            right += (at, at + len(token)) in found
            at += len(token) + len(between)
        total += len(one.tokens)
    return right / total


@pytest.mark.parametrize(("source", "between", "least"), [
    ("atis", " ", 1.0), ("wnut17", " ", 0.995), ("msra_ner", "", 1.0),
])  # fmt: skip
def test_tokens_of_real_corpora_are_found_again(source, between, least):
    assert rebuilt(source, between) >= least


def test_raw_english_is_cut_as_its_treebank_cuts_it():
    from pipelines.tagged_sources import load_tagged

    if not (DATA / "ud_english_ewt").is_dir():
        pytest.skip("ud_english_ewt is not beside this repository")
    splits = load_tagged(str(DATA / "ud_english_ewt"))
    rules = TokenRules.adapt([one.tokens for one in splits.train])
    right = gold = guessed = 0
    for one in splits.validation:
        if not one.text:
            continue
        want = {(a, a + len(t)) for a, t in zip(one.starts, one.tokens, strict=True)}
        found = {(a, b) for _, a, b in rules.cut(one.text)}
        right, gold, guessed = right + len(want & found), gold + len(want), guessed + len(found)
    assert 2 * right / (gold + guessed) >= 0.98
