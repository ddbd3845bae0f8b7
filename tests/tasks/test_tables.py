"""What people see of the tables: on terminals of any width, and in a file or pipe."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

import seqloom
from tasks.stages.console import show
from tasks.stages.table_layout import columns_of, table_width
from tasks.stages.tables import fitted_leaderboard, leaderboard_rows
from tests.reports.search_files import write_search
from tuning.leaderboard import TrialRow

ROOT = Path(seqloom.__file__).resolve().parent
VALUES = {
    "cell": "simple_rnn", "bidirectional": True, "layers": 2, "units": 128, "embedding_dim": 64,
    "pooling": "attention", "dropout": 0.4, "learning_rate": 0.00123456,
}  # fmt: skip
SCORES = [0.8125, 0.9375, 0.6875]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    trials = [
        {"score": score, "seconds": 123.4, "parameters": 1234567, "latency_ms": 12.345,
         "values": {**VALUES, "units": 32 * (n + 1)}}
        for n, score in enumerate(SCORES)
    ]  # fmt: skip
    trials.append({"state": "FAILED", "values": VALUES, "message": "no memory"})
    directory = tmp_path_factory.mktemp("tables") / "search"
    write_search(directory, trials)
    return directory


def on_terminal(width, *arguments):
    """Lines of a command's output on a pseudo-terminal, and its exit code."""
    owner, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    # What wishes to be obeyed instead of the terminal's own size.
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "seqloom", *map(str, arguments)], env=environment,
        cwd=ROOT, stdin=terminal, stdout=terminal, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(terminal)
    parts = []
    while True:
        try:
            part = os.read(owner, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(owner)
    process.communicate()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(parts).decode())
    return [line.rstrip() for line in text.replace("\r", "").splitlines()], process.returncode


def words(lines):
    return " ".join(lines).split()


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_scores_and_configurations_are_seen_at_any_width(search, width):
    lines, code = on_terminal(width, "leaderboard", search)
    assert code == 0
    table = [line for line in lines if "leaderboard.csv" not in line]
    assert all(cell_len(line) <= width for line in table)
    head = next(line for line in lines if "trial" in line)
    assert {"trial", "score"} <= set(head.split())
    assert ("state" in head) == (width > 40)
    rows = [line for line in lines if re.search(r"\b000[0-3]\b", line)]
    found = [next(s for s in map(str, SCORES) if s in row) for row in rows[:3]]
    assert found == ["0.9375", "0.8125", "0.6875"], "each trial's score is in its own line"
    assert ("FAILED" in rows[3]) == (width > 40)
    assert "…" not in "".join(lines), "nothing is cut off"
    text = words(lines)
    if width < 200:
        for name, value in VALUES.items():
            value = f"{value:.3g}" if isinstance(value, float) else value
            assert name == "units" or f"{name}={value}" in [word.strip(",") for word in text]
        assert "configuration" in text
        assert ("rank" in text) == (width == 110), "110 columns have room for all figures"
        assert any("not shown for lack of width: rank, seconds" in line for line in lines) == (
            width < 110
        )
    else:
        assert set(VALUES) <= set(head.split()), "a column for each"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["tasks"], ["tasks", "forecast"], ["doctor"]])
def test_no_other_table_cuts_anything_off_at_80_columns(arguments):
    narrow, code = on_terminal(80, *arguments)
    assert code == 0
    assert max(map(cell_len, narrow)) <= 80
    plain = subprocess.run(
        [sys.executable, "-m", "seqloom", *arguments], cwd=ROOT, capture_output=True, text=True
    ).stdout
    # Of a table in two parts the first column is there twice.
    there = Counter(re.findall(r"\w", " ".join(narrow)))
    assert not Counter(re.findall(r"\w", plain)) - there, "every character of the full table"


def test_a_pipe_gets_everything_in_one_line_each(search):
    done = subprocess.run(
        [sys.executable, "-m", "seqloom", "leaderboard", search], cwd=ROOT, capture_output=True,
        text=True,
    )  # fmt: skip
    head, *rows = done.stdout.splitlines()
    assert head.split() == [
        "rank", "trial", "state", "score", "epochs", "seconds", "parameters", "latency_ms", *VALUES
    ]  # fmt: skip
    assert [row.split()[1] for row in rows] == ["0001", "0000", "0002", "0003"]
    assert rows[0].split()[3:8] == ["0.9375", "3", "123.4", "1234567", "12.35"] or (
        rows[0].split()[3:8] == ["0.9375", "3", "123.4", "1234567", "12.34"]
    )
    assert not re.search(r"[─│┃…\x1b]", done.stdout)


class Terminal:
    """Stands for stdout, of a given width."""

    def __init__(self, monkeypatch, width):
        monkeypatch.setattr("tasks.stages.console.terminal_width", lambda: width)


EXPORTS = [
    {"format": name, "precision": "fp32", "status": "verified", "max |difference|": "1.2e-07",
     "same label": "100.00%", "accuracy": "0.7912", "ms at 1": "0.3", "ms at 32": "4.0",
     "size": "0.4 MB", "path": f"runs/sentiment-1/bundle/{name}/1/model.onnx"}
    for name in ("keras", "savedmodel", "onnx")
]  # fmt: skip


def test_columns_that_do_not_fit_follow_below_with_the_name_of_the_row(monkeypatch, capsys):
    Terminal(monkeypatch, 80)
    show(EXPORTS, note="a reason")
    text = capsys.readouterr().out
    assert max(map(cell_len, text.splitlines())) <= 80
    heads = [line.split() for line in text.splitlines() if line.startswith("format")]
    assert len(heads) == 2
    assert heads[1][-1] == "path"
    for row in EXPORTS:
        assert sum(line.startswith(row["format"]) for line in text.splitlines()) == 2
        assert all(value in text for value in row.values())
    assert text.endswith("a reason\n")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "score", "a longer name", "path", "detail"]),
            st.one_of(
                st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(0, 1),
                st.text("ab 名é", max_size=60),
            ),
        ),
        max_size=4,
    ),
    st.integers(20, 130),
)  # fmt: skip
def test_no_table_is_wider_than_the_terminal_and_none_loses_anything(rows, width):
    from io import StringIO

    from rich.console import Console

    from tasks.stages.table_layout import tables

    out, columns = StringIO(), columns_of(rows)
    console = Console(file=out, width=width, color_system=None)
    for block in tables(columns, width):
        console.print(block)
    lines = out.getvalue().splitlines()
    assert all(cell_len(line) <= width for line in lines)
    kept = out.getvalue()
    for column in columns:
        for cell in column.cells:
            for word in cell.split():
                assert all(kept.count(letter) >= word.count(letter) for letter in set(word))


def test_a_leaderboard_that_fits_is_left_alone(tmp_path):
    rows = [TrialRow("0000", "COMPLETED", {"u": 1}, score=0.5)]
    full, note = fitted_leaderboard(rows, None, tmp_path)
    assert fitted_leaderboard(rows, table_width(columns_of(full)), tmp_path) == (full, "")
    assert note == ""
    short, note = fitted_leaderboard(rows, table_width(columns_of(full)) - 1, tmp_path)
    assert short[0]["configuration"] == "u=1"


def test_a_pruned_trial_is_told_from_one_that_trained_to_its_end():
    rows = [
        TrialRow("0", "COMPLETED", {}, score=0.9),
        TrialRow("1", "COMPLETED", {}, score=0.8, pruned="why"),
    ]
    assert [row["state"] for row in leaderboard_rows(rows)] == ["COMPLETED", "PRUNED"]
