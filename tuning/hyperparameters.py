"""The hyperparameters of a search, with the values that its trials have tried."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuning.leaderboard import TrialRow

# Up to this number of different integers are shown, and averaged over, one by one.
MAX_STEPS = 8


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter over some trials.

    Attributes:
        name: name of the hyperparameter.
        values: the different values that were tried: numbers in ascending order, strings in the
            order of the space.
        numeric: whether the values are numbers; booleans are not.
        log: whether the space samples it on a logarithmic scale.
        discrete: whether it has few values: strings, booleans, listed numbers, small integers.
        absent: number of trials without a value, because a parent hyperparameter excluded it.
    """

    name: str
    values: tuple[Any, ...]
    numeric: bool
    log: bool
    discrete: bool
    absent: int = 0

    @property
    def varied(self) -> bool:
        """Whether the trials differ in this hyperparameter."""
        return len(self.values) + bool(self.absent) > 1


def hyperparameters(about: Mapping[str, Any], rows: Iterable[TrialRow]) -> list[Hyperparameter]:
    """The hyperparameters of some trials, in the order of the space.

    Args:
        about: content of ``search.json``; without a ``space`` in it, the values are used alone.
        rows: the trials.
    """
    rows, space = list(rows), {}
    for item in about.get("space") or ():
        config = item.get("config") or {}
        space[config.get("name")] = {**config, "class_name": item.get("class_name")}
    used = dict.fromkeys(name for row in rows for name in row.values)
    # KerasTuner's own values, such as tuner/epochs, are no hyperparameters.
    names = [n for n in dict.fromkeys([*space, *sorted(used)]) if n in used and "/" not in n]
    return [_hyperparameter(name, space.get(name, {}), rows) for name in names]


def value_of(row: TrialRow, name: str) -> Any:
    """A trial's value, None if it has none; values other than str, int, float and bool as JSON.

    >>> value_of(TrialRow("0000", "COMPLETED", {"kernel": [3, 3]}), "kernel")
    '[3, 3]'
    """
    value = row.values.get(name)
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value)


def _hyperparameter(name: str, about: Mapping[str, Any], rows: list[TrialRow]) -> Hyperparameter:
    found = [value_of(row, name) for row in rows]
    present = list(dict.fromkeys(value for value in found if value is not None))
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in present)
    if numeric or all(isinstance(v, bool) for v in present):
        present.sort()
    else:
        listed = list(about.get("values") or ())
        order = {str(value): index for index, value in enumerate(listed)}
        present.sort(key=lambda value: (order.get(str(value), len(order)), str(value)))
    whole = numeric and all(float(v).is_integer() for v in present)
    log = about.get("sampling") == "log" and numeric and bool(present) and present[0] > 0
    listed = about.get("class_name") in ("Choice", "Boolean", "Fixed")
    discrete = not numeric or listed or (whole and len(present) <= MAX_STEPS and not log)
    return Hyperparameter(
        name, tuple(present), numeric, log, discrete, sum(value is None for value in found)
    )
