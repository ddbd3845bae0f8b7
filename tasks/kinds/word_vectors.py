"""Pre-trained word vectors of the kinds that embed words: where they enter a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import ConfigError


def check_vectors(path: str) -> None:
    """Refuses a file that is not there, before anything is read or written.

    Raises:
        ConfigError: names the flag.
    """
    if path and not Path(path).is_file():
        what = "is a directory" if Path(path).is_dir() else "is not there"
        raise ConfigError(f"--vectors {path} {what}; give a file of word vectors")


@dataclass(frozen=True)
class WordCounts:
    """What is known of the words of training.

    Attributes:
        counts: ``<int64>[words]``, how often training has each.
        vectors: ``<float32>[words, n]`` and ``<bool>[words]``: which of them are of use; None
            without a file.
        notes: sentences for the user.
        tables: what a kind counts besides.
    """

    counts: np.ndarray
    vectors: tuple[np.ndarray, np.ndarray] | None = None
    notes: tuple[str, ...] = ()
    tables: Any = None

    @classmethod
    def of(
        cls,
        path: str,
        ids: np.ndarray,
        vocabulary: Sequence[str],
        normalise: Callable[[str], str],
        tables: Any = None,
    ) -> WordCounts:
        """Counts words, and reads their vectors.

        Args:
            path: file of vectors, or "".
            ids: ``<int>[tokens]`` of all training tokens.
            vocabulary: word of each id; "" where it is none.
            normalise: a word of the file to how the vocabulary would spell it.
            tables: see ``WordCounts``.

        Raises:
            DataError: the vectors cannot be used.
        """
        counts = np.bincount(ids, minlength=len(vocabulary))
        if not path:
            return cls(counts, tables=tables)
        from pipelines.vectors import read_vectors

        found = read_vectors(path, vocabulary, normalise)
        note = found.coverage(counts, Path(path).name)
        return cls(counts, (found.table, found.found), (note,), tables)
