"""The commands of docs/classification.md run, on a table of tickets that this file makes."""

import json
import re
import shlex
from pathlib import Path

import pytest

import tasks
from pipelines.synthetic_tickets import synthetic_tickets
from pipelines.text_inputs import input_names
from serving.runtime.loading import find_model
from serving.runtime.runtime import Runtime
from serving.runtime.servables import ModelSettings
from serving.runtime.server import ServerOptions, running
from tests.serving.live_server import client_of
from tests.test_cli import call

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "classification.md").read_text("utf-8")
LINES = [line.partition(" #")[0] for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.S | re.M)
         for line in block.splitlines()]  # fmt: skip
SMALL = ["--units", "8", "--embedding-dim", "8", "--epochs", "1"]


def test_what_the_page_says_of_names_is_so():
    assert input_names(["first line", "from", "1"]) == ("first_line", "text_from", "text_1")
    for flag in re.findall(r"`--([a-z-]+)", PAGE):
        flags = {"metric", "data", "out", "like", "resume"}
        assert flag.replace("-", "_") in flags | set(tasks.get("classify").names()), flag


@pytest.mark.slow
def test_the_commands_run_and_the_request_is_answered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [(*one.text.split(" | "), one.label) for one in synthetic_tickets(200, 1)]
    for name, count in (("tickets", 200), ("new", 5)):
        columns = ("subject", "body", "queue") if name == "tickets" else ("subject", "body")
        lines = [dict(zip(columns, row, strict=False)) for row in rows[:count]]
        frame = [",".join(columns), *(",".join(f'"{x}"' for x in one.values()) for one in lines)]
        (tmp_path / f"{name}.csv").write_text("\n".join(frame))
    commands = [shlex.split(line) for line in LINES if line.startswith("seqloom ")]
    assert [words[1] for words in commands] == ["train", "predict", "predict", "export"]
    for _, *words in commands:
        code, out, err = call(*words, *(SMALL if words[0] == "train" else []))
        assert code == 0, err
        if words[0] == "train":
            assert "7 labels in train (validation): technical 5" in err
    answers = (tmp_path / "answers.csv").read_text().splitlines()
    assert answers[0].startswith("subject,body,label,probability,")
    assert len(answers) == 6
    (line,) = [line for line in LINES if line.startswith("curl -d")]
    (body,) = re.findall(r"-d '([^']*)'", line)
    models = [ModelSettings("classify", find_model(Path("bundles/tickets")))]
    with running(models, Runtime(), ServerOptions(rest_port=0)) as live, client_of(live) as rest:
        path = line.partition("8501")[2]
        (row,) = rest.post(path, content=body).json()["predictions"]
        whole = {"subject": "", "body": "no dial tone | since this morning"}
        again = rest.post(path, content=json.dumps({"instances": [whole]})).json()
        labels = rest.get("/v1/models/classify/metadata").json()["metadata"]["output_labels"]
    assert again["predictions"] == [row]
    assert row["label"] in labels["serving_default"]["probabilities"]
