"""Any Keras model as a bundle: named tensors, open sizes, what is refused and by which name."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from common.errors import DataError
from pipelines.preprocessor import load_preprocessor
from pipelines.tensor_files import read_tensor_rows, tensor_rows
from pipelines.tensors import TensorPreprocessor
from serving.errors import RequestError, ServingError
from serving.keras_models import export_model, named_core, onnx_reason
from serving.predictor import Predictor

SPECS = {
    "a": {"dtype": "int32", "shape": [-1, -1]},
    "b": {"dtype": "float32", "shape": [-1, 2]},
}
DRAWN = np.random.default_rng(0)


def two_inputs():
    words = keras.Input((None,), dtype="int32", name="words")
    about = keras.Input((3,))
    x = layers.Embedding(20, 4, mask_zero=True)(words)
    both, h, _ = layers.LSTM(5, return_sequences=True, return_state=True)(x)
    tags = layers.Dense(2, name="my-tags")(both)
    end = layers.Dense(1)(layers.Concatenate()([h, about]))
    return keras.Model([words, about], [tags, end], name="my-model")


def test_every_form_answers_as_keras_and_the_server_needs_no_names(tmp_path):
    model = two_inputs()
    words = DRAWN.integers(1, 20, (6, 5))
    words[0, 3:] = 0
    about = DRAWN.normal(size=(6, 3))
    manifest = export_model(model, tmp_path / "b", [words, about])
    assert {n: one["status"] for n, one in manifest["artifacts"].items()} == {
        "savedmodel": "verified", "onnx": "verified"
    }  # fmt: skip
    assert max(one["parity"] for one in manifest["artifacts"].values()) < 1e-6
    # One step, half and double were compared as well.
    assert manifest["artifacts"]["onnx"]["examples"] == 6 + 3
    predictor = Predictor(tmp_path / "b")
    names = list(predictor.signature["inputs"])
    assert names[0] == "words"
    rows = [{"words": words[i], names[1]: about[i]} for i in range(6)]
    found = predictor.predict(rows)
    tags, end = model.predict_on_batch([words, about])
    np.testing.assert_allclose([one["my_tags"] for one in found], tags, atol=1e-5)
    other = next(name for name in found[0] if name != "my_tags")
    np.testing.assert_allclose([one[other] for one in found], end, atol=1e-5)
    with pytest.raises(RequestError, match="words"):
        predictor.run({"words": words})


def test_a_stateful_layer_begins_each_request_from_zeros(tmp_path):
    x = keras.Input(batch_shape=(4, None, 3))
    y = layers.LSTM(5, stateful=True, return_sequences=True, name="keeps")(x)
    model = keras.Model(x, layers.Dense(2)(y))
    rows = DRAWN.normal(size=(4, 6, 3)).astype("float32")
    expected = model.predict_on_batch(rows)
    core, remarks = named_core(model)
    assert remarks == ["layer 'keeps' is stateful: here each request begins from zeros"]
    for _ in range(2):
        (found,) = core.predict_on_batch({next(iter(core.input)): rows}).values()
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert core.inputs[0].shape == (None, None, 3)
    assert model.get_layer("keeps").stateful


def conv_lstm():
    return keras.Sequential(
        [keras.Input((3, 4, 4, 1)), layers.ConvLSTM2D(2, 3, name="film"), layers.Flatten()]
    )


def test_what_onnx_does_not_have_is_named_and_the_savedmodel_is_written(tmp_path):
    examples = DRAWN.normal(size=(2, 3, 4, 4, 1))
    manifest = export_model(conv_lstm(), tmp_path / "b", examples)
    assert list(manifest["artifacts"]) == ["savedmodel"]
    assert "layer 'film' of type" in manifest["refused"]["onnx"]
    assert not (tmp_path / "b" / "onnx").exists()
    with pytest.raises(ServingError, match="'film'.*leave out --format onnx"):
        export_model(conv_lstm(), tmp_path / "c", examples, formats=["savedmodel", "onnx"])
    assert not (tmp_path / "c").exists()


class Unwritten(layers.Layer):
    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, x):
        return x * self.size


class Hidden(layers.Layer):
    """It holds what is neither in its config nor among its weights."""

    made = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        Hidden.made += 1
        self.by = Hidden.made

    def call(self, x):
        return x * self.by


def of_one(layer):
    return keras.Sequential([keras.Input((3,)), layer])


def across_rows():
    x = keras.Input((3,))
    return keras.Model(x, x - keras.ops.mean(x, 0, keepdims=True))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: of_one(layers.Lambda(lambda x: 2 * x, name="twice")), "'twice' is a Lambda"),
        (lambda: of_one(Unwritten(np.ones(3), name="mine")), r"'mine' \(Unwritten\).*get_config"),
        (lambda: of_one(layers.IntegerLookup(vocabulary=[1], name="words")), "'words'.*table"),
        (lambda: of_one(Hidden(name="mine")), "answers otherwise"),
        (across_rows, "depends on the rows"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_written(model, said, tmp_path):
    with pytest.raises(ServingError, match=said):
        export_model(model(), tmp_path / "b", DRAWN.normal(size=(4, 3)))
    assert not (tmp_path / "b").exists()


def test_the_reason_names_the_layer():
    core, _ = named_core(conv_lstm())
    assert "'film'" in onnx_reason(core)
    core, _ = named_core(two_inputs())
    assert onnx_reason(core) is None


def test_rows_come_from_files(tmp_path):
    a, b = DRAWN.integers(0, 9, (3, 4)), DRAWN.normal(size=(3, 2)).astype("float32")
    np.savez(tmp_path / "x.npz", a=a, b=b)
    rows = read_tensor_rows(tmp_path / "x.npz", SPECS)
    np.testing.assert_array_equal([row["a"] for row in rows], a)
    lines = [json.dumps({"a": a[i].tolist(), "b": b[i].tolist()}) for i in range(3)]
    (tmp_path / "x.jsonl").write_text("\n".join([*lines, ""]))
    assert [row["a"] for row in read_tensor_rows(tmp_path / "x.jsonl", SPECS)] == a.tolist()
    (tmp_path / "x.csv").write_text("p,q\n1,2.5\n\n3,4\n")
    only = {"b": SPECS["b"]}
    np.testing.assert_array_equal(
        [row["b"] for row in read_tensor_rows(tmp_path / "x.csv", only)], [[1, 2.5], [3, 4]]
    )
    np.save(tmp_path / "x.npy", b)
    assert len(read_tensor_rows(tmp_path / "x.npy", only)) == 3


BAD_FILES = {
    "x.txt": ("", "npz, npy, jsonl, csv"),
    "none.npz": (None, "is not there"),
    "x.npz": ("no zip", "cannot be read as npz"),
    "x.jsonl": ('{"a": [1], "b": [1, 2]}\n{"a"', "line 2"),
    "y.jsonl": ('{"a": [1], "c": 2}', "line 1 has a, c; the model takes a, b"),
    "z.jsonl": ("\n", "holds no example"),
    "x.csv": ("1,2", "the model takes a, b"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_by_name_and_line(name, tmp_path):
    text, said = BAD_FILES[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_tensor_rows(tmp_path / name, SPECS)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"a": [1, 2]}, "example 1 has a; the model takes a, b"),
        ({"a": [0.5], "b": [1, 2]}, "'a': 1 of float64; the model takes any of int32"),
        ({"a": [1], "b": [1, 2, 3]}, "'b': 3 of int64; the model takes 2 of float32"),
        ({"a": [1], "b": [[1], [1, 2]]}, "'b'"),
        (7, "no named inputs"),
    ],
)
def test_a_row_that_does_not_go_with_the_model_is_refused(row, said):
    with pytest.raises(DataError, match=said):
        TensorPreprocessor({"inputs": SPECS, "outputs": {}}).to_request([row])
    with pytest.raises(DataError, match="one shape"):
        TensorPreprocessor({"inputs": SPECS, "outputs": {}}).to_request(
            [{"a": [1] * n, "b": [1, 2]} for n in (1, 2)]
        )


numbers = st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries({"a": st.lists(st.integers(-9, 9), min_size=4, max_size=4),
                               "b": numbers}), min_size=1, max_size=4,
    )
)  # fmt: skip
def test_both_implementations_hand_tensors_on(rows, tmp_path_factory):
    place = tmp_path_factory.mktemp("pre")
    TensorPreprocessor({"inputs": SPECS, "outputs": SPECS}).save(place)
    preprocessor = load_preprocessor(place)
    request = preprocessor.to_request(rows)
    graph = preprocessor.graph()
    for found in (preprocessor.encode(request), graph.decode(graph.encode(request))):
        assert {n: x.dtype for n, x in found.items()} == {"a": np.int32, "b": np.float32}
        np.testing.assert_array_equal(found["a"], [row["a"] for row in rows])
        np.testing.assert_array_equal(found["b"], np.float32([row["b"] for row in rows]))


def test_examples_in_memory_take_the_shapes_people_have():
    a, b = np.zeros((3, 4), int), np.ones((3, 2))
    for given_as in ({"a": a, "b": b}, [a, b], [{"a": a[i], "b": b[i]} for i in range(3)]):
        assert len(tensor_rows(given_as, SPECS)) == 3
    with pytest.raises(DataError, match="as many examples"):
        tensor_rows([a, b[:2]], SPECS)
    with pytest.raises(DataError, match="takes a, b"):
        tensor_rows(a, SPECS)


def test_a_masked_dense_on_every_step_answers_any_length():
    words = keras.Input((None,), dtype="int32", name="words")
    y = keras.layers.Embedding(30, 4, mask_zero=True)(words)
    y = keras.layers.LSTM(3, return_sequences=True)(y)
    y = keras.layers.TimeDistributed(keras.layers.Dense(5, activation="softmax"), name="tags")(y)
    model = keras.Model(words, y)
    core, _ = named_core(model)
    for length in (6, 4, 1, 6):
        ids = np.arange(1, 2 * length + 1, dtype="int32").reshape(2, length)
        ids[1, length // 2 + 1 :] = 0
        found = core.predict({"words": ids}, verbose=0)["tags"]
        np.testing.assert_allclose(found, model(ids), atol=1e-6)


def test_inputs_of_different_lengths_do_not_share_an_axis(tmp_path):
    source, target = keras.Input((None, 3), name="source"), keras.Input((None, 2), name="target")
    _, *state = keras.layers.LSTM(4, return_state=True)(source)
    y = keras.layers.LSTM(4, return_sequences=True)(target, initial_state=state)
    model = keras.Model([source, target], keras.layers.Dense(5, name="next")(y))
    draw = np.random.default_rng(0)
    rows = {"source": draw.normal(size=(6, 5, 3)), "target": draw.normal(size=(6, 9, 2))}
    rows = {name: values.astype("float32") for name, values in rows.items()}
    found = export_model(model, tmp_path / "bundle", examples=rows, formats=("onnx",))
    assert found["artifacts"]["onnx"]["status"] == "verified"
    session = Predictor(tmp_path / "bundle").model
    for lengths in ((5, 9), (9, 5), (40, 3), (2, 2)):
        asked = {"source": rows["source"][:2].repeat(8, 1)[:, : lengths[0]],
                 "target": rows["target"][:2].repeat(8, 1)[:, : lengths[1]]}  # fmt: skip
        want = model([asked["source"], asked["target"]])
        np.testing.assert_allclose(session.run(asked)["next"], want, atol=1e-5)


def test_inputs_that_are_combined_step_by_step_share_their_axis():
    from serving.native_onnx import build_onnx

    one, other = keras.Input((None, 3), name="one"), keras.Input((None, 3), name="other")
    model = keras.Model([one, other], keras.layers.LSTM(2)(keras.layers.Add()([one, other])))
    dims = [value.type.tensor_type.shape.dim[1] for value in build_onnx(model).graph.input]
    assert [dim.dim_param for dim in dims] == ["time", "time"]
