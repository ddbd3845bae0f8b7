"""Texts of a given form: at each step only those ids are allowed that can still lead to it.

A form is a regular expression that the whole text must match, prompt included. It is made into a
finite automaton over characters (Thompson 1968), and that into one over ids (Willard and Louf 2023,
arXiv:2307.09702): a table of which state each id leads to. Ids that lead where no text of the form
can be written any more, for want of characters, are not allowed either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from decoding.stepping import DecodingError

NOWHERE = -1
MOST_ENTRIES = 20_000_000  # of the table: states times ids
MOST_REPEATS = 100_000  # product of all that a pattern asks for, before it is tried
LONGEST = 1000  # characters of a pattern


class Form:
    """A regular expression over the ids of a vocabulary.

    Attributes:
        table: ``<int32>[states, ids]``: the state behind each id, ``NOWHERE`` where it is not
            allowed; the end id leads from each state where a text may end to that state.
        behind_unknown: ``<int32>[states]``: the state behind the unknown id, which is one character
            that the expression does not name where a prompt has it.
        first: the state before the first id.

    Args:
        pattern: the expression, in the syntax of ``re`` without back references and without
            anchors inside; ``^`` and ``$`` around the whole are left out.
        written: what each id adds to the text; "" for special ids, which are not allowed.
        end: id that ends a text.
        unknown: id that stands for any other character in a prompt, and is never written.

    Raises:
        DecodingError: the pattern is none, too large, or matches no text of these ids.
    """

    def __init__(
        self, pattern: str, written: Sequence[str], end: int, unknown: int | None = None
    ) -> None:
        from interegular.fsm import anything_else

        automaton = _automaton(pattern)
        states = sorted(automaton.states)
        if len(states) * len(written) > MOST_ENTRIES:
            raise DecodingError(
                f"form has {len(states)} states, for {len(written)} units; "
                f"{MOST_ENTRIES // len(written)} are the most: simplify it"
            )
        number = {state: i for i, state in enumerate(states)}
        moves = _moves(automaton, number)
        table = np.full((len(states), len(written)), NOWHERE, np.int32)
        for i, text in enumerate(written):
            if text and i not in (end, unknown):
                table[:, i] = _behind(moves, automaton.alphabet, text)
        final = np.array([state in automaton.finals for state in states])
        dead = _dead(table, final)
        table[dead[table] & (table != NOWHERE)] = NOWHERE
        table[:, end] = np.where(final, np.arange(len(states)), NOWHERE)
        self.table, self.first = table, number[automaton.initial]
        self.unknown = unknown
        others = _behind(moves, automaton.alphabet, [anything_else])
        self.behind_unknown = np.where(dead[others], NOWHERE, others)
        if not (table[self.first] != NOWHERE).any():
            raise DecodingError(f"form {pattern!r} matches no text that this model can write")

    def behind(self, ids: Sequence[int]) -> int:
        """The state behind the ids of a prompt, without its start.

        Raises:
            DecodingError: no text of the form begins so.
        """
        state = self.first
        for number in ids:
            behind = self.behind_unknown if number == self.unknown else self.table[:, number]
            state = int(behind[state])
            if state == NOWHERE:
                raise DecodingError("the text to go on with does not begin as form says")
        return state

    def prompt_table(self) -> np.ndarray:
        """``table`` with the unknown id, as ``behind`` has it."""
        table = self.table.copy()
        if self.unknown is not None:
            table[:, self.unknown] = self.behind_unknown
        return table


def _automaton(pattern: str):
    """A deterministic automaton of ``interegular``, as small as can be."""
    import interegular

    # Of the whole text these say nothing new, and the parser does not know them.
    pattern = re.sub(r"^\^|(?<!\\)\$$", "", pattern)
    repeats = math.prod(max(1, int(n)) for n in re.findall(r"(\d+)\}", pattern))
    if len(pattern) > LONGEST or repeats > MOST_REPEATS:
        raise DecodingError(
            f"form has {len(pattern)} characters and asks for {repeats} repeats; it may have "
            f"{LONGEST} and {MOST_REPEATS}"
        )
    try:
        return interegular.parse_pattern(pattern).to_fsm().reduce()
    except Exception as error:  # its parser raises whatever it stumbles over
        raise DecodingError(f"form {pattern!r} is no regular expression ({error})") from error


def _moves(automaton, number: dict) -> np.ndarray:
    """``<int32>[states + 1, keys]``: where each class of characters leads; the last row nowhere."""
    keys = 1 + max(automaton.alphabet.values(), default=0)
    moves = np.full((len(number) + 1, keys), NOWHERE, np.int32)
    for state, found in automaton.map.items():
        for key, target in found.items():
            if target in number:
                moves[number[state], key] = number[target]
    return moves


def _behind(moves: np.ndarray, alphabet, text: Iterable) -> np.ndarray:
    """Where a text leads from each state."""
    states = np.arange(len(moves) - 1)
    for character in text:
        states = moves[states, alphabet[character]]  # NOWHERE is the last row
    return states


def _dead(table: np.ndarray, final: np.ndarray) -> np.ndarray:
    """``<bool>[states]``: from which no final state is reached by allowed ids."""
    live = final.copy()
    while True:
        found = live | (live[table] & (table != NOWHERE)).any(1)
        if (found == live).all():
            return ~live
        live = found
