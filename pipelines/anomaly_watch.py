"""From the scores of single rows to alarms: what a detector remembers of the rows before.

A model scores each row by how far it is from what the model expects. The watch adds three
witnesses that need no network, but a memory: the *recent level*, a moving average of the rows;
*unrest*, a moving average of the first expectation's score; and *stillness*, a moving average of
the change from row to row, too small. Each has a threshold of its own, from train.

A witness at its threshold opens an *event*, which lasts until the witness has been below half of
its threshold for ``quiet`` rows. An alarm is raised where an event opens, so that a lasting cause
calls once, and another cause, which another witness sees, calls again.

Each witness is a sum over columns, so each column has a share in it. What a column contributes to
the score of a row is its share in the squares of all witnesses; where an alarm is raised, in those
of the witnesses that open an event there: what went on before is not its cause.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.ragged import Arrays

RECENT, UNREST, STILL = 288, 36, 72  # rows that the moving averages reach back, about
LEVEL_RATE, UNREST_RATE, STILL_RATE = (2 / (rows + 1) for rows in (RECENT, UNREST, STILL))
GOES_ON = 0.5  # share of its threshold at which a witness keeps its event open
STILLEST = 1e-3  # changes below this share of the usual one are alike
LEAST_CHANGE = 1e-6  # in units of the scaler: of a column that never changes on train
LONG_AGO = 1e6  # rows after which it does not matter when the last alarm was
TINY = 1e-12  # keeps shares of nothing from being divided by it


@dataclass(frozen=True)
class Watch:
    """What the witnesses are measured in. All are equal row by row and over whole series.

    Attributes:
        expectations: how many scores the model gives each row.
        quiet: rows after an alarm without another, and of calm that end an event.
        unit: distance from the recent level in each column that makes an alarm; empty where the
            model has no steps, which has no witnesses but its own scores then.
        change: usual change from row to row in each column.
        unrest: threshold of the moving average of the first score.
        still: threshold of the logarithm of how much smaller than usual the changes are.
        columns: how many there are; 0 in bundles of earlier versions, whose models do not give the
            parts of their scores: what columns contribute is not known then.
    """

    expectations: int
    quiet: int
    unit: tuple[float, ...] = ()
    change: tuple[float, ...] = ()
    unrest: float = 1.0
    still: float = 1.0
    columns: int = 0

    @property
    def witnesses(self) -> int:
        """How many there are."""
        return self.expectations + (3 if self.unit else 0)

    @property
    def lagging(self) -> np.ndarray:
        """Whether each is a moving average that tells late: ``<bool>[witnesses]``."""
        return np.arange(self.witnesses) > self.expectations

    @property
    def memory(self) -> dict[str, tuple[int, ...]]:
        """Shape of each state without the batch; all are zeros before the first row."""
        columns = (len(self.unit),)
        unrest = columns if self.columns else ()
        levels = {"level": columns, "change": columns, "unrest": unrest} if self.unit else {}
        return {**levels, "open": (self.witnesses,), "since": ()}

    def initial(self, rows: int) -> Arrays:
        """The states before the first row of so many series."""
        return {name: np.zeros((rows, *size), np.float32) for name, size in self.memory.items()}

    def advance(
        self, states: Arrays, row: Arrays
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Arrays]:
        """One row of several series.

        Args:
            states: as ``memory``; they are left as they are.
            row: ``scores [series, expectations]`` of the model and their ``parts [series,
                expectations * columns]``; ``row`` and ``before [series, columns]``, scaled;
                ``seen [series]``, 0 where it is the first.

        Returns:
            Every witness in units of its threshold ``<float32>[series, witnesses]``; whether there
            is an alarm ``<int32>[series]``; what each column contributes to the highest witness,
            ``<float32>[series, columns]``; and the states for the next row.
        """
        found, squares, following = self._witnesses(states, row)
        hot, was_open = found >= 1, states["open"] > 0
        on = hot | (was_open & (found >= np.float32(GOES_ON)))
        quiet, since = np.float32(self.quiet), states["since"]
        following["open"] = np.where(on, quiet, np.maximum(states["open"] - 1, 0))
        wait = np.where(self.lagging, np.float32(max(self.quiet, UNREST)), quiet)
        free = (since == 0)[:, None] | (since[:, None] > wait)
        opens = hot & ~was_open & free
        alarm = opens.any(1)
        cause = (squares * (opens | ~alarm[:, None])[..., None]).sum(1)
        share = cause / np.maximum(cause.sum(-1, keepdims=True), np.float32(TINY))
        later = np.where(since == 0, since, np.minimum(since + 1, np.float32(LONG_AGO)))
        following["since"] = np.where(alarm, np.float32(1), later)
        states = {name: array.astype(np.float32) for name, array in following.items()}
        return found, alarm.astype(np.int32), found.max(-1, keepdims=True) * share, states

    def _witnesses(self, states: Arrays, row: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
        """All of them; their squares by column ``[series, witnesses, columns]``; and states."""
        scores = row["scores"]
        shape = (len(scores), self.expectations, self.columns)
        parts = row["parts"].reshape(shape) if self.columns else np.zeros(shape, np.float32)
        if not self.unit:
            return scores, parts, {}
        values, first = row["row"], (row["seen"] == 0)[:, None]
        usual = np.maximum(np.array(self.change, np.float32), np.float32(LEAST_CHANGE))
        level = np.where(first, values, states["level"])
        away = (values - level) / np.array(self.unit, np.float32)
        step = np.abs(values - row["before"])
        change = np.where(first, usual, states["change"])
        change = change + np.float32(STILL_RATE) * (step - change)
        restless = scores[:, 0]
        if self.columns:  # of each column its part of the score, which add up to it
            restless = parts[:, 0] / np.maximum(scores[:, :1], np.float32(TINY))
        unrest = states["unrest"] + np.float32(UNREST_RATE) * (restless - states["unrest"])
        less = np.log(usual / np.maximum(change, usual * np.float32(STILLEST)))
        less = np.maximum(less, 0) / np.float32(self.still)
        away, total = np.square(away), unrest.sum(-1) if self.columns else unrest
        stillest = less.max(-1)
        mine = [np.sqrt(away.mean(-1)), total / np.float32(self.unrest), stillest]
        if self.columns:
            # A column that is a little still has no part in the stillness of another one.
            part = (less / np.maximum(stillest[:, None], np.float32(TINY))) ** 8
            squares = [
                away / np.float32(self.columns),
                total[:, None] * unrest / np.float32(self.unrest**2),
                np.square(stillest)[:, None] * part / np.maximum(part.sum(-1, keepdims=True), 1),
            ]
            parts = np.concatenate([parts, np.stack(squares, 1)], 1)
        else:
            parts = np.zeros((len(scores), self.witnesses, 0), np.float32)
        level = level + np.float32(LEVEL_RATE) * (values - level)
        found = np.concatenate([scores, np.stack(mine, -1)], -1)
        return found, parts, {"level": level, "change": change, "unrest": unrest}

    def over(
        self, scores: np.ndarray, rows: np.ndarray, parts: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whole series.

        Args:
            scores: of the model, ``<float32>[series, time, expectations]``.
            rows: scaled, ``<float32>[series, time, columns]``.
            parts: of the scores, ``<float32>[series, time, expectations * columns]``; they are not
                read where ``columns`` is 0.

        Returns:
            ``<float32>[series, time, witnesses]``, ``<int32>[series, time]`` and
            ``<float32>[series, time, columns]``: see ``advance``.
        """
        series, time = scores.shape[:2]
        found = np.zeros((series, time, self.witnesses), np.float32)
        alarms = np.zeros((series, time), np.int32)
        blamed = np.zeros((series, time, self.columns), np.float32)
        states = self.initial(series)
        for t in range(time):
            row = {
                "scores": scores[:, t], "row": rows[:, t], "before": rows[:, max(t - 1, 0)],
                "seen": np.full(series, min(t, 1), np.float32),
            }  # fmt: skip
            if parts is not None:
                row["parts"] = parts[:, t]
            found[:, t], alarms[:, t], blamed[:, t], states = self.advance(states, row)
        return found, alarms, blamed

    def to_json(self) -> dict[str, Any]:
        """For ``preprocessor.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Watch:
        """Reads back what ``to_json`` gave."""
        lists = {name: tuple(state[name]) for name in ("unit", "change")}
        return cls(**{**state, **lists})
