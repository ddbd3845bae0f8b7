"""What a language model knows once it may learn from the text that it is judged on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config import Config, number, text
from common.errors import ConfigError
from pipelines.corpus import AUTO
from pipelines.lanes import in_order

if TYPE_CHECKING:
    import keras

    from models.language_cache import ReadWindow
    from pipelines.language import LanguagePreprocessor
    from pipelines.splits import Splits

# What is tried where a setting is chosen: the first decay beside each step, then the others.
STEPS, DECAYS = (1e-4, 3e-4, 1e-3, 3e-3), (0.005, 0.0, 0.02)
THETAS = (0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
LAMBDAS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
# Units of validation on which they are chosen, and windows that the gradient's size is taken of.
DYNAMIC_UNITS, CACHE_UNITS, ROWS, MOST_WINDOWS = 10_000, 200_000, 16, 200
CHUNK = 256  # units that a model with a cache reads at once
LIMITS = {"dynamic": 1.0, "dynamic_decay": 1.0, "cache_theta": 1000.0, "cache_lambda": 0.999}


@dataclass(frozen=True)
class LanguageJudging(Config):
    """Further ways in which ``seqloom evaluate`` judges a language model; off by default."""

    dynamic: str = text("", "step size of dynamic evaluation; auto: chosen on validation")
    dynamic_decay: str = text(AUTO, "share of the way back to the trained weights after each step")
    dynamic_window: int = number(20, 1, 10_000, "units that are foretold before they are learnt")
    cache: int = number(0, 0, 100_000, "hidden states in the neural cache; 0: no cache")
    cache_theta: str = text(AUTO, "how much it counts how alike two states are")
    cache_lambda: str = text(AUTO, "weight of the cache beside the model")

    def __post_init__(self) -> None:
        if self.dynamic is True:  # the flag alone
            object.__setattr__(self, "dynamic", AUTO)
        super().__post_init__()
        for name, most in LIMITS.items():
            value = getattr(self, name)
            if value not in (AUTO, type(self).__dataclass_fields__[name].default):
                _check(name, value, most)
        for item in self.settings():
            of = item.name.partition("_")[0]
            if getattr(self, item.name) != item.default and not getattr(self, of):
                flag = item.name.replace("_", "-")
                raise ConfigError(
                    f"--{flag} belongs to --{of}; add --{of} {AUTO if of == 'dynamic' else 500}"
                )


def _check(name: str, value: str, most: float) -> None:
    try:
        good = 0 <= float(value) <= most
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{name} is {value!r}; it must be a number from 0 to {most:g}, or {AUTO}")


def _tried(value: str, others: Sequence[float]) -> Sequence[float]:
    return others if value == AUTO else [float(value)]


def dynamic_scores(
    preprocessor: LanguagePreprocessor,
    model: keras.Model,
    splits: Splits[str],
    judging: LanguageJudging,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Test by dynamic evaluation, documents one after the other; see ``Task.judge_otherwise``.

    Weights that were learnt from a document go on to the next; the model ends as it was.
    """
    from models.language_dynamic import DynamicEvaluation

    window, rows = judging.dynamic_window, map(preprocessor.numbers, splits.validation)
    lanes = replace(preprocessor.encoded(splits.validation), window=window)
    batches = lanes.batches(ROWS).take(MOST_WINDOWS).as_numpy_iterator()
    evaluation = DynamicEvaluation(model, (inputs for inputs, _ in batches))
    known = list(_first(in_order(rows, window), DYNAMIC_UNITS))
    units, found = sum(one["following"].size for one in known), {}

    def tried(step: float, decay: float) -> float:
        if (step, decay) not in found:
            began = time.perf_counter()
            nats = evaluation.nats(known, step, decay) / max(1, units)
            found[step, decay] = _perplexity(nats)
            tell(
                f"dynamic evaluation, step {step:g}, decay {decay:g}: perplexity "
                f"{found[step, decay]:.2f} on {units:,} units of validation, "
                f"{time.perf_counter() - began:.0f} s"
            )
        return found[step, decay]

    steps, decays = _tried(judging.dynamic, STEPS), _tried(judging.dynamic_decay, DECAYS)
    step, decay, chosen = steps[0], decays[0], len(steps) * len(decays) > 1
    if chosen:
        step = min(steps, key=lambda one: tried(one, decay))
        decay = min(decays, key=lambda one: tried(step, one))
    began, test = time.perf_counter(), map(preprocessor.numbers, splits.test)
    nats = evaluation.nats(in_order(test, window), step, decay)
    if not _perplexity(nats / max(1, len(preprocessor.encoded(splits.test)))) < math.inf:
        raise ConfigError(
            f"by dynamic evaluation the model lost its way on test: give a smaller --dynamic than "
            f"{step:g}"
        )
    result = {"step": step, "decay": decay, "window": window}
    if chosen:
        result["validation"] = {"perplexity": found[step, decay]}
        result["validation_units"] = units
    how = f"chosen on {units:,} units of validation" if chosen else "as given"
    return {
        **result,
        "test": _scores(preprocessor, nats, splits.test),
        "seconds": time.perf_counter() - began,
        "note": f"dynamic: evaluated dynamically, step {step:g} and decay {decay:g} {how}",
    }


def cache_scores(
    preprocessor: LanguagePreprocessor,
    model: keras.Model,
    splits: Splits[str],
    judging: LanguageJudging,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Test with a neural cache, which goes on from document to document; see
    ``Task.judge_otherwise``."""
    from models.language_cache import cache_nats

    thetas = _tried(judging.cache_theta, THETAS)
    shares = _tried(judging.cache_lambda, LAMBDAS)
    theta, share, result = thetas[0], shares[0], {}
    chosen, size = len(thetas) * len(shares) > 1, judging.cache
    if chosen:
        known = list(_first(in_order(map(preprocessor.numbers, splits.validation), CHUNK),
                            CACHE_UNITS))  # fmt: skip
        units = sum(one["following"].size for one in known)
        nats = cache_nats(_read(model, known), size, thetas, shares)
        best = np.unravel_index(np.argmin(nats), nats.shape)
        theta, share = thetas[best[0]], shares[best[1]]
        result = {"validation": {"perplexity": _perplexity(float(nats[best]) / max(1, units))},
                  "validation_units": units}  # fmt: skip
        tell(f"cache: theta {theta:g} and lambda {share:g} are best on {units:,} units")
    began = time.perf_counter()
    windows = in_order(map(preprocessor.numbers, splits.test), CHUNK)
    nats = float(cache_nats(_read(model, windows), size, [theta], [share])[0, 0])
    how = f"chosen on {units:,} units of validation" if chosen else "as given"
    return {
        "size": size,
        "theta": theta,
        "lambda": share,
        **result,
        "test": _scores(preprocessor, nats, splits.test),
        "seconds": time.perf_counter() - began,
        "note": f"cache: with {size:,} states, theta {theta:g} and lambda {share:g} {how}",
    }


def _read(model: keras.Model, windows: Iterable[dict[str, np.ndarray]]) -> Iterator[ReadWindow]:
    import tensorflow as tf

    from models.language import reading_model
    from models.language_cache import ReadWindow

    reading = tf.function(reading_model(model), reduce_retracing=True)
    for window in windows:
        found = reading({name: tf.constant(array) for name, array in window.items()})
        each, hidden = (found[name][0].numpy() for name in ("log_probabilities", "hidden"))
        yield ReadWindow(each, hidden, window["following"][0])


def _first(windows: Iterable[dict[str, np.ndarray]], units: int) -> Iterator[dict[str, np.ndarray]]:
    """As many windows as have so many units."""
    for window in windows:
        if units <= 0:
            return
        yield window
        units -= window["following"].size


def _perplexity(nats: float) -> float:
    """Of nats a unit; what has diverged is infinite."""
    return math.exp(nats) if nats < 700 else math.inf  # and so is NaN


def _scores(
    preprocessor: LanguagePreprocessor, nats: float, documents: Sequence[str]
) -> dict[str, float]:
    from tasks.kinds.language.scoring import scores

    found = scores(preprocessor, nats, documents)
    return {name: found[name] for name in ("perplexity", "bits_per_char")}
