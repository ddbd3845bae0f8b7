"""Processes of trials: how each may end, what is said of it, and that none outlives its search."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from tiny_trainer import (
    DEFAULTS,
    Searching,
    alive_process,
    events_of,
    fork_servers_of,
    look_often,
    processes_of,
    scores_of,
    trainer_spec,
    wait_until,
)

from common.files import write_json
from tuning import attempts
from tuning.attempts import close_fork_servers, run_attempt
from tuning.jobs import TrialJob
from tuning.search import TOLERANCE, Budget

SCORE = max(scores_of(DEFAULTS, 7, 3))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Watchers that look around often; the fork servers of a test end with it."""
    look_often(monkeypatch)
    yield
    close_fork_servers()


@pytest.fixture
def attempt(tmp_path):
    """Runs trial 0000 once; keywords of a ``TrialJob`` and of the trainer."""

    def run(
        until=3, trial="0000", owner_file=None, token=None, stall=600.0, environment=None, **trainer
    ):
        job = TrialJob(
            trial, str(tmp_path / "trials" / trial), DEFAULTS, [7], until, owner_file=owner_file,
            token=token, stall_seconds=stall, environment=environment or {},
        )  # fmt: skip
        return run_attempt(asdict(trainer_spec(tmp_path, **trainer)), asdict(job), 1)

    return run


def in_background(function, **arguments):
    """A call under way, whose result its future has."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(function, **arguments)
    executor.shutdown(wait=False)
    return future


def test_a_trial_leaves_its_result_and_says_it_in_a_log(attempt, tmp_path):
    ending = attempt(environment={"TOLD": "in its environment"})
    assert ending["outcome"] == "completed"
    assert ending["result"]["scores"] == [SCORE]
    assert 0 < ending["result"]["seconds"] < ending["seconds"]
    assert "stopped" not in ending["result"]
    trial = tmp_path / "trials" / "0000"
    assert json.loads((trial / "result.json").read_text()) == ending["result"]
    assert (trial / "log.txt").exists()
    (begun,) = events_of(tmp_path, "begin")
    assert begun["told"] == "in its environment"
    assert "TOLD" not in os.environ
    assert begun["pid"] not in (os.getpid(), begun["fork_server"])


@pytest.mark.parametrize(
    ("fault", "outcome", "message"),
    [
        ("raise", "raised", "has 4 units"),
        ("nan", "raised", "the loss became NaN in epoch 2"),
        ("exit", "raised", "its process ended with code 7; see {log}"),
        ("abort", "died", "its process was ended by SIGABRT"),
        ("segfault", "died", "its process was ended by SIGSEGV"),
    ],
)
def test_each_end_is_told_apart(attempt, tmp_path, fault, outcome, message):
    ending = attempt(faults={fault: {}}, at_epoch=1)
    log = tmp_path / "trials" / "0000" / "log.txt"
    assert (ending["outcome"], ending["message"]) == (outcome, message.format(log=log))
    assert not (tmp_path / "trials" / "0000" / "result.json").exists()
    # What happened is in the log, where a Python line can be named.
    assert ("tiny_trainer.py" in log.read_text()) == (fault != "exit")
    # The next attempt is told of by what it does itself.
    assert attempt(faults={fault: {}}, times=1)["outcome"] == "completed"


def test_a_killed_trial_hints_at_its_memory(attempt, tmp_path):
    future = in_background(attempt, until=100, epoch_seconds=0.1)
    assert wait_until(lambda: events_of(tmp_path, "epoch"))
    os.kill(events_of(tmp_path, "begin")[0]["pid"], signal.SIGKILL)
    ending = future.result(60)
    assert ending["outcome"] == "died"
    assert ending["message"] == (
        "its process was ended by SIGKILL; the system kills what takes too much memory"
    )


def test_a_trial_without_a_sign_of_life_is_killed_and_one_with_signs_is_not(attempt, tmp_path):
    # It gives eight signs in an epoch, which takes longer than it may be silent.
    assert attempt(trial="0001", until=1, stall=3.0, epoch_seconds=3.2)["outcome"] == "completed"
    ending = attempt(faults={"hang": {}}, stall=1.0)
    assert (ending["outcome"], ending["message"]) == (
        "stalled", "sent no heartbeat for 1 s"
    )  # fmt: skip
    assert ending["seconds"] > 1.0
    assert not alive_process(events_of(tmp_path, "fault")[0]["pid"])


def test_a_trainer_spec_that_cannot_be_prepared_says_its_sentence(attempt):
    ending = attempt(refuses="train.csv is not there")
    assert (ending["outcome"], ending["message"]) == ("unprepared", "train.csv is not there")
    assert "TypeError" in attempt(nonsense=1)["message"]


def test_trials_of_one_trainer_spec_share_a_fork_server_at_the_same_time(attempt, tmp_path):
    futures = [in_background(attempt, trial=f"{n:04d}", epoch_seconds=0.1) for n in range(4)]
    assert [future.result(60)["outcome"] for future in futures] == ["completed"] * 4
    begun = events_of(tmp_path, "begin")
    assert len({event["fork_server"] for event in begun}) == 1
    assert len({event["pid"] for event in begun}) == 4
    kinds = [event["kind"] for event in events_of(tmp_path)]
    assert kinds.index("finished") > 4, "they ran beside each other"


def test_a_finished_trial_is_not_trained_again(attempt, tmp_path):
    first, events = attempt(), events_of(tmp_path)
    again = attempt()
    assert again["outcome"] == "completed"
    assert again["result"] == first["result"]
    assert events_of(tmp_path) == events


def test_a_trial_goes_on_from_its_last_epoch(attempt, tmp_path):
    assert attempt(faults={"abort": {}}, at_epoch=2)["outcome"] == "died"
    assert attempt(faults={"abort": {}}, at_epoch=2, times=1)["result"]["scores"] == [SCORE]
    assert [event["epoch"] for event in events_of(tmp_path, "epoch")] == [0, 1, 2]


def test_what_an_earlier_attempt_left_is_not_taken_for_this_ones(attempt, tmp_path):
    directory = tmp_path / "trials" / "0000"
    write_json(directory / "stopped.json", {"scores": [1.0]})
    write_json(directory / "failure.json", {"message": "of another time"})
    (directory / "heartbeat").touch()
    os.utime(directory / "heartbeat", (0, 0))
    ending = attempt(faults={"exit": {}}, prepare_seconds=0.5)
    assert ending["outcome"] == "raised"
    assert "ended with code 7" in ending["message"]


def test_a_trial_waits_for_a_process_that_still_trains_it(attempt, tmp_path):
    directory = tmp_path / "trials" / "0000"
    directory.mkdir(parents=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        future = in_background(attempt)
        assert not wait_until(lambda: events_of(tmp_path), 1.0)
    assert future.result(60)["outcome"] == "completed"


def owned(tmp_path, token="mine", **more):
    write_json(tmp_path / "owner.json", {"token": token, **more})
    return str(tmp_path / "owner.json")


def test_an_owner_that_stops_cuts_trials_after_their_epoch(attempt, tmp_path):
    owner_file = owned(tmp_path)
    future = in_background(
        attempt, until=100, owner_file=owner_file, token="mine", epoch_seconds=0.1
    )
    assert wait_until(lambda: events_of(tmp_path, "epoch"))
    owned(tmp_path, stopping=True)
    ending = future.result(60)
    assert ending["outcome"] == "stopped"
    epochs = len(events_of(tmp_path, "epoch"))
    assert ending["result"]["epochs"] == epochs < 100
    assert ending["result"]["scores"] == [max(scores_of(DEFAULTS, 7, epochs))]
    owned(tmp_path)
    whole = attempt(until=epochs + 2, owner_file=owner_file, token="mine")
    assert whole["outcome"] == "completed"
    assert len(events_of(tmp_path, "epoch")) == epochs + 2


def test_a_trial_ends_when_the_search_has_another_owner(attempt, tmp_path):
    owner_file = owned(tmp_path)
    future = in_background(
        attempt, until=100, owner_file=owner_file, token="mine", epoch_seconds=0.1
    )
    assert wait_until(lambda: events_of(tmp_path, "epoch"))
    owned(tmp_path, "another's")
    assert future.result(60)["outcome"] == "owner_lost"
    assert wait_until(lambda: not alive_process(events_of(tmp_path)[0]["pid"]))
    assert not (tmp_path / "trials" / "0000" / "result.json").exists()


def test_trials_end_with_their_fork_server_and_the_next_has_a_new_one(attempt, tmp_path):
    futures = [
        in_background(attempt, trial=f"{n:04d}", until=100, epoch_seconds=0.1) for n in range(2)
    ]
    assert wait_until(lambda: len(events_of(tmp_path, "begin")) == 2)
    fork_server = events_of(tmp_path, "begin")[0]["fork_server"]
    os.kill(fork_server, signal.SIGKILL)
    assert [future.result(60)["outcome"] for future in futures] == ["lost", "lost"]
    assert wait_until(lambda: not processes_of(tmp_path))
    assert attempt()["outcome"] == "completed"
    assert events_of(tmp_path, "begin")[-1]["fork_server"] != fork_server


PARENT = """
import sys
from dataclasses import asdict
from pathlib import Path
from tiny_trainer import DEFAULTS, trainer_spec
from tuning.attempts import run_attempt
from tuning.jobs import TrialJob
place, seconds = Path(sys.argv[1]), float(sys.argv[2])
job = TrialJob("0000", str(place / "trials" / "0000"), DEFAULTS, [7], 100)
made = trainer_spec(place, epoch_seconds=0.1, prepare_seconds=seconds)
run_attempt(asdict(made), asdict(job), 1)
"""


@pytest.mark.parametrize("prepare_seconds", [0, 1.5], ids=["training", "preparing"])
def test_a_fork_server_and_its_trials_end_with_their_parent(tmp_path, prepare_seconds):
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), str(prepare_seconds)],
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        assert wait_until(lambda: fork_servers_of(parent.pid))
        found = fork_servers_of(parent.pid)
        if not prepare_seconds:
            assert wait_until(lambda: events_of(tmp_path, "epoch"))
            assert len(processes_of(tmp_path)) == 2
            assert not (tmp_path / "trials" / "0000" / "result.json").exists()
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: not any(map(alive_process, found)))
    assert wait_until(lambda: not processes_of(tmp_path))
    assert len(events_of(tmp_path, "epoch")) < 100, "it was trained to its end"


# The same in searches: whom an end speaks against, and how often that is borne.


@pytest.fixture
def searching(tmp_path):
    return lambda *args, **plan: Searching(tmp_path, *args, **plan)


def outcomes(one, row):
    record = json.loads((one.directory / "trials" / row.trial / "trial.json").read_text())
    return [attempt["outcome"] for attempt in record["attempts"]]


def test_what_raises_is_tried_again_from_other_seeds_and_then_has_failed(searching):
    one = searching(trials=6)
    messages = []
    rows = one.run(
        2, lambda progress: messages.append(progress.message), faults={"raise": {"units": [4]}}
    )
    assert {row.state for row in rows if row.values["units"] != 4} == {"COMPLETED"}
    row = rows[0]
    assert (row.state, row.score, row.message) == ("FAILED", None, "has 4 units")
    struck = [event for event in events_of(one.events, "fault") if event["trial"] == "0000"]
    assert [event["seeds"] for event in struck] == [one.seeds(0, tries) for tries in range(3)]
    assert row.attempts == 3
    assert messages.count("trial 0000: has 4 units; it is started again") == 2


def test_what_raises_once_has_the_score_of_its_second_seed(searching):
    (row,) = searching(trials=1).run(faults={"raise": {}}, at_epoch=1, times=1)
    second = Searching(Path("."), trials=1).seeds(0, 1)[0]
    assert (row.state, row.attempts, row.message) == ("COMPLETED", 2, None)
    assert (row.seed, row.score) == (second, max(scores_of(DEFAULTS, second, 3)))


@pytest.mark.parametrize(
    ("fault", "times", "message"),
    [("segfault", 2, "SIGSEGV"), ("abort", 2, "SIGABRT"), ("hang", 1, "no heartbeat")],
)
def test_what_dies_is_tried_again_from_its_seed_and_last_epoch(searching, fault, times, message):
    one = searching(trials=2)
    told = []
    rows = one.run(
        2, lambda progress: told.append(progress.message or ""),
        # A trial that is well may be silent for a while too, on a machine that is busy.
        budget=Budget(stall_seconds=4.0 if fault == "hang" else 600.0),
        faults={fault: {"units": [4]}}, at_epoch=2, times=times,
    )  # fmt: skip
    (row, other) = rows
    assert any(message in words and "it is started again" in words for words in told)
    assert (row.state, row.message, row.attempts) == ("COMPLETED", None, 1 + times)
    assert (row.seed, row.score) == (one.seeds(0)[0], max(scores_of(DEFAULTS, row.seed, 3)))
    assert one.count("epoch") == {"0000": 3, "0001": 3}
    assert other.attempts == 1 + times * (other.values["units"] == 4)


@pytest.mark.parametrize("retries", [0, 2])
def test_what_dies_every_time_has_failed_with_its_message(searching, retries):
    one = searching(trials=4)
    rows = one.run(2, budget=Budget(retries=retries), faults={"segfault": {"units": [4]}})
    row = rows[0]
    assert (row.state, row.message) == ("FAILED", "its process was ended by SIGSEGV")
    assert outcomes(one, row) == ["died"] * (1 + retries)
    seeds = [event["seeds"] for event in events_of(one.events, "fault")]
    assert seeds == [one.seeds(0)] * (1 + retries)
    assert {r.state for r in rows if r.values["units"] != 4} == {"COMPLETED"}


def test_what_came_further_than_before_is_not_blamed_for_its_death(searching):
    one = searching(trials=2)
    row = one.run(budget=Budget(retries=1), faults={"abort": {"units": [4]}}, at_epoch=2)[0]
    # The first attempt trained two epochs; the second and the third none.
    assert (row.state, outcomes(one, row)) == ("FAILED", ["died"] * 3)


def killing(one, name, times, after):
    """A watch that kills a trial or a fork server, each time after ``after`` more epochs."""
    killed = []

    def watch(progress):
        due = after * (len(killed) + 1)
        if len(killed) < times and sum(one.count("epoch").values()) >= due:
            victim = events_of(one.events, "begin")[-1][name]
            if alive_process(victim):
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

    return watch, killed


@pytest.mark.parametrize("victim", ["pid", "fork_server"])
def test_whatever_is_killed_every_trial_ends_with_its_exact_score(searching, victim):
    one = searching(trials=4, epochs=10)
    watch, killed = killing(one, victim, times=4, after=6)
    rows = one.run(2, watch, epoch_seconds=0.1)
    assert len(killed) == 4
    assert [row.state for row in rows] == ["COMPLETED"] * 4
    for number, row in enumerate(rows):
        assert row.seed == one.seeds(number)[0]
        assert row.score == max(scores_of(row.values, row.seed, 10))
    # A kill costs no more than the epoch under way of each trial that it ends.
    assert sum(one.count("epoch").values()) <= 40 + 4 * (1 if victim == "pid" else 2)


def edit(one, number, **changes):
    path = one.directory / "trials" / f"{number:04d}" / "trial.json"
    record = json.loads(path.read_text())
    record["attempts"][-1]["outcome"] = None
    write_json(path, {**record, "state": "RUNNING", **changes})


def test_a_result_that_the_last_owner_did_not_hear_of_is_taken_up(searching):
    one = searching(trials=3)
    rows, events = one.run(), events_of(one.events)
    edit(one, 1, score=None, message="lost")
    told = []
    again = one.run(watch=lambda progress: told.append(progress.ended))
    assert events_of(one.events) == events
    assert [row.score for row in again] == [row.score for row in rows]
    assert (again[1].state, again[1].message, again[1].attempts) == ("COMPLETED", None, 1)
    assert again[1] in told


def test_a_trial_with_which_every_owner_died_has_failed(searching):
    one = searching(trials=2)
    one.run()
    dead = {"outcome": "abandoned", "cause": "owner", "epochs_before": 3}
    for count, state in ((TOLERANCE["owner"] - 1, "COMPLETED"), (TOLERANCE["owner"], "FAILED")):
        (one.directory / "trials" / "0000" / "result.json").unlink(missing_ok=True)
        edit(one, 0, score=None, attempts=[dead] * count + [{**dead, "outcome": None}])
        row = one.run()[0]
        assert row.state == state
    assert row.message == "the search died with it"


def test_an_interrupt_before_the_fork_server_is_there_leaves_nothing_behind(searching, monkeypatch):
    one = searching(trials=2, epochs=100)
    real, asked = attempts.fork_server, threading.Event()

    def slow(*args):
        asked.set()
        time.sleep(0.5)
        return real(*args)

    def watch(progress):
        if asked.is_set():
            raise KeyboardInterrupt

    monkeypatch.setattr(attempts, "fork_server", slow)
    with pytest.raises(KeyboardInterrupt):
        one.run(watch=watch, epoch_seconds=0.1)
    assert not one.count("finished"), "the search waited for its trial"
