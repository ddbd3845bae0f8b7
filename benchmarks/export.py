"""Latency of one recurrent model in every form: TensorFlow, ONNX Runtime and PyTorch, on a CPU.

    python benchmarks/export.py                       # all of it, half an hour on two cores
    python benchmarks/export.py --only table --cells lstm --units 64 --directions both

Two layers, an embedding of 64, masked ragged ids (rows of T/2 to T steps), last state, a dense
layer. All forms of one configuration run in one process, one call of each in turn with a pause
between, so that a slow moment hits all alike; medians. A run of some cells replaces their rows of
``results/export.json`` and leaves those of the others that the same machine gave.

``pip install -e ".[bench]"`` adds what Keras needs to write ONNX itself, and PyTorch; what is not
installed is left out. PyTorch runs its layers over the padding unmasked (``torch``), which is less
work and another answer, and packed (``torch packed``), which is the same answer.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from keras import layers
from measuring import RESULTS, machine, report

from pipelines.program import KerasCore
from pipelines.ragged import Field
from serving.fast_recurrent import fast_copy
from serving.graph_parts import in_parts
from serving.native_onnx import build_onnx
from serving.native_onnx.converters import recurrent
from serving.native_onnx.graph import Graph
from serving.onnx_core import OnnxCore
from serving.runtime.savedmodel_backend import SavedModelBackend

CELLS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
VOCABULARY, EMBEDDING, CLASSES = 1000, 64, 5
FIELDS = {"ids": Field(0, unique=True)}
# Seconds between two calls: ONNX Runtime's threads spin for a while after theirs, and would take a
# core from the next form.
PAUSE = 0.06
Call = Callable[[np.ndarray], object]


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=["table", "fresh"], help="one of the two measurements")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--units", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--directions", nargs="+", default=["both", "forward"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    if options.only != "fresh":
        table(options)
    if options.only != "table":
        report("export_fresh_process", fresh_processes())


def table(options: argparse.Namespace) -> None:
    """Every form of every model that was asked for."""
    keras.utils.set_random_seed(0)
    rows = []
    for cell in options.cells:
        for units in options.units:
            for direction in options.directions:
                rows += measure(cell, units, direction == "both", options)
                print(json.dumps(rows[-len(options.batches) :]), flush=True)
        report("export", joined(rows))


def joined(rows: list[dict]) -> list[dict]:
    """With the rows of other cells that this machine gave before, in the order of the table."""
    path = RESULTS / "export.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    old = before["rows"] if before.get("machine") == machine() else []

    def place(row: dict) -> tuple:
        return list(CELLS).index(row["cell"]), row["units"], row["direction"], row["batch"]

    return [row for _, row in sorted({place(row): row for row in [*old, *rows]}.items())]


def measure(cell: str, units: int, both: bool, options: argparse.Namespace) -> list[dict]:
    """Milliseconds of each form at each batch size."""
    with tempfile.TemporaryDirectory() as scratch:
        forms = make_forms(cell, units, both, Path(scratch))
        rows = []
        for batch in options.batches:
            ids = ragged(batch, options.steps)
            times = interleaved(forms, ids, options.repeats)
            rows.append(
                {"cell": cell, "units": units, "direction": "both" if both else "forward",
                 "batch": batch, **{f"{form} ms": ms for form, ms in times.items()},
                 **ratios(times)}
            )  # fmt: skip
    return rows


def ratios(times: dict[str, float]) -> dict[str, float]:
    """How many times quicker ours are."""
    pairs = {
        "runner : Keras SavedModel": ("keras savedmodel", "runner"),
        "runner : Keras ONNX": ("keras onnx", "runner"),
        "runner : torch packed": ("torch packed", "runner"),
        "runner : ONNX": ("onnx", "runner"),
        "ONNX : Keras SavedModel": ("keras savedmodel", "onnx"),
        "ONNX : Keras ONNX": ("keras onnx", "onnx"),
        "SavedModel : Keras SavedModel": ("keras savedmodel", "savedmodel"),
        "ONNX : sequence_lens": ("onnx with sequence_lens", "onnx"),
        "int8 : fp32": ("onnx", "onnx int8"),
        "runner int8 : fp32": ("runner", "runner int8"),
        "ONNX : torch": ("torch", "onnx"),
        "ONNX : torch packed": ("torch packed", "onnx"),
    }
    return {
        name: round(times[slow] / times[quick], 2)
        for name, (slow, quick) in pairs.items() if slow in times
    }  # fmt: skip


def ragged(batch: int, steps: int) -> np.ndarray:
    """``<int32>[batch, steps]``, right-padded; the first row is full."""
    random = np.random.default_rng(0)
    ids = random.integers(1, VOCABULARY, (batch, steps)).astype(np.int32)
    for row, length in enumerate(random.integers(steps // 2, steps + 1, batch)):
        ids[row, length if row else steps :] = 0
    return ids


def make_forms(cell: str, units: int, both: bool, scratch: Path) -> dict[str, Call]:
    """Each form as a function of ids; those with the same answer are compared with Keras."""
    model = recurrent_model(cell, units, both)
    forms = {
        "keras savedmodel": keras_savedmodel(model, scratch / "keras"),
        "savedmodel": savedmodel(model, scratch / "ours"),
        "onnx": onnx_session(build_onnx(model, right_padded={"ids": 0}).SerializeToString()),
        "runner": runner(build_onnx(model, right_padded={"ids": 0}), scratch / "fp32.onnx"),
        "runner int8": runner(build_onnx(model, "int8", {"ids": 0}), scratch / "int8.onnx"),
        "onnx any mask": onnx_session(build_onnx(model).SerializeToString()),
        "onnx with sequence_lens": onnx_session(with_sequence_lens(model, both)),
        "onnx int8": onnx_session(build_onnx(model, "int8", {"ids": 0}).SerializeToString()),
    }
    if importlib.util.find_spec("tf2onnx"):
        forms["keras onnx"] = keras_onnx(model, scratch / "keras.onnx")
    ids = ragged(3, 17)
    want = np.asarray(model(ids))
    for name, call in forms.items():
        bound = 2e-2 if "int8" in name else 1e-5
        np.testing.assert_allclose(call(ids), want, atol=bound, err_msg=name)
    if importlib.util.find_spec("torch"):
        forms |= torch_forms(cell, units, both)
    return forms


def recurrent_model(cell: str, units: int, both: bool) -> keras.Model:
    """Ids to logits."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(VOCABULARY, EMBEDDING, mask_zero=True)(ids)
    for last in (False, True):
        layer = CELLS[cell](units, return_sequences=not last, zero_output_for_mask=not last)
        x = layers.Bidirectional(layer)(x) if both else layer(x)
    return keras.Model(ids, layers.Dense(CLASSES)(x))


def with_sequence_lens(model: keras.Model, both: bool) -> bytes:
    """The other way to write masks: lengths as an input of ONNX's operators.

    TensorRT takes it in float32 only; here it shows what the exported form costs beside it.
    """
    graph = Graph()
    ids = graph.input("ids", np.int32, ["batch", "time"])
    valid = graph.op("Not", graph.compare("Equal", ids, 0))
    lengths = graph.reduce("ReduceSum", graph.cast(valid, np.int32), [1])
    embedding, *stack, head = model.layers[-4:]
    x = graph.take(graph.weight(embedding.embeddings, "embeddings"), graph.time_major(ids))
    for layer in stack:
        inner = [layer.forward_layer, layer.backward_layer] if both else [layer]
        kernels = (np.stack(parts) for parts in zip(*map(recurrent.weights, inner), strict=True))
        found = recurrent.attributes(inner[0])
        kind = recurrent.OPERATORS[type(inner[0])]
        y, h, *_ = graph.ops(
            kind, [x, *(graph.weight(kernel, "kernel") for kernel in kernels), lengths],
            [(np.float32, 4)] + [(np.float32, 3)] * (2 if kind == "LSTM" else 1),
            direction="bidirectional" if both else "forward", **found,
        )  # fmt: skip
        x = graph.reshape(graph.transpose(y, [0, 2, 1, 3]), [0, 0, -1])
    last = graph.reshape(graph.transpose(h, [1, 0, 2]), [0, -1])
    logits = last @ graph.weight(head.kernel, "kernel") + graph.weight(head.bias, "bias")
    graph.output("y", logits, ["batch", CLASSES], np.float32)
    return graph.model("sequence_lens", "").SerializeToString()


def keras_savedmodel(model: keras.Model, path: Path) -> Call:
    """What ``model.export`` writes."""
    with contextlib.redirect_stdout(io.StringIO()):
        model.export(path, verbose=False)
    return session_of(path)


def savedmodel(model: keras.Model, path: Path) -> Call:
    """Ours, without a preprocessor, which the other forms have not either."""
    core = KerasCore(fast_copy(keras.Model({"ids": model.input}, {"y": model.output})))
    run, module = in_parts(core, FIELDS), tf.Module()
    module.saved = [variable.value for variable in core.model.variables]
    spec = tf.TensorSpec([None, None], tf.int32, "ids")
    serve = tf.function(lambda ids: run({"ids": ids})).get_concrete_function(spec)
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return session_of(path)


def session_of(path: Path) -> Call:
    """A SavedModel run as TF Serving runs it."""
    backend = SavedModelBackend(path)
    (name,) = backend.signature["inputs"]
    return lambda ids: next(iter(backend.run({name: ids}).values()))


def onnx_session(model: bytes | str) -> Call:
    """ONNX Runtime with its defaults."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda ids: session.run(None, {name: ids})[0]


def runner(model: onnx.ModelProto, path: Path) -> Call:
    """The same file as this project's predictor and server run it."""
    onnx.save(model, path)
    core = OnnxCore(path, fields=FIELDS)
    return lambda ids: next(iter(core({"ids": ids}).values()))


def keras_onnx(model: keras.Model, path: Path) -> Call:
    """What ``model.export(format="onnx")`` writes."""
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):
        model.export(path, format="onnx", verbose=False)
    logging.disable(logging.NOTSET)
    return onnx_session(str(path))


def torch_forms(cell: str, units: int, both: bool) -> dict[str, Call]:
    """PyTorch's layers of the same sizes."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    torch.set_flush_denormal(True)
    kind = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    network = kind(EMBEDDING, units, 2, bidirectional=both, batch_first=True).eval()
    embedding = torch.nn.Embedding(VOCABULARY, EMBEDDING)
    head = torch.nn.Linear(units * (1 + both), CLASSES)

    def last(states):
        h = states[0] if cell == "lstm" else states
        return head(torch.cat([h[-2], h[-1]], 1) if both else h[-1])

    def padded(ids: np.ndarray):
        with torch.inference_mode():
            return last(network(embedding(torch.from_numpy(ids).long()))[1])

    def packed(ids: np.ndarray):
        with torch.inference_mode():
            lengths = torch.from_numpy((ids > 0).sum(1))
            x = embedding(torch.from_numpy(ids).long())
            x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return last(network(x)[1])

    return {"torch": padded, "torch packed": packed}


def interleaved(forms: dict[str, Callable], given: object, repeats: int) -> dict[str, float]:
    """Median milliseconds of calls in turn with what is given."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for repeat in range(repeats + 2):
        for name, call in forms.items():
            time.sleep(PAUSE)
            began = time.perf_counter()
            call(given)
            if repeat > 1:  # the first ones allocate, and optimise graphs
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


FRESH = """
import json, re, resource, time
began = time.perf_counter()
{body}
seconds = time.perf_counter() - began
try:  # what this program alone took; getrusage also counts the parent it was forked from
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({{"form": "{form}", "seconds to the first answer": round(seconds, 3),
                   "peak MB": round(peak / 1024, 1)}}))
"""
PREDICTOR = """
from serving.predictor import Predictor
Predictor({bundle!r}).predict(["a warm and funny film"])
"""
TENSORFLOW = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
model = tf.saved_model.load({bundle!r} + "/savedmodel/1")
model.signatures["serving_default"](text=tf.constant(["a warm and funny film"]))
"""


def fresh_processes(repeats: int = 5) -> list[dict]:
    """Time to the first answer and peak memory of a process that serves one bundle."""
    with tempfile.TemporaryDirectory() as scratch:
        train = ["train", "sentiment", "--data", "synthetic:400", "--epochs", "1", "--out", "run"]
        for command in (train, ["export", "run", "--out", "bundle"]):
            subprocess.run(
                [sys.executable, "-m", "seqloom", *command], cwd=scratch, check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        bundle = str(Path(scratch) / "bundle")
        rows = []
        for form, body in (("predictor", PREDICTOR), ("tensorflow", TENSORFLOW)):
            code = FRESH.format(body=body.format(bundle=bundle), form=form)
            found = []
            for _ in range(repeats):
                done = subprocess.run(
                    [sys.executable, "-c", code], capture_output=True, text=True, check=True
                )
                found.append(json.loads(done.stdout.splitlines()[-1]))
            rows.append({
                key: form if key == "form" else statistics.median(f[key] for f in found)
                for key in found[0]
            })  # fmt: skip
    quick, slow = rows
    return [*rows, {"form": "times better"} | {
        key: round(slow[key] / quick[key], 1) for key in quick if key != "form"
    }]  # fmt: skip


if __name__ == "__main__":
    main()
