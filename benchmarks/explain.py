"""Whether explanations of a classifier say what it looks at: deletion, and randomised layers.

    seqloom train sentiment --data ../shared/data/mr --units 64 --embedding-dim 64 \\
        --epochs 4 --out RUN
    python benchmarks/explain.py --run RUN

Deletion: of each test text the fifth of its tokens that counted most is left out, by integrated
gradients, gradient times input, leaving each token out by itself (occlusion), and at random; what
the log-odds of the answered label lose is the mean over the texts with its 95 % interval.

Randomised layers (Adebayo et al. 2018, "Sanity checks for saliency maps"): from the output down the
weights of one layer after the other are shuffled; what is left of the ranking of the tokens is its
Spearman correlation. An explanation that did not depend on the model would keep it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from measuring import report
from scipy.stats import spearmanr

from models.attribution import gradients_at, integrated_gradients
from tasks.stages.console import load_run
from tasks.stages.explaining import placed
from tasks.stages.run_directory import Run

SHARE = 0.2
LAYERS = ("deep", "pooling", "gru_0", "embedding")
LINEAR = ("word_evidence", "character_evidence")


class Explained:
    """A run's model and its questions about texts, START and END left alone."""

    def __init__(self, path: Path) -> None:
        self.run = Run(path)
        self.task, self.model = self.run.task(), self.run.model()
        self.preprocessor = self.run.preprocessor()

    def question(self, text: str, target: str = ""):
        """About the answered label, or the one that is named."""
        if not target:
            tokens = self.preprocessor.encoder([text])
            answer = np.asarray(self.model({"tokens": tokens})["answer"])[0]
            target = self.preprocessor.labels[int(answer.argmax())]
        return self.task.question(self.model, self.preprocessor, text, {"label": target}, target)

    def scores(self, question, rows: list[np.ndarray]) -> np.ndarray:
        """Of rows of token ids, ``<float>[rows]``."""
        tokens = np.zeros((len(rows), max(map(len, rows))), np.int32)
        for row, values in zip(tokens, rows, strict=True):
            row[: len(values)] = values
        return np.asarray(question.score(self.model({"tokens": tokens})))


def by_method(one: Explained, question, draws: np.random.Generator) -> dict[str, np.ndarray]:
    """How much each token counts, by each method."""
    tokens = question.inputs["tokens"][0]
    without = [np.delete(tokens, i) for i in range(1, len(tokens) - 1)]
    scores = one.scores(question, [tokens, *without])
    found = {}
    for name, method in (
        ("integrated gradients", integrated_gradients), ("gradient x input", gradients_at),
    ):  # fmt: skip
        attribution = method(one.model, question.inputs, question.score)
        found[name] = placed(question, attribution)[0][1:-1]
        if name.startswith("integrated"):
            found["residual"] = np.abs(
                attribution.residual
                / max(1e-3, abs(attribution.score - attribution.baseline_score))
            )
            found["points"] = np.array(attribution.points)
    found["leave one out"] = scores[0] - scores[1:]
    found["random"] = draws.random(len(tokens) - 2)
    return found


def deletion(one: Explained, texts: list[str], seed: int = 0) -> list[dict]:
    """A row for each method."""
    draws = np.random.default_rng(seed)
    drops: dict[str, list[float]] = {}
    flips: dict[str, list[bool]] = {}
    residuals, points, began = [], [], time.process_time()
    for text in texts:
        question = one.question(text)
        tokens = question.inputs["tokens"][0]
        if len(tokens) < 7:
            continue
        counted = by_method(one, question, draws)
        residuals.append(float(counted.pop("residual")))
        points.append(int(counted.pop("points")))
        count = max(1, round(SHARE * (len(tokens) - 2)))
        rows = [np.delete(tokens, 1 + np.argsort(-each)[:count]) for each in counted.values()]
        before, *after = one.scores(question, [tokens, *rows])
        for name, score in zip(counted, after, strict=True):
            drops.setdefault(name, []).append(float(before - score))
            flips.setdefault(name, []).append(bool(score < 0))
    rows = []
    for name, each in drops.items():
        half = 1.96 * np.std(each, ddof=1) / np.sqrt(len(each))
        rows.append({
            "check": "deletion", "method": name, "texts": len(each),
            "log-odds lost": float(np.mean(each)), "+-": float(half),
            "label changes": float(np.mean(flips[name])),
        })  # fmt: skip
    rows[0] |= {"largest residual": max(residuals), "points": float(np.mean(points)),
                "CPU s a text": (time.process_time() - began) / len(points)}  # fmt: skip
    return rows


def randomised(one: Explained, texts: list[str], seed: int = 0) -> list[dict]:
    """A row for each layer, all above it being shuffled too."""
    draws = np.random.default_rng(seed)
    questions = [one.question(text) for text in texts]

    def rankings() -> list[np.ndarray]:
        return [
            placed(q, integrated_gradients(one.model, q.inputs, q.score, most_points=64))[0]
            for q in questions
        ]  # fmt: skip

    before, rows = rankings(), []
    names = [layer.name for layer in one.model.layers]
    order = [LINEAR, *((name,) for name in LAYERS if name in names)]
    for group in order:
        for name in group:
            if name not in names:
                continue
            layer = one.model.get_layer(name)
            for weight in layer.trainable_weights:
                value = np.asarray(weight)
                weight.assign(draws.permutation(value.ravel()).reshape(value.shape))
        found = [
            spearmanr(np.abs(a), np.abs(b)).statistic
            for a, b in zip(before, rankings(), strict=True)
        ]
        kept = float(np.nanmean(found))
        what = f"down to {' and '.join(group)}"
        rows.append(
            {"check": "randomised", "method": what, "texts": len(found), "rank correlation": kept}
        )
    return rows


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=100)
    options = parser.parse_args()
    one = Explained(options.run)
    examples = load_run(one.run).test
    chosen = np.random.default_rng(1).permutation(len(examples))[: options.texts]
    texts = [examples[int(i)].text for i in chosen]
    rows = deletion(one, texts)
    report("explain", rows + randomised(one, texts[:25]))


if __name__ == "__main__":
    main()
