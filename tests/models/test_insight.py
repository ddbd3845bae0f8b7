"""What is measured while training, and that it changes nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend import application
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector import projector_plugin
from werkzeug import test as werkzeug_test

from models.config import RecurrentConfig
from models.insight import Insight, measure
from models.projector import write_projector
from models.training import compile_model, fit
from pipelines.encoded import EncodedRows
from pipelines.ragged import Ragged

CONFIG = RecurrentConfig(epochs=2, batch_size=8, average=0.9)
WORDS = ["", "a", "b\tc", "\n", "é", "[END]"]


def model_of(layer, sequences=False):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(6, 3, mask_zero=True, name="words")(tokens)
    y = keras.layers.Dense(1, name="head")(keras.layers.Dropout(0.3)(layer(x)))
    model = keras.Model({"tokens": tokens}, {"y": y})
    compile_model(model, CONFIG, {"y": "mse"}, None)
    return model


def examples(count=24):
    draws = np.random.default_rng(0)
    rows = [draws.integers(1, 6, draws.integers(2, 7)) for _ in range(count)]
    targets = np.array([[row.mean()] for row in rows], np.float32)
    return EncodedRows({"tokens": Ragged.of(rows, np.int32)}, {"y": targets})


def trained(directory, insight):
    keras.utils.set_random_seed(5)
    model = model_of(keras.layers.LSTM(4, name="cell"))
    whole = examples()
    validation, epochs = whole.batches(8), whole.training_batches(8, seed=1)
    extra = [Insight(directory / "tensorboard", validation, {"words": WORDS}, {"units": 4})]
    fit(model, epochs, validation, CONFIG, directory, monitor="val_loss", mode="min",
        callbacks=extra if insight else [])  # fmt: skip
    return model


def events(directory):
    """Scalars ``{tag: {step: value}}`` and the tags of histograms of a run of TensorBoard."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"scalars": 1000})
    multiplexer.AddRun(str(directory), "run")
    multiplexer.Reload()
    scalars, others = {}, set()
    for tag in multiplexer.GetAccumulator("run").Tags()["tensors"]:
        plugin = multiplexer.SummaryMetadata("run", tag).plugin_data.plugin_name
        if plugin == "scalars":
            scalars[tag] = {e.step: float(tf.make_ndarray(e.tensor_proto))
                            for e in multiplexer.Tensors("run", tag)}  # fmt: skip
        else:
            others.add(tag)
    return scalars, others


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    directory = tmp_path_factory.mktemp("insight")
    return directory, trained(directory, True)


def test_the_model_is_the_same_with_insight_and_without(board, tmp_path):
    _, watched = board
    plain = trained(tmp_path, False)
    assert all(map(np.array_equal, watched.get_weights(), plain.get_weights()))


def test_a_board_has_states_gates_norms_and_distances(board):
    directory, _ = board
    scalars, others = events(directory / "tensorboard" / "insight")
    assert {"cell/state/h", "cell/state/c", "cell/gate/forget"} <= others
    assert set(scalars["saturated/cell/forget_low"]) == {0, 1}
    assert {"gradient_norm/cell/lstm_cell", "gradient_norm/words"} <= set(scalars)
    assert "gradient_by_distance/cell/h/005" in scalars
    curve, _ = events(directory / "tensorboard" / "distance" / "epoch-0002")
    assert set(curve["gradient_against_distance/cell/c"]) == set(range(6))
    for suffix in (".insight-000000", ".insight-000001"):
        assert len(list((directory / "tensorboard" / "insight").glob(f"*{suffix}"))) == 1


def test_an_epoch_that_is_repeated_is_written_once(board):
    directory, model = board
    batches = examples().batches(8)
    again = Insight(directory / "tensorboard", batches, {"words": WORDS}, {"units": 4})
    again.set_model(model)
    again.on_train_begin()
    again.on_epoch_end(1)
    written = directory / "tensorboard" / "insight"
    assert len(list(written.glob("events.*"))) == 2
    assert len(list(written.glob("embeddings-*.index"))) == 1
    assert len(list((directory / "tensorboard").glob("*.hparams"))) == 1


def test_the_projector_of_tensorboard_reads_the_embeddings(board):
    directory, model = board
    logs = str(directory / "tensorboard")
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(logs)
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, logs)
    context = base_plugin.TBContext(logdir=logs, data_provider=provider)
    plugin = projector_plugin.ProjectorPlugin(context)
    client = werkzeug_test.Client(application.TensorBoardWSGI([plugin]))
    route = "/data/plugin/projector"
    assert client.get(f"{route}/runs").get_json() == ["insight"]
    (about,) = client.get(f"{route}/info?run=insight").get_json()["embeddings"]
    name = about["tensorName"]
    assert about["tensorShape"] == [6, 3]
    tensor = client.get(f"{route}/tensor?run=insight&name={name}").get_data()
    got = np.frombuffer(tensor, np.float32).reshape(6, 3)
    assert got.shape == model.get_layer("words").embeddings.shape
    words = client.get(f"{route}/metadata?run=insight&name={name}").get_data(as_text=True)
    assert words.split("\n") == ["''", "a", "b\\tc", "\\n", "é", "[END]", ""]


def test_the_rows_of_a_checkpoint_are_those_of_the_table(tmp_path):
    table = np.arange(12, dtype=np.float32).reshape(6, 2)
    for _ in range(2):
        write_projector(tmp_path, {"table": (table, WORDS)})
    reader = tf.train.load_checkpoint(str(tmp_path))
    assert np.array_equal(reader.get_tensor("table/.ATTRIBUTES/VARIABLE_VALUE"), table)
    write_projector(tmp_path / "none", {})
    assert not (tmp_path / "none").exists()


def test_norms_by_distance_by_hand():
    """A linear unit that halves its state: the gradient halves with each step back."""
    layer = keras.layers.SimpleRNN(1, activation="linear", use_bias=False, name="cell")
    x = keras.Input((None, 1), name="x")
    model = keras.Model({"x": x}, {"y": layer(keras.layers.Masking()(x))})
    layer.set_weights([np.float32([[1.0]]), np.float32([[0.5]])])
    model.compile(loss={"y": "mae"})
    inputs = np.ones((2, 4, 1), np.float32)
    inputs[1, 2:] = 0  # its last two steps are padding
    found = measure(model, {"x": inputs}, {"y": np.zeros((2, 1), np.float32)})
    # Of the mean over two rows each has half.
    np.testing.assert_allclose(found.distances["cell/h"], [0.5, 0.25, 0.125, 0.0625], rtol=1e-6)
    assert found.loss == pytest.approx((1.875 + 1.5) / 2)
    # The loss by the input's weight: 1 + 0.5 + 0.25 + 0.125 of one row, 1.5 of the other.
    by_weights = {name.rpartition("/")[2]: norm for name, norm in found.norms.items()}
    kernel, recurrent = 1.6875, ((1.75 + 0.5 * 1.5 + 0.25 * 1.0) + 1.0) / 2
    assert by_weights == {"simple_rnn_cell": pytest.approx(np.hypot(kernel, recurrent), rel=1e-6)}
