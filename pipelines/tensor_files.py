"""Examples of a model that takes tensors, from files: npz, npy, jsonl, csv."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DataError

EXTENSIONS = ("npz", "npy", "jsonl", "csv")
Row = dict[str, Any]


def read_tensor_rows(path: Path, inputs: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """One dict of arrays, by input, for each example.

    Args:
        path: ``npz`` holds an array ``[rows, ...]`` by the name of each input; ``npy`` that of the
            only input; ``jsonl`` an object with the inputs by name, or the only input by itself,
            in each line; ``csv`` the numbers of the only input, a row in each line, behind a line
            of names or not.
        inputs: those of the model: dtype and shape by name.

    Raises:
        DataError: the file cannot be read as that, or has no row; the message names the line.
    """
    readers = {"npz": _npz, "npy": _npy, "jsonl": _jsonl, "csv": _csv}
    kind = path.suffix.lower().removeprefix(".")
    if kind not in readers:
        raise DataError(f"{path}: examples are read from {', '.join(EXTENSIONS)}")
    try:
        rows = list(readers[kind](path, inputs))
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, csv.Error) as error:
        raise DataError(f"{path} cannot be read as {kind}: {error}") from error
    if not rows:
        raise DataError(f"{path} holds no example")
    return rows


def tensor_rows(examples: Any, inputs: Mapping[str, Any]) -> list[Row]:
    """Examples in memory as dicts, one for each row.

    Args:
        examples: an array ``[rows, ...]`` of the only input; a dict of such arrays by input; a
            sequence of them in the order of the inputs; or a list of dicts, one for each row.
        inputs: those of the model, by name.

    Raises:
        DataError: they do not go with the inputs.
    """
    names = list(inputs)
    if isinstance(examples, Mapping):
        given = dict(examples)
    elif isinstance(examples, (list, tuple)) and examples:
        if isinstance(examples[0], Mapping):
            return [dict(row) for row in examples]
        several = len(names) > 1 and len(examples) == len(names)
        given = dict(zip(names, examples, strict=True)) if several else {names[0]: examples}
    else:
        given = {names[0]: examples}
    if set(given) != set(names):
        raise DataError(
            f"examples are given for {', '.join(map(str, given))}; the model takes "
            f"{', '.join(names)}"
        )
    counts = {name: len(values) if np.ndim(values) else 0 for name, values in given.items()}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        raise DataError(f"each input needs as many examples, and one at least: {counts}")
    return [{n: values[i] for n, values in given.items()} for i in range(counts[names[0]])]


def _npz(path: Path, inputs: Mapping[str, Any]) -> Iterator[Row]:
    with np.load(path, allow_pickle=False) as stored:
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array; call it .npy")
        yield from tensor_rows({name: stored[name] for name in stored.files}, inputs)


def _npy(path: Path, inputs: Mapping[str, Any]) -> Iterator[Row]:
    yield from tensor_rows({_only(path, inputs): np.load(path, allow_pickle=False)}, inputs)


def _jsonl(path: Path, inputs: Mapping[str, Any]) -> Iterator[Row]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        if not isinstance(row, dict):
            row = {_only(path, inputs): row}
        if set(row) != set(inputs):
            raise DataError(
                f"{path}, line {number} has {', '.join(row) or 'nothing'}; the model takes "
                f"{', '.join(inputs)}"
            )
        yield row


def _csv(path: Path, inputs: Mapping[str, Any]) -> Iterator[Row]:
    name = _only(path, inputs)
    spec = inputs[name]
    if len(spec["shape"]) != 2 or spec["dtype"] == "string":
        raise DataError(
            f"{path}: a csv holds one line of numbers for each row; input {name!r} of shape "
            f"{spec['shape']} takes npz or jsonl"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, cells in enumerate(csv.reader(file), 1):
            if not any(map(str.strip, cells)):
                continue
            try:
                values = [float(cell) for cell in cells]
            except ValueError as error:
                if number == 1:  # names
                    continue
                raise DataError(f"{path}, line {number}: {error}") from error
            whole = np.dtype(spec["dtype"]).kind in "iu"
            if whole and not all(value.is_integer() for value in values):
                raise DataError(f"{path}, line {number}: input {name!r} takes whole numbers")
            yield {name: np.array(values, spec["dtype"])}


def _only(path: Path, inputs: Mapping[str, Any]) -> str:
    if len(inputs) != 1:
        raise DataError(f"{path}: the model takes {', '.join(inputs)}; name each, in npz or jsonl")
    return next(iter(inputs))
