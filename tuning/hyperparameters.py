"""What a search varies: each hyperparameter's values as its space and its trials tell them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuning.leaderboard import TrialRow

# So many different whole numbers are still shown, and averaged over, one by one.
MOST_STEPS = 8


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter over some trials.

    Attributes:
        name: its name.
        values: the different values that were tried; numbers ascending, words as the space lists
            them.
        numeric: whether values are numbers; switches are none.
        log: whether the space draws it on a logarithmic scale.
        stepped: whether it takes few values: words, switches, numbers of a list, small counts.
        absent: how many of the trials have no value, as a parent's value left it out.
    """

    name: str
    values: tuple[Any, ...]
    numeric: bool
    log: bool
    stepped: bool
    absent: int = 0

    @property
    def varied(self) -> bool:
        """Whether the trials differ in it."""
        return len(self.values) + bool(self.absent) > 1


def hyperparameters(about: Mapping[str, Any], rows: Iterable[TrialRow]) -> list[Hyperparameter]:
    """What trials were drawn from, in the order of the space.

    Args:
        about: of a search; a ``space`` that it lacks is guessed from the values.
        rows: the trials to look at.
    """
    rows, space = list(rows), {}
    for item in about.get("space") or ():
        config = item.get("config") or {}
        space[config.get("name")] = {**config, "class_name": item.get("class_name")}
    drawn = dict.fromkeys(name for row in rows for name in row.values)
    # KerasTuner's own values, such as tuner/epochs, tell how a trial was run.
    names = [n for n in dict.fromkeys([*space, *sorted(drawn)]) if n in drawn and "/" not in n]
    return [_hyperparameter(name, space.get(name, {}), rows) for name in names]


def value_of(row: TrialRow, name: str) -> Any:
    """A trial's value, None where it has none; what is no word, number or switch is told as JSON.

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
        places = {str(value): place for place, value in enumerate(listed)}
        present.sort(key=lambda value: (places.get(str(value), len(places)), str(value)))
    whole = numeric and all(float(v).is_integer() for v in present)
    log = about.get("sampling") == "log" and numeric and bool(present) and present[0] > 0
    listed = about.get("class_name") in ("Choice", "Boolean", "Fixed")
    stepped = not numeric or listed or (whole and len(present) <= MOST_STEPS and not log)
    return Hyperparameter(
        name, tuple(present), numeric, log, stepped, sum(value is None for value in found)
    )
