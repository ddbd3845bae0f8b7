"""Questions to a server: what stands behind ``seqloom predict --url``."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from common.errors import DataError
from pipelines.answer_files import AskedFile, beside, write_answer_rows
from pipelines.program import DEFAULT, setting_array
from pipelines.ragged import plain
from pipelines.readers import LINES, Row, read_rows
from pipelines.readers.lines import TEXT_COLUMN
from pipelines.text_examples import TEXT_NAMES
from pipelines.textfile import inspect_file
from serving.bundle import read_manifest
from serving.client import Client


def client_of(url: str, place: Path, token: str | None = None, ca: Path | None = None) -> Client:
    """A client of the server at a URL.

    Args:
        url: see ``serving.client.Client``.
        place: bundle or run that says the model's name, where the URL does not.
        token: to bear.
        ca: of the server's certificate.
    """
    name = None
    if urlsplit(url).path in ("", "/"):
        if (place / "manifest.json").is_file():
            name = read_manifest(place)["name"]
        elif (place / "config.json").is_file():
            name = json.loads((place / "config.json").read_text(encoding="utf-8"))["task"]
    return Client(url, name, token=token, ca=ca)


def ask(
    client: Client,
    inputs: Sequence[str],
    file: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    signature: str = DEFAULT,
) -> list[dict[str, Any]]:
    """Answers of a server of which nothing is known but its signature.

    Args:
        client: of it.
        inputs: texts, for a model that takes one text a row; else a JSON object a row.
        file: more inputs: one in each line, or one in each row of a csv, tsv or jsonl file, in
            columns of the inputs' names. A text's column may have another name if it is plain, or
            if ``settings`` have a ``text_column``.
        settings: values for inputs of the signature that have a default, the same for all rows.
        out: file of the answers to write, beside all columns of ``file``.
        signature: its name.

    Returns:
        One object of outputs a row.

    Raises:
        DataError: an input does not suit the signature.
    """
    settings = dict(settings or {})
    text_column, encoding = (str(settings.pop(n, "")) for n in ("text_column", "encoding"))
    asked = AskedFile.of(file, len(inputs), encoding) if file is not None else None
    lines = [] if file is None or asked else _lines(file, encoding)
    known = client.signatures().get(signature)
    if known is None:
        raise DataError(f"{client.model} has no signature {signature}")
    names = sorted(name for name in known["inputs"] if name not in settings)
    names = [n for n in names if "default" not in known["inputs"][n]]
    for name in settings:
        if name not in known["inputs"]:
            raise DataError(f"{client.model} has no setting {name!r}; its inputs are: "
                            f"{', '.join(sorted(known['inputs']))}")  # fmt: skip
    if [known["inputs"][name]["dtype"] for name in names] == ["string"]:
        texts = [_text(row, names[0], text_column) for row in asked.rows] if asked else lines
        columns: dict[str, Any] = {names[0]: [*inputs, *texts]}
    else:
        rows = [_row(text, number, names) for number, text in enumerate([*inputs, *lines])]
        texts = {name for name in names if known["inputs"][name]["dtype"] == "string"}
        rows += [_cells(row, names, texts) for row in asked.rows] if asked else []
        columns = {
            name: np.array([row[name] for row in rows], _dtype(known["inputs"][name]["dtype"]))
            for name in names
        }
    if not len(next(iter(columns.values()), ())):
        raise DataError("there is no input; give some as arguments or --file FILE")
    for name, value in settings.items():
        try:
            columns[name] = setting_array([value], known["inputs"][name]["dtype"])
        except ValueError as error:
            raise DataError(f"setting {name}: {error}") from error
    outputs = client.predict(columns, signature)
    rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    answers = [{name: plain(value) for name, value in sorted(row.items())} for row in rows]
    if out is not None:
        about = [{"input": one} for one in (*inputs, *lines)]
        about += [row.values for row in asked.rows] if asked else []
        write_answer_rows(out, [beside(*pair) for pair in zip(about, answers, strict=True)])
    return answers


def _lines(file: Path, encoding: str) -> list[str]:
    return [row.values[TEXT_COLUMN] for row in read_rows(inspect_file(file, encoding), form=LINES)]


def _text(row: Row, name: str, column: str) -> str:
    """The text in a row of a file."""
    known = [one for one in row.values if one.strip().lower() in TEXT_NAMES]
    found = [column] if column else [one for one in row.values if one == name] or known
    if len(row.values) == 1 and not found:
        found = list(row.values)
    value = row.values.get(found[0]) if len(found) == 1 else None
    if not isinstance(value, str):
        raise DataError(
            f"{row.where}: no column is plainly the text among {', '.join(row.values)}; "
            "choose one with --text-column"
        )
    return value


def _cells(row: Row, names: list[str], texts: Collection[str]) -> dict[str, Any]:
    """The inputs in a row of a file; a cell that holds JSON is that, but of those of ``texts``."""
    if missing := [name for name in names if name not in row.values]:
        raise DataError(
            f"{row.where}: there is no column '{missing[0]}'; the inputs are: {', '.join(names)}"
        )
    return {n: x if n in texts and isinstance(x, str) else _json(x)
            for n in names for x in [row.values[n]]}  # fmt: skip


def _json(cell: Any) -> Any:
    try:
        return json.loads(cell) if isinstance(cell, str) else cell
    except ValueError:
        return cell


def _row(text: str, number: int, names: list[str]) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(f"input {number} is not JSON: {error}") from error
    if not isinstance(row, dict) or sorted(row) != names:
        raise DataError(f"input {number} must be a JSON object with {', '.join(names)}")
    return row


def _dtype(name: str) -> Any:
    return object if name == "string" else name
