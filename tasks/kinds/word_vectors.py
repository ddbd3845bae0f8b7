"""Pre-trained word vectors of the kinds that embed words: where they enter a training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ConfigError, DataError
from models.config import EncoderConfig, WordConfig
from pipelines.vectors import WordVectors, read_vectors
from tasks.kinds.pretrained import UNITS, WORDS, Encoder, check_encoder, read_encoder

if TYPE_CHECKING:
    import keras


def check_vectors(model: WordConfig) -> None:
    """Refuses files and encoders that cannot be read, before anything else is read or written.

    Raises:
        ConfigError: names the flag.
    """
    check_encoder(model)
    path = model.vectors
    if path and model.encoder:
        raise ConfigError("--encoder has vectors of its own; leave --vectors out, or --encoder")
    if not path:
        if model.freeze_vectors:
            raise ConfigError(
                "--freeze-vectors keeps pre-trained vectors as they are, and there are none; "
                "give a file by --vectors, or leave the flag out"
            )
        return
    if not Path(path).is_file():
        what = "is a directory" if Path(path).is_dir() else "is not there"
        raise ConfigError(
            f"--vectors {path} {what}; give a file of word vectors (a run that goes on needs the "
            "one it began with, where it was)"
        )
    if not os.access(path, os.R_OK):
        raise ConfigError(f"--vectors {path} may not be read by you; change its permissions")


def unless_given(model: EncoderConfig, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a search tries, for ``choices``, without what is given already.

    An encoder has its cell and its sizes: tried is how fast they are trained further. Word vectors
    have their size: tried is whether they are trained further.
    """
    found = dict(options)
    if model.encoder:
        for name in ("cell", "units", "embedding_dim"):
            del found[name]
        return {**found, "encoder_rate": [0.1, 0.3, 1.0]}
    if isinstance(model, WordConfig) and model.vectors:
        del found["embedding_dim"]
        return {**found, "freeze_vectors": bool}
    return found


@dataclass(frozen=True)
class WordCounts:
    """What is known of the words of training.

    Attributes:
        counts: ``<int64>[words]``, how often training has each.
        vectors: ``<float32>[words, n]`` and ``<bool>[words]``: which of them are of use; None
            without a file.
        notes: sentences for the user.
        tables: what a kind counts besides.
        encoder: what a language model gives; its words are the vectors.
    """

    counts: np.ndarray
    vectors: tuple[np.ndarray, np.ndarray] | None = None
    notes: tuple[str, ...] = ()
    tables: Any = None
    encoder: Encoder | None = None

    @property
    def vectors_fingerprint(self) -> str:
        """SHA-256 of all that is pre-trained; "" where nothing is."""
        if self.vectors is None:
            return ""
        parts = list(self.vectors)
        if self.encoder is not None:
            parts += [*self.encoder.forward, *(self.encoder.backward or ())]
        content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        shape = str(self.vectors[0].shape).encode()
        return hashlib.sha256(shape + content).hexdigest()

    @classmethod
    def of(
        cls,
        config: WordConfig,
        ids: np.ndarray,
        vocabulary: Sequence[str],
        normalise: Callable[[str], str],
        tables: Any = None,
    ) -> WordCounts:
        """Counts words, and reads their vectors.

        Args:
            config: says where vectors or an encoder are, if anywhere.
            ids: ``<int>[tokens]`` of all training tokens.
            vocabulary: word of each id; "" where it is none.
            normalise: a word of the file to how the vocabulary would spell it.
            tables: see ``WordCounts``.

        Raises:
            DataError: the vectors cannot be used.
        """
        if config.encoder:
            return cls.of_encoder(config, ids, vocabulary, normalise, tables)
        counts = np.bincount(ids, minlength=len(vocabulary))
        if not config.vectors:
            return cls(counts, tables=tables)

        found = read_vectors(config.vectors, vocabulary, normalise)
        note = found.coverage(counts, Path(config.vectors).name)
        return cls(counts, (found.table, found.found), (note,), tables)

    @classmethod
    def of_encoder(
        cls,
        config: EncoderConfig,
        ids: np.ndarray,
        vocabulary: Sequence[str],
        normalise: Callable[[str], str],
        tables: Any = None,
        levels: Sequence[str] = WORDS,
    ) -> WordCounts:
        """Counts units, and reads the encoder that there must be; arguments as of ``of``, and
        ``levels`` as of ``read_encoder``.

        Raises:
            DataError: the encoder cannot be used, or it knows none of the units of training.
        """
        counts = np.bincount(ids, minlength=len(vocabulary))
        names = np.array(vocabulary, object)
        encoder = read_encoder(config, names, normalise, levels)
        words = names != ""
        if not counts[encoder.found & words].any():
            raise DataError(
                f"the language model of {config.encoder} has none of the {UNITS[levels[0]]} that "
                "training reads; train one on texts in the same language"
            )
        known = WordVectors(encoder.table, encoder.found, words)
        note = known.coverage(counts, config.encoder, UNITS[levels[0]])
        return cls(counts, (known.table, known.found), (note,), tables, encoder)

    def sized(self, config: EncoderConfig) -> EncoderConfig:
        """A configuration with the sizes of an encoder, if there is one."""
        return self.encoder.settings(config) if self.encoder else config

    def begin(self, model: keras.Model, config: EncoderConfig, **names: str) -> keras.Model:
        """The model, with the weights of an encoder if there is one; ``names``: see there."""
        if self.encoder:
            self.encoder.begin(model, config.encoder_rate, **names)
        return model
