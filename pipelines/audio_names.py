"""What file names say: a pattern that reads them, and conditions on what it read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import DataError
from pipelines.audio_examples import SoundExample

LABEL = "label"


class NamePattern:
    """``{label}_{speaker}_{take}`` reads ``7_jackson_32.wav``.

    A name in braces stands for anything that does not hold what comes after it; one of them is
    ``label``. With a ``/`` the pattern reads the folders above too.

    Args:
        text: the pattern, without extension.

    Raises:
        DataError: it has no ``{label}``, or a name twice.
    """

    def __init__(self, text: str) -> None:
        names = re.findall(r"\{(\w+)\}", text)
        if LABEL not in names or len(set(names)) < len(names):
            raise DataError(
                f"--name-pattern {text}: write what file names say, each once and one of them "
                "{label}, as in {label}_{speaker}_{take}"
            )
        pieces = re.split(r"\{(\w+)\}", text)
        self.text, self.depth = text, text.count("/")
        self._pattern = re.compile("".join(
            f"(?P<{piece}>[^/]+?)" if odd else re.escape(piece)
            for odd, piece in ((i % 2, piece) for i, piece in enumerate(pieces))
        ))  # fmt: skip

    def read(self, path: Path) -> dict[str, str] | None:
        """What the name of a file says; None where the pattern does not fit."""
        stem = path.with_suffix("")
        match = self._pattern.fullmatch("/".join(stem.parts[-1 - self.depth :]))
        return match.groupdict() if match else None

    def examples(self, files: Iterable[Path], classes: bool) -> Iterator[SoundExample]:
        """An example for each file.

        Args:
            files: their paths.
            classes: whether a label is a class; its words otherwise, with spaces for ``_`` and
                ``-``.

        Raises:
            DataError: a name does not fit.
        """
        for path in files:
            said = self.read(path)
            if said is None:
                raise DataError(
                    f"{path} does not fit --name-pattern {self.text}; mend the pattern, or move "
                    "the file elsewhere."
                )
            label = said.pop(LABEL)
            if not classes:
                label = " ".join(re.split(r"[\s_\-]+", label)).strip()
            yield SoundExample(label, str(path), fields=said, file=str(path))


@dataclass(frozen=True)
class Where:
    """Which sounds are meant: ``take=0-4``, ``speaker=theo,george``.

    Attributes:
        field: what file names or the columns of a manifest say.
        values: any of them.
        ranges: whole numbers from and to.
        flag: for messages.
    """

    field: str
    values: frozenset[str]
    ranges: tuple[tuple[int, int], ...]
    flag: str

    @classmethod
    def parse(cls, text: str, flag: str) -> Where:
        """Reads what a flag says.

        Raises:
            DataError: it is not ``FIELD=VALUE[,VALUE]``.
        """
        field, equals, rest = text.partition("=")
        values = [one.strip() for one in rest.split(",") if one.strip()]
        if not (field.strip() and equals and values):
            raise DataError(f"{flag} {text}: write FIELD=VALUE, as in take=0-4 or speaker=theo")
        ranges = [re.fullmatch(r"(\d+)-(\d+)", one) for one in values]
        return cls(
            field.strip(), frozenset(values),
            tuple((int(one[1]), int(one[2])) for one in ranges if one), flag,
        )  # fmt: skip

    def holds(self, example: SoundExample) -> bool:
        """Whether an example is meant.

        Raises:
            DataError: nothing is known of that name about it.
        """
        if self.field not in example.fields:
            known = ", ".join(example.fields) or "nothing"
            raise DataError(
                f"{self.flag} asks for {self.field!r}, and {example.where} has {known}; name a "
                "column of the manifest, or what --name-pattern reads."
            )
        value = example.fields[self.field]
        if value in self.values:
            return True
        return value.isdecimal() and any(a <= int(value) <= b for a, b in self.ranges)
