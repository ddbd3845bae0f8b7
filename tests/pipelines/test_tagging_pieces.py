"""Long sentences in pieces, and what a tagger keeps of words that requests bring."""

from pipelines.tagged import TaggedExample
from pipelines.tagging import TaggingPreprocessing, TaggingPreprocessor
from pipelines.word_features import WordFeatures


def preprocessor(max_length):
    train = [TaggedExample(("Ann", "met", "Bob", "."), ("B-PER", "O", "B-PER", "O"))]
    return TaggingPreprocessor.adapt(TaggingPreprocessing(max_length=max_length), train)


def test_a_long_sentence_is_cut_behind_sentence_ends_in_all_its_pieces():
    tokens, tags = ("It", "rains", "a", "lot", "now", ".", "Yes") * 5, ("O",) * 35
    pieces = list(preprocessor(8).pieces(TaggedExample(tokens, tags)))
    assert [piece.tokens[-1] for piece in pieces] == [".", ".", ".", ".", "Yes"]
    assert sum((piece.tokens for piece in pieces), ()) == tokens


def test_a_span_is_cut_only_where_it_is_as_long_as_a_piece():
    tags = ("O", "O", "B-PER", "I-PER", "O", "B-ORG", "I-ORG", "I-ORG", "I-ORG", "I-ORG")
    pieces = list(preprocessor(4).pieces(TaggedExample(tuple("abcdefghij"), tags)))
    assert ["".join(piece.tokens) for piece in pieces] == ["abcd", "e", "fghi", "j"]


def test_words_of_any_length_are_numbered_and_long_ones_not_kept():
    features = WordFeatures.adapt(
        [["Ann", "met"]], vocabulary_size=9, min_count=1, slots=8, lowercase=True, digits=True
    )
    assert len(features.of("x" * 100_000).characters) == 8
    assert features.of("Ann").word != features.of("x" * 100_000).word
    assert set(features._cache) == {"Ann"}  # a server's memory does not grow with long words
