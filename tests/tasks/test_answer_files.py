"""``predict --file IN --out OUT``: every column of IN stays, the answers stand beside them."""

import csv
import json

import pytest

import tasks
from common.errors import DataError
from pipelines.answer_files import AskedFile, beside, check_answer_file, write_answer_rows
from tasks.stages import predicting
from tasks.stages.predicting import predict

ROWS = [("7", "a warm film", "x"), ("9", 'no, not good; "bad"', ""), ("7", "a warm film", "é")]


def table_of(path, names, rows):
    """Writes rows to a csv, tsv or jsonl file."""
    write_answer_rows(path, [dict(zip(names, row, strict=True)) for row in rows])
    return path


def rows_of(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize("given", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("wanted", ["csv", "tsv", "jsonl"])
def test_columns_of_texts_stay_in_any_format(sentiment_bundle, tmp_path, given, wanted):
    asked = table_of(tmp_path / f"in.{given}", ["id", "text", "label"], ROWS)
    out = tmp_path / f"out.{wanted}"
    found = predict(sentiment_bundle, [], asked, out=out)
    assert found.files == [out]
    rows = rows_of(out)
    assert [(row["id"], row["text"], row["label"]) for row in rows] == ROWS
    # The file has a column of that name, which is not overwritten.
    assert [row["predicted_label"] for row in rows] == [one["label"] for one in found.answers]
    numbers = [float(row["probability"]) for row in rows]
    assert numbers == [one["probability"] for one in found.answers]


def test_many_inputs_are_asked_in_parts_and_keep_their_order(sentiment_bundle, monkeypatch):
    texts = [f"a {'good' if i % 3 else 'bad'} film {i}" for i in range(7)]
    whole = predict(sentiment_bundle, texts).answers
    monkeypatch.setattr(predicting, "AT_ONCE", 3)
    parts = predict(sentiment_bundle, texts).answers
    assert [one["label"] for one in parts] == [one["label"] for one in whole]
    for one, same in zip(parts, whole, strict=True):
        assert one["probabilities"] == pytest.approx(same["probabilities"], abs=1e-6)


def test_typed_texts_and_lines_have_one_column(sentiment_bundle, tmp_path):
    (tmp_path / "more.txt").write_text("no good\n")
    predict(sentiment_bundle, ["a film"], tmp_path / "more.txt", out=tmp_path / "out.csv")
    assert [row["input"] for row in rows_of(tmp_path / "out.csv")] == ["a film", "no good"]
    asked = table_of(tmp_path / "in.csv", ["id", "text"], [("1", "bad")])
    predict(sentiment_bundle, ["a film"], asked, out=tmp_path / "out.csv")
    rows = rows_of(tmp_path / "out.csv")
    assert [(row["input"], row["id"], row["text"]) for row in rows] == [
        ("a film", "", ""), ("", "1", "bad"),
    ]  # fmt: skip


def test_columns_that_do_not_fit_their_answers_are_refused(tmp_path):
    asked = AskedFile.of(table_of(tmp_path / "in.csv", ["text"], [("one",), ("two",)]))
    assert asked.beside_inputs(["one", "two"]) == [{"text": "one"}, {"text": "two"}]
    for other in (["one"], ["two", "one"], ["one", "two", "three", "four"]):
        with pytest.raises(DataError, match=r"in\.csv cannot be put beside"):
            asked.beside_inputs(other)


def test_a_file_without_a_header_keeps_its_columns(tmp_path):
    (tmp_path / "in.csv").write_text("good film,3\nbad film,1\n")
    asked = AskedFile.of(tmp_path / "in.csv", typed=1)
    assert asked.beside_inputs(["typed", "good film", "bad film"]) == [
        {}, {"1": "good film", "2": "3"}, {"1": "bad film", "2": "1"},
    ]  # fmt: skip


def test_names_never_clash():
    assert beside({"a": 1, "predicted_a": 2}, {"a": 3, "b": 4}) == {
        "a": 1, "predicted_a": 2, "predicted_predicted_a": 3, "b": 4,
    }  # fmt: skip


def test_an_unknown_extension_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"answers\.xlsx: name a file that ends with \.csv"):
        check_answer_file(tmp_path / "answers.xlsx")


def anomalies_of(rows):
    """What a detector of column ``x`` would answer to a series."""
    return {"score": [0.5] * rows, "anomaly": [0] * (rows - 1) + [1], "alarms": [rows - 1],
            "expected": {"x": [1.5] * rows}, "series": "in.csv"}  # fmt: skip


@pytest.mark.parametrize("wanted", ["csv", "tsv", "jsonl"])
def test_rows_of_series_keep_their_columns_and_order(tmp_path, wanted):
    from pipelines.series_reader import SeriesColumns, read_series

    task = tasks.get("anomaly")
    # Out of order, one stamp twice, a column of notes: nothing may be lost.
    rows = [("2020-01-01 02:00", "3", "late"), ("2020-01-01 00:00", "1", ""),
            ("2020-01-01 01:00", "2", "twice"), ("2020-01-01 01:00", "2.5", "kept"),
            *((f"2020-01-01 {hour:02d}:00", str(hour), "") for hour in range(3, 15))]  # fmt: skip
    asked = table_of(tmp_path / "in.csv", ["time", "x", "note"], rows)
    series, _ = read_series(asked, SeriesColumns(targets=("x",)), regular=False)
    raw = [{"series": "in.csv", "values": one.values, "time": one.times, "lines": one.lines}
           for one in series]  # fmt: skip
    out = tmp_path / f"out.{wanted}"
    answers = [anomalies_of(len(series[0]))]
    assert task.write_answers(None, raw, answers, out, AskedFile.of(asked))[0] == out
    found = rows_of(out)
    assert [(row["time"], row["x"], row["note"]) for row in found] == rows
    scores = [row.get("score") for row in found]
    assert [number in (None, "") for number in scores] == [row[2] == "twice" for row in rows]
    assert str(found[-1]["alarm"]) == "1"
    assert float(found[-1]["x_expected"]) == 1.5


def test_forecasts_keep_what_tells_their_series_apart(tmp_path):
    from pipelines.series_reader import SeriesColumns, read_series

    task = tasks.get("forecast")
    rows = [(f"2020-01-{day:02d}", store, city, str(day), "note")
            for store, city in (("1", "Oslo"), ("2", "Rome")) for day in range(1, 9)]  # fmt: skip
    asked = table_of(tmp_path / "in.csv", ["date", "store", "city", "sales", "note"], rows)
    wanted = SeriesColumns(id="store", targets=("sales",))
    series, _ = read_series(asked, wanted)
    raw = [{"series": one.name, "values": one.values, "time": int(one.times[-1]),
            "times": one.times, "lines": one.lines} for one in series]  # fmt: skip
    fan = {"mean": [1.0, 2.0], **{level: [0.5, 0.5] for level in ("0.1", "0.5", "0.9")}}
    answers = [{"series": one.name, "times": ["2020-01-09", "2020-01-10"], "sales": fan}
               for one in series]  # fmt: skip
    task.write_answers(None, raw, answers, tmp_path / "out.csv", AskedFile.of(asked))
    found = rows_of(tmp_path / "out.csv")
    assert [(row["store"], row["city"], row["time"]) for row in found] == [
        ("1", "Oslo", "2020-01-09"), ("1", "Oslo", "2020-01-10"),
        ("2", "Rome", "2020-01-09"), ("2", "Rome", "2020-01-10"),
    ]  # fmt: skip
    assert [row["mean"] for row in found] == ["1.0", "2.0"] * 2
