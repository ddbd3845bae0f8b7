"""Anomalies marked on the columns that they are in, and answers as a csv."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.anomaly_causes import causing, shares
from pipelines.anomaly_detection import SeriesExample
from pipelines.answer_files import AskedFile, beside, write_answer_rows
from pipelines.frequency import Frequency
from pipelines.responses import Responses
from pipelines.series import Series
from reports.axes import Frame, Scale, counted, fitted
from reports.drawing import Drawing, Style, shortened
from reports.plots import seconds_of, time_scale

MAX_SERIES = 8  # that are drawn
LARGE = 6  # columns that are drawn large; the others are small
WIDTH, LEFT, RIGHT = 900.0, 58.0, 18.0
HEIGHT, GAP = 96.0, 34.0  # of a large panel, and from one to the next
ACROSS, SMALL, SMALL_GAP = 4, 30.0, 24.0  # small panels in a row, their height and gap
LOWEST = 0.05  # score at the lower end of its axis

# A run of rows, the last one included.
Span = tuple[int, int]


@dataclass(frozen=True)
class Detected:
    """A series and what a detector found.

    Attributes:
        series: all of its columns are drawn.
        score: ``<float>[time]``, 1 at the threshold.
        anomaly: whether a row is one, ``<bool>[time]``.
        alarm: whether a row raises an alarm, ``<bool>[time]``.
        share: of each column in the score, ``<float>[time, columns]``; None if it is not known.
        first: row that is the first to be judged.
    """

    series: Series
    score: np.ndarray
    anomaly: np.ndarray
    alarm: np.ndarray
    share: np.ndarray | None = None
    first: int = 0

    @property
    def marks(self) -> np.ndarray:
        """Which columns are to blame if a row is an anomaly: ``<bool>[time, columns]``."""
        if self.share is None:
            return np.ones((len(self.series), len(self.series.columns)), bool)
        return causing(self.share)

    @property
    def order(self) -> np.ndarray:
        """The columns: those first that are first to blame for most alarms, then the others by
        their share in anomalous rows. ``<int>[columns]``."""
        if self.share is None:
            return np.arange(len(self.series.columns))
        judged = np.arange(len(self.series)) >= self.first
        shared = self.share[judged & (self.anomaly | self.alarm)].sum(0)
        return np.lexsort((-shared, -self.blamed))

    @property
    def blamed(self) -> np.ndarray:
        """For how many alarms each column is the first to blame: ``<int>[columns]``."""
        count = len(self.series.columns)
        if self.share is None:
            return np.zeros(count, int)
        return np.bincount(self.share[self.alarms].argmax(-1), minlength=count)

    @property
    def alarms(self) -> np.ndarray:
        """The rows that raise an alarm, of those that are judged: ``<int>[alarms]``."""
        rows = np.flatnonzero(self.alarm)
        return rows[rows >= self.first]


def draw_detections(
    outputs: Responses,
    examples: Sequence[SeriesExample],
    raised: Sequence[np.ndarray],
    directory: Path,
) -> list[str]:
    """Writes ``anomalies_<series>.png`` for the first series.

    Args:
        outputs: of the detector.
        examples: whole series.
        raised: the rows of each that raise an alarm, ``<bool>[time]``.
        directory: where to.
    """
    names = []
    for i, one in enumerate(examples[:MAX_SERIES]):
        share = shares(outputs["contribution"][i]) if "contribution" in outputs else None
        found = Detected(
            one.series, outputs["score"][i], outputs["anomaly"][i] == 1, raised[i], share, one.first
        )
        name = f"anomalies_{_plain(one.series.name)}.png"
        detection_drawing(found).save_png(directory / name)
        names.append(name)
    return names


def detection_drawing(found: Detected) -> Drawing:
    """Every column of a series, the one to blame first, with its anomalies; and the score.

    Up to six columns are large. Of more, those that an alarm names are, and the others are small.
    """
    columns = len(found.series.columns)
    named = int((found.blamed > 0).sum())
    large = columns if columns <= LARGE else min(max(named, 2), LARGE)
    small = -(-(columns - large) // ACROSS)
    below = 30 + (large + 1) * (HEIGHT + GAP)
    drawing = Drawing(
        WIDTH, below + 20 + small * (SMALL + SMALL_GAP), f"anomalies of {found.series.name}"
    )
    times = time_scale(found.series.frequency.axis(found.series.times))
    wide = WIDTH - LEFT - RIGHT
    for place, c in enumerate(found.order[:large]):
        top = 30 + place * (HEIGHT + GAP)
        _panel(drawing, found, int(c), Frame(LEFT, top, wide, HEIGHT, times, _range(found, c)))
    limits = Scale(LOWEST, max(2.0, 1.3 * float(np.max(found.score))), log=True)
    _score(drawing, found, Frame(LEFT, 30 + large * (HEIGHT + GAP), wide, HEIGHT, times, limits))
    width = (wide + RIGHT) / ACROSS
    for place, c in enumerate(found.order[large:]):
        left, top = LEFT + width * (place % ACROSS), below + 16 + place // ACROSS * (SMALL + 24)
        frame = Frame(left, top, width - RIGHT, SMALL, times, _range(found, c))
        drawing.text((left, top - 4), shortened(found.series.columns[c], 28), size=10)
        _column(drawing, found, int(c), frame, 0.7)
    return drawing


def _panel(drawing: Drawing, found: Detected, c: int, frame: Frame) -> None:
    """A large column: its name, how often it is to blame, its rows and alarms."""
    frame.draw(drawing, "", "", x_ticks=[])
    drawing.text((frame.left, frame.top - 8), found.series.columns[c], "foreground", bold=True)
    alarms = len(found.alarms)
    if found.share is not None and alarms and len(found.series.columns) > 1:
        text = f"first to blame for {found.blamed[c]} of {counted(alarms, 'alarms')}"
        at = (frame.left + frame.width, frame.top - 8)
        drawing.text(at, text, "bad" if found.blamed[c] else "muted", size=11, anchor="end")
    _column(drawing, found, c, frame, 1.0)
    moments = seconds_of(found.series.frequency.axis(found.series.times))
    for row in found.alarms[found.marks[found.alarms, c]]:
        x = frame.across(frame.x.position(moments[row]))
        tip = f"alarm at {found.series.frequency.label(found.series.times[[row]])[0]}"
        if found.share is not None:
            tip += f": {found.share[row, c]:.0%} of the score"
        edges = [(x - 5, frame.top - 2), (x + 5, frame.top - 2), (x, frame.top + 7)]
        drawing.area(edges, Style(fill="bad"), tip=tip)


def _column(drawing: Drawing, found: Detected, c: int, frame: Frame, width: float) -> None:
    """The rows of a column; in red those of anomalies that it is to blame for."""
    _background(drawing, found, frame)
    values = found.series.values[:, c]
    _rows(drawing, found, frame, values, Style("accent", width=width), [(0, len(values) - 1)])
    judged = np.arange(len(values)) >= found.first
    red = (found.anomaly | found.alarm) & judged & found.marks[:, c]
    _rows(drawing, found, frame, values, Style("bad", width=width + 1), _spans(red))


def _score(drawing: Drawing, found: Detected, frame: Frame) -> None:
    frame.draw(drawing, "", "", x_ticks=frame.x.ticks(12))
    drawing.text((frame.left, frame.top - 8), "score", "foreground", bold=True)
    drawing.text((frame.left + 44, frame.top - 8), "1 is the threshold", size=11)
    _background(drawing, found, frame)
    whole = [(0, len(found.score) - 1)]
    _rows(drawing, found, frame, found.score, Style("muted"), whole)
    y = frame.down(frame.y.position(1.0))
    drawing.line([(frame.left, y), (frame.left + frame.width, y)], Style("bad", dash=(5, 4)))


def _background(drawing: Drawing, found: Detected, frame: Frame) -> None:
    """Labelled windows, and the rows that are not judged."""
    moments = seconds_of(found.series.frequency.axis(found.series.times))

    def box(first: int, last: int, style: Style, tip: str) -> None:
        left, right = (frame.across(frame.x.position(moments[row])) for row in (first, last))
        at = (left, frame.top)
        drawing.box(at, max(1.5, right - left), frame.height, style, tip=tip)

    if found.first:
        box(0, found.first, Style(fill="muted", opacity=0.12), "not judged")
    for first, last in found.series.windows:
        box(first, last, Style(fill="shade", opacity=0.45), "labelled as an anomaly")


def _rows(
    drawing: Drawing,
    found: Detected,
    frame: Frame,
    values: np.ndarray,
    style: Style,
    spans: Sequence[Span],
) -> None:
    """A line through each span; of one row a dot."""
    moments = seconds_of(found.series.frequency.axis(found.series.times))
    for first, last in spans:
        rows = first + _outline(values[first : last + 1], int(frame.width))
        points = [frame.at(moments[row], float(values[row])) for row in rows]
        if len(points) == 1:
            drawing.circle(points[0], 1.2 * style.width, Style(fill=style.stroke))
        else:
            drawing.line(points, style)


def _outline(values: np.ndarray, width: int) -> np.ndarray:
    """Rows that draw the same line on so many pixels: the lowest and the highest of each pixel."""
    if len(values) <= 3 * width:
        return np.arange(len(values))
    rows = []
    for part in np.array_split(np.arange(len(values)), width):
        rows += sorted({part[values[part].argmin()], part[values[part].argmax()]})
    return np.array(rows)


def _spans(flags: np.ndarray) -> list[Span]:
    """First and last row of each run of flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def _range(found: Detected, c: int) -> Scale:
    values = found.series.values[:, c]
    return fitted([float(values.min()), float(values.max())])


def write_detections(
    raw: Sequence[dict[str, Any]],
    answers: Sequence[dict[str, Any]],
    path: Path,
    asked: AskedFile | None = None,
) -> list[Path]:
    """Writes the rows and what they were found to be, and a png beside it.

    Args:
        raw: series.
        answers: to them.
        path: of a csv, tsv or jsonl file.
        asked: the file that the series are of. Its rows are written as they are there, with
            ``score,anomaly,alarm,cause,<column>_share...,<column>_expected...`` after their own
            columns; a row that was not used has none. Without it a row is ``series,time,score,
            anomaly,alarm,cause,<column>_share...,<column>,<column>_expected...``. Cause and shares
            are empty where there is no anomaly; old bundles do not know them.
    """
    names = list(answers[0]["expected"])
    found = [row for pair in zip(raw, answers, strict=True) for row in _judged_rows(*pair)]
    lines = asked.by_line if asked else {}
    if lines and all(line in lines for line, _ in found):
        of_line = dict(found)
        rows = [beside(columns, of_line.get(line, {})) for line, columns in lines.items()]
    else:
        places = (place for pair in zip(raw, answers, strict=True) for place in _places(*pair))
        rows = [beside(*pair) for pair in zip(places, (row for _, row in found), strict=True)]
    write_answer_rows(path, rows)
    picture = path.with_suffix(".png")
    detection_drawing(_detected(raw[0], answers[0], names)).save_png(picture)
    return [path, picture]


def _detected(one: dict[str, Any], answer: dict[str, Any], names: Sequence[str]) -> Detected:
    values = np.asarray(one["values"], np.float32)
    times = np.asarray(one.get("time", np.arange(len(values))), np.int64)
    counter = "times" not in answer or not isinstance(answer["times"][0], str)
    step = Frequency(1, counter=counter)  # only tells whether the axis has dates
    alarm = np.zeros(len(values), bool)
    alarm[answer["alarms"]] = True
    return Detected(
        Series(answer["series"], times, values, tuple(names), step),
        np.array(answer["score"]), np.array(answer["anomaly"]) == 1, alarm, _share(answer),
    )  # fmt: skip


def _share(answer: dict[str, Any]) -> np.ndarray | None:
    """Of each column in each row: ``<float>[time, columns]``."""
    if "contribution" not in answer:
        return None
    return shares(np.array(list(answer["contribution"].values()), float).T)


def _judged_rows(
    one: dict[str, Any], answer: dict[str, Any]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line in its file of each row of a series, -1 if it has none, and what was found."""
    alarms, lines, share = set(answer["alarms"]), one.get("lines"), _share(answer)
    names = list(answer["expected"])
    for i, score in enumerate(answer["score"]):
        row = {"score": _rounded(score), "anomaly": answer["anomaly"][i], "alarm": int(i in alarms)}
        if share is not None:
            shown = row["anomaly"] or row["alarm"]
            order = [c for c in np.argsort(-share[i], kind="stable") if causing(share[i])[c]]
            row["cause"] = "; ".join(names[c] for c in order) if shown else None
            row |= {
                f"{name}_share": round(float(part), 4) if shown else None
                for name, part in zip(names, share[i], strict=True)
            }
        expected = {f"{name}_expected": _rounded(v[i]) for name, v in answer["expected"].items()}
        yield (-1 if lines is None else int(lines[i])), {**row, **expected}


def _places(one: dict[str, Any], answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Series, time and values of each row."""
    times = answer.get("times", range(1, len(answer["score"]) + 1))
    for time, values in zip(times, one["values"], strict=True):
        row = {"series": answer["series"], "time": time}
        yield {**row, **dict(zip(answer["expected"], map(_rounded, values), strict=True))}


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
