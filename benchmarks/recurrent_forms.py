"""Recurrent layers in ONNX as operators and as loops of products, and the products by themselves.

    python benchmarks/recurrent_forms.py                 # three minutes on two cores
    python benchmarks/recurrent_forms.py --only sizes --cells gru --precisions int8
    python benchmarks/recurrent_forms.py --only bound

``sizes``: one layer over whole rows, run as ONNX Runtime's operator and as the loop that the export
writes beside it: from where on the loop is quicker is the rule of
``serving/native_onnx/converters/loops.py``. ``bound``: of the models of ``benchmarks/export.py``
the input projections and a matrix product a step and nothing else, which no form can do without,
in ONNX Runtime and in TensorFlow. A run of some of it replaces its rows of
``results/recurrent_forms.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from export import EMBEDDING, Call, interleaved, session_of
from keras import layers
from measuring import RESULTS, machine, report

from serving import fast_recurrent
from serving.native_onnx import build_onnx
from serving.native_onnx.converters import loops
from serving.native_onnx.graph import Graph
from serving.onnx_core import LOOPS

CELLS = {"simple_rnn": layers.SimpleRNN, "gru": layers.GRU}
GATES = {"simple_rnn": 1, "gru": 3, "lstm": 4}
KEYS = ("part", "cell", "precision", "units", "direction", "batch")


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=["sizes", "bound"])
    parser.add_argument("--cells", nargs="+", default=list(GATES), choices=list(GATES))
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--units", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16, 32])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows = []
    if options.only != "bound":
        for cell in [cell for cell in options.cells if cell in CELLS]:
            for precision in options.precisions:
                for units in options.units:
                    rows += sizes(cell, precision, units, options)
    if options.only != "sizes":
        for cell in options.cells:
            for units in (64, 256):
                for both in (True, False):
                    rows += bound(cell, units, both, options.repeats)
    path = RESULTS / "recurrent_forms.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    old = before["rows"] if before.get("machine") == machine() else []
    known = {tuple(str(row.get(key)) for key in KEYS): row for row in [*old, *rows]}
    report("recurrent_forms", list(known.values()))


def sizes(cell: str, precision: str, units: int, options: argparse.Namespace) -> list[dict]:
    """Milliseconds of both forms of one layer at each batch size."""
    x = keras.Input((None, units), name="x")
    model = keras.Model(x, CELLS[cell](units, return_sequences=True)(x))
    names = ("LEAST_ROWS", "LEAST", "LEAST_INT8")
    kept = {name: getattr(loops, name) for name in names}
    loops.LEAST_ROWS, loops.LEAST = 1, dict.fromkeys(loops.LEAST, 1)
    loops.LEAST_INT8 = loops.LEAST
    try:
        written = build_onnx(model, precision).SerializeToString()
    finally:
        for name, value in kept.items():
            setattr(loops, name, value)
    forms = {"operator": session(written, False), "loop": session(written, True)}
    rows = []
    for batch in options.batches:
        shape = (batch, options.steps, units)
        feed = {"x": np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)}
        times = interleaved(forms, feed, options.repeats)
        rows.append(
            {"part": "sizes", "cell": cell, "precision": precision, "units": units,
             "batch": batch, **{f"{name} ms": ms for name, ms in times.items()},
             "operator : loop": round(times["operator"] / times["loop"], 2)}
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def bound(cell: str, units: int, both: bool, repeats: int) -> list[dict]:
    """Milliseconds of the bare products of two layers, rows of 128 steps."""
    rows = []
    gates, directions = GATES[cell], 1 + both
    for batch in (1, 32):
        operations, total = 0, {"ONNX Runtime": 0.0, "TensorFlow": 0.0}
        for features in (EMBEDDING, directions * units):
            x = np.random.default_rng(0).normal(0, 1, (128, batch, features)).astype(np.float32)
            with tempfile.TemporaryDirectory() as scratch:
                run = tensorflow_products(features, units, gates, Path(scratch))
                forms = {
                    "ONNX Runtime": session(products(features, units, gates), None),
                    "TensorFlow": lambda feed, run=run: run(feed["x"]),
                }
                for name, ms in interleaved(forms, {"x": x}, repeats).items():
                    total[name] += directions * ms
            operations += directions * 2 * x.size * gates * units
            operations += directions * 2 * 128 * batch * units * gates * units
        rows.append(
            {"part": "bound", "cell": cell, "units": units,
             "direction": "both" if both else "forward", "batch": batch,
             **{f"products in {name}, ms": round(ms, 2) for name, ms in total.items()},
             **{f"{name} GFLOP/s": round(operations / ms / 1e6) for name, ms in total.items()}}
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def products(features: int, units: int, gates: int) -> bytes:
    """The projection of ``x [time, batch, features]``, and a state by its weights at every step."""
    random, graph = np.random.default_rng(0), Graph()
    x = graph.input("x", np.float32, ["time", "batch", features])
    kernel = random.normal(0, 0.05, (features, gates * units))
    flat = graph.reshape(x, [-1, features]) @ graph.weight(kernel, "kernel")
    recurrent = graph.weight(random.normal(0, 0.05, (units, gates * units)), "recurrent_kernel")
    lead = [graph.shape(x, 0), graph.shape(x, 1)]
    inputs = graph.reshape(flat, [*lead, gates * units])
    state = graph.op(
        "Expand", graph.constant(0.5, np.float32),
        graph.concat([lead[1], graph.indices([units])], 0), rank=2,
    )  # fmt: skip
    body = graph.body("step", [(np.float32, 2)] * 2, lambda h, x: [h, h @ recurrent])
    _, y = graph.ops(
        "Scan", [state, inputs], [(np.float32, 2), (np.float32, 3)], body=body, num_scan_inputs=1
    )
    graph.output("y", y, ["time", "batch", gates * units], np.float32)
    return graph.model("products", "").SerializeToString()


def tensorflow_products(features: int, units: int, gates: int, path: Path) -> Call:
    """``products`` as a SavedModel, eight steps at a time as this project's loops are."""
    random = np.random.default_rng(0)
    kernel, recurrent = (
        tf.Variable(random.normal(0, 0.05, (size, gates * units)).astype(np.float32))
        for size in (features, units)
    )

    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        lead, weight = tf.shape(x)[:2], tf.convert_to_tensor(recurrent)
        flat = tf.matmul(tf.reshape(x, [-1, features]), kernel)
        inputs = tf.reshape(flat, [lead[0], lead[1], gates * units])
        # Each product needs the one before, or TensorFlow would compute only one of them.
        step = lambda _, h: [tf.matmul(h, weight)[:, :units]]  # noqa: E731
        states = [tf.fill([lead[1], units], 0.5)]
        return {"y": fast_recurrent._loop(step, [inputs], states, 1)[0][-1]}

    module = tf.Module()
    module.saved = [kernel, recurrent]
    serve = tf.function(run, autograph=False).get_concrete_function(
        tf.TensorSpec([None, None, features], tf.float32, "x")
    )
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return session_of(path)


def session(model: bytes, looped: bool | None) -> Callable[[dict], object]:
    """ONNX Runtime with its defaults; with loops allowed or not, if the file has any."""
    options = onnxruntime.SessionOptions()
    flag = onnxruntime.OrtValue.ortvalue_from_numpy(np.array(bool(looped)))
    if looped is not None:
        options.add_initializer(LOOPS, flag)
    found = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda feed, kept=flag: found.run(None, feed)


if __name__ == "__main__":
    main()
