"""Speech recognition: a sound, and what is said in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from common.config import Config
from common.errors import DataError
from models.metric import Metric
from models.speech_config import SpeechConfig
from pipelines.speech import SpeechDecoding, SpeechPreprocessing
from tasks.kinds.audio import Hearing
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, choices
from tasks.kinds.speech.fusing import SpeechJudging

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

    from pipelines.audio import Sound
    from pipelines.audio_examples import SoundExample
    from pipelines.live import Answering, Live
    from pipelines.speech import SpeechPreprocessor
    from pipelines.splits import Splits
    from reports.judged import Judged
    from tasks.kinds.question import Question


@dataclass(frozen=True, kw_only=True)
class Speech(Hearing):
    """A recurrent acoustic model with CTC."""

    preprocessing: SpeechPreprocessing = SpeechPreprocessing()
    model: SpeechConfig = SpeechConfig()
    decoding: SpeechDecoding = SpeechDecoding()
    judging: SpeechJudging = SpeechJudging()

    kind = "speech"
    hub = "automatic-speech-recognition"
    classes: ClassVar[bool] = False
    metrics = (
        Metric("cer", "min"), Metric("wer", "min"), Metric("exact", "max", proportion=True),
    )  # fmt: skip
    model_module = "models.speech"
    overfit = Overfit(0.25, epochs=50, examples=6, settings=MappingProxyType({
        "dropout": 0.0, "gain_db": 0.0, "noise_db": 200.0, "warp": 0.0, "shift": 0, "average": 0.0,
        "learning_rate": 0.01, "layers": 1,
    }))  # fmt: skip

    def load(self, options: DataOptions) -> Splits[SoundExample]:
        """Sounds with their words, from any source of ``docs/sound.md``."""
        from pipelines.audio_sources import load_sounds
        from pipelines.synthetic_speech import synthetic_morse

        return load_sounds(options.source, self.found_by(options), synthetic_morse, options.seed)

    def adapt(self, settings: Settings, train: Sequence[SoundExample]) -> SpeechPreprocessor:
        """Frames and characters of the training sounds."""
        from pipelines.speech import SpeechPreprocessor

        streaming = not settings.model.bidirectional
        beam = settings.decoding.beam
        return SpeechPreprocessor.adapt(settings.preprocessing, train, streaming, beam)

    def build(
        self, settings: Settings, preprocessor: SpeechPreprocessor, counts: None
    ) -> keras.Model:
        """The acoustic model, compiled."""
        from models.speech import speech_model

        frames, symbols = self.frames(preprocessor), len(preprocessor.symbols)
        return speech_model(settings.model, symbols, frames)

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, depth, sizes, dropout and learning rate; the direction, which decides whether the
        model streams, stays."""
        model = choices(hp, settings.model, {
            "cell": ["lstm", "gru", "simple_rnn"],
            "layers": range(1, 4),
            "units": [64, 96, 128, 192],
            "embedding_dim": [32, 64, 128],
            "dropout": [0.0, 0.2, 0.4],
            "warp": [0.0, 0.1],
            "learning_rate": (5e-4, 1e-2),
        })  # fmt: skip
        return replace(settings, model=model)

    def after_epoch(
        self, model: keras.Model, preprocessor: SpeechPreprocessor, validation: tf.data.Dataset
    ) -> dict[str, float]:
        """The error rates of greedy search on validation."""
        from tasks.kinds.speech.scoring import greedy_rates

        return greedy_rates(model, preprocessor, validation)

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """``frames`` and ``inside`` to ``{"log_probabilities": <float32>[batch, steps, symbols]}``,
        with the states of a model that reads forwards alone."""
        import keras

        from models.speech import streaming_core

        config = recurrent_config(model)
        if config.bidirectional:
            return {"model": keras.Model(model.input, model.output)}
        return {"model": streaming_core(model, config)}

    def evaluate(
        self,
        preprocessor: SpeechPreprocessor,
        responses: Responses,
        examples: Sequence[SoundExample],
    ) -> dict[str, float]:
        """Character and word error rates, and the share of sounds without an error."""
        from tasks.kinds.speech.scoring import error_rates

        said = [preprocessor.said(one) for one in examples]
        return error_rates(said, [text.decode("utf-8") for text in responses["text"]])

    def judge_otherwise(
        self,
        preprocessor: SpeechPreprocessor,
        model: keras.Model,
        splits: Splits[SoundExample],
        judging: SpeechJudging,
        tell: Callable[[str], None],
    ) -> dict[str, dict[str, Any]]:
        """With a language model or a list of words in the search."""
        from tasks.kinds.speech.fusing import fused_scores

        if not (judging.language or judging.lexicon):
            return {}
        return {"fused": fused_scores(preprocessor, model, splits, judging, tell)}

    def baseline(
        self, preprocessor: SpeechPreprocessor, splits: Splits[SoundExample]
    ) -> dict[str, Any]:
        """The commonest text, or a decoder of Morse code by threshold and timing."""
        from tasks.kinds.speech.baseline import speech_baseline

        return speech_baseline(preprocessor, splits, self.metric)

    def judged(
        self,
        preprocessor: SpeechPreprocessor,
        responses: Responses,
        examples: Sequence[SoundExample],
        others: Sequence[str] | None = None,
    ) -> Judged:
        """What was said beside what was heard."""
        from tasks.kinds.speech.scoring import judged_sounds

        heard = [text.decode("utf-8") for text in responses["text"]]
        return judged_sounds(preprocessor, examples, heard, others)

    def pictures(
        self,
        preprocessor: SpeechPreprocessor,
        responses: Responses,
        examples: Sequence[SoundExample],
        directory: Path,
    ) -> list[str]:
        """Spectrograms with what was heard where."""
        from reports.speech import draw_speech

        return draw_speech(preprocessor, responses, examples, directory)

    def parse_input(self, text: str) -> Sound:
        """A file of sound that was named.

        Raises:
            DataError: it is no sound, or lasts too long for one answer.
        """
        from pipelines.speech_text import MOST_SECONDS

        sound = super().parse_input(text)
        if sound.seconds > MOST_SECONDS:
            raise DataError(
                f"{text} lasts {sound.seconds:,.0f} seconds; ask with --file {text}, which cuts it "
                "where it is quiet"
            )
        return sound

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: SpeechPreprocessor
    ) -> tuple[list[Any], list[str]]:
        """A file of sound, in pieces if it is long; a folder of files, or a manifest."""
        from pipelines.audio_pieces import pieces_of
        from pipelines.audio_sources import is_sound

        if not (path.is_file() and is_sound(path)):
            return super().read_inputs(path, options, preprocessor)
        pieces = [sound for _, sound in pieces_of(path)]
        notes = [f"{path} was cut into {len(pieces)} pieces where it is quiet."]
        return pieces, notes if len(pieces) > 1 else []

    def live(
        self, preprocessor: SpeechPreprocessor, model: Answering, decoding: Config
    ) -> Live | None:
        """Writes while it listens, if the model reads forwards alone."""
        from pipelines.speech_live import Listener

        if not preprocessor.streaming:
            raise DataError(
                "this model reads both ways, so it answers whole sounds alone: leave --stream "
                "away, or train with --no-bidirectional"
            )
        return Listener(preprocessor, model)

    def question(
        self,
        model: keras.Model,
        preprocessor: SpeechPreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The log-probability of what was heard, by bands and frames."""
        from tasks.kinds.speech.explaining import speech_question

        return speech_question(model, preprocessor, raw, answer, target)

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``text``, and the file."""
        name = getattr(raw, "name", "")
        return f"{name}: {answer['text']}" if name else answer["text"] or "(nothing)"


def recurrent_config(model: keras.Model) -> SpeechConfig:
    """Cell, layers, units and direction of a trained model, by its layers."""
    import keras

    cells = {keras.layers.LSTM: "lstm", keras.layers.GRU: "gru",
             keras.layers.SimpleRNN: "simple_rnn"}  # fmt: skip
    found = [one for one in model.layers if type(one) in cells]
    if not found:
        return SpeechConfig()
    cell = cells[type(found[0])]
    return SpeechConfig(
        cell=cell, layers=len(found), units=found[0].units, bidirectional=False, dropout=(
            0.5 if any(one.name == "dropout_1" for one in model.layers) else 0.0
        ),
    )  # fmt: skip
