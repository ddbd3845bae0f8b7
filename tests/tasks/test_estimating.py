"""Estimates of the time that is left: what counts, what they learn from, and how they are told."""

import random
from dataclasses import replace

import pytest

from tasks.stages.estimating import (
    EXPORT_SECONDS,
    FINAL_SECONDS,
    SERVE_SECONDS,
    TRIAL_SECONDS,
    Estimate,
    Span,
    Work,
    exactly,
)
from tasks.stages.tuning import SearchOptions, work_of
from tuning.leaderboard import TrialRow
from tuning.search import Budget, SearchProgress

WORK = Work(trials=8, epochs=4, at_once=2, whole_way=True, final_epochs=12)


def trial(number, seconds=20.0, state="COMPLETED", **more):
    return TrialRow(f"{number:04d}", state, {}, score=0.5, seconds=seconds, epochs=4, **more)


def seen(rows, spent=0.0):
    running = [row.trial for row in rows if row.state == "RUNNING"]
    return SearchProgress(rows, spent, running)


def test_a_span_is_told_with_its_range():
    assert str(Span(10, 25, 44)) == "about 25 s (10 to 45 s)"
    assert str(Span(3.4, 7, 9.6)) == "about 7 s (3 to 10 s)"
    assert str(Span(100, 200, 500)) == "about 4 min (2 to 9 min)"
    assert Span(1, 2, 3) + exactly(10) == Span(11, 12, 13)
    assert Span(1, 20, 30).at_most(10) == Span(1, 10, 10)
    assert Span(1, 2, 3).at_most(None) == Span(1, 2, 3)


def test_nothing_is_known_without_a_trial_or_a_measured_epoch():
    search = Estimate(Work(8, 4, 2))
    assert search.search() is None
    assert search.left(seen([trial(0, state="RUNNING", seconds=None)])) is None
    assert search.left(seen([trial(0)])) is not None


def test_before_a_trial_has_ended_the_measured_epoch_counts():
    slow, fast = (Estimate(WORK, seconds, 1.0) for seconds in (30.0, 3.0))
    assert slow.search().likely > 5 * fast.search().likely
    more = Estimate(replace(WORK, trials=16), 3.0, 1.0)
    assert more.search().likely == pytest.approx(2 * fast.search().likely, rel=0.3)
    alone = Estimate(replace(WORK, at_once=1), 3.0, 1.0)
    assert alone.search().likely > fast.search().likely
    assert 0 < fast.search().low < fast.search().likely < fast.search().high
    assert Estimate(WORK, 3.0, 60.0).search().likely >= fast.search().likely + 59


def test_what_trials_took_replaces_what_was_guessed():
    times = Estimate(WORK, epoch_seconds=1000.0)
    rows = [trial(n) for n in range(6)]
    # Two trials of 20 s at once, and no more.
    assert 20 <= times.search(rows).likely <= 30
    assert times.search([trial(n) for n in range(8)]) == Span()
    failed = [*rows, trial(6, state="FAILED"), trial(7, state="SKIPPED")]
    assert times.search(failed) == Span(), "what failed is not trained again"
    stopped = [*rows, trial(6, state="STOPPED"), trial(7, state="STOPPED")]
    assert times.search(stopped).likely > 0, "what was stopped goes on"


def test_the_range_becomes_narrower_with_every_trial():
    times = Estimate(replace(WORK, trials=40))
    widths = []
    for count in (1, 4, 16, 32):
        found = times.search([trial(n, 15 + 10 * (n % 2)) for n in range(count)])
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)


def test_the_time_limit_ends_the_search_and_not_what_follows():
    times = Estimate(replace(WORK, limit=60.0), epoch_seconds=100.0)
    first = times.search()
    assert first.high <= 60 + (TRIAL_SECONDS + 1.3 * 1.5 * 400) / 4 + 1
    rows = [trial(0, 100.0)]
    # A limit that is over lets trials end their epoch.
    assert times.search(rows, spent=90.0) == exactly(25.0)
    assert times.left(seen(rows, 90.0)).low > 25.0


def test_the_whole_way_counts_training_export_and_server():
    search, way = Estimate(Work(8, 4, 2), 2.0), Estimate(WORK, 2.0)
    fixed = FINAL_SECONDS + EXPORT_SECONDS + SERVE_SECONDS
    rows = [trial(0)]
    more = way.left(seen(rows)).likely - search.left(seen(rows)).likely
    assert more == way.after_search(rows).likely
    assert way.after_search(rows).likely > fixed + 12 * 2
    done = Estimate(replace(WORK, final_epochs=0), 2.0)
    assert done.after_search(rows) == done.after_training() == way.after_training()
    costly = [trial(0, seconds=200.0)]
    assert way.after_search(costly).likely > 3 * way.after_search(rows).likely - 3 * fixed


def test_more_workers_than_expected_are_seen():
    cluster = Estimate(Work(40, 4, 1))
    ended = [trial(n) for n in range(4)]
    running = [trial(n, state="RUNNING", seconds=None) for n in range(4, 12)]
    assert cluster.search([*ended, *running], 25.0).likely < cluster.search(ended).likely / 4


def test_options_say_what_there_is_to_do():
    options = SearchOptions(trials=9, epochs=6, executions=2, workers=3, budget=Budget(50.0))
    assert work_of(options) == Work(9, 12, 3, 50.0)
    assert work_of(options, 12) == Work(9, 12, 3, 50.0, True, 12)
    assert work_of(options, 0) == Work(9, 12, 3, 50.0, True, 0)
    assert work_of(replace(options, strategy="hyperband")).epochs == 6
    assert work_of(replace(options, workers=None, cluster="tcp://a:1")).at_once == 1


@pytest.mark.parametrize("seed", range(5))
def test_most_searches_end_within_the_range(seed):
    """Trials of very different cost on two workers: what was left after the second, and later."""
    rng = random.Random(seed)
    inside = total = 0
    for _ in range(60):
        seconds = [rng.lognormvariate(3, 0.5) for _ in range(10)]
        free, ends = [0.0, 0.0], []
        for value in seconds:
            start = min(free)
            free[free.index(start)] = start + value
            ends.append(start + value)
        for now in sorted(ends)[1:8:2]:
            rows = [
                trial(n, value) if end <= now
                else trial(n, None, "RUNNING")
                for n, (value, end) in enumerate(zip(seconds, ends, strict=True))
                if end - value <= now
            ]  # fmt: skip
            found = Estimate(Work(10, 4, 2)).search(rows, spent=now)
            inside += found.low <= max(ends) - now <= found.high
            total += 1
    assert inside / total > 0.7
