"""``seqloom doctor`` of a task: which recurrent layers a GPU would run with cuDNN."""

import pytest

from tests.test_cli import answer, assert_refused, call


def test_a_layer_without_a_kernel_says_why():
    found = answer("doctor", "sentiment", "--data", "synthetic:200", "--cell", "simple_rnn",
                   "--bidirectional", "--units", "8")  # fmt: skip
    (layer,) = found["layers"]
    assert {name: layer[name] for name in ("type", "units", "directions", "cudnn")} == {
        "type": "SimpleRNN", "units": 8, "directions": 2, "cudnn": False,
    }  # fmt: skip
    assert "SimpleRNN" in layer["why"]
    assert [check["check"] for check in found["checks"]] == [
        "GPU", "TensorRT", "ONNX Runtime providers",
    ]  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), [
    (["nothing"], ["nothing", "neither a task nor a directory", "sentiment"]),
    ([".", "--units", "8"], ["go with a task"]),
    (["--data", "synthetic"], ["--data goes with a task"]),
    (["sentiment", "--unit", "8"], ["'unit'", "--units"]),
    (["."], [".", "seqloom train"]),
])  # fmt: skip
def test_wrong_usage_is_said(tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    assert_refused(call("doctor", *arguments), parts)
