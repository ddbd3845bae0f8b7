"""Versions that come, go, break and are pinned: what is served, and what is said about it."""

import threading
import time

import numpy as np
import pytest
from live_server import Times

from serving.errors import RequestError, ServingError
from serving.runtime.batching import Batcher, BatchOptions
from serving.runtime.loading import base_path_location
from serving.runtime.manager import ModelManager, WatchOptions
from serving.runtime.runners import Backend
from serving.runtime.servables import ModelSettings, Policy, State


class FileBackend(Backend):
    """y = factor * x, the factor being what the version's file says."""

    def __init__(self, path):
        text = (path / "factor").read_text()
        if not text.isdigit():
            raise ServingError(f"{path}: no factor")
        self.gate, self.error = threading.Event(), None
        self.checked = self.closed = False
        self.gate.set()
        super().__init__({"serving_default": Times(int(text), self)})

    def close(self):
        self.closed = True


def publish(base, version, factor):
    aside = base / f"tmp-{version}"
    aside.mkdir(parents=True)
    (aside / "factor").write_text(str(factor))
    aside.rename(base / str(version))


def settle(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture
def base(tmp_path):
    publish(tmp_path / "m", 1, 10)
    return tmp_path / "m"


@pytest.fixture
def start():
    managers = []

    def make(*models, **watching):
        def load(name, path, kind):
            return FileBackend(path), Batcher(BatchOptions(workers=1))

        options = {"poll_seconds": 0.02, "retries": 1, "retry_seconds": 0.05, **watching}
        manager = ModelManager(
            load, WatchOptions(**options), on_change=lambda line: lines.append(line)
        )
        lines = manager.lines = []
        managers.append(manager)
        manager.start(models)
        return manager

    yield make
    for manager in managers:
        manager.stop(5)


def model(base, policy=None, name="m", labels=None):
    return ModelSettings(name, base_path_location(base, name), policy or Policy(), labels or {})


def factor(manager, name="m", **which):
    with manager.use(name, **which) as servable:
        program = servable.backend.runners["serving_default"]
        out = servable.batcher.submit(program, {"x": np.ones((1, 1), np.float32)}).result(60)
        return int(out["y"][0, 0])


def states(manager, name="m"):
    return {one.version: one.state.name for one in manager.versions(name)}


def test_a_new_version_takes_over_and_the_old_one_goes(base, start):
    manager = start(model(base))
    assert factor(manager) == 10
    publish(base, 2, 20)
    settle(lambda: factor(manager) == 20)
    settle(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    with pytest.raises(RequestError, match=r"Servable not found for request: Specific\(m, 1\)"):
        factor(manager, version=1)
    assert manager.lines[:2] == [
        "Successfully loaded servable version {name: m version: 1}",
        "Successfully loaded servable version {name: m version: 2}",
    ]


def test_a_broken_version_leaves_the_old_one_serving(base, start):
    manager = start(model(base))
    publish(base, 2, "broken")
    settle(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    (broken, _) = manager.versions("m")
    assert (broken.error, broken.attempts) == (("UNKNOWN", f"{base / '2'}: no factor"), 2)
    assert factor(manager) == 10
    publish(base, 3, 30)
    settle(lambda: factor(manager) == 30)


def test_a_broken_version_that_is_written_anew_is_tried_again(base, start):
    manager = start(model(base))
    publish(base, 2, "broken")
    settle(lambda: states(manager).get(2) == "END")
    (base / "2").rename(base / "gone")
    publish(base, 2, 22)
    settle(lambda: factor(manager) == 22)


def test_requests_end_on_the_version_that_they_began_with(base, start):
    manager = start(model(base))
    with manager.use("m") as servable:
        publish(base, 2, 20)
        settle(lambda: states(manager) == {2: "AVAILABLE", 1: "UNLOADING"})
        program = servable.backend.runners["serving_default"]
        backend = servable.backend
        out = servable.batcher.submit(program, {"x": np.ones((1, 1), np.float32)}).result(60)
        assert out["y"] == 10
        assert not backend.closed
    settle(lambda: states(manager)[1] == "END")
    assert backend.closed


def test_the_newest_deleted_rolls_back_and_all_deleted_unloads(base, start):
    manager = start(model(base))
    publish(base, 2, 20)
    settle(lambda: factor(manager) == 20)
    (base / "2").rename(base / "away")
    settle(lambda: factor(manager) == 10)
    (base / "1").rename(base / "away-too")
    settle(lambda: "AVAILABLE" not in states(manager).values())
    with pytest.raises(RequestError, match=r"Latest\(m\)"):
        factor(manager)
    publish(base, 1, 11)
    settle(lambda: states(manager)[1] == "AVAILABLE")
    assert factor(manager) == 11


def test_the_base_path_gone_keeps_what_is_served(base, start):
    manager = start(model(base))
    base.rename(base.with_name("moved"))
    settle(lambda: any("Could not find base path" in line for line in manager.lines))
    assert factor(manager) == 10


def test_policies(base, start):
    for version in (2, 3):
        publish(base, version, version * 10)
    (base / "notes").mkdir()
    for policy, want in (
        (Policy("all"), [3, 2, 1]),
        (Policy("latest", 2), [3, 2]),
        (Policy("specific", versions=(1, 2, 9)), [2, 1]),
    ):
        manager = start(model(base, policy))
        assert [v for v, state in states(manager).items() if state == "AVAILABLE"] == want


def test_labels(base, start):
    publish(base, 2, 20)
    both = Policy("all")
    manager = start(model(base, both, labels={"stable": 1, "canary": 2}))
    assert (factor(manager, label="stable"), factor(manager, label="canary")) == (10, 20)
    with pytest.raises(RequestError, match="Unrecognized servable version label: beta"):
        factor(manager, label="beta")
    with pytest.raises(RequestError, match="assign label to version 9 of model m"):
        manager.replace([model(base, both, labels={"stable": 9})])
    assert factor(manager, label="stable") == 10
    manager.replace([model(base, both, labels={"stable": 2})])
    assert factor(manager, label="stable") == 20


def test_replacing_models_unloads_what_is_not_listed(base, tmp_path, start):
    publish(tmp_path / "n", 5, 50)
    manager = start(model(base))
    manager.replace([model(tmp_path / "n", name="n")])
    assert factor(manager, "n") == 50
    with pytest.raises(RequestError, match=r"Latest\(m\)"):
        factor(manager)
    publish(tmp_path / "o", 1, "broken")
    broken = model(tmp_path / "o", name="o")
    with pytest.raises(RequestError, match=r"1 model\(s\) did not become available: .*no factor"):
        manager.replace([model(tmp_path / "n", name="n"), broken])
    assert factor(manager, "n") == 50


def test_a_model_taken_out_is_remembered_and_may_come_back(base, tmp_path, start):
    publish(base, 2, 20)
    publish(tmp_path / "n", 5, 50)
    manager = start(model(base, Policy("all")))
    other = model(tmp_path / "n", name="n")
    with manager.use("m", 2) as servable:
        manager.replace([other])
        assert servable.state is State.UNLOADING
        # Back while a request still holds the old one: it begins anew.
        manager.replace([model(base), other])
        assert (factor(manager), states(manager)) == (20, {2: "AVAILABLE", 1: "END"})
        manager.replace([other])
    settle(lambda: states(manager) == {2: "END", 1: "END"})
    assert [one.version for one in manager.versions("m", 1)] == [1]
    with pytest.raises(RequestError, match=r"Latest\(m\)"):
        factor(manager)


def test_a_model_without_a_version_is_awaited_and_then_labelled(base, tmp_path, start):
    manager = start(model(base))
    late = model(tmp_path / "late", name="late", labels={"stable": 7})
    missing = manager.replace([model(base), late])
    assert list(missing) == ["late"]
    assert list(manager.missing(missing)) == ["late"]
    publish(tmp_path / "late", 7, 70)
    settle(lambda: not manager.missing(missing))
    assert factor(manager, "late", label="stable") == 70
    publish(tmp_path / "bad", 1, "broken")
    with pytest.raises(RequestError, match="did not become available"):
        manager.replace([model(tmp_path / "bad", name="bad")])
    with pytest.raises(RequestError) as replaced:
        manager.missing(missing)
    assert replaced.value.code == "ABORTED"


def test_versions_all_deleted_are_not_awaited_by_a_reload(base, tmp_path, start):
    manager = start(model(base))
    (base / "1").rename(base / "away")
    settle(lambda: states(manager) == {1: "END"})
    publish(tmp_path / "n", 5, 50)
    assert manager.replace([model(base), model(tmp_path / "n", name="n")]) == {}


def test_a_first_model_that_cannot_be_loaded_is_one_sentence(tmp_path, start):
    publish(tmp_path / "m", 1, "broken")
    with pytest.raises(ServingError, match=r"m/1: no factor"):
        start(model(tmp_path / "m"))
    with pytest.raises(ServingError, match="no version of m"):
        start(model(tmp_path / "none"))


def test_waiting_for_the_first_version(tmp_path):
    manager = ModelManager(
        lambda name, path, kind: (FileBackend(path), Batcher()), WatchOptions(poll_seconds=0.02)
    )
    thread = threading.Thread(target=manager.start, args=([model(tmp_path / "m")], True))
    thread.start()
    time.sleep(0.1)
    assert thread.is_alive()
    publish(tmp_path / "m", 1, 10)
    thread.join(60)
    assert factor(manager) == 10
    manager.stop()


def test_versions_have_the_numbers_of_the_wire():
    assert [state.value for state in State] == [10, 20, 30, 40, 50]
