"""Tagged sentences of TensorFlow Datasets: features of tokens, and tags as class labels or text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.layout import PART_WORDS
from pipelines.messages import name_list
from pipelines.readers import Row
from pipelines.tfds_source import prepared_builder


def tfds_rows(
    name: str, data_dir: str | None = None
) -> tuple[str, dict[str, Iterator[Row]], list[str]]:
    """Rows of a TFDS data set such as ``conll2003``, which is downloaded where it is not there.

    Args:
        name: of the data set, with its configuration.
        data_dir: where prepared data sets are; the environment's TFDS_DATA_DIR if None.

    Returns:
        full name; rows by part, class numbers as their names; notes.

    Raises:
        DataError: there is no such data set, it cannot be downloaded, or it has no train split.
    """
    builder = prepared_builder(name, data_dir or os.environ.get("TFDS_DATA_DIR"))
    parts, notes = {}, []
    for split in sorted(builder.info.splits):
        part = PART_WORDS.get(split)
        if part is None or part in parts:
            notes.append(f"The split '{split}' of {builder.info.full_name} was left out.")
        else:
            parts[part] = _rows(builder, split)
    if "train" not in parts:
        splits = name_list(sorted(builder.info.splits)) or "none"
        raise DataError(f"tfds:{name} has no train split (it has: {splits}); take another.")
    return builder.info.full_name, parts, notes


def _rows(builder: Any, split: str) -> Iterator[Row]:
    import tensorflow_datasets as tfds

    # One file after the other: interleaved reading would make the order depend on it.
    config = tfds.ReadConfig(interleave_cycle_length=1)
    data = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
    features, file = builder.info.features, f"tfds:{builder.info.full_name} {split}"
    for number, example in enumerate(tfds.as_numpy(data)):
        values = {key: _value(features[key], value) for key, value in example.items()}
        for feature in features.values():
            if _is_sound(feature):
                values.setdefault("rate", feature.sample_rate or 0)
        yield Row(values, file, number, "row")


def _is_sound(feature: Any) -> bool:
    return hasattr(feature, "sample_rate")


def _value(feature: Any, value: Any) -> Any:
    """A feature as JSON would have it; class numbers as names, -1 (withheld) as no label. Sound is
    an array."""
    if _is_sound(feature):  # of 16 bits, in whatever type
        return value.astype(np.int16) if value.dtype.kind == "i" else value
    inner = getattr(feature, "feature", feature)
    names = getattr(inner, "int2str", None)

    def plain(one: Any) -> Any:
        if isinstance(one, bytes):
            return one.decode("utf-8", "replace")
        if names is not None:
            return names(int(one)) if one >= 0 else ""
        return one.item() if hasattr(one, "item") else one

    return [plain(one) for one in value] if getattr(value, "ndim", 0) == 1 else plain(value)
