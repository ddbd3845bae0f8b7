"""How stamps are written: dates, clock times and counters as seconds or numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import date

import numpy as np

from common.errors import DataError
from pipelines.frequency import DAY, infer_frequency
from pipelines.messages import shorten
from pipelines.series_table import RawTable

NAT = np.iinfo(np.int64).min
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
OFFSET = re.compile(r"[T ]\d{2}.*([Zz]| UTC|[+-]\d{2}(:?\d{2})?)$")
COUNTER, STEPS, WORDS = "counter", "steps", "words"  # ways to read beside pandas's formats
_DIGITS = {
    4: ("%Y",), 6: ("%Y%m",), 8: ("%Y%m%d",), 10: ("%Y%m%d%H", "epoch"), 12: ("%Y%m%d%H%M",),
    14: ("%Y%m%d%H%M%S", "epoch"),
}  # fmt: skip
# Of two ways to read a stamp, the first where no cell of the file decides.
_DATES = (
    "%Y/%m/%d|%m/%d/%Y,%d/%m/%Y|%d.%m.%Y,%m.%d.%Y|%m-%d-%Y,%d-%m-%Y|%m/%d/%y,%d/%m/%y|%d.%m.%y,"
    "%m.%d.%y|%b %Y|%B %Y|%b-%Y|%Y %b|%d %b %Y|%d-%b-%Y|%d %B %Y|%b %d; %Y|%B %d; %Y|"
    "%Y-%m-%d|%Y.%m.%d|%Y%m%d|%d-%b-%y|%b-%y|%d %b %y|%Y-%b|%b %d %Y|%B %d %Y|%d/%b/%Y|%Y-%b-%d"
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = [("ISO8601",)] + [
    tuple(way.replace(";", ",") + clock for way in ways.split(","))
    for ways in _DATES.split("|")
    for clock in _CLOCKS
] + [(WORDS,)]  # fmt: skip
ORDERS = {"dmy": "%d", "mdy": "%m"}

_EAST_ASIAN = re.compile(
    r"(\d{4}) ?[年년] ?(?:(\d{1,2}) ?[月월] ?(?:(\d{1,2}) ?[日号號일])?)?"
    r" ?(?:周|星期|曜日|\(?[一二三四五六日月火水木金土월화수목금토일]\)?)?"
    r" ?(上午|下午|午前|午後|오전|오후)?"
    r" ?(?:(\d{1,2}) ?[时時点點시:] ?(?:(\d{1,2}) ?[分분:]?)? ?(?:(\d{1,2}) ?[秒초]?)?)?"
)
_DOTTED = re.compile(r"(\d{4})\. (\d{1,2})\. ?(?:(\d{1,2})\.?)?(?: (\d{1,2}:\d{2}(?::\d{2})?))?")
_QUARTER = re.compile(
    r"(?P<y>\d{4})[ /-]?(?P<k>[QqHhSsTt])(?P<n>[1-4])"
    r"|(?P<k2>[QqHhSsTt])(?P<n2>[1-4])[ /-]?(?P<y2>\d{4})"
    r"|(?P<n3>[1-4])(?P<k3>[QqHh])[ /-]?(?P<y3>\d{4})"
    r"|(?P<y4>\d{4}) ?[年년] ?第?(?P<n4>[1-4]) ?(?P<k4>季|季度|분기|四半期)"
)
_WEEK = re.compile(r"(\d{4})[ -]?[Ww](?:eek ?)?(\d{1,2})(?:-?([1-7]))?")
_CLOCK = re.compile(
    r"(?:0 days )?(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?(?: ?([AaPp])\.?[Mm]\.?)?"
)


def bad_stamp(where: str, columns: str, cell: str) -> DataError:
    """The error of a cell, or of cells that were joined, that is no stamp."""
    title = "columns" if "', '" in columns else "column"
    return DataError(
        f"{where}: {title} '{columns}': '{shorten(cell)}' is not read as "
        "a date or time (2016-07-01 13:00, 1949-01, 07/01/2016 13:00, Jan 1949, 2020Q1 or seconds "
        "since 1970 are, all rows alike); correct it, name another column with --time-column, or "
        "add --time-column none if the rows simply follow one another."
    )


def stamp_formats(cells: Sequence[str]) -> tuple[tuple[str, ...], float]:
    """The ways to read stamps (two where day and month may be mistaken), and how many fit."""
    best, most = (), 0.0
    numeric = [cell for cell in cells if NUMBER.fullmatch(cell)]
    plain = 2 * len(numeric) > len(cells)
    digits = [(way,) for way in _DIGITS.get(len(numeric[0]), ("epoch",))] if plain else []
    if len(digits) > 1 and not all(cell[:2] in ("19", "20") for cell in numeric):
        digits = digits[1:]  # no years: seconds or milliseconds since 1970
    for ways in digits or _FORMATS:
        if cells and most < 1:
            share = float(np.mean(np.max([stamp_seconds(cells, way) for way in ways], 0) != NAT))
            best, most = (ways, share) if share > most else (best, most)
    return best, most


def stamp_seconds(cells: Sequence[str], way: str) -> np.ndarray:
    """Seconds since 1970 of stamps, or a counter's numbers; `NAT` where one cannot be read so."""
    import pandas as pd

    if way == COUNTER:
        numbers = np.array(pd.to_numeric(np.array(cells, object), errors="coerce"), np.float64)
        numbers[~(np.abs(numbers) < 2**53)] = np.nan
        whole = numbers == np.floor(numbers)
        return np.where(whole, np.where(whole, numbers, 0).astype(np.int64), NAT)
    texts = np.array([_ascii(cell).replace(" UTC", "Z") for cell in cells], object)
    if way == WORDS:
        texts, way = np.array([_words(text) for text in texts], object), "ISO8601"
    if way != "epoch":
        found = pd.to_datetime(texts, format=way, errors="coerce", utc=True)
        return np.array(found.as_unit("s").asi8)
    numbers = np.array(pd.to_numeric(texts, errors="coerce"), np.float64)
    numbers[~((numbers >= 1e8) & (numbers < 1e19))] = np.nan
    for scale in (1e17, 1e14, 1e11):  # nano-, micro- and milliseconds
        numbers = np.where(numbers >= scale, numbers / 1000, numbers)
    return np.where(np.isnan(numbers), NAT, np.nan_to_num(np.floor(numbers)).astype(np.int64))


def clock_seconds(cells: Sequence[str], role: str) -> np.ndarray:
    """Seconds since midnight of clock times; `NAT` where one cannot be read so.

    >>> clock_seconds(["13:05", "1:05 pm", "24:00"], "clock").tolist()
    [47100, 47100, 86400]
    >>> clock_seconds(["13", "1330"], "hour").tolist()[0], clock_seconds(["1330"], "hhmm").tolist()
    (46800, [48600])

    Args:
        cells: of the column.
        role: "clock" with colons; "hour", "minute" or "second"; "hhmm" or "hhmmss" as digits.
    """
    if role == "clock":
        return np.array([_clock(_ascii(cell)) for cell in cells], np.int64)
    numbers = stamp_seconds(cells, COUNTER)
    scale = {"hour": 3600, "minute": 60, "second": 1}.get(role)
    if scale:
        limit = 24 if role == "hour" else 59
        return np.where((numbers >= 0) & (numbers <= limit), numbers * scale, NAT)
    full = numbers if role == "hhmmss" else numbers * 100
    hours, minutes, seconds = full // 10000, full // 100 % 100, full % 100
    good = (numbers >= 0) & (full <= 240000) & (minutes < 60) & (seconds < 60)
    return np.where(good, hours * 3600 + minutes * 60 + seconds, NAT)


def one_reading(
    table: RawTable, readings: np.ndarray, lines: np.ndarray, codes: np.ndarray, order: str
) -> np.ndarray:
    """Decides which of month and day comes first.

    Args:
        table: for messages, and the formats of the readings.
        readings: ``<int64>[formats, rows]``.
        lines: of the rows.
        codes: ``<int64>[rows]``, number of each row's series.
        order: "dmy" or "mdy" where a person or a model's training says so; else "".

    Returns:
        ``<int64>[rows]``.

    Raises:
        DataError: no reading fits all rows, or two do and nothing decides.
    """
    good = (readings != NAT).all(1)
    name = table.time
    if not good.any():
        best = (readings != NAT).sum(1).argmax()
        line = lines[np.argmin(readings[best] != NAT)]
        raise table.error(
            line,
            f"column '{name}': this stamp has day and month in another order than most; "
            "write all alike, best as 2016-07-01.",
        )
    if good.sum() < 2 or (readings[0] == readings[1]).all():
        return readings[good.argmax()]
    firsts = [way[:2] for way in table.formats]
    if order:
        return readings[firsts.index(ORDERS[order])]
    most = np.bincount(codes).argmax()
    jumps, steps = zip(*(_jumps(times[codes == most]) for times in readings), strict=True)
    if jumps[0] != jumps[1]:
        better = int(jumps[1] < jumps[0])
        table.date_order = _order(firsts[better])
        return readings[better]
    if steps[0] != steps[1] and "." not in table.formats[0]:
        raise table.error(
            lines[0],
            f"column '{name}': nothing tells whether the month or the day comes first, and the "
            "step depends on it; add --date-order dmy or --date-order mdy, or write 2016-07-01.",
        )
    first = "month" if firsts[0] == "%m" else "day"
    table.notes.append(
        f"Column '{name}': no stamp tells whether the month or the day comes first; they "
        f"were read {first} first. Add --date-order dmy or mdy if that is wrong."
    )
    return readings[0]


def date_order(formats: Sequence[str], readings: np.ndarray) -> str:
    """The order that the stamps prove: "dmy" or "mdy", "" where none or both are possible."""
    good = (readings != NAT).all(1)
    return _order(formats[good.argmax()][:2]) if len(formats) == 2 and good.sum() == 1 else ""


def _order(first: str) -> str:
    return next(order for order, way in ORDERS.items() if way == first)


def _jumps(times: np.ndarray) -> tuple[int, str]:
    """Returns (how many steps are not the commonest one, that step)."""
    times = np.unique(times)
    if len(times) < 2:
        return 0, ""
    step = infer_frequency(times)
    return int((step.after(times[:-1], 1) != times[1:]).sum()), str(step)


def _ascii(text: str) -> str:
    """Wide and foreign digits as ASCII has them."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text).strip()


def _words(text: str) -> str:
    """Dates with words between the numbers, quarters, halves of years and weeks as ISO 8601."""
    if found := _EAST_ASIAN.fullmatch(text):
        year, month, day, half, hour, minute, second = found.groups()
        hours = int(hour or 0)
        if half:
            hours = hours % 12 + 12 * (half in ("下午", "午後", "오후"))
        days = f"{year}-{int(month or 1):02}-{int(day or 1):02}"
        return f"{days} {hours:02}:{int(minute or 0):02}:{int(second or 0):02}"
    if found := _DOTTED.fullmatch(text):
        year, month, day, clock = found.groups()
        return f"{year}-{int(month):02}-{int(day or 1):02} {(clock or '0:00').zfill(5)}"
    if found := _QUARTER.fullmatch(text):
        year, kind, number = (
            next(value for name, value in found.groupdict().items() if name[0] == key and value)
            for key in "ykn"
        )
        months = 6 if kind in "HhSs" else 3
        return f"{year}-{months * (int(number) - 1) + 1:02}-01"
    if found := _WEEK.fullmatch(text):
        try:
            return date.fromisocalendar(*(int(part or 1) for part in found.groups())).isoformat()
        except ValueError:
            return ""
    return ""


def _clock(text: str) -> int:
    found = _CLOCK.fullmatch(text.strip())
    if not found:
        return NAT
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
    if found[4]:
        if not 1 <= hours <= 12:
            return NAT
        hours = hours % 12 + 12 * (found[4] in "Pp")
    total = hours * 3600 + minutes * 60 + seconds
    return total if minutes < 60 and seconds < 60 and total <= DAY else NAT
