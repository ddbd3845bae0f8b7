"""Milliseconds of the CRF's loss with gradient and of decoding, beside pytorch-crf and NumPy.

    python benchmarks/crf.py
    python benchmarks/crf.py --batch-sizes 32 --lengths 20 --tags 17 --turns 3

"ours" is `models.crf.CRF` in a `tf.function`, as `fit` runs it; "pytorch-crf" is `torchcrf.CRF` run
eagerly, as its users do, if it can be imported (torch and pytorch-crf, in an environment that sees
this project's packages too); "NumPy" is `decoding.crf.viterbi`, which serves without TensorFlow.
All have the same emissions, scores and lengths, from a fifth of the longest to the longest; before
they are timed their losses must agree to a millionth, and their paths exactly. Contenders take
turns in one process, with as many threads; a figure is the median of the turns. `busy` is what
share of the machine's processors other work used meanwhile. Such work disturbs one contender more
than another, up to ratios many times too large, so a size is measured again until `busy` is at most
`--busiest`; one that never is has no figures. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import report

Contenders = dict[str, Callable[[], Any]]


def main() -> None:
    """Measures every size and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--tags", type=int, nargs="+", default=[17, 60])
    parser.add_argument("--turns", type=int, default=15, help="of each contender, at least")
    parser.add_argument("--busiest", type=float, default=0.05, help="share that others may use")
    parser.add_argument("--tries", type=int, default=30, help="of a size, until it is undisturbed")
    parser.add_argument("--threads", type=int, default=2, help="of each contender")
    options = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    torch = peer(options.threads)
    rows = []
    for tags in options.tags:
        for batch in options.batch_sizes:
            for length in options.lengths:
                rows.append(compare(batch, length, tags, options, torch))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    report("crf", rows)


def peer(threads: int) -> Any:
    """The module torch, or None where it or pytorch-crf is missing."""
    try:
        import torch
        import torchcrf  # noqa: F401
    except ImportError as missing:
        print(f"pytorch-crf is left out: {missing}", file=sys.stderr)
        return None
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    return torch


def compare(batch: int, length: int, tags: int, options: argparse.Namespace, torch: Any) -> dict:
    """One row of the table."""
    given = made_up(batch, length, tags)
    losses, decoders = ours(given)
    if torch is not None:
        losses["pytorch-crf"], decoders["pytorch-crf"] = theirs(given, torch)
    check(given, losses, decoders)
    row = {"batch": batch, "longest": length, "tags": tags}
    for what, contenders in (("loss", losses), ("decode", decoders)):
        found, busy = undisturbed(contenders, options)
        row[f"{what} busy"] = busy
        row |= {f"{what} {name} ms": value for name, value in found.items()}
        for name in [*found][1:]:
            row[f"{what} {name} / ours"] = found[name] / found["ours"]
    return row


def undisturbed(
    contenders: Contenders, options: argparse.Namespace
) -> tuple[dict[str, float], float]:
    """Medians, none where others never left the machine alone, and the share that they used."""
    busy = 0.0
    for tried in range(options.tries):
        time.sleep(5 if tried else 0)
        (mine, every), started = jiffies(), time.perf_counter()
        found = medians(contenders, options.turns)
        seconds = (time.perf_counter() - started) * (os.cpu_count() or 1)
        mine, every = jiffies()[0] - mine, jiffies()[1] - every
        busy = max(0.0, every - mine) / seconds
        if busy <= options.busiest:
            return found, busy
    return {}, busy


def jiffies() -> tuple[float, float]:
    """Seconds of processors that this process has used, and that all have."""
    fields = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    used = sum(int(fields[place]) for place in (0, 1, 2, 5, 6))  # not idle, not waiting for disks
    return time.process_time(), used / os.sysconf("SC_CLK_TCK")


def made_up(batch: int, length: int, tags: int) -> dict[str, np.ndarray]:
    """Emissions, lengths, tags and scores."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(max(1, length // 5), length + 1, batch).astype(np.int32)
    lengths[0] = length
    inside = np.arange(length) < lengths[:, None]
    normal = {"emissions": (batch, length, tags), "transitions": (tags, tags)}
    normal |= {"start": (tags,), "end": (tags,)}
    found = {name: rng.normal(size=shape).astype(np.float32) for name, shape in normal.items()}
    labels = rng.integers(0, tags, (batch, length)).astype(np.int32)
    return {**found, "lengths": lengths, "inside": inside, "tags": np.where(inside, labels, -1)}


def ours(given: dict[str, np.ndarray]) -> tuple[Contenders, Contenders]:
    """Loss with gradient, and decoding, of this project."""
    import tensorflow as tf

    from decoding.crf import viterbi
    from models.crf import CRF

    tags = given["emissions"].shape[-1]
    layer = CRF(tags)
    layer.build((None, None, tags))
    layer.set_weights([given["transitions"], given["start"], given["end"]])
    emissions, labels = tf.constant(given["emissions"]), tf.constant(given["tags"])
    lengths = tf.constant(given["lengths"])

    @tf.function
    def step(emissions, labels):
        with tf.GradientTape() as tape:
            tape.watch(emissions)
            loss = tf.reduce_sum(layer.loss(labels, emissions))
        sources = [emissions, *(one.value for one in layer.trainable_variables)]
        return loss, tape.gradient(loss, sources)

    decode = tf.function(layer.decode)
    scores = layer.potentials()
    return (
        {"ours": lambda: step(emissions, labels)[0].numpy()},
        {
            "ours": lambda: decode(emissions, lengths).numpy(),
            "NumPy": lambda: viterbi(given["emissions"], given["lengths"], scores),
        },
    )


def theirs(given: dict[str, np.ndarray], torch: Any) -> tuple[Callable, Callable]:
    """The same of pytorch-crf."""
    from torchcrf import CRF

    layer = CRF(given["emissions"].shape[-1], batch_first=True)
    with torch.no_grad():
        layer.transitions.copy_(torch.tensor(given["transitions"]))
        layer.start_transitions.copy_(torch.tensor(given["start"]))
        layer.end_transitions.copy_(torch.tensor(given["end"]))
    emissions = torch.tensor(given["emissions"], requires_grad=True)
    tags = torch.tensor(np.maximum(given["tags"], 0)).long()
    mask = torch.tensor(given["inside"])

    def step() -> float:
        emissions.grad = None
        layer.zero_grad(set_to_none=True)
        loss = -layer(emissions, tags, mask=mask)
        loss.backward()
        return float(loss.detach())

    def decode() -> list[list[int]]:
        with torch.no_grad():
            return layer.decode(emissions, mask=mask)

    return step, decode


def check(given: dict[str, np.ndarray], losses: Contenders, decoders: Contenders) -> None:
    """Stops where contenders do not agree. It is their warm-up too."""
    for _ in range(2):
        costs = [run() for run in losses.values()]
        paths = [run() for run in decoders.values()]
    np.testing.assert_allclose(costs, costs[0], rtol=1e-6)
    for found in paths[1:]:
        for row, length in enumerate(given["lengths"]):
            assert list(found[row][:length]) == list(paths[0][row][:length])


def medians(contenders: Contenders, turns: int) -> dict[str, float]:
    """Milliseconds of each, one after the other in every turn.

    Turns go on for a second at least: the kernel counts what others use in hundredths.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    began = time.perf_counter()
    while len(times["ours"]) < turns or time.perf_counter() - began < 1:
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(found) for name, found in times.items()}


if __name__ == "__main__":
    main()
