"""Text classification data sets of TensorFlow Datasets (TFDS), downloaded or prepared beforehand.

TFDS downloads and prepares a data set once, under TFDS_DATA_DIR (default ~/tensorflow_datasets);
afterwards it needs no network. TFDS is slow to import and brings TensorFlow along, so it is
imported when a data set is asked for and not before.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.layout import PART_WORDS
from pipelines.messages import name_list, shorten
from pipelines.splits import Splits
from pipelines.text_examples import (
    LABEL_NAMES,
    TEXT_NAMES,
    TextExample,
    label_text,
    labelled_splits,
)
from pipelines.text_inputs import joined_texts, text_names

# TFDS tries ten times with doubling pauses: three and a half minutes until it admits that there is
# no network. Four tries take three seconds.
DOWNLOAD_RETRIES = 4
# In place of the class number -1, by which TFDS marks labels that are not published. No label text
# can equal it, as labels are stripped.
WITHHELD = " "


def load_tfds(
    name: str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    data_dir: str | None = None,
) -> Splits[TextExample]:
    """Loads a TFDS data set as labelled text, downloading and preparing it where it is not there.

    Args:
        name: "imdb_reviews", "glue/sst2", "my_data/config:1.0.0".
        text_column: the feature that is the text, or several with commas between; by default the
            supervised input, else by name.
        label_column: the feature that is the label, found in the same way; class numbers become
            their names.
        seed: which examples are split off for missing parts.
        validation_fraction: share of train for a missing validation part.
        test_fraction: share of train for a missing test part.
        data_dir: where prepared data sets are; default the environment's TFDS_DATA_DIR, else
            TFDS's own default.

    Returns:
        The three parts. A part whose labels are withheld (-1, as in GLUE's test) counts as
        missing.

    Raises:
        DataError: no such data set or configuration, no network and not prepared, no train part,
            or no text and label among its features.
    """
    builder = prepared_builder(name, data_dir or os.environ.get("TFDS_DATA_DIR"))
    text, label = _find_features(builder, text_column, label_column)
    parts, notes = _read_splits(builder, text, label)
    return labelled_splits(
        parts,
        name=builder.info.full_name,
        notes=notes,
        seed=seed,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
    )


def prepared_builder(name: str, data_dir: str | None) -> Any:
    """Returns a tfds.core.DatasetBuilder whose data are on disk."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"tfds:{name} needs TensorFlow Datasets ({error}); pip install tensorflow-datasets "
            "importlib_resources."
        ) from error
    from tensorflow_datasets.core.download import download_manager, extractor, util

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        where = data_dir or "TFDS's default data directory"
        raise DataError(
            f"tfds:{name}: TFDS knows no such data set and none is prepared under {where}; see "
            "https://www.tensorflow.org/datasets/catalog, or set TFDS_DATA_DIR."
        ) from error
    except (ValueError, AssertionError, ImportError) as error:  # configuration, version, parts
        raise DataError(f"tfds:{name}: {shorten(error, 300)}") from error
    try:
        # TFDS reports progress on stdout, where the command line's results go.
        with _fewer_retries(), contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except (
        OSError,  # requests' and urllib's errors are OSErrors
        AssertionError,  # TFDS asserts that manually downloaded files are there
        ImportError,  # some data sets need apache-beam and the like
        util.DownloadError,
        download_manager.NonMatchingChecksumError,
        extractor.ExtractError,
    ) as error:
        raise DataError(
            f"tfds:{name} is not prepared under {builder.data_dir} and could not be downloaded "
            f"({shorten(error, 160)}); on a machine with network run 'tfds build "
            f"{name}', copy its data directory here and set TFDS_DATA_DIR to it."
        ) from error
    return builder


@contextlib.contextmanager
def _fewer_retries() -> Iterator[None]:
    from tensorflow_datasets.core.download import downloader

    before = getattr(downloader, "MAX_RETRIES", None)
    downloader.MAX_RETRIES = DOWNLOAD_RETRIES
    try:
        yield
    finally:
        downloader.MAX_RETRIES = before


def _find_features(builder: Any, text: str | None, label: str | None) -> tuple[str, str]:
    """Returns the names of the text and the label feature."""
    features, keys = builder.info.features, builder.info.supervised_keys
    there = [str(key) for key in features]
    supervised = keys if keys and len(keys) == 2 else (None, None)
    chosen = []
    for role, wanted, key, known in (
        ("text", text, supervised[0], TEXT_NAMES),
        ("label", label, supervised[1], LABEL_NAMES),
    ):
        found = [wanted or key] if wanted or isinstance(key, str) else []
        found = found or [feature for feature in there if feature.lower() in known]
        if len(found) != 1 or not set(text_names(found[0], there)) <= set(there):
            raise DataError(
                f"{builder.info.full_name}: the {role} is not plain among the features "
                f"{name_list(there)}; name it with --{role}-column."
            )
        chosen.append(found[0])
    for name in text_names(chosen[0], there):
        feature = features[name]
        if feature.shape != () or feature.np_dtype != np.object_:  # TFDS's type of a string
            raise DataError(
                f"{builder.info.full_name}: the feature '{name}' is not text; name another of "
                f"{name_list(there)} with --text-column."
            )
    return chosen[0], chosen[1]


def _read_splits(
    builder: Any, text: str, label: str
) -> tuple[dict[str, list[TextExample]], list[str]]:
    """Returns (labelled examples by part, notes)."""
    name = builder.info.full_name
    names = getattr(builder.info.features[label], "int2str", None)
    parts: dict[str, list[TextExample]] = {}
    notes: list[str] = []
    for split in sorted(builder.info.splits):
        part = PART_WORDS.get(split)
        if part is None:
            notes.append(
                f"The split '{split}' of {name} was left out: not train, validation or test."
            )
            continue
        examples = list(_examples(builder, split, text, label, names))
        labelled = [example for example in examples if example.label != WITHHELD]
        if len(labelled) < len(examples):
            notes.append(
                f"The labels of {len(examples) - len(labelled)} of {len(examples)} examples of the "
                f"split '{split}' are withheld: left out."
            )
        if not labelled:
            continue
        if part in parts:
            raise DataError(f"{name}: two of its splits are the {part} part; not supported.")
        parts[part] = labelled
    if "train" not in parts:
        splits = name_list(sorted(builder.info.splits)) or "none"
        raise DataError(f"{name} has no labelled train split (it has: {splits}); take another.")
    return parts, notes


def _examples(builder: Any, split: str, text: str, label: str, names: Any) -> Iterator[TextExample]:
    import tensorflow_datasets as tfds

    # One file after the other: interleaved reading would make order and fingerprint depend on it.
    config = tfds.ReadConfig(interleave_cycle_length=1)
    data = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
    file = f"tfds:{builder.info.full_name} {split}"
    for line, example in enumerate(tfds.as_numpy(data), 1):
        columns = text_names(text, example)
        cells = {one: example[one].decode("utf-8", "replace").strip() for one in columns}
        if content := joined_texts(cells.values()):
            name = _label(example[label], names, f"{file}:{line}")
            parts = cells if len(cells) > 1 else {}
            yield TextExample(content, name, file, line, parts=parts)


def _label(value: Any, names: Any, where: str) -> str:
    if isinstance(value, bytes):
        return label_text(value.decode("utf-8", "replace"), where)
    if names is None:
        return label_text(value.item(), where)
    return label_text(names(int(value)), where) if value >= 0 else WITHHELD
