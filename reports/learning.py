"""Learning curves: what a training made of the loss and the metric, epoch by epoch."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from models.metric import Metric
from reports.axes import WIDE, Frame, Scale, count_scale, fitted, score_text
from reports.charts import WIDTH
from reports.drawing import Drawing, Style
from reports.page import escape, paragraph, svg_figure

History = list[dict[str, float]]
EPOCH, MINUTES = "epoch", "minutes"
# A metric that is an exponential is drawn on a logarithmic axis from this ratio on.
STEEP = WIDE / 10
MOST_TEXTS = 12


def read_history(path: Path) -> History:
    """The complete rows of ``history.csv``; none if there is no such file."""
    rows: History = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                rows.append({key: float(value) for key, value in row.items()})
    except (OSError, ValueError, TypeError):
        pass  # a running training may have written half a row
    return rows


def with_exponentials(history: History, metric: Metric | None) -> History:
    """The same rows with a metric that is the exponential of a logged value, where it is one."""
    if metric is None or not metric.exponential_of:
        return history
    logged, name = metric.exponential_of, metric.name
    rows = [dict(row) for row in history]
    for row in rows:
        for part in ("", "val_"):
            value = row.get(f"{part}{logged}", math.nan)
            if value < 700:  # of more it is no number
                row[f"{part}{name}"] = math.exp(value)
    return rows


def learning_curves(
    history: History,
    metric: str,
    mode: str,
    kept: int,
    baseline: float | None = None,
    timed: bool = False,
) -> Drawing | None:
    """Curves of loss and metric, on training and validation data, over epochs counted from 1.

    Args:
        history: rows from ``read_history``.
        metric: name of the metric in the history; "loss" draws only the loss.
        mode: "max" if higher values of the metric are better, "min" if lower values are.
        kept: epoch whose weights the model has.
        baseline: the baseline's metric on validation data, if known.
        timed: whether the second curve is the metric again, over minutes, in place of the loss.

    Returns:
        The drawing; None if the history has no values.
    """
    names = [name for name in dict.fromkeys([metric, "loss"]) if _values(history, name)]
    panels = [(name, EPOCH) for name in names]
    if timed and metric in names and _values(history, metric, MINUTES):
        panels = [(metric, EPOCH), (metric, MINUTES)]
    if not panels:
        return None
    drawing = Drawing(WIDTH, 350, "learning curves")
    width = (WIDTH - 70 * len(panels)) / len(panels)
    for i, (name, by) in enumerate(panels):
        seen = [value for part in (name, f"val_{name}") for _, value in _values(history, part)]
        other = baseline if name == metric else None
        near = other is not None and _near(other, seen)
        steep = timed and min(seen) > 0 and max(seen) / min(seen) > STEEP
        scale = fitted([*seen, other] if near else seen, log=steep, room=0.08)
        across = _across(history, by)
        frame = Frame(58 + i * (width + 70), 46, width - 10, 240, across, scale)
        frame.draw(drawing, name.replace("_", " "), by)
        if near:
            y = frame.down(scale.position(other))
            drawing.line([(frame.left, y), (frame.left + frame.width, y)],
                        Style("muted", width=1.5, dash=(6, 4)))  # fmt: skip
            drawing.text((frame.left + frame.width, y - 6), f"baseline {score_text(other)}",
                        anchor="end", halo=True)  # fmt: skip
        _lines(drawing, frame, history, (name, by), kept)
    _legend(drawing, kept, bool(_values(history, f"val_{panels[0][0]}")))
    return drawing


def _across(history: History, by: str) -> Scale:
    if by == EPOCH:
        return count_scale(int(history[-1]["epoch"]) + 1)
    return Scale(0.0, 1.02 * max(_times(history)) or 1.0)


def _lines(
    drawing: Drawing, frame: Frame, history: History, panel: tuple[str, str], kept: int
) -> None:
    name, by = panel
    places = dict(zip([row["epoch"] + 1 for row in history], _times(history), strict=True))
    at = kept if by == EPOCH else places.get(kept, math.nan)
    if math.isfinite(at):
        x = frame.across(frame.x.position(at))
        drawing.line([(x, frame.top), (x, frame.top + frame.height)], Style("line", dash=(2, 3)))
    for part, color, width in ((name, "secondary", 1.8), (f"val_{name}", "accent", 2.4)):
        points = _values(history, part, by)
        if len(points) > 1:
            drawing.line([frame.at(*point) for point in points], Style(color, width=width))
        for place, value in points:
            best = part == f"val_{name}" and place == at
            look = Style("background", "best", 1.5) if best else Style("", color)
            where = f"epoch {place:g}" if by == EPOCH else f"{place:.1f} minutes"
            tip = f"{where}: {part} {score_text(value)}"
            drawing.circle(frame.at(place, value), 5 if best else 2.5, look, tip=tip)


def _legend(drawing: Drawing, kept: int, validated: bool) -> None:
    x, y = 58.0, 334.0
    shown = [("training", Style("secondary", width=2))]
    shown += [("validation", Style("accent", width=2.4))] if validated else []
    for word, look in shown:
        drawing.line([(x, y - 4), (x + 24, y - 4)], look)
        drawing.text((x + 31, y), word, "foreground")
        x += 110
    drawing.circle((x + 6, y - 4), 5, Style("background", "best", 1.5))
    drawing.text((x + 18, y), f"kept: epoch {kept}", "foreground")


def _times(history: History) -> list[float]:
    """Minutes from the beginning to the end of each epoch; NaN from one on that was not timed."""
    return [seconds / 60 for seconds in accumulate(row.get("seconds", math.nan) for row in history)]


def _values(history: History, name: str, by: str = EPOCH) -> list[tuple[float, float]]:
    found = [
        (row["epoch"] + 1 if by == EPOCH else minutes, row[name])
        for row, minutes in zip(history, _times(history), strict=True)
        if name in row and "epoch" in row
    ]
    return [point for point in found if all(map(math.isfinite, point))]


def _near(value: float, seen: Sequence[float]) -> bool:
    """Whether an axis can include a value without flattening the curves on it."""
    low, high = min(seen), max(seen)
    space = (high - low) or abs(high) or 1.0
    return math.isfinite(value) and low - space <= value <= high + space


def curves(history: History, result: Mapping[str, Any], main: Metric | None) -> list[str]:
    """HTML of a run's learning curves, and what they say.

    Args:
        history: rows from ``read_history``.
        result: content of ``metrics.json``, as far as there is any.
        main: the task's metric, if known.
    """
    if not history:
        return []
    history = with_exponentials(history, main)
    metric, mode = (main.name, main.mode) if main else ("loss", "min")
    if f"val_{metric}" not in history[0]:
        named = [key[4:] for key in history[0] if key.startswith("val_") and key != "val_loss"]
        metric, mode = (named[0], "max") if named and main is None else ("loss", "min")
    scores = _values(history, f"val_{metric}")
    pick = max if mode == "max" else min
    kept = result.get("best_epoch") or (
        int(pick(scores, key=lambda point: point[1])[0]) if scores else len(history)
    )
    other = ((result.get("baseline") or {}).get("validation") or {}).get(metric)
    exponential = main is not None and main.name == metric and bool(main.exponential_of)
    drawing = learning_curves(history, metric, mode, kept, other, timed=exponential)
    if drawing is None:
        return []
    text = _caption(history, kept)
    if exponential:
        text += f" Training's {metric} is that of its loss: with dropout, and whatever else it has."
    return [paragraph(text), svg_figure(drawing)]


def _caption(history: History, kept: int) -> str:
    text = f"The weights of epoch {kept} of {len(history)} were kept."
    if kept == len(history) and len(history) > 1:
        return text + " The last epoch was the best: longer training may help."
    ends = [_values(history, name)[-1:] for name in ("loss", "val_loss")]
    at = [[v for e, v in _values(history, n) if e == kept] for n in ("loss", "val_loss")]
    seen = [value for _, value in _values(history, "val_loss")]
    if all(ends) and all(at) and ends[0][0][1] < at[0][0]:
        rise = ends[1][0][1] - at[1][0]
        if rise > 0.1 * (max(seen) - min(seen)):
            return text + (
                " After it the training loss still falls and the validation loss rises: from "
                "there on the model memorises its training examples."
            )
    return text


def written_texts(path: Path) -> list[str]:
    """HTML of the texts that a model wrote after its epochs, at most ``MOST_TEXTS`` of them.

    Args:
        path: of ``samples.jsonl``; nothing is shown where there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line]
    except (OSError, ValueError):
        return []
    if not rows:
        return []
    last = len(rows) - 1
    shown = sorted({round(i * last / (MOST_TEXTS - 1)) for i in range(MOST_TEXTS)})
    return [
        paragraph("The same beginning and the same seed after each epoch."),
        *(
            f"<h3>epoch {escape(rows[i]['epoch'])}</h3>\n"
            f"<pre>{escape(rows[i]['text'] + rows[i]['continuation'])}</pre>\n"
            for i in shown
        ),
    ]
