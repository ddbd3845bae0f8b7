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


def test_a_network_of_ones_own_is_looked_into(tmp_path):
    (tmp_path / "net.py").write_text(
        "import keras\n\ndef stack(x, config):\n"
        "    x = keras.layers.LSTM(3, return_sequences=True, recurrent_dropout=0.5)(x)\n"
        "    return keras.layers.GRU(3)(x)\n"
    )
    found = answer("doctor", "sentiment", "--data", "synthetic:200",
                   "--network", f"{tmp_path / 'net.py'}:stack")  # fmt: skip
    assert [(layer["type"], layer["cudnn"], layer["why"]) for layer in found["layers"]] == [
        ("LSTM", False, "recurrent_dropout=0.5, which must be 0"), ("GRU", True, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), [
    (["nothing"], ["nothing", "neither a task nor a directory", "sentiment"]),
    ([".", "--units", "8"], ["go with a task"]),
    (["--data", "synthetic"], ["--data goes with a task"]),
    (["--network", "net.py:stack"], ["--network goes with a task"]),
    (["sentiment", "--unit", "8"], ["'unit'", "--units"]),
    (["."], [".", "seqloom train"]),
])  # fmt: skip
def test_wrong_usage_is_said(tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    assert_refused(call("doctor", *arguments), parts)
