"""Where labelled text comes from: generated, TensorFlow Datasets, files, or memory.

    splits = load_labelled_text("synthetic")
    splits = load_labelled_text("tfds:imdb_reviews")
    splits = load_labelled_text("data/reviews")          # a directory
    splits = load_labelled_text("data/reviews.csv.gz")   # a file
    splits = load_labelled_text("data/stsa.fine")        # files that begin so
    splits = load_labelled_text(frame)                   # a pandas DataFrame
    splits = load_labelled_text({"train": frame, "test": "data/test.csv"})

docs/data.md shows every layout that is understood.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from common.errors import DataError
from pipelines.frames import Source, located
from pipelines.labelled import read_labelled
from pipelines.splits import Splits
from pipelines.synthetic import DEFAULT_SIZE, synthetic_reviews
from pipelines.text_examples import TextExample, labelled_splits

__all__ = ["Splits", "TextExample", "load_labelled_text"]


def load_labelled_text(
    source: Source,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str = "",
    drop_unlabelled: bool = False,
    synthetic: Callable[[int, int], list[TextExample]] = synthetic_reviews,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits[TextExample]:
    """Loads a text classification data set.

    Args:
        source: "synthetic", "synthetic:SIZE", "tfds:NAME[/CONFIG]", a directory, a file, or what
            a group of file names begins with; a DataFrame or a list of dicts; or a mapping of
            parts to any of these (see `pipelines.frames.located`).
        text_column: the text's column (csv, tsv, jsonl, json, TFDS feature); found by name if None.
        label_column: the label's column; found by name if None.
        encoding: of files that are not UTF-8, as Python names it; guessed if "".
        drop_unlabelled: leave rows out whose label is missing, rather than refuse them.
        synthetic: makes the examples of the source "synthetic" from a size and a seed.
        seed: which examples are split off, and which synthetic ones are made.
        validation_fraction: share of the training examples for a missing validation part.
        test_fraction: share of the training examples for a missing test part.

    Returns:
        The three parts; `notes` says what was decided on the way.

    Raises:
        DataError: one sentence that names file and line (or part and row), column and way out.
    """
    split = {
        "seed": seed,
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
    }
    columns = {"text_column": text_column, "label_column": label_column}
    if isinstance(source, (str, os.PathLike)):
        kind, _, rest = (source := os.fspath(source)).partition(":")
        if kind == "synthetic":
            if text_column or label_column:
                raise DataError(
                    "synthetic data has no columns: leave --text-column and --label-column away."
                )
            size = _synthetic_size(source, rest)
            examples = synthetic(size, seed)
            splits = labelled_splits({"train": examples}, name=f"synthetic-{size}", **split)
            # Generated data never had parts of its own: that they were split off is no news.
            return replace(splits, notes=[])
        if kind == "tfds" and ":" in source:
            from pipelines.tfds_source import load_tfds

            return load_tfds(rest, **columns, **split)
        if not source.strip():
            raise DataError("the data source is empty: give a path, tfds:NAME or synthetic.")
    layout = located(source)
    parts, notes = read_labelled(
        layout, **columns, encoding=encoding, drop_unlabelled=drop_unlabelled
    )
    return labelled_splits(parts, name=layout.name, notes=notes, **split)


def _synthetic_size(source: str, size: str) -> int:
    if ":" not in source:
        return DEFAULT_SIZE
    if not size.isdecimal():
        raise DataError(f"'{source}': the size after the colon must be a number: synthetic:5000.")
    return int(size)
