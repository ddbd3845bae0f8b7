"""What benchmarks/architectures.py and its notebook stand on: tasks, equal sizes, pictures."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def benchmarks_importable():
    sys.path.append(str(ROOT / "benchmarks"))  # behind the packages, whose names some scripts have
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


class Drawn:
    """Stands for a generator of random numbers that draws what it was given."""

    def __init__(self, numbers):
        self.numbers = np.array(numbers)

    def integers(self, high, size):
        assert self.numbers.shape == size
        assert self.numbers.max() < high
        return self.numbers


def test_tasks_by_hand():
    from architectures_structure import first_symbol, running_sum

    symbols, answers = first_symbol(Drawn([[5, 7, 0], [2, 2, 1]]), 2, 3)
    assert symbols.tolist() == [[5, 7, 0], [2, 2, 1]]
    assert answers.tolist() == [[5, 5, 5], [2, 2, 2]]
    _, answers = running_sum(Drawn([[1, 2, 2, 0], [0, 1, 1, 1]]), 2, 4)
    assert answers.tolist() == [[1, 0, 2, 2], [0, 1, 2, 0]]


def test_networks_of_a_comparison_are_of_one_size():
    from architectures_networks import ARCHITECTURES, sized, stack_parameters

    counts = {
        name: stack_parameters(sized(name, 64, 26, 32, causal), 32)
        for name in ARCHITECTURES
        for causal in (True, False)
    }
    assert max(counts.values()) / min(counts.values()) < 1.05, counts
    # Twelve matrices of width by width in a block, and the vectors beside them.
    width, blocks = 32, 2
    vectors = 13 * width  # biases of 4 + 1 maps of attention, 4 + 1 of the layer, gains and offsets
    ends = 32 * width + width + 2 * 2 * width
    assert counts["transformer"] == blocks * (12 * width**2 + vectors) + ends


def test_a_learner_reports_what_it_found():
    from architectures_structure import learnt

    row = learnt("running sum", "gru", 3, seconds=0.5, steps=1, rates=(1e-2,))
    assert row["chance"] == pytest.approx(1 / 3)
    assert row["steps"] == 1
    for name in ("validation", "test", "test at twice the length", "counts of symbols"):
        assert 0 <= row[name] <= 1


def test_pictures_have_a_line_for_each_network():
    from architectures_pictures import pictures

    rows = [
        {"part": "cost", "measured": "whole sequence", "batch": 1, "length": length,
         "architecture": name, "ms": ms}
        for name, ms in (("gru", 1.0), ("tcn", 2.0)) for length in (16, 64)
    ]  # fmt: skip
    rows += [
        {"part": "text", "data": "mr", "size": size, "architecture": "gru", "test": 0.7}
        for size in (250, 1000)
    ]
    found = pictures(rows)
    assert sorted(found) == ["answer", "sizes"]
    texts = [mark.text for mark in found["answer"].marks if mark.kind == "text"]
    assert {"GRU", "TCN"} <= set(texts)
    assert "Transformer" not in texts


def test_what_is_measured_is_not_measured_again(tmp_path):
    from architectures import append, measured

    out = tmp_path / "rows.jsonl"
    key = {"part": "cost", "length": 16}
    assert measured(out, key) == []
    append(out, key, [{"ms": 1.5}, {"ms": 2.5}])
    append(out, {"part": "cost", "length": 64}, [{"ms": 9.0}])
    assert [row["ms"] for row in measured(out, key)] == [1.5, 2.5]
