"""Texts of a given form: at each step only those ids are allowed that can still lead to it.

A form is a regular expression that the whole text must match, prompt included. It is made into a
finite automaton over characters (Thompson 1968), and that into one over ids (Willard and Louf 2023,
arXiv:2307.09702): a table of which state each id leads to. Ids that lead where no text of the form
can be written any more, for want of characters, are not allowed either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from decoding.stepping import DecodingError

NOWHERE = -1
MOST_ENTRIES = 20_000_000  # of the table: states times ids
MOST_REPEATS = 100_000  # product of all that a pattern asks for, before it is tried
LONGEST = 1000  # characters of a pattern
MOST_MOVES = 1_000_000  # that are followed to make an automaton: about a second of time


class Form:
    """A regular expression over the ids of a vocabulary.

    Attributes:
        pattern: the expression.
        table: ``<int32>[states, ids]``: the state behind each id, ``NOWHERE`` where it is not
            allowed; the end id leads from each state where a text may end to that state.
        first: the state before the first id.

    Args:
        pattern: the expression, in the syntax of ``re`` without anchors and look-around's back
            references.
        written: what each id adds to the text; "" for special ids, which are not allowed.
        end: id that ends a text.

    Raises:
        DecodingError: the pattern is none, too large, or matches no text of these ids.
    """

    def __init__(self, pattern: str, written: Sequence[str], end: int) -> None:
        automaton = _automaton(pattern)
        states = sorted(automaton.states)
        if len(states) * len(written) > MOST_ENTRIES:
            raise DecodingError(
                f"form has {len(states)} states, for {len(written)} units; "
                f"{MOST_ENTRIES // len(written)} are the most: simplify it"
            )
        number = {state: i for i, state in enumerate(states)}
        # Most units are of a few classes: digits, say, and all else.
        classes = [tuple(map(automaton.alphabet.__getitem__, text)) for text in written]
        places = {one: i for i, one in enumerate(dict.fromkeys(filter(None, classes)))}
        behind = _behind(_moves(automaton, number), list(places))
        final = np.array([state in automaton.finals for state in states])
        behind[_dead(behind, final)[behind] & (behind != NOWHERE)] = NOWHERE
        table = np.full((len(states), len(written)), NOWHERE, np.int32)
        kept = [i for i, one in enumerate(classes) if one and i != end]
        table[:, kept] = behind[:, [places[classes[i]] for i in kept]]
        table[:, end] = np.where(final, np.arange(len(states)), NOWHERE)
        self.pattern, self.table, self.first = pattern, table, number[automaton.initial]
        if not (table[self.first] != NOWHERE).any():
            raise DecodingError(
                f"form {pattern!r} matches no text that this model can write; "
                "ask for characters that its training text had"
            )

    def behind(self, ids: Sequence[int]) -> int:
        """The state behind the ids of a prompt, without its start.

        Raises:
            DecodingError: no text of the form begins so.
        """
        state = self.first
        for number in ids:
            state = int(self.table[state, number])
            if state == NOWHERE:
                raise DecodingError(
                    f"the text to go on with does not begin as form {self.pattern!r} says; "
                    "a form is for the whole text: change one of the two"
                )
        return state


def check_form(pattern: str) -> None:
    """Refuses what is no form, whatever the vocabulary.

    Raises:
        DecodingError: the pattern is no expression, or too large.
    """
    _automaton(pattern)


def _automaton(pattern: str):
    """A deterministic automaton of ``interegular``, as small as can be."""
    interegular = _interegular()
    repeats = math.prod(max(1, int(n)) for n in re.findall(r"(\d+)\}", pattern))
    if len(pattern) > LONGEST or repeats > MOST_REPEATS:
        raise DecodingError(
            f"form has {len(pattern)} characters and asks for {repeats} repeats; it may have "
            f"{LONGEST} and {MOST_REPEATS}"
        )
    try:
        return interegular.parse_pattern(pattern).to_fsm().reduce()
    except DecodingError:
        raise
    except Exception as error:  # its parser raises whatever it stumbles over
        why = f" ({error})" if str(error) else ""
        raise DecodingError(
            f"form {pattern!r} is no regular expression{why}; mend it, or leave it away"
        ) from error


@cache
def _interegular() -> Any:
    """The library, which from here on gives up on what is too large.

    A pattern of few characters may have any number of states: ``[ab]*a[ab]{30}`` has 2**31. Its own
    ``crawl`` would go on for ever, and looks for each state in a list of all.
    """
    import interegular
    import interegular.fsm

    interegular.fsm.crawl = _crawl
    return interegular


def _crawl(alphabet: Any, initial: Any, final: Callable, follow: Callable) -> Any:
    """What ``interegular.fsm.crawl`` gives.

    Raises:
        DecodingError: it would take too long.
    """
    from interegular.fsm import FSM, OblivionError

    numbers, states, moves, followed = {_key(initial): 0}, [initial], {}, 0
    for i, state in enumerate(states):  # which grow meanwhile
        moves[i] = {}
        followed += len(alphabet.by_transition) * (len(state) if hasattr(state, "__len__") else 1)
        if followed > MOST_MOVES:
            raise DecodingError(f"form has more than {len(states)} states: simplify it")
        for transition in alphabet.by_transition:
            try:
                target = follow(state, transition)
            except OblivionError:  # nothing goes on so
                continue
            if (key := _key(target)) not in numbers:
                numbers[key] = len(states)
                states.append(target)
            moves[i][transition] = numbers[key]
    finals = {i for i, state in enumerate(states) if final(state)}
    return FSM(
        alphabet=alphabet, states=range(len(states)), initial=0, finals=finals, map=moves,
        __no_validation__=True,
    )  # fmt: skip


def _key(state: Any) -> Any:
    """A state of the library's, which may be a set or a dict, as what can be looked up."""
    if isinstance(state, dict):
        return tuple(sorted(state.items()))
    return frozenset(state) if isinstance(state, set) else state


def _moves(automaton, number: dict) -> np.ndarray:
    """``<int32>[states + 1, keys]``: where each class of characters leads; the last row nowhere."""
    keys = 1 + max(automaton.alphabet.values(), default=0)
    moves = np.full((len(number) + 1, keys), NOWHERE, np.int32)
    for state, found in automaton.map.items():
        for key, target in found.items():
            if target in number:
                moves[number[state], key] = number[target]
    return moves


def _behind(moves: np.ndarray, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """Where texts of classes of characters lead from each state: ``<int32>[states, texts]``."""
    found = np.full((len(moves) - 1, len(texts)), NOWHERE, np.int32)
    for i, text in enumerate(texts):
        states = np.arange(len(moves) - 1)
        for one in text:
            states = moves[states, one]  # NOWHERE is the last row
        found[:, i] = states
    return found


def _dead(behind: np.ndarray, final: np.ndarray) -> np.ndarray:
    """``<bool>[states]``: from which no final state is reached."""
    order = np.argsort(behind, axis=None, kind="stable")
    starts = np.searchsorted(behind.ravel()[order], np.arange(len(final) + 1))
    live, waiting = final.copy(), np.flatnonzero(final).tolist()
    while waiting:
        target = waiting.pop()
        sources = np.unique(order[starts[target] : starts[target + 1]] // behind.shape[1])
        new = sources[~live[sources]]
        live[new] = True
        waiting += new.tolist()
    return ~live
