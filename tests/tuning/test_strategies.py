"""Which values a number gets: each draw a function of its number, by hand where there is a rule."""

import math
from itertools import product
from random import Random
from statistics import median

import keras_tuner as kt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_tuner.src.tuners.gridsearch import GridSearchOracle
from keras_tuner.src.tuners.hyperband import HyperbandOracle
from threadpoolctl import threadpool_limits
from tiny_trainer import DEFAULTS, declare

from tuning.errors import SearchError
from tuning.leaderboard import TrialRow
from tuning.model_based import ModelBased
from tuning.strategies import discover, make_strategy
from tuning.strategy import NoProposal, Proposal
from tuning.strategy_names import STRATEGIES, check_strategy

# Of max_epochs and factor 3: brackets of rounds of (trials, epochs), by the formulas of Li et al.
# as KerasTuner rounds them. 9 epochs: s = 2, 1, 0 with ceil(1 + log3(9)) = 3 trials in the last.
SCHEDULES = {
    9: [[(9, 1), (3, 3), (1, 9)], [(5, 3), (2, 9)], [(3, 9)]],
    6: [[(5, 2), (2, 6)], [(3, 6)]],
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads only fight over matrices as small as these."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def early(monkeypatch):
    """The Gaussian process speaks after four points: its guesses cost most of the time here."""
    monkeypatch.setattr(ModelBased, "initial_points", 4)


def made(strategy, declared=declare, *, epochs=9, seed=0, max_pending=0, mode="max"):
    space, objective = discover(declared), kt.Objective("val_score", mode)
    return make_strategy(
        strategy, space, objective, epochs=epochs, seed=seed, max_pending=max_pending
    )


def completed(number, values, score):
    return TrialRow(f"{number:04d}", "COMPLETED", values, score=score)


def failed(number, values):
    return TrialRow(f"{number:04d}", "FAILED", values)


def units(number, values):
    return float(values.get("units", 0))


def simulated(strategy, numbers, score=units, failing=(), workers=1, chance=None):
    """Draws and rows of a search whose trials end in a random order where ``chance`` is given.

    Returns:
        Draws or answers by number, in the order of their giving, and rows by number.
    """
    drawn, rows, running = {}, {}, []
    while True:
        for number in range(numbers):
            if len(running) == workers:
                break
            if number in rows:
                continue
            answer = strategy.propose(number, rows)
            if answer is NoProposal.WAIT:
                continue
            drawn[number] = answer
            if answer is NoProposal.END:
                break
            if answer is NoProposal.SKIP:
                rows[number] = TrialRow(f"{number:04d}", "SKIPPED", {})
            else:
                rows[number] = TrialRow(f"{number:04d}", "RUNNING", answer.values)
                running.append(number)
        if not running:
            return drawn, rows
        number = running.pop(chance.randrange(len(running)) if chance else 0)
        values = rows[number].values
        bad = number in failing
        rows[number] = (
            failed(number, values) if bad else completed(number, values, score(number, values))
        )


def test_a_strategy_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(SearchError, match="'lucky'; use one of random, bayesian, hyperband, grid"):
        check_strategy("lucky")


def conditional(hp):
    """lstm | gru x (no reset | reset x 1, 2): four configurations."""
    cell = hp.Choice("cell", ["lstm", "gru"])
    with hp.conditional_scope("cell", ["gru"]):
        if cell == "gru":
            reset = hp.Boolean("reset")
            with hp.conditional_scope("reset", [True]):
                if reset:
                    hp.Choice("depth", [1, 2])


CONDITIONAL = [
    {"cell": "lstm"},
    {"cell": "gru", "reset": False},
    {"cell": "gru", "reset": True, "depth": 1},
    {"cell": "gru", "reset": True, "depth": 2},
]


def test_nested_conditional_branches_are_discovered():
    assert [hp.name for hp in discover(conditional).space] == ["cell", "reset", "depth"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_first_trial_has_the_defaults_that_are_active(strategy):
    assert made(strategy).propose(0, {}).values == DEFAULTS
    assert made(strategy, conditional).propose(0, {}).values == {"cell": "lstm"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_of_a_conditional_space_is_searched_without_what_is_inactive(strategy, early):
    # A bracket of six epochs has five first places.
    made_one = made(strategy, conditional, epochs=6)
    drawn, rows = simulated(made_one, 5, score=lambda number, _: number)
    assert drawn.pop(4) is (NoProposal.SKIP if strategy == "hyperband" else NoProposal.END)
    order = CONDITIONAL.index
    assert sorted((row.values for row in rows.values() if row.values), key=order) == CONDITIONAL


@pytest.mark.parametrize("strategy", ["random", "hyperband", "grid", "bayesian"])
def test_a_draw_is_a_function_of_its_number_and_what_came_before(strategy, early):
    first = made(strategy, seed=3)
    drawn, rows = simulated(first, 6)
    for number in (5, 1, 3):
        earlier = {s: row for s, row in rows.items() if s < number}
        assert first.propose(number, earlier) == drawn[number]
        assert made(strategy, seed=3).propose(number, earlier) == drawn[number]


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_seed_repeats_its_draws_and_another_has_others(seed):
    # KerasTuner takes 0 for a seed of chance.
    draws, again, other = (
        [draw.values for draw in simulated(made("random", seed=s), 5)[0].values()]
        for s in (seed, seed, seed + 1)
    )
    assert draws == again
    assert draws[0] == other[0]
    assert all(one != two for one, two in zip(draws[1:], other[1:], strict=True))


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(0, 2**31),
    st.sampled_from(["random", "grid"]),
)
@settings(max_examples=40, deadline=None)
def test_a_small_space_is_searched_to_its_last_combination_without_repeats(sizes, seed, strategy):
    def several(hp):
        for number, size in enumerate(sizes):
            hp.Int(f"n{number}", 1, size, default=size)

    count = math.prod(sizes)
    drawn, _ = simulated(made(strategy, several, seed=seed), count + 1)
    assert drawn.pop(count) is NoProposal.END
    found = {tuple(draw.values.values()) for draw in drawn.values()}
    assert found == set(product(*(range(1, size + 1) for size in sizes)))


def test_a_small_space_of_logarithmic_integers_is_searched_to_its_last_one():
    def logarithmic(hp):
        hp.Int("n", 1, 16, sampling="log")

    drawn, _ = simulated(made("random", logarithmic), 17)
    assert drawn.pop(16) is NoProposal.END
    assert sorted(draw.values["n"] for draw in drawn.values()) == list(range(1, 17))


def test_bayesian_search_repeats_nothing_and_ends_with_a_small_space(early):
    def six(hp):
        hp.Choice("units", [1, 2, 3])
        hp.Boolean("deep")

    drawn, rows = simulated(made("bayesian", six), 7)
    assert drawn.pop(6) is NoProposal.END
    assert len({str(draw.values) for draw in drawn.values()}) == 6


@pytest.mark.parametrize("declared", [declare, conditional], ids=["plain", "conditional"])
def test_a_grid_has_the_order_of_keras_tuners_own(declared, tmp_path):
    oracle = GridSearchOracle(
        kt.Objective("val_score", "max"), hyperparameters=discover(declared), seed=1
    )
    oracle.verbose = 0
    oracle._set_project_dir(tmp_path, "grid")
    expected = []
    while (trial := oracle.create_trial("one")).status == "RUNNING" and len(expected) < 40:
        expected.append(trial.hyperparameters.values)
        oracle.update_trial(trial.trial_id, {"val_score": 0.0})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    drawn, _ = simulated(made("grid", declared), 40, failing=(1, 2))
    assert len(expected) == (40 if declared is declare else 4)
    found = [answer.values for answer in drawn.values() if isinstance(answer, Proposal)]
    assert found == expected


def line(hp):
    hp.Float("x", 0.0, 1.0, default=0.9)


def test_bayesian_search_finds_a_minimum_ten_times_closer_than_random_search(early):
    # (x - 0.3)^2 after ten trials, median of three seeds; measured 6e-5 against 4e-3.
    def score(number, values):
        return (values["x"] - 0.3) ** 2

    best = {}
    for strategy in ("bayesian", "random"):
        ends = [
            min(row.score for row in simulated(made(strategy, line, seed=seed, mode="min"), 10,
                                               score)[1].values())
            for seed in range(3)
        ]  # fmt: skip
        best[strategy] = median(ends)
    assert best["bayesian"] < 1e-3
    assert best["bayesian"] < best["random"] / 10


def points(scores):
    """Rows at 0.05, 0.15...; a score of None is a failure."""
    values = [{"x": 0.05 + 0.1 * number} for number in range(len(scores))]
    return {
        number: failed(number, values[number])
        if score is None
        else completed(number, values[number], score)
        for number, score in enumerate(scores)
    }


def test_bayesian_search_knows_nothing_of_what_ended_among_the_pending(early):
    def next_one(*last):
        return (
            made("bayesian", line, max_pending=2)
            .propose(7, points([5, 3, 1, 2, 4, *last]))
            .values["x"]
        )

    assert next_one(9, 9) == next_one(0, 100) == next_one(None, 9)
    with_it = (
        made("bayesian", line, max_pending=1).propose(7, points([5, 3, 1, 2, 4, 9, 9])).values["x"]
    )
    assert with_it != next_one(9, 9)


def test_bayesian_search_waits_for_the_trial_before_the_pending_ones_only(early):
    rows = points([5, 3, 1, 2, 4, 6])
    running = TrialRow("0005", "RUNNING", rows[5].values)
    assert isinstance(
        made("bayesian", line, max_pending=1).propose(6, rows | {5: running}), Proposal
    )
    assert made("bayesian", line, max_pending=0).propose(6, rows | {5: running}) is NoProposal.WAIT
    stopped = TrialRow("0005", "STOPPED", rows[5].values, score=0.5)
    assert made("bayesian", line, max_pending=0).propose(6, rows | {5: stopped}) is NoProposal.WAIT
    earlier = {s: row for s, row in rows.items() if s != 4}
    assert made("bayesian", line, max_pending=1).propose(6, earlier) is NoProposal.WAIT


def test_a_failed_trial_counts_as_the_worst_that_is_known(early):
    for mode, worst in (("max", 1), ("min", 6)):
        guess, same, other = (
            made("bayesian", line, mode=mode).propose(7, points([5, 3, 1, 2, 4, 6, last])).values
            for last in (None, worst, 3.5)
        )
        assert guess == same != other


def test_the_greatest_of_scores_is_the_least_of_their_negatives(early):
    scores = [5.0, 3.0, 1.0, 2.0, 4.0]
    highest = made("bayesian", line, mode="max").propose(5, points(scores))
    lowest = made("bayesian", line, mode="min").propose(5, points([-s for s in scores]))
    assert highest == lowest
    assert highest != made("bayesian", line, mode="min").propose(5, points(scores))


@pytest.mark.parametrize("epochs", SCHEDULES)
def test_hyperband_has_the_schedule_worked_by_hand(epochs):
    drawn, _ = simulated(made("hyperband", epochs=epochs), 60)
    schedule = [
        (len(SCHEDULES[epochs]) - 1 - b, r, until)
        for b, bracket in enumerate(SCHEDULES[epochs])
        for r, (size, until) in enumerate(bracket)
        for _ in range(size)
    ]
    # After the last bracket comes the first again.
    found = [
        (drawn[number].bracket, drawn[number].round, drawn[number].until) for number in range(60)
    ]
    assert found == (schedule * 7)[:60]


@pytest.mark.parametrize("epochs", [*SCHEDULES, 1, 2, 3, 27, 100])
def test_sizes_and_epochs_are_keras_tuners_own(epochs):
    theirs = HyperbandOracle(kt.Objective("val_score", "max"), max_epochs=epochs)
    ours = made("hyperband", epochs=epochs)
    places = [ours.position(number) for number in range(300)]
    brackets = {place.bracket for place in places}
    assert brackets == set(range(theirs._get_num_brackets()))
    for bracket in brackets:
        for number in range(bracket + 1):
            first = next(p for p in places if (p.bracket, p.round) == (bracket, number))
            same = [p for p in places if (p.bracket, p.round, p.first) == (
                bracket, number, first.first)]  # fmt: skip
            assert len(same) == theirs._get_size(bracket, number)
            assert ours._get_epochs(bracket, number) == theirs._get_epochs(bracket, number)


# Scores of the nine numbers of the first round: 4 is the best, then 7, 1 and 5; 2 equals 8.
NINE = [0.1, 0.6, 0.3, 0.2, 0.9, 0.5, 0.0, 0.8, 0.3]


def test_hyperband_promotes_the_best_in_order_whatever_better_means():
    def parents(mode, failing=()):
        strategy = made("hyperband", mode=mode)
        drawn, _ = simulated(strategy, 13, lambda number, _: NINE[number % 9], failing)
        return [getattr(drawn[number], "parent", drawn[number]) for number in range(9, 13)]

    # Slots 9, 10 and 11 score as 0, 1 and 2 do: 10 is the best of them, 9 the worst.
    assert parents("max") == [4, 7, 1, 10]
    assert parents("min") == [6, 0, 3, 9]
    assert parents("max", failing=(4, 1)) == [7, 5, 2, 10]
    assert parents("max", failing=(10,)) == [4, 7, 1, 11]


def test_hyperband_leaves_places_empty_that_too_few_survivors_can_fill():
    drawn, rows = simulated(
        made("hyperband"), 14, lambda number, _: NINE[number % 9], failing=range(7)
    )
    assert [drawn[9].parent, drawn[10].parent, drawn[11]] == [7, 8, NoProposal.SKIP]
    assert drawn[12].parent == 10
    assert rows[11].state == "SKIPPED"
    nobody, _ = simulated(made("hyperband"), 14, failing=range(9))
    assert [nobody[number] for number in range(9, 13)] == [NoProposal.SKIP] * 4
    assert nobody[13].bracket == 1


def test_hyperband_waits_for_a_whole_round_while_the_next_bracket_goes_ahead():
    strategy = made("hyperband", max_pending=7)
    drawn, rows = simulated(strategy, 23)
    for state in ("RUNNING", "STOPPED"):
        part = {number: rows[number] for number in range(9)}
        part[3] = TrialRow("0003", state, rows[3].values, score=0.5)
        assert [strategy.propose(number, part) for number in range(9, 13)] == [NoProposal.WAIT] * 4
        assert strategy.propose(13, part) == drawn[13]
        assert strategy.propose(18, part | {13: rows[13]}) is NoProposal.WAIT
        ahead = part | {number: rows[number] for number in range(13, 18)}
        assert strategy.propose(20, ahead) is NoProposal.WAIT, "the model wants the first bracket"


def test_while_a_sampled_trial_waits_all_later_ones_do():
    strategy = made("hyperband", max_pending=2)
    _, rows = simulated(strategy, 46)
    begun = {n: rows[n] for n in range(9)} | {3: TrialRow("0003", "RUNNING", rows[3].values)}
    assert not strategy.samples(9)
    assert strategy.samples(13)
    assert [strategy.propose(n, begun) for n in range(9, 46)] == [NoProposal.WAIT] * 37
    assert all(made(name).samples(n) for name in ("random", "grid", "bayesian") for n in range(9))


def test_a_first_round_waits_for_those_before_the_pending_ones_only():
    strategy = made("hyperband", max_pending=2)
    _, rows = simulated(strategy, 23)
    running = {n: TrialRow(f"{n:04d}", "RUNNING", rows[n].values) for n in rows}
    part = {number: rows[number] for number in range(9)}
    assert isinstance(strategy.propose(13, part | {8: running[8], 7: running[7]}), Proposal)
    assert strategy.propose(13, part | {6: running[6]}) is NoProposal.WAIT
    assert strategy.propose(14, part) is NoProposal.WAIT, "13 has not begun"


def test_first_rounds_of_hyperband_learn_from_all_rounds_before(early):
    strategy = made("hyperband", line)
    drawn, _ = simulated(strategy, 46, lambda _, values: -((values["x"] - 0.3) ** 2))
    firsts = [n for n in range(23, 46) if drawn[n].parent is None]
    away = {n: abs(drawn[n].values["x"] - 0.3) for n in firsts}
    chance = {n for n in firsts if strategy.position(n).index % 3 == 2}
    assert median(away[n] for n in firsts if n not in chance) < 0.05
    assert max(away[n] for n in chance) > 0.1, "every third is random"


@given(
    st.sampled_from(["random", "hyperband"]), st.integers(1, 5), st.sets(st.integers(0, 29)),
    st.randoms(use_true_random=False),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_draws_depend_on_neither_workers_nor_the_order_of_ends(strategy, workers, failing, chance):
    noise = [Random(7).random() for _ in range(30)]
    kinds = (made(strategy, seed=2) for _ in range(2))
    (alone, _), (many, _) = (
        simulated(kind, 30, lambda number, _: noise[number], failing, count, order)
        for kind, count, order in zip(kinds, (1, workers), (None, chance), strict=True)
    )
    assert alone == many


@given(st.sets(st.integers(0, 12)), st.permutations(range(13)))
@settings(max_examples=40, deadline=None)
def test_a_round_has_the_best_survivors_of_the_one_before(failing, scores):
    drawn, rows = simulated(made("hyperband"), 13, lambda number, _: scores[number], failing)
    for before, after in ((range(9), range(9, 12)), (range(9, 12), range(12, 13))):
        survivors = [number for number in before if rows[number].state == "COMPLETED"]
        expected = sorted(survivors, key=lambda number: -scores[number])[: len(after)]
        draws = [drawn[number] for number in after if isinstance(drawn[number], Proposal)]
        assert [draw.parent for draw in draws] == expected
        assert [draw.values for draw in draws] == [rows[number].values for number in expected]


def test_another_bracket_may_repeat_what_a_small_space_has_no_more_of():
    def four(hp):
        hp.Choice("units", [1, 2, 3, 4])

    # Six epochs: a bracket of 5 and 2 trials, one of 3, and so on.
    drawn, _ = simulated(made("hyperband", four, epochs=6), 15)
    tried = [[drawn[number].values["units"] for number in part]
             for part in (range(4), range(7, 10), range(10, 14))]  # fmt: skip
    assert drawn[4] is drawn[14] is NoProposal.SKIP
    assert sorted(tried[0]) == sorted(tried[2]) == [1, 2, 3, 4]
    assert len(set(tried[1])) == 3
    assert {drawn[5].values["units"], drawn[6].values["units"]} == {3, 4}


def test_states_are_needed_until_the_next_round_has_ended():
    strategy = made("hyperband")
    _, rows = simulated(strategy, 23)

    def needed(numbers, **states):
        part = {number: rows[number] for number in numbers}
        for name, state in states.items():
            number = int(name[1:])
            part[number] = TrialRow(f"{number:04d}", state, rows[number].values)
        return strategy.needed(part)

    first, second = set(range(9)), {9, 10, 11}
    assert needed(range(4)) == set(range(4)), "whatever the search's end cuts off"
    assert needed(range(9)) == first
    assert needed(range(11)) == first | {9, 10}, "a place of the second round is open"
    assert needed(range(12)) == second
    assert needed(range(12), s10="RUNNING") == first | second
    assert needed(range(12), s10="STOPPED") == first | second
    assert needed(range(13)) == set()
    assert needed([*range(9), 13, 14]) == first | {13, 14}
    assert needed(range(13), s12="RUNNING") == second
    assert needed(range(23)) == set()
    assert all(made(name).needed(rows) == set() for name in ("random", "grid", "bayesian"))
