"""A reminder comes where nothing was said, and only there."""

import time

import pytest

from common import telling


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(telling.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(telling, "_said", telling._Said())
    return now


def test_silence_counts_from_the_last_line_and_not_under_a_bar(clock):
    telling.told("reading")
    clock[0] += 7
    assert telling.silent_for() == 7
    telling.bar_shown(True)
    clock[0] += 60
    assert telling.silent_for() == 0
    telling.bar_shown(False)
    clock[0] += 3
    assert telling.silent_for() == 3


def test_what_takes_long_is_named_again(monkeypatch, capsys):
    monkeypatch.setattr(telling, "_said", telling._Said())
    monkeypatch.setattr(telling, "SILENCE_SECONDS", 0.2)
    with telling.reminding():
        telling.told("exporting")
        time.sleep(1.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("... ") and line.endswith(" s: exporting") for line in lines)
    time.sleep(1)
    assert capsys.readouterr().err == "", "a command that has ended is not waited for"
