"""A search as it runs, shown on a terminal and elsewhere."""

import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from tasks.stages.estimating import Estimate, Work
from tasks.stages.live import BEST_SHOWN, SearchDisplay, configuration, ended_line
from tuning.leaderboard import TrialRow, ranked
from tuning.search import SearchProgress

VALUES = {"cell": "gru", "units": 64, "rate": 0.00123456}
BEST = TrialRow("0002", "COMPLETED", VALUES, 0.87654, epochs=6, seconds=12.4, parameters=1234567)
WORSE = replace(BEST, trial="0000", values={"cell": "lstm"}, score=0.5, seconds=3.6)
FAILED = TrialRow("0001", "FAILED", {"cell": "rnn"}, seconds=2.0, message="the loss became NaN")
RUNNING = TrialRow("0003", "RUNNING", {"cell": "lstm", "units": 32})
ROWS = ranked([WORSE, FAILED, BEST, RUNNING], "max")


def progress(rows=ROWS, spent=3725.9, **news):
    running = [row.trial for row in rows if row.state == "RUNNING"]
    return SearchProgress(list(rows), spent, running, **news)


@pytest.fixture
def shown(tmp_path):
    """Shows moments; gives all that was printed."""

    def show(*moments, terminal=False, width=100):
        file = StringIO()
        console = Console(file=file, force_terminal=terminal, width=width, height=40,
                          color_system=None)  # fmt: skip
        with SearchDisplay(tmp_path, 8, console) as display:
            for each in moments:
                display.show(each)
        return file.getvalue()

    return show


def rendered(display, at, width=110):
    file = StringIO()
    display.console = Console(file=file, width=width, color_system=None)
    display.console.print(display.table(at))
    return file.getvalue().splitlines()


def cells(line):
    return [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]


def test_a_configuration_is_short():
    assert configuration(BEST) == "cell=gru, units=64, rate=0.00123"
    assert configuration(replace(BEST, values={"deep": True, "rate": 1e-05})) == (
        "deep=True, rate=1e-05"
    )
    assert configuration(replace(BEST, values={})) == ""


def test_a_line_tells_how_a_trial_ended_and_the_best_so_far():
    assert ended_line(WORSE, ROWS) == ("trial 0000: 0.5000 in 4 s, best so far 0.8765 | cell=lstm")
    assert ended_line(FAILED, ROWS) == (
        "trial 0001: FAILED (the loss became NaN) in 2 s, best so far 0.8765 | cell=rnn"
    )
    assert ended_line(FAILED, [FAILED]) == (
        "trial 0001: FAILED (the loss became NaN) in 2 s, none so far | cell=rnn"
    )
    stopped = replace(WORSE, state="STOPPED", seconds=None)
    assert ended_line(stopped, [stopped]) == (
        "trial 0000: 0.5000 (stopped early) in -, best so far 0.5000 | cell=lstm"
    )


def test_elsewhere_than_on_a_terminal_there_are_lines_alone(shown, tmp_path):
    text = shown(
        progress(ROWS[2:]),
        progress(message="trial 0001: [no] layer; it is started again"),
        progress(ended=FAILED),
        progress(),
        progress(ended=BEST),
    )
    assert text.splitlines() == [
        f"search: {tmp_path}",
        "trial 0001: [no] layer; it is started again",
        ended_line(FAILED, ROWS),
        ended_line(BEST, ROWS),
    ]
    assert "\x1b" not in text


def test_a_long_line_is_not_broken(shown):
    long = replace(FAILED, message="x" * 300)
    assert ended_line(long, ROWS) in shown(progress(ended=long), width=40).splitlines()


def test_a_terminal_has_the_table_that_goes_and_the_lines_that_stay(shown, tmp_path):
    text = shown(progress(ended=FAILED), progress(ended=BEST), terminal=True)
    assert f"search: {tmp_path}" in text
    for words in ("configuration", "1,234,567", "3 of 8 trials, 1:02:05 spent", "0.8765"):
        assert words in text, words
    assert ended_line(BEST, ROWS) in text
    assert "\x1b[?25l" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is there again"
    assert "\x1b[2K" in text, "the table is taken away"


def test_the_table_has_the_best_first_and_what_runs_last(tmp_path):
    display = SearchDisplay(tmp_path, 8, Console(file=StringIO()))
    lines = rendered(display, progress())
    table = [cells(line) for line in lines if "│" in line or "┃" in line]
    assert table == [
        ["trial", "state", "score", "epochs", "seconds", "parameters", "configuration"],
        ["0002", "COMPLETED", "0.8765", "6", "12", "1,234,567", "cell=gru, units=64, rate=0.00123"],
        ["0000", "COMPLETED", "0.5000", "6", "4", "1,234,567", "cell=lstm"],
        ["0001", "FAILED", "", "", "2", "", "cell=rnn"],
        ["0003", "RUNNING", "", "0", "", "", "cell=lstm, units=32"],
    ]
    assert lines[-1].strip() == "3 of 8 trials, 1:02:05 spent"


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_on_any_terminal_each_trial_is_one_line_with_its_score(tmp_path, width):
    long = replace(BEST, values={**VALUES, "pooling": "attention", "dropout": 0.4, "layers": 3,
                                 "bidirectional": True, "embedding_dim": 128})  # fmt: skip
    display = SearchDisplay(tmp_path, 8, Console(file=StringIO()))
    lines = rendered(display, progress(ranked([WORSE, FAILED, long, RUNNING], "max")), width)
    assert max(map(len, lines)) <= width
    table = [cells(line) for line in lines if "│" in line or "┃" in line]
    assert len(table) == 5
    assert {"trial", "score", "configuration"} <= set(table[0])
    assert table[1][0] == "0002"
    assert "0.8765" in table[1]
    assert table[1][-1].startswith("cell=gru")


def test_the_time_that_is_left_is_told_as_soon_as_it_is_known(shown, tmp_path):
    display = SearchDisplay(tmp_path, 8, Console(file=(file := StringIO()), width=300))
    display.estimate = Estimate(Work(trials=8, epochs=6, at_once=1))
    display.show(progress(ended=BEST, rows=[BEST], spent=12.4))
    display.show(progress(ended=BEST, rows=[replace(BEST, trial=f"{n:04d}") for n in range(8)]))
    first, last = file.getvalue().splitlines()
    # Seven more of 12.4 s each.
    assert "best so far 0.8765, about 85 s (" in first
    assert "left | cell=gru" in first
    assert "left" not in last


def test_between_two_trials_the_time_that_is_left_goes_down(tmp_path):
    display = SearchDisplay(tmp_path, 8, Console(file=StringIO()))
    display.estimate = Estimate(Work(trials=8, epochs=6, at_once=1))
    display.show(progress([BEST, RUNNING], spent=12.4, ended=BEST))

    def last(spent):
        return rendered(display, progress([BEST, RUNNING], spent))[-1]

    found = [int(re.search(r"about (\d+) s", last(spent))[1]) for spent in (12.4, 32.4, 52.4)]
    assert found[0] - found[1] == found[1] - found[2] == 20
    assert "left" not in last(500.0)


def test_a_running_trial_shows_the_epochs_it_has_reached(tmp_path):
    display = SearchDisplay(tmp_path, 8, Console(file=StringIO()))
    for execution, epochs in enumerate((3, 1)):
        run = tmp_path / "trials" / "0003" / f"run-{execution}"
        run.mkdir(parents=True)
        rows = "".join(f"{epoch},0.5\n" for epoch in range(epochs))
        (run / "history.csv").write_text(f"epoch,val_accuracy\n{rows}")
    (line,) = [line for line in rendered(display, progress()) if "RUNNING" in line]
    assert cells(line)[3] == "3"


def test_a_long_search_shows_its_best_and_all_that_runs(tmp_path):
    many = [replace(WORSE, trial=f"{n:04d}", score=n / 100) for n in range(30)]
    running = [replace(RUNNING, trial=f"{n:04d}") for n in (30, 31)]
    display = SearchDisplay(tmp_path, 40, Console(file=StringIO()))
    lines = rendered(display, progress(ranked([*many, *running], "max"), spent=59.9))
    trials = [cells(line)[0] for line in lines if "│" in line]
    assert trials == [f"{n:04d}" for n in [*range(29, 29 - BEST_SHOWN, -1), 30, 31]]
    assert lines[-1].strip() == "30 of 40 trials, 0:00:59 spent"


def test_what_was_cut_or_left_empty_is_counted_for_what_it_is(tmp_path):
    rows = [BEST, replace(WORSE, state="STOPPED"), TrialRow("0004", "SKIPPED", {})]
    display = SearchDisplay(tmp_path, 8, Console(file=StringIO()))
    lines = rendered(display, progress(rows))
    assert lines[-1].startswith("2 of 8 trials"), "a stopped trial goes on with more time"
    assert sum("STOPPED" in line for line in lines) == 1


def test_the_display_is_put_away_after_an_interrupt(tmp_path):
    console = Console(file=StringIO(), force_terminal=True, color_system=None)
    display = SearchDisplay(tmp_path, 8, console)

    def interrupted():
        with display:
            display.show(progress())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert display.live is None
    assert "\x1b[?25h" in console.file.getvalue(), "the cursor is there again"


def test_a_notebook_has_a_table_that_changes_in_place(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("tasks.stages.live.in_notebook", lambda: True)
    display = SearchDisplay(tmp_path, 2)
    monkeypatch.setattr(display.cell, "show", lambda *what: seen.append(what))
    display.show(progress(ended=ROWS[0]))
    html, text, at_once = seen[0]
    assert f"<td>{ROWS[0].trial}</td>" in html
    assert f"{ROWS[0].score:.4f}" in text
    assert at_once
