"""Rows that join and leave between steps write what each writes alone."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoding.prefill import prefill
from decoding.repetition import penalised
from decoding.running import RANGES, RunningRow, RunningRows, checked_settings
from decoding.sampling import choose, sample, uniforms
from decoding.stepping import DecodingError

END, SIZE = 1, 5
SHAPES = {"before": (), "sum": (2,)}
TABLE = np.random.default_rng(0).normal(scale=2, size=(SIZE, SIZE, SIZE)).astype(np.float32)
TABLE -= np.log(np.exp(TABLE).sum(-1, keepdims=True))


def step(ids, states):
    """What follows depends on the last two ids, and on all ids so far by their sum."""
    before, total = states["before"].astype(int), states["sum"] + ids[:, None]
    parity = (total[:, 0].astype(int) % 2)[:, None]
    values = TABLE[before, ids]
    values = np.where(parity == 1, values[:, ::-1], values)
    return values, {"before": ids.astype(np.float32), "sum": total}


def rows_of(seed, count):
    drawn = random.Random(seed)
    return [
        RunningRow(
            np.array([drawn.randrange(SIZE) for _ in range(drawn.randint(1, 9))], np.int32),
            {
                "temperature": drawn.choice([0.0, 0.7, 1.0, 1.5]), "top_k": drawn.choice([0, 1, 3]),
                "top_p": drawn.choice([0.5, 0.9, 1.0]), "max_tokens": drawn.randint(1, 12),
                "seed": drawn.randrange(-9, 9),
            },
        )
        for _ in range(count)
    ]  # fmt: skip


def alone(row):
    """Its ids by ``prefill`` and ``sample``, and their score."""
    states = {name: np.zeros((1, *shape), np.float32) for name, shape in SHAPES.items()}
    prompt = row.prompt[None]
    first, states = prefill(step, prompt, np.array([prompt.shape[1]]), states)
    found = sample(step, first, states, end=END, **row.settings)
    return found.ids[0, : found.lengths[0]].tolist(), float(found.scores[0])


@given(st.integers(0, 10_000), st.integers(1, 14))
def test_rows_that_come_and_go_write_what_each_writes_alone(seed, count):
    drawn = random.Random(seed)
    rows = rows_of(seed, count)
    waiting, running = list(rows), RunningRows(step, SHAPES)
    written, ended = {row: [] for row in rows}, set()
    while waiting or running:
        drawn.shuffle(waiting)
        for _ in range(drawn.randint(0 if running else 1, 3)):
            if waiting:
                running.join(waiting.pop())
        for row in drawn.sample(running.rows, drawn.randint(0, max(0, len(running) - 1))):
            running.leave(row, keep=True)  # put aside, to go on later
            waiting.append(row)
        for one in running.advance():
            assert one.error is None
            if one.id != END:
                written[one.row].append(one.id)
            if one.id == END or one.row.position == one.row.max_tokens:
                running.leave(one.row)
                ended.add(one.row)
    assert ended == set(rows)
    for row in rows:
        ids, score = alone(row)
        assert written[row] == ids
        assert row.score == pytest.approx(score, abs=1e-4)


def test_a_row_without_an_answer_fails_alone():
    def broken(ids, states):
        values, changed = step(ids, states)
        return np.where((ids == 3)[:, None], np.nan, values), changed

    running = RunningRows(broken, SHAPES)
    good, bad = (RunningRow(np.array([number], np.int32)) for number in (2, 3))
    for row in (good, bad):
        running.join(row)
    first, second = running.advance()
    assert (first.row, first.error) == (good, None)
    assert second.row is bad
    assert isinstance(second.error, DecodingError)
    running.leave(bad)
    assert running.rows == [good]


def test_repeats_lose_probability():
    values = np.log(np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], np.float32))
    seen = np.array([[True, False, False], [True, True, False]])
    found = np.exp(penalised(values, seen, [2.0, 1.0]))
    np.testing.assert_allclose(found, [[0.25, 0.25, 0.25], [0.5, 0.25, 0.25]], rtol=1e-6)
    np.testing.assert_allclose(np.exp(values), [[0.5, 0.25, 0.25]] * 2, rtol=1e-6)


def test_the_penalty_knows_the_prompt_and_what_was_written():
    table = np.log(np.array([0.4, 0.35, 0.25], np.float32))
    running = RunningRows(lambda ids, _: (np.tile(table, (len(ids), 1)), {}), {})
    settings = {"temperature": 0.0, "repetition_penalty": 4.0, "max_tokens": 4}
    running.join(RunningRow(np.array([0], np.int32), settings))
    found = [running.advance()[0] for _ in range(4)]
    # 0.4 ** 4 is below the others, which each fall once written; then all are penalised alike.
    assert [one.id for one in found] == [1, 2, 0, 0]
    assert [round(float(np.exp(one.log_probability)), 2) for one in found] == [0.35, 0.25, 0.4, 0.4]


def test_random_numbers_are_those_of_sample():
    running = RunningRows(step, SHAPES)
    row = RunningRow(np.array([2], np.int32), {"seed": 5})
    running.join(row)
    (drawn,) = running.advance()
    values, _ = step(np.array([2]), {n: np.zeros((1, *s), np.float32) for n, s in SHAPES.items()})
    assert drawn.id == choose(values, uniforms(5, 0))[0]


@pytest.mark.parametrize(("name", "value"), [
    ("temperature", -0.1), ("temperature", float("nan")), ("temperature", 101.0), ("top_p", 2.0),
    ("top_k", -1), ("max_tokens", 0), ("max_tokens", 1_000_000), ("repetition_penalty", 0.0),
])  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(DecodingError, match=f"^{name} is .*; it must be from "):
        checked_settings(name, np.array([1, value]))
    lowest = RANGES[name][1]
    assert checked_settings(name, np.array([lowest])).dtype == RANGES[name][0]
