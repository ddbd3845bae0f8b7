"""The Triton repository, read back with Triton's own protocol buffers."""

import json

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from serving.errors import ServingError
from serving.native_onnx import export_onnx, step_model
from serving.triton import EnumValue, plan_reason, text_form, write_triton

model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2")
PROFILE = {"ids": [[1, 1], [4, 24], [12, 40]]}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    scratch, root = tmp_path_factory.mktemp("onnx"), tmp_path_factory.mktemp("triton")
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4)(ids)
    x = layers.LSTM(3, return_sequences=True, name="reader")(x)
    x = layers.GRU(2, return_sequences=True, name="reader_1")(x)
    model = keras.Model({"ids": ids}, {"logits": layers.Dense(9)(x)})
    export_onnx(model, scratch / "model.onnx")
    export_onnx(step_model(model), scratch / "step.onnx")
    (scratch / "model.plan").write_bytes(b"plan")
    (scratch / "build.json").write_text(json.dumps({"library": "tensorrt", "profile": PROFILE}))
    names = write_triton(
        root, "words", onnx_paths={name: scratch / f"{name}.onnx" for name in ("model", "step")},
        plan_paths={"model": scratch / "model.plan"}, version=4, max_batch=16,
    )  # fmt: skip
    assert names == ["words_onnx", "words_step_onnx", "words_tensorrt"]
    return root


def config(repository, name):
    text = (repository / name / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config.ModelConfig())


def test_each_model_has_its_file_in_its_version(repository):
    files = sorted(str(p.relative_to(repository)) for p in repository.rglob("*") if p.is_file())
    assert files == [
        "words_onnx/4/model.onnx", "words_onnx/config.pbtxt",
        "words_step_onnx/4/model.onnx", "words_step_onnx/config.pbtxt",
        "words_tensorrt/4/model.plan", "words_tensorrt/config.pbtxt",
    ]  # fmt: skip


# The plan takes 12 rows at most, 24 steps best, as its build.json says.
@pytest.mark.parametrize(
    ("name", "backend", "kind", "preferred", "most", "steps"),
    [
        ("words_onnx", "onnxruntime", "KIND_CPU", [8, 16], 16, 32),
        ("words_tensorrt", "tensorrt", "KIND_GPU", [8], 12, 24),
    ],
)
def test_whole_sequences_are_batched_dynamically(
    repository, name, backend, kind, preferred, most, steps
):
    parsed = config(repository, name)
    assert (parsed.name, parsed.backend, parsed.max_batch_size) == (name, backend, most)
    assert parsed.WhichOneof("scheduling_choice") == "dynamic_batching"
    (given,), (answer,) = parsed.input, parsed.output
    assert (given.name, given.data_type, list(given.dims)) == ("ids", model_config.TYPE_INT32, [-1])
    assert (answer.name, list(answer.dims)) == ("logits", [-1, 9])
    assert answer.data_type == model_config.TYPE_FP32
    (group,) = parsed.instance_group
    assert (group.kind, group.count) == (model_config.ModelInstanceGroup.Kind.Value(kind), 1)
    assert list(parsed.dynamic_batching.preferred_batch_size) == preferred
    assert parsed.dynamic_batching.max_queue_delay_microseconds == 500
    warmup = [(w.batch_size, list(w.inputs["ids"].dims)) for w in parsed.model_warmup]
    assert warmup == [(1, [steps]), (most, [steps])]
    for sample in parsed.model_warmup:
        assert sample.inputs["ids"].WhichOneof("input_data_type") == "zero_data"
        assert sample.inputs["ids"].data_type == model_config.TYPE_INT32


def test_steps_are_sequences_with_states_that_begin_at_zero(repository):
    parsed = config(repository, "words_step_onnx")
    assert parsed.WhichOneof("scheduling_choice") == "sequence_batching"
    assert parsed.sequence_batching.WhichOneof("strategy_choice") == "oldest"
    assert not parsed.sequence_batching.control_input
    assert not parsed.model_warmup
    # Triton keeps the states: a client sends one id and gets one row of logits.
    assert [(v.name, list(v.dims), list(v.reshape.shape)) for v in parsed.input] == [
        ("ids", [1], [])
    ]
    assert parsed.input[0].HasField("reshape")
    assert [(v.name, list(v.dims)) for v in parsed.output] == [("logits", [9])]
    states = {s.input_name: s for s in parsed.sequence_batching.state}
    assert {name: list(s.dims) for name, s in states.items()} == {
        "reader_c": [3], "reader_h": [3], "reader_1_h": [2]
    }  # fmt: skip
    for name, state in states.items():
        assert state.output_name == f"{name}_next"
        assert state.data_type == model_config.TYPE_FP32
        (initial,) = state.initial_state
        assert initial.WhichOneof("state_data") == "zero_data"
        assert (initial.data_type, initial.dims) == (state.data_type, state.dims)
        assert initial.name  # without a name Triton refuses the model


class Server:
    """What Triton does with a step model, by its configuration alone."""

    def __init__(self, repository, name):
        self.config, self.states = config(repository, name), {}
        self.session = onnxruntime.InferenceSession(repository / name / "4" / "model.onnx")

    def batch(self, requests):
        """Requests of different sequences: (sequence, start, inputs of batch 1) each."""
        kept = self.config.sequence_batching.state
        for sequence, start, _ in requests:
            if start:
                self.states[sequence] = {
                    s.input_name: np.zeros([1, *s.initial_state[0].dims], np.float32) for s in kept
                }
        feeds = {
            v.name: np.concatenate([inputs[v.name] for *_, inputs in requests]).reshape(
                [len(requests), *(v.reshape.shape if v.HasField("reshape") else v.dims)]
            )
            for v in self.config.input
        }
        rows = [self.states[sequence] for sequence, *_ in requests]
        feeds |= {s.input_name: np.concatenate([r[s.input_name] for r in rows]) for s in kept}
        wanted = [v.name for v in self.config.output] + [s.output_name for s in kept]
        got = dict(zip(wanted, self.session.run(wanted, feeds), strict=True))
        for i, state in enumerate(rows):
            state.update({s.input_name: got[s.output_name][i : i + 1] for s in kept})
        return got


def test_steps_of_several_sequences_in_one_batch_equal_the_whole_model(repository):
    whole = onnxruntime.InferenceSession(repository / "words_onnx" / "4" / "model.onnx")
    texts = {7: [1, 2, 3, 4], 8: [5, 6], 9: [8, 7, 6]}
    server, found = Server(repository, "words_step_onnx"), {7: [], 8: [], 9: []}
    # (sequence, step): one alone, two together in either order, one that joins late.
    for batch in ([(7, 0)], [(8, 0), (7, 1)], [(7, 2), (8, 1), (9, 0)], [(9, 1), (7, 3)], [(9, 2)]):
        answers = server.batch([
            (sequence, step == 0, {"ids": np.array([[texts[sequence][step]]], np.int32)})
            for sequence, step in batch
        ])["logits"]  # fmt: skip
        for (sequence, _), row in zip(batch, answers, strict=True):
            found[sequence].append(row)
    for sequence, ids in texts.items():
        (want,) = whole.run(["logits"], {"ids": np.array([ids], np.int32)})
        np.testing.assert_allclose(found[sequence], want[0], atol=1e-5)


# ---- other models


def write_model(path, inputs, outputs, external=False):
    """Each output is the input of the same place; shapes are all that matters here."""
    pairs = zip(inputs, outputs, strict=True)
    nodes = [helper.make_node("Identity", [a[0]], [b[0]]) for a, b in pairs]
    weights = [numpy_helper.from_array(np.ones(300, np.float32), "weights")] if external else []
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(*v) for v in inputs],
        [helper.make_tensor_value_info(*v) for v in outputs], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path, save_as_external_data=external, location="big.data", size_threshold=0)
    return path


def same(name, kind, shape):
    return [(name, kind, shape)], [(f"{name}_out", kind, shape)]


@pytest.mark.parametrize(
    ("kind", "want"),
    [
        (TensorProto.STRING, "TYPE_STRING"), (TensorProto.INT64, "TYPE_INT64"),
        (TensorProto.FLOAT16, "TYPE_FP16"), (TensorProto.DOUBLE, "TYPE_FP64"),
        (TensorProto.BOOL, "TYPE_BOOL"), (TensorProto.UINT8, "TYPE_UINT8"),
    ],
)  # fmt: skip
def test_types_and_shapes_are_those_of_the_file(tmp_path, kind, want):
    source = write_model(tmp_path / "m.onnx", *same("x", kind, ["b", 5, "t", 2]))
    write_triton(tmp_path, "m", onnx_paths={"model": source}, max_batch=1, kind="gpu")
    parsed = config(tmp_path, "m_onnx")
    for tensor in (*parsed.input, *parsed.output):
        assert (tensor.data_type, list(tensor.dims)) == (model_config.DataType.Value(want),
                                                         [5, -1, 2])  # fmt: skip
        assert not tensor.HasField("reshape")
    assert parsed.instance_group[0].kind == model_config.ModelInstanceGroup.KIND_GPU
    assert not parsed.dynamic_batching.preferred_batch_size  # none is as small as one
    (warmup,) = parsed.model_warmup
    assert (warmup.batch_size, list(warmup.inputs["x"].dims)) == (1, [5, 32, 2])


def test_weights_beside_the_file_go_with_it(tmp_path):
    source = write_model(tmp_path / "m.onnx", *same("x", TensorProto.FLOAT, ["b"]), external=True)
    write_triton(tmp_path / "repository", "m", onnx_paths={"model": source})
    place = tmp_path / "repository" / "m_onnx" / "1"
    assert (place / "big.data").read_bytes() == (tmp_path / "big.data").read_bytes()
    onnx.checker.check_model(place / "model.onnx")  # which looks for the weights beside it


def test_a_step_model_without_states_is_an_ordinary_model(tmp_path):
    source = write_model(tmp_path / "step.onnx", *same("x", TensorProto.FLOAT, ["b", 2]))
    assert write_triton(tmp_path, "m", onnx_paths={"step": source}) == ["m_step_onnx"]
    assert config(tmp_path, "m_step_onnx").WhichOneof("scheduling_choice") == "dynamic_batching"


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (TensorProto.BFLOAT16, ["b", 2], "'x' in .* is BFLOAT16, which Triton has no type for"),
        (TensorProto.FLOAT, [1, 2], r"'x' in .* has the shape \[1, 2\].* open first dimension"),
        (TensorProto.FLOAT, [], r"'x' in .* has the shape \[\]"),
    ],
)
def test_what_triton_cannot_batch_is_named(tmp_path, kind, shape, message):
    source = write_model(tmp_path / "m.onnx", *same("x", kind, shape))
    with pytest.raises(ServingError, match=message):
        write_triton(tmp_path, "m", onnx_paths={"model": source})
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"h": (["b", "n"], ["b", "n"])}, r"state 'h' .* \[-1\]; Triton can begin with zeros only"),
        ({"h": (["b"], ["b"])}, "state 'h' .* begin with zeros only"),
        ({"h": (["b", 2], ["b", 3])}, "state 'h' .* changes its type or shape"),
        # gru_h < gru_h_h, but gru_h_h_next < gru_h_next: the lists go different ways.
        ({"gru_h": (["b", 2], ["b", 2]), "gru_h_h": (["b", 2], ["b", 2])},
         "would take 'gru_h_h_next' for state 'gru_h'"),
    ],
)  # fmt: skip
def test_states_that_triton_would_mistake_are_refused(tmp_path, states, message):
    source = write_model(
        tmp_path / "step.onnx",
        [(name, TensorProto.FLOAT, before) for name, (before, _) in states.items()],
        [(f"{name}_next", TensorProto.FLOAT, after) for name, (_, after) in states.items()],
    )
    with pytest.raises(ServingError, match=message):
        write_triton(tmp_path, "m", onnx_paths={"step": source})


def test_plans_of_rtx_are_not_for_triton(tmp_path):
    plan = tmp_path / "model.plan"
    assert plan_reason(plan) is None  # nothing is known of it
    for library, reason in (("tensorrt", None), ("tensorrt_rtx", "not of tensorrt_rtx")):
        plan.with_name("build.json").write_text(json.dumps({"library": library}))
        assert plan_reason(plan) == (reason and f"Triton loads plans of tensorrt, {reason}")


def test_text_form_of_every_kind_of_value():
    parsed = text_format.Parse(
        text_form({
            "name": 'a "quoted" \\ name,\n\ttwo lines, ä', "max_batch_size": 3,
            "instance_group": [{"kind": EnumValue("KIND_CPU"), "count": 2}],
            "dynamic_batching": {"preserve_ordering": True},
        }),
        model_config.ModelConfig(),
    )  # fmt: skip
    assert parsed.name == 'a "quoted" \\ name,\n\ttwo lines, ä'
    assert parsed.max_batch_size == 3
    assert parsed.instance_group[0].kind == model_config.ModelInstanceGroup.KIND_CPU
    assert parsed.instance_group[0].count == 2
    assert parsed.dynamic_batching.preserve_ordering
