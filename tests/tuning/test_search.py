"""A search in processes: the trials there are, whatever dies; where it ends, and what it leaves."""

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits
from tiny_trainer import (
    DEFAULTS,
    Searching,
    events_of,
    look_often,
    processes_of,
    scores_of,
    trainer_spec,
    wait_until,
)

from tuning.attempts import close_fork_servers
from tuning.errors import SearchError
from tuning.leaderboard import TrialLimits, read_search
from tuning.model_based import ModelBased
from tuning.pools import LocalPool
from tuning.search import TOLERANCE, Budget, search, trial_seed
from tuning.search_lock import SearchLock, read_owner
from tuning.strategies import discover
from tuning.strategy_names import STRATEGIES


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads only fight over matrices as small as these."""
    with threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """An owner that looks around often, and a Gaussian process that speaks after three points."""
    look_often(monkeypatch)
    monkeypatch.setattr(ModelBased, "initial_points", 3)


@pytest.fixture
def searching(tmp_path):
    return lambda *args, **plan: Searching(tmp_path, *args, **plan)


def interrupt_after(count, ended):
    """A watch that has Ctrl-C pressed once so many trials are in ``ended``."""

    def watch(progress):
        ended.extend([progress.ended] if progress.ended else [])
        if len(ended) >= count:
            raise KeyboardInterrupt

    return watch


def facts(rows):
    """What of a search follows from its seed."""
    return [(r.trial, r.state, r.values, r.seed, r.score, r.epochs, r.parent, r.round)
            for r in rows]  # fmt: skip


def root(rows, row):
    """The trial whose training a Hyperband trial goes on with."""
    return row if row.parent is None else root(rows, rows[int(row.parent)])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_trials_are_the_same_for_any_workers_and_after_an_interrupt(tmp_path, strategy):
    trials, epochs = (12, 6) if strategy == "hyperband" else (7, 3)
    found = []
    for workers, stop in [(1, None), (2, None), (3, None), (2, 3)]:
        one, ended = Searching(tmp_path / f"{workers}-{stop}", strategy, trials, epochs), []
        if stop:
            with pytest.raises(KeyboardInterrupt):
                one.run(workers, interrupt_after(stop, ended), epoch_seconds=0.02)
        found.append(one.run(workers))
        assert len(found[-1]) == trials
        assert all(found[-1][int(row.trial)] == row for row in ended), "what had ended is kept"
        assert all(one.count("begin")[row.trial] == 1 for row in ended)
    assert all(facts(rows) == facts(found[0]) for rows in found)
    for row in found[0]:
        assert row.state == "COMPLETED"
        seed = trial_seed(0, int(root(found[0], row).trial), 0, 0)
        assert row.seed == seed
        assert row.score == max(scores_of(row.values, seed, row.epochs))


def test_a_search_ends_with_the_best_first_and_a_table_of_all(searching):
    one = searching(trials=5)
    rows = one.run(faults={"raise": {"units": [3, 7]}}, budget=Budget(retries=0))
    assert {row.state for row in rows} == {"COMPLETED", "FAILED"}
    assert rows[0].values == DEFAULTS
    done = [row for row in one.ranking if row.state == "COMPLETED"]
    assert [row.score for row in done] == sorted((row.score for row in done), reverse=True)
    assert one.ranking[len(done) :] == [row for row in rows if row.state == "FAILED"]
    (one.directory / "search.json").write_text(json.dumps({"mode": "max"}))
    assert read_search(one.directory).rows == one.ranking
    with (one.directory / "leaderboard.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(line["rank"], line["trial"], line["state"]) for line in table] == [
        (str(rank), row.trial, row.state) for rank, row in enumerate(one.ranking, 1)
    ]
    for line, row in zip(table, one.ranking, strict=True):
        assert line["score"] == ("" if row.score is None else str(row.score))
        assert {name: line[name] for name in DEFAULTS} == {k: str(row.values[k]) for k in DEFAULTS}
    best = one.ranking[0]
    assert (best.epochs, best.parameters) == (3, 10 * best.values["units"])
    assert best.latency_ms == best.values["units"] / 4
    assert 0 < best.seconds < best.ended_at
    scores = scores_of(best.values, best.seed, 3)
    assert best.best_epoch == scores.index(max(scores)) + 1


def test_however_often_a_search_is_interrupted_no_trial_is_to_blame(searching):
    one = searching(trials=2)

    def watch(progress):
        raise KeyboardInterrupt

    for _ in range(max(TOLERANCE["owner"], Budget().retries) + 1):
        with pytest.raises(KeyboardInterrupt):
            one.run(2, watch, epoch_seconds=1.0)
    assert [row.state for row in one.run(2)] == ["COMPLETED", "COMPLETED"]


def test_more_trials_go_on_where_a_search_ended_and_none_is_trained_again(searching):
    one = searching()
    first = one.run(2, trials=3)
    again = one.run(2)
    assert again[:3] == first
    assert one.count("begin") == {f"{number:04d}": 1 for number in range(6)}
    events = events_of(one.events)
    assert one.run(2) == again
    assert events_of(one.events) == events


def test_a_small_space_ends_a_search_before_its_number_of_trials(searching):
    rows = searching(declared=lambda hp: hp.Choice("units", [2, 3, 4])).run(2)
    assert sorted(row.values["units"] for row in rows) == [2, 3, 4]


def test_each_end_is_told_with_the_ranking_so_far(searching):
    moments = []
    one = searching(trials=4)
    one.run(2, moments.append)
    told = [progress for progress in moments if progress.ended]
    assert sorted(progress.ended.trial for progress in told) == ["0000", "0001", "0002", "0003"]
    assert all(progress.ended in progress.rows for progress in told)
    assert told[-1].rows == one.ranking
    assert all(len(progress.running) <= 2 for progress in moments)
    spent = [progress.spent for progress in moments]
    assert spent == sorted(spent)


def test_hyperband_trains_no_epoch_twice(searching):
    one = searching("hyperband", trials=10, epochs=6)
    rows = one.run(2)
    # By hand: 5 of 2 epochs, 2 of them up to 6, then 3 of 6.
    assert sum(one.count("epoch").values()) == 5 * 2 + 2 * 4 + 3 * 6
    assert [row.epochs for row in rows] == 5 * [2] + 5 * [6]
    histories = [(one.run_of(row) / "history.csv").read_text().splitlines() for row in rows]
    assert [len(history) - 1 for history in histories] == [row.epochs for row in rows]
    assert not list(one.directory.glob("trials/*/run-*/backup")), "no state is left at the end"


def test_hyperband_goes_on_past_failures_and_leaves_places_empty(searching):
    one = searching("hyperband", trials=10, epochs=6)
    plain = one.run(trials=5)
    best = max(plain, key=lambda row: row.score).values["units"]
    other = Searching(one.directory.parent / "other", "hyperband", trials=10, epochs=6)
    rows = other.run(2, faults={"raise": {"units": [best]}}, budget=Budget(retries=0))
    failed = {row.trial for row in rows if row.state == "FAILED"}
    assert failed
    assert not {row.parent for row in rows} & failed
    assert [row.round for row in rows[5:7]] == [1, 1]


def test_a_hyperband_trial_goes_on_with_the_seed_that_its_parent_had_in_the_end(searching):
    one = searching("hyperband", trials=7, epochs=6)
    rows = one.run(faults={"raise": {}}, times=1)
    children = [row for row in rows if row.parent]
    assert len(children) == 2
    # Each first attempt failed, so each has its second seed.
    assert all(row.seed == one.seeds(int(row.trial), 1)[0] for row in rows[:5])
    for row in children:
        whole = max(scores_of(row.values, row.seed, 6))
        assert row.score == whole, "from its seed a trial can be trained again"


def test_executions_give_their_mean_and_spread(searching):
    one = searching(trials=2, executions=3)
    row, other = one.run(2)
    scores = [max(scores_of(row.values, seed, 3)) for seed in one.seeds(0)]
    assert len(set(scores)) == 3
    assert row.score == pytest.approx(statistics.mean(scores), rel=1e-12)
    assert row.spread == pytest.approx(statistics.stdev(scores), rel=1e-9)
    assert row.seed == one.seeds(0)[0]
    best = max((row, other), key=lambda row: row.score)
    seeds = one.seeds(int(best.trial))
    finest = max(seeds, key=lambda seed: max(scores_of(best.values, seed, 3)))
    assert one.best_is(best, seeds.index(finest))


def test_best_follows_the_search_and_its_limits(searching):
    one = searching(trials=8)
    one.run(2)
    best = one.ranking[0]
    assert one.best_is(best)
    cheap = min(row.parameters for row in one.ranking)
    assert cheap < best.parameters
    one.run(2, budget=Budget(limits=TrialLimits(parameters=cheap)))
    chosen = next(row for row in one.ranking if row.parameters == cheap)
    assert one.best_is(chosen)


def test_best_follows_hyperband_from_round_to_round(searching):
    one = searching("hyperband", trials=7, epochs=6)
    one.run()
    best = one.ranking[0]
    assert best.parent, "the test wants a best that was promoted"
    assert one.best_is(best)


def test_time_cuts_a_trial_after_its_epoch_and_more_time_completes_it(searching):
    one = searching(trials=1, epochs=30)
    messages = []
    (row,) = one.run(
        budget=Budget(seconds=0.3),
        watch=lambda progress: messages.append(progress.message),
        epoch_seconds=0.1,
    )
    assert (row.state, row.trial) == ("STOPPED", "0000")
    assert 1 <= row.epochs < 30
    assert row.score == max(scores_of(DEFAULTS, row.seed, row.epochs))
    assert "0.3 s are over: running trials stop after their current epoch" in messages
    assert one.best_is(row)
    spent = read_owner(one.directory / "owner.json")["spent_seconds"]
    assert spent > 0.3
    # The same budget is spent.
    assert one.run(budget=Budget(seconds=0.3)) == [row]
    assert one.count("epoch")["0000"] == row.epochs
    moments = []
    (whole,) = one.run(watch=moments.append)
    assert (whole.state, whole.epochs) == ("COMPLETED", 30)
    assert whole.score == max(scores_of(DEFAULTS, row.seed, 30))
    assert one.count("epoch")["0000"] == 30
    assert moments[0].spent > spent > row.ended_at
    assert moments[-1].spent > whole.ended_at > spent
    assert read_owner(one.directory / "owner.json")["spent_seconds"] > whole.ended_at
    assert one.best_is(whole)


def test_a_cut_between_executions_completes_the_rest(searching):
    one = searching(trials=1, epochs=8, executions=2)
    (row,) = one.run(budget=Budget(seconds=0.1), epoch_seconds=0.1)
    assert row.state == "STOPPED"
    (whole,) = one.run()
    assert one.count("epoch")["0000"] == 16
    assert whole.score == pytest.approx(
        statistics.mean(max(scores_of(DEFAULTS, seed, 8)) for seed in one.seeds(0)), rel=1e-12
    )


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_score_that_is_good_enough_ends_a_search(searching, mode):
    one = searching(mode=mode)
    reached = max(scores_of(DEFAULTS, one.seeds(0)[0], 3)) * (1 if mode == "max" else -1)
    messages = []
    rows = one.run(
        budget=Budget(target=reached),
        watch=lambda progress: messages.append(progress.message),
        mode=mode,
    )
    assert [(row.trial, row.score) for row in rows] == [("0000", reached)]
    assert any(message and "is reached" in message for message in messages)
    # Hardly better is not reached by the first.
    further = one.run(budget=Budget(target=reached + (1e-9 if mode == "max" else -1e-9)), mode=mode)
    assert len(further) > 1


def test_another_owner_is_refused_by_the_number_of_the_first(searching):
    one = searching(trials=1)
    owner, space, pool = SearchLock(one.directory), discover(one.declared), LocalPool(1, 1)
    with pytest.raises(SearchError, match=f"searched by process {os.getpid()} on ") as no:
        search(trainer_spec(one.events), space, one.plan, one.directory, pool)
    assert str(one.directory) in str(no.value)
    assert not events_of(one.events)
    owner.close()
    assert len(one.run()) == 1


@pytest.mark.parametrize("trials", [1, 3])
def test_a_search_in_which_every_trial_fails_says_why(searching, trials):
    one = searching(trials=trials)
    with pytest.raises(SearchError) as error:
        one.run(2, faults={"raise": {}}, budget=Budget(retries=0))
    assert str(error.value) == (
        f"no trial of {one.directory} succeeded; the first message: has 4 units"
    )


def test_a_trainer_spec_that_cannot_be_prepared_ends_the_search_with_its_sentence(searching):
    one = searching(trials=2)
    # However often it is tried: what is missing is not the trials' fault.
    for _ in range(7):
        with pytest.raises(SearchError, match=r"^a\.csv is not there; put it back$"):
            one.run(refuses="a.csv is not there; put it back")
    assert [row.state for row in one.run()] == ["COMPLETED", "COMPLETED"]


def test_a_fork_server_that_dies_in_its_preparation_is_named_with_its_log(searching, monkeypatch):
    monkeypatch.setitem(TOLERANCE, "pool", 2)
    one = searching(trials=1)
    with pytest.raises(SearchError, match="succeeded") as error:
        one.run(dies=True)
    assert "none was run" not in str(error.value)
    assert "fork_server" in str(error.value)


class LosingPool(LocalPool):
    """Loses what runs twice, as a cluster does whose scheduler dies."""

    def __init__(self, one):
        super().__init__(2, 1)
        self.one, self.losses = one, 0

    def lost(self):
        if self.losses == 2 or sum(self.one.count("epoch").values()) < 5 * (self.losses + 1):
            return False
        self.losses += 1
        close_fork_servers()
        return True


def test_what_a_pool_lost_goes_on_when_it_is_back(searching):
    one = searching(trials=4, epochs=8)
    pool = LosingPool(one)
    rows = one.run(pool=pool, epoch_seconds=0.05)
    assert pool.losses == 2
    assert [row.score for row in rows] == [
        max(scores_of(row.values, one.seeds(number)[0], 8)) for number, row in enumerate(rows)
    ]
    assert max(row.attempts for row in rows) > 1
    assert sum(one.count("epoch").values()) <= 4 * 8 + 2 * 2


OWNER = """
import sys
from pathlib import Path
from tiny_trainer import Searching
Searching(Path(sys.argv[1]), trials=3, epochs=20).run(2, epoch_seconds=0.2)
"""


@pytest.mark.slow
def test_an_owner_that_is_killed_leaves_no_process_and_loses_no_epoch(searching):
    one = searching(trials=3, epochs=20)
    place = one.directory.parent
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(place)], env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert wait_until(lambda: len(one.count("epoch")) == 2, 60)
        time.sleep(0.5)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    running = {event["pid"] for event in events_of(one.events, "begin")}
    assert len(running) == 2
    assert wait_until(lambda: not processes_of(one.events), 5)
    before = one.count("epoch")
    assert all(0 < count < 20 for count in before.values())
    rows = one.run(2)
    assert [row.score for row in rows] == [
        max(scores_of(row.values, one.seeds(number)[0], 20)) for number, row in enumerate(rows)
    ]
    after = one.count("epoch")
    # The epoch of the kill may have been trained and not been saved.
    assert all(20 <= after[trial] <= 21 for trial in before)


def test_pruned_trials_are_the_same_for_any_workers_and_after_an_interrupt(tmp_path):
    found = []
    for workers, stop in [(1, None), (3, None), (2, 7)]:
        one = Searching(tmp_path / f"{workers}", "bayesian", 14, 6, prune=True)
        if stop:
            with pytest.raises(KeyboardInterrupt):
                one.run(workers, interrupt_after(stop, []), epoch_seconds=0.02)
        found.append(one.run(workers))
    pruned = [row for row in found[0] if row.pruned]
    assert pruned
    for row in pruned:
        assert row.epochs == len(row.curve) < 6
        assert row.pruned.startswith(f"pruned after epoch {row.epochs}: val_score {row.score:.4f}")
        assert row.score < max(r.score for r in found[0][: int(row.trial)])
        assert row.curve == scores_of(row.values, row.seed, row.epochs)
    assert all(facts(rows) == facts(found[0]) for rows in found)
