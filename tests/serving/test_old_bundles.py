"""Bundles and runs of the version before tasks had programs (commit ff504ec).

``old_bundles`` holds one bundle for each kind of that version, of four units, written by its
``train`` and ``export --format onnx``; and in ``answers.json`` what its own ``Predictor`` and
``Stream`` gave.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import DataError
from serving import Predictor, Stream
from serving.client import Client
from serving.runtime.server import running
from tasks.stages.predicting import predict
from tasks.stages.run_directory import Run

BUNDLES = Path(__file__).parent / "old_bundles"
ANSWERS = json.loads((BUNDLES / "answers.json").read_text(encoding="utf-8"))
KINDS = sorted(ANSWERS)
# What the version before wrote for `train anomaly --data synthetic:2000 --window 16`, shortened.
CONFIG = {
    "task": "anomaly",
    "data": {"source": "synthetic:2000", "seed": 0, "reading": {"window": 16}},
    "model": {"cell": "gru", "layers": 1, "units": 4, "scorer": "residual", "surprise": 0.5},
    "preprocessor": {"scaler": "standard", "calendar": True, "quiet": 0},
    "seed": 1,
}


def assert_same(found, wanted):
    """Equal structures, numbers but for the rounding of ``answers.json`` and of the machine."""
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            assert_same(found[name], value)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for pair in zip(found, wanted, strict=True):
            assert_same(*pair)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    else:
        assert found == wanted


@pytest.mark.parametrize("task", KINDS)
def test_an_old_bundle_answers_as_its_own_version_did(task):
    predictor, want = Predictor(BUNDLES / task), ANSWERS[task]
    response = predictor.run(predictor.preprocessor.to_request(want["raw"]))
    assert set(response) == set(want["response"])
    for name, values in want["response"].items():
        if name == "label":
            assert [label.decode() for label in response[name]] == values
        else:
            np.testing.assert_allclose(response[name], values, rtol=1e-4, atol=1e-5)
    assert_same(predictor.predict(want["raw"]), want["answers"])


@pytest.mark.parametrize("task", KINDS)
def test_predict_takes_an_old_bundle(task):
    want = ANSWERS[task]
    typed = [one if isinstance(one, str) else json.dumps(one) for one in want["raw"]]
    found = predict(BUNDLES / task, typed)
    assert_same(found.answers, want["answers"])
    assert len(found.lines) == len(typed)


def test_an_old_stream_goes_on_row_by_row():
    want = ANSWERS["anomaly"]
    stream, raw = Stream(BUNDLES / "anomaly"), want["raw"][0]
    rows = zip(raw["values"], raw["time"], strict=True)
    assert_same([stream.push(row, time) for row, time in rows], want["stream"])


def test_signatures_are_those_that_clients_know():
    programs = Predictor(BUNDLES / "anomaly").model.programs
    assert programs["step"].signature == ANSWERS["anomaly"]["step_signature"]
    assert programs["serving_default"].signature == ANSWERS["anomaly"]["signature"]


@pytest.mark.parametrize("task", KINDS)
def test_an_old_bundle_is_served(task):
    predictor, want = Predictor(BUNDLES / task), ANSWERS[task]["response"]
    request = predictor.preprocessor.to_request(ANSWERS[task]["raw"])
    with (
        running(BUNDLES / task) as server,
        Client(f"http://localhost:{server.rest_port}", task) as client,
    ):
        response = client.predict(request)
    for name, values in want.items():
        if name != "label":
            np.testing.assert_allclose(response[name], values, rtol=1e-4, atol=1e-5)


def test_an_old_run_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    for asked in (Run(tmp_path).model, Run(tmp_path).settings, Run(tmp_path).data):
        with pytest.raises(DataError, match="another version of Seqloom .format 1") as error:
            asked()
        assert "seqloom train anomaly" in str(error.value)
        assert "\n" not in str(error.value)
