"""Where labelled text comes from: one name for generated, TensorFlow Datasets' and own data.

    splits = load_labelled_text("synthetic")
    splits = load_labelled_text("tfds:imdb_reviews")
    splits = load_labelled_text("data/reviews")          # a directory
    splits = load_labelled_text("data/reviews.csv.gz")   # a file
    splits = load_labelled_text("data/stsa.fine")        # files that begin so

docs/data.md shows every layout that is understood.
"""

from __future__ import annotations

from dataclasses import replace

from common.errors import DataError
from pipelines.labelled import read_labelled
from pipelines.layout import locate_parts
from pipelines.splits import Splits, TextExample, make_splits
from pipelines.synthetic import DEFAULT_SIZE, synthetic_reviews

__all__ = ["Splits", "TextExample", "load_labelled_text"]


def load_labelled_text(
    spec: str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits:
    """Loads a text classification data set.

    Args:
        spec: "synthetic", "synthetic:SIZE", "tfds:NAME[/CONFIG]", a directory, a file, or what a
            group of file names begins with.
        text_column: the text's column (csv, tsv, jsonl, json, TFDS feature); found by name if None.
        label_column: the label's column, likewise.
        seed: which examples are split off for missing parts, and which synthetic ones are made.
        validation_fraction: share of the training examples for a missing validation part.
        test_fraction: share of the training examples for a missing test part.

    Returns:
        The three parts; `notes` says what was decided on the way.

    Raises:
        DataError: one sentence that names the file, line, column or value, and the way out.
    """
    kind, _, rest = spec.partition(":")
    split = {
        "seed": seed,
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
    }
    columns = {"text_column": text_column, "label_column": label_column}
    if kind == "synthetic":
        if text_column or label_column:
            raise DataError(
                "synthetic data has no columns: leave --text-column and --label-column away."
            )
        size = _synthetic_size(spec, rest)
        examples = synthetic_reviews(size, seed)
        splits = make_splits({"train": examples}, name=f"synthetic-{size}", **split)
        # Generated data never had parts of its own: that they were split off is no news.
        return replace(splits, notes=[])
    if spec.startswith("tfds:"):
        from pipelines.tfds_source import load_tfds

        return load_tfds(rest, **columns, **split)
    if not spec.strip():
        raise DataError("the data source is empty: give a path, tfds:NAME or synthetic.")
    layout = locate_parts(spec)
    parts, notes = read_labelled(layout, **columns)
    return make_splits(parts, name=layout.name, notes=notes, **split)


def _synthetic_size(spec: str, size: str) -> int:
    if ":" not in spec:
        return DEFAULT_SIZE
    if not size.isdecimal():
        raise DataError(f"'{spec}': the size after the colon must be a number, as synthetic:5000.")
    return int(size)
