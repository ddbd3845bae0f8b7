"""What kinds that hear have in common: how sounds are found, read and asked about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from common.config import Config, number, text
from common.errors import DataError
from pipelines.audio_features import AudioPreprocessing
from tasks.kinds.contract import DataOptions, Task

if TYPE_CHECKING:
    from models.audio import Frames
    from pipelines.audio import Sound
    from pipelines.audio_examples import SoundExample
    from pipelines.audio_sources import SoundReading


@dataclass(frozen=True)
class RecordedSounds(Config):
    """How sounds are found."""

    path_column: str = text("", "column of a manifest with the paths; found by its name if absent")
    target_column: str = text("", "its column of classes or words; found by its name if absent")
    name_pattern: str = text("", "what file names say, as in {label}_{speaker}_{take}")
    test_where: str = text("", "which sounds are the test part, as in take=0-4 or speaker=theo")
    validation_where: str = text("", "which sounds are the validation part, likewise")
    longest: float = number(60.0, 0.1, 86_400.0, "seconds above which a training sound is left out")


def named(example: SoundExample, number: int) -> str:
    """How a person finds a sound again: its file and part, or its number among those of test."""
    if not example.path:
        return f"sound {number}"
    part = f" from {example.start:g} s" if example.start else ""
    return f"{example.path}{part}"


@dataclass(frozen=True, kw_only=True)
class Hearing(Task):
    """A kind whose raw inputs are sounds: paths of files, or ``{"audio", "rate"}``."""

    data: RecordedSounds = RecordedSounds()
    preprocessing: AudioPreprocessing = AudioPreprocessing()
    classes: ClassVar[bool]
    hears: ClassVar[bool] = True
    reads_tables: ClassVar[bool] = False

    def found_by(self, options: DataOptions) -> SoundReading:
        """How ``pipelines.audio_sources`` is to look for sounds."""
        from pipelines.audio_sources import SoundReading

        reading = self.reading(options)
        names = RecordedSounds.names()
        return SoundReading(self.classes, **{name: getattr(reading, name) for name in names})

    def frames(self, preprocessor: Any) -> Frames:
        """What a model has to know of the frames."""
        from models.audio import Frames

        one = preprocessor.features
        spectral = one.config.features == "log_mel"
        return Frames(one.width, one.config.stack, spectral, one.mean, one.scale)

    def parse_input(self, text: str) -> Sound:
        """A file of sound that was named."""
        from pipelines.audio import read_sound

        return read_sound(text)

    def read_inputs(
        self, path: Path, options: DataOptions, preprocessor: Any
    ) -> tuple[list[Any], list[str]]:
        """A file of sound, a folder of them, or a manifest whose targets are not read.

        Raises:
            DataError: it is none of these.
        """
        from pipelines.audio import read_sound
        from pipelines.audio_sources import is_sound, untold_sounds

        if path.is_file() and is_sound(path):
            return [read_sound(path)], []
        if path.is_dir():
            found = [one for one in sorted(path.rglob("*")) if is_sound(one)]
            if not found:
                raise DataError(f"{path} holds no sounds; give files, a folder or a manifest")
            return [read_sound(one) for one in found], []
        return [one.sound() for one in untold_sounds(path, self.found_by(options))], []
