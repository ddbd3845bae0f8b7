"""Windows over series: where they lie, what they hold, and batches of them without copies."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipelines.frequency import HOUR, Frequency
from pipelines.series import Series
from pipelines.splits import PARTS
from pipelines.window_batches import shuffled_windows, window_batches
from pipelines.windows import (
    Table,
    Windows,
    covered_spans,
    joined,
    parse_split,
    spans_by_series,
    split_windows,
    thinned,
)


def a_series(rows, name="s", first=0, columns=4):
    """Row i holds 10 * (first + i) and, in the columns after it, one more each."""
    values = 10.0 * (first + np.arange(rows))[:, None] + np.arange(columns)
    names = tuple("abcdefgh"[:columns])
    times = HOUR * np.arange(first, first + rows)
    return Series(name, times, values.astype(np.float32), names, Frequency(HOUR))


def a_table(*sizes, targets=1, inputs=2):
    names = [f"s{i}" for i in range(len(sizes))]
    each = zip(sizes, names, range(0, 1000 * len(sizes), 1000), strict=True)
    return Table.of([a_series(*one) for one in each], targets, inputs)


@pytest.mark.parametrize(("text", "rows", "parts"), [
    ("0.7,0.1,0.2", 1000, (700, 100, 200)),
    ("0.7/0.1/0.2", 1000, (700, 100, 200)),
    (" 0.7 , 0.1 , 0.2 ", 10, (7, 1, 2)),
    ("0.6,0.2,0.2", 14, (8, 3, 3)),  # borders at 8.4, 11.2 and 14
    ("0.5,0.25,0.25", 10, (5, 3, 2)),  # a half is rounded up
    ("0.7,0.1,0.1", 100, (70, 10, 10)),  # the rest is not used
    ("0.1,0.2,0.7", 7, (1, 1, 5)),
    ("1,0,0", 9, (9, 0, 0)),
    ("8,1,1", 10, (8, 1, 1)),
    ("8640/2880/2880", 17420, (8640, 2880, 2880)),
    ("7,0,3", 12, (7, 0, 3)),
    ("2,1,1", 4, (2, 1, 1)),
])  # fmt: skip
def test_split(text, rows, parts):
    assert parse_split(text, rows) == parts


@pytest.mark.parametrize("text", [
    "", "0.7", "0.7,0.3", "0.7,0.1,0.1,0.1", "a,b,c", "0.7,0.1,", "-0.1,0.5,0.6", "0,0.5,0.5",
    "0/5/5", "1/0/0/1", "nan,0.1,0.1", "inf,1,1", "1//2",
])  # fmt: skip
def test_a_split_that_is_none_is_refused_with_an_example(text):
    with pytest.raises(DataError, match=r"--split .*0\.7,0\.1,0\.2 or .*8640,2880,2880"):
        parse_split(text, 100)


@pytest.mark.parametrize("text", ["0.7,0.2,0.2", "60,30,30", "1.5,1,1", "100,1,0", "1e400,1,1"])
def test_more_rows_than_there_are_are_refused_by_number(text):
    with pytest.raises(DataError, match=r"--split .* rows where the series has 100"):
        parse_split(text, 100)


@given(st.integers(1, 5000), st.integers(1, 98), st.data())
def test_shares_of_one_use_every_row(rows, train, data):
    validation = data.draw(st.integers(0, 100 - train))
    shares = [train, validation, 100 - train - validation]
    parts = parse_split(",".join(f"{share / 100:.2f}" for share in shares), rows)
    assert sum(parts) == rows
    for share, part in zip(shares, parts, strict=True):
        assert abs(part - share * rows / 100) <= 1


@pytest.mark.parametrize(("stride", "train", "validation", "test"), [
    (1, [0, 1, 2, 3, 4, 5], [7, 8, 9, 10], [12, 13, 14, 15]),
    (2, [0, 2, 4], [7, 9], [12, 14]),
    (5, [0, 5], [7], [12]),
    (99, [0], [7], [12]),
])  # fmt: skip
def test_futures_never_cross_a_border_and_pasts_may(stride, train, validation, test):
    # Rows 0-9, 10-14 and 15-19; three of the past and two to forecast.
    parts, notes = split_windows(a_table(20), 3, 2, "10,5,5", stride)
    assert notes == []
    assert {part: windows.starts.tolist() for part, windows in parts.items()} == {
        "train": train, "validation": validation, "test": test,
    }  # fmt: skip
    assert {(w.lookback, w.horizon) for w in parts.values()} == {(3, 2)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(10, 60), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_series_and_parts_are_never_mixed(sizes, lookback, horizon, stride):
    table = a_table(*sizes)
    try:
        parts, notes = split_windows(table, lookback, horizon, "0.6,0.2,0.2", stride)
    except DataError:
        return
    used = set()
    for number, (part, windows) in enumerate(parts.items()):
        for i, start in enumerate(windows.starts):
            series = int(windows.names[i][1:])
            used.add(series)
            borders = np.cumsum([0, *parse_split("0.6,0.2,0.2", sizes[series])])
            first = start - table.offsets[series]
            end = first + lookback + horizon
            assert 0 <= first <= end - horizon - lookback
            assert borders[number] <= first + lookback, part
            assert end <= borders[number + 1] <= sizes[series], part
        assert len(set(windows.starts)) == len(windows)
    assert bool(notes) == (len(used) < len(sizes))


def test_short_series_are_left_out_with_a_note():
    parts, notes = split_windows(a_table(20, 6, 30), 3, 2, "0.5,0.25,0.25")
    assert notes == ["1 of 3 series are too short for a window in each part and were left out: s1"]
    assert {name for windows in parts.values() for name in windows.names} == {"s0", "s2"}


def test_too_few_rows_name_the_flags():
    with pytest.raises(DataError) as error:
        split_windows(a_table(20), 9, 2, "10,5,5")
    text = str(error.value)
    assert "s0 has 20 rows (10 for train, 5 for validation, 5 for test)" in text
    assert "9 rows of the past and 2 of the future" in text
    assert "add --lookback 8 or less, change --split" in text
    assert split_windows(a_table(20), 8, 2, "10,5,5")[0]["train"].starts.tolist() == [0]
    with pytest.raises(DataError, match="20 rows"):
        split_windows(a_table(20), 3, 6, "10,5,5")
    with pytest.raises(DataError, match="0 for validation"):
        split_windows(a_table(20), 3, 2, "10,0,10")


@pytest.mark.parametrize(
    ("rows", "lookback", "horizon", "split"),
    [(20, 9, 2, "10,5,5"), (20, 3, 6, "10,5,5"), (20, 30, 30, "10,5,5"),
     (40, 50, 4, "0.5,0.25,0.25"), (30, 8, 0, "0.6,0.2,0.2"), (9, 100, 50, "5,2,2")],
)  # fmt: skip
def test_who_follows_the_advice_has_windows(rows, lookback, horizon, split):
    """The flags of the sentence are tried: they are the way out."""
    with pytest.raises(DataError) as error:
        split_windows(a_table(rows), lookback, horizon, split)
    flags = dict(re.findall(r"--(lookback|horizon|window) (\d+)", str(error.value)))
    assert flags, str(error.value)
    found = {"lookback": lookback, "horizon": horizon} | {k: int(v) for k, v in flags.items()}
    past = found.pop("window", found["lookback"])
    assert all(map(len, split_windows(a_table(rows), past, found["horizon"], split)[0].values()))


def test_the_longest_series_says_what_would_do():
    with pytest.raises(DataError, match="s1 has 20 rows"):
        split_windows(a_table(6, 20, 9), 30, 2, "0.5,0.25,0.25")


def test_one_series_is_not_copied_and_several_are_joined():
    one = a_series(5)
    table = Table.of([one], 1, 2)
    assert table.values is one.values
    assert table.offsets.tolist() == [0, 5]
    joined = Table.of([one, a_series(3, "t", 100)], 1, 2)
    assert joined.offsets.tolist() == [0, 5, 8]
    assert joined.names == ("s", "t")
    assert joined.values[:, 0].tolist() == [0, 10, 20, 30, 40, 1000, 1010, 1020]
    assert joined.times[5] == 100 * HOUR


def test_a_window_is_a_view_without_its_future():
    table = a_table(20)
    windows = Windows(table, np.array([4, 0, 7]), 3, 2)
    one = windows[0]
    assert one["series"] == "s0"
    assert one["values"].tolist() == [[40, 41], [50, 51], [60, 61]]
    assert one["time"] == 6 * HOUR
    assert one["known"].tolist() == [[10.0 * row + 2, 10 * row + 3] for row in range(4, 9)]
    assert np.shares_memory(one["values"], table.values)
    assert windows[-1]["values"][0, 0] == 70
    assert [window["time"] // HOUR for window in windows] == [6, 2, 9]
    with pytest.raises(IndexError):
        windows[3]


def test_a_slice_is_windows_again():
    windows = Windows(a_table(20), np.arange(10), 3, 2)
    part = windows[2:8:3]
    assert isinstance(part, Windows)
    assert part.starts.tolist() == [2, 5]
    assert (len(part), part.lookback, part.horizon) == (2, 3, 2)
    assert part.names == ["s0", "s0"]


def test_future_by_hand():
    windows = Windows(a_table(20, targets=2, inputs=3), np.array([0, 15]), 3, 2)
    wanted = [[[30, 31], [40, 41]], [[180, 181], [190, 191]]]
    assert windows.future().tolist() == wanted
    assert windows[1:].future().tolist() == wanted[1:]


def test_names_of_windows_of_many_series():
    windows = Windows(a_table(5, 5, 5), np.array([0, 4, 5, 9, 10]), 1, 0)
    assert windows.names == ["s0", "s0", "s1", "s1", "s2"]
    assert windows[2]["series"] == "s1"


def test_covered_rows_are_those_of_some_window():
    table = a_table(20)
    covered = joined(table, covered_spans(Windows(table, np.array([2, 5]), 3, 2)))
    assert covered[:, 0].tolist() == [10.0 * row for row in range(2, 10)]
    assert np.shares_memory(covered, table.values)
    three = a_table(6, 6, 6)
    both = joined(three, covered_spans(Windows(three, np.array([1, 12]), 2, 1)))
    assert both[:, 0].tolist() == [10, 20, 30, 20000, 20010, 20020]


def test_the_fingerprint_changes_with_whatever_decides_the_rows():
    table = a_table(20)
    changed = table.values.copy()
    changed[7, 1] += 1
    later = table.times.copy()
    later[3] += 1
    prints = [
        table.fingerprint("10,5,5"),
        table.fingerprint("10,4,6"),
        table.fingerprint("10,5,5", {"stride": 2}),
        replace(table, values=changed).fingerprint("10,5,5"),
        replace(table, times=later).fingerprint("10,5,5"),
        replace(table, columns=("a", "b", "c", "x")).fingerprint("10,5,5"),
        replace(table, offsets=np.array([0, 10, 20])).fingerprint("10,5,5"),
    ]
    assert len(set(prints)) == len(prints)
    again = replace(table, values=table.values.copy())
    assert again.fingerprint("10,5,5") == prints[0]
    assert len(prints[0]) == 64


def whole(rows):
    return rows


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(16, 30), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 7),
)
def test_batches_are_numpys_rows(sizes, lookback, horizon, batch_size):
    table = a_table(*sizes, targets=2, inputs=3)
    windows = split_windows(table, lookback, horizon, "0.5,0.25,0.25")[0]["validation"]
    made = window_batches(windows, whole, batch_size)
    assert made.options().autotune.enabled is False  # who lets go of it would wait
    batches = list(made.as_numpy_iterator())
    assert [len(batch["time"]) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    got = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    rows = windows.starts[:, None] + np.arange(lookback + horizon)
    np.testing.assert_array_equal(got["values"], table.values[rows][:, :lookback, :3])
    np.testing.assert_array_equal(got["known"], table.values[rows][..., 3:])
    np.testing.assert_array_equal(got["times"], table.times[rows[:, :lookback]])
    np.testing.assert_array_equal(got["time"], table.times[rows[:, lookback - 1]])
    np.testing.assert_array_equal(got["future"], windows.future())
    raw = [windows[i] for i in range(len(windows))]
    for name in ("values", "known", "time"):
        np.testing.assert_array_equal(got[name], [one[name] for one in raw])


def drawn(epochs, epoch):
    """Last rows of the windows of one epoch, batch by batch."""
    return [(b["time"] // HOUR).tolist() for b in epochs.one(epoch).as_numpy_iterator()]


def test_each_epoch_has_every_window_once_in_another_order():
    windows = split_windows(a_table(300), 3, 2, "250,25,25")[0]["train"]
    epochs = shuffled_windows(windows, whole, 32, seed=3)
    assert epochs.steps == 8 == -(-len(windows) // 32)
    orders = [drawn(epochs, epoch) for epoch in range(3)]
    for batches in orders:
        assert [len(batch) for batch in batches] == [32] * 7 + [246 - 7 * 32]
        assert sorted(sum(batches, [])) == (windows.starts + 2).tolist()
    flat = [sum(batches, []) for batches in orders]
    assert flat[0] != flat[1] != flat[2] != flat[0]
    assert np.abs(np.corrcoef(flat)[np.triu_indices(3, 1)]).max() < 0.3
    assert flat[0] != sorted(flat[0])


def test_seed_and_epoch_alone_decide_the_order():
    windows = split_windows(a_table(100), 3, 2, "80,10,10")[0]["train"]
    epochs = shuffled_windows(windows, whole, 16, seed=3)
    orders = [drawn(epochs, epoch) for epoch in range(3)]
    tf.random.set_seed(99)
    again = shuffled_windows(windows, whole, 16, seed=3)
    assert [drawn(again, epoch) for epoch in (2, 0, 1)] == [orders[2], orders[0], orders[1]]
    stream = again.starting_with(1).take(2 * again.steps).as_numpy_iterator()
    assert [(batch["time"] // HOUR).tolist() for batch in stream] == orders[1] + orders[2]
    assert drawn(shuffled_windows(windows, whole, 16, seed=4), 0) != orders[0]
    assert drawn(shuffled_windows(windows, whole, 16, seed=0), 1) != drawn(
        shuffled_windows(windows, whole, 16, seed=1), 0
    )


def test_examples_pass_through_prepare():
    windows = split_windows(a_table(20), 3, 2, "10,5,5")[0]["train"]

    def sums(rows):
        return tf.reduce_sum(rows["values"], (1, 2)), rows["future"][..., 0]

    for batches in (
        window_batches(windows, sums, 4), shuffled_windows(windows, sums, 4, 0).one(0)
    ):  # fmt: skip
        assert [x.shape[0] for x, _ in batches.as_numpy_iterator()] == [4, 2]
    totals = np.concatenate([x for x, _ in window_batches(windows, sums, 4).as_numpy_iterator()])
    assert totals.tolist() == [60.0 * start + 63 for start in range(6)]


def resident_bytes():
    try:
        import psutil

        return psutil.Process().memory_info().rss
    except ImportError:
        pass
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        pytest.skip("no psutil and no /proc")
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def test_a_mapped_table_stays_on_disk(tmp_path):
    rows, columns = 800_000, 64
    size = rows * columns * 4
    with open(tmp_path / "values", "wb") as file:
        file.truncate(size)  # of holes, which read as noughts
    values = np.memmap(tmp_path / "values", np.float32, "r+", shape=(rows, columns))
    names = tuple(map(str, range(columns)))
    series = Series("s", np.arange(rows) * HOUR, values, names, Frequency(HOUR))
    small = Table.of([replace(series, times=series.times[:999], values=values[:999])], 2, 60)

    def draw(table):
        windows = Windows(table, np.arange(500), 24, 8)
        seen = sum(len(batch["time"]) for batch in window_batches(windows, whole, 64))
        epoch = shuffled_windows(windows, whole, 64, 0).one(0)
        assert seen + sum(len(batch["time"]) for batch in epoch) == 1000

    draw(small)  # TensorFlow's own threads and buffers
    before = resident_bytes()
    draw(Table.of([series], 2, 60))
    assert size > 200e6
    assert resident_bytes() - before < 60e6


def test_windows_by_series_and_their_spans():
    windows = Windows(a_table(5, 5, 5), np.array([10, 0, 1, 12]), 2, 1)
    assert {number: places.tolist() for number, places in windows.by_series().items()} == {
        0: [1, 2],
        2: [0, 3],
    }
    assert spans_by_series(windows) == {0: slice(0, 4), 2: slice(10, 15)}
    assert Windows(a_table(5), np.array([], int), 2, 1).by_series() == {}


def test_of_many_windows_some_are_judged(monkeypatch):
    monkeypatch.setattr("pipelines.windows.MOST_JUDGED", 4)
    parts = {name: Windows(a_table(30), np.arange(10), 2, 1) for name in PARTS}
    found, notes = thinned(parts)
    assert found["train"] is parts["train"]
    assert found["test"].starts.tolist() == [0, 3, 6, 9]
    assert notes[1] == "The test part has 10 windows; one in 3 is judged, 4 in all."
    monkeypatch.setattr("pipelines.windows.MOST_JUDGED", 10)
    assert thinned(parts) == (parts, [])
