"""The model card: facts as they were recorded, and lines for what only the owner knows."""

import doctest
import json

import reports.model_card
from models.metric import Metric
from reports.judged import Judged, JudgedExample
from reports.model_card import OWNER, model_card, plain
from reports.reported_run import ReportedRun
from tests.reports.test_run_report import CONFIG, bundle_of, write, write_run


def test_docstrings_of_the_card_hold():
    assert doctest.testmod(reports.model_card).failed == 0
    assert doctest.testmod(reports.model_card).attempted > 0


def rows_of(card):
    return [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("|")]


def test_a_card_has_scores_data_settings_and_what_is_open(tmp_path):
    run = write_run(tmp_path / "sentiment-1")
    rows = [
        JudgedExample("a", "b", "c", {"accuracy": (i < 30, 1)}, baseline={"accuracy": (i < 29, 1)})
        for i in range(40)
    ]
    Judged(rows, classes={"po|s": (10, 20, 40)}).save(run.path / "judged")
    card = model_card(run, [("Export it", "seqloom export here")])
    assert card.startswith("---\nlibrary_name: keras\n")
    assert card.count(OWNER) == 3
    assert ["test", "accuracy", "0.7812"] in [row[:3] for row in rows_of(card)]
    # 30 of 40: 0.75 -+ 1.96 * sqrt(0.75 * 0.25 / 40) is 0.616 to 0.884, in steps of 1 / 40.
    assert "| 0.6250 to 0.8750 |" in card or "| 0.6000 to 0.8750 |" in card
    assert "cannot be told apart from its baseline" in card
    assert "| po\\|s | 40 | 0.500 | 0.250 |" in card
    assert "bag of \\<words\\>" in card
    assert "# Export it\nseqloom export here" in card
    assert "cell gru, units 64" in card
    assert "generated" not in card


def test_the_head_is_what_hubs_read(tmp_path):
    run = write_run(tmp_path / "r")
    run = ReportedRun(run.path, {**CONFIG, "data": {"source": 'my "own": #1'}}, True, "x y",
                      Metric("accuracy", "max"), hub="text-classification")  # fmt: skip
    head = model_card(run).split("---\n")[1]
    assert "pipeline_tag: text-classification\n" in head
    line = next(line for line in head.splitlines() if line.strip().startswith("name: "))
    assert json.loads(line.partition(":")[2]) == 'my "own": #1'
    assert "value: 0.7812" in head


def test_a_bundle_lists_its_own_exports(tmp_path):
    run = write_run(tmp_path / "r")
    bundle = tmp_path / "elsewhere"
    write(bundle / "manifest.json", bundle_of(run.config))
    assert "## Exports" not in model_card(run)
    card = model_card(run, bundle=bundle)
    assert "| onnx |" in card
    assert "2.4e-07" in card
    assert "no GPU here" in card


def test_what_is_data_is_shown_as_it_is():
    assert plain("# <b> | `x`\n[y](z)") == "\\# \\<b\\> \\| \\`x\\` \\[y\\](z)"


def test_generated_data_is_said_to_be_generated(tmp_path):
    run = write_run(tmp_path / "r", config={**CONFIG, "data": {"source": "synthetic"}})
    assert "scores say nothing about data of the real world" in model_card(run)


def test_a_run_of_an_unknown_task_has_a_card(tmp_path):
    run = write_run(tmp_path / "r", config={**CONFIG, "data": {}}, metric=None)
    card = model_card(run)
    assert "pipeline_tag" not in card
    assert "Evaluation" in card
