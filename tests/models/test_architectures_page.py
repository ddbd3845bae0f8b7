"""docs/architectures.md: its examples run, and its network passes the trial of a task's network."""

import re
from pathlib import Path

import keras
import numpy as np
import onnxruntime

from models.config import RecurrentConfig
from models.network import EITHER, Network

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architectures.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)


def test_the_steps_of_the_page_end_where_the_whole_sequence_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(BLOCKS[0], str(PAGE), "exec"), names)
    whole = np.asarray(names["model"](np.zeros((1, 5, 3), "float32")))
    np.testing.assert_allclose(np.asarray(names["outputs"]["y"]), whole[:, -1], atol=1e-5)
    assert names["states"]["position"].tolist() == [5]
    session = onnxruntime.InferenceSession("whole.onnx")
    found = session.run(None, {"x": np.zeros((1, 5, 3), "float32")})[0]
    np.testing.assert_allclose(found, whole, atol=1e-5)
    assert Path("step.onnx").is_file()


def test_the_network_of_the_page_takes_the_place_of_recurrent_layers():
    x = keras.layers.Masking()(keras.Input((None, 6)))
    y = Network(BLOCKS[1], "transformer", "attending.py")(x, RecurrentConfig(units=16), EITHER)
    assert y.shape == (None, None, 16)
    assert len(BLOCKS) == 2
