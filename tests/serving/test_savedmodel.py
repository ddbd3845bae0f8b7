"""The SavedModel: what is in it, and what must not be."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.text_classification import text_classifier
from models.text_classification_config import TextConfig
from pipelines.text import TextEncoder
from pipelines.text_classification import TextClassificationPreprocessor
from serving.errors import ServingError
from serving.savedmodel import WARMUP_FILE, checked_request, export_savedmodel, forbidden_nodes

TEXTS = ["good film", "a bad film", "not bad at all"]


@pytest.fixture(scope="module")
def preprocessor():
    pairs = zip(TEXTS, ["up", "down", "up"], strict=True)
    examples = [SimpleNamespace(text=text, label=label, parts={}) for text, label in pairs]
    return TextClassificationPreprocessor.adapt(TextEncoder(), examples)


def test_each_weight_is_saved_once(preprocessor, tmp_path):
    # Twice would double what a server reads and keeps, an embedding above all.
    config = TextConfig(units=4, embedding_dim=3)
    network = text_classifier(config, len(preprocessor.encoder.vocabulary), 2)
    answer = keras.layers.Softmax(name="probabilities")(network.output["answer"])
    model = keras.Model(network.input, {"probabilities": answer})
    export_savedmodel({"model": model}, preprocessor, tmp_path / "model")
    assert not (tmp_path / "model" / WARMUP_FILE).exists(), "no request to warm up with"
    saved = tf.train.load_checkpoint(str(tmp_path / "model" / "variables" / "variables"))
    shapes, types = saved.get_variable_to_shape_map(), saved.get_variable_to_dtype_map()
    found = sorted(tuple(shapes[name]) for name in shapes if types[name] == tf.float32)
    assert found == sorted(tuple(w.shape) for w in model.weights if w.dtype == "float32")

    serve = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    wanted = model.predict_on_batch(preprocessor.encode(preprocessor.to_request(TEXTS)))
    got = serve(text=tf.constant(TEXTS))["probabilities"]
    np.testing.assert_allclose(got, wanted["probabilities"], atol=1e-5)


def test_a_graph_that_calls_back_into_python_is_refused(preprocessor, tmp_path):
    @keras.saving.register_keras_serializable("seqloom_test")
    class CallsPython(keras.layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.py_function(lambda t: t, [x], tf.float32), x.shape)

    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(20, 2)(tokens))
    model = keras.Model({"tokens": tokens}, {"probabilities": CallsPython()(x)})
    with pytest.raises(ServingError, match="PyFunc"):
        export_savedmodel({"model": model}, preprocessor, tmp_path / "model")


def test_forbidden_nodes_are_found_inside_functions(tmp_path):
    module = tf.Module()
    inner = tf.function(lambda x: tf.numpy_function(np.sin, [x], tf.float32))
    module.outer = tf.function(inner, input_signature=[tf.TensorSpec([None])])
    tf.saved_model.save(module, str(tmp_path))
    assert forbidden_nodes(tmp_path) == ["PyFunc"]


@pytest.mark.parametrize(("change", "message"), [
    ({"a": np.ones((3, 1), np.float32)}, "shape"), ({"a": np.ones(2, np.float32)}, "shape"),
    ({"a": np.float32(1)}, "shape"), ({"b": np.ones(1, np.float32)}, "b must have as many rows"),
    ({"b": np.ones((3, 1), np.float32)}, "shape"), ({"k": np.ones((3, 1), np.float32)}, "shape"),
])  # fmt: skip
def test_a_graph_spreads_no_tensor_over_rows_or_columns(change, message):
    """TensorFlow Serving feeds what it is sent: a session looks at no shape."""
    specs = {"a": {"shape": [-1, 2]}, "b": {"shape": [-1]}, "k": {"shape": [-1], "default": 1.0}}
    request = {name: np.ones((3, 2)[: len(s["shape"])], np.float32) for name, s in specs.items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        fed = {name: tf.compat.v1.placeholder(tf.float32, name=name) for name in specs}
        function = tf.function(lambda **given: checked_request(given, specs), autograph=False)
        fetched = function(**fed)

        def run(more):
            return session.run(fetched, {fed[n]: x for n, x in {**request, **more}.items()})

        assert run({"k": np.ones(1, np.float32)})["a"].shape == (3, 2)
        assert run({"a": np.ones((0, 2)), "b": np.ones(0)})["b"].shape == (0,)
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            run(change)
