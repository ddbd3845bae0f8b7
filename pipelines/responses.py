"""Response tensors for many raw inputs, whatever their lengths: for judging and for parity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import DataError
from pipelines.preprocessor import Preprocessor
from pipelines.program import DEFAULT, LoadedProgram, Program, setting_array
from pipelines.ragged import Arrays, join, split

# Of one batch, in each of its arrays: a quarter of an hour of sound, more text than anybody sends.
MOST_VALUES = 2**24

# By output: an array, or a list of one array for each input where their lengths differ.
Responses = dict[str, Any]


def respond(
    program: Program,
    to_request: Callable[[Sequence[Any]], Arrays],
    run: Callable[[Arrays], Arrays],
    raw: Sequence[Any],
    batch_size: int = 64,
) -> Responses:
    """Answers of a program, in the order of ``raw``.

    Inputs of like length share a batch, as many as fit into memory. The answers do not depend on
    it, only the time does.

    Args:
        program: its signature and fields say what may be joined, and what has a length.
        to_request: raw inputs to request tensors.
        run: request tensors to response tensors.
        raw: at least one.
        batch_size: rows in a batch.

    Returns:
        Response tensors; those with an open dimension as a list of each input's own.
    """
    requests = [to_request([one]) for one in raw]
    found: Responses = {}
    for rows in _batches(requests, program, batch_size):
        batch = separated(program, run(join([requests[i] for i in rows], program.fields)))
        for name, values in batch.items():
            if isinstance(values, list):
                mine = found.setdefault(name, [None] * len(raw))
                for i, value in zip(rows, values, strict=True):
                    mine[i] = value
                continue
            values = np.asarray(values)
            if values.dtype.kind in "SU":  # as wide as the longest of this batch
                values = values.astype(object)
            if name not in found:
                found[name] = np.empty((len(raw), *values.shape[1:]), values.dtype)
            found[name][rows] = values
    return found


def separated(program: Program, response: Arrays) -> Responses:
    """Response tensors of one batch, those with an open dimension as a list of rows of their own
    length."""
    found: Responses = dict(response)
    names = _open(program, response)
    if names:
        rows = split(response, program.fields)
        found |= {name: [row[name] for row in rows] for name in names}
    return found


def readable(
    program: LoadedProgram,
    preprocessor: Preprocessor,
    raw: Sequence[Any],
    settings: Mapping[str, Any] | None = None,
    name: str = DEFAULT,
) -> list[dict[str, Any]]:
    """Answers that a person can read, one for each raw input.

    Args:
        program: of the preprocessor, with its cores.
        preprocessor: of the model.
        raw: inputs.
        settings: decoding settings that differ from the defaults, by name.
        name: of the program; it takes inputs that ``serving_default`` has too.

    Raises:
        DataError: the program does not take a setting.
    """
    if not raw:
        return []
    more = settings_request(program.program, settings or {})
    run = program.run if not more else lambda request: program.run({**request, **more})
    found = respond(program.program, asking(preprocessor, name), run, raw)
    return answering(preprocessor, name)(found, raw)


def asking(preprocessor: Preprocessor, name: str) -> Callable[[Sequence[Any]], Arrays]:
    """From raw inputs to the request of a program."""
    if name == DEFAULT:
        return preprocessor.to_request
    inputs = preprocessor.programs[name].signature["inputs"]

    def request(raw: Sequence[Any]) -> Arrays:
        return {n: x for n, x in preprocessor.to_request(raw).items() if n in inputs}

    return request


def answering(
    preprocessor: Preprocessor, name: str
) -> Callable[[Mapping[str, Any], Sequence[Any]], list[dict[str, Any]]]:
    """From the response of a program to answers that a person can read."""
    return preprocessor.answers if name == DEFAULT else preprocessor.programs[name].answers


def settings_request(program: Program, settings: Mapping[str, Any]) -> Arrays:
    """Decoding settings as request tensors, one value for all rows.

    Raises:
        DataError: the program does not take one of them.
    """
    specs = {n: spec for n, spec in program.signature["inputs"].items() if "default" in spec}
    for name in settings:
        if name not in specs:
            known = f"it takes {', '.join(specs)}" if specs else "it takes none"
            raise DataError(f"this model has no decoding setting {name!r}; {known}")
    found = {}
    for name, value in settings.items():
        dtype = specs[name]["dtype"]
        try:
            found[name] = setting_array([value], dtype)
        except ValueError as error:
            raise DataError(f"{name} is {value!r}; it must be of type {dtype}") from error
    return found


def _open(program: Program, names: Mapping[str, Any]) -> set[str]:
    """Outputs that may differ in length from row to row."""
    specs = program.signature["outputs"]
    return {name for name in names if name in specs and -1 in specs[name]["shape"][1:]}


def _batches(requests: list[Arrays], program: Program, batch_size: int) -> Iterator[list[int]]:
    """Rows that may be joined, and cost little padding."""

    def key(i: int) -> tuple[Any, int]:
        fixed, size = [], 0
        for name, array in requests[i].items():
            if name in program.fields:
                size = max(size, array.shape[1])
            else:
                fixed.append(array.shape[1:])
            if array.dtype == object:
                size = max([size, *map(len, array.reshape(-1))])
        return fixed, size

    order = sorted(range(len(requests)), key=key)
    batch: list[int] = []
    for i in order:
        fixed, size = key(i)
        full = len(batch) == batch_size or size * (len(batch) + 1) > MOST_VALUES
        if batch and (full or fixed != key(batch[0])[0]):
            yield batch
            batch = []
        batch.append(i)
    yield batch
