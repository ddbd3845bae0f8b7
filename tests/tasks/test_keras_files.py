"""``seqloom export MODEL.keras``, and predict and serve with what it writes."""

import keras
import numpy as np
import pytest
from keras import layers

from pipelines.program import DEFAULT
from serving.client import Client
from serving.runtime.server import running
from tests.tasks.test_own_network import assert_refused_at_last
from tests.test_cli import answer, call, here  # noqa: F401 a fixture

OWN = """
import keras
from serving import converter

class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x

@converter(Doubled, layout="any")
def doubled(graph, layer, x):
    return x * 2.0
"""
WINDOWS = np.random.default_rng(0).normal(size=(40, 6, 2)).astype("float32")


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


@pytest.fixture
def saved(here):  # noqa: F811
    x = keras.Input((6, 2), name="window")
    y = Doubled(name="mine")(layers.GRU(3)(x))
    model = keras.Model(x, layers.Dense(1, name="next")(y), name="weather")
    model.save(here / "weather.keras")
    np.savez(here / "x.npz", window=WINDOWS)
    (here / "own.py").write_text(OWN)
    return model


def test_a_saved_model_is_exported_predicts_and_is_served(saved, here):  # noqa: F811
    export = ("export", "weather.keras", "--examples", "x.npz", "--custom-objects", "own.py")
    said = answer(*export)
    assert said["bundle"] == "weather-bundle"
    assert {one["status"] for one in said["artifacts"].values()} == {"verified"}
    assert max(one["parity"] for one in said["artifacts"].values()) < 1e-5
    expected = saved.predict_on_batch(WINDOWS)
    found = answer("predict", "weather-bundle", "--file", "x.npz")["predictions"]
    np.testing.assert_allclose([one["next"] for one in found], expected, atol=1e-5)
    with running(here / "weather-bundle") as server:
        for url in (f"http://127.0.0.1:{server.rest_port}", f"grpc://127.0.0.1:{server.grpc_port}"):
            got = Client(url, "weather").predict({"window": WINDOWS[:3]}, DEFAULT)
            np.testing.assert_allclose(got["next"], expected[:3], atol=1e-5)
    # The same model again is the next version; another one there is refused.
    assert answer(*export, "--format", "onnx")["version"] == 2
    saved.save("other.keras")
    refused = call("export", "other.keras", *export[2:], "--out", "weather-bundle")
    assert_refused_at_last(refused, ["is a bundle of weather, not of other"])


BAD = {
    "no examples": ([], ["--examples FILE is missing"]),
    "examples that are not there": (["--examples", "no.npz"], ["--examples no.npz"]),
    "no code": (["--examples", "x.npz"], ["'Doubled'", "--custom-objects"]),
    "code that fails": (
        ["--examples", "x.npz", "--custom-objects", "bad.py"], ["bad.py, line 2", "NameError"]
    ),
    "code that is not there": (
        ["--examples", "x.npz", "--custom-objects", "no.py"], ["--custom-objects no.py"]
    ),
    "examples of another model": (
        ["--examples", "y.npz", "--custom-objects", "own.py"], ["window"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(saved, here, case):  # noqa: F811
    flags, parts = BAD[case]
    (here / "bad.py").write_text("import keras\nunknown\n")
    np.savez(here / "y.npz", other=WINDOWS)
    assert_refused_at_last(call("export", "weather.keras", *flags), parts)
    assert not (here / "weather-bundle").exists()


def test_a_file_that_is_not_there_and_one_of_a_run_are_named(here):  # noqa: F811
    assert_refused_at_last(call("export", "gone.keras"), ["gone.keras: there is no such file"])
    (here / "run").mkdir()
    for name in ("config.json", "model.keras"):
        (here / "run" / name).write_text("{}")
    assert_refused_at_last(call("export", "run/model.keras"), ["seqloom export run"])
