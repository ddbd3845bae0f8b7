"""Plans built without a GPU, the build report, and what is said where no engine can run."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import helper

from serving.errors import ServingError
from serving.native_onnx import export_onnx
from serving.tensorrt_engine import build_tensorrt, gpu_reason, length_profile, load_library
from serving.tensorrt_runner import EngineRunner

rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
ROOT = Path(__file__).resolve().parents[2]
CELLS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
PROFILE = {"ids": ((1, 1), (4, 16), (8, 64))}


def export(path, layer, precision="fp32"):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(20, 8, mask_zero=True)(ids)
    x = layers.LayerNormalization()(layer(x))
    export_onnx(keras.Model({"ids": ids}, {"y": layers.Dense(3)(x)}), path, precision)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("both", [True, False], ids=["both", "forward"])
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_every_cell_direction_and_precision_builds(tmp_path, cell, both, precision):
    layer = CELLS[cell](8, return_sequences=True)
    export(tmp_path / "model.onnx", layers.Bidirectional(layer) if both else layer, precision)
    report = build_tensorrt(
        tmp_path / "model.onnx", tmp_path / "model.plan", profile=PROFILE, library="tensorrt_rtx"
    )
    assert (tmp_path / "model.plan").stat().st_size == report["bytes"] > 10_000
    assert json.loads((tmp_path / "build.json").read_text()) == report
    assert report["precision"] == precision
    assert report["profile"] == {"ids": [[1, 1], [4, 16], [8, 64]]}
    # Names and dtypes outside are the model's, whatever is computed in.
    assert report["inputs"] == [{"name": "ids", "dtype": "INT32", "shape": [-1, -1]}]
    assert report["outputs"] == [{"name": "y", "dtype": "FLOAT", "shape": [-1, -1, 3]}]
    assert report["library"] == "tensorrt_rtx"


def test_states_in_and_out_build_too(tmp_path):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(20, 8, mask_zero=True)(ids)
    _, h, c = layers.LSTM(8, return_state=True)(x)
    y = layers.LSTM(8)(x, initial_state=[h, c], mask=x._keras_mask)
    export_onnx(keras.Model({"ids": ids}, {"y": y, "c": c}), tmp_path / "model.onnx", "fp16")
    build_tensorrt(tmp_path / "model.onnx", tmp_path / "model.plan", profile=PROFILE,
                   library="tensorrt_rtx")  # fmt: skip


def test_targets_workspace_and_timings(tmp_path):
    export(tmp_path / "model.onnx", layers.GRU(8))
    cache = tmp_path / "timings.bin"
    for _ in range(2):  # the second reads the file that the first wrote
        report = build_tensorrt(
            tmp_path / "model.onnx", tmp_path / "model.plan", profile=PROFILE,
            compute_capabilities=["8.6", "sm89"], workspace_bytes=2**26, timing_cache=cache,
            library="tensorrt_rtx",
        )  # fmt: skip
        assert cache.stat().st_size
    assert report["compute_capabilities"] == ["8.6", "sm89"]
    with pytest.raises(ServingError, match=r"not serve --compute-capability 9\.0; it has 7\.5"):
        build_tensorrt(
            tmp_path / "model.onnx", tmp_path / "model.plan", profile=PROFILE,
            compute_capabilities=["9.0"], library="tensorrt_rtx",
        )  # fmt: skip


def test_the_parser_is_quoted_with_the_node(tmp_path):
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["b"]) for n in "xy")
    node = helper.make_node("Unique", ["x"], ["y"], "only_once")
    graph = helper.make_graph([node], "g", [x], [y])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
        tmp_path / "model.onnx",
    )
    with pytest.raises(ServingError, match=r"cannot parse .*only_once \(Unique\)"):
        build_tensorrt(tmp_path / "model.onnx", tmp_path / "model.plan",
                       profile={"x": ((1,), (2,), (3,))}, library="tensorrt_rtx")  # fmt: skip
    assert not (tmp_path / "model.plan").exists()


def test_a_profile_follows_the_lengths():
    # Median 9 and greatest 41, each up to a multiple of eight; half of 32 rows is no rule here.
    profile = length_profile([3, 9, 41], {"x": (None, None, 5), "flag": (None, 1)}, max_batch=32)
    assert profile == {
        "x": ((1, 1, 5), (8, 16, 5), (32, 48, 5)),
        "flag": ((1, 1), (8, 1), (32, 1)),
    }


def test_a_library_that_is_missing_is_named():
    with pytest.raises(ServingError, match="tensorrt_none is not installed; `pip install"):
        load_library("tensorrt_none")


@pytest.mark.skipif(gpu_reason() is None, reason="engines run here")
def test_an_engine_says_why_it_cannot_run(tmp_path):
    (tmp_path / "model.plan").write_bytes(b"plan")
    with pytest.raises(ServingError, match="cannot run here: "):
        EngineRunner(tmp_path / "model.plan")


@pytest.mark.skipif(gpu_reason() is not None, reason=f"no engine can run: {gpu_reason()}")
def test_an_engine_equals_onnx_runtime(tmp_path):
    from serving.tensorrt_engine import verify_engine

    export(tmp_path / "model.onnx", layers.Bidirectional(layers.GRU(8)))
    build_tensorrt(tmp_path / "model.onnx", tmp_path / "model.plan", profile=PROFILE)
    ids = np.random.default_rng(0).integers(1, 20, (8, 16)).astype(np.int32)
    ids[3, 4:] = 0
    found = verify_engine(tmp_path / "model.plan", tmp_path / "model.onnx", [{"ids": ids}])
    assert found["difference"] < 1e-3


def test_calls_exist_in_tensorrt_proper(tmp_path):
    """By the stubs of TensorRT 10.13: the library itself cannot be installed everywhere."""
    found = importlib.util.find_spec("tensorrt_stubs")
    if found is None or importlib.util.find_spec("mypy") is None:
        pytest.skip("needs mypy and `pip install --no-deps tensorrt-stubs`")
    site = Path(found.origin).parents[1]
    for package in ("tensorrt", "tensorrt_bindings"):
        for source in (site / package).glob("*.pyi"):
            text = source.read_text()
            # The stubs as published do not parse: `in` as a name, a default before none.
            text = text.replace(", in: list", ", in_: list")
            text = re.sub(r"= None, channel_axis: int\)", "= None, channel_axis: int = ...)", text)
            (tmp_path / package).mkdir(exist_ok=True)
            (tmp_path / package / source.name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--follow-imports=silent",
         "--cache-dir", str(tmp_path / "cache"),
         "serving/tensorrt_engine.py", "serving/tensorrt_runner.py"],
        cwd=ROOT, env={"MYPYPATH": str(tmp_path), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    ours = [line for line in done.stdout.splitlines() if line.startswith("serving/")]
    assert "Found" in done.stdout, done.stdout + done.stderr  # it did look: the stubs have errors
    # That a tuple serves as Dims the stubs do not know.
    wrong = [line for line in ours if "[attr-defined]" in line or "[call-arg]" in line]
    assert not wrong, wrong
