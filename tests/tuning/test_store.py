"""Trials' files in a store: whole, in order, and the same search as on a shared path."""

import os

import pytest
from tiny_trainer import declare, trainer_spec

from tuning.errors import SearchError
from tuning.jobs import TrialJob
from tuning.pools import LocalPool
from tuning.search import SearchPlan, search
from tuning.store import RemoteStore, TrialMirror
from tuning.strategies import discover


def write(directory, **files):
    for name, text in files.items():
        path = directory / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_what_is_pushed_comes_back_and_what_is_gone_goes(tmp_path, protocol):
    store = RemoteStore(f"{protocol}://{tmp_path}/store")
    here, there, known = tmp_path / "here", tmp_path / "there", {}
    write(here, a_json="1", run__b_json="2", run__backup__c_json="3")
    store.push(here, "trials/0001", known)
    store.pull("trials/0001", there, without=("backup",))
    assert sorted(str(p.relative_to(there)) for p in there.rglob("*.json")) == [
        "a.json",
        "run/b.json",
    ]
    write(here, a_json="10")
    os.utime(here / "a.json", ns=(1, 1))
    (here / "run/b.json").unlink()
    store.push(here, "trials/0001", known)
    fresh = tmp_path / "fresh"
    store.pull("trials/0001", fresh)
    assert (fresh / "a.json").read_text() == "10"
    assert not (fresh / "run/b.json").exists()
    assert (fresh / "run/backup/c.json").read_text() == "3"
    store.remove("trials/0001")
    store.remove("trials/0001")
    empty = tmp_path / "empty"
    store.pull("trials/0001", empty)
    assert not empty.exists()


def test_unchanged_files_are_not_brought_again(tmp_path, monkeypatch):
    store, known, brought = RemoteStore(f"file://{tmp_path}/store"), {}, []
    put = store.put
    monkeypatch.setattr(
        store, "put", lambda source, name: (brought.append(name), put(source, name))
    )
    write(tmp_path / "here", a_json="1", b_json="2")
    store.push(tmp_path / "here", "t", known)
    write(tmp_path / "here", b_json="22")
    store.push(tmp_path / "here", "t", known)
    assert brought == ["t/a.json", "t/b.json", "t/b.json"]


def test_how_a_trial_ended_comes_last_and_its_backup_after_its_history(tmp_path, monkeypatch):
    store, brought = RemoteStore(f"file://{tmp_path}/store"), []
    monkeypatch.setattr(store, "put", lambda source, name: brought.append(name))
    here = tmp_path / "here"
    write(here, result_json="", run__backup__epoch="", run__history="", run__zebra="")
    store.push(here, "t", {})
    assert brought == ["t/run/history", "t/run/zebra", "t/run/backup/epoch", "t/result.json"]


def test_a_state_that_changes_meanwhile_is_left_for_the_next_time(tmp_path, monkeypatch):
    store, known, brought = RemoteStore(f"file://{tmp_path}/store"), {"old": (0, 0)}, []
    here = tmp_path / "here"
    write(here, a_json="1", b_json="2")
    monkeypatch.setattr(store, "remove", lambda name: brought.append(f"removed {name}"))

    def put(source, name):
        brought.append(name)
        (here / "b.json").unlink(missing_ok=True)

    monkeypatch.setattr(store, "put", put)
    store.push(here, "t", known)
    assert brought == ["t/a.json"], "what is gone there may be needed until all is whole"


def test_a_mirror_begins_with_the_trial_and_its_parent_and_leaves_nothing(tmp_path):
    store = RemoteStore(f"file://{tmp_path}/store")
    write(tmp_path / "w", owner_json="{}", trials__0001__run="p", trials__0002__run="c")
    store.push(tmp_path / "w", ".", {})
    job = TrialJob("0002", "/search/trials/0002", {}, [1], 1, parent="/search/trials/0001",
              owner_file="/search/owner.json", token="t", store=store.url)  # fmt: skip
    mirror = TrialMirror(job)
    assert (mirror.job.path / "run").read_text() == "c"
    assert os.path.exists(f"{mirror.job.parent}/run")
    assert os.path.exists(mirror.job.owner_file)
    (mirror.job.path / "result.json").write_text("{}")
    mirror.close()
    assert not mirror.scratch.exists()
    assert (tmp_path / "store/trials/0002/result.json").read_text() == "{}"


def test_unknown_protocol_is_refused(tmp_path):
    with pytest.raises(SearchError, match="--store nonsense://x"):
        RemoteStore("nonsense://x")


def test_a_search_in_a_store_is_the_search_on_a_shared_path(tmp_path):
    plan = SearchPlan("hyperband", 9, 4, "val_score", "max")

    def rows(name, store):
        return search(
            trainer_spec(tmp_path / f"events-{name}"), discover(declare), plan, tmp_path / name,
            LocalPool(2), store=store,
        )  # fmt: skip

    plain = rows("plain", None)
    stored = rows("stored", f"file://{tmp_path}/store")
    assert [(r.trial, r.values, r.score, r.epochs) for r in stored] == [
        (r.trial, r.values, r.score, r.epochs) for r in plain
    ]
    assert (tmp_path / "stored/best/model.keras").read_bytes() == (
        tmp_path / "plain/best/model.keras"
    ).read_bytes()
    assert (tmp_path / f"store/trials/{plain[0].trial}/result.json").is_file()
