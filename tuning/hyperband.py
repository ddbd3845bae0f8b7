"""Hyperband: many short trials, of which the better ones train longer, and a model to draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from keras_tuner.src.tuners.hyperband import HyperbandOracle

from tuning.leaderboard import TrialRow
from tuning.model_based import ModelBased
from tuning.strategy import ENDED, NoProposal, Proposal, Rows

# One in so many trials of a first round is random, whatever the model says.
RANDOM_EVERY = 3


@dataclass(frozen=True)
class BracketPosition:
    """Position of a trial in Hyperband.

    Attributes:
        bracket: number of the bracket; 0 is the last one, without halvings.
        round: number of the round in the bracket, from 0.
        index: index of the trial in the round, from 0.
        first: number of the round's first trial.
        before: numbers of the previous round's trials; empty in the first round.
        bracket_first: number of the bracket's first trial.
    """

    bracket: int
    round: int
    index: int
    first: int
    before: range
    bracket_first: int


class HyperbandStrategy(ModelBased, HyperbandOracle):
    """Hyperband (Li et al. 2018) whose first rounds are drawn by a model, as in BOHB.

    Brackets and rounds have KerasTuner's sizes and epochs. A round starts when all trials of the
    previous round have ended; failed trials count as the worst. While a round waits, the workers
    run the first round of the next bracket.

    Two of three trials of a first round are the guess of a Gaussian process that also knows for how
    many epochs each trial trained (Falkner, Klein and Hutter 2018 use a density estimate); every
    third is random. A guess uses the results of the first rounds so far, except their last
    ``max_pending`` trials, and of the later rounds of brackets that have long ended: up to the last
    but one, or for more than eight pending trials one more for each eight.
    """

    # A short trial says less than a whole one.
    initial_points = 8

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """In a first round a guess or a random sample; later, the best trial of the round before
        that has not been continued."""
        at = self.position(number)
        until = self._get_epochs(at.bracket, at.round)
        if at.round == 0:
            if not self._all_known(number, rows):
                return NoProposal.WAIT
            values = self._first_round(number, at, rows)
            if values is None:
                return NoProposal.SKIP if number else NoProposal.END
            return Proposal(values, until, None, at.bracket, 0)
        before = [rows.get(n) for n in at.before]
        if any(row is None or row.state not in ENDED for row in before):
            return NoProposal.WAIT
        sign = -1 if self.objective.direction == "max" else 1
        best = sorted(
            (sign * row.score, n)
            for n, row in zip(at.before, before, strict=True) if row.state == "COMPLETED"
        )  # fmt: skip
        if at.index >= len(best):
            return NoProposal.SKIP
        parent = best[at.index][1]
        return Proposal(rows[parent].values, until, parent, at.bracket, at.round)

    def _first_round(self, number: int, at: BracketPosition, rows: Rows) -> dict[str, Any] | None:
        tried = self._tried(number, rows)
        values = self._drawn(number, at, rows, tried)
        if values is None:
            # In a small space, values of another bracket may be repeated, with other epochs.
            here = [rows[n].values for n in range(at.first, number)]
            tried = {self._compute_values_hash(each) for each in here if each}
            values = self._drawn(number, at, rows, tried)
        return values

    def _drawn(
        self, number: int, at: BracketPosition, rows: Rows, tried: set[str]
    ) -> dict[str, Any] | None:
        if at.index % RANDOM_EVERY == RANDOM_EVERY - 1:
            return self._sample(number, tried)
        whole, recent, pending = self._sources(number)
        known = [rows[n] for n in (*range(whole), *recent)]
        return self._guess(number, known, [rows[n] for n in pending], tried)

    def _all_known(self, number: int, rows: Rows) -> bool:
        """Whether all trials that a guess may use have ended or, if they are pending, begun."""
        whole, recent, pending = self._sources(number)
        return (
            self._all_ended(whole, rows)
            and all(n in rows and rows[n].state in ENDED for n in recent)
            and all(n in rows for n in pending)
        )

    def _sources(self, number: int) -> tuple[int, list[int], list[int]]:
        """The trials that a guess uses: those below the first number, and those of the first list.

        The second list has the trials that may not have ended.
        """
        whole = self.position(number).bracket_first
        for _ in range(1 + self.max_pending // 8):
            whole = self.position(max(0, whole - 1)).bracket_first
        recent = [n for n in range(whole, number) if self.samples(n)]
        split = max(0, len(recent) - self.max_pending)
        return whole, recent[:split], recent[split:]

    def _place(self, values: dict[str, Any]) -> list[float]:
        return [*super()._place(values), 1.0]

    def _places(self, rows: Sequence[TrialRow]) -> np.ndarray:
        places = super()._places(rows)
        places[:, -1] = [self._share(self.position(int(row.trial))) for row in rows]
        return places

    def _share(self, at: BracketPosition) -> float:
        """Epochs of a trial, as their logarithm's share of that of all epochs."""
        return math.log1p(self._get_epochs(at.bracket, at.round)) / math.log1p(self.max_epochs)

    def _whole(self, places: np.ndarray) -> np.ndarray:
        return np.column_stack([places[:, :-1], np.ones(len(places))])

    @property
    def _unordered(self) -> np.ndarray:
        return np.append(super()._unordered, False)

    def samples(self, number: int) -> bool:
        """Whether the trial is in a first round."""
        return self.position(number).round == 0

    def needed(self, rows: Rows) -> set[int]:
        """Trials of rounds whose next round has not ended, also in an incomplete bracket."""
        found: set[int] = set()
        last = max(rows, default=-1)
        self._all_ended(last + 1, rows)  # counts them
        number = self.position(self._ended).bracket_first
        while True:
            at = self.position(number)
            ended = number in rows and rows[number].state in ENDED
            if not ended:
                found |= {n for n in at.before if n in rows}
            if number > last and at.round == 0 and number == at.first:
                return found
            number += 1

    def position(self, number: int) -> BracketPosition:
        """Bracket, round and index of a trial; after the last bracket the first one follows."""
        start = number - number % len(self._iteration)
        at = self._iteration[number - start]
        before = range(at.before.start + start, at.before.stop + start)
        return replace(
            at, first=at.first + start, bracket_first=at.bracket_first + start, before=before
        )

    @cached_property
    def _iteration(self) -> list[BracketPosition]:
        """Positions of the trials from the first bracket to the last."""
        found: list[BracketPosition] = []
        for bracket in reversed(range(self._get_num_brackets())):
            before, bracket_first = range(0), len(found)
            for round_ in range(bracket + 1):
                first, size = len(found), self._get_size(bracket, round_)
                found += [
                    BracketPosition(bracket, round_, index, first, before, bracket_first)
                    for index in range(size)
                ]
                before = range(first, first + size)
        return found
