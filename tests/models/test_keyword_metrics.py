"""Misses and false alarms, by hand."""

from models.keyword_metrics import Spoken, misses_and_alarms

SPOKEN = [Spoken(1.0, 1.5, "a"), Spoken(3.0, 3.4, "b"), Spoken(3.9, 4.2, "a")]
HOUR = 3600.0


def test_by_hand():
    def rates(found, seconds=HOUR):
        return misses_and_alarms(SPOKEN, found, seconds, tolerance=0.5)

    assert rates([]) == (1.0, 0.0)
    assert rates([(1.2, "a"), (3.9, "b"), (4.7, "a")]) == (0.0, 0.0)
    assert rates([(0.9, "a"), (1.4, "b"), (2.1, "a")]) == (1.0, 3.0), "early, another, late"
    assert rates([(1.2, "a"), (1.6, "a")]) == (2 / 3, 1.0), "found twice"
    assert rates([(0.1, "a")], seconds=60.0) == (1.0, 60.0)
    assert misses_and_alarms([], [(1.0, "a")], 1800.0) == (0.0, 2.0)


def test_two_of_a_label_close_together_are_found_by_two():
    spoken = [Spoken(0.0, 0.5, "a"), Spoken(0.6, 1.0, "a")]
    assert misses_and_alarms(spoken, [(0.5, "a"), (1.0, "a")], HOUR, 0.5) == (0.0, 0.0)
    assert misses_and_alarms(spoken, [(0.9, "a")], HOUR, 0.5) == (0.5, 0.0)
