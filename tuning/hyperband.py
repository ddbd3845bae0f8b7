"""Hyperband: many short trials, of which the better ones train longer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from keras_tuner.src.tuners.hyperband import HyperbandOracle

from tuning.strategy import ENDED, NoProposal, Proposal, Rows, Strategy


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


class HyperbandStrategy(Strategy, HyperbandOracle):
    """Hyperband (Li et al. 2018): many short trials, of which the better ones train longer.

    Brackets and rounds have KerasTuner's sizes and epochs. A round starts when all trials of the
    previous round have ended; failed trials count as the worst. While a round waits, the workers
    run the first round of the next bracket.
    """

    def propose(self, number: int, rows: Rows) -> Proposal | NoProposal:
        """A random sample in a first round; later, the next best trial of the previous round."""
        at = self.position(number)
        until = self._get_epochs(at.bracket, at.round)
        if at.round == 0:
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
        values = self._sample(number, self._tried(number, rows))
        if values is None:
            # In a small space, values of another bracket may be repeated, with other epochs.
            here = (rows[n].values for n in range(at.first, number))
            values = self._sample(
                number, {self._compute_values_hash(each) for each in here if each}
            )
        return values

    def _sampled(self, number: int) -> bool:
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
