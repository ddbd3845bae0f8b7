"""Where a step of training goes: products, the rest of the compiled loops, and all else.

    python benchmarks/training_parts.py --cells lstm gru simple_rnn

The model is that of ``training_layers.py``. Its products are taken alone, in shapes and as often
as a step has them: the recurrent ones in a compiled loop, the others over a run of steps each. Then
come the compiled loops alone, and the whole step, with Seqloom's loops and with Keras's. All take
turns in one process, and a figure is the median. Keras's step and ours both need the products, so
that Keras's step over them is about what can be had by leaving out all else. It is no strict bound:
here one direction follows the other; in a step two may run at once, where there are cores for it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from measuring import report
from training_layers import KERAS, OURS, WIDTH, examples, network, stepping

from models.acceleration import accelerate, steps_of
from models.fast_loops import STEPS, _compiled_backward, _compiled_forward
from models.recurrent import CELLS

DIRECTIONS = 2


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=96, help=f"a multiple of {STEPS}")
    parser.add_argument("--seconds", type=float, default=20, help="for each cell")
    options = parser.parse_args()
    rows = [measured(cell, options) for cell in options.cells]
    report("training_parts", rows)


def measured(cell: str, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of the parts of a step."""
    ids, labels = examples(options.batch, options.length)
    runs = 2 * DIRECTIONS * (options.length // STEPS)  # two layers
    outer, inner, operations = products(cell, options)
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "products by input": (outer, options.length // STEPS * DIRECTIONS),
        "products by state": (inner, runs),
        "compiled loops": (loops(cell, options), runs),
    }
    for name in (KERAS, OURS):
        model = network(cell, options.units)
        step = stepping(accelerate(model) if name == OURS else model, ids, labels)
        ways[f"step, {name}"] = (step, 1)
    for way, _ in ways.values():
        for _ in range(3):
            way()
    spent: dict[str, list[float]] = {name: [] for name in ways}
    until = time.perf_counter() + options.seconds
    while time.perf_counter() < until:
        for name, (way, _) in ways.items():
            began = time.perf_counter()
            way()
            spent[name].append(time.perf_counter() - began)
    each = {name: 1e3 * ways[name][1] * statistics.median(spent[name]) for name in ways}
    both = each["products by input"] + each["products by state"]
    row = {"cell": cell, "units": options.units, "rows": options.batch, "steps": options.length}
    row |= {f"{name}, ms": round(value, 2) for name, value in each.items()}
    return row | {
        "GFLOP a step": round(operations / 1e9, 2),
        "GFLOP/s of products": round(operations / both / 1e6, 1),
        "Keras's step over products": round(each[f"step, {KERAS}"] / both, 2),
        "times Keras's": round(each[f"step, {KERAS}"] / each[f"step, {OURS}"], 2),
    }


def products(cell: str, options: argparse.Namespace) -> tuple[Callable, Callable, float]:
    """Those with the input, of one run of both layers; those with the state, of one run of one
    layer; and the operations of all in a step. The runs of each are three: forward, the gradient by
    what was multiplied, and that by the weights."""
    units, rows = options.units, options.batch
    gates = {"simple_rnn": 1, "gru": 3, "lstm": 4}[cell] * units
    part, h = tf.random.normal([STEPS * rows, gates]), tf.random.normal([STEPS * rows, units])
    weights = tf.random.normal([units, gates]) / units
    layers = [
        (tf.random.normal([STEPS * rows, width]), tf.random.normal([width, gates]))
        for width in (WIDTH, 2 * units)
    ]

    @tf.function
    def by_input():
        found = []
        for x, kernel in layers:
            found += [tf.matmul(x, kernel), tf.matmul(part, kernel, transpose_b=True)]
            found += [tf.matmul(x, part, transpose_a=True)]
        return [one[0, 0] for one in found]

    @tf.function(jit_compile=True)
    def stepwise():
        def body(i, h, a):
            return i + 1, tf.matmul(a, weights, transpose_b=True), tf.matmul(h, weights)

        return tf.while_loop(lambda i, *_: i < STEPS, body, (0, h[:rows], part[:rows]))[1:]

    @tf.function
    def by_state():
        return stepwise(), tf.matmul(h, part, transpose_a=True)[0, 0]

    times = 2.0 * options.length * rows * gates * DIRECTIONS * 3
    return by_input, by_state, times * (WIDTH + 2 * units + 2 * units)


def loops(cell: str, options: argparse.Namespace) -> Callable:
    """The compiled loops of one run of one layer, forward and back."""
    layer = CELLS[cell](options.units)
    layer.build((None, None, WIDTH))
    steps = steps_of(layer)
    cells = (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
    kernel, _, recurrent = steps.prepared(*(tf.convert_to_tensor(one.value) for one in cells))
    turned = [tf.transpose(one) for one in recurrent if one.shape.rank == 2]
    x = tf.random.normal([STEPS, options.batch, kernel.shape[1]])
    states = [tf.random.normal([options.batch, options.units]) for _ in range(steps.states)]
    by_ys = tf.random.normal([STEPS, options.batch, options.units])
    mask = [tf.ones([STEPS, options.batch], tf.bool)]
    forward, backward = _compiled_forward(steps), _compiled_backward(steps)

    @tf.function(autograph=False)
    def run():
        kept = forward(x, mask, tf.constant(STEPS), states, recurrent)
        grads, found = backward(by_ys, mask, tf.constant(STEPS), states, kept, turned)
        return [one[:1, :1] for one in (*grads, *found)]

    return run


if __name__ == "__main__":
    main()
