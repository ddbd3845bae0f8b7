"""Translation: a text to be written for another, by an encoder-decoder with attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config import Config, number, text
from common.errors import ConfigError
from models.metric import Metric
from models.translation_config import TranslationConfig
from pipelines.encodings import ENCODING_HELP
from pipelines.text import END, SPECIAL_TOKENS, START
from pipelines.translation import TranslationDecoding, TranslationPreprocessing
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, Task, choices
from tasks.kinds.pretrained import WORDS, check_encoder
from tasks.kinds.word_vectors import WordCounts, unless_given

if TYPE_CHECKING:
    import keras
    import keras_tuner

    from pipelines.encoded import EncodedRows
    from pipelines.pairs import TextPair
    from pipelines.splits import Splits
    from pipelines.translation import TranslationPreprocessor
    from reports.judged import Judged
    from tasks.kinds.question import Question


@dataclass(frozen=True)
class PairedText(Config):
    """How pairs of texts are read."""

    source_language: str = text("", "translate from: en for train.en, a column en, or TMX's en")
    target_language: str = text("", "translate to: de for train.de, a column de, or TMX's de")
    source_column: str = text("", "column of the source: a name, or a number from 1")
    target_column: str = text("", "column of the target: a name, or a number from 1")
    test_set: str = text("", "which parallel files to test on, such as test_2017_flickr")
    max_words: int = number(
        250, 1, 1_000_000, "training pairs with more words on a side are left out"
    )
    encoding: str = text("", ENCODING_HELP)


@dataclass(frozen=True, kw_only=True)
class Translation(Task):
    """A recurrent encoder-decoder with attention and beam search."""

    data: PairedText = PairedText()
    preprocessing: TranslationPreprocessing = TranslationPreprocessing()
    model: TranslationConfig = TranslationConfig()
    decoding: TranslationDecoding = TranslationDecoding()

    kind = "translation"
    hub = "translation"
    metrics = (
        Metric("bleu", "max"), Metric("chrf", "max"), Metric("exact", "max", proportion=True),
    )  # fmt: skip
    # BLEU takes a search over every example: epochs are chosen by the loss.
    monitor = Metric("loss", "min")
    model_module = "models.translation"
    overfit = Overfit(90.0, epochs=75, examples=12, settings=MappingProxyType({
        "dropout": 0.0, "label_smoothing": 0.0, "average": 0.0, "learning_rate": 0.005,
        "units": 64, "embedding_dim": 64,
    }))  # fmt: skip

    quick = MappingProxyType({
        "units": 32, "embedding_dim": 32, "epochs": 3, "batch_size": 16, "learning_rate": 0.005,
    })  # fmt: skip

    def load(self, options: DataOptions) -> Splits[TextPair]:
        """Pairs from any source of ``docs/translation.md``."""
        from pipelines.pair_sources import load_pairs

        return load_pairs(options.source, seed=options.seed, **self.reading(options).to_dict())

    def check(self, settings: Settings, options: DataOptions) -> None:
        """Refuses one table of embeddings for two vocabularies, and encoders that are not there."""
        check_encoder(settings.model)
        if settings.model.share_embeddings and not settings.preprocessing.shared_vocabulary:
            raise ConfigError(
                "--share-embeddings needs one vocabulary for both sides; leave "
                "--no-shared-vocabulary out, or add --no-share-embeddings"
            )

    def adapt(self, settings: Settings, train: Sequence[TextPair]) -> TranslationPreprocessor:
        """The vocabularies of the training pairs."""
        from pipelines.translation import TranslationPreprocessor

        return TranslationPreprocessor.adapt(settings.preprocessing, settings.decoding, train)

    def count(
        self, settings: Settings, preprocessor: TranslationPreprocessor, train: EncodedRows
    ) -> WordCounts:
        """What a language model knows of the source's tokens, with ``--encoder``; and a note on
        pairs that are cut."""
        source, special = preprocessor.source, len(SPECIAL_TOKENS)
        tokens = ("",) * special + source.vocabulary[special:]
        ids = train.inputs["source"].values
        inside = ids[(ids != START) & (ids != END)]
        notes = _notes_on_cut_pairs(source.max_length, train)
        if not settings.model.encoder:
            return WordCounts(np.bincount(inside, minlength=len(tokens)), notes=notes)
        levels = WORDS if source.level == "word" else (source.level,)
        found = WordCounts.of_encoder(
            settings.model, inside, tokens, source.normalise, levels=levels
        )
        return replace(found, notes=(*found.notes, *notes))

    def build(
        self, settings: Settings, preprocessor: TranslationPreprocessor, counts: WordCounts
    ) -> keras.Model:
        """Source and target so far to logits of the next token."""
        from models.translation import translation_model

        sizes = (len(side.vocabulary) for side in (preprocessor.source, preprocessor.target))
        if counts.encoder is None:
            return translation_model(settings.model, *sizes, preprocessor.is_shared)
        config = counts.sized(settings.model)
        model = translation_model(config, *sizes, preprocessor.is_shared, counts.vectors)
        table = "target_table" if config.share_embeddings else "source_table"
        return counts.begin(model, config, table=table, prefix="encoder_")

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, depth, sizes, attention, dropout, smoothing and learning rate."""
        sizes = [128, 256, 512]
        model = choices(hp, settings.model, unless_given(settings.model, {
            "cell": ["gru", "lstm", "simple_rnn"],
            "units": sizes,
            "embedding_dim": sizes,
            "layers": range(1, 3),
            "attention": ["additive", "general", "dot"],
            "input_feeding": bool,
            "dropout": [0.2, 0.3, 0.5],
            "label_smoothing": [0.0, 0.1],
            "learning_rate": (5e-4, 5e-3),
        }))  # fmt: skip
        return replace(settings, model=model)

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """The encoder, and one step of the decoder over its memory."""
        from models.translation import translation_cores

        return translation_cores(model)

    def evaluate(
        self,
        preprocessor: TranslationPreprocessor,
        responses: Responses,
        examples: Sequence[TextPair],
    ) -> dict[str, float]:
        """BLEU (sacrebleu, cased, of plain text), chrF, and the share that is right to the
        letter."""
        texts = [one.decode("utf-8") for one in responses["text"]]
        return self._metrics(preprocessor, texts, examples)

    def _metrics(
        self,
        preprocessor: TranslationPreprocessor,
        texts: Sequence[str],
        examples: Sequence[TextPair],
    ) -> dict[str, float]:
        from tasks.kinds.translation.scoring import bleu_tokens, translation_metrics

        tokens = bleu_tokens(preprocessor.target, [pair.target for pair in examples])
        return translation_metrics(texts, examples, tokens)

    def baseline(
        self, preprocessor: TranslationPreprocessor, splits: Splits[TextPair]
    ) -> dict[str, Any]:
        """Word by word: an alignment table, and a trigram model that chooses."""
        from tasks.kinds.translation.baseline import translation_baseline

        return translation_baseline(
            splits, lambda texts, part: self._metrics(preprocessor, texts, part)
        )

    def judged(
        self,
        preprocessor: TranslationPreprocessor,
        responses: Responses,
        examples: Sequence[TextPair],
        others: Sequence[str] | None = None,
    ) -> Judged:
        """Each text with its translation, and the baseline's."""
        from tasks.kinds.translation.scoring import bleu_tokens, judged_translations

        texts = [one.decode("utf-8") for one in responses["text"]]
        lengths = [len(tokens) for tokens in responses["source_tokens"]]
        tokens = bleu_tokens(preprocessor.target, [pair.target for pair in examples])
        return judged_translations(examples, texts, lengths, tokens, others)

    def pictures(
        self,
        preprocessor: TranslationPreprocessor,
        responses: Responses,
        examples: Sequence[TextPair],
        directory: Path,
    ) -> list[str]:
        """Where some translations looked, and how right they are by length."""
        from reports.translation import draw_translations

        return draw_translations(responses, [pair.target for pair in examples], directory)

    def question(
        self,
        model: keras.Model,
        preprocessor: TranslationPreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The log-probability of the translation or of a token, by the tokens of both sides."""
        from tasks.kinds.translation.explaining import token_question

        return token_question(model, preprocessor, raw, answer, target)

    def vocabularies(self, preprocessor: TranslationPreprocessor) -> dict[str, Sequence[str]]:
        """The words of the embedding."""
        return {
            "source_table": preprocessor.source.vocabulary,
            "target_table": preprocessor.target.vocabulary,
        }

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """The translation; of several the others behind it with their scores."""
        lines = [" ".join(answer["text"].split()) or "(nothing)"]
        for other in answer["hypotheses"][1:]:
            shown = " ".join(other["text"].split()) or "(nothing)"
            lines.append(f"{shown} ({other['score']:.2f})")
        return "  |  ".join(lines)

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: TranslationPreprocessor
    ) -> tuple[list[str], list[str]]:
        """Lines of a text, or the source's column of a table; a note tells of what is too long."""
        from pipelines.pair_sources import read_sources

        reading, source = self.reading(options), preprocessor.source
        texts, notes = read_sources(
            path, source_column=reading.source_column, source_language=reading.source_language,
            encoding=reading.encoding,
        )  # fmt: skip
        wider = replace(source, max_length=source.max_length + 1)
        cut = sum(len(wider.encode(text)) > source.max_length + 2 for text in texts)
        if cut:
            beginnings = "a text is" if cut == 1 else f"{cut} texts are"
            notes.append(
                f"{path}: {beginnings} longer than {source.max_length} tokens, of which only the "
                "beginning was translated; split it into sentences."
            )
        return texts, notes


def _notes_on_cut_pairs(most: int, train: EncodedRows) -> tuple[str, ...]:
    """A sentence on pairs with a side as long as may be, START and END apart."""
    sides = train.inputs["source"].lengths - 2, train.inputs["tokens"].lengths - 1
    full = int((np.maximum(*sides) >= most).sum())
    if not full:
        return ()
    pairs = "a pair of the training data fills" if full == 1 else f"{full} training pairs fill"
    return (
        f"{pairs} --max-length {most} on one side; what is longer is cut there, and no longer says "
        "what the other side says: split such pairs into sentences, or raise --max-length",
    )
