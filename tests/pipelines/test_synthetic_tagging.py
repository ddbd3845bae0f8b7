"""Generated names and commands: the same everywhere, valid, and beyond a lexicon."""

import hashlib

import pytest

from common.errors import DataError
from models.tagging_baselines import linear_crf, most_frequent_tags
from pipelines.synthetic_tagging import synthetic_commands, synthetic_entities
from pipelines.tag_schemes import detect_scheme, spans_of
from pipelines.tagged_sources import load_tagged
from tasks.kinds.tagging.scoring import span_f1

MAKERS = {"entities": synthetic_entities, "commands": synthetic_commands}
# sha256 of the first fifty examples: another Python or machine must give the same.
DIGESTS = {"entities": "68b9d29871543781", "commands": "901f40f85bd1ee08"}


def digest(examples):
    text = "\n".join(f"{one.intent}|{one.tokens}|{one.tags}" for one in examples)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_gives_the_same_sentences_everywhere(name):
    make = MAKERS[name]
    assert digest(make(50, 0)) == DIGESTS[name]
    assert make(60, 3)[:40] == make(40, 3)
    assert make(40, 3) != make(40, 4)


@pytest.mark.parametrize("name", MAKERS)
def test_sentences_are_distinct_and_their_tags_valid(name):
    examples = MAKERS[name](800, 1)
    assert len({one.tokens for one in examples}) == len(examples) == 800
    assert detect_scheme(one.tags for one in examples) == "bio"
    for one in examples:
        assert len(one.tokens) == len(one.tags)
        assert all(one.tokens)
        for before, tag in zip(("O", *one.tags), one.tags, strict=False):
            assert tag[0] != "I" or before[2:] == tag[2:]
    kinds = {kind for one in examples for kind, *_ in spans_of(one.tags)}
    assert len(kinds) == {"entities": 4, "commands": 12}[name]
    assert len({one.intent for one in examples}) == {"entities": 1, "commands": 7}[name]


def test_a_table_for_two_is_among_the_commands():
    commands = [" ".join(one.tokens) for one in synthetic_commands(3000, 0)]
    assert any("book a table for two" in one for one in commands)
    titles = [one for one in synthetic_commands(3000, 0) if "B-song" in one.tags]
    assert any("table" in one.tokens for one in titles)


@pytest.mark.parametrize(("intents", "lexicon", "window"), [(False, 0.3, 0.97), (True, 0.55, 0.97)])
def test_context_decides_and_a_lexicon_does_not(intents, lexicon, window):
    """Even two words on either side leave something for what reads the whole sentence."""
    splits = load_tagged("synthetic:1500", intents=intents)
    train = [one.tokens for one in splits.train], [one.tags for one in splits.train]
    tokens, gold = [one.tokens for one in splits.test], [one.tags for one in splits.test]
    assert span_f1(gold, most_frequent_tags(train, tokens))[2] < lexicon
    (found,) = linear_crf(train, [tokens], str.lower, lambda token: [token[:1], token[-2:]])
    assert 0.7 < span_f1(gold, found)[2] < window


@pytest.mark.parametrize("size", [0, 9, 100_001])
def test_sizes_out_of_range(size):
    for make in MAKERS.values():
        with pytest.raises(DataError, match="synthetic"):
            make(size)
