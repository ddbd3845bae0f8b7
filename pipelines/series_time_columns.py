"""Which columns of a table hold the time: one of stamps, several of their parts, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from common.errors import DataError
from pipelines.messages import name_list
from pipelines.readers import Row
from pipelines.series_numbers import is_number, number_cell
from pipelines.series_stamps import (
    COUNTER,
    NAT,
    NUMBER,
    STEPS,
    bad_stamp,
    clock_seconds,
    stamp_formats,
    stamp_seconds,
)
from pipelines.series_table import cell_text

# The earlier ones before the later ones.
TIME_NAMES = (
    "datetime", "timestamp", "date", "ds", "time", "date_time", "period", "month", "week", "day",
    "year", "epoch",
)  # fmt: skip
COUNTER_NAMES = ("step", "t", "index", "idx", "cycle", "tick", "row", "n", "no")
MIN_CLOCKS = 6  # different ones in a column, or they are opening hours and the like
NONE = "none"  # what --time-column says where rows simply follow one another
_CLOCKS = (
    "time", "clock", "hour", "hr", "hh", "hours", "hhmm", "hhmmss", "time_of_day", "uhrzeit",
    "zeit", "stunde", "heure", "hora", "ora", "tijd", "czas", "godzina", "время", "час", "时间",
    "時間", "时", "時", "시간", "時刻", "시각",
)  # fmt: skip
_PARTS = {
    "year": ("year", "yr", "yyyy", "jahr", "année", "annee", "ano", "año", "anno", "jaar", "年",
             "年份", "연도", "год"),
    "month": ("month", "mon", "mo", "mm", "mnth", "monat", "mois", "mes", "mês", "mese", "maand",
              "月", "月份", "월", "месяц"),
    "quarter": ("quarter", "qtr", "q", "quartal", "trimestre", "季度"),
    "week": ("week", "wk", "isoweek", "woche", "semaine", "semana", "周"),
    "doy": ("doy", "dayofyear", "day_of_year", "yday", "jday"),
    "day": ("day", "dy", "dd", "dom", "tag", "jour", "dia", "día", "giorno", "dag", "日", "일",
            "день"),
    "hour": ("hour", "hr", "hh", "stunde", "heure", "hora", "ora", "时", "時", "시", "час"),
    "minute": ("minute", "minutes", "min", "mi", "分", "분"),
    "second": ("second", "seconds", "sec", "ss", "秒", "초"),
}  # fmt: skip
_LIMITS = {
    "year": (1500, 2300), "month": (1, 12), "quarter": (1, 4), "week": (1, 53), "doy": (1, 366),
    "day": (1, 31), "hour": (0, 24), "minute": (0, 59), "second": (0, 59),
}  # fmt: skip
_NEEDS = {"day": {"month"}, "minute": {"hour"}, "second": {"minute"}}
_NEEDS |= dict.fromkeys(("hour", "clock", "hhmm", "hhmmss"), {"day", "doy"})
_INSTEAD = {
    "month": {"quarter", "week", "doy"}, "doy": {"quarter", "week"}, "week": {"quarter"},
    "clock": {"hour", "minute", "second", "hhmm", "hhmmss"},
}  # fmt: skip
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK_ROLES = ("hour", "minute", "second", "clock", "hhmm", "hhmmss")


@dataclass(frozen=True)
class TimeColumns:
    """The columns of the time, and how they are read.

    Attributes:
        roles: by name of the column: "stamp"; or of several columns "date" or "year", "month",
            "quarter", "week", "doy", "day", and "clock", "hour", "minute", "second", "hhmm" or
            "hhmmss". Empty where rows simply follow one another.
        formats: the ways to read the stamp or the date; two where day and month may be mistaken.
        note: what the user should see; "" if nothing.
    """

    roles: dict[str, str]
    formats: tuple[str, ...]
    note: str = ""

    @property
    def title(self) -> str:
        """The names, for messages."""
        return "', '".join(self.roles)

    def texts(self, rows: Sequence[Row]) -> list[str]:
        """The stamps, or the dates, as text."""
        dates = [name for name, role in self.roles.items() if role in ("stamp", "date")]
        if dates:
            return [text_of(row, dates[0]) for row in rows]
        parts = {
            role: _part_numbers([text_of(row, name) for row in rows], role).tolist()
            for name, role in self.roles.items()
            if role not in _CLOCK_ROLES
        }
        dates = zip(*parts.values(), strict=True)
        return [_date(dict(zip(parts, each, strict=True))) for each in dates]

    def read(self, rows: Sequence[Row], first: int) -> tuple[list[str], np.ndarray]:
        """Reads the rows' times.

        Args:
            rows: the next ones.
            first: number of the first of them.

        Returns:
            (what stands in the cells, seconds or numbers ``<int64>[formats, rows]``, `NAT` where
            they cannot be read).
        """
        if self.formats == (STEPS,):
            numbers = first + np.arange(len(rows))
            return [""] * len(rows), numbers[None]
        texts = self.texts(rows)
        readings = np.stack([stamp_seconds(texts, way) for way in self.formats])
        for name, role in self.roles.items():
            if role in _CLOCK_ROLES:
                cells = [text_of(row, name) for row in rows]
                clock = clock_seconds(cells, role)
                bad = (readings == NAT) | (clock == NAT)
                readings = np.where(bad, NAT, readings + np.where(clock == NAT, 0, clock))
                texts = [f"{text} {cell}" for text, cell in zip(texts, cells, strict=True)]
        return texts, readings


def text_of(row: Row, name: str) -> str:
    """A cell as text, without spaces around it."""
    return cell_text(row.values[name]).strip()


def find_time(
    head: list[Row], taken: set[str], wanted: tuple[str, ...], ids: tuple[str, ...]
) -> TimeColumns:
    """Finds the columns of the time by their names and by what the first rows hold.

    Args:
        head: the first rows.
        taken: columns that are something else.
        wanted: as ``--time-column`` says; () to find them.
        ids: columns that tell series apart.

    Raises:
        DataError: there are none, or those that were named cannot be read.
    """
    free = [name for name in head[0].values if name not in taken]
    if wanted == (NONE,) and NONE not in free:
        return TimeColumns({}, (STEPS,))
    if len(wanted) > 1:
        return _asked(head, wanted)
    known = [name for name in free if _plain(name) in TIME_NAMES]
    known = list(wanted) or sorted(known, key=lambda name: TIME_NAMES.index(_plain(name)))
    dated = _dated(head, known + (free if not wanted else []), known)
    if not wanted:
        parts = _parts(head, free)
        if parts and (not dated or _plain(dated[0]) in ("month", "week", "day", "year")):
            return parts
    if dated:
        one = TimeColumns({dated[0]: "stamp"}, dated[1])
        return one if wanted else _with_clock(head, one, free, ids)
    counters = known or [name for name in free if _plain(name) in COUNTER_NAMES]
    for name in counters:
        if _counts(head, name, ids, bool(wanted)):
            note = f"Column '{name}' counts the rows: there is no calendar."
            return TimeColumns({name: "stamp"}, (COUNTER,), note)
        if _rises_evenly(head, name):
            note = f"Column '{name}' rises evenly with the rows: there is no calendar."
            return TimeColumns({name: "stamp"}, (STEPS,), note)
    if known:
        raise bad_stamp(head[0].where, known[0], text_of(head[0], known[0]))
    _refuse_unread(head, free)
    note = (
        "No column holds dates or times: the rows were taken one after the other, without "
        "calendar; name the time with --time-column if it is there."
    )
    return TimeColumns({}, (STEPS,), note)


def looks_like_clock(head: Sequence[Row], name: str, share: float = 0.9) -> str:
    """The role of a column that holds hours or clock times; "" where it holds anything else.

    Args:
        head: the first rows.
        name: of the column.
        share: of the cells that must fit.
    """
    cells = [cell for row in head if (cell := text_of(row, name))]
    for role in ("clock", "hour", "hhmm", "hhmmss"):
        fits = cells and (clock_seconds(cells, role) != NAT).mean() >= share
        if fits and (role == "clock" or _plain(name) in _CLOCKS):
            return role
    return ""


def _dated(
    head: list[Row], names: list[str], known: list[str]
) -> tuple[str, tuple[str, ...]] | None:
    for name in names:
        cells = [cell for row in head[:50] if (cell := text_of(row, name))]
        formats, share = stamp_formats(cells)
        counted = formats == ("%Y",) and _plain(name) in COUNTER_NAMES
        if share == 1 and not NUMBER.fullmatch(cells[0]) or share and name in known and not counted:
            return name, formats
    return None


def _asked(head: list[Row], wanted: tuple[str, ...]) -> TimeColumns:
    """The roles of columns that were named together."""
    roles, formats = {}, ("ISO8601",)
    for name in wanted:
        cells = [cell for row in head[:50] if (cell := text_of(row, name))]
        role = _part_role(name, cells) or looks_like_clock(head, name, 0.5)
        ways, share = stamp_formats(cells) if not role else ((), 0.0)
        if not role and not share:
            raise bad_stamp(head[0].where, name, text_of(head[0], name))
        roles[name], formats = role or "date", ways or formats
    missing = "date" not in roles.values() and not {"year"} & set(roles.values())
    if missing or len(set(roles.values())) < len(roles):
        found = ", ".join(f"'{name}' as {role}" for name, role in roles.items())
        raise DataError(
            f"{head[0].file}: --time-column {','.join(wanted)}: read were {found}; name a date and "
            "a clock time, or year, month, day, hour..., each once."
        )
    return TimeColumns(roles, formats)


def _parts(head: list[Row], free: list[str]) -> TimeColumns | None:
    """Year, month, day, hour... in columns of their own."""
    roles: dict[str, str] = {}
    for name in free:
        role = _part_role(name, [cell for row in head if (cell := text_of(row, name))])
        if (not role or role in roles.values()) and _plain(name) in _CLOCKS:
            role = looks_like_clock(head, name)
        if role and role not in roles.values():
            roles[name] = role
    found = set(roles.values())
    if "year" not in found or not found & {"month", "quarter", "week", "doy"}:
        return None
    order = [*_PARTS, *_CLOCK_ROLES]
    roles = _without_gaps(roles)
    roles = dict(sorted(roles.items(), key=lambda pair: order.index(pair[1])))
    return TimeColumns(roles, ("ISO8601",), _joined_note(roles))


def _without_gaps(roles: dict[str, str]) -> dict[str, str]:
    """Without parts whose larger part is missing, such as minutes without hours."""
    kept: set[str] = set()
    for role in (*_PARTS, *_CLOCK_ROLES):
        if role in roles.values() and (role not in _NEEDS or kept & _NEEDS[role]):
            kept.add(role)
    for role, others in _INSTEAD.items():
        kept -= others if role in kept else set()
    return {name: role for name, role in roles.items() if role in kept}


def _with_clock(
    head: list[Row], dated: TimeColumns, free: list[str], ids: tuple[str, ...]
) -> TimeColumns:
    """The date with the clock time of another column, where there is one."""
    date = next(iter(dated.roles))
    texts, readings = dated.read(head, 0)
    if (readings.max(0) % 86400 != 0).any() or dated.formats[0] in ("%Y", "%Y%m", "epoch"):
        return dated
    keys = [tuple(text_of(row, name) for name in ids) for row in head]
    repeated = len(set(zip(keys, texts, strict=True))) < len(head)
    for name in free:
        role = looks_like_clock(head, name) if name != date else ""
        if not role or not (repeated or (role == "clock" and _plain(name) == "time")):
            continue
        roles = {date: "date", name: role}
        if role == "hour":
            for part in ("minute", "second"):
                more = [n for n in free if _part_role(n, [text_of(row, n) for row in head]) == part]
                roles |= dict.fromkeys(more[:1], part)
        joined = TimeColumns(roles, dated.formats, _joined_note(roles))
        if _plain(name) in _CLOCKS or _tells_apart(head, joined, keys, name):
            return joined
    return dated


def _tells_apart(
    head: list[Row], joined: TimeColumns, keys: list[tuple[str, ...]], name: str
) -> bool:
    """Tells whether the clock times of a column make all stamps different: opening hours do not."""
    stamps = set(zip(keys, joined.read(head, 0)[0], strict=True))
    clocks = {text_of(row, name) for row in head}
    return len(stamps) == len(head) and len(clocks) >= MIN_CLOCKS


def _joined_note(roles: dict[str, str]) -> str:
    return f"Columns {name_list([repr(name) for name in roles])} were joined to the time."


def _part_role(name: str, cells: Sequence[str]) -> str:
    """The part of a date that a column is by its name, if its cells fit; "" otherwise."""
    role = next((role for role, names in _PARTS.items() if _plain(name) in names), "")
    if not role or not cells:
        return ""
    low, high = _LIMITS[role]
    numbers = _part_numbers(cells, role)
    return role if ((numbers >= low) & (numbers <= high)).mean() >= 0.9 else ""


def _part_numbers(cells: Sequence[str], role: str) -> np.ndarray:
    """Parts of dates as numbers ``<int64>[rows]``, months by name too; -1 where they are none."""
    if role == "month":
        starts = [cell[:3].lower() for cell in cells]
        cells = [
            str(_MONTHS.index(start) + 1) if start in _MONTHS else cell
            for start, cell in zip(starts, cells, strict=True)
        ]
    numbers = stamp_seconds(cells, COUNTER)
    return np.where(numbers == NAT, -1, numbers)


def _date(parts: dict[str, int]) -> str:
    """A date of its parts as ISO 8601; "" where there is no such day."""
    year = parts["year"]
    if min(parts.values()) < 0 or not 1 <= year <= 9999:
        return ""
    if "week" in parts:
        try:
            return date.fromisocalendar(year, parts["week"], 1).isoformat()
        except ValueError:
            return ""
    if "doy" in parts:
        return str(np.datetime64(f"{year:04}-01-01") + (parts["doy"] - 1))
    month = parts.get("month", 3 * parts.get("quarter", 1) - 2)
    return f"{year:04}-{month:02}-{parts.get('day', 1):02}"


def _counts(head: list[Row], name: str, ids: tuple[str, ...], asked: bool) -> bool:
    """Tells whether a column counts on from row to row, within each series."""
    cells = [text_of(row, name) for row in head]
    numbers = stamp_seconds(cells, COUNTER)
    if (numbers == NAT).any():
        return False
    if asked:
        return True
    keys = [tuple(text_of(row, name) for name in ids) for row in head]
    last, gaps = {}, []
    for key, number in zip(keys, numbers.tolist(), strict=True):
        if key in last:
            gaps.append(number - last[key])
        last[key] = number
    if not gaps:
        return len(head) == 1
    usual = max(set(gaps), key=gaps.count)
    return usual > 0 and gaps.count(usual) >= 0.8 * len(gaps)


def _rises_evenly(head: list[Row], name: str) -> bool:
    """Tells whether a column holds seconds or the like since the first row, as decimals."""
    cells = [number_cell(text_of(row, name)) for row in head]
    if len(cells) < 3 or not all(cell and cell.point is not None for cell in cells):
        return False
    gaps = np.diff([cell.point for cell in cells])
    return bool(gaps.min() > 0 and np.ptp(gaps) < 0.01 * gaps.mean())


def _refuse_unread(head: list[Row], free: list[str]) -> None:
    """Refuses a table in which some column may hold the time in a way that is not read."""
    for name in free:
        cells = [text_of(row, name) for row in head]
        if (
            not any(cell and is_number(cell) for cell in cells)
            and len(set(cells)) > 0.9 * len(cells)
            and any(cells)
        ):
            raise DataError(
                f"{head[0].file}: no column holds dates or times; the columns are "
                f"{name_list(list(head[0].values))}; name the stamps' with --time-column, or add "
                "--time-column none if the rows simply follow one another."
            )


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_").replace("/", "_")
