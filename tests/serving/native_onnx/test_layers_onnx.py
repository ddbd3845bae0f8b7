"""Layers around the recurrent ones, Keras operations, and models that cannot be written."""

from collections import Counter

import keras
import numpy as np
import onnx
import pytest
from keras import layers, ops

from serving.errors import ServingError
from serving.native_onnx import build_onnx, converter, export_onnx, writer
from tests.serving.native_onnx.parity import (
    assert_same,
    left_padded,
    ragged_ids,
    randomise,
    session_of,
    with_holes,
)


def series(width=4):
    return keras.Input((None, width), name="x")


def batch(width=4, rows=3, steps=6):
    return np.random.default_rng(3).normal(size=(rows, steps, width)).astype(np.float32)


POINTWISE = {
    "dense": lambda: layers.Dense(3, "gelu"),
    "no_bias": lambda: layers.Dense(3, use_bias=False),
    "time_distributed": lambda: layers.TimeDistributed(layers.Dense(3, "tanh")),
    "layer_norm": lambda: layers.LayerNormalization(),
    "layer_norm_bare": lambda: layers.LayerNormalization(center=False, scale=False),
    "batch_norm": lambda: layers.BatchNormalization(),
    "rms_norm": lambda: layers.RMSNormalization(),
    "unit_norm": lambda: layers.UnitNormalization(),
    "einsum": lambda: layers.EinsumDense("btd,de->bte", output_shape=(None, 5), bias_axes="e"),
    "conv": lambda: layers.Conv1D(3, 3, activation="relu"),
    "conv_same": lambda: layers.Conv1D(3, 4, strides=2, padding="same"),
    "conv_causal": lambda: layers.Conv1D(4, 3, dilation_rate=2, padding="causal", groups=2),
    "max_pooling": lambda: layers.MaxPooling1D(2, padding="same"),
    "average_pooling": lambda: layers.AveragePooling1D(2, padding="same"),
    "global_max": lambda: layers.GlobalMaxPooling1D(),
    "global_average": lambda: layers.GlobalAveragePooling1D(keepdims=True),
    "padding": lambda: layers.ZeroPadding1D((1, 2)),
    "cropping": lambda: layers.Cropping1D((1, 1)),
    "up_sampling": lambda: layers.UpSampling1D(3),
    "relu": lambda: layers.ReLU(max_value=0.4, negative_slope=0.1),
    "leaky": lambda: layers.LeakyReLU(0.2),
    "elu": lambda: layers.ELU(0.7),
    "prelu": lambda: layers.PReLU(shared_axes=[1]),
    "softmax": lambda: layers.Softmax(axis=1),
    "rescaling": lambda: layers.Rescaling(0.5, 1.0),
    "dropout": lambda: layers.Dropout(0.5),
    "noise": lambda: layers.GaussianNoise(0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(POINTWISE))
@pytest.mark.parametrize("after_recurrent", [False, True])
def test_layer_equals_keras_batch_and_time_major(name, after_recurrent):
    x = series()
    inputs = layers.GRU(4, return_sequences=True)(x) if after_recurrent else x
    model = keras.Model(x, POINTWISE[name]()(inputs))
    randomise(model)
    assert_same(model, {"x": batch()})


ACTIVATIONS = [
    "relu", "relu6", "tanh", "sigmoid", "softplus", "softsign", "exponential", "hard_sigmoid",
    "hard_silu", "silu", "mish", "log_sigmoid", "selu", "elu", "leaky_relu", "gelu", "softmax",
    "log_softmax", "linear",
]  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_equals_keras(name):
    x = series()
    assert_same(keras.Model(x, layers.Activation(name)(x)), {"x": 3 * batch()})


@pytest.mark.parametrize("kind", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum",
                                  "Concatenate"])  # fmt: skip
def test_merging_of_two_layouts(kind):
    x = series()
    recurrent = layers.LSTM(4, return_sequences=True)(x)  # time-major inside the graph
    model = keras.Model(x, getattr(layers, kind)()([x, recurrent]))
    randomise(model)
    assert_same(model, {"x": batch()})


@pytest.mark.parametrize("axes", [2, (1, 1), (2, 2)])
def test_dot(axes):
    x = series()
    if axes == (1, 1):
        outputs = layers.Dot(axes)([x, layers.Dense(3)(x)])
    else:
        outputs = layers.Dot(axes, normalize=axes == 2)([x, layers.Dense(4)(x)])
    model = keras.Model(x, [outputs, layers.Dot(1)([x[:, 0], x[:, 1]])])
    randomise(model)
    assert_same(model, {"x": batch()})


def test_shapes():
    x = keras.Input((6, 4), name="x")
    state = layers.GRU(4)(x)
    outputs = [
        layers.Flatten()(x), layers.Reshape((3, 8))(x), layers.Permute((2, 1))(x),
        layers.RepeatVector(3)(state), layers.Normalization(mean=[1.0] * 4, variance=[2.0] * 4)(x),
    ]  # fmt: skip
    model = keras.Model(x, outputs)
    assert_same(model, {"x": batch()})


@pytest.mark.parametrize("attention", [
    lambda q, v: layers.Attention()([q, v]),
    lambda q, v: layers.Attention(use_scale=True, score_mode="concat")([q, v]),
    lambda q, v: layers.Attention()([q, v], use_causal_mask=True),
    lambda q, v: layers.AdditiveAttention()([q, v]),
    lambda q, v: layers.MultiHeadAttention(2, 3)(q, v),
    lambda q, v: layers.MultiHeadAttention(2, 3, dropout=0.1)(q, v, use_causal_mask=True),
])  # fmt: skip
def test_attention_with_masks(attention):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    model = keras.Model(ids, attention(layers.GRU(4, return_sequences=True)(x), x))
    randomise(model)
    random = np.random.default_rng(4)
    # A row holds nothing only where Keras's answer for it is a number.
    ragged = ragged_ids(random, 4, 7)
    anywhere = with_holes(random, 4, 7)
    anywhere[:, 3] = 1
    assert_same(model, {"ids": np.concatenate([ragged, left_padded(ragged), anywhere])})


def test_pooling_and_merged_masks_of_any_form():
    from models.pooling import MaskedPooling

    ids = keras.Input((None,), dtype="int32", name="ids")
    other = keras.Input((None,), dtype="int32", name="other")
    x, y = (layers.Embedding(9, 4, mask_zero=True)(tokens) for tokens in (ids, other))
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(layers.Add()([x, y]))
    outputs = [MaskedPooling(kind)(both) for kind in ("mean", "max", "attention")]
    outputs += [layers.GlobalAveragePooling1D()(x), layers.GRU(3)(both)]
    model = keras.Model({"ids": ids, "other": other}, outputs)
    randomise(model)
    random = np.random.default_rng(6)
    feeds = {name: with_holes(random, 5, 7) for name in ("ids", "other")}
    feeds["ids"][:, 3] = 1
    assert_same(model, feeds)


def test_a_mask_known_to_be_right_padded_spares_its_gathers():
    def nodes(model, **options):
        return Counter(node.op_type for node in build_onnx(model, **options).graph.node)

    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    y = layers.Bidirectional(layers.GRU(2, return_sequences=True))(x)
    z = layers.GRU(3)(layers.Add()([layers.Dense(4)(y), x]))
    model = keras.Model({"ids": ids}, {"z": z})
    known = nodes(model, right_padded={"ids": 0})
    assert not {"CumSum", "ScatterElements"} & set(known)
    assert known["ReverseSequence"] == 2
    for unknown in ({}, {"right_padded": {"ids": 1}}, {"right_padded": {"others": 0}}):
        assert {"CumSum", "ScatterElements"} <= set(nodes(model, **unknown))


def test_masks_through_masking_and_concatenation():
    x = series(3)
    masked = layers.Masking()(x)
    both = layers.Concatenate()([masked, masked])
    average = layers.GlobalAveragePooling1D()(layers.LSTM(3, return_sequences=True)(both))
    model = keras.Model(x, [layers.GRU(3)(both), average])
    randomise(model)
    data = batch(3)
    data[0, 4:] = data[1, 1:] = 0
    data[2, :2] = data[0, 1] = 0  # a row of noughts in front, and one between
    assert_same(model, {"x": data})


def test_keras_operations():
    x = series()
    y = layers.GRU(4, return_sequences=True)(x)
    outputs = {
        "mean": ops.mean(y, axis=1),
        "arithmetic": (y * 2.0 - x) / (ops.abs(x) + 1.0),
        "first": y[:, 0],
        "last": y[:, -1, :2],
        "strided": y[:, ::2, 1:],
        "new_axis": y[..., None],
        "flipped": ops.flip(y, axis=1),
        "stacked": ops.stack([x, y], axis=1),
        "turned": ops.matmul(ops.transpose(y, (0, 2, 1)), x),
        "chosen": ops.where(x > 0, x, y),
        "maximum": ops.maximum(x, y),
        "softmax": ops.softmax(y, axis=-1),
        "taken": ops.take(y, ops.convert_to_tensor([2, 0]), axis=2),
        "shaped": ops.reshape(y, (-1, 2)),
        "summed": ops.sum(ops.square(y), axis=(1, 2), keepdims=True),
    }
    model = keras.Model(x, outputs)
    randomise(model)
    assert_same(model, {"x": batch()})


def test_models_inside_models_keep_their_masks():
    inner_x = keras.Input((None, 4))
    inner = keras.Model(inner_x, layers.Bidirectional(layers.LSTM(3))(inner_x), name="encoder")
    ids = keras.Input((None,), dtype="int32", name="ids")
    embedded = layers.Embedding(9, 4, mask_zero=True)(ids)
    head = keras.Sequential([keras.Input((6,)), layers.Dense(3, "relu"), layers.Dense(2)])
    model = keras.Model({"ids": ids}, {"logits": head(inner(embedded))})
    randomise(model)
    assert_same(model, {"ids": ragged_ids(np.random.default_rng(5), 4, 7)})
    assert len(inner.layers[1]._inbound_nodes) == 1  # not called once more


@pytest.mark.parametrize("as_model", [False, True])
def test_words_read_letter_by_letter(as_model):
    ids = keras.Input((None, None), dtype="int32", name="ids")  # (batch, words, letters)
    if as_model:
        letters = keras.Input((None,), dtype="int32")
        x = layers.Embedding(9, 4, mask_zero=True)(letters)
        x = layers.Conv1D(4, 3, padding="same")(layers.GRU(4, return_sequences=True)(x))
        reader = keras.Model(letters, layers.GlobalMaxPooling1D()(x), name="reader")
        words = layers.TimeDistributed(reader)(ids)
    else:
        x = layers.Embedding(9, 4, mask_zero=True)(ids)
        words = layers.TimeDistributed(layers.Bidirectional(layers.LSTM(3)))(x)
    model = keras.Model({"ids": ids}, {"y": layers.Dense(2)(words)})
    randomise(model)
    random = np.random.default_rng(8)
    rows = ragged_ids(random, 6, 5, empty=True).reshape(2, 3, 5)
    assert_same(model, {"ids": rows})


def test_sequential():
    model = keras.Sequential([keras.Input((None, 4), name="x"), layers.SimpleRNN(3)])
    randomise(model)
    assert_same(model, {"x": batch()})


@keras.saving.register_keras_serializable("tests")
class Doubling(layers.Layer):
    def call(self, x):
        return 2.0 * x


def test_an_unknown_layer_is_named_and_can_be_added():
    x = series()
    model = keras.Model(x, Doubling(name="twice")(x))
    with pytest.raises(ServingError, match=r"'twice' of type .*Doubling.*converter\(Doubling\)"):
        build_onnx(model)

    @converter(Doubling, layout="any")
    def doubling(graph, layer, x):
        return 2.0 * x

    assert_same(model, {"x": batch()})


class Masked(layers.Layer):
    """Doubles its valid steps."""

    supports_masking = True

    def call(self, x, mask=None):
        return 2.0 * x if mask is None else 2.0 * ops.where(mask[..., None], x, 0.0)


WRONG = [
    (lambda graph, layer, x: x, "cannot be called .*function of .graph, layer, x, mask=None."),
    (lambda graph, x: x, "cannot be called"),
    (lambda graph, layer, x, mask=None: x.no_such_thing, "failed at .*AttributeError"),
    (lambda graph, layer, x, mask=None: None, "returns nothing"),
    (lambda graph, layer, x, mask=None: np.zeros(3), "returns a ndarray"),
    (lambda graph, layer, x, mask=None: (x, x), "has 1 outputs, but its converter returns 2"),
]


@pytest.mark.parametrize(("function", "words"), WRONG)
def test_a_converter_that_is_wrong_is_one_sentence(function, words):
    ids = keras.Input((None,), dtype="int32", name="ids")
    model = keras.Model(ids, Masked(name="mine")(layers.Embedding(9, 4, mask_zero=True)(ids)))
    converter(Masked)(function)
    with pytest.raises(ServingError, match=f"(?s)'mine'.*{words}"):
        build_onnx(model)


@pytest.mark.parametrize("arguments", [{}, {"layout": "times"}, {"per_step": "all"}])
def test_a_converter_that_is_registered_wrongly_is_one_sentence(arguments):
    with pytest.raises(ServingError, match="converter"):
        converter(*([Masked] if arguments else []), **arguments)
    with pytest.raises(ServingError, match="@converter"):
        converter(lambda graph, layer, x: x)


def test_a_subclass_is_not_taken_for_its_parent():
    class Odd(layers.Dense):
        def call(self, x):
            return -super().call(x)

    x = series()
    with pytest.raises(ServingError, match="Odd"):
        build_onnx(keras.Model(x, Odd(2)(x)))


def test_a_subclassed_model_is_refused():
    class Free(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ServingError, match="not a Functional model"):
        build_onnx(Free())


def test_opset_shapes_and_checker():
    x = series()
    proto = build_onnx(keras.Model(x, layers.GRU(3, return_sequences=True)(x)))
    assert (proto.opset_import[0].version, proto.ir_version) == (18, 8)
    dims = proto.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", "time", 3]
    typed = {info.name for info in proto.graph.value_info}
    made = {name for node in proto.graph.node for name in node.output}
    made -= {output.name for output in proto.graph.output}
    assert made <= typed  # shape inference reached every tensor


def test_great_weights_go_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "EXTERNAL_DATA_BYTES", 10_000)
    ids = keras.Input((None,), dtype="int32", name="ids")
    model = keras.Model(ids, layers.GRU(3)(layers.Embedding(2000, 8)(ids)))
    for _ in range(2):  # the second time over the first
        export_onnx(model, tmp_path / "model.onnx")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    import onnxruntime

    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert_same(model, {"ids": np.array([[5, 1999]], np.int32)}, session=session)
    onnx.checker.check_model(str(tmp_path / "model.onnx"))


def test_float16_keeps_names_and_dtypes_outside():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    model = keras.Model(ids, layers.Dense(2)(layers.GlobalMaxPooling1D()(x)))
    randomise(model)
    session = session_of(model, precision="fp16")
    feeds = {"ids": ragged_ids(np.random.default_rng(6), 4, 7)}
    assert session.run(None, feeds)[0].dtype == np.float32
    assert_same(model, feeds, bound=5e-3, session=session)
    stored = {t.data_type for t in build_onnx(model, "fp16").graph.initializer}
    assert onnx.TensorProto.FLOAT not in stored


def test_int8_shrinks_what_has_a_quantised_operator():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(50, 16, mask_zero=True)(ids)
    x = layers.Bidirectional(layers.LSTM(32))(x)
    model = keras.Model(ids, layers.Dense(2)(x))
    randomise(model, scale=0.1)
    whole, small = (build_onnx(model, precision, {"ids": 0}) for precision in ("fp32", "int8"))
    assert small.ByteSize() < 0.4 * whole.ByteSize()
    kinds = [node.op_type for node in small.graph.node]
    assert kinds.count("DynamicQuantizeLSTM") == 2
    feeds = {"ids": ragged_ids(np.random.default_rng(7), 4, 9, vocabulary=50)}
    assert_same(model, feeds, bound=5e-3, session=session_of(model, precision="int8"))
