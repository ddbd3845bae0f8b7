"""Training speed with length buckets against two simpler ways to make batches.

    python benchmarks/bucketing.py --data ../shared/data/imdb

Three pipelines feed the same model: every row padded to the longest text; shuffled batches, each
padded to its own longest row; and Seqloom's buckets. Speed is measured on batches drawn evenly from
an epoch of each, one batch of each pipeline in turn, so that a slow moment of the machine hits all
alike; every batch's shape has been traced before. Accuracy is the best on validation within a short
training, mean of several seeds; padding to the longest text is left out there, since it changes
nothing but the time.
"""

from __future__ import annotations

import argparse
import time

import keras
import tensorflow as tf
from measuring import report

import tasks
from models.callbacks import NamedMetrics
from models.training import for_model
from pipelines.batching import shuffled_epochs
from tasks.kinds.contract import DataOptions


def pipelines(rows: tf.data.Dataset, count: int, longest: int, batch_size: int) -> dict:
    """The three ways; ``rows`` are unbatched ``({"tokens"}, {output: label})``."""
    shuffled = rows.cache().shuffle(count, seed=0)

    def padded(shapes=None) -> tf.data.Dataset:
        known = tf.data.experimental.assert_cardinality(-(-count // batch_size))
        return shuffled.padded_batch(batch_size, shapes).apply(known).prefetch(tf.data.AUTOTUNE)

    labels = dict.fromkeys(rows.element_spec[1], [])
    buckets = shuffled_epochs(rows, length_key="tokens", batch_size=batch_size, seed=0)
    return {
        "padded to the longest text": padded(({"tokens": [longest]}, labels)),
        "padded to the longest of each shuffled batch": padded(),
        "length buckets": buckets.starting_with(0).take(buckets.steps),
    }


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--max-length", type=int, nargs="+", default=[400, 1000])
    parser.add_argument("--batches", type=int, default=16, help="measured batches of each pipeline")
    parser.add_argument("--epochs", type=int, default=4, help="of the training for the accuracy")
    parser.add_argument("--seeds", type=int, default=3, help="trainings for the accuracy")
    options = parser.parse_args()
    task = tasks.get("sentiment")
    splits = task.load(DataOptions(options.data))
    results = []
    for max_length in options.max_length:
        changes = {"max_length": max_length, "wide": "none", "patience": 100}
        settings = task.with_settings(task.settings, changes)
        results += compare(task, settings, splits, options, accuracy=max_length == 400)
    report("bucketing", results)


def compare(task, settings, splits, options, accuracy: bool) -> list[dict]:
    """One row a pipeline."""
    preprocessor = task.adapt(settings, splits.train)
    size = settings.model.batch_size
    keras.utils.set_random_seed(0)
    model = task.build(settings, preprocessor, None)
    train = preprocessor.encoded(splits.train)
    rows = for_model(train.dataset(), model)
    ways = pipelines(rows, len(train), int(train.lengths.max()), size)
    validation = for_model(preprocessor.encoded(splits.validation).batches(64), model)
    samples = {name: spread(way, options.batches) for name, way in ways.items()}
    spent = dict.fromkeys(ways, 0.0)
    # The first pass over all batches only traces and warms up.
    for timed in (False, True):
        for turn in range(options.batches):
            for name, sample in samples.items():
                began = time.perf_counter()
                model.train_on_batch(*sample[turn])
                spent[name] += timed * (time.perf_counter() - began)
    results = []
    for name, way in ways.items():
        examples = sum(len(x["tokens"]) for x, _ in samples[name])
        steps = sum(x["tokens"].size for x, _ in samples[name])
        result = {
            "max length": settings.preprocessing.max_length,
            "batches": name,
            "examples/s": examples / spent[name],
            "time steps an example": steps / examples,
        }
        if accuracy and name != "padded to the longest text":
            best = []
            for seed in range(options.seeds):
                keras.utils.set_random_seed(seed)
                model = task.build(settings, preprocessor, None)
                history = model.fit(
                    way, epochs=options.epochs, validation_data=validation, verbose=0,
                    shuffle=False, callbacks=[NamedMetrics({task.metric.logged: task.metric.name})],
                ).history  # fmt: skip
                best.append(max(history["val_accuracy"]))
            result["validation accuracy"] = sum(best) / len(best)
            result["range"] = f"{min(best):.4f} to {max(best):.4f}"
        results.append(result)
    base = results[-1]["examples/s"]
    for result in results:
        result["buckets are faster by"] = f"{base / result['examples/s']:.2f}x"
    return results


def spread(batches: tf.data.Dataset, count: int) -> list:
    """``count`` batches, evenly spread over one epoch."""
    every = list(batches.as_numpy_iterator())
    return [every[i * len(every) // count] for i in range(count)]


if __name__ == "__main__":
    main()
