"""Times as people write them."""

from __future__ import annotations

from common.errors import DataError


def seconds(duration: str | None, flag: str) -> float | None:
    """``"30m"`` as 1800; ``flag`` is where it was written."""
    if duration is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = duration[:-1], duration[-1:]
    if unit not in units or not number.replace(".", "", 1).isdecimal() or not float(number):
        raise DataError(f"{flag} {duration}: write a number and s, m or h, such as 30m")
    return float(number) * units[unit]
