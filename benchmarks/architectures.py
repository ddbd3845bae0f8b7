"""Recurrent networks, temporal convolutions and a Transformer of equal size: where each wins.

    taskset -c 0 python benchmarks/architectures.py --data ../shared/data    # an hour
    python benchmarks/architectures.py --parts cost    # of one part; of none: reports what is there

All stacks have as many parameters within a few percent. Four parts, one row for each measurement:

- `cost`: a whole sequence and a step of a stream in ONNX Runtime, a step of training in TensorFlow,
  16 to 2048 steps long; the memory of each.
- `structure`: one symbol to remember and a sum to keep, on fresh examples without end.
- `size`: sentences from reviews (mr), 250 to 4000 of them to train on.
- `text`: whole reviews (imdb) cut to their first 16 to 256 words, 1000 of them to train on.

Costs are processor time of one thread, medians of calls in turn, so that what else the machine does
counts little. `--out` holds every row as soon as it is measured; what is there is not measured
again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from measuring import report

PARTS = ("cost", "structure", "size", "text")
LENGTHS = (16, 64, 256, 1024, 2048)
MANY, MEMORY_LENGTHS = 8, (2048,)
STRUCTURE_LENGTHS, STRUCTURE_SECONDS = (16, 64, 256), 20.0
# Few and many first. Words that are read of a sentence: all, of nearly all.
SIZES, SENTENCE = (250, 4000, 1000), 60
TEXT_LENGTHS, TEXT_SIZE = (16, 64, 256), 1000
CONTENDERS = ("gru", "tcn", "transformer")
# Step sizes of each text network, of which validation chooses one, on this many sentences.
RATES, CHOICE_SIZE = (3e-3, 1e-3), 1000
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

Key = dict[str, str | int | float]
Cell = tuple[Key, Callable[[], list[dict]]]


def main() -> None:
    """Measures what is missing and reports all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has mr, imdb")
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3, help="of each text network")
    parser.add_argument("--seconds", type=float, default=STRUCTURE_SECONDS, help="see learnt()")
    parser.add_argument("--out", type=Path, default=Path("runs/architectures.jsonl"))
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        for key, measure in CELLS[part](options):
            if not measured(options.out, key):
                append(options.out, key, measure())
    report("architectures", [json.loads(line) for line in options.out.read_text().splitlines()])


def measured(out: Path, key: Key) -> list[dict]:
    """Rows of a cell; none where it has not been measured."""
    lines = out.read_text().splitlines() if out.is_file() else ()
    return [row for row in map(json.loads, lines) if key.items() <= row.items()]


def append(out: Path, key: Key, rows: list[dict]) -> None:
    """Keeps the rows of a cell."""
    with out.open("a") as file:
        for row in rows:
            file.write(json.dumps({**key, **row}) + "\n")
            print({**key, **row}, flush=True)


def cost_cells(options: argparse.Namespace) -> Iterator[Cell]:
    """By length: answers, steps, training; then memory."""
    import architectures_cost as cost

    for length in LENGTHS:
        for batch in (1, MANY):
            key = {"part": "cost", "measured": "whole sequence", "length": length, "batch": batch}
            yield key, lambda n=length, b=batch: cost.inference(n, b)
        key = {"part": "cost", "measured": "step of a stream", "length": length}
        yield key, lambda n=length: cost.streaming(n)
        key = {"part": "cost", "measured": "training step", "length": length}
        yield key, lambda n=length: cost.training(n, MANY)
    for length in MEMORY_LENGTHS:
        for what in ("whole sequence", "training step"):
            key = {"part": "cost", "measured": f"peak memory, {what}", "length": length}
            yield key, lambda n=length, w=what: cost.peak_memory(w, n, MANY)


def structure_cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Short sequences first."""
    from architectures_structure import STRUCTURES, learnt

    for length in STRUCTURE_LENGTHS:
        for task in STRUCTURES:
            for name in CONTENDERS:
                key = {"part": "structure", "task": task, "length": length, "architecture": name}
                yield (
                    key,
                    lambda t=task, n=name, x=length: [learnt(t, n, x, seconds=options.seconds)],
                )


def size_cells(options: argparse.Namespace) -> Iterator[Cell]:
    """More and more sentences; step sizes are chosen first."""
    from architectures_text import Reviews, trained

    reviews = Reviews(str(options.data / "mr"))
    for name in CONTENDERS:
        for rate in RATES:
            key = {"part": "choice", "data": "mr", "architecture": name, "rate": rate}
            at = (SENTENCE, CHOICE_SIZE, 0, rate)
            yield key, lambda n=name, a=at: [trained(reviews, n, *a, test=False)]
    yield from review_cells("mr", reviews, [(SENTENCE, size) for size in SIZES], options)


def text_cells(options: argparse.Namespace) -> Iterator[Cell]:
    """More and more words of as many reviews; step sizes as for the sentences."""
    from architectures_text import Reviews

    reviews = Reviews(str(options.data / "imdb"))
    pairs = [(length, TEXT_SIZE) for length in TEXT_LENGTHS]
    yield from review_cells("imdb", reviews, pairs, options)


def review_cells(
    data: str, reviews, pairs: list[tuple[int, int]], options: argparse.Namespace
) -> Iterator[Cell]:
    """One seed of all (words, texts), then further ones."""
    from architectures_text import bag_of_words, trained

    for seed in range(options.seeds):
        for length, size in pairs:
            key = {"part": "text", "data": data, "length": length, "size": size}
            words = {**key, "architecture": "bag of words"}
            yield words, lambda n=length, s=size: [bag_of_words(reviews, n, s)]
            for name in CONTENDERS:
                yield (
                    {**key, "architecture": name, "seed": seed},
                    lambda n=name, a=(length, size, seed): [
                        trained(reviews, n, *a, chosen(options.out, n))
                    ],
                )


def chosen(out: Path, name: str) -> float:
    """Step size with the best accuracy on validation."""
    rows = measured(out, {"part": "choice", "architecture": name})
    return max(rows, key=lambda row: row["validation"])["rate"]


CELLS = {
    "cost": cost_cells, "structure": structure_cells, "size": size_cells, "text": text_cells,
}  # fmt: skip

if __name__ == "__main__":
    main()
