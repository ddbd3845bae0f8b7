"""How much of the score's variation each hyperparameter explains.

Functional ANOVA of a random forest that predicts the score from the hyperparameters (Hutter, Hoos
& Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance"). Each leaf of
a tree is a box of hyperparameter values, so the mean prediction over all but one of them is a sum
over leaves, exact, whatever the number of hyperparameters. Unlike there, the variance is that of
the whole forest and not the mean of its trees': what one tree makes of noise, the others do not.
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

FEWEST_TRIALS = 8
TREES = 200
GRID = 32
SAMPLES = 4096
# A score this many interquartile ranges worse than the worse quartile counts as one just there.
FAR_OUT = 3.0


@dataclass(frozen=True)
class Effect:
    """What the score owes to one hyperparameter by itself.

    Attributes:
        name: of the hyperparameter.
        share: of the variance of the score over the space, from 0 to 1.
        values: from its least to its greatest value or every value; None is its absence.
        scores: mean prediction at each of ``values`` over all values of the others.
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
        interactions: share that no hyperparameter explains by itself.
        trust: out-of-bag R^2, how well the forest predicts trials that it has not seen: 1 is
            perfectly, 0 or less no better than their mean.
        trials: that it was computed from.
        notes: sentences on what was left out.
        missing: why there are no effects; "" where there are some.
    """

    effects: list[Effect] = field(default_factory=list)
    interactions: float = 0.0
    trust: float = 0.0
    trials: int = 0
    notes: list[str] = field(default_factory=list)
    missing: str = ""


@dataclass(frozen=True)
class Levels:
    """Values of one hyperparameter to average over."""

    of: Hyperparameter
    values: list[Any]
    weights: np.ndarray  # <float64>[levels], sums to 1
    codes: np.ndarray  # <float64>[levels, columns]


def importance(search: Search) -> Importance:
    """Shares of the variance of the score, over the values that were tried.

    Args:
        search: its completed trials are used; of a Hyperband search those of one budget.

    Returns:
        Importance, whose ``missing`` says why where there is none.
    """
    rows, notes = comparable(search.rows)
    found = hyperparameters(search.about, rows)
    same = [h.name for h in found if not h.varied]
    if same and len(same) < len(found):
        notes.append(f"The same in all of these trials: {', '.join(same)}.")
    varied = [h for h in found if h.varied]
    scores = np.array([row.score for row in rows], float)
    missing = _too_little(scores, varied)
    if missing:
        return Importance(trials=len(rows), notes=notes, missing=missing)
    scores, clipped = _without_far_out(scores, search.mode)
    if clipped:
        count = f"{clipped} trials" if clipped > 1 else "One trial"
        worst = scores.min() if search.mode == "max" else scores.max()
        notes.append(f"{count} scored far worse than the rest and counted as {worst:.4g}.")
    if any(h.absent for h in varied):
        notes.append("Where a hyperparameter does not apply, that counts as one of its values.")
    forest = _forest(np.array([_row_codes(varied, row) for row in rows]), scores)
    effects, interactions = variance_shares(forest, [levels_of(h, len(rows)) for h in varied])
    return Importance(effects, interactions, float(forest.oob_score_), len(rows), notes)


def comparable(rows: Sequence[TrialRow]) -> tuple[list[TrialRow], list[str]]:
    """Completed trials whose scores may be compared, and a sentence where others were left out.

    In Hyperband a score after 3 epochs is not one after 27. Rounds that train equally long count
    together, ``bracket - round`` halvings short of the full length, and of these the longest that
    has enough trials: half as many as the most frequent, and 16 where there are so many. That is
    long enough to mean something, and not only the few that were promoted.
    """
    done = [row for row in rows if row.state == "COMPLETED" and row.score is not None]
    if all(row.bracket is None or row.round is None for row in done):
        return done, []
    levels: dict[int, list[TrialRow]] = {}
    for row in done:
        if row.bracket is not None and row.round is not None:
            levels.setdefault(row.bracket - row.round, []).append(row)
    most = max(map(len, levels.values()))
    enough = max(most / 2, min(most, 2 * FEWEST_TRIALS))
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
    """Main effects, greatest first, and the share of interactions.

    The main effects are exact; what is left of the forest's predictions without them is measured
    on a sample of the space, so that the shares make 1 however small the sample.
    """
    means = np.mean([_tree_means(tree, levels) for tree in forest.estimators_], axis=0)
    starts = np.cumsum([0, *(len(level.values) for level in levels)])
    parts = [means[a:b] for a, b in zip(starts, starts[1:], strict=False)]  # one a hyperparameter
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
            level.of.name, variance / total if total else 0.0,
            tuple(level.values), tuple(map(float, part)),
        )
        for level, variance, part in zip(levels, variances, parts, strict=True)
    ]  # fmt: skip
    return sorted(effects, key=lambda e: -e.share), rest / total if total else 0.0


def _tree_means(tree: DecisionTreeRegressor, levels: Sequence[Levels]) -> np.ndarray:
    """Mean prediction of a tree at every level of every hyperparameter: <float64>[all levels]."""
    nodes, counts = tree.tree_, [len(level.values) for level in levels]
    columns = [level.codes.shape[1] for level in levels]
    owner = np.repeat(np.arange(len(levels)), columns)  # of each column
    first = np.cumsum([0, *columns])
    starts = np.cumsum([0, *counts[:-1]])
    # Which levels may reach a node; a split narrows those of one hyperparameter.
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


def _too_little(scores: np.ndarray, varied: Sequence[Hyperparameter]) -> str:
    if len(scores) < 2:
        return f"Too few completed trials to tell; at least {FEWEST_TRIALS} are needed."
    if not varied:
        return "No hyperparameter differs between the completed trials."
    # Two more than the values that a linear model would have to tell apart.
    needed = 2 + sum(
        (1 if h.numeric else len(h.values) - 1) + bool(h.absent) for h in varied
    )  # fmt: skip
    needed = max(FEWEST_TRIALS, needed)
    if len(scores) < needed:
        return (
            f"Too few comparable trials to tell: {len(scores)} completed, and with "
            f"{len(varied)} hyperparameters that vary at least {needed} are needed."
        )
    if np.ptp(scores) == 0:
        return f"All {len(scores)} completed trials have the same score."
    return ""


def _without_far_out(scores: np.ndarray, mode: str) -> tuple[np.ndarray, int]:
    """Scores with those of a few diverged trials brought closer, and how many these are."""
    sign = 1 if mode == "max" else -1
    signed = sign * scores
    low, high = np.quantile(signed, [0.25, 0.75])
    fence = low - FAR_OUT * (high - low)
    clipped = int((signed < fence).sum())
    # More than a tenth are no accident: they are what there is to explain.
    if high == low or not 0 < clipped <= len(scores) / 10:
        return scores, 0
    return sign * np.maximum(signed, fence), clipped


def _row_codes(varied: Sequence[Hyperparameter], row: TrialRow) -> list[float]:
    return [code for h in varied for code in _code(h, value_of(row, h.name))]


def _code(h: Hyperparameter, value: Any) -> list[float]:
    """Numbers as they are, or their logarithm; words one-hot; absence beyond the least number."""
    if not h.numeric:
        return [float(value == other) for other in h.values]
    scale = math.log if h.log else float
    if value is not None:
        return [scale(value)]
    least, greatest = (scale(h.values[0]), scale(h.values[-1])) if h.values else (0.0, 0.0)
    return [2 * least - greatest - 1]


def levels_of(h: Hyperparameter, rows: int) -> Levels:
    """What was tried, evenly weighted; absence by how often it was so."""
    values = list(h.values)
    if not h.stepped and len(values) > 1:
        low, high = (math.log(v) if h.log else v for v in (values[0], values[-1]))
        grid = np.linspace(low, high, GRID)
        values = (np.exp(grid) if h.log else grid).tolist()
    absent = h.absent / rows
    weights = [(1 - absent) / len(values)] * len(values)
    if h.absent:
        values, weights = [*values, None], [*weights, absent]
    codes = np.array([_code(h, value) for value in values])
    return Levels(h, values, np.array(weights), codes)
