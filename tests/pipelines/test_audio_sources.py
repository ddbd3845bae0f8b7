"""Where recorded sounds come from: every layout of docs/sound.md, and what is wrong with them."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from common.errors import DataError
from pipelines import audio_sources, tfds_source
from pipelines.audio import Sound
from pipelines.audio_examples import SoundExample
from pipelines.audio_names import NamePattern, Where
from pipelines.audio_sources import SoundReading, load_sounds, untold_sounds

RATE = 8000
CLASSES, WORDS = SoundReading(classes=True), SoundReading(classes=False)
WANTED = ("train", "validation", "test")


def record(path, number, seconds=0.1):
    """A file unlike any of another number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * RATE)) / RATE
    samples = 0.2 * np.sin(2 * np.pi * (200 + number) * time)
    soundfile.write(path, samples, RATE, format=path.suffix[1:].upper())
    return path


def loaded(source, reading=CLASSES, **options):
    return load_sounds(source, reading, lambda size, seed: [], **options)


def targets(splits):
    return [sorted({one.target for one in getattr(splits, part)}) for part in WANTED]


def sizes(splits):
    return [len(getattr(splits, part)) for part in WANTED]


@pytest.fixture
def digits(tmp_path):
    """0_ann_0.wav to 1_bob_9.wav."""
    number = 0
    for digit in "01":
        for who in ("ann", "bob"):
            for take in range(10):
                number += 1
                record(tmp_path / f"{digit}_{who}_{take}.wav", number)
    return tmp_path


# ---- folders and names of files


def test_a_folder_of_each_class(tmp_path):
    for i, label in enumerate(["yes", "no", "_background_noise_"]):
        for take in range(20):
            record(tmp_path / label / "deeper" / f"{take}.flac", 20 * i + take)
    splits = loaded(tmp_path)
    assert targets(splits) == [["no", "yes"]] * 3
    assert sizes(splits) == [32, 4, 4]
    one = splits.train[0]
    assert one.where == one.path
    assert len(one.at(16_000)) == 1600


def test_parts_with_a_folder_of_each_class(tmp_path):
    for i, part in enumerate(["Train", "dev", "test"]):
        for j, label in enumerate("ab"):
            for take in range(3):
                record(tmp_path / part / label / f"{take}.wav", 10 * i + 4 * j + take)
    assert sizes(loaded(tmp_path)) == [6, 6, 6]


def test_speech_commands_lists_say_which_part(tmp_path):
    for i, label in enumerate(["left", "right"]):
        for take in range(5):
            record(tmp_path / label / f"{take}.wav", 10 * i + take)
    (tmp_path / "validation_list.txt").write_text("left/0.wav\nright/0.wav\n")
    (tmp_path / "testing_list.txt").write_text("left/1.wav\nright/1.wav\n")
    splits = loaded(tmp_path)
    assert sizes(splits) == [6, 2, 2]
    assert any("testing_list.txt" in note for note in splits.notes)


def test_names_of_files_and_what_flags_say(digits):
    reading = SoundReading(
        classes=True, name_pattern="{label}_{speaker}_{take}", test_where="take=0-2",
        validation_where="speaker=bob",
    )  # fmt: skip
    splits = loaded(digits, reading)
    assert targets(splits) == [["0", "1"]] * 3
    # Validation is taken out first: bob's takes are all there.
    assert sizes(splits) == [14, 20, 6]
    assert {one.fields["speaker"] for one in splits.train} == {"ann"}
    assert any("take=0-2" in note for note in splits.notes)


def test_words_in_names_of_files(tmp_path):
    for i, name in enumerate(["go_left-now.1", "stop.2", "go_right.3"] * 10):
        record(tmp_path / f"{name}{i}.wav", i)
    reading = SoundReading(classes=False, name_pattern="{label}.{take}")
    splits = loaded(tmp_path, reading)
    assert {one.target for one in splits.train} == {"go left now", "stop", "go right"}


@pytest.mark.parametrize(
    ("change", "words"),
    [({"name_pattern": "{speaker}_{take}"}, "--name-pattern"),
     ({"name_pattern": "{label}_{label}"}, "each once"),
     ({"name_pattern": "{label}-{take}"}, "does not fit --name-pattern"),
     ({"test_where": "take"}, "--test-where take: write FIELD=VALUE"),
     ({"test_where": "=3"}, "write FIELD=VALUE"),
     ({"test_where": "room=3"}, "asks for 'room'"), ({"test_where": "take=77"}, "none is left"),
     ({"validation_where": "take=0-9"}, "all are left"), ({"name_pattern": ""}, "--name-pattern")],
)  # fmt: skip
def test_names_that_say_nothing(digits, change, words):
    reading = {"classes": True, "name_pattern": "{label}_{speaker}_{take}", **change}
    with pytest.raises(DataError) as caught:
        loaded(digits, SoundReading(**reading))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_pattern_may_read_folders(tmp_path):
    pattern = NamePattern("{speaker}/{label}-{take}")
    assert pattern.read(tmp_path / "ann" / "a.b-c-3.wav") == {
        "speaker": "ann", "label": "a.b", "take": "c-3",
    }  # fmt: skip
    assert pattern.read(tmp_path / "ann" / "loose.wav") is None


def test_conditions():
    where = Where.parse("take=0-4, 7,x", "--test-where")

    def holds(value):
        return where.holds(SoundExample("a", fields={"take": value}))

    assert [holds(v) for v in ("0", "4", "04", "5", "7", "x", "", "-1", "0-4")] == [
        True, True, True, False, True, True, False, False, True,
    ]  # fmt: skip


# ---- manifests


def manifest_rows(root, count=20):
    return [
        {"path": record(root / "wavs" / f"{i}.wav", i).relative_to(root).as_posix(),
         "text": f"word {i % 3}"}
        for i in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json", "csv.gz"])
def test_manifests(tmp_path, form):
    table = pd.DataFrame(manifest_rows(tmp_path))
    path = tmp_path / f"list.{form}"
    if form.startswith("json"):
        table.to_json(path, orient="records", lines=form == "jsonl")
    else:
        table.to_csv(path, index=False, sep="\t" if form == "tsv" else ",")
    for source in (path, tmp_path):
        splits = loaded(source, WORDS)
        assert sum(sizes(splits)) == 20
        one = splits.train[0]
        assert one.where.startswith(str(path))
        assert one.target.startswith("word ")
    assert len(untold_sounds(path, WORDS)) == 20


def test_parts_of_a_sound_by_start_end_and_duration(tmp_path):
    record(tmp_path / "long.wav", 1, seconds=3.0)
    lines = [{"audio_filepath": "long.wav", "offset": i / 10, "duration": 0.1, "text": f"w{i}"}
             for i in range(10)]  # fmt: skip
    lines += [{"audio_filepath": "long.wav", "offset": 2.0, "end": 2.5, "text": "last"}]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    splits = loaded(path, WORDS)
    every = [*splits.train, *splits.validation, *splits.test]
    assert {len(one.at(RATE)) for one in every if one.target != "last"} == {RATE // 10}
    (last,) = [one for one in every if one.target == "last"]
    assert (last.start, last.end) == (2.0, 2.5)
    assert sorted(one.start for one in untold_sounds(path, WORDS)) == pytest.approx(
        [*(i / 10 for i in range(10)), 2.0]
    )


def test_nemo_manifests(tmp_path):
    """JSON lines in files that end in .json, absolute paths, durations of whole files."""
    for part, first, count in (("train", 0, 12), ("dev", 30, 4), ("test", 60, 4)):
        lines = [
            {"audio_filepath": str(record(tmp_path / part / f"{part}{i}.wav", first + i)),
             "duration": 0.1, "text": f"say {part} {i}"}
            for i in range(count)
        ]  # fmt: skip
        (tmp_path / f"{part}_manifest.json").write_text("\n".join(map(json.dumps, lines)))
    splits = loaded(tmp_path, WORDS)
    assert sizes(splits) == [12, 4, 4]
    assert (splits.train[0].start, splits.train[0].end) == (0.0, None)


def test_common_voice(tmp_path):
    for i, part in enumerate(["train", "dev", "test", "other"]):
        rows = [{"client_id": "x", "path": f"{part}{j}.mp3", "sentence": f"Say {part} {j}.",
                 "up_votes": 2} for j in range(4)]  # fmt: skip
        for j, row in enumerate(rows):
            record(tmp_path / "clips" / row["path"], 10 * i + j)
        pd.DataFrame(rows).to_csv(tmp_path / f"{part}.tsv", sep="\t", index=False)
    splits = loaded(tmp_path, WORDS)
    assert sizes(splits) == [4, 4, 4]
    assert splits.test[0].target == "Say test 0."
    assert splits.test[0].fields["up_votes"] == "2"
    assert len(splits.test[0].at(RATE)) > 500


def test_librispeech(tmp_path):
    for i, part in enumerate(["train-clean-100", "dev-clean", "test-other"]):
        folder = tmp_path / part / "19" / "198"
        lines = []
        for j in range(4):
            record(folder / f"19-198-{j:04d}.flac", 10 * i + j)
            lines.append(f"19-198-{j:04d} SAY {part.upper()} {j}\n")
        (folder / "19-198.trans.txt").write_text("".join(lines))
    splits = loaded(tmp_path, WORDS)
    assert sizes(splits) == [4, 4, 4]
    assert splits.train[0].target == "SAY TRAIN-CLEAN-100 0"
    assert ".trans.txt:1" in splits.train[0].where


def test_words_in_text_files_beside(tmp_path):
    for i in range(10):
        record(tmp_path / f"{i}.wav", i).with_suffix(".txt").write_text(f" say\n it {i} ")
    assert {one.target for one in loaded(tmp_path, WORDS).train} <= {
        f"say it {i}" for i in range(10)
    }
    (tmp_path / "3.txt").unlink()
    with pytest.raises(DataError, match=r"3\.wav has no transcript; write its words to 3\.txt"):
        loaded(tmp_path, WORDS)


@pytest.mark.parametrize(
    ("row", "words"),
    [({"path": "none.wav"}, "there is no file none.wav"), ({"text": " "}, "no transcript"),
     ({"path": ""}, "there is no file"), ({"start": "soon"}, "start is 'soon'; give seconds"),
     ({"start": 0.5, "end": 0.5}, "is empty"), ({"start": -1.0}, "is empty")],
)  # fmt: skip
def test_rows_that_are_wrong_are_named(tmp_path, row, words):
    rows = manifest_rows(tmp_path)
    rows[7] |= row
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(DataError) as caught:
        loaded(tmp_path / "m.csv", WORDS)
    assert words in str(caught.value)
    assert "m.csv:9" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_columns_are_found_or_asked_for(tmp_path):
    rows = [{"where": row["path"], "said": row["text"]} for row in manifest_rows(tmp_path)]
    path = tmp_path / "m.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    with pytest.raises(DataError, match="--path-column"):
        loaded(path, WORDS)
    with pytest.raises(DataError, match="--target-column"):
        loaded(path, SoundReading(classes=False, path_column="where"))
    named = SoundReading(classes=False, path_column="where", target_column="said")
    assert sum(sizes(loaded(path, named))) == 20


@pytest.mark.parametrize("damage", ["cut", "page", "gone"])
def test_files_that_cannot_be_read_are_named(tmp_path, damage):
    rows = manifest_rows(tmp_path)
    broken = tmp_path / rows[4]["path"]
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2] if damage == "cut" else b"<html></html>")
    if damage == "gone":
        broken.unlink()
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(DataError) as caught:
        loaded(tmp_path / "m.csv", WORDS)
    assert "m.csv:6" in str(caught.value)
    assert "4.wav" in str(caught.value)


def test_sources_that_hold_nothing(tmp_path):
    (tmp_path / "readme.md").write_text("no sound")
    for source, words in [(tmp_path, "holds no sounds"), (tmp_path / "none", "no such file"),
                          (tmp_path / "readme.md", "no manifest"), ("", "no such file"),
                          ("synthetic:many", "must be a number")]:  # fmt: skip
        with pytest.raises(DataError, match=words):
            loaded(source)


def test_classes_that_cannot_be_learnt(tmp_path):
    for i in range(12):
        record(tmp_path / "train" / "a" / f"{i}.wav", i)
    with pytest.raises(DataError, match="all training sounds are of the class a"):
        loaded(tmp_path)
    record(tmp_path / "train" / "b" / "x.wav", 30)
    record(tmp_path / "test" / "c" / "x.wav", 31)
    with pytest.raises(DataError, match=r"x\.wav: the class 'c' of test is not in train"):
        loaded(tmp_path)


def test_long_sounds_are_left_out_of_training(tmp_path):
    for i in range(20):
        record(tmp_path / "ab"[i % 2] / f"{i}.wav", i)
    record(tmp_path / "a" / "long.wav", 99, seconds=5.0)
    splits = loaded(tmp_path, SoundReading(classes=True, longest=4.0))
    assert sum(sizes(splits)) == 20
    assert any("1 training sounds last more than --longest 4" in note for note in splits.notes)


# ---- tables in memory, and TFDS


def test_a_table_of_paths_and_one_of_samples(tmp_path):
    rows = [{**row, "path": str(tmp_path / row["path"])} for row in manifest_rows(tmp_path)]
    assert sum(sizes(loaded(pd.DataFrame(rows), WORDS))) == 20
    assert sum(sizes(loaded({"train": rows[:16], "test": rows[16:]}, WORDS))) == 20
    sounds = [{"audio": np.sin(np.arange(400) * 0.01 * (i + 1)), "rate": RATE,
               "label": "ab"[i % 2]} for i in range(20)]  # fmt: skip
    splits = loaded(sounds)
    assert splits.train[0].sound().rate == RATE
    assert targets(splits) == [["a", "b"]] * 3
    with pytest.raises(DataError, match="the rate is 0"):
        loaded([{k: v for k, v in one.items() if k != "rate"} for one in sounds])


def test_the_same_sound_is_in_one_part_alone(tmp_path):
    sounds = [{"audio": np.sin(np.arange(400) * 0.01 * (i // 2 + 1)), "rate": RATE,
               "label": "ab"[i // 2 % 2]} for i in range(80)]  # fmt: skip
    splits = loaded(sounds)
    parts = [{one.digest for one in getattr(splits, part)} for part in WANTED]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_tfds(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyWords(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
                "audio": tfds.features.Audio(sample_rate=RATE),
                "label": tfds.features.ClassLabel(names=["yes", "no"]),
            }))  # fmt: skip

        def _split_generators(self, dl_manager):
            return {part: self._generate_examples(i)
                    for i, part in enumerate(["train", "validation", "test"])}  # fmt: skip

        def _generate_examples(self, part):
            for i in range(12):
                samples = 8000 * np.sin(np.arange(400) * 0.01 * (12 * part + i + 1))
                yield i, {"audio": samples.astype(np.int64), "label": i % 2}

    TinyWords(data_dir=tmp_path).download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds_source, "DOWNLOAD_RETRIES", 0)
    splits = loaded("tfds:tiny_words")
    assert sizes(splits) == [12, 12, 12]
    assert targets(splits) == [["no", "yes"]] * 3
    sound = splits.train[0].sound()
    assert isinstance(sound, Sound)
    assert sound.rate == RATE
    assert 0.1 < np.abs(sound.samples).max() < 0.25, "of 16 bits"


def test_every_extension_is_read_by_libsndfile():
    known = {name.lower() for name in soundfile.available_formats()}
    aliases = {"aif": "aiff", "aifc": "aiff", "oga": "ogg", "opus": "ogg"}
    assert {aliases.get(one, one) for one in audio_sources.EXTENSIONS} <= known


def test_a_bad_row_of_a_manifest_to_be_answered_is_named_too(tmp_path):
    sf = pytest.importorskip("soundfile")
    sf.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:500])
    path = tmp_path / "clips.csv"
    path.write_text("path,start,end\na.wav,0,0.5\na.wav,0.5,0.1\n")
    with pytest.raises(DataError, match=r"clips.csv:3: the part from 0.5 to 0.1 seconds is empty"):
        untold_sounds(path, WORDS)
    path.write_text("path\ncut.wav\n")
    (one,) = untold_sounds(path, WORDS)
    with pytest.raises(DataError, match=r"clips.csv:2: .*cut.wav"):
        one.sound()
