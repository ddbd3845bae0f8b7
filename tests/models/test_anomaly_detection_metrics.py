"""Window F1, AUC-PR and NAB's scores against numbers worked by hand."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import anomaly_detection_metrics
from models.anomaly_detection_metrics import (
    PROFILES,
    auc_pr,
    nab_best,
    nab_raw,
    nab_score,
    probation_rows,
    window_f1,
)


def flagged(rows, *where):
    flags = np.zeros(rows, dtype=bool)
    flags[list(where)] = True
    return flags


def sigmoid(x):
    return 2 / (1 + math.exp(5 * x)) - 1


@st.composite
def labelled(draw):
    """Scores with many ties and disjoint windows."""
    rows = draw(st.integers(1, 40))
    scores = draw(st.lists(st.integers(0, 5), min_size=rows, max_size=rows))
    bounds = sorted(draw(st.sets(st.integers(0, rows - 1), max_size=6)))
    windows = list(zip(bounds[::2], bounds[1::2], strict=False))
    return np.array(scores) / 5, windows


# Window F1 ----------------------------------------------------------------------------------------


def test_windows_and_alarms_are_counted_as_events():
    # Found: (20, 29). Missed: (60, 69). Alarms: row 3; rows 40 and 45, merged; row 90.
    result = window_f1(flagged(100, 3, 20, 25, 40, 45, 90), [(20, 29), (60, 69)])
    assert result == {
        "f1": pytest.approx(1 / 3),
        "precision": 0.25,
        "recall": 0.5,
        "windows": 2,
        "found": 1,
        "false_alarms": 3,
    }


def test_the_gap_is_exclusive():
    flags = flagged(30, 5, 9)
    assert window_f1(flags, [], gap=5)["false_alarms"] == 1
    assert window_f1(flags, [], gap=4)["false_alarms"] == 2
    assert window_f1(flagged(30, 5, 6, 8), [], gap=1)["false_alarms"] == 2


def test_a_window_keeps_alarms_apart():
    assert window_f1(flagged(30, 5, 9), [(7, 7)])["false_alarms"] == 2


def test_a_run_that_reaches_into_a_window_is_no_alarm():
    for run in (range(3, 11), range(18, 25), range(3, 25), range(12, 14)):
        result = window_f1(flagged(30, *run), [(10, 18)])
        assert (result["found"], result["false_alarms"]) == (1, 0)


def test_rows_before_the_start_are_ignored():
    flags = flagged(30, 1, 6, 20)
    result = window_f1(flags, [(0, 4), (5, 12), (20, 22)], start=10)
    assert (result["windows"], result["found"], result["false_alarms"]) == (2, 1, 0)
    assert flags.sum() == 3


@pytest.mark.parametrize(
    ("flags", "windows", "expected"),
    [
        ([False] * 9, [], (1.0, 1.0, 1.0)),
        ([], [], (1.0, 1.0, 1.0)),
        ([True] * 9, [], (0.0, 0.0, 0.0)),
        ([False] * 9, [(2, 3)], (0.0, 0.0, 0.0)),
        ([True] * 9, [(2, 3)], (1.0, 1.0, 1.0)),
    ],
)
def test_empties_are_numbers(flags, windows, expected):
    result = window_f1(flags, windows)
    assert (result["f1"], result["precision"], result["recall"]) == expected


def test_overlapping_windows_are_found_each():
    result = window_f1(flagged(30, 8, 25), [(5, 20), (7, 9), (10, 12)])
    assert (result["windows"], result["found"], result["false_alarms"]) == (3, 2, 1)


@given(labelled(), st.integers(0, 40), st.integers(1, 20))
def test_events_agree_with_a_plain_count(series, start, gap):
    scores, windows = series
    flags = scores > 0.5
    result = window_f1(flags, windows, start, gap)
    rows = [row for row in range(start, len(flags)) if flags[row]]
    runs = []
    for row in rows:
        if runs and row == runs[-1][-1] + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    kept = [(a, b) for a, b in windows if b >= start]
    off = [run for run in runs if not any(a <= row <= b for row in run for a, b in kept)]
    alarms = len(off)
    for early, late in zip(off, off[1:], strict=False):
        near = late[0] - early[-1] < gap
        alarms -= near and not any(early[-1] < a < late[0] for a, _ in kept)
    found = sum(any(a <= row <= b for row in rows) for a, b in kept)
    assert (result["windows"], result["found"]) == (len(kept), found)
    assert result["false_alarms"] == alarms
    assert 0 <= result["f1"] <= 1


# AUC-PR -------------------------------------------------------------------------------------------


def test_average_precision_by_hand():
    # Ranked: hit, miss, hit, miss: (1/1 + 2/3) / 2.
    assert auc_pr([0.9, 0.1, 0.8, 0.5], [(0, 0), (3, 3)]) == pytest.approx(5 / 6)
    assert auc_pr([0.0, 0.0, 0.0, 0.0], [(1, 1)]) == pytest.approx(0.25)


def test_average_precision_past_the_start():
    assert auc_pr([math.nan, 0.1, 0.9], [(0, 0), (2, 2)], start=1) == 1.0
    assert auc_pr([0.1, 0.9], [(0, 0)], start=1) is None
    assert auc_pr([0.1, 0.9], []) is None
    assert auc_pr([], []) is None
    assert auc_pr([0.1, 0.9], [(0, 1)]) == 1.0


# NAB ----------------------------------------------------------------------------------------------


def test_probation():
    lengths = (0, 6, 7, 20, 4999, 5000, 22695)
    assert [probation_rows(rows) for rows in lengths] == [0, 0, 1, 3, 749, 750, 750]


def test_the_profiles_are_the_published_ones():
    weights = {name: (p["tp"], p["fp"], p["tn"], p["fn"]) for name, p in PROFILES.items()}
    assert weights == {
        "standard": (1.0, 0.11, 1.0, 1.0),
        "reward_low_FP": (1.0, 0.22, 1.0, 1.0),
        "reward_low_FN": (1.0, 0.11, 1.0, 2.0),
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_a_detection_is_worth_less_the_later_it_comes(profile):
    window = [(40, 49)]
    assert nab_raw(flagged(100, 40), window, profile, 0) == pytest.approx(1.0)
    # sigmoid(-0.5) / sigmoid(-1) = 0.84828 / 0.98661, the paper's two numbers.
    assert nab_raw(flagged(100, 45), window, profile, 0) == pytest.approx(0.85979, abs=1e-5)
    assert nab_raw(flagged(100, 49), window, profile, 0) == pytest.approx(
        sigmoid(-0.1) / sigmoid(-1)
    )
    # In a wide window the last row is worth next to nothing.
    assert nab_raw(flagged(2000, 1999), [(1000, 1999)], profile, 0) == pytest.approx(0, abs=3e-3)


def test_only_the_first_detection_in_a_window_counts():
    assert nab_raw(flagged(100, 45, 46, 49), [(40, 49)], "standard", 0) == pytest.approx(
        nab_raw(flagged(100, 45), [(40, 49)], "standard", 0)
    )


@pytest.mark.parametrize(
    ("profile", "fp", "fn"), [("reward_low_FP", 0.22, 1), ("reward_low_FN", 0.11, 2)]
)
def test_false_alarms_and_misses_by_hand(profile, fp, fn):
    window = [(40, 50)]
    silent = -fn
    assert nab_raw(flagged(100), window, profile, 0) == silent
    # Before any window, and three widths or more past one, an alarm costs A_fp in full.
    for row in (0, 39, 80, 99):
        assert nab_raw(flagged(100, row), window, profile, 0) == pytest.approx(silent - fp)
    # Five rows past the last row of a window of 11: position 0.5, which is -0.84828.
    assert nab_raw(flagged(100, 55), window, profile, 0) == pytest.approx(
        silent - 0.84828 * fp, abs=1e-5
    )
    # Each flagged row counts.
    assert nab_raw(flagged(100, 1, 2, 55), window, profile, 0) == pytest.approx(
        silent - 2.84828 * fp, abs=1e-5
    )


def test_the_latest_window_sets_the_scale_of_an_alarm():
    raw = nab_raw(flagged(100, 10, 40, 42), [(10, 30), (40, 41)], "standard", 0)
    assert raw == pytest.approx(1 + 1 + 0.11 * sigmoid(1))


def test_an_alarm_after_a_window_of_one_row():
    assert nab_raw(flagged(30, 10, 11), [(10, 10)], "standard", 0) == pytest.approx(
        1 + 0.11 * sigmoid(1)
    )


def test_the_probation_counts_nothing():
    assert nab_raw(flagged(100, 0, 5, 14), [(3, 8)], "standard", 15) == 0
    # The window in part before it: seen from row 15 on, at the position of the whole window.
    assert nab_raw(flagged(100, 12, 15), [(10, 19)], "standard", 15) == pytest.approx(
        sigmoid(-0.5) / sigmoid(-1)
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_null_is_0_and_perfect_100(profile):
    windows = [(40, 49), (70, 79)]
    assert nab_score([(flagged(100), windows), (flagged(50), [])], profile) == 0
    files = [(flagged(100, 40, 70), windows), (flagged(50), [])]
    assert nab_score(files, profile) == pytest.approx(100)


def test_the_corpus_is_summed_before_it_is_scaled():
    # Of three windows two are found at once, one is missed: raw 1, between -3 and 3.
    files = [(flagged(100, 40, 70), [(40, 49), (70, 79)]), (flagged(50), [(20, 29)])]
    assert nab_score(files, "standard") == pytest.approx(100 * 4 / 6)
    # With a miss at 2: raw 0, between -6 and 3.
    assert nab_score(files, "reward_low_FN") == pytest.approx(100 * 6 / 9)


def test_without_windows_there_is_no_score():
    assert nab_score([(flagged(100, 50), [])], "standard") is None
    assert nab_score([(flagged(100, 50), [(3, 8)])], "standard") is None
    assert nab_score([], "standard") is None
    assert nab_best([(np.ones(9), [])], "standard") == (None, math.inf)
    assert nab_best([], "standard") == (None, math.inf)


def test_the_best_threshold_by_hand():
    scores = np.zeros(100)
    # 0.9 flags an alarm, 0.8 the window's last half, 0.7 its first row; 0.2 only more alarms.
    scores[[20, 45, 40, 25, 30]] = 0.9, 0.8, 0.7, 0.2, 0.2
    score, threshold = nab_best([(scores, [(40, 49)])], "standard")
    assert threshold == 0.7
    assert score == pytest.approx(100 * (1 - 0.11 + 1) / 2)


def test_scores_in_the_probation_may_be_missing():
    scores = np.full(20, 0.5)
    scores[:3], scores[10] = math.nan, 0.9
    assert nab_best([(scores, [(10, 12)])], "standard") == (pytest.approx(100), 0.9)
    scores[3] = math.nan
    with pytest.raises(ValueError, match="finite"):
        nab_best([(scores, [(10, 12)])], "standard")


@given(st.lists(labelled(), max_size=3), st.sampled_from(sorted(PROFILES)))
@settings(deadline=None)
def test_no_threshold_beats_the_best(files, profile):
    score, threshold = nab_best(files, profile)
    tried = {
        candidate: nab_score([(scores >= candidate, windows) for scores, windows in files], profile)
        for candidate in (*np.unique(np.concatenate([[], *(s for s, _ in files)])), math.inf)
    }
    assert score == tried[threshold]
    if score is not None:
        assert score == pytest.approx(max(tried.values()))
        assert 0 <= score <= 100 + 1e-9


@given(labelled(), st.sampled_from(sorted(PROFILES)))
def test_another_alarm_never_helps(series, profile):
    scores, windows = series
    flags = scores > 0.5
    raw = nab_raw(flags, windows, profile, 0)
    assert raw <= len(windows) * PROFILES[profile]["tp"] + 1e-9
    outside = np.ones(len(flags), dtype=bool)
    for first, last in windows:
        outside[first : last + 1] = False
    assert nab_raw(flags | outside, windows, profile, 0) <= raw + 1e-9


def test_a_corpus_is_swept_once_and_not_at_each_threshold(monkeypatch):
    calls = Counter()

    def count(name):
        real = getattr(anomaly_detection_metrics, name)

        def counted(*given):
            calls[name] += 1
            return real(*given)

        monkeypatch.setattr(anomaly_detection_metrics, name, counted)

    count("nab_raw")
    count("_credits")
    rng = np.random.default_rng(0)
    files = [(rng.random(20_000), [(5_000, 5_500), (9_000, 9_800)]) for _ in range(4)]
    nab_best(files, "standard")
    # Each file's gains, and its score at the threshold that was chosen.
    assert calls == {"nab_raw": 4, "_credits": 8}


def test_what_is_no_window_or_flag_is_refused():
    for bad in ([(5, 4)], [(-1, 3)], [(5, 10)]):
        with pytest.raises(ValueError, match="within 10 rows"):
            window_f1(flagged(10), bad)
    with pytest.raises(ValueError, match="overlap"):
        nab_raw(flagged(10), [(1, 4), (4, 6)], "standard", 0)
    with pytest.raises(ValueError, match="boolean"):
        nab_raw([0.5, 0.2], [], "standard", 0)
    with pytest.raises(KeyError):
        nab_raw(flagged(10), [], "type1error", 0)
