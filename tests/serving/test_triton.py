"""The Triton repository, read back with Triton's own protocol buffers."""

import keras
import numpy as np
import pytest
from google.protobuf import text_format
from keras import layers

from serving.native_onnx import export_onnx, export_step_onnx
from serving.triton import Enum, text_form, write_triton

model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    scratch, root = tmp_path_factory.mktemp("onnx"), tmp_path_factory.mktemp("triton")
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4)(ids)
    x = layers.LSTM(3, return_sequences=True, name="reader")(x)
    model = keras.Model({"ids": ids}, {"logits": layers.Dense(9)(x)})
    export_onnx(model, scratch / "model.onnx")
    export_step_onnx(model, scratch / "step.onnx")
    (scratch / "model.plan").write_bytes(b"plan")
    names = write_triton(
        root, "words", onnx_path=scratch / "model.onnx", plan_path=scratch / "model.plan",
        step_path=scratch / "step.onnx", version=4, max_batch=16,
    )  # fmt: skip
    assert names == ["words", "words_tensorrt", "words_step"]
    return root


def config(repository, name):
    text = (repository / name / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config.ModelConfig())


def test_each_model_has_its_file_in_its_version(repository):
    files = sorted(str(p.relative_to(repository)) for p in repository.rglob("*") if p.is_file())
    assert files == [
        "words/4/model.onnx", "words/config.pbtxt",
        "words_step/4/model.onnx", "words_step/config.pbtxt",
        "words_tensorrt/4/model.plan", "words_tensorrt/config.pbtxt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "backend", "kind"),
    [("words", "onnxruntime", "KIND_CPU"), ("words_tensorrt", "tensorrt", "KIND_GPU")],
)
def test_whole_sequences_are_batched_dynamically(repository, name, backend, kind):
    parsed = config(repository, name)
    assert (parsed.name, parsed.backend, parsed.max_batch_size) == (name, backend, 16)
    (given,), (answer,) = parsed.input, parsed.output
    assert (given.name, given.data_type, list(given.dims)) == ("ids", model_config.TYPE_INT32, [-1])
    assert (answer.name, list(answer.dims)) == ("logits", [-1, 9])
    assert answer.data_type == model_config.TYPE_FP32
    assert parsed.instance_group[0].kind == model_config.ModelInstanceGroup.Kind.Value(kind)
    assert list(parsed.dynamic_batching.preferred_batch_size) == [8, 16]
    assert parsed.dynamic_batching.max_queue_delay_microseconds == 500
    sizes = [(w.batch_size, list(w.inputs["ids"].dims)) for w in parsed.model_warmup]
    assert sizes == [(1, [32]), (16, [32])]
    assert all(w.inputs["ids"].zero_data for w in parsed.model_warmup)


def test_steps_are_sequences_with_states_that_begin_at_zero(repository):
    parsed = config(repository, "words_step")
    assert parsed.WhichOneof("scheduling_choice") == "sequence_batching"
    assert parsed.sequence_batching.WhichOneof("strategy_choice") == "oldest"
    # Triton keeps the states: a client sends one id and gets one row of logits.
    assert [(v.name, list(v.dims), list(v.reshape.shape)) for v in parsed.input] == [
        ("ids", [1], [])
    ]
    assert parsed.input[0].HasField("reshape")
    assert [(v.name, list(v.dims)) for v in parsed.output] == [("logits", [9])]
    states = {s.input_name: s for s in parsed.sequence_batching.state}
    assert sorted(states) == ["reader_c", "reader_h"]
    for name, state in states.items():
        assert state.output_name == f"{name}_next"
        assert (state.data_type, list(state.dims)) == (model_config.TYPE_FP32, [3])
        (initial,) = state.initial_state
        assert (initial.zero_data, list(initial.dims)) == (True, [3])


def test_text_form_of_every_kind_of_value():
    parsed = text_format.Parse(
        text_form({
            "name": 'a "quoted" \\ name', "max_batch_size": 3,
            "instance_group": [{"kind": Enum("KIND_CPU"), "count": 2}],
            "dynamic_batching": {"preserve_ordering": True},
        }),
        model_config.ModelConfig(),
    )  # fmt: skip
    assert parsed.name == 'a "quoted" \\ name'
    assert parsed.instance_group[0].count == np.int32(2)
    assert parsed.dynamic_batching.preserve_ordering
