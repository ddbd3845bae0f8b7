"""Tagged sentences of TFDS, from a data set that is really prepared on disk."""

import pytest

from common.errors import DataError
from pipelines import tfds_source
from pipelines.tagged_sources import load_tagged

tfds = pytest.importorskip("tensorflow_datasets")

NAMES = ["O", "B-PER", "I-PER"]


class TinyNames(tfds.core.GeneratorBasedBuilder):
    """Built as conll2003 is: sequences of text and of class labels."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({
            "tokens": tfds.features.Sequence(tfds.features.Text()),
            "ner": tfds.features.Sequence(tfds.features.ClassLabel(names=NAMES)),
            "pos": tfds.features.Sequence(tfds.features.ClassLabel(names=["NN", "VB"])),
        })  # fmt: skip
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples(part) for part in ("train", "dev", "test", "extra")}

    def _generate_examples(self, part):
        for i in range(20 if part == "train" else 3):
            tokens = ["Ann", "Lee", "sleeps", f"{part}{i}"]
            yield i, {"tokens": tokens, "ner": [1, 2, 0, 0], "pos": [0, 0, 1, 0]}


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    TinyNames(data_dir=tmp_path).download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds_source, "DOWNLOAD_RETRIES", 0)


def test_sequences_of_labels_are_tags(prepared):
    splits = load_tagged("tfds:tiny_names")
    assert [len(x) for x in (splits.train, splits.validation, splits.test)] == [20, 3, 3]
    assert splits.train[0].tags == ("B-PER", "I-PER", "O", "O")
    assert splits.train[0].tokens[:3] == ("Ann", "Lee", "sleeps")
    assert any("'extra'" in note for note in splits.notes)
    assert load_tagged("tfds:tiny_names", tags_column="pos").train[0].tags[2] == "VB"


def test_a_data_set_that_is_not_there(prepared):
    with pytest.raises(DataError, match="tfds:no_such_names"):
        load_tagged("tfds:no_such_names")
