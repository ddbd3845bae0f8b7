"""TFDS through its real code path: a builder prepared on disk, mock data, and no network."""

import json
import sys

import numpy as np
import pytest

from common.errors import DataError
from pipelines import tfds_source
from pipelines.sources import load_labelled_text

tfds = pytest.importorskip("tensorflow_datasets")

REVIEWS = {
    "train": [(f"a {word} film number {i}", i % 2) for i in range(20) for word in ("fine",)],
    "test": [("dull", 0), ("bright", 1)],
    "unsupervised": [("who knows", -1)],
}


class TinyReviews(tfds.core.GeneratorBasedBuilder):
    """Two configurations: with both parts and with train alone."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="both", description="train, test, unsupervised"),
        tfds.core.BuilderConfig(name="train_only", description="train"),
        tfds.core.BuilderConfig(name="hidden", description="test labels withheld"),
        tfds.core.BuilderConfig(name="remote", description="needs a download"),
    ]

    def _info(self):
        features = {
            "review": tfds.features.Text(),
            "mood": tfds.features.ClassLabel(names=["sad", "glad"]),
            "year": tfds.features.Scalar(np.int64),
        }
        keys = ("review", "mood") if self.builder_config.name != "hidden" else None
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=keys
        )

    def _split_generators(self, dl_manager):
        if self.builder_config.name == "remote":
            dl_manager.download("http://127.0.0.1:9/reviews.zip")
        parts = ["train"] if self.builder_config.name == "train_only" else list(REVIEWS)
        return {part: self._generate_examples(REVIEWS[part]) for part in parts}

    def _generate_examples(self, rows):
        for index, (text, label) in enumerate(rows):
            if self.builder_config.name == "hidden" and len(rows) == 2:
                label = -1
            yield index, {"review": text, "mood": label, "year": 1999}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data directory with the data set really prepared in three configurations."""
    folder = tmp_path_factory.mktemp("tfds")
    for config in ("both", "train_only", "hidden"):
        TinyReviews(config=config, data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture(autouse=True)
def _environment(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(tfds_source, "DOWNLOAD_RETRIES", 0)


def test_prepared_data_set_is_loaded_by_name_and_config():
    splits = load_labelled_text("tfds:tiny_reviews/both")
    assert splits.name == "tiny_reviews/both/1.0.0"
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 2, 2)
    assert {(e.text, e.label) for e in splits.test} == {("dull", "sad"), ("bright", "glad")}
    assert {example.label for example in splits.train} == {"glad", "sad"}
    assert any("'unsupervised'" in note for note in splits.notes)
    again = load_labelled_text("tfds:tiny_reviews/both:1.0.0")
    assert again.fingerprint == splits.fingerprint


def test_prepared_files_suffice_without_the_builder_code(monkeypatch, data_dir):
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setattr(
        tfds.core.registered, "_DATASET_REGISTRY", {}
    )  # as on a machine that has only the copied directory
    splits = tfds_source.load_tfds("tiny_reviews/train_only", data_dir=str(data_dir))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 2, 2)


def test_withheld_labels_make_a_part_missing():
    splits = load_labelled_text(
        "tfds:tiny_reviews/hidden", text_column="review", label_column="mood"
    )
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 2, 2)
    assert any("withheld" in note for note in splits.notes)


def test_mock_data_of_a_catalogue_data_set(tmp_path, monkeypatch):
    # mock_data takes split names from metadata on disk; the features are the real builder's.
    metadata = tmp_path / "imdb_reviews" / "plain_text" / "1.0.0"
    metadata.mkdir(parents=True)
    splits = [
        {"name": part, "numBytes": "1", "shardLengths": ["64"],
         "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"}
        for part in ("train", "test", "unsupervised")
    ]  # fmt: skip
    info = {"name": "imdb_reviews", "version": "1.0.0", "fileFormat": "tfrecord",
            "configName": "plain_text", "splits": splits}  # fmt: skip
    (metadata / "dataset_info.json").write_text(json.dumps(info))
    with tfds.testing.mock_data(num_examples=64, data_dir=str(tmp_path)):
        loaded = load_labelled_text("tfds:imdb_reviews")
    assert {example.label for example in loaded.train} == {"neg", "pos"}
    assert loaded.name.startswith("imdb_reviews/plain_text")
    assert len(loaded.train) + len(loaded.validation) == 64
    assert len(loaded.test) == 64


@pytest.mark.parametrize(
    ("spec", "options", "parts"),
    [
        ("tfds:no_such_data_set", {}, ["no_such_data_set", "TFDS_DATA_DIR"]),
        ("tfds:tiny_reviews/nope", {}, ["tiny_reviews/nope"]),
        ("tfds:", {}, ["tfds:"]),
        ("tfds:tiny_reviews/both", {"text_column": "body"}, ["--text-column", "review"]),
        ("tfds:tiny_reviews/both", {"text_column": "year"}, ["year", "--text-column"]),
        ("tfds:tiny_reviews/hidden", {"text_column": "review"}, ["--label-column", "mood"]),
        ("tfds:tiny_reviews/remote", {}, ["could not be downloaded", "tfds build"]),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_sentence(spec, options, parts):
    with pytest.raises(DataError) as error:
        load_labelled_text(spec, **options)
    message = str(error.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message


def test_missing_library_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match="pip install"):
        load_labelled_text("tfds:imdb_reviews")
