"""The tags of a model in the order of its outputs, and the spans that they make out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipelines.tag_schemes import to_bioes

NO_TAG = -1  # number of a tag that training does not have, and behind the end of a sentence
# What a tag does: nothing, begins a span, goes on with one.
OUTSIDE, BEGINS, CONTINUES = 0, 1, 2
_ROLES = {"B": BEGINS, "S": BEGINS, "I": CONTINUES, "E": CONTINUES}
_SHOWN = {"S": "B", "E": "I"}


@dataclass(frozen=True)
class TagTable:
    """Tags by number.

    Attributes:
        names: as the model has them; spans are spelled in ``scheme``.
        scheme: "bio" or "bioes"; "" where tags are plain classes.
    """

    names: tuple[str, ...]
    scheme: str

    @classmethod
    def of(cls, rows: Iterable[Sequence[str]], scheme: str) -> TagTable:
        """The tags of training sentences.

        Args:
            rows: tags of each sentence, spans in BIO.
            scheme: how the model spells spans.
        """
        rows = list(rows)
        found = {tag for row in rows for tag in row}
        has_spans = any(tag[:2] == "B-" for tag in found)
        if has_spans and scheme == "bioes":
            # All four of a kind that has spans of several tokens: training need not have every
            # length for an answer to have it.
            long = {tag[2:] for tag in found if tag[:2] == "I-"}
            found = {tag for row in rows for tag in to_bioes(row)}
            found |= {f"{prefix}-{kind}" for kind in long for prefix in "BIES"}
        # "O" first: ties between tags go to the lower number.
        return cls(tuple(sorted(found, key=lambda tag: (tag != "O", tag))), has_spans * scheme)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def ids(self, tags: Sequence[str]) -> list[int]:
        """Numbers of a sentence's tags, spans in BIO; ``NO_TAG`` of those training did not have."""
        spelled = to_bioes(tags) if self.scheme == "bioes" else tags
        return [self._numbers.get(tag, NO_TAG) for tag in spelled]

    @cached_property
    def shown(self) -> np.ndarray:
        """The tags as people see them, spans in BIO: ``<object>[tags]`` of UTF-8."""
        shown = [self._role(name)[0] for name in self.names]
        return _bytes([f"{a}{b}" for a, b in zip(shown, self._tails, strict=True)])

    @cached_property
    def types(self) -> np.ndarray:
        """The kind of span of each tag, "" outside: ``<object>[tags]`` of UTF-8."""
        spans = self.roles != OUTSIDE
        return _bytes([t[1:] if s else "" for t, s in zip(self._tails, spans, strict=True)])

    @cached_property
    def roles(self) -> np.ndarray:
        """``OUTSIDE``, ``BEGINS`` or ``CONTINUES`` of each tag: ``<int32>[tags]``."""
        return np.array([self._role(name)[1] for name in self.names], np.int32)

    @cached_property
    def type_ids(self) -> np.ndarray:
        """Number of the kind of span of each tag: ``<int32>[tags]``."""
        return np.unique(self.types.astype(str), return_inverse=True)[1].astype(np.int32)

    def _role(self, name: str) -> tuple[str, int]:
        if not self.scheme or name[1:2] != "-" or name[0] not in _ROLES:
            return name, OUTSIDE
        return _SHOWN.get(name[0], name[0]), _ROLES[name[0]]

    @cached_property
    def _tails(self) -> list[str]:
        return ["" if self._role(name)[1] == OUTSIDE else name[1:] for name in self.names]

    def borders(self, ids: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether each token is the first, and the last, of a span.

        A tag that goes on with what was not begun begins a span itself, as in the scoring script of
        CoNLL 2000.

        Args:
            ids: tags ``<int32>[batch, time]``.
            inside: ``<bool>[batch, time]``, false behind the end of a row.
        """
        role = np.where(inside, self.roles[ids], OUTSIDE)
        kind = np.where(role == OUTSIDE, -1, self.type_ids[ids])
        before = np.pad(kind, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
        first = (role == BEGINS) | ((role == CONTINUES) & (kind != before))
        after_role = np.pad(role, ((0, 0), (0, 1)))[:, 1:]
        after_kind = np.pad(kind, ((0, 0), (0, 1)), constant_values=-1)[:, 1:]
        goes_on = (after_role == CONTINUES) & (after_kind == kind)
        return first, (role != OUTSIDE) & ~goes_on

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"names": self.names, "scheme": self.scheme}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TagTable:
        """What ``to_dict`` gave."""
        return cls(tuple(values["names"]), values["scheme"])


def _bytes(texts: Sequence[str]) -> np.ndarray:
    found = np.empty(len(texts), object)
    found[:] = [text.encode("utf-8") for text in texts]
    return found
