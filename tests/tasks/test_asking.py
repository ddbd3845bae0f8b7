"""`seqloom predict --url`: a server answers, with a bundle that says what it means or without."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from serving.runtime.server import ServerOptions, running

ROOT = Path(__file__).resolve().parents[2]
TEXT = "a good film"


@pytest.fixture(scope="module")
def urls(sentiment_bundle):
    options = ServerOptions(rest_port=0, grpc_port=0)
    with running(sentiment_bundle, options=options) as server:
        yield f"http://localhost:{server.rest_port}", f"grpc://localhost:{server.grpc_port}"


def seqloom(*arguments):
    command = [sys.executable, "-m", "seqloom", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def predictions(*arguments):
    done = seqloom("predict", *arguments, "--json")
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)["predictions"]


def test_a_bundle_says_what_the_servers_answers_mean(sentiment_bundle, urls):
    (want,) = predictions(sentiment_bundle, TEXT)
    for url in urls:
        (got,) = predictions(sentiment_bundle, TEXT, "--url", url)
        assert got["label"] == want["label"]
        assert got["probability"] == pytest.approx(want["probability"], abs=1e-5)


def test_without_a_bundle_the_signature_is_enough(urls, tmp_path):
    (tmp_path / "more.txt").write_text("a dull film\n\n")
    for url in urls:
        path = f"{url}/v1/models/sentiment"
        rows = predictions("--url", path, TEXT, "--file", tmp_path / "more.txt")
        assert [sorted(row) for row in rows] == [["label", "probabilities"]] * 2
        assert isinstance(rows[0]["label"], str)


def test_columns_of_a_file_stay_beside_a_servers_answers(sentiment_bundle, urls, tmp_path):
    (tmp_path / "in.csv").write_text("id,text\n7,a dull film\n9,a good film\n")
    model = f"{urls[0]}/v1/models/sentiment"
    for number, source in enumerate(((sentiment_bundle, "--url", urls[0]), ("--url", model, TEXT))):
        out = tmp_path / f"{number}.jsonl"
        answers = predictions(*source, "--file", tmp_path / "in.csv", "--out", out)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert [(row["id"], row["text"]) for row in rows[-2:]] == [
            ("7", "a dull film"), ("9", "a good film"),
        ]  # fmt: skip
        assert [row["label"] for row in rows] == [one["label"] for one in answers]


def test_what_cannot_be_asked_is_one_sentence(sentiment_bundle, urls, tmp_path):
    for arguments, told in (
        (("--url", "http://localhost:1/v1/models/x", TEXT), "localhost:1 does not answer"),
        (("--url", f"{urls[0]}/v1/models/x", TEXT), "Servable not found for request: Latest(x)"),
        (("--url", urls[0], TEXT), "names no model"),
        ((sentiment_bundle, TEXT, "--url", "ftp://x"), "is no URL such as"),
        ((sentiment_bundle, TEXT, "--url", urls[0], "--token-file", tmp_path / "none"),
         "none cannot be read"),
    ):  # fmt: skip
        done = seqloom("predict", *arguments)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_another_program_answers_where_it_takes_the_same():
    from common.errors import DataError
    from decoding.sampling import WritingConfig
    from pipelines.language import LanguagePreprocessor
    from pipelines.units import Units
    from tasks.stages.predicting import _check_program

    language = LanguagePreprocessor(Units.adapt(["ab"], "char"), True, 5, WritingConfig().to_dict())
    _check_program(language, "generate", {"temperature": 0.5})
    with pytest.raises(DataError, match="there is serving_default, generate"):
        _check_program(language, "step", {})
    with pytest.raises(DataError, match="add --stream"):
        _check_program(language, "serving_default", {"temperature": 0.5})
