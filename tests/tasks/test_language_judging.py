"""Language models judged as they learn from test, with a cache; and what they write along training.

The text repeats one verse, so that what was read lately says what follows.
"""

import hashlib
import json

import pytest

import tasks
from common.errors import ConfigError
from models.callbacks import read_history, read_samples
from reports.learning import written_texts
from tasks.kinds.language.adapting import LanguageJudging
from tasks.stages.reporting import report
from tasks.stages.run_directory import Run
from tasks.stages.training import evaluate, train
from tests.test_cli import answer, assert_refused, call

TRAIN = "one fish, two fish, red fish, blue fish\n" * 12
VERSE = "who has seen the wind? neither you nor I\n"
SETTINGS = {"units": 12, "embedding_dim": 8, "layers": 1, "epochs": 2, "batch_size": 4,
            "window": 20, "learning_rate": 0.03, "sample_units": 9,
            "sample_prompt": "one"}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small model of characters of a text without an end."""
    base = tmp_path_factory.mktemp("judging")
    for part, text in (("train", TRAIN + VERSE), ("valid", VERSE * 6), ("test", VERSE * 8)):
        (base / f"{part}.txt").write_text(text)
    return trained(base, base / "run", SETTINGS)


def trained(data, place, changes):
    task = tasks.get("language")
    found = Run(place)
    train(task, task.data_options(str(data)), task.with_settings(task.settings, changes), found)
    return found


def judged(run, **judging):
    return evaluate(run, judging=LanguageJudging(**judging))


def fingerprint(run):
    return hashlib.sha256((run.path / "model.keras").read_bytes()).hexdigest()


def test_both_ways_stand_beside_the_plain_scores_which_they_leave_alone(run):
    before, kept = fingerprint(run), run.read_json("metrics.json")
    found = judged(run, dynamic="auto", dynamic_window=7, cache=100)
    assert found["ways"] == ["dynamic", "cache"]
    plain = found["metrics"]["test"]
    assert plain == pytest.approx(kept["metrics"]["test"], rel=1e-4)
    for way in found["ways"]:
        assert found[way]["test"]["perplexity"] < 0.95 * plain["perplexity"]
        assert found[way]["test"]["bits_per_char"] < plain["bits_per_char"]
        assert found[way]["validation_units"] == len(VERSE * 6)
        assert "chosen on 246 units of validation" in found[way]["note"]
    assert found["cache"]["lambda"] > 0
    assert fingerprint(run) == before
    assert run.read_json("metrics.json") == kept


def test_a_step_of_nought_and_a_cache_of_no_weight_give_the_plain_scores(run):
    found = judged(
        run, dynamic="0", dynamic_decay="0.1", cache=30, cache_theta="0.3", cache_lambda="0"
    )
    plain = found["metrics"]["test"]
    for way in ("dynamic", "cache"):
        assert found[way]["test"]["perplexity"] == pytest.approx(plain["perplexity"], rel=1e-5)
        assert found[way]["test"]["bits_per_char"] == pytest.approx(
            plain["bits_per_char"], rel=1e-5
        )
        assert "validation" not in found[way]
        assert found[way]["note"].endswith("as given")


def test_what_leaves_all_bounds_is_an_error_that_says_what_to_do(run):
    with pytest.raises(ConfigError, match="smaller --dynamic than 1"):
        judged(run, dynamic="1", dynamic_decay="0")


def test_flags_of_the_command(run):
    said = answer("evaluate", run.path, "--dynamic", "0.001", "--dynamic-decay", "0.01",
                  "--set", "cache=50", "--cache-theta=0.2")  # fmt: skip
    assert said["ways"] == ["dynamic", "cache"]
    assert (said["dynamic"]["step"], said["dynamic"]["decay"]) == (0.001, 0.01)
    assert (said["cache"]["size"], said["cache"]["theta"]) == (50, 0.2)
    code, out, err = call("evaluate", run.path, "--cache", "50", "--cache-theta", "0.2",
                          "--cache-lambda", "0.1")  # fmt: skip
    assert code == 0, err
    row = next(line for line in out.splitlines() if "cache.perplexity" in line)
    assert row.split()[0] == "test"
    assert "cache: with 50 states, theta 0.2 and lambda 0.1 as given" in out
    assert "ways" not in answer("evaluate", run.path)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--dynamic", "much"], ["'much'", "auto"]),
        (["--dynamic", "-1"], ["dynamic", "from 0 to 1"]),
        (["--dynamic", "nan"], ["dynamic", "from 0 to 1"]),
        (["--cache", "-1"], ["cache", "from 0"]),
        (["--cache", "5", "--cache-lambda", "1"], ["cache_lambda", "0.999"]),
        (["--cache-theta", "0.3"], ["--cache-theta", "--cache 500"]),
        (["--dynamic-window", "5"], ["--dynamic-window", "--dynamic auto"]),
        (["--units", "5"], ["units", "--dynamic"]),
    ],
)
def test_flags_that_cannot_be_are_refused(run, flags, parts):
    assert_refused(call("evaluate", run.path, *flags), parts)


def test_other_commands_say_whose_flag_it_is():
    assert_refused(call("train", "language", "--dynamic", "auto"), ["seqloom evaluate"])
    assert_refused(call("train", "sentiment", "--cache", "5"), ["'cache'"])


def test_a_flag_alone_has_its_step_chosen():
    assert LanguageJudging(dynamic=True).dynamic == "auto"


# ---- what is written along training


def test_each_epoch_writes_a_line_that_the_report_shows(run):
    rows = read_samples(run.path / "samples.jsonl")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(row["text"] == "one" and row["continuation"] for row in rows)
    assert rows[0]["log_probability"] != rows[1]["log_probability"]  # by other weights
    page = report(run.path).read_text(encoding="utf-8")
    assert "Written along training" in page
    assert page.count("<h3>epoch ") == 2


def test_writing_along_does_not_change_the_training(run, tmp_path):
    """Nor does it write anything where it is told not to."""
    without = trained(run.data().source, tmp_path / "run", {**SETTINGS, "sample_units": 0})
    assert not (without.path / "samples.jsonl").exists()

    def losses(one):
        return [(row["loss"], row["val_loss"]) for row in read_history(one.path / "history.csv")]

    assert losses(without) == losses(run)


def test_a_model_that_reads_back_writes_nothing():
    task = tasks.get("language")
    settings = task.with_settings(task.settings, {"backward": True})
    assert task.sample(settings) is None
    assert task.sample(task.settings)["max_tokens"] == task.model.sample_units


def test_of_many_texts_some_are_shown_the_first_and_the_last_among_them(tmp_path):
    path = tmp_path / "samples.jsonl"
    assert written_texts(path) == []
    # A line separator that is no end of a line of the file, and what HTML would take for a tag.
    rows = [{"epoch": i, "text": "<b>", "continuation": "\u2028"} for i in range(1, 41)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    assert read_samples(path) == rows
    page = "".join(written_texts(path))
    assert page.count("<pre>&lt;b&gt;") == 12
    assert "epoch 1<" in page
    assert "epoch 40<" in page
