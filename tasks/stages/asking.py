"""Questions to a server: what stands behind ``seqloom predict --url``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from common.errors import DataError
from pipelines.program import setting_array
from pipelines.ragged import plain
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
) -> list[dict[str, Any]]:
    """Answers of a server of which nothing is known but its signature.

    Args:
        client: of it.
        inputs: texts, for a model that takes one text a row; else a JSON object a row.
        file: more inputs, one in each line.
        settings: values for inputs of the signature that have a default, the same for all rows.

    Returns:
        One object of outputs a row.

    Raises:
        DataError: an input does not suit the signature.
    """
    given = list(inputs)
    if file is not None:
        try:
            given += [line for line in file.read_text("utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--file {file} cannot be read: {error}") from error
    known = client.signatures().get("serving_default")
    if known is None:
        raise DataError(f"{client.model} has no signature serving_default")
    settings = settings or {}
    names = sorted(name for name in known["inputs"] if name not in settings)
    names = [n for n in names if "default" not in known["inputs"][n]]
    for name in settings:
        if name not in known["inputs"]:
            raise DataError(f"{client.model} has no setting {name!r}; its inputs are: "
                            f"{', '.join(sorted(known['inputs']))}")  # fmt: skip
    if [known["inputs"][name]["dtype"] for name in names] == ["string"]:
        columns: dict[str, Any] = {names[0]: given}
    else:
        rows = [_row(text, number, names) for number, text in enumerate(given)]
        columns = {
            name: np.array([row[name] for row in rows], _dtype(known["inputs"][name]["dtype"]))
            for name in names
        }
    for name, value in settings.items():
        try:
            columns[name] = setting_array([value], known["inputs"][name]["dtype"])
        except ValueError as error:
            raise DataError(f"setting {name}: {error}") from error
    outputs = client.predict(columns)
    rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    return [{name: plain(value) for name, value in sorted(row.items())} for row in rows]


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
