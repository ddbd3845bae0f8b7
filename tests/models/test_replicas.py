"""Two replicas of a model end where one does; in a process of its own, with two devices."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import ConfigError
from models.replicas import strategy_of


def test_one_device_needs_no_strategy_and_two_have_to_be_there():
    assert strategy_of(1).num_replicas_in_sync == 1
    with pytest.raises(ConfigError, match="devices is 64"):
        strategy_of(64)


def run(path, *cells):
    subprocess.run([sys.executable, __file__, str(path), *cells], check=True, timeout=600)
    return json.loads((path / "found.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run(tmp_path_factory.mktemp("replicas"), "lstm", "simple_rnn")


def check_equal(one, two):
    assert one["moved"] > 1e-2, "training did change the weights"
    assert one["rated"] == two["rated"] == 0, "a variable at rate 0 stays as it is"
    for a, b in zip(one["weights"], two["weights"], strict=True):
        assert a == pytest.approx(b, abs=2e-5)
    for a, b in zip(one["history"], two["history"], strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_weights_and_scores_equal_those_of_one_device(tmp_path):
    check_equal(*run(tmp_path, "gru")["gru"])


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "simple_rnn"])
def test_so_they_do_for_the_other_cells(found, cell):
    check_equal(*found[cell])


@pytest.mark.slow
def test_each_row_is_answered_once(found):
    assert found["answers"] == [3, 3]


@pytest.mark.slow
def test_dropout_and_uneven_batches_train(found):
    assert found["uneven"] < found["uneven_before"]


@pytest.mark.slow
def test_a_run_of_two_devices_is_a_run_like_any_other(found):
    assert found["trained"]["devices"] == 2
    assert found["trained"]["accuracy"] == pytest.approx(found["trained"]["again"])


@pytest.mark.slow
def test_too_many_devices_are_refused(found):
    assert "devices is 3" in found["refused"]
    assert "has to be 1" in found["carried"]
    assert "has to be 1" in found["searched"]


def network(cell, devices, **changes):
    """A classifier without dropout, in the strategy's scope; its embedding stays as it is."""
    import keras

    from models.text_classification import compile_classifier, text_classifier
    from models.text_classification_config import TextConfig

    plain = {"dropout": 0.0, "token_dropout": 0.0, "wide": "none", "units": 5, "embedding_dim": 3}
    fixed = {"cell": cell, "epochs": 3, "average": 0.9, "clipnorm": 0.05, "learning_rate": 0.02}
    config = TextConfig(**{**plain, **fixed, "weight_decay": 0.01, **changes})
    keras.utils.set_random_seed(0)
    with strategy_of(devices).scope():
        model = text_classifier(config, 12, 2)
        compile_classifier(model, config)
        model.get_layer("deep").bias.value.rate = 0.0
    return model, config


def examples(rows):
    import numpy as np

    from pipelines.encoded import EncodedRows
    from pipelines.ragged import Ragged

    draws = np.random.default_rng(1)
    texts = [draws.integers(1, 12, draws.integers(1, 9)) for _ in range(rows)]
    labels = np.array([int(row[0] > 5) for row in texts])
    return EncodedRows({"tokens": Ragged.of(texts, np.int32)}, {"deep": labels, "answer": labels})


def trained(model, config, rows, directory):
    from models.training import fit

    every = examples(rows)
    return fit(model, every.training_batches(8, 1), every.batches(16), config, directory,
               monitor="val_loss", mode="min", tensorboard=False)  # fmt: skip


def main(path: Path, *cells: str) -> None:
    """Everything the tests look at, as JSON; of one cell alone its weights and scores."""
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    found = {}
    for cell in cells:
        found[cell] = []
        for devices in (1, 2):
            model, config = network(cell, devices)
            before = model.get_weights()
            history = trained(model, config, 32, path / f"{cell}{devices}")
            pairs = zip(before, model.get_weights(), strict=True)
            found[cell].append({
                "weights": [float(x) for w in model.get_weights() for x in np.ravel(w)],
                "moved": max(float(np.abs(a - b).max()) for a, b in pairs),
                "rated": float(np.abs(model.get_layer("deep").bias.numpy()).max()),
                "history": [[row[k] for k in ("loss", "val_loss", "val_answer_accuracy")]
                            for row in history.rows],
            })  # fmt: skip
    if len(cells) > 1:
        found |= further(path, model)
    (path / "found.json").write_text(json.dumps(found))


def further(path: Path, model) -> dict:
    """Answers, uneven batches, a whole run, and what is refused."""
    import numpy as np

    import seqloom

    found = {}
    batch = np.ones((3, 4), np.int32)
    found["answers"] = [len(model.predict_on_batch({"tokens": batch})["answer"]),
                        len(model.predict({"tokens": batch}, verbose=0)["answer"])]  # fmt: skip
    model, config = network("gru", 2, dropout=0.3, token_dropout=0.1, epochs=6)
    rows = trained(model, config, 41, path / "uneven").rows
    found["uneven_before"], found["uneven"] = rows[0]["val_loss"], rows[-1]["val_loss"]
    small = {"units": 4, "embedding_dim": 4, "epochs": 1, "devices": 2}
    run = seqloom.train("sentiment", "synthetic:120", out=path / "run", **small)
    found["trained"] = {
        "devices": json.loads((path / "run" / "config.json").read_text())["model"]["devices"],
        "accuracy": run.scores.loc[("test", "accuracy"), "model"],
        "again": seqloom.load(path / "run").evaluate().loc[("test", "accuracy"), "model"],
    }
    for name, refused in {
        "refused": lambda: strategy_of(3),
        "carried": lambda: seqloom.train("language", out=path / "l", epochs=1, devices=2),
        "searched": lambda: seqloom.tune("sentiment", trials=1, out=path / "s", devices=2),
    }.items():
        try:
            refused()
        except ConfigError as error:
            found[name] = str(error)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
