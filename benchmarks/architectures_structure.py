"""Two tasks of known structure: one symbol to remember, and a sum to keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from architectures_networks import sized, stack, stack_parameters
from sklearn.linear_model import LogisticRegression

FEATURES, THOUSANDS = 32, 26
BATCH, WARM_UP, EVERY = 32, 100, 100
SOLVED = 0.995
HELD_OUT = 512  # sequences of validation, and of test

# rng, batch and length to symbols and answers, ``<int64>[batch, length]`` each.
Draw = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]


def first_symbol(rng: np.random.Generator, batch: int, length: int):
    """Eight symbols at random; each step has to name the first one."""
    symbols = rng.integers(8, size=(batch, length))
    return symbols, np.repeat(symbols[:, :1], length, 1)


def running_sum(rng: np.random.Generator, batch: int, length: int):
    """Digits 0, 1, 2 at random; each step has to name the sum so far, modulo three."""
    digits = rng.integers(3, size=(batch, length))
    return digits, digits.cumsum(1) % 3


@dataclass(frozen=True)
class Structure:
    """A task of known structure.

    Attributes:
        draw: makes examples.
        classes: of symbols, and of answers.
    """

    draw: Draw
    classes: int


STRUCTURES = {"first symbol": Structure(first_symbol, 8), "running sum": Structure(running_sum, 3)}


def learnt(
    task: str, name: str, length: int, *, seconds: float, steps: int = 3000,
    rates: tuple[float, ...] = (4e-3, 1e-3), seed: int = 0,
) -> dict:  # fmt: skip
    """Trains a network on fresh examples until it solves the task or its time is up.

    Args:
        task: a key of ``STRUCTURES``.
        name: one of ``ARCHITECTURES``.
        length: steps of a sequence.
        seconds: of processor time for each step size.
        steps: of the optimizer, at most.
        rates: step sizes; validation chooses.
        seed: of weights and examples.

    Returns:
        A row: accuracy of the last step on test sequences, and on some of twice the length; what
        the training took; chance and a linear model of the counts of the symbols.
    """
    structure = STRUCTURES[task]
    config = sized(name, 2 * length, THOUSANDS, FEATURES)
    held = [
        structure.draw(np.random.default_rng([seed, part]), HELD_OUT, length) for part in (1, 2)
    ]
    longer = structure.draw(np.random.default_rng([seed, 3]), HELD_OUT, 2 * length)
    best = None
    for rate in rates:
        keras.utils.set_random_seed(seed)
        model = _network(config, structure.classes, rate)
        found = _train(model, structure, length, held[0], seconds, steps, seed)
        if best is None or found["validation"] > best[1]["validation"]:
            best = model, {"rate": rate, **found}
        if found["validation"] >= SOLVED:
            break
    model, found = best
    return {
        **found,
        "parameters": stack_parameters(config, FEATURES),
        "test": last_step_accuracy(model, held[1]),
        "test at twice the length": last_step_accuracy(model, longer),
        "chance": 1 / structure.classes,
        "counts of symbols": counted(structure, length, seed),
    }


def _network(config, classes: int, rate: float) -> keras.Model:
    symbols = keras.Input((None,), dtype="int32", name="symbols")
    x = keras.layers.Embedding(classes, FEATURES, "glorot_normal")(symbols)
    model = keras.Model(symbols, keras.layers.Dense(classes)(stack(x, config)))
    # The step size grows to ``rate`` and stays there.
    warm = keras.optimizers.schedules.CosineDecay(
        0.0, WARM_UP, alpha=1.0, warmup_target=rate, warmup_steps=WARM_UP
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(warm, global_clipnorm=1.0), loss, jit_compile=False)
    return model


def _train(model, structure: Structure, length: int, validation, seconds, steps, seed) -> dict:
    """Ends with the weights of the best validation accuracy."""
    rng, began, done = np.random.default_rng([seed, 0]), time.process_time(), 0
    best, kept, at = -1.0, None, 0
    while done < steps and time.process_time() - began < seconds and best < SOLVED:
        for _ in range(EVERY):
            model.train_on_batch(*structure.draw(rng, BATCH, length))
            done += 1
            if time.process_time() - began > seconds:
                break
        accuracy = last_step_accuracy(model, validation)
        if accuracy > best:
            best, kept, at = accuracy, model.get_weights(), done
    spent = time.process_time() - began
    model.set_weights(kept)
    return {"validation": best, "steps": at, "seconds": round(spent, 1)}


def last_step_accuracy(model: keras.Model, examples) -> float:
    """Share of sequences whose last step is answered rightly."""
    symbols, answers = examples
    parts = [np.asarray(model(part))[:, -1] for part in np.split(symbols, len(symbols) // 64)]
    return float((np.concatenate(parts).argmax(-1) == answers[:, -1]).mean())


def counted(structure: Structure, length: int, seed: int) -> float:
    """Test accuracy of logistic regression on how often each symbol comes: a bag of words."""

    def bags(part: int, size: int):
        symbols, answers = structure.draw(np.random.default_rng([seed, part]), size, length)
        counts = (symbols[..., None] == np.arange(structure.classes)).mean(1)
        return counts, answers[:, -1]

    model = LogisticRegression(max_iter=500).fit(*bags(0, 4000))
    return float(model.score(*bags(2, HELD_OUT)))
