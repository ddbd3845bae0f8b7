"""Files of TensorBoard's embedding projector: a checkpoint, the words of its rows, and where both
are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.files import write_text

MOST_ROWS = 10_000  # that the projector in a browser can move


def write_projector(
    directory: Path, tables: Mapping[str, tuple[np.ndarray, Sequence[str]]]
) -> None:
    """Writes tables of embeddings; an earlier checkpoint is replaced.

    Args:
        directory: of a run of TensorBoard.
        tables: by name ``<float>[rows, width]`` and the words of the rows, the most frequent
            first; of more than ``MOST_ROWS`` the first are kept.
    """
    if not tables:
        return
    directory.mkdir(parents=True, exist_ok=True)
    kept, config = {}, []
    for name, (table, words) in tables.items():
        rows = min(len(table), len(words), MOST_ROWS)
        kept[name] = tf.Variable(np.asarray(table[:rows], np.float32))
        write_text(directory / f"{name}.tsv", "".join(f"{_word(x)}\n" for x in words[:rows]))
        config.append(
            f'embeddings {{\n  tensor_name: "{name}/.ATTRIBUTES/VARIABLE_VALUE"\n'
            f'  metadata_path: "{name}.tsv"\n}}\n'
        )
    checkpoint = tf.train.Checkpoint(**kept)
    manager = tf.train.CheckpointManager(
        checkpoint, str(directory), max_to_keep=1, checkpoint_name="embeddings"
    )
    manager.save()
    # Without a path in it the newest checkpoint of the directory counts, wherever that is moved.
    write_text(directory / "projector_config.pbtxt", "".join(config))


def _word(word: str) -> str:
    """A word in one cell of a table; a line must not be empty."""
    return word.encode("unicode_escape").decode("ascii") if not word.isprintable() else (
        word if word.strip() else repr(word))  # fmt: skip
