"""What a person writes behind a flag, as values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pipelines.errors import DataError


def data_options(source: str, text_column: str | None, label_column: str | None, seed: int) -> Any:
    """``--data`` and its columns."""
    from tasks.kinds.contract import DataOptions

    return DataOptions(source, text_column, label_column, seed)


def assignments(pairs: Sequence[str] | None) -> dict[str, Any]:
    """``["units=64", "cell=gru"]`` as values; what is no JSON is a string."""
    changes = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise DataError(f"--set {pair}: write NAME=VALUE")
        try:
            changes[name.strip()] = json.loads(value)
        except ValueError:
            changes[name.strip()] = value
    return changes


def seconds(duration: str | None) -> float | None:
    """``"30m"`` as 1800."""
    if duration is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = duration[:-1], duration[-1:]
    if unit not in units or not number.replace(".", "", 1).isdecimal() or not float(number):
        raise DataError(f"--max-time {duration}: write a number and s, m or h, such as 30m")
    return float(number) * units[unit]
