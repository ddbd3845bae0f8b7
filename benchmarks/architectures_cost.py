"""What an answer, a step of a stream and a step of training cost, by architecture and length."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
from architectures_networks import ARCHITECTURES, NetworkConfig, sized, stack, stack_parameters

from models.config import RecurrentConfig
from models.peers import initial_states, peer_step
from serving.native_onnx import export_onnx, export_step_onnx

FEATURES, CLASSES, THOUSANDS = 64, 8, 100
ROUNDS, SAMPLE_SECONDS = 7, 0.03
Call = Callable[[], Any]


def whole_network(config: NetworkConfig) -> keras.Model:
    """``x <float32>[batch, time, 64]`` to logits of eight classes for each step."""
    keras.utils.set_random_seed(0)
    x = keras.Input((None, FEATURES), name="x")
    return keras.Model(x, keras.layers.Dense(CLASSES, name="answer")(stack(x, config)))


def session(path: Path) -> onnxruntime.InferenceSession:
    """Of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def interleaved(calls: dict[str, Call], rounds: int = ROUNDS) -> dict[str, float]:
    """Median milliseconds of processor time of a call, one call of each in turn.

    A sample is as many calls as fill ``SAMPLE_SECONDS``.
    """
    times, counts = {name: [] for name in calls}, {}
    for name, call in calls.items():
        call()  # allocates, traces, optimises
        counts[name] = max(1, int(SAMPLE_SECONDS / max(_seconds(call, 1), 1e-6)))
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(1e3 * _seconds(call, counts[name]) / counts[name])
    return {name: statistics.median(found) for name, found in times.items()}


def _seconds(call: Call, count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        call()
    return time.process_time() - began


def _rows(key: dict, found: dict[str, float], configs: dict[str, NetworkConfig]) -> list[dict]:
    return [
        {
            **key, "architecture": name, "parameters": stack_parameters(configs[name], FEATURES),
            "ms": ms, "times the GRU's": ms / found["gru"],
        }
        for name, ms in found.items()
    ]  # fmt: skip


def inference(length: int, batch: int, names: Sequence[str] = ARCHITECTURES) -> list[dict]:
    """Whole sequences in ONNX Runtime: one row for each architecture, milliseconds of a batch."""
    configs = {name: sized(name, length, THOUSANDS, FEATURES) for name in names}
    x = np.random.default_rng(0).normal(size=(batch, length, FEATURES)).astype(np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        calls = {}
        for name, config in configs.items():
            path = Path(scratch) / f"{name}.onnx"
            export_onnx(whole_network(config), path)
            run = session(path)
            calls[name] = lambda run=run: run.run(None, {"x": x})
        found = interleaved(calls)
    return _rows({"measured": "whole sequence", "length": length, "batch": batch}, found, configs)


def streaming(length: int, names: Sequence[str] = ARCHITECTURES) -> list[dict]:
    """One step after ``length`` others, in ONNX Runtime, and the bytes of its states.

    Recurrent networks and convolutions keep as much after any number of steps; attention keeps
    keys and values of all of them.
    """
    configs = {name: sized(name, length, THOUSANDS, FEATURES) for name in names}
    rng, calls, kept = np.random.default_rng(0), {}, {}
    x = rng.normal(size=(1, FEATURES)).astype(np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        for name, config in configs.items():
            path = Path(scratch) / f"{name}.onnx"
            model = whole_network(config)
            if isinstance(config, RecurrentConfig):
                export_step_onnx(model, path)
            else:
                export_onnx(peer_step(model, config), path)
            run = session(path)
            states = states_after(run, config, length, rng)
            kept[name] = sum(state.nbytes for state in states.values())
            calls[name] = lambda run=run, feeds={"x": x, **states}: run.run(None, feeds)
        found = interleaved(calls)
    rows = _rows({"measured": "step of a stream", "length": length, "batch": 1}, found, configs)
    return [{**row, "state bytes": kept[row["architecture"]]} for row in rows]


def states_after(
    run: onnxruntime.InferenceSession, config: NetworkConfig, length: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """States of the shape that they have after ``length`` steps; what is in them costs nothing."""
    if isinstance(config, RecurrentConfig):
        every = {one.name: one.shape for one in run.get_inputs() if one.name != "x"}
        return {name: np.zeros((1, shape[1]), np.float32) for name, shape in every.items()}
    states = initial_states(config)
    for name, state in states.items():
        if state.ndim == 4:  # keys and values
            states[name] = rng.normal(size=(1, length, *state.shape[2:])).astype(np.float32)
        elif state.ndim == 1:
            states[name] = np.full(1, length, np.int32)
    return states


def training(length: int, batch: int, names: Sequence[str] = ARCHITECTURES) -> list[dict]:
    """One step of Adam in Keras on TensorFlow, milliseconds of a batch."""
    configs = {name: sized(name, length, THOUSANDS, FEATURES) for name in names}
    calls = {name: training_step(config, length, batch) for name, config in configs.items()}
    found = interleaved(calls, rounds=5)
    return _rows({"measured": "training step", "length": length, "batch": batch}, found, configs)


def training_step(config: NetworkConfig, length: int, batch: int) -> Call:
    """A function that makes one."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, length, FEATURES)).astype(np.float32)
    y = rng.integers(CLASSES, size=(batch, length))
    model = whole_network(config)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    return lambda: model.train_on_batch(x, y)


# A process of its own for each: a peak is that of a process. The short call before takes what
# libraries take once.
PEAK = """
import json, re, sys
sys.path.insert(0, {here!r})
import measuring
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
import architectures_cost as cost
def kilobytes(what):
    return int(re.search(what + r":\\s+(\\d+)", open("/proc/self/status").read())[1])
config = cost.sized({name!r}, {length}, cost.THOUSANDS, cost.FEATURES)
call = cost.peak_call(config, {what!r}, {batch})
call(16)
before = kilobytes("VmRSS")
call({length})
print(json.dumps((kilobytes("VmHWM") - before) / 1024))
"""


def peak_call(config: NetworkConfig, what: str, batch: int) -> Callable[[int], Any]:
    """A function of a length that answers a batch, or trains on one."""
    model = whole_network(config)
    if what == "training step":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, jit_compile=False)
        return lambda length: model.train_on_batch(
            np.ones((batch, length, FEATURES), np.float32), np.ones((batch, length), np.int32)
        )
    with tempfile.TemporaryDirectory() as scratch:
        export_onnx(model, Path(scratch) / "model.onnx")
        run = session(Path(scratch) / "model.onnx")
    return lambda length: run.run(None, {"x": np.ones((batch, length, FEATURES), np.float32)})


def peak_memory(
    what: str, length: int, batch: int, names: Sequence[str] = ARCHITECTURES
) -> list[dict]:
    """Megabytes that a batch takes at its most, beyond what the loaded network takes; Linux only.

    Args:
        what: "whole sequence" in ONNX Runtime, or "training step" in TensorFlow.
        length: steps of each sequence.
        batch: sequences.
        names: of ``ARCHITECTURES``.
    """
    rows, here = [], str(Path(__file__).resolve().parent)
    for name in names:
        code = PEAK.format(here=here, name=name, length=length, what=what, batch=batch)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        peak = json.loads(done.stdout.splitlines()[-1])
        rows.append({
            "measured": f"peak memory, {what}", "length": length, "batch": batch,
            "architecture": name, "MB": round(peak, 1),
        })  # fmt: skip
    return rows
