"""Names of columns in a setting, several with commas between them."""

from __future__ import annotations

from collections.abc import Collection

from common.errors import DataError


def named_columns(text: str, flag: str, names: Collection[str] = ()) -> tuple[str, ...]:
    """The columns that ``"store, item"`` names; nothing where the setting is not given.

    >>> named_columns("store, item", "--id-column"), named_columns("", "--target")
    (('store', 'item'), ())

    Args:
        text: what the setting says.
        flag: the setting, for messages.
        names: the columns there are, where they are known: one whose own name has a comma is one.

    Raises:
        DataError: there are commas alone.
    """
    if text in names:
        return (text,)
    named = tuple(name.strip() for name in text.split(",") if name.strip())
    if text.strip() and not named:
        raise DataError(f"{flag} {text} names no column; write {flag} NAME, or NAME,NAME")
    return named
