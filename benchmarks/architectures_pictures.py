"""Pictures of what ``architectures.py`` measured.

python benchmarks/architectures_pictures.py benchmarks/results/architectures.json docs
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring import RESULTS

from reports.axes import Scale, fitted
from reports.drawing import SERIES, Drawing, Style
from reports.plots import Line, lines

NAMES = {"gru": "GRU", "lstm": "LSTM", "tcn": "TCN", "transformer": "Transformer",
         "bag of words": "bag of words"}  # fmt: skip
Row = Mapping[str, Any]


def main() -> None:
    """Reads results and writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS / "architectures.json")
    parser.add_argument("directory", type=Path, nargs="?", default=RESULTS.parents[1] / "docs")
    options = parser.parse_args()
    for name, drawing in pictures(record(options.results)["rows"]).items():
        drawing.save_png(options.directory / f"architectures_{name}.png")


def record(path: Path = RESULTS / "architectures.json") -> dict[str, Any]:
    """What ``architectures.py`` left: ``rows``, and their ``date``, ``machine`` and ``command``."""
    return json.loads(path.read_text(encoding="utf-8"))


def pictures(rows: Sequence[Row]) -> dict[str, Drawing]:
    """Every picture for which there are rows, by name."""
    costs = {
        name: (select(rows, measured=measured, batch=1), "length", "ms", ("steps", f"{title}, ms"))
        for name, measured, title in (
            ("answer", "whole sequence", "one whole sequence"),
            ("step", "step of a stream", "one more step after so many"),
        )
    }
    scores = {
        name: (select(rows, **wanted), across, "test", (what, "accuracy on test"))
        for name, wanted, across, what in (
            ("first", {"task": "first symbol"}, "length", "steps to remember one symbol for"),
            ("sum", {"task": "running sum"}, "length", "steps to keep a sum for"),
            ("sizes", {"part": "text", "data": "mr"}, "size", "sentences (mr) to train on"),
            ("lengths", {"part": "text", "data": "imdb"}, "length", "words read of a review"),
        )
    }
    return {
        name: by_architecture(chosen, across, value, axes)
        for name, (chosen, across, value, axes) in {**costs, **scores}.items()
        if len({row[across] for row in chosen}) > 1
    }


def select(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Rows with these values.

    >>> select([{"a": 1, "b": 2}, {"a": 2}], a=1)
    [{'a': 1, 'b': 2}]
    """
    return [row for row in rows if wanted.items() <= row.items()]


def by_architecture(rows: Sequence[Row], across: str, value: str, axes: tuple[str, str]) -> Drawing:
    """A line for each architecture, of means over seeds.

    Args:
        rows: of the results.
        across: key of the numbers along the logarithmic axis.
        value: key of what is drawn; "ms" on a logarithmic axis too, else a share.
        axes: titles across and up.
    """
    drawn = []
    for number, name in enumerate(NAMES):
        own = select(rows, architecture=name)
        places = sorted({row[across] for row in own})
        means = [statistics.mean(r[value] for r in own if r[across] == place) for place in places]
        style = Style(SERIES[number % len(SERIES)], width=2)
        if places:
            drawn.append(Line(NAMES[name], places, means, style, dots=True))
    heights = [height for line in drawn for height in line.y]
    if value == "ms":
        up = fitted(heights, log=True, room=0.06)
    else:
        up = Scale(min(0.5, *heights) - 0.02, max(*heights) + 0.02)
    every = [place for line in drawn for place in line.x]
    return lines(axes[1], axes, drawn, x=fitted(every, log=True, room=0.03), y=up)


if __name__ == "__main__":
    main()
