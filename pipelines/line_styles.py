"""How a line of text holds its label: `__label__good a film`, `good<TAB>a film`, `good a film`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

MAX_LABELS, MAX_LABEL_LENGTH, MIN_OCCURRENCES = 50, 40, 2
_FASTTEXT = "__label__"

LineStyle = Callable[[str], tuple[str, str]]  # line -> (label, text)


def looks_like_labels(values: Sequence[str]) -> bool:
    """Tells whether these strings may be labels: few, short, each occurring at least twice."""
    counts = Counter(values)
    return bool(counts) and (
        len(counts) <= MAX_LABELS
        and min(counts.values()) >= MIN_OCCURRENCES
        and all(0 < len(value.strip()) <= MAX_LABEL_LENGTH for value in counts)
    )


def find_line_style(lines: Sequence[str]) -> LineStyle | None:
    """Finds the style of lines with labels; None where they show none."""
    if all(line.startswith(_FASTTEXT) for line in lines):
        return _split_fasttext
    if all(line.count("\t") == 1 for line in lines):
        left, right = zip(*(line.split("\t") for line in lines), strict=True)
        is_label = looks_like_labels(left), looks_like_labels(right)
        if is_label == (True, False):
            return _split_tab
        if is_label == (False, True):
            return _split_tab_last
    if looks_like_labels([line.split(None, 1)[0] for line in lines]):
        return split_token
    return None


def _split_fasttext(line: str) -> tuple[str, str]:
    label, _, text = line.partition(" ")
    if not label.startswith(_FASTTEXT):
        raise ValueError("this line does not begin with __label__ as those of train do.")
    if text.lstrip().startswith(_FASTTEXT):
        raise ValueError("this line has several labels; give one per example.")
    return label.removeprefix(_FASTTEXT), text


def _split_tab(line: str) -> tuple[str, str]:
    label, tab, text = line.partition("\t")
    if not tab:
        raise ValueError("this line has no tab between label and text as those of train do.")
    return label, text


def _split_tab_last(line: str) -> tuple[str, str]:
    text, tab, label = line.rpartition("\t")
    if not tab:
        raise ValueError("this line has no tab between text and label as those of train do.")
    return label, text


def split_token(line: str) -> tuple[str, str]:
    """Takes the first word as label."""
    label, *text = line.split(None, 1)
    return label, text[0] if text else ""


STYLES: tuple[LineStyle, ...] = (_split_fasttext, _split_tab, _split_tab_last, split_token)
