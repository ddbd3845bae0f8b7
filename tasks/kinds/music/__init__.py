"""Polyphonic music: how likely each step of a piece is, and how a piece goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from common.config import Config, number
from common.errors import ConfigError, DataError
from models.metric import Metric
from models.music_config import MusicConfig
from pipelines.music import MusicPreprocessing
from pipelines.music_notes import MusicDecoding
from pipelines.piano_roll import PianoRoll, checked_steps, chord_names
from tasks.kinds.contract import DataOptions, Overfit, Responses, Settings, Task, choices

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import numpy as np

    from pipelines.answer_files import AskedFile
    from pipelines.music import MusicPreprocessor
    from pipelines.splits import Splits
    from reports.judged import Judged
    from tasks.kinds.question import Question

SHOWN = 16  # steps of an answer in one line


@dataclass(frozen=True)
class MusicData(Config):
    """How music is read."""

    steps_per_beat: int = number(1, 1, 96, "steps of a beat, a quarter note, in MIDI files")


@dataclass(frozen=True, kw_only=True)
class Music(Task):
    """A recurrent model of the next step of a piano roll."""

    data: MusicData = MusicData()
    preprocessing: MusicPreprocessing = MusicPreprocessing()
    model: MusicConfig = MusicConfig()
    decoding: MusicDecoding = MusicDecoding()

    kind = "music"
    metrics = (Metric("nll", "min"), Metric("nll_with_first", "min", each_epoch=False))
    model_module = "models.music"
    overfit = Overfit(0.5, epochs=80, examples=4, settings=MappingProxyType({
        "dropout": 0.0, "input_dropout": 0.0, "learning_rate": 0.01, "units": 64,
    }))  # fmt: skip
    quick = MappingProxyType({"units": 64, "epochs": 5})
    answer_formats = (".mid", ".wav", ".png")
    reads_tables = False

    def check(self, settings: Settings, options: DataOptions) -> None:
        """Refuses a model that would see what it is to foretell."""
        if settings.model.bidirectional:
            raise ConfigError("music is foretold in one direction: leave --bidirectional away")

    def as_trained(self, preprocessor: MusicPreprocessor) -> Music:
        """With the steps of a beat that the model was trained on."""
        return replace(self, data=MusicData(preprocessor.per_beat))

    def load(self, options: DataOptions) -> Splits[PianoRoll]:
        """Pieces from any source of ``docs/music.md``."""
        from pipelines.music_sources import load_music

        return load_music(options.source, seed=options.seed, **self.reading(options).to_dict())

    def adapt(self, settings: Settings, train: Sequence[PianoRoll]) -> MusicPreprocessor:
        """Nothing is learnt but the length of a step."""
        from pipelines.music import MusicPreprocessor

        per_beat = train[0].per_beat if train else self.data.steps_per_beat
        return MusicPreprocessor(settings.preprocessing, settings.decoding.to_dict(), per_beat)

    def build(
        self, settings: Settings, preprocessor: MusicPreprocessor, counts: Any
    ) -> keras.Model:
        """The model, compiled."""
        from models.music import music_model

        return music_model(settings.model)

    def search_space(self, hp: keras_tuner.HyperParameters, settings: Settings) -> Settings:
        """Cell, depth, size and output; dropout and learning rate."""
        model = choices(hp, settings.model, {
            "cell": ["lstm", "gru", "simple_rnn"],
            "layers": range(1, 4),
            "units": [100, 200, 400],
            "output": ["independent", "nade"],
            "input_dropout": [0.1, 0.2, 0.4],
            "dropout": [0.3, 0.5, 0.7],
            "learning_rate": (1e-3, 1e-2),
        })  # fmt: skip
        return replace(settings, model=model)

    def after_training(
        self,
        model: keras.Model,
        settings: Settings,
        preprocessor: MusicPreprocessor,
        splits: Splits[PianoRoll],
    ) -> tuple[keras.Model, MusicPreprocessor]:
        """The weights by which notes are drawn go with the preprocessor."""
        if settings.model.output != "nade":
            return model, preprocessor
        from decoding.nade import NadeWeights

        layer = model.get_layer("log_probabilities")
        weights = NadeWeights(layer.reading.numpy(), layer.writing.numpy())
        return model, replace(preprocessor, nade=weights)

    def cores(self, model: keras.Model) -> dict[str, keras.Model]:
        """The model that scores what follows, and its steps."""
        from models.music import music_cores
        from serving.native_onnx import step_model

        found = music_cores(model)
        return {"model": found["model"], "step": step_model(found["next"])}

    def evaluate(
        self, preprocessor: MusicPreprocessor, responses: Responses, examples: Sequence[PianoRoll]
    ) -> dict[str, float]:
        """Nats a step, each given all before it in its piece."""
        from tasks.kinds.music.baseline import nll_scores

        return nll_scores(responses["log_probabilities"])

    def baseline(
        self, preprocessor: MusicPreprocessor, splits: Splits[PianoRoll]
    ) -> dict[str, Any]:
        """The next chord by the last one."""
        from tasks.kinds.music.baseline import markov_scores

        return markov_scores(splits)

    def judged(
        self,
        preprocessor: MusicPreprocessor,
        responses: Responses,
        examples: Sequence[PianoRoll],
        others: Sequence[np.ndarray] | None = None,
    ) -> Judged:
        """Each piece, with what its steps cost the model and the baseline."""
        from tasks.kinds.music.baseline import judged_pieces

        shown = [_shown(piece.steps) for piece in examples]
        return judged_pieces(shown, responses["log_probabilities"], others)

    # ---- people

    def question(
        self,
        model: keras.Model,
        preprocessor: MusicPreprocessor,
        raw: Any,
        answer: Mapping[str, Any],
        target: str,
    ) -> Question:
        """The log-probability of a step, by the notes before it."""
        from tasks.kinds.music.explaining import step_question

        return step_question(model, preprocessor, raw, answer, target)

    def format_answer(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """``nll 7.912 a step: C3 E4 G4 | ...``."""
        return f"nll {answer['nll']:.4g} a step: {_shown(checked_steps(raw, 'input'))}"

    def format_other(self, raw: Any, answer: Mapping[str, Any]) -> str:
        """The notes that go on."""
        return f"log-probability {answer['log_probability']:.1f}: {_shown(answer['notes'])}"

    def parse_input(self, text: str) -> Any:
        """A MIDI or JSON file by its name, or JSON of the steps themselves."""
        from pipelines.music_sources import one_piece

        return [list(step) for step in one_piece(text, self.data.steps_per_beat).steps]

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: MusicPreprocessor
    ) -> tuple[list[Any], list[str]]:
        """The pieces of a file."""
        from pipelines.music_sources import read_pieces

        pieces = read_pieces(path, self.reading(options).steps_per_beat)
        return preprocessor.raw(pieces), []

    def write_answers(
        self,
        preprocessor: MusicPreprocessor,
        raw: Sequence[Any],
        answers: Sequence[dict[str, Any]],
        path: Path,
        asked: AskedFile | None = None,
    ) -> list[Path]:
        """Music as MIDI, sound or a picture, an opening and what follows it; else a row a piece."""
        from pipelines.answer_files import is_answer_table
        from reports.music import write_music

        if is_answer_table(path):
            return super().write_answers(preprocessor, raw, answers, path, None)
        if len(raw) != 1:
            raise DataError(f"--out {path} takes one piece; {len(raw)} were given")
        opening, answer = checked_steps(raw[0], "input"), answers[0]
        following = checked_steps(answer.get("notes", []), "answer")
        piece = PianoRoll((*opening, *following), preprocessor.per_beat)
        if not any(piece.steps):
            raise DataError(
                f"--out {path} would hold no note; add --program generate, which goes on with a "
                "piece"
            )
        return [write_music(path, piece, len(opening) if following else 0)]

    def pictures(
        self,
        preprocessor: MusicPreprocessor,
        responses: Responses,
        examples: Sequence[PianoRoll],
        directory: Path,
    ) -> list[str]:
        """A piece with what was not expected in it, and the nats a step by place."""
        from reports.music import draw_music

        return draw_music(examples, responses["log_probabilities"], directory)


def _shown(steps: Sequence[Sequence[int]]) -> str:
    more = f" ... ({len(steps)} steps)" if len(steps) > SHOWN else ""
    return f"{chord_names(steps[:SHOWN]) or 'no step'}{more}"
