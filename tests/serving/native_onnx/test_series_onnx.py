"""Forecasters and detectors as ONNX: what Keras says, at any batch and length."""

from itertools import product

import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers

from models.anomaly_detection import core_model, expectations, scoring_model
from models.anomaly_detection_config import AnomalyConfig
from models.forecasting import HEADS, WindowShape, forecaster
from models.forecasting_config import ForecastConfig
from models.window_layers import CalibrateQuantiles
from serving.errors import ServingError
from serving.native_onnx import build_onnx, export_onnx, step_model
from tests.serving.native_onnx.parity import BOUND, assert_same, randomise, session_of

CELLS = ("gru", "lstm", "simple_rnn")
NORMALISE = ("last", "mean_std", "none")
WINDOW = 5


def shapes(values):
    return {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values
    }


def exported(model, path):
    export_onnx(model, path / "model.onnx")
    return onnxruntime.InferenceSession(path / "model.onnx", providers=["CPUExecutionProvider"])


def a_forecaster(shape, **config):
    made = {"units": 4, "embedding_dim": 5, "segment": 3, **config}
    model = forecaster(ForecastConfig(**made), shape)
    randomise(model)
    return model


def windows(shape, batch):
    draw = np.random.default_rng(batch)
    feeds = {"values": draw.normal(size=(batch, shape.lookback, shape.inputs))}
    if shape.known:
        size = (batch, shape.lookback + shape.horizon, shape.known)
        feeds["known"] = draw.normal(size=size)
    return {name: x.astype(np.float32) for name, x in feeds.items()}


# Columns known in advance now with the one, now with the other.
COMBINATIONS = [
    (head, cell, channels, 2 * ((i + (channels == "joint")) % 2))
    for i, (head, cell) in enumerate(product(HEADS, CELLS))
    for channels in ("independent", "joint")
]


@pytest.mark.parametrize(("head", "cell", "channels", "known"), COMBINATIONS)
def test_forecasters(head, cell, channels, known, tmp_path):
    number = COMBINATIONS.index((head, cell, channels, known))
    shape = WindowShape(7, 4, 2 + (channels == "joint"), 2, known, (0.1, 0.5, 0.9))
    model = a_forecaster(
        shape, head=head, cell=cell, channels=channels, normalise=NORMALISE[number % 3],
        layers=1 + number // 4 % 2, linear=number % 5 > 0,
    )  # fmt: skip
    session = exported(model, tmp_path)
    for batch in (1, 5):
        assert_same(model, windows(shape, batch), session=session)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("normalise", NORMALISE)
def test_forecasters_of_every_normalisation(head, normalise):
    shape = WindowShape(5, 4, 2, 2, 1, (0.5,))
    model = a_forecaster(shape, head=head, normalise=normalise)
    feeds = windows(shape, 3)
    feeds["values"][1] = 3.0  # a window that never changes
    assert_same(model, feeds)


@pytest.mark.parametrize("head", ["direct", "encoder_decoder"])
def test_forecasters_that_read_both_ways(head):
    shape = WindowShape(6, 3, 1, 1, 0, (0.1, 0.9))
    model = a_forecaster(shape, head=head, bidirectional=True, layers=2)
    assert_same(model, windows(shape, 3))


def test_signature_of_a_forecaster():
    shape = WindowShape(8, 4, 2, 2, 3, (0.1, 0.5, 0.9))
    graph = build_onnx(a_forecaster(shape)).graph
    assert shapes(graph.input) == {"values": ["batch", 8, 2], "known": ["batch", 12, 3]}
    wanted = {"mean": ["batch", 4, 2], "quantiles": ["batch", 4, 2, 3]}
    assert shapes(graph.output) == wanted


def test_quantiles_of_runs_of_earlier_versions():
    """They are sorted and moved by an offset that such a run has saved."""
    inputs = keras.Input((3, 2, 3), name="said")
    layer = CalibrateQuantiles(name="quantiles")
    model = keras.Model({"said": inputs}, {"quantiles": layer(inputs)})
    layer.offset.assign(np.random.default_rng(0).normal(size=(3, 2, 3)))
    said = np.random.default_rng(1).normal(size=(4, 3, 2, 3)).astype(np.float32)
    found = np.asarray(model({"said": said})["quantiles"])
    np.testing.assert_allclose(found, np.sort(said, -1) + np.asarray(layer.offset), atol=1e-6)
    assert_same(model, {"said": said})


# ---- detectors


def a_detector(calendar=3, columns=2, whole=False, **config):
    config = AnomalyConfig(**{"units": 4, "embedding_dim": 5, **config})
    core = core_model(config, columns, calendar, WINDOW)
    model = scoring_model(core, config, columns, WINDOW)
    randomise(model)
    layer = model.get_layer("score")
    count = int(np.prod(layer.scale.shape))
    layer.scale.assign((0.5 + np.arange(count)).reshape(layer.scale.shape))
    layer.threshold.assign([2.0, 0.7][: layer.threshold.shape[0]])
    if whole:
        return model
    # As it is served: without what only its calibration reads.
    first = expectations(model)[0]
    outputs = {name: model.output[name] for name in ("score", "parts")}
    outputs["expected"] = model.output[first]
    return keras.Model(model.input, outputs)


def rows_of(model, batch, rows):
    draw = np.random.default_rng(batch)
    return {
        name: draw.normal(size=(batch, rows, x.shape[-1])).astype(np.float32)
        for name, x in model.input.items()
    }


DETECTORS = {
    **{cell: {"cell": cell} for cell in CELLS},
    "deep": {"cell": "lstm", "layers": 2, "calendar": 0},
    **{f"auto-{cell}": {"cell": cell, "scorer": "autoencoder", "calendar": 0} for cell in CELLS},
    "auto-both": {"scorer": "autoencoder", "bidirectional": True, "layers": 2, "calendar": 0},
    "one column": {"columns": 1},
    "auto of one column": {"columns": 1, "scorer": "autoencoder", "calendar": 0},
    "all outputs": {"whole": True},
}  # fmt: skip


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors(name, tmp_path):
    model = a_detector(**DETECTORS[name])
    session = exported(model, tmp_path)
    for batch, rows in ((3, WINDOW - 1), (1, WINDOW + 2)):
        assert_same(model, rows_of(model, batch, rows), session=session)


@pytest.mark.parametrize("scorer", ["residual", "autoencoder"])
def test_signature_of_a_detector(scorer):
    graph = build_onnx(a_detector(scorer=scorer)).graph
    wanted = {"values": ["batch", "time", 2]}
    if scorer == "residual":
        wanted |= {"previous": ["batch", "time", 2], "calendar": ["batch", "time", 3]}
    assert shapes(graph.input) == wanted
    assert shapes(graph.output) == {
        "score": ["batch", "time", 1 + (scorer == "residual")], "expected": ["batch", "time", 2],
        "parts": ["batch", "time", 2 + 2 * (scorer == "residual")],
    }  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("calendar", [0, 3])
def test_a_detector_row_by_row_is_the_whole(cell, calendar):
    model = a_detector(cell=cell, calendar=calendar, layers=2)
    session = session_of(step_model(model))
    given = {i.name: i.shape for i in session.get_inputs()}
    assert {name: given.pop(name)[1:] for name in model.input} == {
        name: [x.shape[-1]] for name, x in model.input.items()
    }
    assert len(given) == 2 * (1 + (cell == "lstm")), "states of two layers"
    names = [output.name for output in session.get_outputs()]
    feeds = rows_of(model, 3, 9)
    states = {name: np.zeros((3, shape[1]), np.float32) for name, shape in given.items()}
    steps = []
    for t in range(9):
        row = {name: x[:, t] for name, x in feeds.items()}
        got = dict(zip(names, session.run(names, {**row, **states}), strict=True))
        states = {state: got.pop(f"{state}_next") for state in states}
        steps.append(got)
    want = model(feeds, training=False)
    assert steps[0].keys() == want.keys()
    for key, x in want.items():
        np.testing.assert_allclose(np.stack([s[key] for s in steps], 1), x, atol=BOUND, rtol=0)


def test_an_autoencoder_has_no_steps():
    with pytest.raises(ServingError):
        step_model(a_detector(scorer="autoencoder"))


# ---- names and files


def test_inputs_whose_names_are_not_in_order_keep_their_own_shapes():
    """Keras flattens a dict of inputs by its sorted keys, whatever order it was written in."""
    inputs = {
        "values": keras.Input((4, 2), name="values"),
        "known": keras.Input((6, 3), name="known"),
        "again": keras.Input((5,), name="again"),
    }
    y = layers.Concatenate()(
        [layers.Flatten()(inputs["values"]), layers.Flatten()(inputs["known"]), inputs["again"]]
    )
    model = keras.Model(inputs, {"z": layers.Dense(2)(y), "a": layers.Dense(3)(y)})
    graph = build_onnx(model).graph
    assert shapes(graph.input) == {
        "values": ["batch", 4, 2], "known": ["batch", 6, 3], "again": ["batch", 5],
    }  # fmt: skip
    assert shapes(graph.output) == {"z": ["batch", 2], "a": ["batch", 3]}
    draw = np.random.default_rng(0)
    feeds = {
        name: draw.normal(size=(2, *x.shape[1:])).astype(np.float32) for name, x in inputs.items()
    }
    assert_same(model, feeds)
    inner = keras.Model(inputs, y)
    outer = {name: keras.Input(x.shape[1:], name=name) for name, x in inputs.items()}
    nested = keras.Model(outer, {"y": layers.Dense(2)(inner(outer))})
    assert shapes(build_onnx(nested).graph.input) == shapes(graph.input)
    assert_same(nested, feeds)


@pytest.mark.parametrize("kind", ["segment", "direct", "residual", "autoencoder"])
def test_a_saved_and_loaded_model_exports_too(kind, tmp_path):
    if kind in HEADS:
        shape = WindowShape(8, 5, 3, 2, 2, (0.1, 0.9))
        model = a_forecaster(shape, head=kind, channels="joint", normalise="mean_std")
        feeds = windows(shape, 3)
    else:
        model = a_detector(scorer=kind)
        feeds = rows_of(model, 2, 7)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    session = exported(again, tmp_path)
    assert_same(model, feeds, session=session)
    assert_same(again, feeds, session=session)
