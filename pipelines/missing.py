"""The words that stand where nothing is known."""

from __future__ import annotations

# In lower case. What pandas, R, spreadsheets and data bases write for an empty cell.
MISSING = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "?"))


def is_missing(text: str) -> bool:
    """Tells whether a cell says that nothing is known.

    >>> [is_missing(text) for text in ("", " NaN ", "null", "no")]
    [True, True, True, False]
    """
    return text.strip().lower() in MISSING
