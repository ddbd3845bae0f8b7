"""Texts cut to their first words: accuracy against length and against the size of training."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from architectures_networks import sized, stack, stack_parameters
from keras import layers

import tasks
from models.baselines import linear_text_baseline
from models.pooling import MaskedPooling
from models.training import compile_model, fit
from pipelines.text_classification import TextClassificationPreprocessor
from tasks.kinds.contract import DataOptions, Settings

FEATURES, THOUSANDS, VOCABULARY = 64, 100, 10_000
POOLING = "max"  # the task's default
EMBEDDING_DROPOUT, BLOCK_DROPOUT, HEAD_DROPOUT = 0.4, 0.1, 0.4
# Epochs by the number of training texts: few texts give few steps an epoch. All of them are run,
# and validation chooses one.
EPOCHS = ((500, 24), (2000, 12), (10**9, 5))


class Reviews:
    """Labelled texts, of which the first words are read and the first some are trained on."""

    def __init__(self, source: str) -> None:
        self.task = tasks.get("sentiment")
        self.splits = self.task.load(DataOptions(source))

    def settings(self, length: int, size: int, **changes: Any) -> Settings:
        """Those of the task but for what is compared here."""
        epochs = next(count for limit, count in EPOCHS if size <= limit)
        chosen = {
            "max_length": length, "truncate": "head", "vocabulary_size": VOCABULARY,
            "stem_unknown": False, "wide": "none", "epochs": epochs, "patience": 1000,
            "dropout": EMBEDDING_DROPOUT, "embedding_dim": FEATURES, **changes,
        }  # fmt: skip
        return self.task.with_settings(self.task.settings, chosen)

    def train(self, size: int) -> Sequence[Any]:
        """Some of the training texts, the same for all; more of them hold the fewer."""
        order = np.random.default_rng(0).permutation(len(self.splits.train))
        return [self.splits.train[i] for i in order[:size]]


def classifier(
    name: str, length: int, preprocessor: TextClassificationPreprocessor
) -> tuple[keras.Model, int]:
    """Embedding, stack and pooling, alike but for the stack; and the stack's parameters.

    All stacks read both ways.
    """
    config = sized(name, length + 2, THOUSANDS, FEATURES, causal=False, dropout=BLOCK_DROPOUT)
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(len(preprocessor.encoder.vocabulary), FEATURES, mask_zero=True)(tokens)
    x = layers.Dropout(EMBEDDING_DROPOUT)(x)
    x = MaskedPooling(POOLING)(stack(x, config))
    x = layers.Dropout(HEAD_DROPOUT)(x)
    answer = layers.Dense(len(preprocessor.labels), name="answer")(x)
    return keras.Model({"tokens": tokens}, {"answer": answer}), stack_parameters(config, FEATURES)


def trained(
    reviews: Reviews, name: str, length: int, size: int, seed: int, rate: float,
    test: bool = True, **changes: Any,
) -> dict:  # fmt: skip
    """Trains with the product's own loop and judges the epoch that validation chooses.

    Args:
        reviews: texts.
        name: one of ``ARCHITECTURES``.
        length: words that are read of a text.
        size: texts to train on.
        seed: of weights and batches.
        rate: step size at the beginning.
        test: whether test is read.
        changes: further settings of the task, such as ``epochs``.

    Returns:
        A row with the accuracy on validation, and on test where it is read.
    """
    began = time.process_time()
    settings = reviews.settings(length, size, learning_rate=rate, **changes)
    config, examples = settings.model, reviews.train(size)
    preprocessor = reviews.task.adapt(settings, examples)
    keras.utils.set_random_seed(seed)
    model, parameters = classifier(name, length, preprocessor)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    compile_model(model, config, {"answer": loss}, {"answer": [accuracy]})
    with tempfile.TemporaryDirectory() as scratch:
        history = fit(
            model,
            preprocessor.encoded(examples).training_batches(config.batch_size, seed),
            preprocessor.encoded(reviews.splits.validation).batches(64),
            config,
            Path(scratch),
            monitor="val_accuracy",
            mode="max",
            names={"answer_accuracy": "accuracy"},
            tensorboard=False,
        )
    spent = time.process_time() - began
    return {
        "parameters": parameters,
        "validation": history.best["val_accuracy"],
        **({"test": judged(model, preprocessor, reviews.splits.test)} if test else {}),
        "epochs": len(history.rows),
        "seconds": round(spent, 1),
    }


def judged(
    model: keras.Model, preprocessor: TextClassificationPreprocessor, examples: Sequence[Any]
) -> float:
    """Share of texts whose label is found."""
    found = []
    for inputs, targets in preprocessor.encoded(examples).batches(64):
        guesses = np.asarray(model(inputs, training=False)["answer"]).argmax(-1)
        found.append(guesses == targets["answer"].numpy())
    return float(np.concatenate(found).mean())


def bag_of_words(reviews: Reviews, length: int, size: int) -> dict:
    """TF-IDF and a linear classifier on the same words of the same texts, and the majority."""
    settings, parts = reviews.settings(length, size), []
    began = time.process_time()
    encoder = reviews.task.adapt(settings, reviews.train(size)).encoder
    for examples in (reviews.train(size), reviews.splits.validation, reviews.splits.test):
        texts = [" ".join(encoder.tokenise(example.text)[:length]) for example in examples]
        parts.append((texts, [example.label for example in examples]))
    found = linear_text_baseline(*parts, refit=False)
    return {
        "baseline": found["name"],
        "validation": found["validation"]["accuracy"],
        "test": found["test"]["accuracy"],
        "majority": found["test"]["majority_class"],
        "seconds": round(time.process_time() - began, 1),
    }
