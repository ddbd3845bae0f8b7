"""The picture of the README: the learning curve of a run, with its baseline.

python docs/picture.py runs/sentiment-1 docs/sentiment.png
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import MaxNLocator, PercentFormatter  # noqa: E402

MODEL, TRAIN, BASELINE, KEPT = "#1f5fa8", "#9bb8d8", "#c2571a", "#666666"
TRAIN_TEXT = "#5b7fa8"  # of the same hue, dark enough to read


def main() -> None:
    """Reads the run and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="directory of a finished run")
    parser.add_argument("picture", type=Path, help="png or svg file to write")
    options = parser.parse_args()
    with (options.run / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    metrics = json.loads((options.run / "metrics.json").read_text(encoding="utf-8"))
    figure = learning_curve(rows, metrics)
    figure.savefig(options.picture, dpi=110, facecolor="white")


def learning_curve(rows: list[dict[str, float]], metrics: dict) -> plt.Figure:
    """Accuracy on the left, loss on the right, over epochs counted from 1.

    Args:
        rows: of ``history.csv``.
        metrics: of ``metrics.json``.
    """
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    epochs = [int(row["epoch"]) + 1 for row in rows]

    left.set_title("accuracy", loc="left", fontweight="bold")
    scores = [row["val_accuracy"] for row in rows]
    learnt = [row["accuracy"] for row in rows]
    baseline = metrics["baseline"]["validation"]["accuracy"]
    kept = metrics["best_epoch"]
    left.plot(epochs, learnt, "o-", color=TRAIN, lw=2)
    left.plot(epochs, scores, "o-", color=MODEL, lw=2)
    left.axhline(baseline, color=BASELINE, ls="--", lw=1.5)
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    low, high = min(*scores, *learnt, baseline), max(*scores, *learnt, baseline)
    room = max(high - low, 0.02)
    left.set_ylim(low - 0.2 * room, high + 0.15 * room)
    left.annotate(
        "training", (epochs[-1], learnt[-1]), xytext=(0, -7), textcoords="offset points",
        ha="right", va="top", color=TRAIN_TEXT,
    )  # fmt: skip
    left.annotate(
        f"validation, kept: epoch {kept}, {scores[kept - 1]:.1%}",
        (kept, scores[kept - 1]), xytext=(0, 9), textcoords="offset points",
        color=MODEL, ha="left" if kept < len(rows) * 0.7 else "right",
    )  # fmt: skip
    left.annotate(
        f"bag-of-words baseline on validation, {baseline:.1%}",
        (epochs[-1], baseline), xytext=(0, -6), textcoords="offset points",
        ha="right", va="top", color=BASELINE,
    )  # fmt: skip

    right.set_title("loss, sum of both paths", loc="left", fontweight="bold")
    for name, label, color in (("loss", "training", TRAIN), ("val_loss", "validation", MODEL)):
        values = [row[name] for row in rows]
        right.plot(epochs, values, "o-", color=color, lw=2)
        right.annotate(
            label, (epochs[-1], values[-1]), xytext=(0, 9), textcoords="offset points",
            ha="right", color=color if color == MODEL else TRAIN_TEXT,
        )  # fmt: skip
    right.set_ylim(0, 1.12 * max(max(row["loss"], row["val_loss"]) for row in rows))
    for axes in (left, right):
        axes.axvline(kept, color=KEPT, lw=0.8, ls=":")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#e4e4e4", lw=0.8)
        axes.set_axisbelow(True)
    return figure


if __name__ == "__main__":
    main()
