"""Windows as clients send them, checked and stacked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.ragged import Arrays

LATEST = 10**11  # seconds: the year 5138; milliseconds are greater


def stacked(raw: Sequence[Any], inputs: Mapping[str, Mapping[str, Any]]) -> Arrays:
    """Dicts of numbers as one array for each input.

    Args:
        raw: one mapping for each example.
        inputs: of the signature: dtype, and shape with -1 for what may vary.

    Raises:
        DataError: an input is missing, is no array of numbers, has another shape, holds NaN or
            infinity, or is longer than its neighbours; the message says which.
    """
    request = {}
    for name, spec in inputs.items():
        parts = []
        for i, window in enumerate(raw):
            if not isinstance(window, dict) or name not in window:
                raise DataError(f"input {i} has no {name!r}; give {', '.join(inputs)}")
            parts.append(_checked(window[name], spec, f"input {i}: {name}"))
        if len({part.shape for part in parts}) > 1:
            raise DataError(f"{name} must be equally long in all inputs of one request")
        request[name] = np.stack(parts)
    return request


def check_times(raw: Sequence[Any]) -> None:
    """Refuses times that are no seconds since 1970, whether the model uses them or not."""
    for i, window in enumerate(raw):
        if isinstance(window, dict) and "time" in window:
            spec = {"dtype": "int64", "shape": [-1] * (1 + np.ndim(window["time"]))}
            times = _checked(window["time"], spec, f"input {i}: time")
            if np.abs(times).max(initial=0) > LATEST:
                raise DataError(f"input {i}: time is {times.max()}; give seconds since 1970")


def _checked(value: Any, spec: Mapping[str, Any], where: str) -> np.ndarray:
    try:
        array = np.asarray(value, spec["dtype"])
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where} is no array of numbers ({error})") from error
    wanted = spec["shape"][1:]
    fits = array.ndim == len(wanted) and all(
        size in (-1, actual) for size, actual in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        raise DataError(f"{where} has shape {list(array.shape)}; this model takes {wanted}")
    if not np.isfinite(array).all():
        raise DataError(
            f"{where} holds NaN or infinity; fill gaps first, as seqloom predict --file does"
        )
    return array


def window_from_json(text: str) -> dict[str, Any]:
    """A raw input that was typed: ``{"values": [[...], ...], "time": "2018-01-01T00:00:00"}``.

    ``time`` is ISO text or seconds since 1970, of the last row or of each row.

    Raises:
        DataError: it is no such JSON.
    """
    try:
        window = json.loads(text)
        time = window.get("time")
        if isinstance(time, str) or (time and isinstance(time, list) and isinstance(time[0], str)):
            stamps = np.array(time, "datetime64[s]").astype(np.int64)
            window["time"] = stamps if stamps.ndim else int(stamps)
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{text[:60]!r} is no window ({error}); give JSON with values and time, "
            "or a csv with --file"
        ) from error
    return window
