"""Batches: who is joined with whom, that answers stay the same, and what is refused."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ragged import Field
from serving.errors import RequestError
from serving.runtime.batching import Batcher, BatchOptions, bucket
from serving.runtime.runners import SignatureRunner


class Sums(SignatureRunner):
    """Sum over time of what is not padding; remembers the shape of each run."""

    joins, fields = True, {"x": Field(0)}

    def __init__(self):
        super().__init__({"inputs": {}, "outputs": {}})
        self.shapes, self.gate, self.taken = [], threading.Event(), threading.Event()
        self.gate.set()

    def execute(self, core, timeout=None):
        self.taken.set()
        self.gate.wait(60)
        self.shapes.append(core["x"].shape)
        if (core["x"] == 13).any():
            raise RequestError("thirteen")
        return {"y": core["x"].sum(1)}


def row(*values):
    return {"x": np.array([values], np.int64)}


class Held:
    """A batcher with one worker that is kept busy until `release`."""

    def __init__(self, **options):
        self.program = Sums()
        self.program.gate.clear()
        self.batcher = Batcher(BatchOptions(workers=1, **options))
        self.first = self.batcher.submit(self.program, row(1))
        assert self.program.taken.wait(60), "the worker has not taken it"

    def ask(self, *values, deadline=None):
        return self.batcher.submit(self.program, row(*values), deadline)

    def release(self):
        self.program.gate.set()
        self.batcher.close()
        return self.program.shapes[1:]


def test_buckets():
    assert [bucket(n) for n in (0, 16, 17, 24, 25, 33, 48, 49, 200, 256, 257)] == [
        16, 16, 24, 24, 32, 48, 48, 64, 256, 256, 384,
    ]  # fmt: skip


def test_like_lengths_are_joined_and_padded_and_unlike_ones_are_not():
    held = Held()
    asked = [held.ask(*[1] * n) for n in (20, 3, 100, 24, 99)]
    shapes = held.release()
    assert [future.result()["y"].tolist() for future in asked] == [[20], [3], [100], [24], [99]]
    # 20 waited longest, with 24 of its own bucket; then 3; then the long ones.
    assert shapes == [(2, 24), (1, 3), (2, 100)]


def test_a_bad_request_does_not_harm_the_others():
    held = Held()
    asked = [held.ask(5), held.ask(13), held.ask(7)]
    shapes = held.release()
    assert (asked[0].result()["y"], asked[2].result()["y"]) == ([5], [7])
    with pytest.raises(RequestError, match="thirteen"):
        asked[1].result()
    assert shapes == [(3, 1), (1, 1), (1, 1), (1, 1)]


def test_the_queue_is_bounded_and_the_cancelled_and_the_late_are_dropped():
    held = Held(max_waiting=3)
    kept, cancelled = held.ask(1), held.ask(2)
    late = held.ask(3, deadline=time.monotonic() - 1)
    with pytest.raises(
        RequestError, match="queue to which this task was submitted is full"
    ) as full:
        held.ask(4)
    assert full.value.code == "UNAVAILABLE"
    assert cancelled.cancel()
    assert held.release() == [(1, 1)]
    assert kept.result()["y"] == [1]
    with pytest.raises(RequestError, match="Timed out waiting for notification"):
        late.result()


def test_sizes_that_are_allowed_and_requests_that_are_too_large():
    held = Held(max_rows=4, allowed_rows=(2, 4))
    three = [held.ask(n) for n in (1, 2, 3)]
    shapes = held.release()
    assert [future.result()["y"].tolist() for future in three] == [[1], [2], [3]]
    assert shapes == [(4, 1)]
    program = Sums()
    large = {"x": np.arange(9).reshape(9, 1)}
    batcher = Batcher(BatchOptions(max_rows=4))
    assert batcher.submit(program, large).result()["y"].tolist() == list(range(9))
    assert program.shapes == [(4, 1), (4, 1), (1, 1)]
    batcher.close()
    batcher = Batcher(BatchOptions(max_rows=4, splits=False))
    with pytest.raises(RequestError, match="Task size 9 is larger than maximum input batch size 4"):
        batcher.submit(program, large)
    batcher.close()


def test_a_batch_waits_to_be_filled():
    program = Sums()
    batcher = Batcher(BatchOptions(workers=1, max_rows=2, delay_seconds=600.0))
    asked = [batcher.submit(program, row(1))]
    time.sleep(0.05)  # it waits already
    asked.append(batcher.submit(program, row(2)))
    assert [future.result(60)["y"].tolist() for future in asked] == [[1], [2]]
    assert program.shapes == [(2, 1)]
    batcher.close()


def test_a_batch_that_was_waited_for_is_not_shared():
    program = Sums()
    batcher = Batcher(BatchOptions(workers=2, max_rows=4, delay_seconds=600.0))
    asked = [batcher.submit(program, row(*[1] * 200)) for _ in range(4)]
    assert [future.result(60)["y"].tolist() for future in asked] == [[200]] * 4
    assert program.shapes == [(4, 200)]
    batcher.close()


def test_threads_start_with_the_work_for_them():
    batcher, program = Batcher(BatchOptions(workers=2)), Sums()
    assert not batcher._threads
    program.gate.clear()
    asked = [batcher.submit(program, row(*[1] * n)) for n in (3, 30, 300)]
    assert len(batcher._threads) == 2
    program.gate.set()
    assert [future.result(60)["y"].tolist() for future in asked] == [[3], [30], [300]]
    batcher.close()


@given(st.lists(st.integers(1, 200), max_size=30))
@settings(max_examples=20, deadline=None)
def test_the_longest_waiting_length_is_next(lengths):
    held, left, expected = Held(max_rows=4), list(lengths), []
    asked = [held.ask(*[1] * length) for length in lengths]
    while left:
        taken = [n for n in left if bucket(n) == bucket(left[0])][:4]
        expected.append((len(taken), max(taken)))
        for length in taken:
            left.remove(length)
    assert held.release() == expected
    assert [int(future.result()["y"][0]) for future in asked] == lengths


def test_models_without_a_batch_run_alone():
    program = Sums()
    program.joins = False
    batcher = Batcher(BatchOptions(workers=1))
    asked = [batcher.submit(program, row(n)) for n in range(5)]
    assert [future.result()["y"].tolist() for future in asked] == [[n] for n in range(5)]
    assert program.shapes == [(1, 1)] * 5
    batcher.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=70), min_size=1, max_size=40))
def test_any_mixture_gives_the_answers_of_each_alone(rows):
    program, batcher = Sums(), Batcher(BatchOptions(workers=2, max_rows=8))
    asked = [batcher.submit(program, row(*values)) for values in rows]
    assert [future.result(60)["y"].tolist() for future in asked] == [[sum(v)] for v in rows]
    batcher.close()


def test_who_has_more_to_submit_may_wake_the_threads_later():
    program, batcher, wakes = Sums(), Batcher(BatchOptions(workers=2)), []
    asked = [batcher.submit(program, row(n), later=wakes.append) for n in range(5)]
    assert len(wakes) == 1
    assert not program.shapes
    wakes[0]()
    assert [future.result(60)["y"].tolist() for future in asked] == [[n] for n in range(5)]
    assert program.shapes == [(5, 1)]
    again = batcher.submit(program, row(7), later=wakes.append)
    wakes[1]()
    assert again.result(60)["y"].tolist() == [7]
    batcher.close()


@pytest.mark.parametrize(
    ("length", "shapes"), [(200, [(5, 200), (5, 200)]), (16, [(6, 16), (4, 16)])]
)
def test_threads_share_what_is_there_where_it_is_enough_for_both(length, shapes):
    program, batcher, wakes = Sums(), Batcher(BatchOptions(workers=2)), []
    program.gate.clear()
    asked = [batcher.submit(program, row(*[1] * length), later=wakes.append) for _ in range(10)]
    wakes[0]()
    until = time.monotonic() + 60
    while batcher._waiting:
        assert time.monotonic() < until
        time.sleep(0.001)
    program.gate.set()
    assert [future.result(60)["y"].tolist() for future in asked] == [[length]] * 10
    assert sorted(program.shapes, reverse=True) == shapes
    batcher.close()
