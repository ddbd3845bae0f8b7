"""What batches of rows of like length save, and what they cost in accuracy.

    python benchmarks/bucketing.py speed --data ../shared/data/imdb
    python benchmarks/bucketing.py padding --data ../shared/data/imdb
    python benchmarks/bucketing.py accuracy --data ../shared/data/imdb --kept 0.25

Five ways to make batches of the same rows for the same network, the recurrent path of the sentiment
task. "As until now" are ten buckets by quantiles of length, each giving a batch when it is full,
and what is left in them at the end of the epoch; "left over ones mixed in" are the same batches in
random order. Speed: batches drawn evenly from an epoch of each way, one of each in turn. Accuracy:
on validation and test together, after each of the last epochs, of the weights as they are and of
their running average, which is what a run keeps; every seed trains all ways, and a way's loss is
the mean of its differences to shuffled batches, with the interval that holds 95% of such means.
Each training is written as it ends, so that a call goes on where the one before was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from measuring import RESULTS, report

import tasks
from models.callbacks import averaged_weights
from pipelines.encoded import EncodedRows
from pipelines.ragged import Ragged, padded
from tasks.kinds.contract import DataOptions

LONGEST, SHUFFLED, BUCKETS, MIXED, SORTED = (
    "padded to the longest text",
    "shuffled, padded to its own longest",
    "ten buckets, as until now",
    "ten buckets, left over ones mixed in",
    "sorted by jittered length",
)
JUDGED = 3  # epochs, the last ones
WAYS = {"shuffled": SHUFFLED, "buckets": BUCKETS, "mixed": MIXED, "sorted": SORTED}


def cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Consecutive pieces."""
    return [order[i : i + size] for i in range(0, len(order), size)]


def buckets(lengths: np.ndarray, size: int, draw: np.random.Generator, mixed: bool) -> list:
    """An epoch of ``tf.data.Dataset.bucket_by_sequence_length`` after a shuffle."""
    borders = np.unique(np.quantile(lengths, np.arange(1, 10) / 10, method="lower")) + 1
    classes = np.searchsorted(borders, lengths, side="right")
    waiting, found = [[] for _ in range(len(borders) + 1)], []
    for row in draw.permutation(len(lengths)):
        rows = waiting[classes[row]]
        rows.append(row)
        if len(rows) == size:
            found.append(np.array(rows))
            rows.clear()
    found += [np.array(rows) for rows in waiting if rows]
    return [found[i] for i in draw.permutation(len(found))] if mixed else found


def epoch_of(way: str, rows: EncodedRows, size: int, seed: int, epoch: int) -> list:
    """Batches ``(tokens, labels)`` of one epoch."""
    draw, labels = np.random.default_rng([seed, epoch]), np.asarray(rows.targets["answer"])
    if way == SORTED:
        batches = rows.training_batches(size, seed).one(epoch).as_numpy_iterator()
        return [(inputs["tokens"], targets["answer"]) for inputs, targets in batches]
    if way in (SHUFFLED, LONGEST):
        order = cut(draw.permutation(len(rows)), size)
    else:
        order = buckets(rows.lengths, size, draw, way == MIXED)
    texts, width = rows.inputs["tokens"].rows(), rows.lengths.max()
    found = [(padded([texts[i] for i in batch]), labels[batch]) for batch in order]
    if way != LONGEST:
        return found
    return [(np.pad(x, ((0, 0), (0, width - x.shape[1]))), y) for x, y in found]


def shortened(rows: EncodedRows, kept: float) -> EncodedRows:
    """The first part of each row, so that lengths differ as they did."""
    texts = [row[: max(3, int(len(row) * kept))] for row in rows.inputs["tokens"].rows()]
    return EncodedRows({"tokens": Ragged.of(texts, np.int32)}, rows.targets)


def words(x, config):
    """In place of the recurrent layer one that sees each word by itself: cheap, many trainings."""
    return keras.layers.Dense(2 * config.units, "tanh")(x)


class Measured:
    """The rows, and networks for them."""

    def __init__(self, options: argparse.Namespace, max_length: int, kept: float = 1.0) -> None:
        task = tasks.get("sentiment")
        self.task = replace(task, network=words) if options.network == "words" else task
        data = DataOptions(options.data)
        splits = self.task.load(data)
        changes = {"max_length": max_length, "wide": "none", "vocabulary_size": options.vocabulary}
        settings = self.task.with_settings(self.task.settings, changes)
        self.settings, _ = self.task.resolve(settings, data, splits)
        self.preprocessor = self.task.adapt(self.settings, splits.train)
        self.counts = self.task.count(
            self.settings, self.preprocessor, self.preprocessor.encoded(splits.train)
        )
        parts = (splits.train, [*splits.validation, *splits.test])
        self.train, self.judged = (
            shortened(self.preprocessor.encoded(part), kept) for part in parts
        )
        self.size = self.settings.model.batch_size

    def network(self, seed: int) -> keras.Model:
        """Compiled, with the weights of this seed."""
        keras.utils.set_random_seed(seed)
        return self.task.build(self.settings, self.preprocessor, self.counts)

    def accuracy(self, model: keras.Model) -> float:
        """On validation and test together."""
        right = [
            model.predict_on_batch(x)["answer"].argmax(1) == y["answer"]
            for x, y in self.judged.batches(256).as_numpy_iterator()
        ]
        return float(np.concatenate(right).mean())


def targets(model: keras.Model, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The labels for each output that has a loss or a metric."""
    return dict.fromkeys(model.output, labels)


def padding(options: argparse.Namespace) -> list[dict]:
    """Batches and padding of an epoch of each way; nothing is trained."""
    found = []
    for max_length in options.max_length:
        measured = Measured(options, max_length)
        for way in (LONGEST, SHUFFLED, BUCKETS, SORTED):
            batches = epoch_of(way, measured.train, measured.size, 0, 0)
            steps, sizes = sum(x.size for x, _ in batches), [len(y) for _, y in batches]
            found.append({
                "max length": max_length, "batches": way, "in an epoch": len(batches),
                "smallest": min(sizes), "steps a row": steps / len(measured.train),
                "padding": 1 - measured.train.lengths.sum() / steps,
            })  # fmt: skip
    return found


def speed(options: argparse.Namespace) -> list[dict]:
    """Examples a second of each way."""
    found = []
    for max_length in options.max_length:
        measured = Measured(options, max_length)
        model = measured.network(0)
        samples = {}
        for way in (LONGEST, SHUFFLED, BUCKETS, SORTED):
            every = epoch_of(way, measured.train, measured.size, 0, 0)
            every = [batch for batch in every if len(batch[1]) >= measured.size - 1]
            samples[way] = [
                every[i * len(every) // options.batches] for i in range(options.batches)
            ]
        spent = dict.fromkeys(samples, 0.0)
        for timed in (False, True):  # the first pass only traces and warms up
            for turn in range(options.batches):
                for way, batches in samples.items():
                    tokens, labels = batches[turn]
                    began = time.perf_counter()
                    model.train_on_batch({"tokens": tokens}, targets(model, labels))
                    spent[way] += timed * (time.perf_counter() - began)
        rates = {
            way: sum(len(y) for _, y in batches) / spent[way] for way, batches in samples.items()
        }
        for way in samples:
            steps = [x.size for x, _ in epoch_of(way, measured.train, measured.size, 0, 1)]
            found.append({
                "max length": max_length, "batches": way, "examples/s": rates[way],
                "padding": 1 - measured.train.lengths.sum() / sum(steps),
                "sorted is faster by": f"{rates[SORTED] / rates[way]:.2f}x",
            })  # fmt: skip
    return found


def trained(measured: Measured, way: str, seed: int, epochs: int) -> dict:
    """One training: its accuracies after each epoch, and processor seconds of its steps."""
    model, plain, averaged, spent = measured.network(seed), [], [], 0.0
    step = tf.function(model.train_step, reduce_retracing=True, autograph=False)
    for epoch in range(epochs):
        began = time.process_time()
        for tokens, labels in epoch_of(way, measured.train, measured.size, seed, epoch):
            y = {name: tf.constant(x) for name, x in targets(model, labels).items()}
            step(({"tokens": tf.constant(tokens)}, y))
        spent += time.process_time() - began
        if epoch < epochs - JUDGED:
            continue
        plain.append(measured.accuracy(model))
        with averaged_weights(model):
            averaged.append(measured.accuracy(model))
    return {"way": way, "seed": seed, "plain": plain, "averaged": averaged, "seconds": spent}


def accuracy(options: argparse.Namespace) -> list[dict]:
    """Trains what is not in the file yet, and sums up."""
    path = RESULTS / f"{options.name}.jsonl"
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    done, until = {(one["way"], one["seed"]) for one in known}, time.monotonic() + options.seconds
    ways = [WAYS[name] for name in options.ways]
    left = [(w, s) for s in options.seeds for w in ways if (w, s) not in done]
    measured = Measured(options, options.max_length[0], options.kept) if left else None
    for way, seed in left:
        if time.monotonic() > until:
            break
        known.append(trained(measured, way, seed, options.epochs))
        with path.open("a") as file:
            file.write(json.dumps(known[-1]) + "\n")
    return [summed_up(way, known) for way in ways if any(one["way"] == way for one in known)]


def summed_up(way: str, known: list[dict]) -> dict:
    """The table's row of one way."""
    of = {(one["way"], one["seed"]): one for one in known}
    seeds = [seed for name, seed in of if name == way and (SHUFFLED, seed) in of]
    row: dict = {"batches": way, "seeds": len(seeds)}
    for kind, label in (("plain", "last weights"), ("averaged", "running average")):
        best, base = (
            np.array([max(of[name, seed][kind][-JUDGED:]) for seed in seeds])
            for name in (way, SHUFFLED)
        )
        wide = 1.96 * (best - base).std(ddof=1) / len(seeds) ** 0.5 if len(seeds) > 1 else 0.0
        row[f"{label}, best epoch"] = float(best.mean())
        row[f"{label}, difference"] = f"{(best - base).mean():+.4f} +- {wide:.4f}"
        row[f"{label}, mean over epochs"] = float(
            np.mean([of[way, seed][kind][-JUDGED:] for seed in seeds])
        )
    row["processor seconds"] = float(np.mean([of[way, seed]["seconds"] for seed in seeds]))
    return row


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "what", choices=("speed", "padding", "accuracy"), nargs="?", default="speed"
    )
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--vocabulary", type=int, default=50000, help="words that are embedded")
    parser.add_argument("--max-length", type=int, nargs="+", default=[400, 1000])
    parser.add_argument("--batches", type=int, default=16, help="measured batches of each way")
    parser.add_argument("--kept", type=float, default=1.0, help="share of each text, its beginning")
    parser.add_argument("--network", choices=("recurrent", "words"), default="recurrent")
    parser.add_argument("--epochs", type=int, default=4, help="of a training for the accuracy")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(6)))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seconds", type=float, default=3600, help="begin no training after them")
    parser.add_argument("--name", default="bucketing_accuracy", help="of the files of results")
    options = parser.parse_args()
    if options.what == "speed":
        report("bucketing", speed(options))
    elif options.what == "padding":
        report("bucketing_padding", padding(options))
    else:
        report(options.name, accuracy(options))


if __name__ == "__main__":
    main()
