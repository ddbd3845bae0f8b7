"""Importance of hyperparameters where the truth is known."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from reports.importance import comparable, importance, levels_of, variance_shares
from tuning.hyperparameters import hyperparameters, value_of
from tuning.leaderboard import Search, TrialRow, ranked

SPACE = [
    {"class_name": "Float", "config": {"name": "rate", "sampling": "log"}},
    {"class_name": "Choice", "config": {"name": "cell", "values": ["lstm", "gru", "rnn"]}},
]


def search(rows, mode="max"):
    return Search(Path("."), {"mode": mode, "space": SPACE}, ranked(rows, mode))


def draws(count, score, seed=0, mode="max"):
    """Random trials of six hyperparameters; ``score`` of the values and a generator."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(count):
        values = {
            "cell": str(rng.choice(["lstm", "gru", "rnn"])),
            "layers": int(rng.integers(1, 4)),
            "units": int(rng.choice([32, 64, 128])),
            "both": bool(rng.integers(2)),
            "dropout": float(rng.uniform(0, 0.6)),
            "rate": float(10 ** rng.uniform(-4, -2)),
        }
        rows.append(TrialRow(f"{i:04d}", "COMPLETED", values, score=float(score(values, rng))))
    return search(rows, mode)


def shares_of_table(score):
    """Of a tree that has learnt a table over two switches exactly."""
    cells = [(a, b) for a in (False, True) for b in (False, True)]
    rows = [
        TrialRow(str(i), "COMPLETED", {"a": a, "b": b}, score=score(a, b))
        for i, (a, b) in enumerate(cells)
    ]
    found = hyperparameters({}, rows)
    levels = [levels_of(h, len(rows)) for h in found]
    codes = [[value_of(row, h.name) == v for h in found for v in h.values] for row in rows]
    tree = DecisionTreeRegressor(random_state=0).fit(
        np.array(codes, float), [r.score for r in rows]
    )
    effects, rest = variance_shares(
        SimpleNamespace(estimators_=[tree], predict=tree.predict), levels
    )
    return {e.name: e for e in effects}, rest


def test_a_sum_has_no_interaction():
    # 3a + b: variances 9/4 and 1/4 over the four cells, all of it 10/4.
    effects, rest = shares_of_table(lambda a, b: 3.0 * a + b)
    assert effects["a"].share == pytest.approx(0.9)
    assert effects["b"].share == pytest.approx(0.1)
    assert rest == pytest.approx(0.0, abs=1e-12)
    assert effects["a"].values == (False, True)
    assert effects["a"].scores == pytest.approx((0.5, 3.5))
    assert effects["b"].scores == pytest.approx((1.5, 2.5))


def test_exclusive_or_is_all_interaction():
    effects, rest = shares_of_table(lambda a, b: float(a != b))
    assert effects["a"].share == effects["b"].share == pytest.approx(0.0, abs=1e-12)
    assert rest == pytest.approx(1.0)


def test_a_product_is_a_third_each():
    # a and b: mean 1/4; a's means 0 and 1/2, so 1/16; all of it 3/16; what is left 1/16.
    effects, rest = shares_of_table(lambda a, b: float(a and b))
    assert effects["a"].share == pytest.approx(1 / 3)
    assert effects["b"].share == pytest.approx(1 / 3)
    assert rest == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("cell", lambda v: 0.1 * (v["cell"] == "rnn")),
        ("dropout", lambda v: v["dropout"]),
        ("rate", lambda v: -((math.log10(v["rate"]) + 3) ** 2)),
        ("both", lambda v: 0.05 * v["both"]),
    ],
)
def test_the_only_hyperparameter_that_counts_gets_nearly_all(name, score):
    found = importance(draws(40, lambda v, rng: score(v) + 0.002 * rng.normal()))
    assert found.effects[0].name == name
    assert found.effects[0].share > 0.95
    assert found.oob_r2 > 0.8
    assert found.trials == 40
    assert {e.name for e in found.effects} == {"cell", "layers", "units", "both", "dropout", "rate"}
    assert sum(e.share for e in found.effects) + found.interactions == pytest.approx(1.0)


def test_less_is_better_makes_no_difference():
    score = lambda v, rng: v["dropout"]  # noqa: E731
    up, down = importance(draws(30, score)), importance(draws(30, score, mode="min"))
    assert up.effects[0].name == down.effects[0].name == "dropout"
    # The rows come ranked, and so in another order to the forest.
    assert up.effects[0].share == pytest.approx(down.effects[0].share, abs=0.02)


def test_noise_is_not_to_be_trusted():
    found = importance(draws(60, lambda v, rng: rng.normal()))
    assert found.oob_r2 < 0.1


def test_two_that_count_alike_share_alike():
    score = lambda v, rng: 0.1 * v["both"] + 0.1 * (v["dropout"] > 0.3)  # noqa: E731
    found = importance(draws(200, score))
    shares = {e.name: e.share for e in found.effects}
    assert shares["both"] == pytest.approx(0.5, abs=0.06)
    assert shares["dropout"] == pytest.approx(0.5, abs=0.06)
    assert sum(share for name, share in shares.items() if name not in ("both", "dropout")) < 0.02


def test_a_logarithmic_hyperparameter_is_averaged_over_its_logarithm():
    found = importance(draws(40, lambda v, rng: math.log10(v["rate"])))
    values = next(e for e in found.effects if e.name == "rate").values
    ratios = [b / a for a, b in zip(values, values[1:], strict=False)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert 1e-4 <= values[0] < values[-1] <= 1e-2


def test_only_completed_trials_count():
    whole = draws(40, lambda v, rng: v["dropout"])
    others = [
        TrialRow("0900", "STOPPED", {"dropout": 0.0, "cell": "lstm"}, score=50.0),
        TrialRow("0901", "FAILED", {"dropout": 0.1}, message="no memory"),
        TrialRow("0902", "RUNNING", {"dropout": 0.2}),
    ]
    assert importance(search([*whole.rows, *others])) == importance(whole)


def test_the_same_search_gives_the_same_figures():
    score = lambda v, rng: v["dropout"] + rng.normal()  # noqa: E731
    assert importance(draws(30, score)) == importance(draws(30, score))


def test_a_few_diverged_trials_do_not_hide_the_rest():
    def score(v, rng):
        return 1e6 if v["dropout"] > 0.59 else 100 + 20 * (v["cell"] == "rnn")

    found = importance(draws(60, score, mode="min"))
    diverged = sum(row.score == 1e6 for row in draws(60, score).rows)
    assert 0 < diverged <= 6
    assert found.effects[0].name == "cell"
    assert found.effects[0].share > 0.5
    assert "far worse" in found.notes[0]


def test_too_few_trials_are_said_to_be_too_few():
    found = importance(draws(7, lambda v, rng: v["dropout"]))
    assert found.effects == []
    assert "7 completed" in found.missing
    # cell has 2 degrees of freedom, the five others 1 each, and two more: 9.
    assert "at least 9" in found.missing
    assert importance(draws(9, lambda v, rng: v["dropout"])).missing == ""


def test_nothing_to_explain_is_said():
    assert "same score" in importance(draws(12, lambda v, rng: 0.5)).missing
    rows = [TrialRow(str(i), "COMPLETED", {"a": 1}, score=float(i)) for i in range(12)]
    assert "No hyperparameter differs" in importance(search(rows)).missing
    assert "Too few" in importance(search([])).missing


def test_one_hyperparameter_explains_all():
    rows = [
        TrialRow(f"{i:02d}", "COMPLETED", {"units": 2**i, "fixed": "x"}, score=float(i))
        for i in range(10)
    ]
    found = importance(search(rows))
    assert [e.name for e in found.effects] == ["units"]
    assert found.effects[0].share == pytest.approx(1.0)
    assert found.interactions == pytest.approx(0.0, abs=1e-9)
    assert "fixed" in found.notes[0]


def test_absence_is_a_value_of_its_own():
    rng, rows = np.random.default_rng(0), []
    for i in range(40):
        values = {"pooling": "attention" if i % 2 else "max", "dropout": float(rng.uniform())}
        if i % 2:
            values["heads"] = int(rng.integers(1, 5))
        score = 0.5 + (0.1 * values["heads"] if i % 2 else 0.0)
        rows.append(TrialRow(f"{i:04d}", "COMPLETED", values, score=score))
    found = importance(search(rows))
    heads = next(e for e in found.effects if e.name == "heads")
    assert found.effects[0] is heads
    assert heads.values == (1, 2, 3, 4, None)
    assert heads.scores[3] > heads.scores[0] > heads.scores[4]
    assert any("does not apply" in note for note in found.notes)


def hyperband(brackets):
    """Rows of brackets, each a list of (round, trials); more halvings train less."""
    rows = []
    for bracket, rounds in brackets.items():
        for number, trials in rounds:
            for _ in range(trials):
                rows.append(
                    TrialRow(
                        f"{len(rows):04d}", "COMPLETED", {"a": len(rows)}, score=0.5,
                        epochs=27 // 3 ** (bracket - number), bracket=bracket, round=number,
                    )
                )  # fmt: skip
    return rows


def test_hyperband_compares_trials_of_one_length():
    # 1 epoch: 27 trials; 3: 9 + 12 = 21; 9: 3 + 4 + 6 = 13; 27: 1 + 1 + 2 + 4 = 8.
    rows = hyperband({
        3: [(0, 27), (1, 9), (2, 3), (3, 1)], 2: [(0, 12), (1, 4), (2, 1)],
        1: [(0, 6), (1, 2)], 0: [(0, 4)],
    })  # fmt: skip
    kept, notes = comparable(rows)
    # Half of 27 is 13.5 and 16 are wanted: 21 is the longest that has them.
    assert {row.epochs for row in kept} == {3}
    assert len(kept) == 21
    assert {row.bracket for row in kept} == {2, 3}
    assert "the 21 that were trained for up to 3 epochs" in notes[0]


def test_other_searches_compare_all_completed_trials():
    rows = draws(10, lambda v, rng: v["dropout"]).rows
    assert comparable(rows) == (rows, [])
