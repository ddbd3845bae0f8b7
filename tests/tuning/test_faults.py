"""Fifty kills -9 of real searches: trials, fork servers, owners, Dask workers and schedulers.

A search that was killed all over ends with the trials, scores and best run of an undisturbed one.
"""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

pytest.importorskip("psutil", reason="comes with seqloom[cluster]")

from fault_injection import (
    ROOT,
    Cluster,
    FaultInjection,
    Scene,
    free_port,
    kill,
    processor_seconds,
    wait_until,
)

import seqloom
from tuning.errors import SearchError
from tuning.pools import ClusterPool
from tuning.search_lock import SearchLock

HAVE_DASK = importlib.util.find_spec("distributed") is not None
needs_dask = pytest.mark.skipif(not HAVE_DASK, reason="distributed is not installed")
# An owner's death is held against the trials that ran no more than five times, so no more here.
LOCAL = {"trial": 14, "fork_server": 9, "owner": 5}
CLUSTER = {"trial": 7, "worker": 7, "scheduler": 4, "owner": 4}
SMALL = ["--data", "synthetic:400", "--units", 8, "--epochs", 3, "--threads", 1, "--seed", 5]


def command(search, *more, trials=1):
    return ["seqloom", "tune", "forecast", *SMALL, "--retries", 50, "--json",
            "--trials", trials, "--out", search, *more]  # fmt: skip


def records_of(search):
    paths = sorted(search.glob("trials/*/trial.json"))
    return [json.loads(path.read_text()) for path in paths]


def gives(search):
    """Of each trial and of the best run, what must not depend on any kill."""
    names = ("trial", "state", "values", "seed", "scores", "score", "spread", "until", "parent",
             "bracket", "round", "epochs", "best_epoch", "parameters")  # fmt: skip
    trials = [{name: record.get(name) for name in names} for record in records_of(search)]
    metrics = json.loads((search / "best" / "metrics.json").read_text())["metrics"]
    return {
        "trials": trials,
        "best": json.loads((search / "best" / "config.json").read_text()),
        "metrics": metrics,
    }


def undisturbed(directory, strategy, trials):
    """The same search left alone: what it gives, and seconds that its trials took."""
    search = directory / "undisturbed"
    with Scene(directory / "quiet") as scene:
        arguments = command(search, "--strategy", strategy, "--workers", 2, trials=trials)
        owner = scene.start("owner", *arguments)
        assert owner.wait(1800) == 0, scene.printed("owner")[1][-3000:]
    seconds = sorted(record["seconds"] for record in records_of(search))
    return gives(search), seconds[len(seconds) // 2]


def check_whole(faults, search, trials, expected):
    """What holds after any number of kills."""
    assert faults.done == Counter(faults.plan)
    assert faults.witness.broken == []
    found = gives(search)
    assert [trial["state"] for trial in found["trials"]] == ["COMPLETED"] * trials
    assert found == expected
    for trial in (search / "trials").iterdir():
        if not trial.is_dir():
            continue  # the fork servers' log
        assert (trial / "result.json").is_file()
        assert (trial / "log.txt").read_text(errors="replace").count("result.json written") <= 1
    result = json.loads(faults.scene.printed("owner")[0].splitlines()[-1])
    best = min(found["trials"], key=lambda trial: trial["score"])
    assert result["trials"]["completed"] == trials
    assert (result["best"]["trial"], result["best"]["config"], result["best"]["score"]) == (
        best["trial"], best["values"], best["score"],
    )  # fmt: skip
    check_best(search, best["score"])


def check_best(search, score):
    done = run_seqloom("evaluate", search / "best", "--json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout.splitlines()[-1])["metrics"]
    assert metrics["validation"]["mse"] == pytest.approx(score, rel=1e-4)


def run_seqloom(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "seqloom", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def tell(capsys, what, faults, began):
    sorts = ", ".join(f"{count} {sort}" for sort, count in faults.done.items())
    with capsys.disabled():
        print(f"\n{what}: {faults.done.total()} kills -9 ({sorts}), {time.time() - began:.0f} s")


def test_there_are_fifty_kills_in_all():
    assert sum(LOCAL.values()) + sum(CLUSTER.values()) == 50


@pytest.mark.slow
def test_a_search_on_this_machine_bears_28_kills(tmp_path, capsys):
    trials, search = 8, tmp_path / "killed"
    expected, seconds = undisturbed(tmp_path, "random", trials)
    began = time.time()
    with Scene(tmp_path / "scene") as scene:
        arguments = command(search, "--strategy", "random", "--workers", 2, trials=trials)
        faults = FaultInjection(
            scene, arguments, search, trials=trials, kills=LOCAL, seed=1, pace=min(seconds, 6)
        )
        faults.run()
        tell(capsys, "on this machine", faults, began)
        check_whole(faults, search, trials, expected)
        assert wait_until(lambda: not scene.members(), 10), scene.members()


@pytest.mark.slow
@needs_dask
def test_a_search_on_a_cluster_bears_22_kills(tmp_path, capsys):
    # Hyperband's fourth and tenth trial go on from earlier ones.
    trials, search = 10, tmp_path / "killed"
    expected, seconds = undisturbed(tmp_path, "hyperband", trials)
    assert [bool(trial["parent"]) for trial in expected["trials"]] == [
        i % 6 == 3 for i in range(10)
    ]
    began = time.time()
    with Scene(tmp_path / "scene") as scene:
        cluster = Cluster(scene)
        where = ("--cluster", cluster.address)
        arguments = command(search, "--strategy", "hyperband", *where, trials=trials)
        faults = FaultInjection(
            scene, arguments, search, trials=trials, kills=CLUSTER, seed=2, pace=min(seconds, 6),
            cluster=cluster,
        )  # fmt: skip
        faults.run()
        tell(capsys, "on a cluster", faults, began)
        check_whole(faults, search, trials, expected)
        assert wait_until(lambda: not scene.fork_servers() + scene.trials(), 15), (
            "trials outlive it"
        )
        check_idle(scene, cluster)


def check_idle(scene, cluster):
    """The cluster is there for the next search, and does nothing."""
    wait_until(lambda: len(scene.members()) >= 5, 60)
    cluster.keep()
    time.sleep(5)  # what has just begun again imports a lot
    processes = cluster.processes()
    assert {p.pid for p in processes} == {p.pid for p in scene.members()}
    before = processor_seconds(processes)
    time.sleep(5)
    assert processor_seconds(processes) - before < 1.0


def test_a_second_owner_is_refused(tmp_path, monkeypatch, capsys):
    # In this process, and without what trials would be forked from: both take long to import.
    monkeypatch.setattr("tuning.pools.LocalPool.start", lambda *_: None)
    monkeypatch.setattr(sys, "argv", [str(word) for word in command(tmp_path / "search")])
    owner = SearchLock(tmp_path / "search")
    try:
        with pytest.raises(SystemExit) as end:
            seqloom.main()
    finally:
        owner.close()
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert "is being searched by process" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_the_death_of_an_owner_ends_its_processes(tmp_path):
    with Scene(tmp_path / "scene") as scene:
        owner = scene.start("owner", *command(tmp_path / "search", "--workers", 2, trials=4))
        wait_until(lambda: len(scene.trials()) == 2 or owner.poll() is not None)
        assert owner.poll() is None, scene.printed("owner")[1]
        assert len(scene.fork_servers()) == 1
        assert kill(owner)
        assert wait_until(lambda: not scene.members(), 10), scene.members()


@pytest.mark.slow
@needs_dask
def test_a_search_waits_for_its_cluster(tmp_path):
    with Scene(tmp_path / "scene") as scene:
        port = free_port()
        where = f"tcp://127.0.0.1:{port}"
        owner = scene.start("owner", *command(tmp_path / "search", "--cluster", where))
        told = f"waiting for a Dask scheduler at {where}"
        assert wait_until(lambda: told in scene.printed("owner")[1], 120)
        time.sleep(5)
        assert owner.poll() is None
        cluster = Cluster(scene, workers=1, port=port)
        assert owner.wait(600) == 0, scene.printed("owner")[1]
        assert "connected to the scheduler" in scene.printed("owner")[1]
        cluster.keep()


@pytest.mark.slow
@needs_dask
def test_a_person_who_waits_for_no_cluster_may_leave(tmp_path):
    where = f"tcp://127.0.0.1:{free_port()}"
    with Scene(tmp_path / "scene") as scene:
        owner = scene.start("owner", *command(tmp_path / "search", "--cluster", where))
        told = f"waiting for a Dask scheduler at {where}"
        assert wait_until(lambda: told in scene.printed("owner")[1], 120)
        owner.send_signal(signal.SIGINT)
        assert owner.wait(60) == 130
        assert "goes on where it was" in scene.printed("owner")[1]


@needs_dask
def test_after_its_patience_a_cluster_is_nowhere():
    pool = ClusterPool(f"tcp://127.0.0.1:{free_port()}", patience=0)
    with pytest.raises(SearchError, match="no scheduler answers .*start `dask scheduler` there"):
        pool.capacity()
