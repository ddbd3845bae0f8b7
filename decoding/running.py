"""A batch whose rows come and go at every step, each at its own position with its own settings.

``sample`` runs rows from the first step to the last; here a row may join or leave between any two.
Its ids are those that ``sample`` gives: random numbers depend on a row's seed and position alone.
Servers use it for continuous batching (Yu et al. 2022, "Orca", OSDI), and programs for whole
requests, so that both write the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from decoding.forms import NOWHERE, Form
from decoding.repetition import MAX_PENALTY, penalised
from decoding.sampling import (
    MAX_TEMPERATURE,
    MAX_TOP_K,
    choose_checked,
    seed_hashes,
    uniforms_after,
)
from decoding.stepping import (
    MAX_LENGTH,
    DecodingError,
    States,
    Step,
    check_log_probabilities,
)

# Name, dtype and range of each setting of a row.
RANGES: Mapping[str, tuple[type, float, float]] = {
    "temperature": (np.float32, 0.0, MAX_TEMPERATURE),
    "top_k": (np.int32, 0, MAX_TOP_K),
    "top_p": (np.float32, 0.0, 1.0),
    "repetition_penalty": (np.float32, 1 / MAX_PENALTY, MAX_PENALTY),
    "max_tokens": (np.int32, 1, MAX_LENGTH),
    "seed": (np.int64, -(2**63), 2**63 - 1),
}
DEFAULTS: Mapping[str, float] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "max_tokens": 100,
    "seed": 0,
}
_ARRAYS = ("temperature", "top_k", "top_p", "repetition_penalty")
SMALLEST = 8  # rows for which there is room at first


@dataclass(eq=False)
class RunningRow:
    """One row: what it reads, how it goes on, and how far it is.

    Attributes:
        prompt: ``<int32>[ids]``, one or more; read before the first id is drawn.
        settings: by the names of ``RANGES``; one that is missing has its default.
        read: ids of the prompt that the step has been given.
        position: ids that were drawn.
        score: sum of their log-probabilities.
        states: those with which it joins again; None before its first step, and while it runs.
        last: the id that the step is given next, once the prompt is read.
        seen: ``<bool>[vocabulary]``, ids that the row has, where repetition is punished.
        form: what the text must match; None for anything.
        form_state: of the form, behind the prompt and the ids drawn.
    """

    prompt: np.ndarray
    settings: Mapping[str, float] = field(default_factory=dict)
    read: int = 0
    position: int = 0
    score: float = 0.0
    states: States | None = None
    last: int = 0
    seen: np.ndarray | None = None
    form: Form | None = None
    form_state: int = 0

    @property
    def next_id(self) -> int:
        """What the next step is given."""
        return int(self.prompt[self.read]) if self.read < len(self.prompt) else self.last

    @property
    def max_tokens(self) -> int:
        """The most ids that are drawn."""
        return int(self.settings.get("max_tokens", DEFAULTS["max_tokens"]))


class Drawn(NamedTuple):
    """One id that a step drew, and its log-probability by the model; or why none could be."""

    row: RunningRow
    id: int
    log_probability: float
    error: DecodingError | None = None


class RunningRows:
    """Rows that are stepped together.

    States are in arrays with room for more rows, filled without gaps: who leaves is replaced by the
    last one, so that a step takes views and nothing is gathered.

    Args:
        step: see ``decoding.stepping``; it must return all states.
        shapes: shape of each state without the rows.
    """

    def __init__(self, step: Step, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._step, self._shapes = step, dict(shapes)
        self.rows: list[RunningRow] = []
        self._index: dict[RunningRow, int] = {}
        self._room = 0
        self._arrays: dict[str, np.ndarray] = {}
        self._states: States = {}
        self._grow(SMALLEST)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, row: RunningRow) -> bool:
        return row in self._index

    def join(self, row: RunningRow) -> None:
        """Takes a row in, where it left off or at its beginning."""
        place = len(self.rows)
        if place == self._room:
            self._grow(2 * self._room)
        self.rows.append(row)
        self._index[row] = place
        for name, state in self._states.items():
            state[place] = 0 if row.states is None else row.states[name]
        row.states = None
        arrays = self._arrays
        for name in _ARRAYS:
            arrays[name][place] = row.settings.get(name, DEFAULTS[name])
        arrays["ids"][place] = row.next_id
        arrays["position"][place] = row.position
        seed = row.settings.get("seed", DEFAULTS["seed"])
        arrays["hash"][place] = seed_hashes(np.array([seed], np.int64))[0]
        arrays["left"][place] = max(0, len(row.prompt) - row.read - 1)

    def leave(self, row: RunningRow, keep: bool = False) -> None:
        """Lets a row go.

        Args:
            row: one that has joined.
            keep: whether it keeps its states, to join again.
        """
        place, last = self._index.pop(row), len(self.rows) - 1
        if keep:
            row.states = {name: state[place].copy() for name, state in self._states.items()}
        moved = self.rows.pop()
        if place != last:
            self.rows[place], self._index[moved] = moved, place
            for array in (*self._states.values(), *self._arrays.values()):
                array[place] = array[last]

    def advance(self) -> list[Drawn]:
        """One step of all rows; those that have read their prompt draw an id.

        Returns:
            What was drawn, in the order of the rows. A row that has no answer (a log-probability is
            NaN, or every id is forbidden) has an ``error``; it should leave.

        Raises:
            DecodingError: the step's answers have another shape.
        """
        count, arrays = len(self.rows), self._arrays
        if not count:
            return []
        states = {name: state[:count] for name, state in self._states.items()}
        values, changed = self._step(arrays["ids"][:count], states)
        for name, state in states.items():
            if (shape := np.shape(changed[name])) != state.shape:
                raise DecodingError(
                    f"the step returned a state {name!r} of shape {shape}; it must be {state.shape}"
                )
            state[:] = changed[name]
        left = arrays["left"][:count]
        drawing = np.flatnonzero(left == 0)
        for place in np.flatnonzero(left).tolist():  # a recurrence reads one id at a time, too
            row = self.rows[place]
            row.read += 1
            arrays["ids"][place] = row.prompt[row.read]
            left[place] -= 1
        if not len(drawing):
            return []
        values = np.asarray(values)
        return self._draw(values if len(drawing) == count else values[drawing], drawing)

    def _draw(self, values: np.ndarray, places: np.ndarray) -> list[Drawn]:
        """Draws for the rows at ``places``, whose log-probabilities are ``values``."""
        try:
            ids, scores = self._chosen(values, places)
        except DecodingError as error:
            if len(places) == 1:
                return [Drawn(self.rows[places[0]], 0, 0.0, error)]
            # One of them is bad: each is tried by itself.
            return [self._draw(values[i : i + 1], places[i : i + 1])[0] for i in range(len(places))]
        self._arrays["ids"][places] = ids
        self._arrays["position"][places] += np.uint64(1)
        found = []
        for place, drawn, score in zip(places.tolist(), ids.tolist(), scores.tolist(), strict=True):
            row = self.rows[place]
            row.read, row.last = len(row.prompt), drawn
            row.position += 1
            row.score += score
            if row.seen is not None:
                row.seen[drawn] = True
            if row.form is not None:
                row.form_state = int(row.form.table[row.form_state, drawn])
            found.append(Drawn(row, drawn, score))
        return found

    def _chosen(self, values: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids ``<int32>[places]`` and their log-probabilities by the model."""
        values = check_log_probabilities(values, len(places), -1)
        every = len(places) == len(self.rows)  # then a view is enough
        taken = slice(len(places)) if every else places
        chances = uniforms_after(self._arrays["hash"][taken], self._arrays["position"][taken])
        temperature, top_k, top_p, penalty = (self._arrays[name][taken] for name in _ARRAYS)
        allowed = values
        if (repeats := np.flatnonzero(penalty != 1)).size:
            allowed = values.copy()
            seen = np.stack([self._seen(self.rows[places[i]], values.shape[1]) for i in repeats])
            allowed[repeats] = penalised(values[repeats], seen, penalty[repeats])
        formed = [i for i, place in enumerate(places) if self.rows[place].form is not None]
        if formed:
            allowed = values.copy() if allowed is values else allowed
            for i in formed:
                row = self.rows[places[i]]
                allowed[i, row.form.table[row.form_state] == NOWHERE] = -np.inf
        ids = choose_checked(allowed, chances, temperature, top_k, top_p)
        return ids, values[np.arange(len(ids)), ids]

    def _seen(self, row: RunningRow, vocabulary: int) -> np.ndarray:
        """``<bool>[vocabulary]``: the ids that a row has already."""
        if row.seen is None:
            row.seen = np.zeros(vocabulary, bool)
            row.seen[row.prompt] = True
        return row.seen

    def _grow(self, room: int) -> None:
        def larger(array: np.ndarray | None, shape: tuple[int, ...], dtype: type) -> np.ndarray:
            made = np.zeros((room, *shape), dtype)
            if array is not None:
                made[: len(array)] = array
            return made

        numbers = {name: RANGES[name][0] for name in _ARRAYS}
        numbers |= {"ids": np.int32, "position": np.uint64, "hash": np.uint64, "left": np.int64}
        self._arrays = {n: larger(self._arrays.get(n), (), kind) for n, kind in numbers.items()}
        self._states = {
            name: larger(self._states.get(name), shape, np.float32)
            for name, shape in self._shapes.items()
        }
        self._room = room


def checked_settings(name: str, values: np.ndarray) -> np.ndarray:
    """A setting of several rows.

    Args:
        name: one of ``RANGES``.
        values: ``<number>[rows]``.

    Raises:
        DecodingError: with the name, the value and what is allowed.
    """
    kind, lowest, highest = RANGES[name]
    good = (values >= lowest) & (values <= highest)  # NaN is neither
    if not good.all():
        raise DecodingError(
            f"{name} is {values[~good][0].item()}; it must be from {lowest:g} to {highest:g}"
        )
    return values.astype(kind)
