"""How much of the score's variation each hyperparameter explains.

Functional ANOVA of a random forest that predicts the score from the hyperparameters (Hutter, Hoos
& Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance"). Each leaf of
a tree is a box of hyperparameter values, so the mean prediction over all hyperparameters but one is
an exact sum over leaves, for any number of hyperparameters. Unlike in the paper, the variance is
that of the whole forest, not the mean of the trees' variances: averaging the trees first removes
the noise that single trees fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.axes import counted
from tuning.hyperparameters import Hyperparameter, hyperparameters, value_of
from tuning.leaderboard import Search, TrialRow

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.tree import DecisionTreeRegressor

MIN_TRIALS = 8
TREES = 200
GRID = 32
SAMPLES = 4096
# Scores more than this many interquartile ranges worse than the worse quartile are clipped there.
OUTLIER_RANGES = 3.0


@dataclass(frozen=True)
class Effect:
    """Main effect of one hyperparameter on the score.

    Attributes:
        name: name of the hyperparameter.
        share: share of the score's variance over the space that it explains alone, from 0 to 1.
        values: a grid from its smallest to its largest value, or all its values; None stands for
            trials where it is absent.
        scores: mean prediction at each of ``values``, over all values of the other hyperparameters.
    """

    name: str
    share: float
    values: tuple[Any, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Importance:
    """Which hyperparameters mattered.

    Attributes:
        effects: most important first; with ``interactions`` their shares make 1.
        interactions: share that no hyperparameter explains alone.
        oob_r2: out-of-bag R^2: how well the forest predicts trials that it was not trained on; 1 is
            perfect, 0 or less is no better than their mean.
        trials: number of trials that were used.
        notes: sentences about what was left out.
        missing: why there are no effects; "" if there are some.
    """

    effects: list[Effect] = field(default_factory=list)
    interactions: float = 0.0
    oob_r2: float = 0.0
    trials: int = 0
    notes: list[str] = field(default_factory=list)
    missing: str = ""


@dataclass(frozen=True)
class Levels:
    """Values of one hyperparameter to average over."""

    hyperparameter: Hyperparameter
    values: list[Any]
    weights: np.ndarray  # <float64>[levels], sums to 1
    codes: np.ndarray  # <float64>[levels, columns]


def importance(search: Search) -> Importance:
    """Importance of the hyperparameters, over the values that were tried.

    Args:
        search: the search. Its completed trials are used; in a Hyperband search, only trials with
            the same number of epochs.

    Returns:
        The importance; if it cannot be computed, ``missing`` says why.
    """
    rows, notes = comparable(search.rows)
    found = hyperparameters(search.about, rows)
    same = [h.name for h in found if not h.varied]
    if same and len(same) < len(found):
        notes.append(f"The same in all of these trials: {', '.join(same)}.")
    varied = [h for h in found if h.varied]
    scores = np.array([row.score for row in rows], float)
    missing = _why_not(scores, varied)
    if missing:
        return Importance(trials=len(rows), notes=notes, missing=missing)
    scores, clipped = _clip_outliers(scores, search.mode)
    if clipped:
        count = f"{clipped} trials" if clipped > 1 else "One trial"
        worst = scores.min() if search.mode == "max" else scores.max()
        notes.append(f"{count} scored far worse than the rest and counted as {worst:.4g}.")
    if any(h.absent for h in varied):
        notes.append(
            "If a hyperparameter does not apply to a trial, that counts as one of its values."
        )
    forest = _forest(np.array([_row_codes(varied, row) for row in rows]), scores)
    effects, interactions = variance_shares(forest, [levels_of(h, len(rows)) for h in varied])
    return Importance(effects, interactions, float(forest.oob_score_), len(rows), notes)


def comparable(rows: Sequence[TrialRow]) -> tuple[list[TrialRow], list[str]]:
    """Completed trials whose scores can be compared, and a note if others were left out.

    In Hyperband, a score after 3 epochs cannot be compared with one after 27. Rounds that train
    equally long, ``bracket - round`` halvings short of the full length, are grouped. The group with
    the longest training that has enough trials is used: at least half as many as the largest group,
    and at least 16 if the largest group has as many. So the training is long enough to be
    meaningful, and there are more trials than the few that were promoted.
    """
    done = [row for row in rows if row.state == "COMPLETED" and row.score is not None]
    if all(row.bracket is None or row.round is None for row in done):
        return done, []
    levels: dict[int, list[TrialRow]] = {}
    for row in done:
        if row.bracket is not None and row.round is not None:
            levels.setdefault(row.bracket - row.round, []).append(row)
    largest = max(map(len, levels.values()))
    enough = max(largest / 2, min(largest, 2 * MIN_TRIALS))
    kept = levels[min(level for level, group in levels.items() if len(group) >= enough)]
    epochs = max((row.epochs or 0 for row in kept), default=0)
    note = (
        f"Of the {len(done)} completed trials of this Hyperband search, only the {len(kept)} that "
        f"were trained for up to {counted(epochs, 'epochs')} are compared."
    )
    return kept, [note] if len(kept) < len(done) else []


def variance_shares(
    forest: RandomForestRegressor, levels: Sequence[Levels]
) -> tuple[list[Effect], float]:
    """Main effects, largest first, and the share of interactions.

    The main effects are exact. The rest of the forest's predictions is measured on a sample of the
    space, so that the shares add up to 1 for any sample size.
    """
    means = np.mean([_tree_means(tree, levels) for tree in forest.estimators_], axis=0)
    starts = np.cumsum([0, *(len(level.values) for level in levels)])
    parts = [means[a:b] for a, b in zip(starts, starts[1:], strict=False)]  # one per hyperparameter
    mean = float(levels[0].weights @ parts[0])
    variances = [
        float(level.weights @ (part - mean) ** 2)
        for level, part in zip(levels, parts, strict=True)
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    drawn = [rng.choice(len(level.values), SAMPLES, p=level.weights) for level in levels]
    points = np.hstack([level.codes[i] for level, i in zip(levels, drawn, strict=True)])
    alone = mean + sum(part[i] - mean for part, i in zip(parts, drawn, strict=True))
    rest = float(np.mean((forest.predict(points) - alone) ** 2))
    total = sum(variances) + rest
    effects = [
        Effect(
            level.hyperparameter.name, variance / total if total else 0.0,
            tuple(level.values), tuple(map(float, part)),
        )
        for level, variance, part in zip(levels, variances, parts, strict=True)
    ]  # fmt: skip
    return sorted(effects, key=lambda e: -e.share), rest / total if total else 0.0


def _tree_means(tree: DecisionTreeRegressor, levels: Sequence[Levels]) -> np.ndarray:
    """Mean prediction of a tree at every level of every hyperparameter: <float64>[all levels]."""
    nodes, counts = tree.tree_, [len(level.values) for level in levels]
    columns = [level.codes.shape[1] for level in levels]
    owner = np.repeat(np.arange(len(levels)), columns)  # the hyperparameter of each column
    first = np.cumsum([0, *columns])
    starts = np.cumsum([0, *counts[:-1]])
    # The levels that can reach each node; a split restricts the levels of one hyperparameter.
    inside = np.ones((nodes.node_count, sum(counts)), bool)
    for node in range(nodes.node_count):  # parents come before their children
        left, right = nodes.children_left[node], nodes.children_right[node]
        if left == right:
            continue
        which = owner[nodes.feature[node]]
        column = levels[which].codes[:, nodes.feature[node] - first[which]]
        # The forest compares in float32.
        low = column.astype(np.float32) <= nodes.threshold[node]
        inside[left] = inside[right] = inside[node]
        part = slice(starts[which], starts[which] + counts[which])
        inside[left, part] &= low
        inside[right, part] &= ~low
    leaves = nodes.children_left == nodes.children_right
    inside, value = inside[leaves].astype(float), nodes.value[leaves, 0, 0]
    weights = np.concatenate([level.weights for level in levels])
    volume = np.add.reduceat(inside * weights, starts, axis=1)  # [leaves, hyperparameters]
    means = []
    for i, start in enumerate(starts):
        others = np.delete(volume, i, axis=1).prod(axis=1)
        means.append((value * others) @ inside[:, start : start + counts[i]])
    return np.concatenate(means)


def _forest(codes: np.ndarray, scores: np.ndarray) -> RandomForestRegressor:
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        TREES, min_samples_leaf=1, max_features=1.0, oob_score=True, random_state=0, n_jobs=1
    )
    return forest.fit(codes, scores)


def _why_not(scores: np.ndarray, varied: Sequence[Hyperparameter]) -> str:
    if len(scores) < 2:
        return f"Too few completed trials; at least {MIN_TRIALS} are needed."
    if not varied:
        return "No hyperparameter differs between the completed trials."
    # Two more than the number of coefficients of a linear model.
    needed = 2 + sum(
        (1 if h.numeric else len(h.values) - 1) + bool(h.absent) for h in varied
    )  # fmt: skip
    needed = max(MIN_TRIALS, needed)
    if len(scores) < needed:
        return (
            f"Too few comparable trials: {len(scores)} completed, and with "
            f"{len(varied)} hyperparameters that vary at least {needed} are needed."
        )
    if np.ptp(scores) == 0:
        return f"All {len(scores)} completed trials have the same score."
    return ""


def _clip_outliers(scores: np.ndarray, mode: str) -> tuple[np.ndarray, int]:
    """Scores with those of a few diverged trials clipped, and the number of clipped scores."""
    sign = 1 if mode == "max" else -1
    signed = sign * scores
    low, high = np.quantile(signed, [0.25, 0.75])
    fence = low - OUTLIER_RANGES * (high - low)
    clipped = int((signed < fence).sum())
    # More than a tenth are not outliers: their variance is to be explained.
    if high == low or not 0 < clipped <= len(scores) / 10:
        return scores, 0
    return sign * np.maximum(signed, fence), clipped


def _row_codes(varied: Sequence[Hyperparameter], row: TrialRow) -> list[float]:
    return [code for h in varied for code in _code(h, value_of(row, h.name))]


def _code(h: Hyperparameter, value: Any) -> list[float]:
    """Numbers or their logarithm; strings one-hot; absence as a number below the smallest."""
    if not h.numeric:
        return [float(value == other) for other in h.values]
    scale = math.log if h.log else float
    if value is not None:
        return [scale(value)]
    low, high = (scale(h.values[0]), scale(h.values[-1])) if h.values else (0.0, 0.0)
    return [2 * low - high - 1]


def levels_of(h: Hyperparameter, rows: int) -> Levels:
    """Values that were tried, with equal weights; absence is weighted by its frequency."""
    values = list(h.values)
    if not h.discrete and len(values) > 1:
        low, high = (math.log(v) if h.log else v for v in (values[0], values[-1]))
        grid = np.linspace(low, high, GRID)
        values = (np.exp(grid) if h.log else grid).tolist()
    absent = h.absent / rows
    weights = [(1 - absent) / len(values)] * len(values)
    if h.absent:
        values, weights = [*values, None], [*weights, absent]
    codes = np.array([_code(h, value) for value in values])
    return Levels(h, values, np.array(weights), codes)
