"""The runner against a GPU made of host memory, and a real engine where there is a GPU."""

import ctypes
import json
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serving import tensorrt_runner
from serving.errors import ServingError
from serving.tensorrt_library import gpu_reason
from serving.tensorrt_runner import EngineRunner, verify_engine


class Cuda:
    """cudart whose device memory is host memory; one function may be told to fail."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out")

    def __init__(self):
        self.memory, self.streams, self.calls, self.failing = {}, 0, [], None

    def __getattr__(self, name):
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append(name)
            failed = name == self.failing
            status = type("Status", (int,), {"name": "cudaErrorUnknown"})(failed)
            value = None if failed else getattr(self, name.removeprefix("cuda").lower())(*arguments)
            return (status,) if value is None else (status, value)

        return call

    def streamcreate(self):
        self.streams += 1
        return 7  # any handle that int() takes

    def streamdestroy(self, stream):
        assert stream == 7
        self.streams -= 1

    def streamsynchronize(self, stream):
        assert stream == 7

    def malloc(self, size):
        buffer = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def free(self, address):
        del self.memory[address]

    def memcpyasync(self, to, source, size, kind, stream):
        on_device = to if kind == "in" else source
        assert len(self.memory[on_device]) >= size
        ctypes.memmove(to, source, size)


class Context:
    """y [batch, 2] float32: sum and number of the ids [batch, time]; at most 4 rows of 8."""

    def __init__(self, cuda):
        self.cuda, self.shape, self.addresses, self.works = cuda, None, {}, True

    def set_input_shape(self, name, shape):
        self.shape = shape
        return shape[0] <= 4 and shape[1] <= 8

    def infer_shapes(self):
        return []

    def get_tensor_shape(self, name):
        return (self.shape[0], 2)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        assert stream == 7
        ids = np.frombuffer(self.cuda.memory[self.addresses["ids"]], np.int32)
        ids = ids[: np.prod(self.shape)].reshape(self.shape)
        y = np.frombuffer(self.cuda.memory[self.addresses["y"]], np.float32)
        y[: 2 * len(ids)] = np.stack([ids.sum(1), (ids != 0).sum(1)], axis=1).ravel()
        return self.works


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A machine with such a GPU and a library whose every plan but b"" holds that engine."""
    cuda = Cuda()
    context = Context(cuda)
    engine = SimpleNamespace(
        num_io_tensors=2,
        get_tensor_name=["ids", "y"].__getitem__,
        get_tensor_mode={"ids": "input", "y": "output"}.get,
        get_tensor_dtype={"ids": np.int32, "y": np.float32}.get,
        create_execution_context=lambda: context,
    )

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING = range(3)

    class Runtime:
        def __init__(self, log):
            self.log = log

        def deserialize_cuda_engine(self, content):
            if not content:
                self.log.log(ILogger.ERROR, "magic tag\n does not match")
            return engine if content else None

    library = SimpleNamespace(
        __name__="tensorrt", __version__="10.13", ILogger=ILogger, Runtime=Runtime,
        nptype=lambda dtype: dtype, TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output"),
    )  # fmt: skip
    asked = []
    monkeypatch.setattr(tensorrt_runner, "gpu_reason", lambda name: asked.append(name))
    monkeypatch.setattr(tensorrt_runner, "load_library", lambda name: library)
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=cuda))
    (tmp_path / "model.plan").write_bytes(b"plan")
    return SimpleNamespace(
        plan=tmp_path / "model.plan", cuda=cuda, context=context, engine=engine, asked=asked
    )


IDS = np.array([[3, 4, 0], [5, 0, 0]], np.int64)


def test_no_rows_have_an_empty_answer_and_rows_without_a_step_are_refused(gpu):
    with EngineRunner(gpu.plan) as runner:
        found = runner.run({"ids": IDS[:0]})["y"]
        assert (found.shape, found.dtype) == ((0, 2), np.float32)
        for wrong in (IDS[:, :0], IDS[:0, :0], np.int64(1)):
            with pytest.raises(ServingError, match=r"'ids' of shape \("):
                runner.run({"ids": wrong})
        np.testing.assert_array_equal(runner.run({"ids": IDS})["y"], [[7, 2], [5, 1]])


def test_arrays_in_and_out(gpu):
    with EngineRunner(gpu.plan) as runner:
        assert (runner.inputs, runner.outputs) == (("ids",), ["y"])
        # Other integers are cast, a transposed array is copied into order.
        np.testing.assert_array_equal(runner.run({"ids": IDS})["y"], [[7, 2], [5, 1]])
        turned = runner.run({"ids": IDS.T.astype(np.int32)})["y"]
        np.testing.assert_array_equal(turned, [[8, 2], [4, 1], [0, 0]])
        assert turned.dtype == np.float32


def test_memory_grows_is_kept_and_is_freed(gpu):
    runner = EngineRunner(gpu.plan)
    runner.run({"ids": IDS})
    assert sorted(map(len, gpu.cuda.memory.values())) == [2 * 2 * 4, 2 * 3 * 4]
    runner.run({"ids": np.ones((4, 8), np.int32)})
    assert sorted(map(len, gpu.cuda.memory.values())) == [4 * 2 * 4, 4 * 8 * 4]
    before = gpu.cuda.calls.count("cudaMalloc")
    np.testing.assert_array_equal(runner.run({"ids": IDS})["y"], [[7, 2], [5, 1]])
    assert gpu.cuda.calls.count("cudaMalloc") == before == 4
    runner.close()
    runner.close()
    assert (gpu.cuda.memory, gpu.cuda.streams) == ({}, 0)
    with pytest.raises(ServingError, match="the engine is closed"):
        runner.run({"ids": IDS})


def test_wrong_inputs_are_refused(gpu):
    with EngineRunner(gpu.plan) as runner:
        with pytest.raises(ServingError, match="the engine takes ids, not tokens"):
            runner.run({"tokens": IDS})
        with pytest.raises(ServingError, match="takes ids, not nothing"):
            runner.run({})
        with pytest.raises(ServingError, match=r"'ids' of shape \(5, 3\) is not in the profile"):
            runner.run({"ids": np.ones((5, 3), np.int32)})
        gpu.context.get_tensor_shape = lambda name: (2, -1)
        with pytest.raises(ServingError, match="'y' has a shape that depends on the values"):
            runner.run({"ids": IDS})
        gpu.context.infer_shapes = lambda: ["length"]
        with pytest.raises(ServingError, match="the engine still needs length"):
            runner.run({"ids": IDS})


def test_failures_are_named_and_memory_is_freed(gpu):
    with EngineRunner(gpu.plan) as runner:
        gpu.cuda.failing = "cudaMalloc"
        with pytest.raises(ServingError, match="cudaMalloc failed: cudaErrorUnknown"):
            runner.run({"ids": IDS})
        gpu.cuda.failing = None
        gpu.context.works = False
        with pytest.raises(ServingError, match="the engine did not run"):
            runner.run({"ids": IDS})
    assert (gpu.cuda.memory, gpu.cuda.streams) == ({}, 0)


def test_a_plan_of_another_library_or_gpu(gpu):
    gpu.plan.write_bytes(b"")
    with pytest.raises(
        ServingError,
        match=r"built by an unknown library, .* not for tensorrt 10\.13: magic tag does not match;",
    ):
        EngineRunner(gpu.plan)
    report = {"library": "tensorrt_rtx", "version": "1.7.1"}
    gpu.plan.with_name("build.json").write_text(json.dumps(report))
    with pytest.raises(ServingError, match=r"built by tensorrt_rtx 1\.7\.1, is not for this GPU"):
        EngineRunner(gpu.plan)
    assert gpu.asked == [None, "tensorrt_rtx"]  # it runs with what it was built with
    gpu.plan.write_bytes(b"plan")
    gpu.engine.create_execution_context = lambda: None
    with pytest.raises(ServingError, match="gives no execution context"):
        EngineRunner(gpu.plan)


@pytest.mark.skipif(gpu_reason() is None, reason="engines run here")
def test_an_engine_says_why_it_cannot_run(tmp_path):
    (tmp_path / "model.plan").write_bytes(b"plan")
    with pytest.raises(ServingError, match="cannot run here: "):
        EngineRunner(tmp_path / "model.plan")


def test_cuda_python_takes_the_runners_arguments():
    """Without a driver every call answers with a status, unless its arguments are wrong."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    if not int(runtime.cudaGetDeviceCount()[0]):
        pytest.skip("would move memory about on the GPU here")
    kinds, stream = runtime.cudaMemcpyKind, runtime.cudaStream_t(0)
    assert int(stream) == 0
    for status, *_ in (
        runtime.cudaStreamCreate(),
        runtime.cudaMalloc(16),
        runtime.cudaMemcpyAsync(1024, 2048, 16, kinds.cudaMemcpyHostToDevice, stream),
        runtime.cudaMemcpyAsync(1024, 2048, 16, kinds.cudaMemcpyDeviceToHost, stream),
        runtime.cudaStreamSynchronize(stream),
        runtime.cudaFree(1024),
        runtime.cudaStreamDestroy(stream),
    ):
        assert int(status)
        assert status.name.startswith("cudaError")


# ---- against ONNX Runtime


def write_doubling(path):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["twice"]), helper.make_node("Neg", ["x"], ["less"])],
        "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 2])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 2]) for n in ("twice", "less")],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path
    )


@pytest.mark.parametrize(
    ("wrong", "difference"),
    [
        (lambda y: y, 0.0),
        (lambda y: y + np.array([0.0, -0.25], np.float32), 0.25),
        (lambda y: y[:, :1], np.inf),
        (lambda y: y * np.nan, np.nan),
    ],
    ids=["equal", "quarter", "shape", "nan"],
)
def test_differences_and_latency_by_batch_size(tmp_path, monkeypatch, wrong, difference):
    write_doubling(tmp_path / "model.onnx")

    class Engine:
        runs = 0

        def __init__(self, path):
            assert path == "model.plan"

        def run(self, feeds):
            Engine.runs += 1
            y = {"twice": 2 * feeds["x"], "less": -feeds["x"]}
            return {**y, "twice": wrong(y["twice"])} if len(feeds["x"]) == 3 else y

        __enter__ = EngineRunner.__enter__
        __exit__ = EngineRunner.__exit__

        def close(self):
            Engine.closed = True

    monkeypatch.setattr(tensorrt_runner, "EngineRunner", Engine)
    batches = [{"x": np.full((size, 2), np.float32(size))} for size in (1, 3)]
    found = verify_engine("model.plan", tmp_path / "model.onnx", batches, repeats=4)
    np.testing.assert_equal(found["difference"], difference)
    np.testing.assert_equal(found["differences"], {"twice": difference, "less": 0.0})
    assert set(found["latency_ms"]) == set(found["onnxruntime_latency_ms"]) == {"1", "3"}
    assert all(ms > 0 for ms in found["onnxruntime_latency_ms"].values())
    assert Engine.runs == 2 * (1 + 1 + 4)  # to compare, to warm up, to time
    assert Engine.closed


@pytest.mark.skipif(gpu_reason() is not None, reason=f"no engine can run: {gpu_reason()}")
def test_an_engine_equals_onnx_runtime(tmp_path):
    import keras
    from keras import layers

    from serving.native_onnx import export_onnx
    from serving.tensorrt_engine import build_tensorrt

    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Bidirectional(layers.GRU(8))(layers.Embedding(20, 8, mask_zero=True)(ids))
    model = keras.Model({"ids": ids}, {"y": layers.Dense(3)(x)})
    export_onnx(model, tmp_path / "model.onnx", processor="gpu")
    build_tensorrt(
        tmp_path / "model.onnx", tmp_path / "model.plan",
        profile={"ids": ((1, 1), (4, 16), (8, 64))},
    )  # fmt: skip
    tokens = np.random.default_rng(0).integers(1, 20, (8, 16)).astype(np.int32)
    tokens[3, 4:] = 0
    found = verify_engine(tmp_path / "model.plan", tmp_path / "model.onnx", [{"ids": tokens}])
    assert found["difference"] < 1e-3
