"""What `search_replay.py` searches: tables of trained configurations, and functions.

Only the standard library is imported, so that a peer in another environment searches the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
EPOCHS = 9
# Those of the tasks, as near as the tables have them.
TABLE_DEFAULTS = {
    "mr": {"cell": "gru", "layers": 1, "units": 64, "dropout": 0.5, "learning_rate": 3e-3},
    "ETTh1": {"cell": "gru", "layers": 1, "units": 64, "dropout": 0.5, "learning_rate": 1e-3},
}
# The settings of each table's rows that are searched, with their values.
TABLE_SPACE: dict[str, list[Any]] = {
    "cell": ["lstm", "gru", "simple_rnn"],
    "layers": [1, 2],
    "units": [16, 64],
    "dropout": [0.1, 0.5],
    "learning_rate": [1e-3, 3e-3, 1e-2, 3e-2],
}
CONFIGURATIONS = math.prod(map(len, TABLE_SPACE.values()))


class Landscape:
    """Something to search.

    Attributes:
        mode: "max" or "min": which scores are better.
        space: by hyperparameter its values, or a pair of floats; with "log" third, of logarithms.
        defaults: of the hyperparameters.
        best: best score that there is.
        typical: seconds of a trial of all epochs, on average.
    """

    mode: str
    space: Mapping[str, Any]
    defaults: Mapping[str, Any]
    best: float
    typical: float

    def epoch_score(self, values: Mapping[str, Any], epoch: int) -> float:
        """Score of one epoch, from 0 on."""
        raise NotImplementedError

    def seconds(self, values: Mapping[str, Any], first: int, last: int) -> float:
        """Of a training from one epoch to another, exclusive; its start included."""
        raise NotImplementedError

    def score(self, values: Mapping[str, Any], until: int) -> float:
        """Best of the first epochs."""
        choose = max if self.mode == "max" else min
        return choose(self.epoch_score(values, epoch) for epoch in range(until))

    def regret(self, score: float) -> float:
        """How much worse a score is than the best there is."""
        return abs(score - self.best)

    def declare(self, hp: Any) -> None:
        """The space in KerasTuner's language."""
        for name, values in self.space.items():
            if isinstance(values, list):
                hp.Choice(name, values, default=self.defaults[name])
            else:
                scale = {"sampling": "log"} if values[2:] else {}
                hp.Float(name, *values[:2], default=self.defaults[name], **scale)


class Table(Landscape):
    """What `search_table.py` trained with one seed.

    Args:
        name: of the table.
        seed: of the trainings.
    """

    space, mode = TABLE_SPACE, ""

    def __init__(self, name: str, seed: int = 0) -> None:
        record = json.loads((RESULTS / f"search_table_{name}.json").read_text())
        self.mode, self.defaults = {"mr": "max", "ETTh1": "min"}[name], TABLE_DEFAULTS[name]
        self.rows = {self._key(row): row for row in record["rows"] if row["seed"] == seed}
        choose = max if self.mode == "max" else min
        self.best = choose(choose(row["scores"]) for row in self.rows.values())
        each = [self.seconds(row, 0, EPOCHS) for row in self.rows.values()]
        self.typical = sum(each) / len(each)

    def _key(self, values: Mapping[str, Any]) -> tuple:
        return tuple(values[name] for name in self.space)

    def epoch_score(self, values: Mapping[str, Any], epoch: int) -> float:
        """See ``Landscape``."""
        return self.rows[self._key(values)]["scores"][epoch]

    def seconds(self, values: Mapping[str, Any], first: int, last: int) -> float:
        """See ``Landscape``."""
        row = self.rows[self._key(values)]
        return row["start_seconds"] + (last - first) * row["epoch_seconds"]


class Function(Landscape):
    """A function as a training: its epochs come closer and closer to a value, with noise."""

    mode, best, typical = "min", 0.0, 5.5
    noise = 0.01

    def value(self, values: Mapping[str, Any]) -> float:
        """What endless epochs would reach; 0 is the best."""
        raise NotImplementedError

    def epoch_score(self, values: Mapping[str, Any], epoch: int) -> float:
        """See ``Landscape``."""
        chance = Random(f"{sorted(values.items())}/{epoch}").gauss(0.0, self.noise)
        return max(0.0, self.value(values) + 0.5 * 0.6 ** (epoch + 1) + chance)

    def seconds(self, values: Mapping[str, Any], first: int, last: int) -> float:
        """See ``Landscape``."""
        return 1.0 + 0.5 * (last - first)


class Hartmann(Function):
    """Hartmann's function of six variables (Dixon and Szegö 1978), its least value put at 0."""

    space = {f"x{i}": (0.0, 1.0) for i in range(6)}
    defaults = dict.fromkeys(space, 0.5)
    A = ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14),
         (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14))  # fmt: skip
    P = ((0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
         (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
         (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
         (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381))  # fmt: skip

    def value(self, values: Mapping[str, Any]) -> float:
        """See ``Function``."""
        x = [values[name] for name in self.space]
        total = 0.0
        for weight, a, p in zip((1.0, 1.2, 3.0, 3.2), self.A, self.P, strict=True):
            inner = (s * (v - q) ** 2 for s, v, q in zip(a, x, p, strict=True))
            total += weight * math.exp(-sum(inner))
        return (3.32237 - total) / 3.32237


class Mixed(Function):
    """A made-up task: the best learning rate depends on cell and size; two settings do nothing."""

    space = {
        "cell": ["lstm", "gru", "simple_rnn"], "pooling": ["last", "mean", "max", "attention"],
        "layers": [1, 2, 3], "units": [32, 64, 128, 256], "embedding_dim": [32, 64, 128],
        "dropout": [0.1, 0.3, 0.5], "learning_rate": (1e-4, 1e-1, "log"), "idle": [0, 1, 2, 3],
    }  # fmt: skip
    defaults = {
        "cell": "gru", "pooling": "max", "layers": 1, "units": 64, "embedding_dim": 64,
        "dropout": 0.3, "learning_rate": 2e-3, "idle": 0,
    }  # fmt: skip

    def value(self, values: Mapping[str, Any]) -> float:
        """See ``Function``."""
        size = math.log2(values["units"] / 32)
        ideal = {"lstm": -2.2, "gru": -2.6, "simple_rnn": -3.2}[values["cell"]] - 0.15 * size
        away = math.log10(values["learning_rate"]) - ideal
        if away > 1.0:
            return 5.0  # diverged
        return (
            0.25 * away**2
            + {"lstm": 0.0, "gru": 0.03, "simple_rnn": 0.15}[values["cell"]]
            + {"attention": 0.0, "max": 0.02, "mean": 0.05, "last": 0.12}[values["pooling"]]
            + 0.02 * (3 - size) + 0.03 * abs(values["layers"] - 2)
            + 0.2 * abs(values["dropout"] - (0.1 + 0.1 * size)) ** 2
        )  # fmt: skip


def landscapes() -> dict[str, Landscape]:
    """Those that are there, by name."""
    found: dict[str, Landscape] = {}
    for name in TABLE_DEFAULTS:
        path = RESULTS / f"search_table_{name}.json"
        rows = json.loads(path.read_text())["rows"] if path.is_file() else []
        for seed in sorted({row["seed"] for row in rows}):
            if sum(row["seed"] == seed for row in rows) == CONFIGURATIONS:
                found[f"{name}-seed{seed}" if seed else name] = Table(name, seed)
    return {**found, "hartmann": Hartmann(), "mixed": Mixed()}
