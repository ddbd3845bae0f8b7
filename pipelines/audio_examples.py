"""Recorded examples: a sound, and what is said in it or what class it is of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.audio import Sound, opened, read_sound
from pipelines.messages import Placed, name_list
from pipelines.splits import Splits, check_not_empty, content, make_splits

_BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class SoundExample(Placed):
    """One sound of a data set. A file is read each time that its samples are asked for: what is
    kept of large data sets is their features.

    Attributes:
        target: the class, or the words.
        path: of the file that holds it; "" where ``sound`` is in memory.
        start, end: the part of the file in seconds; None for the end of the file.
        memory: the sound, where there is no file.
        fields: what is known of it besides, such as its speaker, by name.
        file, line, unit: see ``Placed``: the line of a manifest, or the sound's own file.
    """

    target: str
    path: str = ""
    start: float = 0.0
    end: float | None = None
    memory: Sound | None = None
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    file: str = ""
    line: int = 0
    unit: str = "line"

    @property
    def where(self) -> str:
        """The file, with its line where that is a manifest's."""
        return super().where if self.line else self.file

    def sound(self) -> Sound:
        """Its samples.

        Raises:
            DataError: the file cannot be read; the message names a manifest's line too.
        """
        if self.memory is not None:
            return self.memory
        try:
            return read_sound(self.path, self.start, self.end)
        except DataError as error:
            if not self.line:
                raise
            raise DataError(f"{self.where}: {error}") from error

    def at(self, rate: int) -> np.ndarray:
        """Its samples at a rate: ``<float32>[n]``."""
        return self.sound().at(rate).samples

    @cached_property
    def lasting(self) -> float:
        """Seconds of it, by the header of its file.

        Raises:
            DataError: the file cannot be read; the message names a manifest's line too.
        """
        if self.memory is not None:
            return self.memory.seconds
        try:
            with opened(self.path) as file:
                whole = file.frames / file.samplerate
        except DataError as error:
            raise DataError(f"{self.where}: {error}") if self.line else error from error
        return (whole if self.end is None else self.end) - self.start

    @cached_property
    def digest(self) -> bytes:
        """What tells it from others: a hash of its file's bytes, or of its samples."""
        found = hashlib.sha256()
        if self.memory is not None:
            found.update(b"%d" % self.memory.rate)
            found.update(self.memory.samples.astype("<f4").tobytes())
            return found.digest()
        with open(self.path, "rb") as stream:
            while block := stream.read(_BLOCK):
                found.update(block)
        found.update(f"{self.start:.4f} {self.end}".encode())
        return found.digest()


def sound_splits(
    parts: Mapping[str, Sequence[SoundExample]],
    *,
    name: str,
    classes: bool,
    notes: Sequence[str] = (),
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits[SoundExample]:
    """Splits sounds; those of classes in proportion of the classes.

    Args:
        parts: examples by part name; "train" is required.
        name: a short name of the data set.
        classes: whether targets are classes; they are words otherwise.
        notes: sentences to carry on.
        seed: which examples are split off.
        validation_fraction: share of train for validation where that part is missing.
        test_fraction: share of train for test where that part is missing.

    Raises:
        DataError: no example, one class only, a class that train does not have, or too few
            examples to split.
    """
    check_not_empty(parts, name)
    if classes:
        _check_classes(parts, name)
    return make_splits(
        parts,
        key=lambda one: content(one.digest, one.target),
        strata=(lambda one: one.target) if classes else None,
        copies=lambda one: one.digest,
        name=name,
        notes=notes,
        seed=seed,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        noun="sounds",
        stratum="label",
    )


def _check_classes(parts: Mapping[str, Sequence[SoundExample]], name: str) -> None:
    known = {one.target for one in parts["train"]}
    if len(known) < 2:
        raise DataError(
            f"{name}: all training sounds are of the class {name_list(sorted(known))}; a model "
            "that tells classes apart needs two or more."
        )
    for part, examples in parts.items():
        for one in examples:
            if one.target not in known:
                raise DataError(
                    f"{one.where}: the class {one.target!r} of {part} is not in train (it has "
                    f"{name_list(sorted(known))}); correct it, or add such sounds to train."
                )


def usual_rate(examples: Sequence[Any], highest: int = 16_000) -> int:
    """The rate of most sounds, but no more than ``highest``."""
    from collections import Counter

    rates = Counter(one.sound().rate for one in examples[:50])
    return min(highest, rates.most_common(1)[0][0]) if rates else highest


def generated_count(size: int | None, default: int, fewest: int, most: int) -> int:
    """How many sounds are to be generated.

    Args:
        size: what was asked for; None for the default.
        default: where nothing was.
        fewest: that can be asked for.
        most: likewise.

    Raises:
        DataError: it is out of range.
    """
    size = default if size is None else size
    if not fewest <= size <= most:
        raise DataError(
            f"synthetic data of {size} sounds cannot be made: ask for {fewest} to {most}, as in "
            f"synthetic:{default}."
        )
    return size
