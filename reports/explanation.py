"""An explanation of one answer: its numbers, and its look in a notebook, a page, a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.axes import number
from reports.drawing import Drawing, css
from reports.explanation_charts import (
    LayerStates,
    grid_drawing,
    layer_drawings,
    series_drawing,
    text_drawing,
)
from reports.page import Html, escape, facts, page, paragraph, svg_figure, table

MOST_ROWS = 12  # of the table of what counted most


@dataclass(frozen=True)
class Explanation:
    """Which parts of an input moved one number of its answer, and by how much.

    Attributes:
        task: its name.
        input: the input in short.
        answer: a line that a person can read.
        target: the number in words.
        view: "text", "series", "sound" or "roll".
        steps: names of the steps of the input.
        columns: names of what there is at each step; empty for text.
        attributions: ``<float>[steps]``, or ``[steps, columns]``.
        values: ``<float>[steps, columns]``; None for text.
        parts: sum of the attributions by path of the model.
        score: the number.
        baseline_score: the number at the baseline.
        baseline: in words what the input is compared with.
        residual: what all attributions miss of the difference of the two.
        points: of the integral.
        complete: whether the residual is small enough.
        layers: the states of the recurrent layers.
        joint: what stands between steps of a text.
        notes: sentences to read with it.
    """

    task: str
    input: str
    answer: str
    target: str
    view: str
    steps: Sequence[str]
    columns: Sequence[str]
    attributions: np.ndarray
    values: np.ndarray | None
    parts: Mapping[str, float]
    score: float
    baseline_score: float
    baseline: str
    residual: float
    points: int
    complete: bool
    layers: Sequence[LayerStates] = ()
    joint: str = " "
    notes: Sequence[str] = ()

    @property
    def by_step(self) -> np.ndarray:
        """``<float>[steps]``."""
        each = self.attributions
        return each if each.ndim == 1 else each.sum(1)

    def check(self) -> str:
        """The sentence about completeness."""
        difference = self.score - self.baseline_score
        held = "" if self.complete else " It is not complete: read the shares with care."
        return (
            f"Integrated gradients with {self.points} points: attributions sum to "
            f"{difference - self.residual:.4g}, the score {self.score:.4g} less that of the "
            f"baseline {self.baseline_score:.4g} is {difference:.4g}; they miss it by "
            f"{abs(self.residual):.2g}.{held} Baseline: {self.baseline}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "input": self.input,
            "answer": self.answer,
            "target": self.target,
            "steps": list(self.steps),
            "columns": list(self.columns),
            "attributions": np.round(self.attributions, 8).tolist(),
            "parts": dict(self.parts),
            "score": self.score,
            "baseline_score": self.baseline_score,
            "baseline": self.baseline,
            "residual": self.residual,
            "points": self.points,
            "complete": self.complete,
            "layers": [one.to_dict() for one in self.layers],
            "notes": list(self.notes),
        }

    def drawing(self) -> Drawing:
        """The input with its attributions."""
        if self.view == "text":
            return text_drawing(self.steps, self.by_step, self.target)
        if self.view == "series":
            return series_drawing(
                self.steps, self.columns, self.values, self.attributions, self.target
            )
        return grid_drawing(
            self.steps, self.columns, self.values, self.attributions, self.target, self.view
        )

    def _repr_html_(self) -> str:
        return f"<style>{css('svg.chart')}</style>{''.join(self.fragment())}"

    def fragment(self) -> list[str]:
        """HTML parts of a page that includes the colours of ``reports.drawing``."""
        shares = {name: f"{value:+.3g}" for name, value in self.parts.items()}
        head = facts([
            (self.target, number(round(self.score, 4)), f"baseline {self.baseline_score:.4g}"),
            *((f"through the {name}", value, _share(self.parts, name))
              for name, value in shares.items() if len(shares) > 1),
        ])  # fmt: skip
        parts = [paragraph(self.answer), head, *(paragraph(note, "note") for note in self.notes)]
        if self.view == "text":
            parts.append(coloured_text(self.steps, self.by_step, self.joint))
        else:
            parts.append(svg_figure(self.drawing()))
        parts += [paragraph(self.check()), table(self.strongest())]
        for layer in self.layers:
            share = " and ".join(f"{one:.0%}" for one in layer.variance)
            parts.append(f"<h3>States of {escape(layer.name)}</h3>")
            parts.append(paragraph(
                f"The states of its {len(layer.steps)} steps on their first two principal "
                f"components, which hold {share} of their variance; and the share of units "
                "whose gate is in the lowest or highest tenth of its range at each step."
            ))  # fmt: skip
            parts += [svg_figure(one) for one in layer_drawings(layer)]
        return parts

    def strongest(self, count: int = MOST_ROWS) -> list[dict[str, Any]]:
        """Rows of what counted most, the strongest first."""
        flat = np.abs(self.attributions).ravel()
        total = float(flat.sum()) or 1.0
        rows = []
        for place in np.argsort(-flat, kind="stable")[:count]:
            where = np.unravel_index(place, self.attributions.shape)
            row: dict[str, Any] = {"step": self.steps[where[0]]}
            if self.columns:
                row["column"] = self.columns[where[1]]
            if self.values is not None:
                row["value"] = float(self.values[where])
            row["attribution"] = float(self.attributions[where])
            row["share"] = f"{flat[place] / total:.1%}"
            rows.append(row)
        return rows


def _share(parts: Mapping[str, float], name: str) -> str:
    total = sum(abs(value) for value in parts.values()) or 1.0
    return f"{abs(parts[name]) / total:.0%} of what moved it"


def coloured_text(steps: Sequence[str], each: np.ndarray, joint: str = " ") -> Html:
    """A text whose tokens are coloured: blue for the answer, orange against it.

    Args:
        steps: tokens.
        each: ``<float>[tokens]``.
        joint: what stands between them.
    """
    most = float(np.abs(each).max(initial=0)) or 1.0
    spans = []
    for step, value in zip(steps, each, strict=True):
        colour = "31,95,168" if value > 0 else "194,65,12"
        shade = 0.65 * abs(value) / most
        style = f"background:rgba({colour},{shade:.2f});border-radius:3px;padding:1px 2px"
        shown = escape(step).replace("\n", "↵\n")
        spans.append(f'<span style="{style}" title="{value:+.4g}">{shown}</span>')
    style = "font-size:17px;line-height:1.9;max-width:80ch;white-space:pre-wrap"
    return Html(f'<p style="{style};overflow-wrap:anywhere">{joint.join(spans)}</p>\n')


def explanation_page(found: Sequence[Explanation], run: str) -> str:
    """The HTML document of some explanations.

    Args:
        found: at least one, all of one run.
        run: where it is.
    """
    about = (
        "Blue moved the answer towards what is explained, orange away from it; integrated "
        "gradients (Sundararajan et al. 2017)."
    )
    names = [one.input if len(one.input) < 60 else f"{one.input[:57]}..." for one in found]
    sections = [(name or "(empty)", one.fragment()) for name, one in zip(names, found, strict=True)]
    return page("Seqloom explanation", f"{found[0].task}: {run}", about, [], sections)


def explanation_csv(found: Sequence[Explanation]) -> str:
    """A row for each input, step and column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["input", "target", "step", "name", "column", "value", "attribution"])
    for i, one in enumerate(found, 1):
        each = one.attributions[:, None] if one.attributions.ndim == 1 else one.attributions
        for t, name in enumerate(one.steps):
            for c, column in enumerate(one.columns or ("",)):
                value = "" if one.values is None else f"{one.values[t, c]:.9g}"
                row = [i, one.target, t + 1, name, column, value, f"{each[t, c]:.9g}"]
                writer.writerow(row)
    return text.getvalue()
