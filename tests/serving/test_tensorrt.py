"""Plans built without a GPU, the build report, and what is refused and why."""

import importlib.util
import json
import re
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from serving import tensorrt_engine, tensorrt_library
from serving.errors import ServingError
from serving.native_onnx import export_onnx
from serving.tensorrt_engine import build_tensorrt, gpu_reason, length_profile, load_library

rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
ROOT = Path(__file__).resolve().parents[2]
CELLS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
PROFILE = {"ids": ((1, 1), (4, 16), (8, 64))}
INT, LONG, FLOAT = TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT


def export(path, layer, precision="fp32"):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(20, 8, mask_zero=True)(ids)
    x = layers.LayerNormalization()(layer(x))
    model = keras.Model({"ids": ids}, {"y": layers.Dense(3)(x)})
    export_onnx(model, path, precision, processor="gpu")


def write_graph(path, nodes, inputs, outputs, **constants):
    """Inputs and outputs are (name, type, shape)."""
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def write_sum(path):
    """ids [batch, time] + k [batch, 1]."""
    return write_graph(
        path, [helper.make_node("Add", ["ids", "k"], ["y"])],
        [("ids", INT, ["b", "t"]), ("k", INT, ["b", 1])], [("y", INT, ["b", "t"])],
    )  # fmt: skip


def build(source, profile, **options):
    return build_tensorrt(
        source, source.with_name("model.plan"), profile=profile,
        **{"library": "tensorrt_rtx", **options},
    )  # fmt: skip


# ---- what builds


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("both", [True, False], ids=["both", "forward"])
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_every_cell_direction_and_precision_builds(tmp_path, cell, both, precision):
    layer = CELLS[cell](8, return_sequences=True)
    export(tmp_path / "model.onnx", layers.Bidirectional(layer) if both else layer, precision)
    report = build(tmp_path / "model.onnx", PROFILE)
    assert (tmp_path / "model.plan").stat().st_size == report["bytes"] > 0
    assert json.loads((tmp_path / "build.json").read_text()) == report
    assert report["precision"] == precision
    assert report["profile"] == {"ids": [[1, 1], [4, 16], [8, 64]]}
    # Names and dtypes outside are the model's, whatever is computed in.
    assert report["inputs"] == [{"name": "ids", "dtype": "INT32", "shape": [-1, -1]}]
    assert report["outputs"] == [{"name": "y", "dtype": "FLOAT", "shape": [-1, -1, 3]}]
    assert (report["library"], report["version"]) == ("tensorrt_rtx", rtx.__version__)
    assert report["compute_capabilities"] == "default"
    assert {p.name for p in tmp_path.iterdir()} == {"model.onnx", "model.plan", "build.json"}


def test_states_in_and_out_build_too(tmp_path):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(20, 8, mask_zero=True)(ids)
    _, h, c = layers.LSTM(8, return_state=True)(x)
    y = layers.LSTM(8)(x, initial_state=[h, c], mask=x._keras_mask)
    export_onnx(keras.Model({"ids": ids}, {"y": y, "c": c}), tmp_path / "model.onnx", "fp16")
    assert build(tmp_path / "model.onnx", PROFILE)["layers"] > 0


def test_targets_and_workspace_are_taken(tmp_path):
    export(tmp_path / "model.onnx", layers.GRU(8))
    report = build(
        tmp_path / "model.onnx", PROFILE, compute_capabilities=["8.6", "sm89"],
        workspace_bytes=2**26, timing_cache=tmp_path / "timings.bin",
    )  # fmt: skip
    assert report["compute_capabilities"] == ["8.6", "sm89"]
    assert "tensorrt_rtx keeps no timings: --timing-cache has no effect" in report["warnings"]
    assert not (tmp_path / "timings.bin").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("1.0", r"does not serve --compute-capability 1\.0; it has \d+\.\d, "),
        ("hopper", r"--compute-capability hopper is none; write 8\.6 or sm86"),
    ],
)
def test_a_gpu_that_rtx_does_not_serve_is_refused(tmp_path, asked, message):
    with pytest.raises(ServingError, match=message):
        build(write_sum(tmp_path / "model.onnx"),
              {"ids": PROFILE["ids"], "k": ((1, 1), (4, 1), (8, 1))},
              compute_capabilities=[asked])  # fmt: skip
    assert not (tmp_path / "model.plan").exists()


def test_tensorrt_11_is_driven_by_the_same_calls(tmp_path, monkeypatch):
    """A stand-in: RTX's builder without what only RTX has and without what 11 may drop."""
    stand_in = types.ModuleType("tensorrt")
    stand_in.__version__ = "11.0.0"
    for name in set(dir(rtx)) - set(dir(stand_in)) - {"ComputeCapability"}:
        setattr(stand_in, name, getattr(rtx, name))
    stand_in.NetworkDefinitionCreationFlag = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in)
    assert load_library() is stand_in  # before tensorrt_rtx
    export(tmp_path / "model.onnx", layers.GRU(8), "fp16")
    cache = tmp_path / "cache" / "timings.bin"
    for _ in range(2):  # the second reads the file that the first wrote
        report = build(
            tmp_path / "model.onnx", PROFILE, library=None, timing_cache=cache,
            compute_capabilities=["8.0"],
        )  # fmt: skip
        assert cache.stat().st_size
    assert (report["library"], report["version"]) == ("tensorrt", "11.0.0")


@pytest.mark.parametrize(
    ("own", "asked", "level"),
    [
        (90, ["9.0"], "same"), (90, ["sm_90"], "same"), (90, ["8.0", "9.0"], "ampere"),
        (86, ["12.0"], "ampere"), (None, ["8.6"], "ampere"), (90, [], "untouched"),
        (90, ["7.5"], None), (75, ["8.6"], None), (75, ["7.5"], "same"), (None, ["7.5"], None),
    ],
)  # fmt: skip
def test_tensorrt_targets_its_own_gpu_or_all_from_ampere_on(monkeypatch, own, asked, level):
    monkeypatch.setattr(tensorrt_engine, "device_capability", lambda: own)
    levels = SimpleNamespace(SAME_COMPUTE_CAPABILITY="same", AMPERE_PLUS="ampere")
    library = SimpleNamespace(__name__="tensorrt", HardwareCompatibilityLevel=levels)
    config = SimpleNamespace(hardware_compatibility_level="untouched")
    if level is None:
        with pytest.raises(ServingError, match="tensorrt builds for .* for which build there"):
            tensorrt_engine._target(library, config, asked)
    else:
        tensorrt_engine._target(library, config, asked)
        assert config.hardware_compatibility_level == level


# ---- what is refused


@pytest.mark.parametrize(
    ("node", "inputs", "message"),
    [
        (
            helper.make_node("Unique", ["ids"], ["y"], "only_once"),
            [("ids", INT, ["b", "t"])],
            r"only_once \(Unique\): ",
        ),
        (  # the parser itself names no node here
            helper.make_node("ScatterElements", ["base", "at", "x"], ["y"], "flags", axis=1,
                             reduction="max"),
            [("base", FLOAT, ["b", 9]), ("at", LONG, ["b", "t"]), ("x", FLOAT, ["b", "t"])],
            r"flags \(ScatterElements\): ",
        ),
    ],
)  # fmt: skip
def test_the_parser_is_quoted_with_the_node(tmp_path, node, inputs, message):
    source = write_graph(tmp_path / "model.onnx", [node], inputs, [("y", inputs[0][1], None)])
    with pytest.raises(ServingError, match=f"cannot parse .*{message}"):
        build(source, {})
    assert not (tmp_path / "model.plan").exists()


def test_lengths_given_to_the_operator_parse_in_float32_only(tmp_path):
    """Why masks are written with ReverseSequence and GatherND instead."""
    for dtype, onnx_type in ((np.float32, FLOAT), (np.float16, TensorProto.FLOAT16)):
        source = write_graph(
            tmp_path / "model.onnx",
            [helper.make_node("GRU", ["x", "w", "r", "", "lens"], ["y"], "reader", hidden_size=2)],
            [("x", onnx_type, ["t", "b", 3]), ("lens", INT, ["b"])],
            [("y", onnx_type, ["t", 1, "b", 2])],
            w=np.ones((1, 6, 3), dtype), r=np.ones((1, 6, 2), dtype),
        )  # fmt: skip
        profile = {"x": ((1, 1, 3), (9, 2, 3), (20, 4, 3)), "lens": ((1,), (2,), (4,))}
        if dtype == np.float32:
            build(source, profile)
        else:
            with pytest.raises(ServingError, match=r"reader \(GRU\): "):
                build(source, profile)


def test_a_plan_that_fails_on_long_inputs_is_not_written(tmp_path):
    """TopK has a limit of 3840 that TensorRT only warns of when k is not constant."""
    source = write_graph(
        tmp_path / "model.onnx",
        [helper.make_node("Shape", ["x"], ["n"], start=1, end=2),
         helper.make_node("TopK", ["x", "n"], ["v", "i"], "order", axis=1)],
        [("x", FLOAT, ["b", "t"])], [("v", FLOAT, None)],
    )  # fmt: skip
    with pytest.raises(ServingError, match=r"could not run all shapes of its profile"):
        build(source, {"x": ((1, 1), (4, 100), (8, 5000))})
    assert not (tmp_path / "model.plan").exists()
    assert build(source, {"x": ((1, 1), (4, 100), (8, 3840))})["bytes"]


IDS, K = PROFILE["ids"], ((1, 1), (4, 1), (8, 1))


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"ids": IDS}, r"no shapes for input 'k' of shape \(-1, 1\)"),
        ({"ids": IDS, "k": K, "z": K}, "has an input 'z', the model only ids, k"),
        ({"ids": ((9, 1), (4, 8), (8, 16)), "k": K}, "'ids' .* from smallest to largest"),
        ({"ids": ((1,), (4,), (8,)), "k": K}, "'ids' .* keep to the shape"),
        ({"ids": IDS, "k": ((1, 2), (4, 2), (8, 2))}, "'k' .* keep to the shape"),
        ({"ids": IDS, "k": ((1, 1), (5, 1), (9, 1))}, "TensorRT cannot build .*: "),
    ],
)
def test_a_profile_that_does_not_fit_is_explained(tmp_path, profile, message):
    with pytest.raises(ServingError, match=message):
        build(write_sum(tmp_path / "model.onnx"), profile)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ServingError, match=r"there is no ONNX file .*none\.onnx"):
        build(tmp_path / "none.onnx", PROFILE)


# ---- the profile


def test_a_profile_follows_the_lengths():
    # Median 9 and greatest 41, each up to a multiple of eight; a quarter of 32 rows is eight.
    profile = length_profile(
        [3, 9, 41], {"x": (None, None, 5), "y": ("batch", "time"), "z": (-1, 1)}, max_batch=32
    )
    assert profile == {
        "x": ((1, 1, 5), (8, 16, 5), (32, 48, 5)),
        "y": ((1, 1), (8, 16), (32, 48)),
        "z": ((1, 1), (8, 1), (32, 1)),
    }
    # Empty texts and a batch of one: nothing falls below one, eight is the least length.
    assert length_profile([0, 0], {"x": (None, None)}, 1) == {"x": ((1, 1), (1, 8), (1, 8))}
    assert length_profile([8], {"x": (None, None)}, 4) == {"x": ((1, 1), (1, 8), (4, 8))}


def test_a_profile_needs_lengths_and_one_time():
    with pytest.raises(ServingError, match="there is no example"):
        length_profile([], {"x": (None, None)})
    with pytest.raises(ServingError, match="'x' .* two open dimensions besides the batch"):
        length_profile([3], {"x": (None, None, None)})


# ---- the library and the machine


def test_a_library_that_is_missing_is_named(monkeypatch):
    with pytest.raises(ServingError, match="tensorrt_none is not installed; `pip install"):
        load_library("tensorrt_none")
    monkeypatch.setattr(tensorrt_library, "LIBRARIES", ("tensorrt_none", "json"))
    with pytest.raises(ServingError, match=r"^neither tensorrt nor .*seqloom\[rtx\].*\[gpu\]"):
        load_library()


def no_cuda(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)


def cuda(monkeypatch, count=1, capability=(8, 6), status=0):
    """A cuda-python that sees such a GPU, or gives that status."""
    code = SimpleNamespace(name="cudaErrorNoDevice")
    code = type("Status", (int,), vars(code))(status)
    attributes = SimpleNamespace(
        cudaDevAttrComputeCapabilityMajor=0, cudaDevAttrComputeCapabilityMinor=1
    )
    runtime = SimpleNamespace(
        cudaGetDeviceCount=lambda: (code, count),
        cudaDeviceAttr=attributes,
        cudaDeviceGetAttribute=lambda kind, device: (code, capability[kind]),
    )
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=runtime))


def test_why_no_engine_can_run(monkeypatch):
    no_cuda(monkeypatch)
    assert "cuda-python is not installed" in gpu_reason()
    assert tensorrt_library.device_capability() is None
    cuda(monkeypatch, status=100)
    assert gpu_reason() == "there is no NVIDIA GPU or no driver (cudaErrorNoDevice)"
    assert tensorrt_library.device_capability() is None
    cuda(monkeypatch, count=0)
    assert "there is no NVIDIA GPU" in gpu_reason()
    cuda(monkeypatch)
    assert "tensorrt_none is not installed" in gpu_reason("tensorrt_none")
    assert tensorrt_library.device_capability() == 86
    assert gpu_reason("tensorrt_rtx") is None
    cuda(monkeypatch, capability=(1, 0))
    assert "this GPU's compute capability 1.0, tensorrt may" in gpu_reason("tensorrt_rtx")


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
         *(f"serving/tensorrt_{module}.py" for module in ("engine", "library", "runner"))],
        cwd=ROOT, env={"MYPYPATH": str(tmp_path), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert "Found" in done.stdout, done.stdout + done.stderr  # it did look: the stubs have errors
    ours = [line for line in done.stdout.splitlines() if line.startswith("serving/")]
    # That Dims and tuples serve for one another is all that the stubs do not know.
    wrong = [line for line in ours if ": error: " in line and "Dims" not in line]
    assert not wrong, wrong
    assert any("Dims" in line for line in ours)  # the calls were seen with their types
