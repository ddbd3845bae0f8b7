"""What stands under a result can be copied into a shell as it is."""

import shlex

import pytest

import tasks
from tasks.kinds.contract import DataOptions
from tasks.stages.next_steps import command, predicting, show_next


@pytest.mark.parametrize("text", ["it's fine", 'say "no"', "$HOME `ls` *", "a  b"])
def test_an_example_is_quoted_for_the_shell(tmp_path, text):
    line = predicting(tmp_path / "a run", tasks.get("sentiment"), DataOptions(), [text])
    assert shlex.split(line) == ["seqloom", "predict", str(tmp_path / "a run"), text]


@pytest.mark.parametrize("text", ["", "x" * 200, "two\nlines", "--flag", b"\xff"])
def test_what_nobody_would_type_is_left_out(tmp_path, text):
    found = predicting(tmp_path, tasks.get("sentiment"), DataOptions(), [text, "fine"])
    assert shlex.split(found)[-1] in ("fine", "\ufffd")


def test_where_inputs_are_no_texts_their_file_is_asked_about(tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("x\n1\n")
    forecast = tasks.get("forecast")
    assert predicting(tmp_path, forecast, DataOptions(), [{"x": [1.0]}]) is None
    line = predicting(tmp_path, forecast, DataOptions(str(table)), [{"x": [1.0]}])
    assert shlex.split(line)[3:5] == ["--file", str(table)]
    known = DataOptions(str(table), reading={"known": "holiday"})
    assert predicting(tmp_path, forecast, known, [{"x": [1.0]}]) is None


def test_nothing_is_said_where_there_is_nothing(capsys):
    show_next(None)
    show_next(command("export", "r"), None)
    captured = capsys.readouterr()
    assert captured.err == "next:\n  seqloom export r\n"
    assert captured.out == ""
