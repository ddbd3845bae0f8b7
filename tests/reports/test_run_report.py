"""The page of a run: what it says, for finished runs and for runs that are still training."""

import base64
import dataclasses
import json
import re
from xml.etree import ElementTree

import pytest

from models.metric import Metric
from reports.judged import Judged, JudgedExample
from reports.judged_report import marked
from reports.learning import learning_curves, read_history, with_exponentials
from reports.reported_run import ReportedRun
from reports.run_report import run_page
from tests.reports.search_files import Whole

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HISTORY = [(0.6, 0.9, 0.55, 1.0), (0.7, 0.6, 0.80, 0.5), (0.9, 0.3, 0.75, 0.9)]
ACCURACY = Metric("accuracy", "max")


class Page(Whole):
    def __init__(self, text):
        super().__init__(text)
        self.images = [attributes for tag, attributes in self.elements if tag == "img"]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


CONFIG = {
    "task": "sentiment",
    "data": {"source": "my reviews.csv", "seed": 3, "reading": {"text_column": "a b"}},
    "model": {"cell": "gru", "units": 64, "epochs": 9},
    "preprocessor": {"lowercase": True},
    "seed": 5,
}


def write_run(directory, finished=True, config=None, metric=ACCURACY):
    """A run's directory as a training leaves it, without a network."""
    config = config or CONFIG
    write(directory / "config.json", config)
    about = {"python": "3.11.7", "packages": {"keras": "3.15"}, "data_fingerprint": "f" * 64}
    write(directory / "environment.json", about)
    lines = [f"{i}.0,{a},{b},{c},{d},2.0" for i, (a, b, c, d) in enumerate(HISTORY)]
    text = "epoch,accuracy,loss,val_accuracy,val_loss,seconds\n" + "\n".join(lines) + "\n"
    (directory / "history.csv").write_text(text, encoding="utf-8")
    if finished:
        metrics = {"validation": {"accuracy": 0.8, "macro_f1": 0.79},
                   "test": {"accuracy": 0.7812, "macro_f1": 0.77}}  # fmt: skip
        baseline = {"name": "bag of <words>", "validation": {"accuracy": 0.76},
                    "test": {"accuracy": 0.75, "majority_class": 0.5}}  # fmt: skip
        write(directory / "metrics.json", {
            "run": str(directory), "task": "sentiment", "metrics": metrics, "baseline": baseline,
            "parameters": 123456, "epochs": 3, "best_epoch": 2, "seconds": 75.0,
            "examples": {"train": 8000, "validation": 1000, "test": 1000},
        })  # fmt: skip
        (directory / "model.keras").write_bytes(b"weights")
        (directory / "pictures").mkdir()
        (directory / "pictures" / "error_by_length.png").write_bytes(PNG)
    kind = "text classification" if metric else ""
    return ReportedRun(directory, config, finished, kind, metric)


def bundle_of(config):
    item = {"status": "verified", "parity": 2.4e-7, "agreement": 1.0, "accuracy": 0.78,
            "latency_ms": {"1": 0.31, "32": 3.0}, "bytes": 700_000, "path": "onnx/2"}  # fmt: skip
    return {
        "format": 1, "version": 2, "config": config,
        "keras": {"accuracy": 0.78, "latency_ms": {"1": 4.8, "32": 15.2}},
        "artifacts": {
            "onnx": item,
            "tensorrt": {"status": "built", "reason": "no GPU here", "bytes": 10, "path": "t/2"},
        },
    }  # fmt: skip


def test_the_page_of_a_run_has_its_scores_and_settings(tmp_path):
    run = write_run(tmp_path / "sentiment-1")
    text = run_page(run)
    page = Page(text)
    for words in ("sentiment: sentiment-1", "my reviews.csv", "text classification", "8,000 train",
                  "seed 5", "0.7812", "123,456", "1 min 15 s", "3 epochs", "bag of <words>",
                  "on test the model's accuracy is better by 0.0312", "keras 3.15",
                  "fingerprint ffffffffffff ", "error by length"):  # fmt: skip
        assert words in page.text, words
    assert page.rows[:3] == [
        ["metric", "test: model", "test: baseline", "validation: model", "validation: baseline"],
        ["accuracy", "0.7812", "0.7500", "0.8000", "0.7600"],
        ["macro f1", "0.7700", "", "0.7900", ""],
    ]
    assert ["majority class", "", "0.5000", "", ""] in page.rows
    assert page.images[0]["src"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert "not finished" not in page.text
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_learning_curves_mark_the_epoch_that_was_kept(tmp_path):
    run = write_run(tmp_path / "r")
    history = read_history(run.path / "history.csv")
    drawing = learning_curves(history, "accuracy", "max", 2, baseline=0.76)
    ElementTree.fromstring(drawing.svg())
    big = [mark.tip for mark in drawing.marks if mark.kind == "circle" and mark.size == (5,)]
    assert big[:2] == ["epoch 2: val_accuracy 0.8000", "epoch 2: val_loss 0.5000"]
    words = [mark.text for mark in drawing.marks]
    assert "baseline 0.7600" in words
    assert "kept: epoch 2" in words
    # A baseline far away would flatten the curves.
    far = learning_curves(history, "accuracy", "max", 2, baseline=70.0)
    assert "baseline 70.0000" not in [mark.text for mark in far.marks]
    page = Page(run_page(run))
    assert "The weights of epoch 2 of 3 were kept" in page.text
    # The training loss falls from 0.6 to 0.3, the validation loss rises from 0.5 to 0.9.
    assert "memorises its training examples" in page.text


def test_perplexity_is_drawn_over_epochs_and_minutes(tmp_path):
    perplexity = Metric("perplexity", "min", exponential_of="loss")
    run = write_run(tmp_path / "r", metric=perplexity)
    history = with_exponentials(read_history(run.path / "history.csv"), perplexity)
    # By hand: e to the 0.5, e to the 0.9.
    assert [round(row["val_perplexity"], 4) for row in history] == [2.7183, 1.6487, 2.4596]
    drawing = learning_curves(history, "perplexity", "min", 2, timed=True)
    big = [mark.tip for mark in drawing.marks if mark.kind == "circle" and mark.size == (5,)]
    # Two seconds an epoch.
    assert big[:2] == ["epoch 2: val_perplexity 1.6487", "0.1 minutes: val_perplexity 1.6487"]
    words = [mark.text for mark in drawing.marks]
    assert "minutes" in words
    assert "loss" not in words
    assert "perplexity is that of its loss" in Page(run_page(run)).text
    untimed = [{k: v for k, v in row.items() if k != "seconds"} for row in history]
    words = [mark.text for mark in learning_curves(untimed, "perplexity", "min", 2).marks]
    assert "minutes" not in words
    diverged = [{"epoch": 0.0, "loss": 900.0, "val_loss": 900.0}]
    assert learning_curves(with_exponentials(diverged, perplexity), "perplexity", "min", 1)


def test_a_run_under_way_is_said_to_be_so(tmp_path):
    run = write_run(tmp_path / "r", finished=False)
    with (run.path / "history.csv").open("a", encoding="utf-8") as file:
        file.write("3.0,0.9")
    page = Page(run_page(run))
    assert "not finished: 3 epochs of at most 9 so far" in page.text
    assert "Scores" not in page.text
    assert "kept: epoch 2" in page.text


def test_a_run_just_begun_has_a_page(tmp_path):
    page = Page(run_page(ReportedRun(tmp_path, CONFIG, False, "text classification", ACCURACY)))
    assert "0 epochs of at most" in page.text


def test_remarks_stand_beside_the_scores(tmp_path):
    run = write_run(tmp_path / "r")
    path = run.path / "metrics.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    assert "half a <share>" not in Page(run_page(run)).text
    write(path, {**result, "remarks": ["half a <share>", "and no skill"]})
    assert "half a <share> and no skill" in Page(run_page(run)).text


def test_a_run_of_a_search_has_no_baseline(tmp_path):
    run = write_run(tmp_path / "best")
    path = run.path / "metrics.json"
    result = json.loads(path.read_text(encoding="utf-8")) | {"baseline": None}
    result["metrics"] = {"validation": {"accuracy": 0.8}}
    write(path, result)
    page = Page(run_page(run))
    assert "No baseline was measured here" in page.text
    assert page.rows[:2] == [["metric", "validation: model"], ["accuracy", "0.8000"]]


@pytest.mark.parametrize("beside", [False, True])
def test_exports_are_listed_with_parity_latency_and_size(tmp_path, beside):
    run = write_run(tmp_path / "model")
    place = tmp_path if beside else run.path
    write(place / "bundle" / "manifest.json", bundle_of(run.config))
    page = Page(run_page(run))
    head = next(row for row in page.rows if "max |difference|" in row)
    rows = page.rows[page.rows.index(head) + 1 :]
    assert [row[0] for row in rows[:3]] == ["keras", "onnx", "tensorrt"]
    onnx = dict(zip(head, rows[1], strict=True))
    assert onnx["max |difference|"] == "2.4e-07"
    assert (onnx["ms at 1"], onnx["size"], onnx["same label"]) == ("0.3", "0.7 MB", "100.00%")
    assert "tensorrt: built, not run: no GPU here" in page.text


def test_a_bundle_beside_it_may_be_of_another_run(tmp_path):
    run = write_run(tmp_path / "sentiment-1")
    write(tmp_path / "bundle" / "manifest.json", bundle_of(CONFIG | {"model": {"units": 7}}))
    assert "Exports" not in Page(run_page(run)).text


def test_a_run_of_a_task_that_is_not_here_has_a_page(tmp_path):
    config = CONFIG | {"task": "<b>gone</b>", "data": {}}
    run = write_run(tmp_path / "r", config=config, metric=None)
    text = run_page(run)
    assert "<b>gone" not in text
    assert "<b>gone</b>: r" in Page(text).text
    assert "0.7812" in Page(text).text


def test_a_page_begins_with_the_headline_of_the_kind(tmp_path):
    reported = write_run(tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text())
    found["metrics"]["test"] |= {"alarms": 12, "f1": 0.5}
    write(tmp_path / "metrics.json", found)
    text = run_page(dataclasses.replace(reported, headline=("alarms", "recall", "f1")))
    names = re.findall('<div class="fact"><dt>(.*?)</dt><dd class="value">(.*?)</dd>', text)
    assert names[:3] == [
        ("alarms on test", "12"), ("f1 on test", "0.5000"), ("accuracy on test", "0.7812")
    ]  # fmt: skip


HOSTILE = '<script>alert("1")</script>'


def write_judged(run, texts, **about):
    """Forty judged texts, of which the first are wrong, with what their labels say."""
    rows = [
        JudgedExample(
            text, "a <b>", "c", {"accuracy": (i >= len(texts) // 2, 1)}, loss=0.9 - i / 100,
            length=i % 10, baseline={"accuracy": (i >= 5, 1)}, confidence=0.9,
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip
    more = {
        "labels": [("a <b>", "c", 20), ("c", "c", 20)], "classes": {"a <b>": (0, 0, 20)},
        "calibration": [(18.0, 10, 20)], **about,
    }  # fmt: skip
    Judged(rows, "tokens", **more).save(run.path / "judged")


def test_a_page_tells_how_sure_its_scores_are(tmp_path):
    run = write_run(tmp_path / "r")
    assert "Worst mistakes" not in Page(run_page(run)).text
    write_judged(run, ["bad film"] * 40)
    page = Page(run_page(run))
    head, row = page.rows[:2]
    assert head[:5] == [
        "metric", "test: model", "test: 95 %", "test: baseline", "difference: 95 %",
    ]  # fmt: skip
    low, high = map(float, row[2].split(" to "))
    # 20 of 40 right: 0.5 -+ 1.96 * sqrt(0.25 / 40) is 0.345 to 0.655.
    assert (low, high) == (pytest.approx(0.345, abs=0.03), pytest.approx(0.655, abs=0.03))
    assert "20 of 40" not in page.text  # a loss is what says that an answer is wrong
    assert "40 of 40 examples were answered wrongly; the most certain first." in page.text
    assert "so it may be chance" not in page.text
    assert ["a <b>", "20", "–", "0.000", "0.000"] in page.rows
    assert (
        "Most often taken for something else: \u2068a <b>\u2069 for \u2068c\u2069 (20)."
        in page.text
    )
    # 20 answers with 0.9 on average, half of them right.
    assert "a probability is off by 40.0%" in page.text
    assert "accuracy by tokens" in page.text


def test_inputs_are_data_in_whatever_script(tmp_path):
    run = write_run(tmp_path / "r")
    texts = [HOSTILE, "סרט רע מאוד", "这部电影不好看", "a\u2028b\x00c"] * 10
    write_judged(run, texts)
    (run.path / "pictures" / "a.svg").write_text("<svg><path/></svg>", encoding="utf-8")
    text = run_page(run)
    page = Page(text)
    assert HOSTILE not in text
    assert HOSTILE in page.text
    assert text.count("<script>") == 1  # the page's own
    assert "\x00" not in text
    inputs = [found for tag, found in page.elements if found.get("class") == "input"]
    assert inputs
    assert all(found.get("dir") == "auto" for found in inputs)
    assert len(text.encode()) < 100_000


def test_texts_that_differ_are_marked(tmp_path):
    run = write_run(tmp_path / "r")
    write_judged(run, ["x"] * 40, text=True)
    page = Page(run_page(run))
    assert [tag for tag, _ in page.elements].count("mark") == 0  # nothing in common
    assert marked("Ann <b> met Bob", "Ann <b> met Eve") == (
        "Ann &lt;b&gt; met <mark>Bob</mark>", "Ann &lt;b&gt; met <mark>Eve</mark>",
    )  # fmt: skip
    assert marked("", "") == ("", "")


def test_a_score_of_few_blocks_has_no_interval(tmp_path):
    run = write_run(tmp_path / "r")
    rows = [JudgedExample("w", "1", "2", {"accuracy": (1, 1)}, 0.5, block=i % 2) for i in range(40)]
    Judged(rows, things="windows", text=True, graded=True).save(run.path / "judged")
    page = Page(run_page(run))
    assert page.rows[0][:3] == ["metric", "test: model", "test: baseline"]
    assert "too few independent examples" in page.text
    # Of two stretches of time one window each is shown.
    assert sum(found.get("class") == "card" for _, found in page.elements) == 2
