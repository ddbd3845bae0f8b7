"""The bundle as a place: versions, the manifest, and what a death at any moment leaves."""

import hashlib
import json
import shutil

import pytest

import serving.bundle
from serving.bundle import Publication, checksums, next_version, read_manifest, size_on_disk
from serving.errors import ServingError


def publish(bundle, content="weights", **manifest):
    """One version with the artefacts ``onnx`` and ``savedmodel``; gives its number."""
    with Publication(bundle) as publication:
        for name in ("onnx", "savedmodel"):
            place = publication.directory(name)
            (place / "deep").mkdir(parents=True)
            (place / "deep" / "model").write_text(f"{content} {publication.version}")
        publication.publish({"version": publication.version, **manifest})
    return publication.version


def tree(bundle):
    """Every file and directory below the bundle, hidden ones too."""
    return sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*"))


def dying(*_):
    """Stands for a kill: no handler of ordinary errors may tidy up after it."""
    raise SystemExit("killed")


@pytest.fixture
def bundle(tmp_path):
    return tmp_path / "new" / "bundle"


def test_versions_count_up_and_older_ones_stay(bundle):
    assert [publish(bundle) for _ in range(3)] == [1, 2, 3]
    for version in (1, 2, 3):
        for name in ("onnx", "savedmodel"):
            path = bundle / name / str(version) / "deep" / "model"
            assert path.read_text() == f"weights {version}"
    assert read_manifest(bundle)["version"] == 3


def test_a_bundle_holds_its_artefacts_and_manifest_and_nothing_else(bundle):
    publish(bundle)
    top = {"manifest.json", "onnx", "savedmodel"}
    assert {path.name for path in bundle.iterdir()} == top


def test_next_version_is_greater_than_that_of_any_artefact(bundle):
    publish(bundle)
    shutil.rmtree(bundle / "onnx")
    (bundle / "tensorrt" / "12").mkdir(parents=True)
    # A name that is no number is no version, and neither is a file.
    (bundle / "savedmodel" / "tmp-99").mkdir()
    (bundle / "savedmodel" / "50").write_text("")
    assert next_version(bundle) == 13
    assert publish(bundle) == 13


def test_nothing_can_be_seen_before_publish(bundle):
    with Publication(bundle) as publication:
        publication.directory("onnx").mkdir()
        assert next_version(bundle) == 1
        assert all(path.name.startswith(".") for path in bundle.iterdir())
        publication.publish({"version": 1})
        assert (bundle / "onnx" / "1").is_dir()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_while_writing_leaves_the_bundle_as_it_was(bundle, error):
    publish(bundle, note="old")
    before, manifest = tree(bundle), (bundle / "manifest.json").read_bytes()

    def fail():
        with Publication(bundle) as publication:
            publication.directory("savedmodel").mkdir()
            (publication.directory("savedmodel") / "half").write_text("ha")
            raise error

    with pytest.raises(error):
        fail()
    assert tree(bundle) == before
    assert (bundle / "manifest.json").read_bytes() == manifest


def test_a_kill_between_artefacts_and_manifest_costs_a_number_only(bundle, monkeypatch):
    publish(bundle, note="old")
    with monkeypatch.context() as patch:
        patch.setattr(serving.bundle, "write_json", dying)
        with pytest.raises(SystemExit):
            publish(bundle, note="lost")
    # The manifest still describes what is whole; number 2 may be mapped by a server by now.
    assert read_manifest(bundle) == {"format": 1, "version": 1, "note": "old"}
    assert publish(bundle, note="new") == 3
    assert read_manifest(bundle) == {"format": 1, "version": 3, "note": "new"}
    assert (bundle / "onnx" / "2" / "deep" / "model").read_text() == "weights 2"


def test_a_kill_between_two_artefacts_costs_a_number_only(bundle, monkeypatch):
    publish(bundle)
    flush = serving.bundle._flush

    def die_at_the_second(path):
        if path.name == "savedmodel":
            dying()
        flush(path)

    with monkeypatch.context() as patch:
        patch.setattr(serving.bundle, "_flush", die_at_the_second)
        with pytest.raises(SystemExit):
            publish(bundle)
    assert (bundle / "onnx" / "2").is_dir()
    assert not (bundle / "savedmodel" / "2").exists()
    assert read_manifest(bundle)["version"] == 1
    assert publish(bundle) == 3


def test_what_a_killed_export_left_aside_is_removed_by_the_next(bundle, monkeypatch):
    publish(bundle)
    left = bundle / ".writing-2-999999"
    (left / "onnx").mkdir(parents=True)
    (left / "onnx" / "half").write_text("ha")
    assert publish(bundle) == 2
    assert not left.exists()


def test_checksums_are_of_every_file_by_its_relative_path(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.bin").write_bytes(b"abc")
    (tmp_path / "empty").write_bytes(b"")
    # The first two are the test vectors of FIPS 180-2 for "abc" and of the empty string.
    assert checksums(tmp_path) == {
        "a/b.bin": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "empty": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    assert size_on_disk(tmp_path) == 3


def test_checksums_change_with_the_content(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"one")
    before = checksums(tmp_path)
    path.write_bytes(b"two")
    assert checksums(tmp_path) != before
    assert checksums(tmp_path)["model"] == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b'"a"', b"null", b"{}", b"\xff\xfe\x00"]
)
def test_a_missing_or_broken_manifest_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ServingError, match=r"manifest\.json is missing or broken") as error:
        read_manifest(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "seqloom export" in str(error.value)


def test_a_manifest_of_a_later_format_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 2, "version": 1}))
    with pytest.raises(ServingError, match="format 2; this Seqloom reads 1") as error:
        read_manifest(str(tmp_path))
    assert str(tmp_path / "manifest.json") in str(error.value)


def test_a_bundle_may_be_named_by_a_string(bundle):
    publish(bundle, name="m")
    assert read_manifest(str(bundle))["name"] == "m"
