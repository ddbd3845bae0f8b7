"""A network of the user's own: what it may return, padding, later steps, its source."""

import linecache
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from common.errors import ConfigError
from models import RecurrentConfig, keep_mask
from models.masking import MaskedBy
from models.network import EITHER, SEQUENCE, VECTOR, Network
from models.own_code import fingerprint, module_of
from models.own_source import source_of
from serving.native_onnx import build_onnx
from serving.onnx_core import OnnxCore

CONFIG = RecurrentConfig(units=4)
SIZE = 3


def last_state(x, config):
    return layers.LSTM(config.units)(x)


def all_states(x, config):
    return layers.GRU(config.units, return_sequences=True)(x)


def both_ways(x, config):
    return layers.Bidirectional(layers.GRU(config.units, return_sequences=True))(x)


def a_model(x, config):
    return keras.Sequential([layers.LSTM(SIZE, return_sequences=True), layers.LSTM(config.units)])


def convolved(x, config):
    return layers.LSTM(config.units)(layers.Conv1D(5, 3, padding="same")(x))


def convolved_and_masked(x, config):
    x = keep_mask(layers.Conv1D(5, 3, padding="same")(x), x)
    return layers.LSTM(config.units)(x)


def unmasked_sequence(x, config):
    return layers.Conv1D(config.units, 3, padding="same")(x)


def nothing(x, config):
    layers.LSTM(config.units)(x)


def ids(x, config):
    return keras.ops.cast(x, "int32")


def halved(x, config):
    return layers.Conv1D(config.units, 3, strides=2, padding="same")(x)


def misspelt(x, config):
    return layers.LSTM(config.unit)(x)


def masked_input():
    given = [keras.Input((None, 5), name="x"), keras.Input((None,), dtype="int32", name="there")]
    return given, MaskedBy()(given)


@pytest.mark.parametrize(
    ("function", "returns", "shape"),
    [
        (last_state, VECTOR, (None, 4)),
        (last_state, EITHER, (None, 4)),
        (all_states, SEQUENCE, (None, None, 4)),
        (a_model, VECTOR, (None, 4)),
        (convolved_and_masked, VECTOR, (None, 4)),
    ],
)
def test_what_it_returns_is_taken(function, returns, shape):
    _, x = masked_input()
    assert Network.of(function)(x, CONFIG, returns).shape == shape


BAD = [
    (last_state, SEQUENCE, r"returns \[any, 4\]; here it has to return a sequence"),
    (all_states, VECTOR, r"returns \[any, any, 4\]; here it has to return a vector"),
    (nothing, EITHER, "returns nothing"),
    (ids, EITHER, "returns int32"),
    (halved, SEQUENCE, "gives 3 steps for 6"),
    (misspelt, VECTOR, r"test_network.py, line \d+: AttributeError.*'unit'"),
    (convolved, VECTOR, "padding behind it.*keep_mask"),
]


@pytest.mark.parametrize(("function", "returns", "said"), BAD)
def test_what_cannot_be_used_is_said_in_one_sentence(function, returns, said):
    _, x = masked_input()
    with pytest.raises(ConfigError, match=said) as caught:
        Network.of(function)(x, CONFIG, returns)
    assert f"test_network.py:{function.__name__}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_convolution_with_its_mask_answers_the_same_whatever_the_padding(tmp_path):
    inputs, x = masked_input()
    y = Network.of(convolved_and_masked)(x, CONFIG, VECTOR)
    model = keras.Model({"x": inputs[0], "there": inputs[1]}, {"y": y})
    rows = np.random.default_rng(1).normal(size=(2, 7, 5)).astype("float32")
    there = np.array([[1] * 4 + [0] * 3] * 2, "int32")
    padded = model.predict_on_batch({"x": rows, "there": there})["y"]
    alone = model.predict_on_batch({"x": rows[:, :4], "there": there[:, :4]})["y"]
    np.testing.assert_allclose(padded, alone, atol=1e-6)
    path = tmp_path / "model.onnx"
    path.write_bytes(build_onnx(model).SerializeToString())
    np.testing.assert_allclose(OnnxCore(path)({"x": rows, "there": there})["y"], padded, atol=1e-5)


def test_a_sequence_that_lost_its_mask_gets_that_of_its_input():
    inputs, x = masked_input()
    y = Network.of(unmasked_sequence)(x, CONFIG, SEQUENCE)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(y))
    rows = np.random.default_rng(1).normal(size=(1, 6, 5)).astype("float32")
    there = np.array([[1, 1, 1, 0, 0, 0]], "int32")
    whole, alone = (model.predict_on_batch([rows[:, :n], there[:, :n]]) for n in (6, 3))
    np.testing.assert_allclose(whole, alone, atol=1e-6)


def test_each_model_takes_one_where_its_recurrent_layers_would_be():
    from models.anomaly_detection import core_model
    from models.anomaly_detection_config import AnomalyConfig
    from models.forecasting import WindowShape, forecaster
    from models.forecasting_config import ForecastConfig
    from models.tagging import tagger
    from models.tagging_config import TaggingConfig
    from models.text_classification import text_classifier
    from models.text_classification_config import TextConfig

    one, every = Network.of(last_state), Network.of(all_states)
    shape = WindowShape(8, 3, 2, 2, known=1)
    made = [
        *(text_classifier(TextConfig(units=4, pooling=kind), 9, 2, network=network)
          for kind, network in (("max", every), ("max", one), ("last", one))),
        *(forecaster(ForecastConfig(units=4, segment=4, head=head), shape, one)
          for head in ("segment", "direct", "encoder_decoder")),
        core_model(AnomalyConfig(units=4), 2, 1, 5, every),
        core_model(AnomalyConfig(units=4, scorer="autoencoder"), 2, 0, 5, one),
        tagger(TaggingConfig(units=4), {"words": 9, "forms": 9, "characters": 9}, 8, 0,
               ("O", "B-x"), "bio", np.ones(9, int), network=every),
    ]  # fmt: skip
    for model in made:
        kinds = [type(layer) for layer in model._flatten_layers(include_self=False)]
        # The kind's own would be a second GRU, or Bidirectional.
        assert layers.Bidirectional not in kinds
        assert (layers.LSTM in kinds) or kinds.count(layers.GRU) == 1
        assert {**model.output}  # heads are the kind's


def test_later_steps_are_refused_where_answers_go_step_by_step():
    x = keras.Input((None, 5))
    assert Network.of(all_states)(x, CONFIG, SEQUENCE, causal=True).shape == (None, None, 4)
    with pytest.raises(ConfigError, match="both_ways looks at later steps"):
        Network.of(both_ways)(x, CONFIG, SEQUENCE, causal=True)


def test_a_function_of_a_module_brings_its_file():
    network = Network.of(last_state)
    assert network.where == __file__
    assert network.source == Path(__file__).read_text(encoding="utf-8")
    assert network == Network(network.source, "last_state", "elsewhere.py")
    assert network.label == f"last_state ({fingerprint(network.source)[:12]})"


def in_main(text, name):
    """A function as a notebook has it: of ``__main__``, its source known to ``inspect`` alone."""
    place = f"<cell {name}>"
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    names = {"__name__": "__main__"}
    exec(compile(text, place, "exec"), names)
    return names[name]


CELL = """
import keras
from keras import layers
WIDTH = 6
def doubled(x):
    return 2.0 * x
def mine(x, config):
    y = layers.LSTM(WIDTH)(doubled(x))
    return keras.ops.tanh(y)
"""


def test_a_function_of_a_notebook_brings_what_it_uses_and_no_more():
    source, name, _ = source_of(in_main(CELL, "mine"))
    assert "WIDTH = 6" in source
    assert source.count("def ") == 2
    network = Network(source, name)
    assert network(keras.Input((None, 5)), CONFIG, VECTOR).shape == (None, 6)


LOOSE = {
    "array": (
        "import numpy as np\na = np.ones(3)\ndef mine(x, c):\n    return x * a\n", "it uses a"
    ),
    "inner": (
        "def outer():\n    n = 3\n    def mine(x, c):\n        return x * n\n    return mine\n"
        "mine = outer()\n",
        "it uses n of the function around it",
    ),
    "lambda": ("mine = lambda x, c: x\n", "no function with a name"),
}  # fmt: skip


@pytest.mark.parametrize("case", LOOSE)
def test_a_function_that_cannot_be_kept_says_to_put_it_in_a_file(case):
    text, said = LOOSE[case]
    with pytest.raises(ConfigError, match=said):
        Network.of(in_main(text, "mine"))


FILES = {
    "net.py": ("write FILE.py:FUNCTION", "net.py"),
    "none.py:f": ("none.py cannot be read: No such file", ""),
    "bad.py:f": ("bad.py, line 2: ModuleNotFoundError", "import keras\nimport no_such_module_x\n"),
    "text.py:f": ("text.py, line 1: SyntaxError", "def f(x"),
    "empty.py:f": ("empty.py:f: there is no such function", "\n"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_used_is_named(case, tmp_path):
    said, text = FILES[case]
    if text:
        (tmp_path / case.partition(":")[0]).write_text(text)
    with pytest.raises(ConfigError, match=said):
        Network.parsed(f"{tmp_path}/{case}")


def test_the_same_source_is_executed_once():
    source = "import sys\nsys.seen_by_test = getattr(sys, 'seen_by_test', 0) + 1\n"
    try:
        assert module_of(source, "a.py") is module_of(source, "b.py")
        assert sys.seen_by_test == 1
    finally:
        del sys.seen_by_test
