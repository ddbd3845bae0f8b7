"""A network of the user's own in a run: kept with it, found again, and the whole way of it."""

import re
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import tasks
from common.errors import ConfigError, DataError
from models import RecurrentConfig
from models.masking import MaskedBy
from models.network import SEQUENCE, Network
from tasks.kinds.contract import DataOptions
from tasks.stages.networks import with_network
from tasks.stages.run_directory import NETWORK_FILE, Run, resumed
from tests.test_cli import answer, assert_refused, call, here  # noqa: F401 a fixture

SOURCE = """
import keras

class Gate(keras.layers.Layer):
    def call(self, x):
        return x * keras.ops.sigmoid(x)

def gated(x, config):
    return Gate(name="my_gate")(keras.layers.LSTM(config.units)(x))

def plain(x, config):
    return keras.layers.LSTM(config.units)(x)
"""
SMALL = ("--units", "4", "--embedding-dim", "4", "--wide", "none", "--batch-size", "64")


@pytest.fixture
def begun(tmp_path):
    """A run with a network of its own, with a model that has a layer of the same file."""
    task = replace(tasks.get("sentiment"), network=Network(SOURCE, "gated", "net.py"))
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.create(task, DataOptions(), task.settings, 0)
    x = keras.Input((None, 3))
    model = keras.Model(x, task.network(x, task.model))
    return task, run, model


def test_a_run_finds_its_network_and_its_layers_again(begun):
    task, run, model = begun
    run.save_model(model)
    assert run.task().network == task.network
    assert run.network().label == task.network.label
    rows = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    np.testing.assert_allclose(run.model()(rows), model(rows), atol=1e-6)
    assert type(run.model().get_layer("my_gate")).__name__ == "Gate"


def test_a_changed_network_is_refused(begun):
    task, run, _ = begun
    other = replace(task, network=Network(SOURCE, "plain", "net.py"))
    assert resumed(tasks.get("sentiment"), run, {})[2] == 0  # none given is the same
    with pytest.raises(DataError, match=r"begun with the network gated .*now net.py:plain"):
        resumed(other, run, {})
    (run.path / NETWORK_FILE).write_text(SOURCE + "# more")
    with pytest.raises(DataError, match="network.py has changed"):
        run.task()
    (run.path / NETWORK_FILE).unlink()
    with pytest.raises(DataError, match="network.py"):
        run.model()


TAKE = {"anomaly", "classify", "forecast", "intent", "keyword", "sentiment", "tagging"}


@pytest.mark.parametrize("name", tasks.names())
def test_a_task_takes_one_or_says_that_it_does_not(name):
    network = Network(SOURCE, "plain", "net.py")
    if name in TAKE:
        assert replace(tasks.get(name), network=network).network is network
        return
    with pytest.raises(ConfigError, match=f"{name!r} takes no network of its own"):
        replace(tasks.get(name), network=network)
    with pytest.raises(ConfigError, match="takes no network"):
        with_network(tasks.get(name), "net.py:plain")


def assert_refused_at_last(outcome, parts):
    """``assert_refused`` behind lines on what took long."""
    code, out, err = outcome
    assert_refused((code, out, err.splitlines(True)[-1]), parts)


BAD = {
    "no function": (["net.py:nothing"], ["net.py:nothing: there is no such function"]),
    "no file": (["gone.py:f"], ["gone.py cannot be read"]),
    "no colon": (["net.py"], ["FILE.py:FUNCTION"]),
    "misspelt": (["bad.py:f"], ["bad.py, line 3", "'unit'"]),
    "with an encoder": (["net.py:plain", "--encoder", "."], ["--encoder"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_before_anything_is_trained(case, here):  # noqa: F811
    flags, parts = BAD[case]
    (here / "net.py").write_text(SOURCE)
    (here / "bad.py").write_text(
        "import keras\ndef f(x, c):\n    return keras.layers.LSTM(c.unit)(x)"
    )
    out = call("train", "sentiment", "--data", "synthetic:60", "--network", *flags, *SMALL)
    assert_refused_at_last(out, parts)
    assert not list((here / "runs").glob("*/config.json"))


@pytest.mark.slow
def test_the_whole_way(here):  # noqa: F811
    (here / "net.py").write_text(SOURCE)
    data = ("--data", "synthetic:200", *SMALL)
    code, out, err = call("train", "sentiment", *data, "--epochs", "1", "--network", "net.py:gated",
                          "--out", "run")  # fmt: skip
    assert code == 0, err
    # Told before the first epoch, and again beside the scores.
    assert "'my_gate'" in err.partition("epoch 1/1")[0]
    assert "no ONNX" in out
    said = answer("export", "run", "--out", "bundle")
    assert list(said["artifacts"]) == ["savedmodel"]
    assert "'my_gate'" in said["refused"]["onnx"]
    assert_refused_at_last(call("export", "run", "--out", "b", "--format", "onnx"), ["'my_gate'"])
    found = answer("run", "sentiment", *data, "--quick", "--trials", "1", "--trial-epochs", "1",
                   "--epochs", "1", "--network", "net.py:plain", "--out", "all")  # fmt: skip
    assert {one["status"] for one in found["artifacts"].values()} == {"verified"}
    assert Run(here / "all" / "search" / "best").network() == Network(SOURCE, "plain")
    (here / "net.py").write_text(SOURCE.replace("LSTM", "GRU"))
    refused = call("tune", "sentiment", *data, "--trials", "2", "--epochs", "1",
                   "--network", "net.py:plain", "--out", "all/search")  # fmt: skip
    assert refused[0] == 2
    assert "network was 'plain (" in refused[2]


PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_models.md"


def test_the_network_of_the_page_is_taken(tmp_path):
    (block,) = re.findall(r"```python\n(# net.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "net.py").write_text(block)
    network = Network.parsed(f"{tmp_path}/net.py:network")
    given = [keras.Input((None, 5)), keras.Input((None,), dtype="int32")]
    y = network(MaskedBy()(given), RecurrentConfig(units=4), SEQUENCE)
    assert y.shape == (None, None, 8)
    assert len(block.splitlines()) <= 10


def test_the_table_of_the_page_names_the_tasks_that_take_one():
    rows = re.findall(r"^\| ([^|]+) \|[^|]*\| ([^|]+) \|$", PAGE.read_text("utf-8"), re.M)
    said = {
        name.strip(): returns.strip()
        for names, returns in rows for name in re.sub(", scorer.*", "", names).split(",")
    }  # fmt: skip
    assert {name for name in TAKE if not said[name].startswith("none")} == TAKE
    assert all(said[name].startswith("none") for name in set(tasks.names()) - TAKE)
