"""The training loop, and that a resumed training is the undisturbed one."""

import csv
import math
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from models.callbacks import LinearDecay, SampleFile, newest_backup, read_history, read_samples
from models.config import RecurrentConfig
from models.progress import TrainingProgress
from models.training import RatedAdam, TrainingError, best_row, compile_model, fit

CONFIG = RecurrentConfig(epochs=5, patience=5, learning_rate=0.01)


def data(seed=0, count=64):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(4, 12, (count, 6)).astype("int32")
    return tokens, (tokens[:, 0] > 7).astype("int32")


def batches():
    return tf.data.Dataset.from_tensor_slices(data()).batch(16)


class Shuffled:
    """The order of an epoch follows from the seed and its number."""

    steps = 4

    def __init__(self, seed):
        self.seed = seed

    def starting_with(self, epoch):
        rows = tf.data.Dataset.from_tensor_slices(data())
        epochs = tf.data.Dataset.range(epoch, 1000)
        return epochs.flat_map(lambda e: rows.shuffle(64, seed=e * 100 + self.seed).batch(16))


def new_model(config=CONFIG, seed=3):
    keras.utils.set_random_seed(seed)
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(12, 4)(tokens)
    x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling1D()(x))  # quickly traced
    model = keras.Model(tokens, keras.layers.Dense(2)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compile_model(model, config, loss, ["accuracy"])
    return model


def train(
    model, directory, config=CONFIG, callbacks=(), monitor="val_loss", mode="min", seed=5, **more
):
    return fit(
        model, Shuffled(seed), batches(), config, directory,
        monitor=monitor, mode=mode, callbacks=callbacks, tensorboard=False, **more,
    )  # fmt: skip


def metrics(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


class Crash(keras.callbacks.Callback):
    """Dies like a killed process would: in the middle of an epoch, or between two callbacks."""

    def __init__(self, epoch, moment):
        super().__init__()
        self.epoch, self.moment, self.now = epoch, moment, -1

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.moment == "batch" and self.now == self.epoch and batch == 2:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if self.moment == "epoch end" and epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("moments", [[(0, "batch")], [(2, "batch"), (3, "epoch end")]])
def test_a_resumed_training_equals_an_undisturbed_one(tmp_path, moments):
    whole = new_model()
    expected = train(whole, tmp_path / "whole")
    for epoch, moment in moments:
        with pytest.raises(KeyboardInterrupt):
            train(new_model(), tmp_path / "cut", callbacks=[Crash(epoch, moment)])
    # What a kill in the middle of a write leaves behind.
    backup = tmp_path / "cut" / "backup"
    backup.mkdir(exist_ok=True)
    (backup / "writing.weights.h5").write_bytes(b"half")
    (tmp_path / "cut" / "best-new.weights.h5").write_bytes(b"half")
    (tmp_path / "cut" / "history.csv.new").write_text("epo")
    resumed = new_model()
    if newest_backup(backup) is not None:  # then its weights come from there
        for weight in resumed.trainable_variables:
            weight.assign(weight * 0)
    got = train(resumed, tmp_path / "cut")
    assert metrics(got.rows) == metrics(expected.rows)
    assert got.best_epoch == expected.best_epoch
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_written_after_each_epoch_is_neither_lost_nor_repeated(tmp_path):
    def samples(directory):
        directory.mkdir(exist_ok=True)
        return SampleFile(
            directory / "samples.jsonl",
            lambda model: {"sum": float(np.sum(model.trainable_variables[0].numpy()))},
        )

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    config = CONFIG.updated(average=0.9)
    train(new_model(config), whole, config, callbacks=[samples(whole)])
    for moment in ((0, "epoch end"), (2, "batch"), (3, "epoch end")):
        dying = [samples(cut), Crash(*moment)]
        with pytest.raises(KeyboardInterrupt):
            train(new_model(config), cut, config, callbacks=dying)
    train(new_model(config), cut, config, callbacks=[samples(cut)])
    rows = read_samples(cut / "samples.jsonl")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows == read_samples(whole / "samples.jsonl")
    # It is the average that is looked at, which is what is validated and kept.
    last = new_model(config)
    last.load_weights(whole / "best.weights.h5")
    kept = float(np.sum(last.trainable_variables[0].numpy()))
    best = best_row(read_history(whole / "history.csv"), "val_loss", "min")
    assert rows[best]["sum"] == pytest.approx(kept, rel=1e-6)


def test_a_finished_training_is_not_begun_again(tmp_path):
    first = train(new_model(), tmp_path)
    again = train(new_model(seed=8), tmp_path)
    assert again.rows == first.rows


def test_seeds(tmp_path):
    one, same, other = (
        train(new_model(seed=seed), tmp_path / name, seed=seed)
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert metrics(one.rows) == metrics(same.rows)
    assert metrics(one.rows) != metrics(other.rows)


def test_the_best_epoch_is_kept(tmp_path):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                for weight in self.model.trainable_variables:
                    weight.assign(weight * 0 + 5)

    model = new_model()
    history = train(model, tmp_path, callbacks=[Spoil()])
    assert history.best_epoch < 3
    loss = model.evaluate(batches(), verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(history.best["val_loss"], rel=1e-5)


def frozen_model(config):
    """A model that cannot learn, so that no epoch is better than the first."""
    model = new_model(config)
    model.trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compile_model(model, config, loss, ["accuracy"])
    return model


def rates_of(history):
    return [row["learning_rate"] for row in history.rows]


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_every_score_of_an_epoch_is_that_of_the_weights_that_are_kept(tmp_path, average):
    config = CONFIG.updated(average=average, learning_rate=0.05)
    model, inside = new_model(config), []

    def after_epoch(model, validation):
        inside.append(model.evaluate(validation, return_dict=True, verbose=0)["loss"])
        return {"again": inside[-1]}

    history = train(model, tmp_path, config, after_epoch=after_epoch)
    losses = [row["val_loss"] for row in history.rows]
    np.testing.assert_allclose([row["val_again"] for row in history.rows], losses, rtol=1e-5)
    kept = model.evaluate(batches(), return_dict=True, verbose=0)["loss"]
    assert kept == pytest.approx(min(losses), rel=1e-5)


def test_early_stopping_and_a_rate_halved_after_half_the_patience(tmp_path):
    config = RecurrentConfig(epochs=20, patience=4, learning_rate=0.5, decay=1.0)
    history = train(frozen_model(config), tmp_path, config, monitor="val_accuracy", mode="max")
    assert len(history.rows) == 1 + 4, "patience after the first, best epoch"
    assert history.best_epoch == 0
    assert rates_of(history) == pytest.approx([0.5, 0.5, 0.5, 0.25, 0.25])


def test_a_resumed_training_halves_the_rate_no_second_time(tmp_path):
    config = RecurrentConfig(epochs=6, patience=6, learning_rate=0.5, decay=1.0)
    crash = Crash(5, "batch")
    with pytest.raises(KeyboardInterrupt):
        train(frozen_model(config), tmp_path, config, callbacks=[crash])
    history = train(frozen_model(config), tmp_path, config)
    assert rates_of(history) == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.25, 0.25])


def test_decay_ends_at_its_share():
    model = new_model()
    rates = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    model.fit(batches(), epochs=5, verbose=0, callbacks=[LinearDecay(0.2, 5), watch])
    np.testing.assert_allclose(rates, [0.01, 0.008, 0.006, 0.004, 0.002], rtol=1e-5)


def one_step(weight_decay, taken=False):
    """Weights and biases before and after a step of Adam whose gradient is zero."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    x = keras.layers.LayerNormalization()(keras.layers.Dense(2, name="dense")(inputs))
    model = keras.Model(inputs, x)
    compile_model(model, RecurrentConfig(weight_decay=weight_decay, learning_rate=0.1), "mse", None)
    for weight in model.trainable_variables:
        weight.assign(np.full(weight.shape, 2.0))
        if taken:
            weight.value.rate = 0.0
    gradients = [np.zeros(weight.shape, "f4") for weight in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)
    return {weight.name: float(np.mean(weight.numpy())) for weight in model.trainable_variables}


def test_weight_decay_is_apart_from_the_gradient_and_spares_biases_and_what_was_taken():
    names = {"kernel", "bias", "gamma", "beta"}
    assert one_step(0.0) == dict.fromkeys(names, 2.0)
    # By hand: 2 - 0.1 * 0.25 * 2.
    assert one_step(0.25) == {**dict.fromkeys(names, 2.0), "kernel": pytest.approx(1.95)}
    assert one_step(0.25, taken=True) == dict.fromkeys(names, 2.0)


def squares(model):
    weights = [w.numpy() for w in model.trainable_variables if w.name != "bias"]
    return sum(np.square(weight).sum() for weight in weights)


def test_a_training_with_weight_decay_resumes_as_if_undisturbed_and_ends_smaller(tmp_path):
    config = CONFIG.updated(weight_decay=0.5, average=0.9)
    without = config.updated(weight_decay=0.0)
    plain, whole = new_model(without), new_model(config)
    train(plain, tmp_path / "plain", without)
    train(whole, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        train(new_model(config), tmp_path / "cut", config, callbacks=[Crash(2, "batch")])
    cut = new_model(config)
    train(cut, tmp_path / "cut", config)
    for ours, theirs in zip(cut.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert squares(whole) < squares(plain)


def test_nan_from_the_start_is_an_error_that_says_what_to_try(tmp_path):
    model = new_model()
    model.layers[1].set_weights([np.full((12, 4), np.nan, "f4")])
    with pytest.raises(TrainingError, match="learning rate"):
        train(model, tmp_path)


def test_nan_later_leaves_the_best_weights_before_it(tmp_path):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.model.layers[1].set_weights([np.full((12, 4), np.nan, "f4")])

    model = new_model()
    history = train(model, tmp_path, callbacks=[Poison()])
    assert history.best_epoch < 2
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_step_is_traced_once(tmp_path, monkeypatch):
    traced, step = [], keras.Model.train_step

    def counted(model, batch):
        traced.append(batch)
        return step(model, batch)

    monkeypatch.setattr(keras.Model, "train_step", counted)
    train(new_model(replace(CONFIG, average=0.9)), tmp_path)
    assert len(traced) == 1


def test_history_file(tmp_path):
    history = train(new_model(), tmp_path)
    assert read_history(tmp_path / "history.csv") == history.rows
    with (tmp_path / "history.csv").open() as file:
        assert [int(float(row["epoch"])) for row in csv.DictReader(file)] == [0, 1, 2, 3, 4]
    assert all(math.isfinite(value) for row in history.rows for value in row.values())


def test_best_row_takes_the_first_of_equals():
    rows = [{"v": 1.0}, {"v": 3.0}, {"v": 3.0}]
    assert best_row(rows, "v", "max") == 1
    assert best_row(rows, "v", "min") == 0


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_prints_a_line_an_epoch(tmp_path, terminal):
    import io

    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    progress = TrainingProgress(64, "val_accuracy", console=console, title="tiny")
    train(new_model(), tmp_path, RecurrentConfig(epochs=2), callbacks=[progress])
    text = out.getvalue()
    assert "tiny epoch 2/2: loss" in text
    assert "examples/s" in text
    if not terminal:
        assert len(text.splitlines()) == 2


def test_the_average_of_the_weights_is_of_few_steps_at_first():
    variable = keras.Variable(0.0)
    optimizer = RatedAdam(0.1, use_ema=True, ema_momentum=0.9)
    optimizer.build([variable])
    expected = None
    for step in range(200):
        optimizer.apply([ops.convert_to_tensor(1.0)])
        value = float(variable.numpy())
        momentum = min(0.9, step / (step + 10))
        expected = value if expected is None else momentum * expected + (1 - momentum) * value
        average = float(optimizer._model_variables_moving_average[0].numpy())
        assert average == pytest.approx(expected, rel=1e-5), step
    assert optimizer.ema_momentum == 0.9
